package window_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// clockRead is the health of a Redis whose clock, this machine's, is read all the time.
type clockRead struct{ *health }

func (clockRead) RedisTime(_ string, t time.Time) int64 { return t.UnixMilli() }

// skewed is a gateway whose clock is wrong by a constant.
type skewed struct {
	*window.Store
	clock *wecomtest.Clock
	by    time.Duration
}

// tick sets the gateway's clock, which stands still until the next tick, and returns it.
func (g *skewed) tick() int64 {
	g.clock.Set(time.Now().Add(g.by))
	return g.clock.Now().UnixMilli()
}

// skewedGateway is one more gateway on s, which knows the clock of Redis.
func skewedGateway(t *testing.T, s *store.Client, replies int, by time.Duration) *skewed {
	t.Helper()
	g := &skewed{clock: wecomtest.NewClock(), by: by}
	h := clockRead{&health{singleKeyOnly: !s.MultiKey()}}
	if s.Embedded != nil {
		g.Store = window.NewEmbedded(s.UniversalClient, h, settings(replies, g.clock.Now))
	} else {
		g.Store = window.NewShared(s.UniversalClient, h, journal(t), settings(replies, g.clock.Now))
	}
	g.tick()
	run(t, g.Store)
	return g
}

// eachClock runs body over every kind of store, with complete records and Redis's clock in step
// with this machine's.
func eachClock(t *testing.T, body func(t *testing.T, s *store.Client)) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		if err := s.Set(t.Context(), "rg:since", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		body(t, s)
	})
}

// Replies through a gateway whose clock is wrong do not count against the customer's next message.
func TestClockOfAnotherGateway(t *testing.T) {
	slow(t, "waits for leases to expire")
	eachClock(t, func(t *testing.T, s *store.Client) {
		right := skewedGateway(t, s, 5, 0)
		for _, c := range []struct {
			name    string
			by      time.Duration
			exhaust bool // WeCom answers 95001 to a reply without a reservation
		}{
			{"fast", time.Hour, false},
			{"fast, 95001", time.Hour, true},
			{"fast by almost a window", 47 * time.Hour, false},
			{"slow", -time.Hour, false},
			{"slow, 95001", -time.Hour, true},
		} {
			k := window.Key{Corp: "ww1", Channel: "wk1", Customer: "wm " + c.name}
			wrong := skewedGateway(t, s, 5, c.by)
			record := func(at time.Time) {
				t.Helper()
				right.tick()
				if tally, err := right.Record(t.Context(), []window.Fact{{Key: k, At: at}}); err != nil || tally.Recorded != 1 {
					t.Fatal(tally, err)
				}
			}
			reserve := func(g *skewed, want window.State, left int) {
				t.Helper()
				g.tick()
				if a := settled(want, func() window.Answer { return g.Reserve(t.Context(), k) }); a.State != want || a.Left != left {
					t.Fatalf("%s: Reserve = %s, left %d; want %s, left %d", c.name, a.State, a.Left, want, left)
				}
			}
			record(time.Now().Add(-time.Minute))
			if c.exhaust {
				wrong.tick()
				if err := wrong.Settle(t.Context(), k, wrong.Peek(t.Context(), k)[0], window.QuotaExhausted); err != nil {
					t.Fatal(err)
				}
			} else {
				for left := 4; left >= 0; left-- {
					reserve(wrong, window.Open, left)
				}
			}
			reserve(right, window.Exhausted, 0)
			record(time.Now().Add(3 * time.Second)) // after the latest stamp that is allowed
			for left := 4; left >= 0; left-- {
				reserve(right, window.Open, left)
			}
			reserve(right, window.Exhausted, 0)
		}
	})
}

// Clocks that differ from Redis's by less than is allowed give their own stamps.
func TestClockOfAGatewayIsKept(t *testing.T) {
	slow(t, "waits for leases to expire")
	eachClock(t, func(t *testing.T, s *store.Client) {
		for _, by := range []time.Duration{-time.Hour, -time.Second, 0, 500 * time.Millisecond} {
			k := window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprint("wm", by)}
			g := skewedGateway(t, s, 5, by)
			if _, err := g.Record(t.Context(), []window.Fact{{Key: k, At: g.clock.Now().Add(-time.Minute)}}); err != nil {
				t.Fatal(err)
			}
			now := g.tick()
			a := g.Reserve(t.Context(), k)
			if sent := s.HGet(t.Context(), k.RedisKey("rg:"), "sent").Val(); a.State != window.Open || sent != strconv.FormatInt(now, 10) {
				t.Errorf("%s: %s, stamped %s at %d", by, a.State, sent, now)
			}
		}
	})
}

// Without permission for TIME a stamp is the gateway's time, and replies are counted as always.
func TestClockWithoutTIME(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	if err := s.Do(t.Context(), "acl", "setuser", "default", "-time").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), "rg:since", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	g := skewedGateway(t, s, 1, time.Hour)
	if _, err := g.Record(t.Context(), []window.Fact{{Key: li, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	a := g.Reserve(t.Context(), li)
	if sent := s.HGet(t.Context(), li.RedisKey("rg:"), "sent").Val(); a.State != window.Open || sent != strconv.FormatInt(g.clock.Now().UnixMilli(), 10) {
		t.Errorf("%s, stamped %s at %d", a.State, sent, g.clock.Now().UnixMilli())
	}
	if a := settled(window.Exhausted, func() window.Answer { return g.Reserve(t.Context(), li) }); a.State != window.Exhausted {
		t.Errorf("the second reply of one: %s", a.State)
	}
}

// Stores with clocks that differ from Redis's agree with the functions of window.go after every
// step of random histories.
func TestClockFollowsTheModel(t *testing.T) {
	eachClock(t, func(t *testing.T, s *store.Client) {
		var gateways []*skewed
		for _, by := range []time.Duration{0, time.Hour, 5 * time.Second, 500 * time.Millisecond, -2 * time.Second, -time.Hour} {
			gateways = append(gateways, skewedGateway(t, s, 3, by))
		}
		for n := range many(60) {
			h := &clockHistory{T: t, store: s, gateways: gateways, random: rand.New(rand.NewPCG(5, uint64(n))), key: window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", n)}}
			for range 40 {
				h.step()
			}
		}
	})
}

type clockHistory struct {
	*testing.T
	store    *store.Client
	gateways []*skewed
	random   *rand.Rand
	key      window.Key
	model    window.Window
	reserved []clockReservation
}

type clockReservation struct {
	answer      window.Answer
	last, stamp int64
}

func (h *clockHistory) step() {
	h.Helper()
	ctx, g := h.Context(), h.gateways[h.random.IntN(len(h.gateways))]
	now := g.tick()
	switch h.random.IntN(6) {
	case 0, 1: // a message, by the platform's clock: late, or after replies of this moment
		g = h.gateways[0]
		g.tick()
		at := time.Now().Add(time.Duration(h.random.IntN(12_000)-6000) * time.Millisecond)
		if _, err := g.Record(ctx, []window.Fact{{Key: h.key, At: at}}); err != nil {
			h.Fatal(err)
		}
		h.model = h.model.Record(at.UnixMilli())
		h.agrees()
	case 2, 3:
		want := h.model.Judge(now, length, 3)
		before := h.redisNow()
		a := settled(want, func() window.Answer { return g.Reserve(ctx, h.key) })
		after := h.redisNow()
		if a.State != want {
			h.Fatalf("state %s, the model has %s: %+v", a.State, want, h.model)
		}
		if want != window.Open {
			return
		}
		stored := h.stored()
		for redis := before; redis <= after; redis++ { // when it was within the exchange is unknown
			if w, stamp := h.model.Reserve(now, redis); asText(w) == stored {
				h.reserved = append(h.reserved, clockReservation{a, h.model.Last, stamp})
				h.model = w
				return
			}
		}
		h.Fatalf("store %s after a reply at %d with redis at %d to %d, the model had %+v", stored, now, before, after, h.model)
	case 4: // WeCom answers
		if len(h.reserved) == 0 {
			return
		}
		r := h.reserved[0]
		h.reserved = h.reserved[1:]
		outcome := window.Outcome(h.random.IntN(3))
		if err := g.Settle(ctx, h.key, r.answer, outcome); err != nil {
			h.Fatal(err)
		}
		switch outcome {
		case window.Rejected:
			h.model = h.model.Release(r.stamp)
		case window.QuotaExhausted:
			h.model = h.model.Exhaust(r.last, r.stamp, 3)
		}
		h.agrees()
	case 5: // 95001 to a reply without a reservation
		if h.model.Last == 0 || h.random.IntN(3) > 0 {
			return
		}
		before := time.Now().UnixMilli()
		if err := g.Settle(ctx, h.key, g.Peek(ctx, h.key)[0], window.QuotaExhausted); err != nil {
			h.Fatal(err)
		}
		stored := h.stored()
		for redis := before; redis <= time.Now().UnixMilli(); redis++ {
			if w := h.model.Exhaust(h.model.Last, min(now, redis+2000), 3); asText(w) == stored {
				h.model = w
				return
			}
		}
		h.Fatalf("store %s after 95001 at %d, the model had %+v", stored, now, h.model)
	}
}

func (h *clockHistory) redisNow() int64 {
	h.Helper()
	now, err := h.store.Time(h.Context()).Result()
	if err != nil {
		h.Fatal(err)
	}
	return now.UnixMilli()
}

// asText is what scripts and the functions of window.go agree on, as text.
func asText(w window.Window) string { return fmt.Sprint(w.Last, w.Sent, w.Shut) }

// stored is the window on record as text.
func (h *clockHistory) stored() string {
	h.Helper()
	e, _, err := h.gateways[0].Show(h.Context(), h.key)
	if err != nil {
		h.Fatal(err)
	}
	return asText(e.Window)
}

func (h *clockHistory) agrees() {
	h.Helper()
	if stored := h.stored(); stored != asText(h.model) {
		h.Fatalf("store %s, model %+v", stored, h.model)
	}
}

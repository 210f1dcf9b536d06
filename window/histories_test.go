package window_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// model is the full record of one customer and one code: every message and every reply. Times are
// unix milliseconds.
type model struct {
	messages []int64
	replies  []int64 // those that count: sent, perhaps sent, or abandoned by a gateway that crashed
	shut     int64   // the message whose window WeCom shut
	code     string  // "", fresh or used
}

func (p *model) last() int64 {
	if len(p.messages) == 0 {
		return 0
	}
	return slices.Max(p.messages)
}

// counting returns how many replies count against the last message: those of a later second.
func (p *model) counting() (n int) {
	for _, r := range p.replies {
		if r/1000 > p.last()/1000 {
			n++
		}
	}
	return n
}

func (p *model) state(now int64) window.State {
	switch {
	case p.last() == 0 || now-p.last() >= length.Milliseconds():
		return window.Closed
	case p.shut >= p.last():
		return window.ClosedByPlatform
	case p.counting() >= 5:
		return window.Exhausted
	}
	return window.Open
}

// send adds a reply at now, or in the second after the message's own; concurrent ones are a
// millisecond apart.
func (p *model) send(now int64) int64 {
	at := max(now, (p.last()/1000+1)*1000)
	for slices.Contains(p.replies, at) && at/1000 > p.last()/1000 {
		at++
	}
	p.replies = append(p.replies, at)
	return at
}

func (p *model) takeBack(at int64) {
	p.replies = slices.DeleteFunc(p.replies, func(r int64) bool { return r == at })
}

// pending is a reply between its reservation and WeCom's answer.
type pending struct {
	answer window.Answer
	at     int64
	last   int64
}

// Random histories through two gateways on one store, with late, repeated and reordered messages,
// lost answers and crashed gateways: at every step the store agrees with the model.
func TestHistories(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateways, stop := make([]*window.Store, 2), make([]func(), 2)
		crash := func(n int) { // and start again
			if stop[n] != nil {
				stop[n]()
			}
			gateways[n], _, stop[n] = startStore(t, s, settings(5, clock.Now))
		}
		crash(0)
		crash(1)
		if err := s.Set(t.Context(), "rg:since", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		histories := 1500
		if testing.Short() {
			histories = 30 // -short: a sample
		}
		for n := range histories {
			h := history{T: t, random: rand.New(rand.NewPCG(7, uint64(n))), clock: clock, gateways: gateways, crash: crash,
				key: window.Key{Corp: "ww1", Channel: "wk", Customer: fmt.Sprintf("wm%d", n)}}
			for range 25 {
				h.step()
			}
			if t.Failed() {
				t.Fatalf("history %d", n)
			}
		}
	})
}

type history struct {
	*testing.T
	random   *rand.Rand
	clock    *wecomtest.Clock
	gateways []*window.Store
	crash    func(gateway int)
	key      window.Key
	truth    model
	waiting  []pending
	taken    window.CodeAnswer
}

func (h *history) step() {
	h.Helper()
	ctx, now := h.Context(), h.clock.Now()
	g := h.gateways[h.random.IntN(2)]
	fail := func(err error) {
		if err != nil {
			h.Fatal(err)
		}
	}
	switch h.random.IntN(9) {
	case 0, 1: // a message of now, or one that becomes known late, perhaps again
		at := now.Add(-time.Duration(h.random.IntN(4)*h.random.IntN(3000)) * time.Millisecond)
		if len(h.truth.messages) > 0 && h.random.IntN(4) == 0 {
			at = time.UnixMilli(h.truth.messages[h.random.IntN(len(h.truth.messages))])
		}
		_, err := g.Record(ctx, []window.Fact{{Key: h.key, At: at}})
		fail(err)
		h.truth.messages = append(h.truth.messages, at.UnixMilli())
	case 2, 3, 4: // a reply
		want := h.truth.state(now.UnixMilli())
		a := settled(want, func() window.Answer { return g.Reserve(ctx, h.key) })
		if a.State != want {
			h.Errorf("Reserve = %d, the model has %d: %+v", a.State, want, h.truth)
			return
		}
		if want == window.Open {
			last := h.truth.last()
			h.waiting = append(h.waiting, pending{a, h.truth.send(now.UnixMilli()), last})
		}
	case 5: // WeCom answers a pending reply, or the gateway crashes before that
		if len(h.waiting) == 0 {
			return
		}
		i := h.random.IntN(len(h.waiting))
		p := h.waiting[i]
		h.waiting = slices.Delete(h.waiting, i, i+1)
		switch h.random.IntN(4) {
		case 0:
			fail(g.Settle(ctx, h.key, p.answer, window.Rejected))
			h.truth.takeBack(p.at)
		case 1:
			fail(g.Settle(ctx, h.key, p.answer, window.WindowClosed))
			h.truth.takeBack(p.at)
			h.truth.shut = max(h.truth.shut, p.last)
		case 2:
			fail(g.Settle(ctx, h.key, p.answer, window.Sent))
		case 3: // abandoned by a gateway that crashed: it counts
			if h.random.IntN(10) == 0 { // joining takes a while
				h.crash(h.random.IntN(2))
			}
		}
	case 6: // time passes
		h.clock.Advance(time.Duration(h.random.IntN(2500)) * time.Millisecond)
	case 7: // a code becomes known, perhaps again
		fail(g.LearnCodes(ctx, []window.LearntCode{{Text: h.key.Customer, Code: window.Code{Key: h.key, Kind: "to_queue", Deadline: now.Add(time.Hour)}}}))
		if h.truth.code == "" {
			h.truth.code = "fresh"
		}
	case 8: // a code is used, or given back
		if h.taken.State == window.CodeTaken && h.random.IntN(2) == 0 {
			fail(g.RestoreCode(ctx, h.taken))
			h.truth.code, h.taken = "fresh", window.CodeAnswer{}
			return
		}
		want := map[string]window.CodeState{"": window.CodeUnknown, "fresh": window.CodeTaken, "used": window.CodeUsed}[h.truth.code]
		a := known(want, func() window.CodeAnswer { return g.ConsumeCode(ctx, h.key.Corp, h.key.Customer) })
		if a.State != want {
			h.Errorf("ConsumeCode = %d, the model has %d", a.State, want)
		}
		if a.State == window.CodeTaken {
			h.truth.code, h.taken = "used", a
		}
	}
	if e, found, err := g.Show(ctx, h.key); err != nil || found != (len(h.truth.messages) > 0) || found && (e.Window.Last != h.truth.last() || len(e.Window.Sent) != h.truth.counting()) {
		h.Errorf("on record is %+v (%v), the model has %+v", e.Window, err, h.truth)
	}
}

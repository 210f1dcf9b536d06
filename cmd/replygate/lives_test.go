package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/window"
)

// Random weeks of a company, some of them before its subscription ends, checked call by call
// against what WeCom knows: whatever WeCom would refuse is not sent, and whatever it would take of
// a customer whose messages came through the gateway goes.
func FuzzLives(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, seed uint64, server bool) {
		if server {
			server := storetest.Start(t)
			server.CLI("acl", "setuser", "default", "-time") // else stamps follow its clock, and here weeks pass in seconds
			live(t, server.Config(), 2, seed)
		} else {
			live(t, storetest.Embedded(t), 1, seed)
		}
	})
}

// life is a company, its customers, and the gateways that its bots use by turns.
type life struct {
	*rig
	rnd      *rand.Rand
	redis    config.Redis
	change   func(*config.Config)
	ends     time.Time // of the subscription
	counted  bool      // replies are; else a gateway believes for a minute what it saw of a window
	gateways []*gateway
	stops    []func() <-chan error
	tokenOld time.Time // from then on the token is worth nothing

	customers []*customer
	log       []*customer // who wrote, or entered, in the order of the platform's log
	pulled    int         // of log
	codes     []*oneTime
	unjudged  int // calls that were unsure
}

// customer is what WeCom knows of one, and what the gateway can know.
type customer struct {
	id     string
	wrote  time.Time
	sent   int       // replies that WeCom took since
	unread int       // messages that were not pulled
	odd    bool      // the gateway may know of fewer replies since than WeCom, or of more
	fewer  bool      // of fewer
	shutAt int64     // the second of the last message when an operator shut the window
	shut   time.Time // when he did
}

// oneTime is a code that WeCom gave out.
type oneTime struct {
	text     string
	at       int // its place in the log
	deadline time.Time
	used     bool
	counted  bool // likewise by the gateway
}

func live(t *testing.T, redis config.Redis, gateways int, seed uint64) {
	l := &life{rnd: rand.New(rand.NewPCG(seed, 0)), redis: redis}
	l.counted = seed%2 == 0
	l.change = strictly(func(c *config.Config) {
		c.Accounts[0].Subscription.ExpiresAt = l.ends
		if !l.counted {
			c.Window.Replies = 0
		}
	})
	l.ends = time.Now().Add(time.Duration(l.rnd.IntN(72)-24) * time.Hour).Truncate(time.Second)
	l.rig = newRig(t, storetest.Embedded(t), nil)
	for range gateways {
		g, stop := l.startApart(redis, l.change)
		l.gateways, l.stops = append(l.gateways, g), append(l.stops, stop)
	}
	l.meet(len(l.gateways))
	defer func() {
		for _, stop := range l.stops {
			if err := <-stop(); err != nil {
				t.Error(err)
			}
		}
	}()
	l.gateway = l.gateways[0]
	l.since(-96 * time.Hour)
	for n := range 6 {
		l.customers = append(l.customers, &customer{id: fmt.Sprintf("wmLife%d", n), shutAt: -1})
	}
	for range 600 {
		if l.step(); t.Failed() {
			return
		}
	}
}

func (l *life) step() {
	c := l.customers[l.rnd.IntN(1+l.rnd.IntN(len(l.customers)))] // the first is by far the busiest
	switch n := l.rnd.IntN(100); {
	case n < 10:
		l.write(c)
	case n < 14:
		l.enter(c)
	case n < 28:
		l.pull()
	case n < 68:
		l.answer(c)
	case n < 78:
		l.answerOnEvent()
	case n < 82:
		l.approach()
	case n < 84:
		l.shut(c)
	case n < 85:
		l.restart()
	default:
		l.wait(c)
	}
}

func (l *life) now() time.Time { return l.clock.Now() }

func (l *life) lapsed() bool { return !l.now().Before(l.ends) }

// at is a call through one of the gateways, with a token that is good.
func (l *life) at(method, target, body string) answer {
	l.Helper()
	g := l.gateways[l.rnd.IntN(len(l.gateways))]
	defer l.clock.Advance(time.Millisecond) // no two calls fall into one
	if !l.now().Before(l.tokenOld) {
		l.token = l.fetchToken(g)
		l.tokenOld = l.now().Add(2 * time.Hour)
	}
	return l.callAt(g, method, target, body)
}

func (l *life) write(c *customer) {
	if l.rnd.IntN(2) == 0 { // WeCom's time of it is exact then
		l.clock.Set(l.now().Add(time.Second - 1).Truncate(time.Second))
	}
	now := l.now()
	sameSecond := !c.wrote.IsZero() && now.Unix() == c.wrote.Unix() // send_time cannot tell the two apart
	l.platform.CustomerWrites(corpID, channel, c.id, "hello?")
	c.wrote, c.sent, c.odd, c.fewer = now, 0, sameSecond, false
	c.unread++
	l.log = append(l.log, c)
}

func (l *life) enter(c *customer) {
	text := l.platform.CustomerEnters(corpID, channel, c.id)
	l.codes = append(l.codes, &oneTime{text: text, at: len(l.log), deadline: l.now().Add(20 * time.Second)})
	l.log = append(l.log, nil)
}

// pull reads some pages, or one from before once more.
func (l *life) pull() {
	from := l.pulled
	if l.rnd.IntN(4) == 0 {
		from = l.rnd.IntN(l.pulled + 1)
	}
	for range 1 + l.rnd.IntN(4) {
		a := l.at("POST", "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"cursor":"%d","limit":%d}`, from, 1+l.rnd.IntN(8)))
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.Errcode != 0 {
			l.Fatalf("sync_msg: %s", a.body)
		}
		_, _ = fmt.Sscan(page.Next, &from)
		for ; l.pulled < from; l.pulled++ {
			if c := l.log[l.pulled]; c != nil {
				c.unread--
			}
		}
	}
}

// truth is what WeCom would say to a reply now.
func (c *customer) truth(now time.Time) int {
	switch {
	case c.wrote.IsZero() || !now.Before(c.wrote.Add(48*time.Hour)):
		return 95002
	case c.sent >= 5:
		return 95001
	}
	return 0
}

const sendMsg = "/cgi-bin/kf/send_msg"

// answer is a reply to c. At times WeCom fails, or its answer is lost.
func (l *life) answer(c *customer) {
	now, lapsed, truth := l.now(), l.lapsed(), c.truth(l.now())
	fails, breaks := l.rnd.IntN(12) == 0, l.rnd.IntN(12) == 0
	switch {
	case fails:
		l.platform.Answer(sendMsg, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"errcode":45009,"errmsg":"busy"}`)
		})
	case breaks:
		l.platform.Answer(sendMsg, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
	before := l.platform.Count(sendMsg)
	a := l.at("POST", sendMsg, replyTo(c.id))
	sent := l.platform.Count(sendMsg) - before
	l.platform.Answer(sendMsg, nil)

	what := fmt.Sprintf("%s at %s, wrote %s, %d sent, %d unread, odd %v, shut %d: %s", c.id, now, c.wrote, c.sent, c.unread, c.odd, c.shutAt, a.body)
	exact := c.unread == 0 && !c.odd
	shut := c.shutAt >= c.wrote.Unix() && c.unread == 0
	known := l.counted || !now.Before(c.shut.Add(time.Minute)) // to each gateway
	near := now.Unix() >= c.wrote.Add(48*time.Hour).Unix()     // send_time has whole seconds
	verdict := a.Header.Get("Replygate-Verdict")
	switch {
	case sent > 1:
		l.Errorf("sent %d times: %s", sent, what)
	case l.unsure(a, sent):
	case !lapsed:
		want := "" // it is not judged
		if breaks && !fails {
			want = "error" // the gateway's own answer
		}
		if verdict != want || sent != 1 {
			l.Errorf("in good standing: %s", what)
		}
		c.odd, c.fewer = true, true // it is not counted
	case verdict != "pass" && verdict != "refuse", (verdict == "pass") != (sent == 1):
		l.Errorf("verdict %q, %d sent: %s", verdict, sent, what)
	case sent == 1 && truth != 0 && !((c.fewer || !l.counted) && truth == 95001):
		l.Errorf("sent what WeCom refuses with %d: %s", truth, what)
	case sent == 1 && shut && known:
		l.Errorf("sent though an operator shut the window: %s", what)
	case sent == 0 && truth == 0 && exact && !shut && !near:
		l.Errorf("refused what WeCom takes: %s", what)
	case sent == 1 && exact && l.counted && a.Header.Get("Replygate-Replies-Left") != fmt.Sprint(4-c.sent):
		l.Errorf("%s replies left: %s", a.Header.Get("Replygate-Replies-Left"), what)
	}
	if sent != 1 {
		return
	}
	switch {
	case fails:
	case breaks: // the gateway cannot know
		c.odd = true
	case truth == 0:
		c.sent++
	default:
		c.odd = true // used up, by WeCom's word
	}
	if c.unread > 0 && now.Unix() == c.wrote.Unix() {
		c.odd, c.fewer = true, true // by send_time it may have been before the message
	}
}

// unsure tells whether the gateway could not judge: on a busy machine gateways may not hear of each
// other for a second. That is rare, and nothing goes out.
func (l *life) unsure(a answer, sent int) bool {
	if a.Header.Get("Replygate-Verdict") != "unsure" {
		return false
	}
	if l.unjudged++; sent > 0 || l.unjudged > 20 {
		l.Errorf("unsure for the %d. time, %d sent: %s", l.unjudged, sent, a.body)
	}
	return true
}

// answerOnEvent sends a message with a code.
func (l *life) answerOnEvent() {
	if len(l.codes) == 0 {
		return
	}
	code := l.codes[len(l.codes)-1-l.rnd.IntN(min(2, len(l.codes)))]
	before, lapsed := l.platform.Count(sendOnEvent), l.lapsed()
	now := l.now()
	live := now.Before(code.deadline) && !code.used
	a := l.at("POST", sendOnEvent, onEventWith(code.text))
	sent := l.platform.Count(sendOnEvent) - before
	switch {
	case l.unsure(a, sent):
	case sent == 1 && code.counted && now.Before(code.deadline.Add(24*time.Hour)): // later it may be forgotten, as it is past its deadline anyway
		l.Errorf("a used code went out: %+v: %s", *code, a.body)
	case sent == 0 && live && code.at < l.pulled:
		l.Errorf("refused what WeCom takes: %+v at %s: %s", *code, now, a.body)
	case sent == 1 && live && a.Errcode != 0:
		l.Errorf("WeCom did not take it: %+v: %s", *code, a.body)
	}
	if sent == 1 && a.Errcode == 0 {
		code.used, code.counted = true, lapsed
	}
}

// approach is what a lapsed company may not do.
func (l *life) approach() {
	path := []string{"/cgi-bin/externalcontact/add_msg_template", "/cgi-bin/externalcontact/groupchat/list", "/cgi-bin/externalcontact/send_welcome_msg"}[l.rnd.IntN(3)]
	before, lapsed := l.platform.Count(path), l.lapsed()
	a := l.at("POST", path, `{"welcome_code":"x"}`)
	if went := l.platform.Count(path) > before; went == lapsed {
		l.Errorf("%s: sent %v, lapsed %v: %s", path, went, lapsed, a.body)
	}
}

// shut is an operator's order.
func (l *life) shut(c *customer) {
	if c.unread > 0 || c.wrote.IsZero() {
		return
	}
	g := l.gateways[l.rnd.IntN(len(l.gateways))]
	found, err := g.windows.Close(l.Context(), window.Key{Corp: corpID, Channel: channel, Customer: c.id})
	if err != nil {
		l.Fatal(err)
	}
	if found {
		c.shutAt, c.shut = c.wrote.Unix(), l.now()
	}
}

// restart replaces a gateway, before it stops if two can be on the same store.
func (l *life) restart() {
	n := l.rnd.IntN(len(l.gateways))
	if l.redis.Mode == config.RedisEmbedded {
		if err := <-l.stops[n](); err != nil {
			l.Fatal(err)
		}
		l.gateways[n], l.stops[n] = l.startApart(l.redis, l.change)
	} else {
		g, stop := l.startApart(l.redis, l.change)
		old := l.stops[n]
		l.gateways[n], l.stops[n] = g, stop
		l.meet(len(l.gateways) + 1)
		if err := <-old(); err != nil {
			l.Fatal(err)
		}
	}
	l.gateway = l.gateways[0]
}

// meet awaits that n gateways know each other: they are degraded until then.
func (l *life) meet(n int) {
	if l.redis.Mode != config.RedisEmbedded {
		l.acquainted(l.gateways[0], n)
	}
}

// wait lets time go by, often up to where something changes, and tries it there.
func (l *life) wait(c *customer) {
	if l.rnd.IntN(3) > 0 {
		l.move(l.now().Add([]time.Duration{300 * time.Millisecond, time.Second, 7 * time.Second, time.Minute, time.Hour, 11 * time.Hour}[l.rnd.IntN(6)]))
		return
	}
	edge, try := c.wrote.Truncate(time.Second).Add(48*time.Hour), func() { l.answer(c) }
	if l.rnd.IntN(4) == 0 {
		edge, try = l.ends, l.approach
	}
	if edge = edge.Add([]time.Duration{-time.Second, -time.Millisecond, 0, time.Second}[l.rnd.IntN(4)]); edge.After(l.now()) {
		l.move(edge)
		try()
	}
}

// move lets it be a later time, for the embedded store too, which looks only once a second.
func (l *life) move(to time.Time) {
	l.clock.Set(to)
	if e := l.gateway.store.Embedded; e != nil {
		e.Tick()
	}
}

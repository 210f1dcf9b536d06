package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/proxy"
	"replygate/window"
)

// observing lets a gateway look at replies until the test ends, or finish is called.
func observing(t testing.TB, g *proxy.Gateway) (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.Observer.Run(ctx) })
	finish = func() { cancel(); running.Wait() }
	t.Cleanup(finish)
	return finish
}

// TestObserveReplies calls the gateway for accounts that are judged and that are not.
func TestObserveReplies(t *testing.T) {
	const text = `"msgtype":"text","text":{"content":"hello"}}`
	for name, c := range map[string]struct {
		corp, path, body string
		code             int // WeCom's answer
		observe          string
		want             bool // the window is answered
		untold           int
	}{
		"an active account":            {corpActive, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkActive",` + text, 0, "all", true, 0},
		"a lapsed account":             {corpLapsed, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkLapsed",` + text, 0, "all", true, 0},
		"a reply that WeCom refuses":   {corpActive, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkActive",` + text, 95018, "all", false, 0},
		"an ambiguous path":            {corpActive, "kf/send%5fmsg", `{"touser":"wmLi","open_kfid":"wkActive",` + text, 0, "all", true, 0},
		"a message on an event":        {corpActive, "kf/send_msg_on_event", `{"code":"c",` + text, 0, "all", false, 0},
		"another customer":             {corpActive, "kf/send_msg", `{"touser":"wmBo","open_kfid":"wkActive",` + text, 0, "all", false, 1},
		"names after eight kilobytes":  {corpActive, "kf/send_msg", `{"text":{"content":"` + strings.Repeat("x", 9<<10) + `"},"touser":"wmLi","open_kfid":"wkActive"}`, 0, "all", false, 1},
		"judged, names at its end":     {corpLapsed, "kf/send_msg", `{"text":{"content":"` + strings.Repeat("x", 9<<10) + `"},"msgtype":"text","touser":"wmLi","open_kfid":"wkLapsed"}`, 0, "all", true, 0},
		"a long text after the names":  {corpActive, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkActive","text":{"content":"` + strings.Repeat("x", 40<<10) + `"}}`, 0, "all", true, 0},
		"not observed":                 {corpActive, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkActive",` + text, 0, "judged", false, 0},
		"judged, where others are not": {corpLapsed, "kf/send_msg", `{"touser":"wmLi","open_kfid":"wkLapsed",` + text, 0, "judged", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHarness(t, func(config *config.Config) { config.Window.Observe = c.observe })
			finish := observing(t, r.gateway)
			k := window.Key{Corp: c.corp, Channel: map[string]string{corpActive: "wkActive", corpLapsed: wkLapsed}[c.corp], Customer: wmLi}
			r.wrote(k, r.clock.Now())
			r.replies("/cgi-bin/"+c.path, 200, fmt.Sprintf(`{"errcode":%d,"errmsg":"x","msgid":"m1"}`, c.code))
			if a := r.post("/cgi-bin/"+c.path, r.token(c.corp), c.body); a.status != 200 {
				t.Fatalf("HTTP %d %s", a.status, a.body)
			}
			finish()
			e, _, err := r.gateway.Windows.Show(t.Context(), k)
			untold, failed := r.gateway.Windows.Untold(t.Context(), window.Query{Corps: []string{c.corp}})
			if got := e.Window.Answered > 0; err != nil || failed != nil || got != c.want || len(untold) != c.untold {
				t.Errorf("answered = %v, want %v; %+v %v %v", got, c.want, untold, err, failed)
			}
		})
	}
}

// Replies that come while the queue is full are counted, and nothing can be told about their
// account.
func TestObserverDrops(t *testing.T) {
	r := newHarness(t, nil)
	k := window.Key{Corp: corpActive, Channel: "wkActive", Customer: wmLi}
	r.wrote(k, r.clock.Now())
	token := r.token(corpActive)
	r.replies("/cgi-bin/kf/send_msg", 200, `{"errcode":0,"errmsg":"ok"}`)
	r.gateway.Observer.Shrink(1)
	for range 3 {
		r.clock.Advance(time.Second)
		r.post("/cgi-bin/kf/send_msg", token, `{"touser":"wmLi","open_kfid":"wkActive","msgtype":"text","text":{"content":"hello"}}`)
	}
	observing(t, r.gateway)()
	untold, err := r.gateway.Windows.Untold(t.Context(), window.Query{})
	if n := r.gateway.Observer.Dropped(); n != 2 || err != nil || len(untold) != 1 || untold[0].Corp != corpActive || untold[0].Channels != nil || untold[0].Why != window.UntoldDropped {
		t.Errorf("dropped %d, %+v %v", n, untold, err)
	}
}

// byClient refuses to clients that no call of a test is what the active account may send.
func byClient(c *config.Config) {
	c.Clients = []config.Client{{Name: "pc", Header: "User-Agent", Contains: "WindowsWechat"}}
	c.Policy.Rules = []config.Rule{{Name: word("by-client"), Action: word("refuse"), Match: config.Match{Clients: []config.Word{word("pc")}}}}
	c.Accounts = c.Accounts[:1]
}

// A reply with several tokens or none is observed although nobody can ask its client any more.
func TestObserveRepliesWithoutOneToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		query string
		want  bool // the window is answered
	}{
		"two unknown tokens": {"?access_token=old&access_token=new", true}, // the only account's
		"two known tokens":   {"?access_token={A}&access_token={B}", true},
		"one is unknown":     {"?access_token={A}&access_token=new", true},
		"five tokens":        {"?access_token=1&access_token=2&access_token=3&access_token=4&access_token=5", true},
		"an odd name":        {"?Access_Token=old", true},
		"no token":           {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, byClient)
			finish := observing(t, r.gateway)
			k := window.Key{Corp: corpActive, Channel: "wkActive", Customer: wmLi}
			r.wrote(k, r.clock.Now())
			r.replies(sendMsg, 200, `{"errcode":0,"errmsg":"ok","msgid":"m1"}`)
			query := strings.NewReplacer("{A}", r.token(corpActive), "{B}", r.token(corpActive)).Replace(test.query)
			if a := r.ask(ask{target: sendMsg + query, body: toLi("wkActive")}); a.Errcode != 0 || a.header.Get("Replygate-Verdict") != "" {
				t.Fatalf("%+v", a)
			}
			finish()
			e, _, err := r.gateway.Windows.Show(t.Context(), k)
			if got := e.Window.Answered > 0; err != nil || got != test.want {
				t.Errorf("answered = %v, want %v; %v", got, test.want, err)
			}
			if n := r.log.FilterMessageSnippet("BUG").Len(); n != 0 {
				t.Errorf("%d panics: %v", n, r.log.FilterMessageSnippet("BUG").All())
			}
		})
	}
}

// A panic ends one observation, after which its account cannot be told to wait, and no other.
func TestAPanicEndsOneObservation(t *testing.T) {
	t.Parallel()
	for name, places := range map[string]int{"observed": 10, "dropped": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, func(c *config.Config) { c.Accounts = c.Accounts[:1] })
			k := window.Key{Corp: corpActive, Channel: "wkActive", Customer: wmLi}
			r.wrote(k, r.clock.Now())
			r.replies(sendMsg, 200, `{"errcode":0,"errmsg":"ok","msgid":"m1"}`)
			r.gateway.Observer.Shrink(places)
			for _, target := range []string{"?access_token=" + r.token(corpActive), "?access_token=unknown&access_token=another"} {
				if a := r.ask(ask{target: sendMsg + target, body: toLi("wkActive")}); a.Errcode != 0 {
					t.Fatalf("%+v", a)
				}
			}
			r.gateway.Tokens = nil // a bug of ours
			observing(t, r.gateway)()
			if n := r.log.FilterMessageSnippet("BUG").Len(); n != 1 {
				t.Errorf("%d records of the panic", n)
			}
			if e, _, err := r.gateway.Windows.Show(t.Context(), k); err != nil || e.Window.Answered == 0 {
				t.Errorf("the other reply: %+v %v", e, err)
			}
			untold, err := r.gateway.Windows.Untold(t.Context(), window.Query{})
			if err != nil || name == "observed" && len(untold) != 1 {
				t.Errorf("%+v %v", untold, err)
			}
		})
	}
}

// A reply that is dropped while Redis cannot be asked for its account is held until it can: then
// its own account is marked, and no other. At the end it may be any account's.
func TestObserverDropsWhileRedisIsAway(t *testing.T) {
	for name, test := range map[string]struct {
		returns bool
		want    int // accounts that are marked
	}{"it returns": {true, 1}, "it does not": {false, 2}} {
		t.Run(name, func(t *testing.T) {
			r := newHarness(t, func(c *config.Config) { c.Accounts[1].Subscription = nil }) // no call is judged
			if err := newTokens(r).Learn(t.Context(), "shared", corpActive, time.Hour); err != nil {
				t.Fatal(err)
			}
			r.replies("/cgi-bin/kf/send_msg", 200, `{"errcode":0,"errmsg":"ok"}`)
			r.gateway.Observer.Shrink(0)
			r.redis.away.Store(true)
			r.post("/cgi-bin/kf/send_msg", "shared", `{"touser":"wmLi","open_kfid":"wkActive","msgtype":"text","text":{"content":"hello"}}`)
			r.gateway.Observer.MarkLost(t.Context())
			r.redis.away.Store(!test.returns)
			observing(t, r.gateway)()
			r.redis.away.Store(false)
			untold, err := r.gateway.Windows.Untold(t.Context(), window.Query{})
			if err != nil || len(untold) != test.want || untold[0].Corp != corpActive {
				t.Errorf("%+v %v, want %d accounts marked", untold, err, test.want)
			}
		})
	}
}

package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/window"
)

// What WeCom's answer says of a reply decides whether its place is given back, and is counted
// beside the verdict. Only a readable refusal proves that nothing was sent.
func TestOutcomesOfReplies(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	for _, test := range []struct {
		name    string
		status  int
		answer  string
		state   window.State
		left    int    // of five
		counted string // as what errcode
	}{
		{"sent", 200, `{"errcode":0,"msgid":"m"}`, window.Open, 4, "ok"},
		{"refused", 200, `{"errcode":40058,"errmsg":"x"}`, window.Open, 5, "other"},
		{"busy", 200, `{"errcode":-1,"errmsg":"x"}`, window.Open, 5, "other"},
		{"five were sent", 200, `{"errcode":95001}`, window.Exhausted, 0, "95001"},
		{"the window is closed", 200, `{"errcode":95002}`, window.ClosedByPlatform, 5, "95002"},
		{"the session has ended", 200, `{"errcode":95013}`, window.Open, 5, "95013"},
		{"another state of the session", 200, `{"errcode":95018}`, window.Open, 5, "95018"},
		{"no JSON", 200, `<html>busy</html>`, window.Open, 4, ""},
		{"no errcode", 200, `{"msgid":"m"}`, window.Open, 4, "ok"},
		{"empty", 200, ``, window.Open, 4, ""},
		{"another HTTP status", 500, `{"errcode":40058}`, window.Open, 4, ""},
		{"a proxy's HTTP status", 403, `forbidden`, window.Open, 4, ""},
	} {
		r := newHarness(t, nil)
		token := r.token(corpLapsed)
		r.wrote(li, r.clock.Now())
		r.clock.Advance(time.Minute)
		r.replies(sendMsg, test.status, test.answer)
		var a answer
		moved := r.moved(func() { a = r.reply(token, wkLapsed, wmLi) })
		if a.status != test.status || a.body != test.answer || a.header.Get("Replygate-Verdict") != "pass" {
			t.Errorf("%s: the bot reads HTTP %d %s", test.name, a.status, a.body)
		}
		e, found, err := r.gateway.Windows.Show(t.Context(), li)
		if err != nil || !found || e.State != test.state || e.Left != test.left {
			t.Errorf("%s: the window is %v with %d left, %v; want %v with %d", test.name, e.State, e.Left, err, test.state, test.left)
		}
		counted := ""
		for name := range moved {
			if labels, ok := strings.CutPrefix(name, `replygate_upstream_errcodes_total{errcode="`); ok {
				counted += strings.TrimSuffix(labels, `",verdict="pass"}`)
			}
		}
		if counted != test.counted {
			t.Errorf("%s: counted as %q, want %q", test.name, counted, test.counted)
		}
	}
}

// A call that certainly was not sent gives back the place and the code that it took; one of unknown
// outcome keeps them.
func TestOutcomesWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	for _, test := range []struct {
		name      string
		change    func(*config.Config)
		status    int
		text      string
		left      int
		code      window.CodeState
		forwarded bool
	}{
		{"WeCom cannot be reached", func(c *config.Config) { c.Upstream.URL = "http://127.0.0.1:1" },
			502, "WeCom cannot be reached from the gateway; nothing was sent", 5, window.CodeTaken, false},
		{"its answer breaks off", nil, 502, "WeCom's answer broke off; the outcome is unknown, it may have taken the call", 4, window.CodeUsed, true},
		{"it does not answer in time", func(c *config.Config) { c.Upstream.Timeout = 50 * time.Millisecond },
			504, "WeCom did not answer in time; the outcome is unknown, it may have taken the call", 4, window.CodeUsed, true},
	} {
		r := newHarness(t, test.change)
		token := r.token(corpLapsed)
		r.wrote(li, r.clock.Now())
		r.learnsCode(window.Code{Key: li, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second)})
		release := make(chan struct{})
		for _, path := range []string{sendMsg, onEvent} {
			r.platform.Answer(path, func(_ http.ResponseWriter, call *http.Request) {
				if strings.Contains(test.name, "in time") {
					<-release
				}
				panic(http.ErrAbortHandler)
			})
		}
		for path, body := range map[string]string{sendMsg: toLi(wkLapsed), onEvent: `{"code":"C","msgtype":"text"}`} {
			a := r.post(path, token, body)
			if a.status != test.status || a.Errcode != 990000+test.status || !strings.HasPrefix(a.Errmsg, test.text) {
				t.Errorf("%s: %s: HTTP %d %s", test.name, path, a.status, a.body)
			}
			if _, d := r.lastRecords(); d["verdict"] != "pass" || d["fault"] == nil {
				t.Errorf("%s: record %v", test.name, d)
			}
			r.records.take(t, "")
		}
		close(release)
		e, _, err := r.gateway.Windows.Show(t.Context(), li)
		if err != nil || e.Left != test.left {
			t.Errorf("%s: %d replies are left, want %d, %v", test.name, e.Left, test.left, err)
		}
		if a := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "C"); a.State != test.code {
			t.Errorf("%s: the code is %v, want %v", test.name, a.State, test.code)
		}
	}
}

// learnsCode puts the code C on record.
func (r *harness) learnsCode(c window.Code) {
	r.Helper()
	if err := r.gateway.Windows.LearnCodes(r.Context(), []window.LearntCode{{Text: "C", Code: c}}); err != nil {
		r.Fatal(err)
	}
}

// A code that is refused, since its customer's window is closed, stays good.
func TestRefusedCodeStaysGood(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	token := r.token(corpLapsed)
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	r.learnsCode(window.Code{Key: li, Kind: "session_taken", Deadline: r.clock.Now().Add(48 * time.Hour)})
	call := ask{target: onEvent + "?access_token=" + token, body: `{"code":"C","msgtype":"text"}`}
	if got, want := r.fate(call), "refuse window_closed, wwLapsed by token"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	r.wrote(li, r.clock.Now())
	if got, want := r.fate(call), "pass window_open, wwLapsed by token, sent"; got != want {
		t.Errorf("once the customer wrote: %s, want %s", got, want)
	}
}

// A code is used up by the message that WeCom took with it, and good for another where it did not.
func TestOutcomesOfCodes(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	for errcode, want := range map[int]window.CodeState{0: window.CodeUsed, 40058: window.CodeTaken, 95002: window.CodeTaken, -1: window.CodeTaken} {
		r := newHarness(t, nil)
		r.learnsCode(window.Code{Key: li, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second)})
		r.replies(onEvent, 200, fmt.Sprintf(`{"errcode":%d}`, errcode))
		r.post(onEvent, r.token(corpLapsed), `{"code":"C","msgtype":"text"}`)
		if a := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "C"); a.State != want {
			t.Errorf("after errcode %d the code is %v, want %v", errcode, a.State, want)
		}
	}
}

// What Redis does not take of an outcome is logged: at worst one reply fewer is left, or a code
// counts as used.
func TestOutcomesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	r := newHarness(t, nil)
	token := r.token(corpLapsed)
	r.wrote(li, r.clock.Now())
	r.learnsCode(window.Code{Key: li, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second)})
	for _, test := range []struct{ path, body, line string }{
		{sendMsg, toLi(wkLapsed), "a reply could not be settled: at worst one fewer is left"},
		{onEvent, `{"code":"C","msgtype":"text"}`, "a one-time code could not be given back: it counts as used"},
	} {
		r.platform.Answer(test.path, func(w http.ResponseWriter, _ *http.Request) {
			r.redis.away.Store(true)
			_, _ = w.Write([]byte(`{"errcode":40058}`))
		})
		r.post(test.path, token, test.body)
		r.redis.away.Store(false)
		if n := r.log.FilterMessage(test.line).Len(); n != 1 {
			t.Errorf("%s: %d lines say it: %v", test.path, n, r.log.All())
		}
	}
	if e, _, err := r.gateway.Windows.Show(t.Context(), li); err != nil || e.Left != 4 {
		t.Errorf("%d replies are left, %v", e.Left, err)
	}
	if a := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "C"); a.State != window.CodeUsed {
		t.Errorf("the code is %v", a.State)
	}
}

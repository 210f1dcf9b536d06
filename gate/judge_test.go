package gate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Judge gives a whole call the outcome that the proxy gives it.
func TestJudge(t *testing.T) {
	const body = `{"touser":"open","open_kfid":"wk1","msgtype":"text"}`
	for _, test := range []struct {
		name, text string
		change     func(*gate.Call)
		want       string
		judged     bool
	}{
		{"a reply", "", nil, "pass window_open reply-inside-the-window", true},
		{"a closed window", "", func(c *gate.Call) { c.Body = []byte(strings.Replace(body, "open", "new", 1)) }, "refuse window_closed reply-inside-the-window", true},
		{"in good standing", "", func(c *gate.Call) { c.Corp = "wwGrace" }, "pass not_judged in-good-standing", false},
		{"not customer contact", "", func(c *gate.Call) { c.Path = []byte("/cgi-bin/media/upload") }, "pass not_judged not-customer-contact", false},
		{"an ambiguous path, not judged", "", func(c *gate.Call) { c.Path = []byte("/cgi-bin/media/%75pload") }, "pass not_judged ", false},
		{"an ambiguous path", "", func(c *gate.Call) { c.Path = []byte("/cgi-bin/kf/send_msg/") }, "refuse ambiguous_path ", true},
		{"an ambiguous body", "", func(c *gate.Call) { c.Body = []byte(`{"touser":"a","touser":"open"}`) }, "refuse ambiguous_body ", true},
		{"an encoded body", "", func(c *gate.Call) { c.Encoding = "gzip" }, "refuse ambiguous_body ", true},
		{"by its path", "", func(c *gate.Call) { c.Path, c.Body = []byte("/cgi-bin/externalcontact/get"), []byte("no JSON") }, "refuse rule_refuse no-customer-details", true},
		{"an unlisted corp", "", func(c *gate.Call) { c.Corp = "wwOther" }, "refuse unlisted_account ", true},
		{"an unlisted corp, not judged", "", func(c *gate.Call) { c.Corp, c.Path = "wwOther", []byte("/cgi-bin/media/upload") }, "pass not_judged not-customer-contact", false},
		{"an unlisted corp that passes", "unlisted_account: pass\n", func(c *gate.Call) { c.Corp = "wwOther" }, "pass not_judged in-good-standing", false},
		{"shadow mode", shadowMode, func(c *gate.Call) { c.Body = []byte(strings.Replace(body, "open", "new", 1)) }, "pass shadow_mode  / refuse window_closed reply-inside-the-window", true},
	} {
		g := newGate(t, accounts+test.text)
		in := reply("wwLapsed")
		in.Body = []byte(body)
		if test.change != nil {
			test.change(&in)
		}
		j, h, judged := g.Judge(t.Context(), in, withWindows())
		if got := outcome(j); got != test.want || judged != test.judged {
			t.Errorf("%s: %s, judged %v, want %s", test.name, got, judged, test.want)
		}
		if h.Who.CorpID != in.Corp || !h.At.Equal(now) || h.Route.Ambiguous() != strings.Contains(test.name, "ambiguous path") {
			t.Errorf("%s: head %+v", test.name, h)
		}
		if j.Decision.Verdict == policy.Pass && !j.Decision.Go {
			t.Errorf("%s: a pass is not forwarded", test.name)
		}
	}
}

// A body over limits.judged_body is not read for a judgement; one of just that size is.
func TestJudgedBodyLimit(t *testing.T) {
	g := newGate(t, accounts)
	limit := int(g.Config.Limits.JudgedBody)
	for size, want := range map[int]policy.Reason{limit: policy.WindowOpen, limit + 1: policy.AmbiguousBody} {
		in := reply("wwLapsed")
		in.Body = []byte(`{"touser":"open","open_kfid":"wk1","msgtype":"text"` + strings.Repeat(" ", size-52) + "}")
		if len(in.Body) != size {
			t.Fatalf("%d bytes", len(in.Body))
		}
		j, _, _ := g.Judge(t.Context(), in, withWindows())
		if j.Decision.Reason != want {
			t.Errorf("%d bytes: %s", size, j.Decision.Reason)
		}
		if want == policy.AmbiguousBody && !strings.HasPrefix(j.Decision.Errmsg, gate.ErrTooLarge.Error()) {
			t.Errorf("%q", j.Decision.Errmsg)
		}
	}
}

// JudgeReading reads the facts only if a rule needs them.
func TestJudgeReading(t *testing.T) {
	g := newGate(t, accounts)
	for path, want := range map[string]int{"/cgi-bin/kf/send_msg": 1, "/cgi-bin/externalcontact/get": 0, "/cgi-bin/media/upload": 0, "/cgi-bin/kf/send_msg/": 0} {
		in := reply("wwLapsed")
		in.Path = []byte(path)
		read := 0
		j, _, _ := g.JudgeReading(t.Context(), in, withWindows(), func(e *wecom.Endpoint) (wecom.Facts, error) {
			read++
			if e.Path != path {
				t.Errorf("it reads %s", e.Path)
			}
			return wecom.Facts{}, errors.New("unreadable")
		})
		if read != want {
			t.Errorf("%s: read %d times", path, read)
		}
		if want > 0 && (j.Decision.Reason != policy.AmbiguousBody || j.Decision.Errmsg != "unreadable; nothing was sent") {
			t.Errorf("%s: %+v", path, j.Decision)
		}
	}
}

// JudgeFacts gives the outcome of Judge for the same facts.
func TestJudgeFacts(t *testing.T) {
	g := newGate(t, accounts)
	facts := wecom.Facts{Channel: "wk1", Customers: []string{"open"}, MsgType: "text"}
	in := reply("wwLapsed")
	in.Body = []byte("not read")
	j, _, judged := g.JudgeFacts(t.Context(), in, facts, withWindows())
	if outcome(j) != "pass window_open reply-inside-the-window" || !judged || j.Decision.Left != 4 || len(j.Keys) != 1 {
		t.Errorf("%s: %+v", outcome(j), j)
	}
}

// A peeking store answers as the real one would after the call, and changes nothing.
func TestPeeking(t *testing.T) {
	key := func(customer string) window.Key { return window.Key{Corp: "wwLapsed", Customer: customer} }
	s := withWindows()
	p := gate.Peeking(s)
	for range 3 {
		if a := p.Reserve(t.Context(), key("open")); a.State != window.Open || a.Left != 4 {
			t.Errorf("Reserve: %+v", a)
		}
		if a := p.Peek(t.Context(), key("open")); a[0].Left != 5 {
			t.Errorf("Peek: %+v", a)
		}
		if a := p.ConsumeCode(t.Context(), "wwLapsed", "fresh"); a.State != window.CodeTaken {
			t.Errorf("ConsumeCode: %+v", a)
		}
	}
	if a := p.Reserve(t.Context(), key("closed")); a.State != window.Closed || a.Left != 0 {
		t.Errorf("a closed window: %+v", a)
	}
	if s.changed() {
		t.Errorf("it did %v", s.did)
	}
}

// The same call is judged by the account's standing of its time.
func TestJudgeAtStanding(t *testing.T) {
	g := newGate(t, accounts)
	lapses := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at   time.Time
		want string
	}{
		{lapses.Add(-time.Millisecond), "pass not_judged in-good-standing"},
		{lapses, "refuse rule_refuse no-customer-details"},
	} {
		in := details("wwGrace")
		in.At = test.at
		if j, _, _ := g.Judge(t.Context(), in, &memory{}); outcome(j) != test.want {
			t.Errorf("%s: %s, want %s", test.at, outcome(j), test.want)
		}
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/gate"
	"replygate/replay"
	"replygate/store/storetest"
	"replygate/window"
)

// agreeing is a gateway before a WeCom that takes everything, and a plain reference of what is to
// become of calls, written apart: it shares nothing with the code that judges.
type agreeing struct {
	*rig
	retries int // because Redis could not be told from lost
	wire    *storetest.Wire
	away    bool                    // Redis is cut off
	fresh   bool                    // records do not reach back far enough
	windows map[window.Key]plainWin // as they should be
	seen    map[window.Key]bool     // that the gateway saw open
	tokens  map[string]string
}

// plainWin is the reference of a window.
type plainWin struct {
	age  time.Duration // of the customer's last message
	sent int
	shut bool
}

const agreeRules = `
policy:
  rules:
    - { name: no-videos, match: { capabilities: [kf_reply], msgtypes: [video] }, action: refuse }
    - { name: details-for-two, match: { capabilities: [customer_details], accounts: [wwLapsed2] }, action: pass }
    - { name: mass-to-windows, match: { endpoints: [/cgi-bin/externalcontact/add_msg_template], accounts: [wwLapsed2] }, action: reply }
    - { name: few-contacts, match: { capabilities: [group_management] }, when: account.contacts < 3000, action: pass }
    - { name: soon, match: { capabilities: [customer_moments] }, action: pass, mode: shadow }
`

func newAgreeing(t *testing.T) *agreeing {
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	redis := server.Config()
	redis.Addrs, redis.Timeout = []string{wire.Addr().String()}, 300*time.Millisecond
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"errcode":0,"errmsg":"ok","access_token":"token-of-%s","expires_in":7200}`, r.URL.Query().Get("corpid"))
	}))
	t.Cleanup(upstream.Close)
	a := &agreeing{wire: wire, windows: map[window.Key]plainWin{}, seen: map[window.Key]bool{}, tokens: map[string]string{}}
	a.rig = newRig(t, redis, func(c *config.Config) {
		now := time.Now()
		total := func(n int) *config.Contacts { return &config.Contacts{Free: 2000, Total: &n} }
		over, paid := &config.Subscription{ExpiresAt: now.Add(-1000 * time.Hour)}, &config.Subscription{ExpiresAt: now.Add(1000 * time.Hour)}
		c.Upstream.URL, c.Policy.UnsureWait = upstream.URL, 0
		c.Accounts = []config.Account{
			{CorpID: "wwActive", Subscription: paid},
			{CorpID: "wwGrace", Subscription: &config.Subscription{ExpiresAt: now.Add(-time.Hour), Grace: 72 * time.Hour}, Contacts: total(5000)},
			{CorpID: "wwFree", Subscription: over, Contacts: total(100)},
			{CorpID: "wwLapsed", Subscription: over, Contacts: total(2500)},
			{CorpID: "wwLapsed2", Subscription: over},
		}
		own, err := config.Parse("rules", []byte("accounts: [{ corp_id: wwLapsed2 }]"+agreeRules))
		if err != nil {
			t.Fatal(err)
		}
		c.Policy.Rules = own.Policy.Rules
	})
	a.clock.Advance(time.Hour + time.Minute) // Redis drops windows by its own clock: here only later
	for _, corp := range []string{"wwActive", "wwGrace", "wwFree", "wwLapsed", "wwLapsed2", "wwOther"} {
		a.tokens[corp] = tokenOf(t, raw(t, a.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret=s", "")))
	}
	return a
}

// fill lets customers write at the ages where something changes.
func (a *agreeing) fill() {
	now := a.clock.Now()
	for _, corp := range []string{"wwLapsed", "wwLapsed2"} {
		for _, channel := range []string{"wk1", ""} {
			for i := range 150 {
				k := window.Key{Corp: corp, Channel: channel, Customer: fmt.Sprintf("wm%d", i)}
				w := plainWin{age: []time.Duration{time.Minute, time.Hour, 48*time.Hour - time.Millisecond, 47*time.Hour + 59*time.Minute, 48 * time.Hour, 72 * time.Hour}[i%6]}
				if i%10 == 9 {
					continue // never wrote
				}
				a.clock.Set(now.Add(-w.age))
				if _, err := a.gateway.windows.Record(a.Context(), []window.Fact{{Key: k, At: now.Add(-w.age)}}); err != nil {
					a.Fatal(err)
				}
				a.clock.Set(now)
				if i%7 == 3 && w.age < 48*time.Hour {
					if _, err := a.gateway.windows.Close(a.Context(), k); err != nil {
						a.Fatal(err)
					}
					w.shut = true
				}
				a.windows[k] = w
			}
		}
	}
}

// try is one call.
type try struct {
	corp, path, kind, channel, customer string
}

func (c try) body() string {
	if c.path == "/cgi-bin/externalcontact/add_msg_template" {
		return fmt.Sprintf(`{"external_userid":[%q],"text":{"content":"x"}}`, c.customer)
	}
	if c.path != "/cgi-bin/kf/send_msg" {
		return `{}`
	}
	switch c.kind {
	case "ambiguous":
		return fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"touser":"wmOther","msgtype":"text"}`, c.customer, c.channel)
	case "nobody":
		return fmt.Sprintf(`{"open_kfid":%q,"msgtype":"text"}`, c.channel)
	}
	return fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":%q}`, c.customer, c.channel, c.kind)
}

// plain is what is to become of a call.
type plain struct{ verdict, rule, reason string }

var unjudged = plain{"pass", "", "not_judged"}

// want is the reference.
func (a *agreeing) want(c try) plain {
	good := c.corp == "wwActive" || c.corp == "wwGrace" || c.corp == "wwFree"
	refused := func(rule string) plain {
		switch {
		case good:
			return unjudged
		case c.corp == "wwOther":
			return plain{"refuse", "", "unlisted_account"}
		}
		return plain{"refuse", rule, "rule_refuse"}
	}
	switch c.path {
	case "/cgi-bin/message/send", "/cgi-bin/kf/account/list", "/cgi-bin/made_up":
		return unjudged
	case "/cgi-bin/externalcontact/get", "/cgi-bin//externalcontact//get":
		if c.corp == "wwLapsed2" {
			return unjudged
		}
		return refused("no-customer-details")
	case "/cgi-bin/externalcontact/get/":
		w := refused("")
		if c.corp == "wwLapsed2" {
			return unjudged
		}
		if w.reason == "rule_refuse" {
			w.reason = "ambiguous_path"
		}
		return w
	case "/cgi-bin/externalcontact/add_contact_way":
		return refused("no-adding-customers")
	case "/cgi-bin/externalcontact/made_up":
		return refused("no-unknown-customer-interfaces")
	case "/cgi-bin/externalcontact/add_moment_task":
		w := refused("no-moments")
		return w
	case "/cgi-bin/externalcontact/groupchat/list":
		switch c.corp {
		case "wwActive", "wwLapsed2": // their contacts are not known
			return plain{"unsure", "few-contacts", "when_failed"}
		case "wwOther":
			return plain{"refuse", "", "unlisted_account"}
		}
		return unjudged
	case "/cgi-bin/externalcontact/add_msg_template":
		if c.corp == "wwLapsed2" {
			return a.byWindow("mass-to-windows", window.Key{Corp: c.corp, Customer: c.customer}, false)
		}
		return refused("no-mass-messages")
	}
	switch {
	case c.corp == "wwOther":
		return plain{"refuse", "", "unlisted_account"}
	case c.kind == "ambiguous":
		return plain{"refuse", "", "ambiguous_body"}
	case c.kind == "video":
		return plain{"refuse", "no-videos", "rule_refuse"}
	case good:
		return plain{"pass", "in-good-standing", "rule_pass"}
	case c.kind == "business_card":
		return plain{"refuse", "no-adding-customers", "rule_refuse"}
	case c.kind == "nobody":
		return plain{"refuse", "reply-inside-the-window", "recipients_missing"}
	}
	return a.byWindow("reply-inside-the-window", window.Key{Corp: c.corp, Channel: c.channel, Customer: c.customer}, true)
}

func (a *agreeing) byWindow(rule string, k window.Key, counted bool) plain {
	w, wrote := a.windows[k]
	open := wrote && w.age < 48*time.Hour
	switch {
	case a.away && a.seen[k] && open:
		return plain{"pass", rule, "window_remembered"}
	case a.away:
		return plain{"unsure", rule, "store_unavailable"}
	case !open && a.fresh:
		return plain{"unsure", rule, "history_incomplete"}
	case !open:
		return plain{"refuse", rule, "window_closed"}
	case w.shut:
		return plain{"refuse", rule, "window_shut"}
	case w.sent >= 5:
		a.seen[k] = true
		return plain{"refuse", rule, "replies_used_up"}
	}
	a.seen[k] = true
	return plain{"pass", rule, "window_open"}
}

// sent notes what a call that the proxy let go changes.
func (a *agreeing) sent(c try, w plain) {
	if w.reason == "window_open" && c.path == "/cgi-bin/kf/send_msg" {
		k := window.Key{Corp: c.corp, Channel: c.channel, Customer: c.customer}
		p := a.windows[k]
		p.sent++
		a.windows[k] = p
	}
}

func (a *agreeing) call(c try) (got plain, id string) {
	separator := "?"
	ans := raw(a, a.gateway.api.Addr().String(), request("POST", c.path+separator+"access_token="+a.tokens[c.corp], c.body(), "Content-Type: application/json"))
	if ans.Header.Get("Replygate-Verdict") == "" {
		return unjudged, ""
	}
	return plain{ans.Header.Get("Replygate-Verdict"), ans.Header.Get("Replygate-Rule"), ans.Header.Get("Replygate-Reason")}, ans.Header.Get("Replygate-Decision-Id")
}

func plainOf(verdict, rule, reason string) plain {
	if reason == "not_judged" {
		rule = "" // explain names the rule that lets it, the proxy asks none
	}
	return plain{verdict, rule, reason}
}

func (a *agreeing) explain(c try) plain {
	in := admin.ExplainCall{CorpID: c.corp, Path: c.path, Body: c.body(), ContentType: "application/json", At: a.clock.Now()}
	e := admin.ExplanationOf(a.gateway.inForce().Explain(context.Background(), in.Call(), a.gateway.windows, false), false)
	return plainOf(e.Verdict, e.Rule, e.Reason)
}

func (a *agreeing) preflight(c try) plain {
	ask := gate.Ask{Endpoint: c.path, Channel: c.channel, Customer: c.customer, MsgType: c.kind}
	if c.path == "/cgi-bin/externalcontact/add_msg_template" {
		ask.Channel = ""
	}
	if w, wrote := a.windows[window.Key{Corp: c.corp, Channel: ask.Channel, Customer: c.customer}]; !a.away && wrote && w.age < 48*time.Hour && !w.shut {
		a.seen[window.Key{Corp: c.corp, Channel: ask.Channel, Customer: c.customer}] = true // it looks at all windows first
	}
	o := a.gateway.inForce().Preflight(context.Background(), c.corp, "", a.clock.Now(), []gate.Ask{ask}, a.gateway.windows)[0]
	return plainOf(o.Verdict, o.Rule, o.Reason)
}

// maxRetries bounds how often a run may wait for Redis.
const maxRetries = 5

// withoutDoubt asks again while what would be refused is not known: one command that Redis answers
// late, on a busy machine, leaves it unknown for five seconds.
func (a *agreeing) withoutDoubt(want plain, ask func() plain) plain {
	a.Helper()
	got := ask()
	if a.away || got.reason != "store_unavailable" || want.reason == "store_unavailable" {
		return got
	}
	if a.retries++; a.retries > maxRetries {
		a.Fatalf("Redis was awaited %d times in one run", a.retries)
	}
	a.await("Redis", func() bool { got = ask(); return got.reason != "store_unavailable" })
	return got
}

// Explain, preflight, the proxy and replay come to the same as a plain reference, over random
// calls: at the edges of windows, on the first day, in an outage, with ambiguous bodies and paths,
// of corps that are not listed.
func TestTheyAgree(t *testing.T) {
	a := newAgreeing(t)
	a.fill()
	random := rand.New(rand.NewPCG(7, 8))
	paths := []string{
		"/cgi-bin/message/send", "/cgi-bin/kf/account/list", "/cgi-bin/made_up", "/cgi-bin/externalcontact/get", "/cgi-bin//externalcontact//get",
		"/cgi-bin/externalcontact/get/", "/cgi-bin/externalcontact/add_contact_way", "/cgi-bin/externalcontact/made_up", "/cgi-bin/externalcontact/add_moment_task",
		"/cgi-bin/externalcontact/groupchat/list", "/cgi-bin/externalcontact/add_msg_template",
	}
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	wanted, reasons := map[string]plain{}, map[string]int{}
	const calls = 10_000
	for n := range calls {
		switch n {
		case calls * 6 / 10:
			a.fresh = true
			a.since(-2 * time.Hour) // earlier than the stamps of replies, which Redis's clock limits
		case calls * 8 / 10:
			a.away = true
			a.wire.Cut()
			a.wire.Reset()
		}
		c := try{corp: pick("wwActive", "wwGrace", "wwFree", "wwLapsed", "wwLapsed", "wwLapsed2", "wwOther"), path: pick(paths...), channel: "wk1", customer: fmt.Sprintf("wm%d", random.IntN(160)), kind: "text"}
		if random.IntN(2) == 0 {
			c.path, c.kind = "/cgi-bin/kf/send_msg", pick("text", "text", "text", "text", "video", "business_card", "ambiguous", "nobody", "image")
			c.channel = pick("wk1", "wk1", "wk1", "")
		}
		want := a.want(c)
		reasons[want.reason]++
		if got := a.withoutDoubt(want, func() plain { return a.explain(c) }); got != want {
			t.Fatalf("call %d %+v: explain says %+v, want %+v", n, c, got, want)
		}
		if c.kind != "ambiguous" && c.kind != "nobody" {
			if got := a.withoutDoubt(want, func() plain { return a.preflight(c) }); got != want {
				t.Fatalf("call %d %+v: preflight says %+v, want %+v", n, c, got, want)
			}
		}
		got, id := a.call(c)
		if got != want {
			t.Fatalf("call %d %+v: the proxy says %+v, want %+v", n, c, got, want)
		}
		if id != "" {
			wanted[id] = want
		}
		a.sent(c, want)
	}
	for _, reason := range []string{"not_judged", "rule_pass", "rule_refuse", "unlisted_account", "ambiguous_body", "ambiguous_path", "when_failed", "recipients_missing",
		"window_open", "window_closed", "window_shut", "replies_used_up", "history_incomplete", "store_unavailable", "window_remembered"} {
		if reasons[reason] < 5 {
			t.Errorf("only %d calls came to %s: the test shows little", reasons[reason], reason)
		}
	}
	a.replays(wanted)
}

// replays judges the records of all calls by the same rules: nothing tips over, and what is judged
// comes to the same.
func (a *agreeing) replays(wanted map[string]plain) {
	a.Helper()
	found := 0
	lines := bufio.NewScanner(strings.NewReader(a.log()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct{ Msg, ID, Endpoint string }
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Msg != "decision" {
			continue
		}
		want, known := wanted[r.ID]
		if !known {
			continue
		}
		found++
		o, err := replay.Judge(a.gateway.inForce(), lines.Bytes())
		if strings.HasSuffix(r.Endpoint, "/") {
			if err == nil {
				a.Fatalf("replay judges an ambiguous path: %s", lines.Bytes())
			}
			continue
		}
		if got := (plain{o.Verdict, o.Rule, o.Reason}); err != nil || got != want {
			a.Fatalf("replay says %+v, %v, want %+v: %s", got, err, want, lines.Bytes())
		}
	}
	if found != len(wanted) {
		a.Errorf("%d records of %d decisions", found, len(wanted))
	}
	report, err := replay.Run(a.gateway.inForce(), strings.NewReader(a.log()), func(int64) {})
	if err != nil || report.Changed() != 0 || report.Calls < len(wanted)*9/10 {
		a.Errorf("the same rules, once more: %+v, %v", report, err)
	}
}

package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/window"
)

const mass = "/cgi-bin/externalcontact/add_msg_template"

// word is a value of a rule.
func word(text string) config.Word { return config.Word{Text: text} }

// A refusal says in WeCom's shape what was refused, why, and what to do, in body and headers alike,
// and sends nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	if err := r.gateway.Tokens.Learn(t.Context(), "unlisted", "wwUnlisted", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.gateway.Tokens.Learn(t.Context(), "later", corpLapsed, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		ask     ask
		chinese bool
		status  int
		errcode int
		rule    string
		text    string
	}{
		{"an interface", ask{target: mass + "?access_token=later", body: "{}"}, false, 200, 48002, "no-mass-messages", "the account's subscription has lapsed, and this interface ("},
		{"the same in Chinese", ask{target: mass + "?access_token=later", body: "{}"}, true, 200, 48002, "no-mass-messages", "该企业的订阅已失效，不能使用此接口（"},
		{"a customer who never wrote", ask{target: sendMsg + "?access_token=later", body: toLi(wkLapsed)}, false, 200, 95002, "reply-inside-the-window", "the customer has not written within 48 h; wait for a message"},
		{"no customer", ask{target: sendMsg + "?access_token=later", body: `{"open_kfid":"wkLapsed","msgtype":"text"}`}, false, 200, 40058, "reply-inside-the-window", "the call names no customer; give the one it replies to"},
		{"an unknown code", ask{target: onEvent + "?access_token=later", body: `{"code":"C","msgtype":"text"}`}, false, 200, 95002, "reply-inside-the-window", "the gateway never saw where this code comes from"},
		{"a business card", ask{target: sendMsg + "?access_token=later", body: strings.Replace(toLi(wkLapsed), `"text"`, `"business_card"`, 1)}, false, 200, 48002, "no-adding-customers", "this interface ("},
		{"a corp that is not listed", ask{target: mass + "?access_token=unlisted", body: "{}"}, false, 200, 48002, "-", "the gateway does not know this account; add corp wwUnlisted to accounts"},
		{"no token", ask{target: mass, body: "{}"}, false, 200, 41001, "-", "the call has no access_token; put it in the query"},
		{"two tokens", ask{target: mass + "?access_token=later&access_token=x", body: "{}"}, false, 400, 990400, "-", "send exactly one, written plainly"},
		{"two accounts", ask{host: "active.example", target: "/corp/wwLapsed" + mass + "?access_token=x", body: "{}"}, false, 200, 48002, "-", "the call names two accounts: wwLapsed and wwActive; check its path, its Host and its open_kfid"},
		{"an ambiguous path", ask{target: "/cgi-bin/kf/%2e%2e/externalcontact/add_msg_template?access_token=later", body: "{}"}, false, 200, 40058, "-", "send it as WeCom documents it"},
		{"an ambiguous body", ask{target: sendMsg + "?access_token=later", body: `{"touser":"a","touser":"b"}`}, false, 200, 40058, "-", "; nothing was sent"},
	} {
		r.reconfigure(func(c *config.Config) {
			named(c)
			if test.chinese {
				c.Policy.Language = config.Chinese
			}
		})
		r.platform.Forget()
		a := r.ask(test.ask)
		own := a.Replygate
		rule := strings.ReplaceAll(test.rule, "-", "")
		if a.status != test.status || a.Errcode != test.errcode || !strings.Contains(a.Errmsg, test.text) ||
			!strings.HasSuffix(a.Errmsg, "; rule="+test.rule+", id="+own.DecisionID) || own.Verdict != "refuse" || strings.ReplaceAll(own.Rule, "-", "") != rule {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.body)
		}
		h := a.header
		if h.Get("Error-Code") != fmt.Sprint(test.errcode) || h.Get("Replygate-Verdict") != "refuse" || h.Get("Replygate-Rule") != own.Rule ||
			h.Get("Replygate-Reason") != own.Reason || h.Get("Replygate-Decision-Id") != own.DecisionID || h.Get("Content-Type") != "application/json; charset=UTF-8" {
			t.Errorf("%s: headers %v", test.name, h)
		}
		if want := a.Errmsg; test.chinese && h.Get("Error-Msg") != own.Reason || !test.chinese && h.Get("Error-Msg") != want {
			t.Errorf("%s: Error-Msg %q", test.name, h.Get("Error-Msg"))
		}
		if n := len(r.platform.Calls()); n != 0 {
			t.Errorf("%s: %d calls reached WeCom", test.name, n)
		}
	}
}

// A rule's own errcode and text replace those of its reason.
func TestRefusalOfARule(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		c.Policy.Rules = []config.Rule{{
			Name: word("no-media"), Action: word("refuse"), Match: config.Match{Capabilities: []config.Word{word("media")}},
			Refusal: &config.Refusal{Errcode: 60011, Errmsg: "ask Zhang"},
		}}
	})
	a := r.ask(ask{target: "/cgi-bin/media/get?access_token=" + r.token(corpActive)})
	if a.Errcode != 60011 || a.Errmsg != "ask Zhang; rule=no-media, id="+a.Replygate.DecisionID || a.Replygate.Reason != "rule_refuse" {
		t.Errorf("%s", a.body)
	}
}

// A body that servers may read differently is refused where it is judged, and passes where not.
func TestAmbiguousBodies(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
	r.platform.CustomerWrites(corpLapsed, wkLapsed, wmLi, "hello")
	for _, test := range []struct {
		name, head, body string
	}{
		{"two customers", "", `{"touser":"wmLi","open_kfid":"wkLapsed","msgtype":"text","touser":"wmZhao"}`},
		{"two channels", "", `{"touser":"wmLi","open_kfid":"wkLapsed","msgtype":"text","open_kfid":"wk2"}`},
		{"a name in another case", "", `{"touser":"wmLi","open_kfid":"wkLapsed","msgtype":"text","ToUser":"wmZhao"}`},
		{"an escaped name", "", `{"touser":"wmLi","open_kfid":"wkLapsed","msgtype":"text","to\u0075ser":"wmZhao"}`},
		{"a customer with a blank", "", `{"touser":"wmLi ","open_kfid":"wkLapsed","msgtype":"text"}`},
		{"a customer that is a list", "", `{"touser":["wmLi"],"open_kfid":"wkLapsed","msgtype":"text"}`},
		{"cut", "", toLi(wkLapsed)[:50]},
		{"a second object", "", toLi(wkLapsed) + `{"touser":"wmZhao"}`},
		{"a list", "", `[` + toLi(wkLapsed) + `]`},
		{"compressed", "Content-Encoding: gzip\r\n", zipped(toLi(wkLapsed))},
		{"UTF-16", "", "\xff\xfe{\x00}\x00"},
	} {
		r.platform.Forget()
		a := r.ask(ask{target: sendMsg + "?access_token=" + lapsed, body: test.body, head: test.head})
		if a.Errcode != 40058 || a.Replygate.Reason != "ambiguous_body" || !strings.Contains(a.Errmsg, "; nothing was sent; rule=-") || len(r.platform.Calls()) != 0 {
			t.Errorf("%s: %s", test.name, a.body)
		}
		a = r.ask(ask{target: sendMsg + "?access_token=" + active, body: test.body, head: test.head})
		if calls := r.platform.Calls(); len(calls) != 1 || string(calls[0].Body) != test.body || a.header.Get("Replygate-Verdict") != "" {
			t.Errorf("%s: of the active account: %s", test.name, a.body)
		}
	}
	if got := r.reply(lapsed, wkLapsed, wmLi); got.header.Get("Replygate-Replies-Left") != "4" {
		t.Errorf("an ambiguous body was counted as a reply: %v", got.header)
	}
}

// A body over limits.judged_body is not judged: it is refused where rules need it, and streams
// where they do not.
func TestBodyTooLargeToJudge(t *testing.T) {
	t.Parallel()
	const limit = 1 << 10
	padded := func(n int) string { b := toLi(wkLapsed); return b + strings.Repeat(" ", n-len(b)) }
	for _, test := range []struct {
		name    string
		corp    string // of the token, "" for an unknown one
		change  func(*config.Config)
		body    string
		chunked bool
		want    string // verdict and reason, or what the gateway answers by itself
		sent    bool
	}{
		{"as long as the limit", corpLapsed, nil, padded(limit), false, "pass window_open", true},
		{"in chunks", corpLapsed, nil, padded(limit), true, "pass window_open", true},
		{"longer", corpLapsed, nil, padded(limit + 1), false, "error body_too_large", false},
		{"longer, in chunks", corpLapsed, nil, padded(limit + 1), true, "error body_too_large", false},
		{"of the active account", corpActive, nil, padded(limit + 1), false, " ", true},
		{"of an unknown caller", "", named, padded(limit + 1), false, "refuse unknown_token", false},
		{"where a rule in shadow needs it", corpActive, shadowReply, padded(limit + 1), true, "pass rule_pass", true},
		{"in shadow mode", corpLapsed, shadowMode, padded(limit + 1), true, "pass shadow_mode", true},
	} {
		r := newHarness(t, func(c *config.Config) {
			c.Limits.JudgedBody = limit
			if test.change != nil {
				test.change(c)
			}
		})
		r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
		token := "unknown"
		if test.corp != "" {
			token = r.token(test.corp)
		}
		head := fmt.Sprintf("POST %s?access_token=%s HTTP/1.1\r\nHost: g\r\n", sendMsg, token)
		request := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(test.body), test.body)
		if test.chunked {
			request = fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(test.body), test.body)
		}
		a := r.send(r.api, request)
		if got := a.header.Get("Replygate-Verdict") + " " + a.header.Get("Replygate-Reason"); got != test.want {
			t.Errorf("%s: %s, want %s: %s", test.name, got, test.want, a.body)
		}
		if test.want == "error body_too_large" && (a.status != 413 || a.Errcode != 990413 || !a.closed ||
			!strings.Contains(a.Errmsg, "the body is larger than the 1KB that the gateway takes for this call; nothing was sent")) {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.body)
		}
		calls := r.platform.Calls()
		if (len(calls) == 1) != test.sent || test.sent && string(calls[0].Body) != test.body {
			t.Errorf("%s: %d calls reached WeCom", test.name, len(calls))
		}
	}
}

// shadowReply adds a rule in shadow that needs the windows of the active account's customers.
func shadowReply(c *config.Config) {
	c.Policy.Rules = []config.Rule{{
		Name: word("trial"), Action: word("reply"), Mode: word(config.Shadow),
		Match: config.Match{Accounts: []config.Word{word(corpActive)}, Capabilities: []config.Word{word("kf_reply")}},
	}}
}

func shadowMode(c *config.Config) { c.Policy.Mode = config.Shadow }

// What would become of a call if the rules in shadow applied is in a header and in its record, and
// changes nothing.
func TestShadow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(*config.Config)
		ask     ask // {A} and {L} are tokens
		verdict string
		shadow  string
	}{
		{"a reply", shadowReply, ask{target: sendMsg + "?access_token={A}", body: toLi("wkActive")}, "pass rule_pass", "refuse; rule=trial; reason=window_closed"},
		{"a reply in the window", shadowReply, ask{target: sendMsg + "?access_token={A}", body: strings.Replace(toLi("wkActive"), "wmLi", "wmOpen", 1)}, "pass rule_pass", "pass; rule=trial; reason=window_open"},
		{"an ambiguous body", shadowReply, ask{target: sendMsg + "?access_token={A}", body: `{"touser":1,"touser":2}`}, "pass rule_pass", "refuse; rule=; reason=ambiguous_body"},
		{"another account", shadowReply, ask{target: sendMsg + "?access_token={L}", body: toLi(wkLapsed)}, "refuse window_closed", ""},
		{"an interface", shadowMode, ask{target: mass + "?access_token={L}", body: "{}"}, "pass shadow_mode", "refuse; rule=no-mass-messages; reason=rule_refuse"},
		{"a reply in shadow mode", shadowMode, ask{target: sendMsg + "?access_token={L}", body: toLi(wkLapsed)}, "pass shadow_mode", "refuse; rule=reply-inside-the-window; reason=window_closed"},
		{"no token", shadowMode, ask{target: mass, body: "{}"}, "pass shadow_mode", "refuse; rule=; reason=missing_token"},
		{"an unknown token", shadowMode, ask{target: mass + "?access_token=u", body: "{}"}, "pass shadow_mode", "refuse; rule=; reason=unknown_token"},
		{"two tokens", shadowMode, ask{target: mass + "?access_token={L}&access_token={A}", body: "{}"}, "pass shadow_mode", "refuse; rule=; reason=ambiguous_credential"},
		{"an ambiguous path", shadowMode, ask{target: "/cgi-bin/kf/../externalcontact/add_msg_template?access_token={L}", body: "{}"}, "pass shadow_mode", "refuse; rule=; reason=ambiguous_path"},
		{"a broken body", shadowMode, ask{target: sendMsg + "?access_token={L}", body: `{"touser":`}, "pass shadow_mode", "refuse; rule=; reason=ambiguous_body"},
		{"a broken body under another path", shadowMode, ask{target: "//cgi-bin//kf/send_msg?access_token={L}", body: `{"touser":`}, "pass shadow_mode", "refuse; rule=; reason=ambiguous_body"},
		{"a reply under another path", shadowMode, ask{target: "//cgi-bin//kf/send_msg?access_token={L}", body: toLi(wkLapsed)}, "pass shadow_mode", "refuse; rule=reply-inside-the-window; reason=window_closed"},
		{"what passes", shadowMode, ask{target: "/cgi-bin/media/get?access_token={L}"}, " ", ""},
	} {
		r := newHarness(t, test.change)
		r.wrote(window.Key{Corp: corpActive, Channel: "wkActive", Customer: "wmOpen"}, r.clock.Now())
		test.ask.target = strings.NewReplacer("{L}", r.token(corpLapsed), "{A}", r.token(corpActive)).Replace(test.ask.target)
		a := r.ask(test.ask)
		if got := a.header.Get("Replygate-Verdict") + " " + a.header.Get("Replygate-Reason"); got != test.verdict || a.header.Get("Replygate-Shadow") != test.shadow {
			t.Errorf("%s: %s, in shadow %q\nwant %s, %q", test.name, got, a.header.Get("Replygate-Shadow"), test.verdict, test.shadow)
		}
		calls := r.platform.Calls()
		path, _, _ := strings.Cut(test.ask.target, "?")
		if passes := !strings.HasPrefix(test.verdict, "refuse"); (len(calls) == 1) != passes || passes && (string(calls[0].Body) != test.ask.body || calls[0].Path != path) {
			t.Errorf("%s: WeCom gets %+v", test.name, calls)
		}
		_, d := r.lastRecords()
		recorded := ""
		if s, ok := d["shadow"].(map[string]any); ok {
			recorded = fmt.Sprintf("%v; rule=%v; reason=%v", s["verdict"], s["rule"], s["reason"])
		}
		if recorded != test.shadow {
			t.Errorf("%s: the record has %q in shadow, want %q", test.name, recorded, test.shadow)
		}
	}
}

// With partial: trim a call goes on to the customers that it may reach, and the answer names the
// others as WeCom names those that it does not reach.
func TestTrimmedCustomers(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/kf/customer/batchget"
	r := newHarness(t, func(c *config.Config) {
		c.Policy.Rules = []config.Rule{{
			Name: word("some"), Action: word("reply"), Partial: word(config.Trim),
			Match: config.Match{Endpoints: []config.Word{word(path)}},
		}}
	})
	token := r.token(corpLapsed)
	for _, customer := range []string{"wmA", "wmB"} {
		r.wrote(window.Key{Corp: corpLapsed, Customer: customer}, r.clock.Now())
	}
	for _, test := range []struct {
		name, body, sent string // what WeCom gets, "" if nothing
		answer, got      string // of WeCom, and what the bot reads
		reason           string
		trimmed          float64
	}{
		{"one of three", `{ "external_userid_list" : ["wmA","wmX", "wmB"], "x": 1 }`, `{ "external_userid_list" : ["wmA","wmB"], "x": 1 }`, `{"errcode":0,"customer_list":[]}`, `{"invalid_external_userid":["wmX"],"errcode":0,"customer_list":[]}`, "recipients_trimmed", 1},
		{"two, and one of WeCom's", `{"external_userid_list":["wmX","wmA","wmY"]}`, `{"external_userid_list":["wmA"]}`, `{"errcode":0,"invalid_external_userid":["wmA"]}`, `{"errcode":0,"invalid_external_userid":["wmA","wmX","wmY"]}`, "recipients_trimmed", 2},
		{"an errcode", `{"external_userid_list":["wmX","wmA"]}`, `{"external_userid_list":["wmA"]}`, `{"errcode":95000}`, `{"errcode":95000}`, "recipients_trimmed", 1},
		{"an answer that nobody can read", `{"external_userid_list":["wmX","wmA"]}`, `{"external_userid_list":["wmA"]}`, `<html>`, `<html>`, "recipients_trimmed", 1},
		{"none", `{"external_userid_list":["wmA","wmB"]}`, `{"external_userid_list":["wmA","wmB"]}`, `{"errcode":0}`, `{"errcode":0}`, "window_open", 0},
		{"all", `{"external_userid_list":["wmX","wmY"]}`, "", "", "", "window_closed", 0},
	} {
		r.platform.Forget()
		r.records.take(t, "")
		r.replies(path, 200, test.answer)
		a := r.post(path, token, test.body)
		if a.header.Get("Replygate-Reason") != test.reason || test.sent != "" && a.body != test.got {
			t.Errorf("%s: %s %s, want %s %s", test.name, a.header.Get("Replygate-Reason"), a.body, test.reason, test.got)
		}
		sent := ""
		if calls := r.platform.Calls(); len(calls) > 0 {
			sent = string(calls[0].Body)
		}
		if sent != test.sent {
			t.Errorf("%s: WeCom gets %s, want %s", test.name, sent, test.sent)
		}
		if _, d := r.lastRecords(); d["trimmed"] != nil && d["trimmed"] != test.trimmed || d["trimmed"] == nil && test.trimmed != 0 {
			t.Errorf("%s: the record has %v trimmed, want %v", test.name, d["trimmed"], test.trimmed)
		}
	}
	r.replies(path, 200, zipped(`{"errcode":0}`), "Content-Encoding: gzip")
	a := r.post(path, token, `{"external_userid_list":["wmX","wmA"]}`)
	if a.body != `{"invalid_external_userid":["wmX"],"errcode":0}` || a.header.Get("Content-Encoding") != "" {
		t.Errorf("a compressed answer: %v %s", a.header, a.body)
	}
	if n := r.log.FilterMessage("a call went on without some of its customers, and the answer could not say so").Len(); n != 0 {
		t.Errorf("%d lines about answers, though none was read", n) // one that is no JSON is no answer of WeCom
	}
}

// The headers of a reply say when its window closes and how many replies are left, where that is
// known.
func TestHeadersOfAWindow(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	for _, test := range []struct {
		name         string
		change       func(*config.Config)
		prepare      func(r *harness)
		path, body   string
		reason, left string
		closes       bool // 48 hours after now
	}{
		{"an open window", nil, func(r *harness) { r.wrote(li, r.clock.Now()) }, sendMsg, toLi(wkLapsed), "window_open", "4", true},
		{"where replies are not counted", func(c *config.Config) { c.Window.Replies = 0 }, func(r *harness) { r.wrote(li, r.clock.Now()) }, sendMsg, toLi(wkLapsed), "window_open", "", true},
		{"a customer who never wrote", nil, func(*harness) {}, sendMsg, toLi(wkLapsed), "window_closed", "0", false},
		{"a gap in the history", nil, func(r *harness) { r.history(0) }, sendMsg, toLi(wkLapsed), "history_incomplete", "unknown", false},
		{"Redis is away", nil, func(r *harness) { r.redis.away.Store(true) }, sendMsg, toLi(wkLapsed), "store_unavailable", "unknown", false},
		{"Redis is away, but the window was seen", nil, func(r *harness) {
			r.wrote(li, r.clock.Now())
			r.platform.CustomerWrites(corpLapsed, wkLapsed, wmLi, "hello")
			r.reply(r.token(corpLapsed), wkLapsed, wmLi)
			r.redis.away.Store(true)
		}, sendMsg, toLi(wkLapsed), "window_remembered", "unknown", true},
		{"a message by a code", nil, func(r *harness) {
			r.wrote(li, r.clock.Now())
			r.learnsCode(window.Code{Key: li, Kind: "session_taken", Deadline: r.clock.Now().Add(48 * time.Hour)})
		}, onEvent, `{"code":"C","msgtype":"text"}`, "window_open", "", false},
		{"an interface", nil, func(*harness) {}, mass, "{}", "rule_refuse", "", false},
	} {
		r := newHarness(t, test.change)
		token := r.token(corpLapsed)
		test.prepare(r)
		a := r.post(test.path, token, test.body)
		closes := ""
		if test.closes {
			closes = r.clock.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
		}
		if h := a.header; h.Get("Replygate-Reason") != test.reason || h.Get("Replygate-Replies-Left") != test.left || h.Get("Replygate-Window-Closes") != closes {
			t.Errorf("%s: %v, want %s, %q left, closes %q", test.name, h, test.reason, test.left, closes)
		}
	}
}

// What was judged is what goes on: a path that WeCom could read in another way is written plainly.
// A call that passes unread goes on as it came.
func TestPathThatGoesOn(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
	for _, test := range []struct{ path, token, sent string }{
		{"//cgi-bin//kf/send_msg", lapsed, "/cgi-bin/kf/send_msg"},
		{"//cgi-bin//kf/send_msg", active, "//cgi-bin//kf/send_msg"},
		{"/cgi-bin/kf/send_msg", lapsed, "/cgi-bin/kf/send_msg"},
		{"/corp/wwLapsed//cgi-bin/kf/send_msg", lapsed, "/cgi-bin/kf/send_msg"},
	} {
		r.platform.Forget()
		r.platform.CustomerWrites(corpLapsed, wkLapsed, wmLi, "hello")
		r.ask(ask{target: test.path + "?debug=1&access_token=" + test.token + "&x=%20", body: toLi(wkLapsed)})
		calls := r.platform.Calls()
		if len(calls) != 1 || calls[0].Path != test.sent || calls[0].Query != "debug=1&access_token="+test.token+"&x=%20" {
			t.Errorf("%s: WeCom gets %+v", test.path, calls)
		}
	}
}

// A corp that accounts does not list is judged as a lapsed one, or passes, by unlisted_account.
func TestUnlistedAccount(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	if err := r.gateway.Tokens.Learn(t.Context(), "x", "wwUnlisted", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ setting, target, body, want string }{
		{config.Refuse, mass, "{}", "refuse unlisted_account, wwUnlisted by token"},
		{config.Refuse, sendMsg, toLi("wk"), "refuse unlisted_account, wwUnlisted by token"},
		{config.Refuse, "/cgi-bin/user/get", "", "unread, sent"},
		{config.Pass, mass, "{}", "unread, wwUnlisted by token, sent"},
		{config.Pass, sendMsg, toLi("wk"), "unread, wwUnlisted by token, sent"},
	} {
		r.reconfigure(func(c *config.Config) { c.UnlistedAccount = test.setting })
		if got := r.fate(ask{target: test.target + "?access_token=x", body: test.body}); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.setting, test.target, got, test.want)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// ruleOf reads one rule as a file has it.
func ruleOf(t *testing.T, text string) config.Rule {
	t.Helper()
	c, err := config.Parse("rule", []byte("accounts: [{ corp_id: ww1 }]\npolicy: { rules: ["+text+"] }\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Policy.Rules[0]
}

// In shadow mode nothing is refused: what would be reaches WeCom as it came, and the answer says
// so.
func TestShadowMode(t *testing.T) {
	eachStore(t, func(c *config.Config) {
		reauthenticating(c)
		c.Policy.Mode, c.Limits.JudgedBody = config.Shadow, 2<<10
	}, func(r *rig) {
		r.platform.SetContacts(corpID, 2500, 1) // with as few as contacts.free the account would be free
		r.golden()
		for _, c := range lines(r.T, "golden/refused.tsv", 3) {
			r.platform.Forget()
			a := r.call(c[0], c[1], c[2], "Content-Type: application/json")
			calls := r.platform.Calls()
			path, _, _ := strings.Cut(c[1], "?")
			if len(calls) != 1 || calls[0].Path != path || string(calls[0].Body) != c[2] {
				r.Errorf("%s %s %s: reached WeCom as %+v: %s", c[0], c[1], c[2], calls, a.body)
				continue
			}
			if !strings.HasPrefix(a.Header.Get("Replygate-Shadow"), "refuse; rule=") || a.Header.Get("Replygate-Verdict") != "pass" || a.Header.Get("Replygate-Reason") != "shadow_mode" {
				r.Errorf("%s %s: %v", c[0], c[1], a.Header)
			}
		}
		for _, c := range lines(r.T, "golden/passed.tsv", 3) {
			r.platform.Forget()
			if a := r.call(c[0], c[1], c[2], "Content-Type: application/json"); len(r.platform.Calls()) != 1 || strings.HasPrefix(a.Header.Get("Replygate-Shadow"), "refuse") {
				r.Errorf("%s %s: %v", c[0], c[1], a.Header)
			}
		}
		long := replyTo(wrote)[:len(replyTo(wrote))-2] + strings.Repeat("x", 4<<10) + `"}}`
		chunked := fmt.Sprintf("POST /cgi-bin/kf/send_msg?access_token=%s HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", r.token, len(long), long)
		for name, call := range map[string]struct{ request, shadow string }{
			"an ambiguous body":          {request("POST", "/cgi-bin/kf/send_msg?access_token="+r.token, `{"touser":"a","touser":"b"}`), "ambiguous_body"},
			"a long body":                {request("POST", "/cgi-bin/kf/send_msg?access_token="+r.token, long), "ambiguous_body"},
			"a long body in chunks":      {chunked, "ambiguous_body"},
			"a token that nobody learnt": {request("GET", "/cgi-bin/externalcontact/get?access_token=strange", ""), "unknown_token"},
			"no token":                   {request("GET", "/cgi-bin/externalcontact/get", ""), "missing_token"},
			"two tokens":                 {request("GET", "/cgi-bin/externalcontact/get?access_token=A&access_token="+r.token, ""), "ambiguous_credential"},
		} {
			r.platform.Forget()
			a := raw(r, r.gateway.api.Addr().String(), call.request)
			if n := len(r.platform.Calls()); n != 1 || !strings.HasSuffix(a.Header.Get("Replygate-Shadow"), "; reason="+call.shadow) {
				r.Errorf("%s: reached WeCom %d times, %v %s", name, n, a.Header, a.body)
			}
			if body := string(r.platform.Calls()[0].Body); strings.Contains(name, "long") && body != long {
				r.Errorf("%s: %d bytes arrived of %d", name, len(body), len(long))
			}
		}
		if log := r.log(); !strings.Contains(log, `"shadow":{"verdict":"refuse"`) {
			r.Errorf("no record of what would have been:\n%.2000s", log)
		}
	})
}

// Replies are counted in shadow mode too, so that what would be is right.
func TestShadowModeCounts(t *testing.T) {
	eachStore(t, func(c *config.Config) { c.Policy.Mode = config.Shadow }, func(r *rig) {
		r.writes(wrote)
		for n := range 6 {
			a := r.reply(wrote, "pass", "shadow_mode")
			want := "pass; rule=reply-inside-the-window; reason=window_open"
			if n == 5 {
				want = "refuse; rule=reply-inside-the-window; reason=replies_used_up"
			}
			if got := a.Header.Get("Replygate-Shadow"); got != want {
				r.Errorf("reply %d: %s, want %s", n+1, got, want)
			}
		}
	})
}

// A rule in shadow changes nothing, and tells what it would have.
func TestShadowRule(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts = append(c.Accounts, config.Account{CorpID: "wwPaying"})
		c.Policy.Rules = []config.Rule{
			ruleOf(t, `{ name: details-soon, match: { capabilities: [customer_details] }, action: refuse, mode: shadow }`),
			ruleOf(t, `{ name: no-videos-soon, match: { capabilities: [kf_reply], msgtypes: [video] }, action: refuse, mode: shadow }`),
			ruleOf(t, `{ name: mass-to-windows, match: { capabilities: [mass_message] }, action: reply, mode: shadow }`),
		}
	})
	r.platform.AddCorp("wwPaying", secret, "wkPaying")
	paying := tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid=wwPaying&corpsecret="+secret, "")))
	r.writes(wrote)
	lapsed := r.fetchToken(r.gateway)
	video := strings.Replace(replyTo(wrote), `"msgtype":"text"`, `"msgtype":"video"`, 1)
	for _, test := range []struct{ name, token, method, target, body, verdict, shadow string }{
		{"lapsed: both refuse", lapsed, "GET", "/cgi-bin/externalcontact/get", "", "refuse", "refuse; rule=details-soon; reason=rule_refuse"},
		{"paying: it would refuse", paying, "GET", "/cgi-bin/externalcontact/get", "", "pass", "refuse; rule=details-soon; reason=rule_refuse"},
		{"paying: the body decides", paying, "POST", "/cgi-bin/kf/send_msg", video, "pass", "refuse; rule=no-videos-soon; reason=rule_refuse"},
		{"paying: an ambiguous body goes on", paying, "POST", "/cgi-bin/kf/send_msg", `{"msgtype":"a","msgtype":"b"}`, "pass", "refuse; rule=; reason=ambiguous_body"},
		{"lapsed: a reply", lapsed, "POST", "/cgi-bin/kf/send_msg", replyTo(wrote), "pass", ""},
		{"lapsed: a video", lapsed, "POST", "/cgi-bin/kf/send_msg", video, "pass", "refuse; rule=no-videos-soon; reason=rule_refuse"},
		{"lapsed: a mass message that would pass", lapsed, "POST", "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["` + wrote + `"]}`, "refuse", "pass; rule=mass-to-windows; reason=recipients_missing"},
		{"lapsed: a mass message to all", lapsed, "POST", "/cgi-bin/externalcontact/add_msg_template", `{"sender":"x"}`, "refuse", "refuse; rule=mass-to-windows; reason=recipients_implicit"},
	} {
		r.platform.Forget()
		a := raw(t, r.gateway.api.Addr().String(), request(test.method, test.target+"?access_token="+test.token, test.body, "Content-Type: application/json"))
		if strings.Contains(test.shadow, "recipients_missing") { // on no channel nobody wrote
			test.shadow = "refuse; rule=mass-to-windows; reason=window_closed"
		}
		if got := a.Header.Get("Replygate-Verdict"); got != test.verdict || a.Header.Get("Replygate-Shadow") != test.shadow {
			t.Errorf("%s: verdict %s, shadow %q, want %s, %q: %s", test.name, got, a.Header.Get("Replygate-Shadow"), test.verdict, test.shadow, a.body)
		}
		calls := r.platform.Calls()
		if (len(calls) == 1) != (test.verdict == "pass") || len(calls) == 1 && string(calls[0].Body) != test.body {
			t.Errorf("%s: reached WeCom %d times", test.name, len(calls))
		}
	}
	metrics := string(r.adminCall("GET", "/metrics", "").body)
	if !strings.Contains(metrics, `replygate_shadow_decisions_total{capability="customer_details",reason="rule_refuse",rule="details-soon",verdict="refuse"} 2`) {
		t.Error("shadow decisions are not counted")
	}
}

// A mass message goes on with those who may be reached; the rest come back as WeCom reports them.
func TestTrimmedCall(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Policy.Rules = []config.Rule{ruleOf(t, `{ name: mass-to-windows, match: { capabilities: [mass_message] }, action: reply, partial: trim }`)}
	})
	at := r.clock.Now().Add(-time.Hour).Format(time.RFC3339)
	report := fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":"","customer":"wmA","at":%q},{"corp_id":%q,"channel":"","customer":"wmC","at":%q}]}`, corpID, at, corpID, at)
	if a := r.adminCall("POST", "/v1/inbound", report); a.StatusCode != http.StatusOK {
		t.Fatalf("%s", a.body)
	}
	a := r.call("POST", "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["wmA","wmB","wmC","wmD"],"text":{"content":"hi"}}`, "Content-Type: application/json")
	var out struct {
		Errcode int
		Fail    []string `json:"fail_list"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.Errcode != 0 || fmt.Sprint(out.Fail) != "[wmFAILEDAAAA wmB wmD]" { // the first is WeCom's own
		t.Errorf("the answer: %s", a.body)
	}
	if a.Header.Get("Replygate-Reason") != "recipients_trimmed" {
		t.Errorf("%v", a.Header)
	}
	calls := r.platform.Calls()
	if last := calls[len(calls)-1]; string(last.Body) != `{"external_userid":["wmA","wmC"],"text":{"content":"hi"}}` {
		t.Errorf("arrived: %s", last.Body)
	}
	if a := r.call("POST", "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["wmB","wmD"]}`, "Content-Type: application/json"); a.Gate.Reason != "window_closed" {
		t.Errorf("nobody may be reached: %s", a.body)
	}
	if log := r.log(); !strings.Contains(log, `"trimmed":2`) {
		t.Error("the record does not tell of the trimming")
	}
}

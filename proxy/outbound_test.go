package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A reply passes while the customer's window is open, is counted, and says so in headers and
// records.
func TestReplyInAnOpenWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	r.wecom.CustomerWrites("wwLapsed", "wk", "wm", "hello")
	if a := r.pull(token); a.status != 200 || a.Errcode != 0 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	for left := 4; left >= 0; left-- {
		a := r.reply(token, "wm")
		h := a.header
		if a.Errcode != 0 || h.Get("Replygate-Verdict") != "pass" || h.Get("Replygate-Reason") != "window_open" && left == 4 {
			t.Fatalf("%d left: %s %v", left, a.text, h)
		}
		if got := h.Get("Replygate-Replies-Left"); got != string(rune('0'+left)) {
			t.Errorf("%s replies are left, want %d", got, left)
		}
		closes, err := time.Parse(time.RFC3339, h.Get("Replygate-Window-Closes"))
		if in := time.Until(closes); err != nil || in < 47*time.Hour || in > 48*time.Hour {
			t.Errorf("the window closes in %v, %v", in, err)
		}
	}
	a := r.reply(token, "wm")
	if a.Errcode == 0 || a.Replygate.Verdict != "refuse" || r.wecom.Count("/cgi-bin/kf/send_msg") != 5 {
		t.Errorf("the sixth reply: %s; %d reached WeCom", a.text, r.wecom.Count("/cgi-bin/kf/send_msg"))
	}
	d, q := r.lines.last("decision"), r.lines.last("request")
	for member, want := range map[string]any{"id": a.Replygate.ID, "corp_id": "wwLapsed", "account": "shop", "standing": "lapsed", "endpoint": "/cgi-bin/kf/send_msg", "capability": "kf_reply", "verdict": "refuse", "reason": a.Replygate.Reason, "forwarded": false, "channel": "wk", "read": true} {
		if d[member] != want {
			t.Errorf("the decision record has %s = %v, want %v", member, d[member], want)
		}
	}
	for member, want := range map[string]any{"method": "POST", "path": "/cgi-bin/kf/send_msg", "status": 200.0, "verdict": "refuse", "decision_id": a.Replygate.ID, "corp_id": "wwLapsed", "capability": "kf_reply"} {
		if q[member] != want {
			t.Errorf("the access record has %s = %v, want %v", member, q[member], want)
		}
	}
	if n := r.count("replygate_decisions_total", map[string]string{"capability": "kf_reply", "verdict": "pass", "forwarded": "true"}); n != 5 {
		t.Errorf("%v passes are counted", n)
	}
	if n := r.count("replygate_upstream_errcodes_total", map[string]string{"errcode": "ok"}); n != 5 {
		t.Errorf("%v answers of WeCom are counted", n)
	}
}

// What WeCom answers settles the reservation of a reply.
func TestWeComsAnswerSettlesAReply(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		code int
		left string // in the headers of the next reply, "" if it is refused
	}{
		{"sent", 0, "3"},
		{"rejected for another reason", 40058, "4"},
		{"the quota is exhausted", 95001, ""},
		{"the window is closed", 95002, ""},
	} {
		r := newRig(t, twoAccounts)
		token := r.token("wwLapsed")
		r.wecom.CustomerWrites("wwLapsed", "wk", "wm", "hello")
		r.pull(token)
		r.wecom.FailNext("/cgi-bin/kf/send_msg", test.code)
		if a := r.reply(token, "wm"); a.Errcode != test.code || a.header.Get("Replygate-Verdict") != "pass" {
			t.Errorf("%s: %s", test.name, a.text)
		}
		next := r.reply(token, "wm")
		if verdict := next.header.Get("Replygate-Verdict"); (verdict == "pass") != (test.left != "") || test.left != "" && next.header.Get("Replygate-Replies-Left") != test.left {
			t.Errorf("%s: the next reply: %s, %s left", test.name, verdict, next.header.Get("Replygate-Replies-Left"))
		}
	}
}

// A reply that was certainly not sent gives its place back; one of unknown outcome does not.
func TestUnreachableSettlesAReply(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	r.wecom.CustomerWrites("wwLapsed", "wk", "wm", "hello")
	r.pull(token)
	r.wecom.Answer("/cgi-bin/kf/send_msg", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	a := r.reply(token, "wm")
	if a.status != 502 || a.Errcode != 990502 {
		t.Errorf("an answer that breaks off: %d %s", a.status, a.text)
	}
	r.wecom.Answer("/cgi-bin/kf/send_msg", nil)
	if a := r.reply(token, "wm"); a.header.Get("Replygate-Replies-Left") != "3" {
		t.Errorf("the reply of unknown outcome was given back: %v", a.header)
	}
}

func TestInterfacesOfALapsedAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	lapsed, active := r.token("wwLapsed"), r.token("wwActive")
	const mass = "/cgi-bin/externalcontact/add_msg_template?access_token="
	for _, test := range []struct {
		name, method, target, body string
		status                     int
		verdict, reason            string // "" if it is not judged
		reaches                    bool
	}{
		{"an interface of a lapsed account", "POST", mass + lapsed, "{}", 200, "refuse", "rule_refuse", false},
		{"the same of an active one", "POST", mass + active, "{}", 200, "", "", true},
		{"what every account may do", "GET", "/cgi-bin/get_api_domain_ip?access_token=" + lapsed, "", 200, "", "", true},
		{"no token", "POST", strings.TrimSuffix(mass, "=") + "x=1", "{}", 200, "refuse", "missing_token", false},
		{"two tokens", "POST", mass + lapsed + "&access_token=" + active, "{}", 400, "refuse", "ambiguous_credential", false},
		{"an ambiguous path", "POST", "/cgi-bin/kf/..%2fexternalcontact/add_msg_template?access_token=" + lapsed, "{}", 200, "refuse", "ambiguous_path", false},
		{"a body that cannot be read", "POST", "/cgi-bin/kf/send_msg?access_token=" + lapsed, `{"touser":1,`, 200, "refuse", "ambiguous_body", false},
		{"a path of the gateway's own", "GET", "/replygate/nothing", "", 404, "error", "unknown_path", false},
		{"a long URL", "GET", "/cgi-bin/user/get?x=" + strings.Repeat("x", 17<<10), "", 414, "error", "target_too_long", false},
	} {
		r.wecom.Forget()
		a := r.call(test.method, test.target, test.body)
		if a.status != test.status || a.header.Get("Replygate-Verdict") != test.verdict || a.header.Get("Replygate-Reason") != test.reason {
			t.Errorf("%s: %d %v %.200s", test.name, a.status, a.header, a.text)
		}
		if reached := len(r.wecom.Calls()) > 0; reached != test.reaches {
			t.Errorf("%s: it reached WeCom: %v", test.name, reached)
		}
		if test.verdict != "" {
			if d := r.lines.last("decision"); d["id"] != a.header.Get("Replygate-Decision-Id") || d["verdict"] != test.verdict || d["reason"] != test.reason {
				t.Errorf("%s: its record: %v", test.name, d)
			}
		}
	}
}

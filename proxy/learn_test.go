package proxy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/window"
)

const syncMsg = "/cgi-bin/kf/sync_msg"

// page is an answer of kf/sync_msg with these items.
func page(items ...string) string {
	return `{"errcode":0,"errmsg":"ok","next_cursor":"c","has_more":0,"msg_list":[` + strings.Join(items, ",") + `]}`
}

// message is an item of a page: what a customer wrote.
func message(channel, customer string, at time.Time) string {
	return fmt.Sprintf(`{"msgid":"%s-%d","open_kfid":%q,"external_userid":%q,"send_time":%d,"origin":3,"msgtype":"text","text":{"content":"x"}}`,
		customer, at.UnixNano(), channel, customer, at.Unix())
}

// answerWith has a path answer a body.
func (r *rig) answerWith(path, body string, header ...string) {
	r.wecom.Answer(path, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = w.Write([]byte(body))
	})
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// state is what the gateway knows of a customer of wwLapsed.
func (r *rig) state(channel, customer string) window.State {
	return r.Windows.Peek(r.t.Context(), window.Key{Corp: "wwLapsed", Channel: channel, Customer: customer})[0].State
}

// A page of messages opens windows, whatever shape it comes in, and reaches the bot as it came.
func TestPagesOpenWindows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	plain := page(message("wk", "wm", now))
	long := page(message("wk", "wm", now), message("wk", "pad", now)+strings.Repeat(" ", 100<<10))
	for _, test := range []struct {
		name, answer string
		header       []string
		want         string // what the bot reads
	}{
		{"short", plain, nil, plain},
		{"long", long, nil, long},
		{"compressed unasked", gzipped(plain), []string{"Content-Encoding", "gzip"}, gzipped(plain)},
		{"chunked", plain, []string{"Transfer-Encoding", "chunked"}, plain},
	} {
		r := newRig(t, twoAccounts)
		token := r.token("wwLapsed")
		r.answerWith(syncMsg, test.answer, test.header...)
		a := r.call("POST", syncMsg+"?access_token="+token, `{"open_kfid":"wk"}`, "Accept-Encoding", "br")
		if a.text != test.want {
			t.Errorf("%s: the bot reads %d bytes, want %d", test.name, len(a.text), len(test.want))
		}
		if s := r.state("wk", "wm"); s != window.Open {
			t.Errorf("%s: the window is %v", test.name, s)
		}
		if n := r.count("replygate_inbound_total", map[string]string{"source": "sync_msg", "result": "recorded"}); n < 1 {
			t.Errorf("%s: %v messages are counted", test.name, n)
		}
		if got := r.wecom.Calls()[len(r.wecom.Calls())-1].Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("%s: WeCom is asked for %q, though the answer is read", test.name, got)
		}
	}
}

// What cannot be recorded is counted, warned about, and leaves a gap: no reply is refused because a
// message is missing.
func TestPagesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, answer string
		items        float64
		header       []string
	}{
		{"cut JSON", `{"errcode":0,"msg_list":[{"msgid":"1",`, 2, nil}, // the item and the page,
		{"an item without a customer", page(fmt.Sprintf(`{"msgid":"1","open_kfid":"wk","send_time":%d,"origin":3,"msgtype":"text"}`, time.Now().Unix())), 1, nil},
		{"an unknown encoding", page(message("wk", "wm", time.Now())), 1, []string{"Content-Encoding", "br"}},
	} {
		r := newRig(t, twoAccounts)
		token := r.token("wwLapsed")
		r.answerWith(syncMsg, test.answer, test.header...)
		if a := r.call("POST", syncMsg+"?access_token="+token, `{"open_kfid":"wk"}`); a.text != test.answer {
			t.Errorf("%s: the bot reads %q", test.name, a.text)
		}
		if n := r.count("replygate_inbound_total", map[string]string{"source": "sync_msg", "result": "unreadable"}); n != test.items {
			t.Errorf("%s: %v are counted", test.name, n)
		}
		if r.log.FilterMessageSnippet("passed unrecorded").Len() == 0 {
			t.Errorf("%s: no warning: %v", test.name, r.log.All())
		}
		if a := r.reply(token, "wmNeverWrote"); a.header.Get("Replygate-Verdict") == "refuse" {
			t.Errorf("%s: a reply is refused across the gap: %s", test.name, a.text)
		}
	}
}

// An answer that is no success teaches nothing.
func TestFailedAnswersTeachNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	for name, h := range map[string]http.HandlerFunc{
		"an errcode": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(page(message("wk", "wm", time.Now())), `"errcode":0`, `"errcode":95000`, 1)))
		},
		"a status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = w.Write([]byte(page(message("wk", "wm", time.Now()))))
		},
	} {
		r.wecom.Answer(syncMsg, h)
		r.pull(token)
		if s := r.state("wk", "wm"); s == window.Open {
			t.Errorf("%s opens a window", name)
		}
	}
	r.answerWith("/cgi-bin/gettoken", `{"errcode":40013,"errmsg":"x","access_token":"T","expires_in":7200}`)
	r.call("GET", "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s", "")
	if corp, _, _ := r.Tokens.Owner(t.Context(), "T"); corp != "" {
		t.Errorf("the token of a refusal belongs to %s", corp)
	}
}

// WeCom's delivery failures correct the window of their customer.
func TestDeliveryFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fail  int
		state window.State
		label string
	}{
		{4, window.ClosedByPlatform, "send_failed_window"},
		{6, window.Exhausted, "send_failed_count"},
		{10, window.ClosedByPlatform, "send_failed_refused"},
	} {
		r := newRig(t, twoAccounts)
		token := r.token("wwLapsed")
		r.wecom.CustomerWroteAt("wwLapsed", "wk", "wm", "x", time.Now().Add(-time.Hour))
		r.wecom.DeliveryFails("wwLapsed", "wk", "wm", test.fail)
		r.pull(token)
		if s := r.state("wk", "wm"); s != test.state {
			t.Errorf("after a failure of type %d the window is %v, want %v", test.fail, s, test.state)
		}
		if n := r.count("replygate_delivery_failures_total", map[string]string{"why": test.label}); n != 1 {
			t.Errorf("type %d: %v are counted", test.fail, n)
		}
	}
}

// A token that is handed out is known from then on; one that belongs to another corp stays the
// other's.
func TestTokensAreLearnt(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	if corp, _, _ := r.Tokens.Owner(t.Context(), token); corp != "wwLapsed" {
		t.Errorf("the token belongs to %q", corp)
	}
	r.answerWith("/cgi-bin/gettoken", fmt.Sprintf(`{"errcode":0,"errmsg":"ok","access_token":%q,"expires_in":7200}`, token))
	r.call("GET", "/cgi-bin/gettoken?corpid=wwActive&corpsecret=s", "")
	if corp, _, _ := r.Tokens.Owner(t.Context(), token); corp != "wwLapsed" {
		t.Errorf("then it belongs to %q", corp)
	}
	if n := r.count("replygate_corp_contradictions_total", map[string]string{"kind": "learnt"}); n != 1 {
		t.Errorf("%v contradictions are counted", n)
	}
}

// A one-time code of a page lets its one message pass.
func TestCodesAreLearnt(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	code := r.wecom.CustomerEnters("wwLapsed", "wk", "wm")
	r.pull(token)
	send := func() answered {
		return r.call("POST", "/cgi-bin/kf/send_msg_on_event?access_token="+token, `{"code":"`+code+`","msgtype":"text","text":{"content":"welcome"}}`)
	}
	if a := send(); a.Errcode != 0 || a.header.Get("Replygate-Verdict") != "pass" {
		t.Errorf("the first message by the code: %s", a.text)
	}
	if a := send(); a.header.Get("Replygate-Verdict") == "pass" && a.Errcode == 0 {
		t.Errorf("the second one: %s", a.text)
	}
}

// A bot that replies through the gateway and pulls past it is warned about, once.
func TestBypassIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t, twoAccounts)
	token := r.token("wwLapsed")
	for range 2 {
		r.reply(token, "wm")
	}
	if n := r.log.FilterMessageSnippet("nobody pulls this channel").Len(); n != 1 || r.Bypass.Bypassed() != 1 {
		t.Errorf("%d warnings, %d channels bypassed", n, r.Bypass.Bypassed())
	}
	r.pull(token)
	if n := r.Bypass.Bypassed(); n != 0 {
		t.Errorf("after a page %d channels are bypassed", n)
	}
}

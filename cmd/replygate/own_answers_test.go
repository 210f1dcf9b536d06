package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// ownAnswer is an answer of the gateway's own, and what it must be.
type ownAnswer struct {
	name, request string
	status, code  int
	verdict       string
	reason        string
}

var decisionID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// explainsItself wants that an answer names its verdict, its reason and its id everywhere it
// should, and that records with the id are in the log: since is how much of that was there before.
func (r *rig) explainsItself(t *testing.T, a answer, want ownAnswer, since int) {
	t.Helper()
	id := a.Gate.DecisionID
	if a.StatusCode != want.status || a.Errcode != want.code || a.Gate.Verdict != want.verdict || a.Gate.Reason != want.reason {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	if !decisionID.MatchString(id) || !strings.HasSuffix(a.Errmsg, "id="+id) {
		t.Errorf("the text does not name the id %q: %s", id, a.Errmsg)
	}
	h := a.Header
	if _, rule := h["Replygate-Rule"]; h.Get("Replygate-Verdict") != want.verdict || h.Get("Replygate-Reason") != want.reason || h.Get("Replygate-Decision-Id") != id || !rule {
		t.Errorf("the headers are %v", h)
	}
	if h.Get("Error-Code") != fmt.Sprint(want.code) || h.Get("Error-Msg") == "" {
		t.Errorf("WeCom's headers are %v", h)
	}
	r.await("the records of "+id, func() bool { return strings.Count(r.log()[since:], id) >= 2 })
	found := map[string]int{}
	for line := range strings.SplitSeq(r.log()[since:], "\n") {
		var record struct {
			Msg, ID, Verdict, Reason string
			Decision                 string `json:"decision_id"`
			Errcode, Status          int
		}
		if !strings.Contains(line, id) || json.Unmarshal([]byte(line), &record) != nil {
			continue
		}
		found[record.Msg]++
		switch record.Msg {
		case "decision":
			if record.ID != id || record.Verdict != want.verdict || record.Reason != want.reason || record.Errcode != want.code {
				t.Errorf("the decision record: %s", line)
			}
		case "request", "callback":
			if record.Decision != id || record.Status != want.status {
				t.Errorf("the access record: %s", line)
			}
		}
	}
	if found["decision"] != 1 || found["request"]+found["callback"] != 1 || len(found) != 2 {
		t.Errorf("records with the id: %v", found)
	}
}

// Whatever the gateway answers by itself has an id that finds a record, and names it, its verdict
// and its reason.
func TestOwnAnswersLeaveARecord(t *testing.T) {
	const secretMark = "SECRETMARK"
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Limits.StreamedBody, c.Limits.JudgedBody = 64<<10, 4<<10
		c.Upstream.Timeout = 300 * time.Millisecond
	})
	r.token = r.fetchToken(r.gateway)
	token, mark := "?access_token="+r.token, "?access_token="+secretMark
	r.platform.Answer("/cgi-bin/user/list", func(w http.ResponseWriter, q *http.Request) { // does not answer
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
	})
	r.platform.Answer("/cgi-bin/user/info", func(w http.ResponseWriter, _ *http.Request) { // breaks off
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	})
	get := func(target string) string { return request("GET", target, "") }
	big := strings.Repeat("x", 100_000)
	for _, c := range []ownAnswer{
		{"two tokens", request("POST", "/cgi-bin/kf/send_msg"+mark+"&access_token=B", replyTo("wm")), 400, 990400, "refuse", "ambiguous_credential"},
		{"a token in another case", get("/cgi-bin/externalcontact/list?Access_Token=" + secretMark), 400, 990400, "refuse", "ambiguous_credential"},
		{"no such path of our own", get("/corp/ww1/x" + mark), 404, 990404, "error", "unknown_path"},
		{"two hosts", "GET /cgi-bin/user/get" + mark + " HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, 990400, "error", "malformed_request"},
		{"no host", "GET /cgi-bin/user/get" + mark + " HTTP/1.1\r\n\r\n", 400, 990400, "error", "malformed_request"},
		{"two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, 990400, "error", "malformed_request"},
		{"both lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 990400, "error", "malformed_head"},
		{"a bare LF", "GET /cgi-bin/user/get HTTP/1.1\nHost: g\r\n\r\n", 400, 990400, "error", "malformed_head"},
		{"a trailer", "GET / HTTP/1.1\r\nHost: g\r\nTrailer: X\r\n\r\n", 400, 990400, "error", "malformed_head"},
		{"a tunnel", "TRACE / HTTP/1.1\r\nHost: g\r\n\r\n", 400, 990400, "error", "malformed_head"},
		{"no HTTP", "hello " + secretMark + "\r\n\r\n", 400, 990400, "error", "malformed_request"},
		{"a long URL", get("/cgi-bin/user/get" + mark + "&x=" + strings.Repeat("x", 17<<10)), 414, 990414, "error", "target_too_long"},
		{"a large head", "GET / HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat(secretMark, 4000) + "\r\n\r\n", 431, 990431, "error", "head_too_large"},
		{"a large body", "POST /cgi-bin/media/upload" + token + " HTTP/1.1\r\nHost: g\r\nContent-Length: 100000\r\n\r\n" + big[:9000], 413, 990413, "error", "body_too_large"},
		{"large chunks", "POST /cgi-bin/media/upload" + token + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + big + "\r\n0\r\n\r\n", 413, 990413, "error", "body_too_large"},
		{"a large body, judged", request("POST", "/cgi-bin/kf/send_msg"+token, big[:5000]), 413, 990413, "error", "body_too_large"},
		{"malformed chunks", "POST /cgi-bin/media/upload" + token + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 990400, "error", "malformed_body"},
		{"malformed chunks, judged", "POST /cgi-bin/kf/send_msg" + token + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 990400, "error", "malformed_body"},
		{"no token, judged", request("POST", "/cgi-bin/kf/send_msg", replyTo("wm")), 200, 41001, "refuse", "missing_token"},
		{"an interface that is refused", get("/cgi-bin/externalcontact/list" + token), 200, 48002, "refuse", "rule_refuse"},
		{"no answer in time", get("/cgi-bin/user/list" + token), 504, 990504, "error", "upstream_timeout"},
		{"an answer that breaks off", get("/cgi-bin/user/info" + token), 502, 990502, "error", "upstream_broke_off"},
		{"a preflight by GET", get("/replygate/preflight" + token), 405, 990404, "error", "method_not_allowed"},
		{"a preflight without a token", request("POST", "/replygate/preflight", "{}"), 200, 41001, "refuse", "missing_token"},
		{"a preflight that asks nothing", request("POST", "/replygate/preflight"+token, `{"secret":"`+secretMark+`"}`), 200, 40058, "error", "malformed_preflight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := len(r.log())
			r.explainsItself(t, raw(t, r.gateway.api.Addr().String(), c.request), c, since)
		})
	}
	since := len(r.log())
	r.upstream.Close()
	t.Run("WeCom is away", func(t *testing.T) {
		want := ownAnswer{status: 502, code: 990502, verdict: "error", reason: "upstream_unreachable"}
		r.explainsItself(t, raw(t, r.gateway.api.Addr().String(), get("/cgi-bin/user/get"+token)), want, since)
	})
	if log := r.log(); strings.Contains(log, secretMark) || strings.Contains(log, r.token) {
		t.Errorf("a secret is in the log")
	}
}

// A call that was judged, and could not be carried out, keeps its decision in headers and record,
// which also says what went wrong.
func TestJudgedCallThatFails(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.golden()
	r.upstream.Close()
	a := r.call("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
	id := a.Header.Get("Replygate-Decision-Id")
	if a.StatusCode != 502 || a.Errcode != 990502 || a.Header.Get("Replygate-Verdict") != "pass" || a.Gate.Verdict != "error" || a.Gate.DecisionID != id || !strings.HasSuffix(a.Errmsg, "id="+id) {
		t.Errorf("HTTP %d %v %s", a.StatusCode, a.Header, a.body)
	}
	r.await("its records", func() bool { return strings.Count(r.log(), id) == 2 })
	for line := range strings.SplitSeq(r.log(), "\n") {
		if strings.Contains(line, `"id":"`+id) && (!strings.Contains(line, `"verdict":"pass"`) || !strings.Contains(line, `"fault":"upstream_unreachable"`)) {
			t.Errorf("the decision record: %s", line)
		}
	}
}

// What the gateway answers WeCom by itself on the callback listener has an id with records too.
func TestOwnAnswersToCallbacks(t *testing.T) {
	r, b, _ := callbackRig(t, storetest.Embedded(t), func(c *config.Config) {
		alone := c.Callbacks[0]
		alone.Path, alone.ForwardTo = "/callback/alone", ""
		c.Callbacks = append(c.Callbacks, alone)
	})
	api := r.gateway.callback.Addr().String()
	b.Close()
	for _, c := range []ownAnswer{
		{"no such path", request("GET", "/callback/none?msg_signature=SECRETMARK", ""), 404, 990404, "error", "unknown_callback"},
		{"another method", request("PUT", "/callback/alone", ""), 405, 990404, "error", "method_not_allowed"},
		{"a forged one", request("POST", "/callback/alone?msg_signature=SECRETMARK&timestamp=1&nonce=2", "<xml><Encrypt>x</Encrypt></xml>"), 403, 990403, "error", "unverified_callback"},
		{"a bot that is away", request("POST", "/callback/golden?msg_signature=SECRETMARK&timestamp=1&nonce=2", "<xml><Encrypt>x</Encrypt></xml>"), 502, 990502, "error", "bot_unreachable"},
		{"a large body", "POST /callback/alone HTTP/1.1\r\nHost: g\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 9000), 413, 990413, "error", "body_too_large"},
		{"no HTTP", "hello\r\n\r\n", 400, 990400, "error", "malformed_request"},
		{"two lengths", "POST /callback/alone HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 990400, "error", "malformed_head"},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := len(r.log())
			r.explainsItself(t, raw(t, api, c.request), c, since)
		})
	}
	if strings.Contains(r.log(), "SECRETMARK") {
		t.Error("a secret is in the log")
	}
}

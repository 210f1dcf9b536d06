package proxy_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"replygate/config"
	"replygate/proxy"
	"replygate/wecom"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// The callback of the tests, as in WeCom's console.
const (
	callbackToken = "callback-token"
	callbackKey   = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
	otherKey      = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	callbackPath  = "/callback/lapsed"
)

// withCallback adds the callback URL of the tests; bot, unless "", is where it is forwarded to.
func withCallback(bot string, receivers ...string) func(*config.Config) {
	return func(c *config.Config) {
		c.Callbacks = append(c.Callbacks, config.Callback{
			Path: callbackPath, Token: callbackToken, EncodingAESKey: callbackKey, ReceiveIDs: receivers, ForwardTo: bot,
		})
	}
}

// app returns the callback URL as WeCom's console has it.
func (r *harness) app(receiver string) wecomtest.App {
	return wecomtest.App{URL: "http://" + r.callback + callbackPath, Token: callbackToken, Key: callbackKey, ReceiveID: receiver}
}

// deliver sends one callback at the gateway's time.
func (r *harness) deliver(a wecomtest.App, plain string) answer {
	r.Helper()
	return r.delivered(a.Deliver(r.clock.Now(), plain))
}

// delivered is a delivery as an answer.
func (r *harness) delivered(d wecomtest.Delivered, err error) answer {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	return ownAnswer(answer{status: d.Status, header: d.Header, body: string(d.Body)})
}

// acquisition is a callback by which a customer of an acquisition link writes to a member.
func acquisition(corp, customer string, at time.Time) string {
	return fmt.Sprintf("<xml><ToUserName>%s</ToUserName><MsgType>event</MsgType><Event>customer_acquisition</Event><ChangeType>customer_start_chat</ChangeType><ExternalUserID>%s</ExternalUserID><CreateTime>%d</CreateTime></xml>", corp, customer, at.Unix())
}

// added is a callback about a new contact, with the code of a welcome message.
func added(corp, customer, code string, at time.Time) string {
	return fmt.Sprintf("<xml><ToUserName>%s</ToUserName><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>add_external_contact</ChangeType><ExternalUserID>%s</ExternalUserID><WelcomeCode>%s</WelcomeCode><CreateTime>%d</CreateTime></xml>", corp, customer, code, at.Unix())
}

// botServer keeps the callbacks that are forwarded to it.
type botServer struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request // their bodies are bytes.Readers
}

// newBot starts a bot; answers, unless nil, answers each callback.
func newBot(t *testing.T, answers http.HandlerFunc) *botServer {
	b := &botServer{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		b.mu.Lock()
		b.got = append(b.got, r)
		b.mu.Unlock()
		if answers != nil {
			answers(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// take returns what the bot got and forgets it.
func (b *botServer) take() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

// NewReceivers names the callback and what is wrong with it.
func TestNewReceivers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, key, bot string
		want           string // of the error, "" if there is none
	}{
		{"no bot", callbackKey, "", ""},
		{"a bot", callbackKey, "http://127.0.0.1:1/wecom", ""},
		{"a bot over TLS", callbackKey, "https://bot.example", ""},
		{"a short key", callbackKey[:42], "", "callback /a: an EncodingAESKey is 43 letters and digits"},
		{"a bot that is no URL", callbackKey, "http://[", `callback /a: forward_to: parse "http://[": missing ']' in host`},
	} {
		all, err := proxy.NewReceivers([]config.Callback{{Path: "/a", Token: "t", EncodingAESKey: config.Secret(test.key), ReceiveIDs: []string{"ww"}, ForwardTo: test.bot}})
		if test.want != "" {
			if err == nil || err.Error() != test.want {
				t.Errorf("%s: %v, want %s", test.name, err, test.want)
			}
			continue
		}
		if err != nil || len(all) != 1 || all["/a"] == nil {
			t.Errorf("%s: %v, %v", test.name, all, err)
		}
		all.Close()
	}
}

// Each kind of callback has one result, which is counted and recorded; only a trusted one of a
// known corp opens a window. Without a bot, the gateway answers by itself.
func TestCallbackResults(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		withCallback("", corpLapsed, "wwProvider", "wwRobot", "")(c)
	})
	now := r.clock.Now()
	own := r.app(corpLapsed)
	wrongKey, wrongToken := own, own
	wrongKey.Key, wrongToken.Token = otherKey, "another"
	robot := r.app("")
	robot.JSON = true
	at := func(d time.Duration, a wecomtest.App, plain string) func() answer {
		return func() answer { r.Helper(); return r.delivered(a.Deliver(now.Add(d), plain)) }
	}
	message := acquisition(corpLapsed, wmLi, now)
	for _, test := range []struct {
		name         string
		send         func() answer
		kind, result string
		cause        string // "" if it is trusted
		corp         string
		status       int
		body         string // of an answer without a failure
	}{
		{"a message", at(0, own, message), "customer_acquisition.customer_start_chat", "recorded", "", corpLapsed, 200, ""},
		{"a message ten minutes late", at(-10*time.Minute, own, message), "customer_acquisition.customer_start_chat", "recorded", "", corpLapsed, 200, ""},
		{"a message ten minutes early", at(10*time.Minute, own, message), "customer_acquisition.customer_start_chat", "recorded", "", corpLapsed, 200, ""},
		{"more than ten minutes late", at(-10*time.Minute-time.Second, own, message), "none", "off_time", "age", "", 403, ""},
		{"more than ten minutes early", at(10*time.Minute+time.Second, own, message), "none", "off_time", "age", "", 403, ""},
		{"an event that tells nothing", at(0, own, "<xml><ToUserName>wwLapsed</ToUserName><MsgType>event</MsgType><Event>enter_agent</Event></xml>"), "enter_agent", "passed", "", corpLapsed, 200, ""},
		{"an event of an unknown kind", at(0, own, "<xml><ToUserName>wwLapsed</ToUserName><MsgType>event</MsgType><Event>wmLi</Event></xml>"), "other", "passed", "", corpLapsed, 200, ""},
		{"a third party's event", at(0, r.app("wwProvider"), "<xml><SuiteId>s</SuiteId><InfoType>suite_ticket</InfoType></xml>"), "suite_ticket", "passed", "", "", 200, "success"},
		{"a robot's message", at(0, robot, `{"msgtype":"text","from":{"userid":"u"}}`), "robot.text", "passed", "", "", 200, ""},
		{"another key", at(0, wrongKey, message), "none", "forged", "key", "", 403, ""},
		{"another token", at(0, wrongToken, message), "none", "forged", "token", "", 403, ""},
		{"another receiver", at(0, r.app("wwElse"), message), "none", "unknown_receiver", "receive_id", "", 403, ""},
		{"a corp that speaks for another", at(0, own, acquisition(corpActive, wmLi, now)), "customer_acquisition.customer_start_chat", "unknown_receiver", "corp", corpActive, 403, ""},
		{"a provider that speaks for a corp of ours", at(0, r.app("wwProvider"), acquisition(corpActive, wmLi, now)), "customer_acquisition.customer_start_chat", "recorded", "", corpActive, 200, ""},
		{"a corp that nobody lists", at(0, r.app("wwProvider"), acquisition("wwNobody", wmLi, now)), "customer_acquisition.customer_start_chat", "unlisted", "", "wwNobody", 200, ""},
		{"no customer", at(0, own, acquisition(corpLapsed, "", now)), "customer_acquisition.customer_start_chat", "unidentified", "", corpLapsed, 200, ""},
		{"no time", at(0, own, acquisition(corpLapsed, wmLi, time.Unix(0, 0))), "customer_acquisition.customer_start_chat", "unidentified", "", corpLapsed, 200, ""},
		{"a text that is none of WeCom's", at(0, own, "hello"), "none", "unreadable", "malformed", "", 403, ""},
		{"two root elements", at(0, own, message+message), "none", "unreadable", "malformed", "", 403, ""},
	} {
		r.records.take(t, "")
		var a answer
		moved := r.moved(func() { a = test.send() })
		if name := fmt.Sprintf("replygate_callbacks_total{kind=%q,result=%q,status=\"%d\"}", test.kind, test.result, test.status); moved[name] != 1 {
			t.Errorf("%s: %s did not move, but\n%s", test.name, name, listed(moved))
		}
		if a.status != test.status || test.status == 200 && a.body != test.body {
			t.Errorf("%s: HTTP %d %q", test.name, a.status, a.body)
		}
		want := map[string]any{"method": "POST", "path": callbackPath, "kind": test.kind, "status": float64(test.status), "duration_ms": 0.0, "result": test.result, "remote": "127.0.0.1"}
		if test.corp != "" {
			want["corp_id"] = test.corp
		}
		for _, cause := range []string{"malformed", "token", "key", "receive_id", "age", "corp"} {
			if n := moved[`replygate_callbacks_unverified_total{cause="`+cause+`"}`]; (n == 1) != (cause == test.cause) {
				t.Errorf("%s: the metric of cause %s moved by %v", test.name, cause, n)
			}
		}
		if test.status == 403 {
			want["decision_id"], want["error_kind"], want["cause"] = a.Replygate.DecisionID, "unverified_callback", test.cause
			if a.Errcode != 990403 || !strings.HasPrefix(a.Errmsg, "the gateway cannot verify this callback; its log tells why: look for this id; id=") {
				t.Errorf("%s: %s", test.name, a.body)
			}
		}
		wantRecord(t, test.name, r.records.take(t, "callback"), want)
	}
}

// The sender of a callback that is not verified does not learn how far it got: the answers are the
// same, byte for byte but for the id. Log, record and metric tell the cause.
func TestUnverifiedCallbacksLookAlike(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own := r.app(corpLapsed)
	with := func(change func(*wecomtest.App)) wecomtest.App {
		a := own
		change(&a)
		return a
	}
	message := acquisition(corpLapsed, wmLi, r.clock.Now())
	post := func(a wecomtest.App, at time.Duration, plain string) string {
		sealed, query, err := a.Seal(r.clock.Now().Add(at), plain)
		if err != nil {
			t.Fatal(err)
		}
		body := "<xml><Encrypt>" + sealed + "</Encrypt></xml>"
		return fmt.Sprintf("POST %s?%s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", callbackPath, query, len(body), body)
	}
	get := func(a wecomtest.App, at time.Duration, plain string) string {
		sealed, query, err := a.Seal(r.clock.Now().Add(at), plain)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("GET %s?%s&echostr=%s HTTP/1.1\r\nHost: g\r\n\r\n", callbackPath, query, url.QueryEscape(sealed))
	}
	wrongToken, wrongKey := with(func(a *wecomtest.App) { a.Token = "guess" }), with(func(a *wecomtest.App) { a.Key = otherKey })
	elsewhere := r.app("wwElse")
	first := ""
	for _, test := range []struct {
		name, request string
		cause         string
		line          string // of the log
		field         string // in it
	}{
		{"another token", post(wrongToken, 0, message), "token", "token of its path", ""},
		{"another key", post(wrongKey, 0, message), "key", "key of its path", ""},
		{"another receiver", post(elsewhere, 0, message), "receive_id", "a receiver that its path does not list", "receive_id:wwElse"},
		{"an old one", post(own, -2*time.Hour, message), "age", "more than ten minutes off", "seconds_ahead:-72"},
		{"a new one", post(own, 2*time.Hour, message), "age", "more than ten minutes off", "seconds_ahead:71"},
		{"a message that is none", post(own, 0, "hello"), "malformed", "not as WeCom documents it", ""},
		{"no body", "POST " + callbackPath + "?msg_signature=s HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n", "malformed", "not as WeCom documents it", ""},
		{"another corp", post(own, 0, acquisition(corpActive, wmLi, r.clock.Now())), "corp", "another account than it is for", "corp_id:wwActive"},
		{"a GET with another token", get(wrongToken, 0, "echo"), "token", "token of its path", ""},
		{"a GET with another key", get(wrongKey, 0, "echo"), "key", "key of its path", ""},
		{"a GET for another receiver", get(elsewhere, 0, "echo"), "receive_id", "a receiver that its path does not list", ""},
		{"an old GET", get(own, -time.Hour, "echo"), "age", "more than ten minutes off", ""},
		{"a GET of nothing", "GET " + callbackPath + " HTTP/1.1\r\nHost: g\r\n\r\n", "malformed", "not as WeCom documents it", ""},
	} {
		r.clock.Advance(time.Second)
		r.records.take(t, "")
		r.log.TakeAll()
		a := r.send(r.callback, test.request)
		id := a.Replygate.DecisionID
		if a.status != 403 || id == "" {
			t.Fatalf("%s: HTTP %d %s", test.name, a.status, a.body)
		}
		a.header.Del("Date")
		got := strings.ReplaceAll(fmt.Sprintf("%d %v %v\n%s", a.status, a.header, a.closed, a.body), id, "ID")
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s: the answer is\n%s\nthe first one was\n%s", test.name, got, first)
		}
		if record := r.records.take(t, "decision"); len(record) != 1 || record[0]["id"] != id || record[0]["cause"] != test.cause || record[0]["reason"] != "unverified_callback" {
			t.Errorf("%s: the decision log has %v", test.name, record)
		}
		for _, line := range r.log.All() {
			if !strings.Contains(line.Message, test.line) || line.ContextMap()["cause"] != test.cause || !strings.Contains(fmt.Sprint(line.ContextMap()), test.field) {
				t.Errorf("%s: the log has %s %v", test.name, line.Message, line.ContextMap())
			}
		}
		if test.field != "" && r.log.Len() == 0 && test.name != "a new one" { // whose line was written a second ago
			t.Errorf("%s: the log says nothing", test.name)
		}
	}
	r.log.TakeAll()
	r.clock.Advance(time.Minute)
	r.send(r.callback, post(wrongKey, 0, message))
	if lines := r.log.All(); len(lines) != 1 || lines[0].ContextMap()["suppressed"] != int64(1) {
		t.Errorf("after a minute: %v; want that one line of this cause was suppressed", lines)
	}
}

// What is in the query and the envelope decides as much as what is sealed.
func TestCallbackEnvelopes(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own := r.app(corpLapsed)
	sealed, query, err := own.Seal(r.clock.Now(), acquisition(corpLapsed, wmLi, r.clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	xml := "<xml><Encrypt>" + sealed + "</Encrypt></xml>"
	tampered := "<xml><Encrypt>" + flip(sealed) + "</Encrypt></xml>"
	timestamp := "timestamp=" + strconv.FormatInt(r.clock.Now().Unix(), 10)
	for _, test := range []struct{ name, query, body, result string }{
		{"as WeCom sends it", query, xml, "recorded"},
		{"a query with more in it", query + "&more=1", xml, "recorded"},
		{"JSON", query, `{"encrypt":"` + sealed + `"}`, "recorded"},
		{"no body", query, "", "unreadable"},
		{"no Encrypt", query, "<xml><ToUserName>ww</ToUserName></xml>", "unreadable"},
		{"two Encrypts", query, "<xml><Encrypt>" + sealed + "</Encrypt><Encrypt>" + sealed + "</Encrypt></xml>", "unreadable"},
		{"a document type", query, "<!DOCTYPE xml [<!ENTITY e \"x\">]>" + xml, "unreadable"},
		{"a changed ciphertext", query, tampered, "forged"},
		{"no query", "", xml, "unreadable"},
		{"two signatures", query + "&msg_signature=" + strings.Repeat("0", 40), xml, "unreadable"},
		{"no timestamp", strings.Replace(query, "timestamp=", "time=", 1), xml, "unreadable"},
		{"no nonce", strings.Replace(query, "nonce=", "once=", 1), xml, "unreadable"},
		{"another timestamp", strings.Replace(query, timestamp, timestamp+"0", 1), xml, "forged"},
		{"another nonce", strings.Replace(query, "nonce=", "nonce=0", 1), xml, "forged"},
	} {
		r.records.take(t, "")
		if _, err := own.Send(http.MethodPost, test.query, []byte(test.body)); err != nil {
			t.Fatal(err)
		}
		got := r.records.take(t, "callback")
		if len(got) != 1 || got[0]["result"] != test.result {
			t.Errorf("%s: %v, want %s", test.name, got, test.result)
		}
	}
}

// flip changes one letter of a ciphertext.
func flip(sealed string) string {
	if sealed[20] == 'A' {
		return sealed[:20] + "B" + sealed[21:]
	}
	return sealed[:20] + "A" + sealed[21:]
}

// A timestamp that is signed and is no time is off time, never a panic or a window.
func TestCallbackTimestamps(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own := r.app(corpLapsed)
	sealed, _, err := own.Seal(r.clock.Now(), acquisition(corpLapsed, wmLi, r.clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for _, timestamp := range []string{"", "0", "-1", "x", "1e9", "8589934593", "99999999999999999999", strconv.FormatInt(r.clock.Now().UnixMilli(), 10)} {
		r.records.take(t, "")
		query := url.Values{"timestamp": {timestamp}, "nonce": {"n"}, "msg_signature": {sign(t, own, timestamp, "n", sealed)}}.Encode()
		if _, err := own.Send(http.MethodPost, query, []byte("<xml><Encrypt>"+sealed+"</Encrypt></xml>")); err != nil {
			t.Fatal(err)
		}
		if got := r.records.take(t, "callback"); len(got) != 1 || got[0]["result"] != "off_time" {
			t.Errorf("timestamp %q: %v", timestamp, got)
		}
	}
	if at, ok := r.lastOf(window.Key{Corp: corpLapsed, Customer: wmLi}); ok {
		t.Errorf("a window opened at %v", at)
	}
}

// What a callback tells is what is on record after it.
func TestCallbackRecords(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own, k := r.app(corpLapsed), window.Key{Corp: corpLapsed, Customer: wmLi}
	wrote := r.clock.Now().Add(-time.Hour)

	wantMoves(t, r.moved(func() { r.deliver(own, acquisition(corpLapsed, wmLi, wrote)) }),
		`replygate_callbacks_total{kind="customer_acquisition.customer_start_chat",result="recorded",status="200"}`,
		`replygate_inbound_total{result="recorded",source="callback"}`)
	if at, ok := r.lastOf(k); !ok || !at.Equal(wrote) {
		t.Errorf("the message of %v is on record as of %v, %v", wrote, at, ok)
	}
	r.deliver(own, acquisition(corpLapsed, wmLi, wrote.Add(-time.Minute))) // an earlier one, late
	if at, _ := r.lastOf(k); !at.Equal(wrote) {
		t.Errorf("an earlier message moved the window to %v", at)
	}
	wantMoves(t, r.moved(func() { r.deliver(own, acquisition(corpLapsed, "wmOld", r.clock.Now().Add(-48*time.Hour))) }),
		`replygate_callbacks_total{kind="customer_acquisition.customer_start_chat",result="recorded",status="200"}`,
		`replygate_inbound_total{result="expired",source="callback"}`)
	if _, ok := r.lastOf(window.Key{Corp: corpLapsed, Customer: "wmOld"}); ok {
		t.Error("a message that is too old opened a window")
	}

	r.deliver(own, added(corpLapsed, wmLi, "CODE-1", r.clock.Now()))
	if code := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "CODE-1"); code.State != window.CodeTaken || code.Code.Key != k {
		t.Errorf("the welcome code is %v", code)
	}
	if at, _ := r.lastOf(k); !at.Equal(wrote) {
		t.Errorf("a new contact, who wrote nothing, moved the window to %v", at)
	}
	if corp, _ := r.gateway.Tokens.OwnerOfChannel(t.Context(), "wkSeen"); corp != "" {
		t.Fatalf("the channel belongs to %q already", corp)
	}
	r.deliver(own, "<xml><ToUserName>wwLapsed</ToUserName><MsgType>event</MsgType><Event>kf_msg_or_event</Event><OpenKfId>wkSeen</OpenKfId></xml>")
	if corp, _ := r.gateway.Tokens.OwnerOfChannel(t.Context(), "wkSeen"); corp != corpLapsed {
		t.Errorf("the channel of a verified callback belongs to %q", corp)
	}
	r.deliver(own, "<xml><ToUserName>wwActive</ToUserName><MsgType>event</MsgType><Event>kf_msg_or_event</Event><OpenKfId>wkTaken</OpenKfId></xml>")
	if corp, _ := r.gateway.Tokens.OwnerOfChannel(t.Context(), "wkTaken"); corp != "" {
		t.Errorf("one account's callback gave a channel to %q", corp)
	}
}

// WeCom verifies a URL by a GET, and gets the decrypted text alone; whoever has no key gets
// nothing.
func TestCallbackVerification(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own := r.app(corpLapsed)
	a := r.delivered(own.Verify(r.clock.Now(), "1616140317555161061"))
	if a.status != 200 || a.body != "1616140317555161061" || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("HTTP %d %q %v", a.status, a.body, a.header)
	}
	wantRecord(t, "verified", r.records.take(t, "callback"), map[string]any{
		"method": "GET", "path": callbackPath, "kind": "none", "status": 200.0, "duration_ms": 0.0, "result": "verified", "remote": "127.0.0.1",
	})
	forger := own
	forger.Token = "guess"
	if a := r.delivered(forger.Verify(r.clock.Now(), "echo")); a.status != 403 || strings.Contains(a.body, "echo") || a.Replygate.Reason != "unverified_callback" {
		t.Errorf("a forger gets HTTP %d %s", a.status, a.body)
	}
	// base64 whose plus signs were not escaped, as one SDK sends it
	for i := 0; ; i++ {
		sealed, query, err := own.Seal(r.clock.Now(), strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(sealed, "+") {
			continue
		}
		d, err := own.Send(http.MethodGet, query+"&echostr="+sealed, nil)
		if err != nil || d.Status != 200 || string(d.Body) != strconv.Itoa(i) {
			t.Errorf("unescaped plus signs: HTTP %d %q, %v", d.Status, d.Body, err)
		}
		break
	}
}

// The bot gets what WeCom sent, byte for byte, believed or not; WeCom gets what the bot answered.
func TestCallbackIsForwarded(t *testing.T) {
	t.Parallel()
	const text = "<xml><Encrypt>\x00\xff answer</Encrypt></xml>"
	b := newBot(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("X-Bot", "1")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, text)
	})
	r := newHarness(t, withCallback(b.URL+"/bot%20path", corpLapsed))
	own := r.app(corpLapsed)
	forged := own
	forged.Token = "another"
	for name, a := range map[string]wecomtest.App{"believed": own, "forged": forged} {
		d, err := a.Deliver(r.clock.Now(), acquisition(corpLapsed, wmLi, r.clock.Now()))
		if err != nil {
			t.Fatal(err)
		}
		got := b.take()
		if len(got) != 1 {
			t.Fatalf("%s: the bot got %d callbacks", name, len(got))
		}
		body, _ := io.ReadAll(got[0].Body)
		if got[0].RequestURI != "/bot%20path?"+d.Query || !bytes.Equal(body, d.Sent) || got[0].Host != strings.TrimPrefix(b.URL, "http://") || got[0].Header.Get("Content-Type") != "text/xml" {
			t.Errorf("%s: the bot got %s %s %v %q", name, got[0].Host, got[0].RequestURI, got[0].Header, body)
		}
		if d.Status != http.StatusAccepted || string(d.Body) != text || d.Header.Get("X-Bot") != "1" || d.Header.Get("X-Hop") != "" || d.Header.Get("Replygate-Verdict") != "" {
			t.Errorf("%s: WeCom got HTTP %d %v %q", name, d.Status, d.Header, d.Body)
		}
	}
	got := r.records.take(t, "callback")
	if len(got) != 2 || got[0]["status"] != 202.0 || got[0]["error_kind"] != nil || got[1]["status"] != 202.0 {
		t.Errorf("records: %v", got)
	}
	if d, err := own.Verify(r.clock.Now(), "echo"); err != nil || d.Status != http.StatusAccepted || string(d.Body) != text {
		t.Errorf("a verification: HTTP %d %q, %v; the bot verifies its own URL", d.Status, d.Body, err)
	}
}

// A forward_to without a path means the root of the bot.
func TestCallbackIsForwardedToTheRoot(t *testing.T) {
	t.Parallel()
	b := newBot(t, nil)
	r := newHarness(t, withCallback(b.URL, corpLapsed))
	if a := r.deliver(r.app(corpLapsed), "<xml/>"); a.status != 200 || a.body != "" {
		t.Errorf("HTTP %d %q", a.status, a.body)
	}
	if got := b.take(); len(got) != 1 || got[0].URL.Path != "/" {
		t.Errorf("the bot got %v", got)
	}
}

// Where the bot gives no whole answer in time, WeCom gets a failure, and sends the callback again;
// what the callback told is on record all the same.
func TestCallbackWithoutABot(t *testing.T) {
	t.Parallel()
	const long = 1<<20 + 1
	raw := func(answer string) func(*testing.T) string {
		return func(t *testing.T) string { return rawServer(t, answer) }
	}
	for name, test := range map[string]struct {
		bot    func(t *testing.T) (url string)
		status int
		code   int
		reason string
		cause  string
	}{
		"nobody listens": {func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln.Close()
			return "http://" + ln.Addr().String()
		}, 502, 990502, "bot_unreachable", "connection_refused"},
		"a name that is none": {func(*testing.T) string { return "http://bot.invalid" }, 502, 990502, "bot_unreachable", "dns"},
		"a certificate of its own": {func(t *testing.T) string {
			s := httptest.NewUnstartedServer(nil)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, 502, 990502, "bot_unreachable", "tls"},
		"no TLS":                       {func(t *testing.T) string { return "https" + strings.TrimPrefix(newBot(t, nil).URL, "http") }, 502, 990502, "bot_unreachable", "tls"},
		"hangs up":                     {raw(""), 502, 990502, "bot_unreachable", "connection_closed"},
		"is not HTTP":                  {raw("220 smtp ready\r\n\r\n"), 502, 990502, "bot_unreachable", "malformed_answer"},
		"a short body":                 {raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), 502, 990502, "bot_unreachable", "connection_closed"},
		"a chunk that ends early":      {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok"), 502, 990502, "bot_unreachable", "connection_closed"},
		"too long, as it says":         {raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", long, strings.Repeat("x", long))), 502, 990502, "bot_unreachable", "answer_too_long"},
		"too long, until it hangs up":  {raw("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", long)), 502, 990502, "bot_unreachable", "answer_too_long"},
		"as long as may be":            {raw("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", long-1)), 200, 0, "", ""},
		"a failure of its own":         {raw("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), 500, 0, "", ""},
		"no body, by its status":       {raw("HTTP/1.1 204 No Content\r\n\r\n"), 204, 0, "", ""},
		"an answer after an early one": {raw("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 200, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bot := test.bot(t)
			r := newHarness(t, withCallback(bot+"/wecom", corpLapsed))
			a := r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
			if a.status != test.status || a.Errcode != test.code || a.Replygate.Reason != test.reason {
				t.Errorf("HTTP %d %.200q", a.status, a.body)
			}
			if _, ok := r.lastOf(window.Key{Corp: corpLapsed, Customer: wmLi}); !ok {
				t.Error("the message is not on record")
			}
			got := r.records.take(t, "callback")
			if len(got) != 1 || got[0]["result"] != "recorded" || got[0]["status"] != float64(test.status) || (test.reason != "") != (got[0]["error_kind"] == test.reason) {
				t.Errorf("record: %v", got)
			}
			if strings.Contains(a.body+fmt.Sprint(a.header), strings.TrimPrefix(bot, "http")) {
				t.Errorf("the answer names the bot: %v %s", a.header, a.body)
			}
			var named any = bot
			if test.cause == "" {
				named = nil
			}
			if len(got) == 1 && (got[0]["bot"] != named || fmt.Sprint(got[0]["bot_error"]) != cmp.Or(test.cause, "<nil>")) {
				t.Errorf("record: %v, want the bot %v and %q", got, named, test.cause)
			}
			lines := r.log.FilterMessage("a bot gave no whole answer to a callback: WeCom will send it again; check forward_to, and that the bot runs").All()
			if test.cause == "" {
				if len(lines) != 0 {
					t.Errorf("the log has %v", lines)
				}
				return
			}
			if len(lines) != 1 || lines[0].ContextMap()["bot"] != bot || lines[0].ContextMap()["cause"] != test.cause || lines[0].ContextMap()["path"] != callbackPath {
				t.Errorf("the log has %v, want the bot %s and %s", lines, bot, test.cause)
			}
		})
	}
}

// rawServer answers every connection with bytes, and hangs up.
func rawServer(t *testing.T, answer string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// The bot's time is what the callback has left of WeCom's five seconds.
func TestCallbackBotIsSlow(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := newBot(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	r := newHarness(t, withCallback(b.URL, corpLapsed))
	var asked atomic.Int32
	r.gateway.Now = func() time.Time { // all but a tenth of a second is over when the bot's turn comes
		if asked.Add(1) == 1 {
			return r.clock.Now()
		}
		return r.clock.Now().Add(4400 * time.Millisecond)
	}
	began := time.Now()
	a := r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
	if a.status != 504 || a.Errcode != 990504 || a.Replygate.Reason != "bot_timeout" || !strings.HasPrefix(a.Errmsg, "the bot did not answer in time; id=") {
		t.Errorf("HTTP %d %s", a.status, a.body)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v: the time before the bot's turn did not count", took)
	}
	got := r.records.take(t, "callback")
	if len(got) != 1 || got[0]["duration_ms"] != 4400.0 || got[0]["error_kind"] != "bot_timeout" || got[0]["bot_error"] != "timeout" {
		t.Errorf("record: %v", got)
	}
}

// While Redis is away, a callback that tells of a customer gets a failure, so that WeCom sends it
// again, and the bot does not see it twice; every other one goes on.
func TestCallbackWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	b := newBot(t, nil)
	r := newHarness(t, withCallback(b.URL, corpLapsed))
	own := r.app(corpLapsed)
	r.redis.away.Store(true)
	for name, plain := range map[string]string{
		"a message":      acquisition(corpLapsed, wmLi, r.clock.Now()),
		"a welcome code": added(corpLapsed, wmLi, "CODE", r.clock.Now()),
	} {
		a := r.deliver(own, plain)
		if a.status != 503 || a.Errcode != 990503 || a.Replygate.Reason != "unrecorded" || !strings.HasPrefix(a.Errmsg, "the gateway cannot record this callback just now; send it again; id=") {
			t.Errorf("%s: HTTP %d %s", name, a.status, a.body)
		}
		got := r.records.take(t, "callback")
		if len(got) != 1 || got[0]["result"] != "unrecorded" || got[0]["error_kind"] != "unrecorded" || got[0]["corp_id"] != corpLapsed {
			t.Errorf("%s: record %v", name, got)
		}
	}
	if n := r.log.FilterMessage("a callback could not be recorded: WeCom will send it again").Len(); n != 1 {
		t.Errorf("%d warnings, want one a minute", n)
	}
	if got := b.take(); len(got) != 0 {
		t.Errorf("the bot got %d callbacks that WeCom will send again", len(got))
	}
	if a := r.deliver(own, "<xml><ToUserName>wwLapsed</ToUserName><MsgType>event</MsgType><Event>enter_agent</Event></xml>"); a.status != 200 || len(b.take()) != 1 {
		t.Errorf("an event that tells nothing: HTTP %d %s", a.status, a.body)
	}
	r.redis.away.Store(false)
	if a := r.deliver(own, acquisition(corpLapsed, wmLi, r.clock.Now())); a.status != 200 || len(b.take()) != 1 {
		t.Errorf("sent again: HTTP %d %s", a.status, a.body)
	}
	// WeCom gives up after three times, so the outage left a gap: a missing window proves nothing.
	if a := r.reply(r.token(corpLapsed), wkLapsed, "wmOther"); a.header.Get("Replygate-Reason") != "history_incomplete" {
		t.Errorf("a customer who may have written: %s %s", a.header.Get("Replygate-Reason"), a.body)
	}
}

// What no callback has is answered without a look at its body.
func TestCallbackRequests(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	for _, test := range []struct {
		name, request string
		status, code  int
		reason, path  string
		closes        bool
	}{
		{"an unknown path", "GET /callback/else HTTP/1.1\r\nHost: g\r\n\r\n", 404, 990404, "unknown_callback", "…", false},
		{"the path with a slash", "GET " + callbackPath + "/ HTTP/1.1\r\nHost: g\r\n\r\n", 404, 990404, "unknown_callback", "…", false},
		{"another method", "DELETE " + callbackPath + " HTTP/1.1\r\nHost: g\r\n\r\n", 405, 990404, "method_not_allowed", callbackPath, false},
		{"a method of its own", "ME " + callbackPath + " HTTP/1.1\r\nHost: g\r\n\r\n", 405, 990404, "method_not_allowed", callbackPath, false},
		{"a Host that is none", "GET " + callbackPath + " HTTP/1.1\r\nHost: g,h\r\n\r\n", 400, 990400, "malformed_head", "…", true},
		{"a long target", "GET " + callbackPath + "?" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\nHost: g\r\n\r\n", 414, 990414, "target_too_long", "…", true},
		{"a long body", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", callbackPath, 1<<20+1, strings.Repeat("x", 64<<10)), 413, 990413, "body_too_large", "", true},
	} {
		r.records.take(t, "")
		a := r.send(r.callback, test.request)
		if a.status != test.status || a.Errcode != test.code || a.Replygate.Reason != test.reason || a.closed != test.closes {
			t.Errorf("%s: HTTP %d, closes %v: %s", test.name, a.status, a.closed, a.body)
		}
		if got := r.records.take(t, "callback"); len(got) != 1 || got[0]["error_kind"] != test.reason || got[0]["decision_id"] != a.Replygate.DecisionID || test.path != "" && got[0]["path"] != test.path || got[0]["result"] != nil {
			t.Errorf("%s: record %v", test.name, got)
		}
	}
}

// A panic ends one callback, with an answer in WeCom's shape.
func TestCallbackPanics(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	windows := r.gateway.Windows
	r.gateway.Windows = nil // a bug of ours
	a := r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
	if a.status != 500 || a.Errcode != 990500 || a.Replygate.Reason != "gateway_failed" || a.header.Get("Replygate-Decision-Id") == "" {
		t.Errorf("HTTP %d %s", a.status, a.body)
	}
	if n := r.log.FilterMessage("BUG: a callback panicked").Len(); n != 1 {
		t.Errorf("%d lines of the panic", n)
	}
	r.gateway.Windows = windows
	if a := r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now())); a.status != 200 {
		t.Errorf("the next one: HTTP %d %s", a.status, a.body)
	}
}

// A draining gateway ends connections after its answers.
func TestCallbackWhileDraining(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	request := "GET /none HTTP/1.1\r\nHost: g\r\n\r\n"
	if r.send(r.callback, request).closed {
		t.Error("a connection ends without a reason")
	}
	r.draining.Store(true)
	if !r.send(r.callback, request).closed {
		t.Error("a draining gateway keeps a connection")
	}
}

// sign signs a ciphertext as WeCom does.
func sign(t *testing.T, a wecomtest.App, timestamp, nonce, sealed string) string {
	t.Helper()
	c, err := wecom.NewCrypt(a.Token, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c.Sign(timestamp, nonce, sealed)
}

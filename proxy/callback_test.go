package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/wecom/wecomtest"
	"replygate/window"
)

const callbackKey = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"

// callbacks adds to twoAccounts a callback for an account of ours and for a suite.
func callbacks(forwardTo string) string {
	return twoAccounts + fmt.Sprintf(`listen: { callback: ":0" }
callbacks:
  - { path: /cb, token: tok, encoding_aes_key: %s, receive_ids: [wwLapsed, suite1], forward_to: %q }
`, callbackKey, forwardTo)
}

func (r *rig) app(receiver string) wecomtest.App {
	return wecomtest.App{URL: r.callback + "/cb", Token: "tok", Key: callbackKey, ReceiveID: receiver}
}

// added is the event that a customer was added, with a welcome code.
func added(corp, code string, at time.Time) string {
	return fmt.Sprintf(`<xml><ToUserName>%s</ToUserName><FromUserName>sys</FromUserName><CreateTime>%d</CreateTime><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>add_external_contact</ChangeType><UserID>u</UserID><ExternalUserID>wm</ExternalUserID><WelcomeCode>%s</WelcomeCode></xml>`, corp, at.Unix(), code)
}

// What is made of a callback, and what it is answered where there is no bot.
func TestCallbackResults(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name     string
		receiver string
		plain    string
		at       time.Time
		spoil    func(*wecomtest.App)
		result   string
		status   int
	}{
		{"a welcome code", "wwLapsed", added("wwLapsed", "CODE", now), now, nil, "recorded", 200},
		{"nothing to keep", "wwLapsed", added("wwLapsed", "", now), now, nil, "passed", 200},
		{"ten minutes late", "wwLapsed", added("wwLapsed", "CODE", now), now.Add(-11 * time.Minute), nil, "off_time", 403},
		{"ten minutes early", "wwLapsed", added("wwLapsed", "CODE", now), now.Add(11 * time.Minute), nil, "off_time", 403},
		{"a few minutes late", "wwLapsed", added("wwLapsed", "CODE", now), now.Add(-9 * time.Minute), nil, "recorded", 200},
		{"another receiver", "wwOther", added("wwLapsed", "CODE", now), now, nil, "unknown_receiver", 403},
		{"another token", "wwLapsed", added("wwLapsed", "CODE", now), now, func(a *wecomtest.App) { a.Token = "x" }, "forged", 403},
		{"another key", "wwLapsed", added("wwLapsed", "CODE", now), now, func(a *wecomtest.App) { a.Key = strings.Repeat("A", 43) }, "forged", 403},
		{"no XML", "wwLapsed", "<xml", now, nil, "unreadable", 403},
		{"an account that speaks for another one", "wwLapsed", added("wwActive", "CODE", now), now, nil, "unknown_receiver", 403},
		{"a suite that speaks for a corp", "suite1", added("wwActive", "CODE", now), now, nil, "recorded", 200},
		{"a suite that speaks for an unlisted corp", "suite1", added("wwOther", "CODE", now), now, nil, "unlisted", 200},
	} {
		r := newRig(t, callbacks(""))
		app := r.app(test.receiver)
		if test.spoil != nil {
			test.spoil(&app)
		}
		d, err := app.Deliver(test.at, test.plain)
		if err != nil {
			t.Fatal(err)
		}
		record := r.lines.last("callback")
		if record["result"] != test.result || d.Status != test.status {
			t.Errorf("%s: HTTP %d %s, record %v", test.name, d.Status, d.Body, record)
		}
		if n := r.count("replygate_callbacks_total", map[string]string{"result": test.result, "status": fmt.Sprint(test.status)}); n != 1 {
			t.Errorf("%s: %v are counted", test.name, n)
		}
		if failed := r.lines.last("decision"); (failed != nil) != (test.status == 403) || failed != nil && failed["reason"] != test.result {
			t.Errorf("%s: the failure record: %v", test.name, failed)
		}
		corp := "wwLapsed"
		if test.receiver == "suite1" {
			corp = "wwActive"
		}
		got := r.Windows.PeekCode(t.Context(), corp, "CODE")
		if known := got.State == window.CodeTaken; known != (test.result == "recorded") {
			t.Errorf("%s: the code is %v", test.name, got.State)
		}
	}
}

// The GET by which WeCom checks a URL is answered with the decrypted text.
func TestCallbackVerification(t *testing.T) {
	t.Parallel()
	r := newRig(t, callbacks(""))
	d, err := r.app("wwLapsed").Verify(time.Now(), "echo me")
	if err != nil || d.Status != 200 || string(d.Body) != "echo me" {
		t.Errorf("HTTP %d %q, %v", d.Status, d.Body, err)
	}
	app := r.app("wwLapsed")
	app.Token = "x"
	if d, err := app.Verify(time.Now(), "echo me"); err != nil || d.Status != 403 || strings.Contains(string(d.Body), "echo me") {
		t.Errorf("forged: HTTP %d %q, %v", d.Status, d.Body, err)
	}
}

func TestCallbackThatIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t, callbacks(""))
	for _, test := range []struct {
		method, target, body string
		status               int
		reason               string
	}{
		{"POST", "/other", "", 404, "unknown_callback"},
		{"PUT", "/cb", "", 405, "method_not_allowed"},
		{"POST", "/cb", "<xml></xml>", 403, "unreadable"},
		{"POST", "/cb?msg_signature=1&timestamp=2&nonce=3", "{", 403, "unreadable"},
	} {
		req, err := http.NewRequest(test.method, r.callback+test.target, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status || resp.Header.Get("Replygate-Reason") != test.reason {
			t.Errorf("%s %s: HTTP %d %v", test.method, test.target, resp.StatusCode, resp.Header)
		}
	}
}

// A callback reaches the bot as it came, believed or not, and the bot's answer goes back.
func TestCallbackGoesToTheBot(t *testing.T) {
	t.Parallel()
	type got struct {
		target, body string
	}
	arrived := make(chan got, 1)
	url := bot(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- got{r.RequestURI, string(body)}
		w.Header().Set("X-Bot", "1")
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "from the bot")
	})
	r := newRig(t, callbacks(url+"/hook"))
	for _, token := range []string{"tok", "forged"} {
		app := r.app("wwLapsed")
		app.Token = token
		d, err := app.Deliver(time.Now(), added("wwLapsed", "CODE", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != 201 || string(d.Body) != "from the bot" || d.Header.Get("X-Bot") != "1" {
			t.Errorf("%s: HTTP %d %q %v", token, d.Status, d.Body, d.Header)
		}
		if g := <-arrived; g.target != "/hook?"+d.Query || g.body != string(d.Sent) {
			t.Errorf("%s: the bot got %s, %d bytes of %d", token, g.target, len(g.body), len(d.Sent))
		}
	}
}

// WeCom gets no success where the bot gave none, so that it tries again.
func TestBotFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		bot    http.HandlerFunc
		status int
		reason string
	}{
		{"breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "bot_unreachable"},
		{"answers half", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
		}, 502, "bot_unreachable"},
		{"answers too much", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) }, 502, "bot_unreachable"},
		{"a failure of its own", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503, ""},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
	} {
		r := newRig(t, callbacks(bot(t, test.bot)))
		d, err := r.app("wwLapsed").Deliver(time.Now(), added("wwLapsed", "CODE", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != test.status || d.Header.Get("Replygate-Reason") != test.reason {
			t.Errorf("%s: HTTP %d %v", test.name, d.Status, d.Header)
		}
		if kind, _ := r.lines.last("callback")["error_kind"].(string); kind != test.reason {
			t.Errorf("%s: the record: %v", test.name, r.lines.last("callback"))
		}
	}
}

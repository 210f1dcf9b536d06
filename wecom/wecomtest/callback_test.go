package wecomtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/wecom"
	"replygate/wecom/wecomtest"
)

const aesKey = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"

// bot is a receiver of callbacks that verifies and decrypts them.
type bot struct {
	*testing.T
	crypt *wecom.Crypt
	mu    sync.Mutex
	got   []string // "message|receive id" of each callback
	kinds []string // method and Content-Type of each
	reply func(w http.ResponseWriter, plain string)
}

// listen starts a bot and returns its configuration as in WeCom's console.
func listen(t *testing.T) (*bot, wecomtest.App) {
	t.Helper()
	c, err := wecom.NewCrypt("token", aesKey)
	if err != nil {
		t.Fatal(err)
	}
	b := &bot{T: t, crypt: c, reply: func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, "success") }}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return b, wecomtest.App{URL: server.URL + "/callback", Token: "token", Key: aesKey, ReceiveID: "ww1"}
}

func (b *bot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := wecom.ReadSigned([]byte(r.URL.RawQuery))
	if err != nil {
		b.Error(err)
	}
	sealed := s.Echo
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		if sealed, err = wecom.ReadEnvelope(body); err != nil {
			b.Errorf("%s: %v", body, err)
		}
	}
	if !b.crypt.Verify(s.Signature, s.Timestamp, s.Nonce, sealed) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	plain, id, err := b.crypt.Open(sealed)
	if err != nil {
		b.Error(err)
	}
	b.mu.Lock()
	b.got = append(b.got, string(plain)+"|"+id)
	b.kinds = append(b.kinds, r.Method+" "+r.Header.Get("Content-Type")+" "+s.Timestamp)
	b.mu.Unlock()
	b.reply(w, string(plain))
}

// Callbacks are encrypted, signed at the platform's time, and sent in either envelope.
func TestDeliver(t *testing.T) {
	t.Parallel()
	p := start(t)
	b, app := listen(t)
	for _, isJSON := range []bool{false, true} {
		app.JSON = isJSON
		message := fmt.Sprintf("<xml>%v</xml>", isJSON)
		d, err := p.Deliver(app, message)
		if err != nil || d.Status != http.StatusOK || string(d.Body) != "success" || d.Header.Get("Content-Type") == "" {
			t.Fatalf("%+v, %v", d, err)
		}
		if isJSON != strings.HasPrefix(string(d.Sent), `{"encrypt":"`) || isJSON == strings.HasPrefix(string(d.Sent), "<xml><ToUserName><![CDATA[ww1]]>") {
			t.Errorf("JSON %v: %s", isJSON, d.Sent)
		}
		if want := message + "|ww1"; b.got[len(b.got)-1] != want {
			t.Errorf("%q, want %q", b.got, want)
		}
		if want := fmt.Sprintf("POST text/xml %d", p.clock.Now().Unix()); b.kinds[len(b.kinds)-1] != want {
			t.Errorf("%q, want %q", b.kinds, want)
		}
		if !strings.Contains(d.Query, "msg_signature=") || !strings.Contains(d.Query, "&timestamp=") || !strings.Contains(d.Query, "&nonce=") {
			t.Errorf("query %s", d.Query)
		}
	}
}

// The verification of a URL is a GET whose answer is the decrypted text.
func TestVerify(t *testing.T) {
	t.Parallel()
	b, app := listen(t)
	b.reply = func(w http.ResponseWriter, plain string) { _, _ = io.WriteString(w, plain) }
	at := time.Unix(1700000000, 0)
	d, err := app.Verify(at, "1616140317555161061")
	if err != nil || string(d.Body) != "1616140317555161061" || d.Sent != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	if b.kinds[0] != "GET  1700000000" || b.got[0] != "1616140317555161061|ww1" {
		t.Errorf("%q, %q", b.kinds, b.got)
	}
}

// Two callbacks with the same message differ, so that none looks like a replay.
func TestSealsDiffer(t *testing.T) {
	t.Parallel()
	_, app := listen(t)
	at := time.Unix(1700000000, 0)
	sealed, query, err := app.Seal(at, "hello")
	if err != nil {
		t.Fatal(err)
	}
	again, otherQuery, err := app.Seal(at, "hello")
	if err != nil || again == sealed || otherQuery == query {
		t.Errorf("%s and %s, %v", query, otherQuery, err)
	}
}

// Deliver reports any answer: a rejection, a truncated long one, and none.
func TestDeliverReportsTheAnswer(t *testing.T) {
	t.Parallel()
	b, app := listen(t)
	at := time.Unix(1700000000, 0)
	forged := app
	forged.Token = "another"
	if d, err := forged.Deliver(at, "x"); err != nil || d.Status != http.StatusForbidden || len(b.got) != 0 {
		t.Errorf("another token: %+v, %v, %q", d, err, b.got)
	}
	b.reply = func(w http.ResponseWriter, _ string) {
		w.Header().Set("X-Bot", "b")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, strings.Repeat("x", 3<<20))
	}
	if d, err := app.Deliver(at, "x"); err != nil || d.Status != http.StatusTeapot || d.Header.Get("X-Bot") != "b" || len(d.Body) != 1<<20 {
		t.Errorf("a long answer: HTTP %d, %v, %d bytes, %v", d.Status, d.Header, len(d.Body), err)
	}
	b.reply = func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }
	if d, err := app.Deliver(at, "x"); err == nil || d.Status != 0 || len(d.Sent) == 0 {
		t.Errorf("no answer: %+v, %v", d, err)
	}
}

// A callback that cannot be sent is an error.
func TestDeliverErrors(t *testing.T) {
	t.Parallel()
	_, good := listen(t)
	at := time.Unix(1700000000, 0)
	for name, change := range map[string]func(*wecomtest.App){
		"a short key": func(a *wecomtest.App) { a.Key = a.Key[1:] }, "no key": func(a *wecomtest.App) { a.Key = "" },
		"no URL": func(a *wecomtest.App) { a.URL = "" }, "a broken URL": func(a *wecomtest.App) { a.URL = "http://[::1" }, "a closed port": func(a *wecomtest.App) { a.URL = "http://127.0.0.1:1" },
	} {
		app := good
		change(&app)
		if d, err := app.Deliver(at, "x"); err == nil || d.Status != 0 {
			t.Errorf("%s: %+v", name, d)
		}
		if d, err := app.Verify(at, "x"); err == nil || d.Status != 0 {
			t.Errorf("%s, verified: %+v", name, d)
		}
	}
}

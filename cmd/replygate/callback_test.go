package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// The callback of the tests.
const (
	callbackToken = "golden-callback-token"
	callbackKey   = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
)

// botServer receives forwarded callbacks. It keeps them and gives the answer that the test sets.
type botServer struct {
	*httptest.Server
	mu      sync.Mutex
	got     []delivered
	answers http.HandlerFunc
}

type delivered struct {
	method, target string
	header         http.Header
	body           []byte
}

func newBot(t *testing.T) *botServer {
	b := &botServer{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.got = append(b.got, delivered{r.Method, r.RequestURI, r.Header, body})
		answers := b.answers
		b.mu.Unlock()
		if answers != nil {
			answers(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// take returns what the bot got since it was last asked.
func (b *botServer) take() []delivered {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func (b *botServer) answer(h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = h
}

// callbackRig is a gateway with one callback of its account, which it forwards to a bot.
func callbackRig(t *testing.T, redis config.Redis, change func(*config.Config)) (*rig, *botServer, wecomtest.App) {
	b := newBot(t)
	r := newRig(t, redis, func(c *config.Config) {
		c.Listen.Callback = "127.0.0.1:0"
		c.Callbacks = []config.Callback{{Path: "/callback/golden", Token: callbackToken, EncodingAESKey: callbackKey,
			ReceiveIDs: []string{corpID}, ForwardTo: b.URL + "/wecom"}}
		if change != nil {
			change(c)
		}
	})
	return r, b, r.app("/callback/golden", corpID)
}

// app is a callback of the gateway as WeCom's console has it.
func (r *rig) app(path, receiver string) wecomtest.App {
	return wecomtest.App{URL: "http://" + r.gateway.callback.Addr().String() + path, Token: callbackToken, Key: callbackKey, ReceiveID: receiver}
}

// delivers sends one callback and wants a status.
func (r *rig) delivers(a wecomtest.App, plain string, status int) wecomtest.Delivered {
	r.Helper()
	d, err := a.Deliver(r.clock.Now(), plain)
	if err != nil || d.Status != status {
		r.Fatalf("HTTP %d %s, %v; want %d", d.Status, d.Body, err, status)
	}
	return d
}

// open tells whether a customer's window without a channel is on record.
func (r *rig) open(corp, customer string) bool {
	r.Helper()
	_, found, err := r.gateway.windows.Show(context.Background(), window.Key{Corp: corp, Customer: customer})
	if err != nil {
		r.Fatal(err)
	}
	return found
}

// event is the XML of a callback of a kind, as WeCom sends it to an own app or to a third party.
func event(kind, corp, customer string, at time.Time, thirdParty bool) string {
	name, change, _ := strings.Cut(kind, ".")
	ids := fmt.Sprintf("<UserID>zhangsan</UserID><ExternalUserID>%s</ExternalUserID>", customer)
	if change != "" {
		ids = "<ChangeType>" + change + "</ChangeType>" + ids
	}
	if thirdParty {
		return fmt.Sprintf("<xml><SuiteId>wwSuite</SuiteId><AuthCorpId>%s</AuthCorpId><InfoType>%s</InfoType><TimeStamp>%d</TimeStamp>%s</xml>", corp, name, at.Unix(), ids)
	}
	msgType := "<MsgType>event</MsgType><Event>" + name + "</Event>"
	if name == "message" {
		msgType, ids = "<MsgType>"+change+"</MsgType><Content>hi</Content>", ids[strings.Index(ids, "<UserID>"):]
	}
	return fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName>sys</FromUserName><CreateTime>%d</CreateTime>%s%s</xml>", corp, at.Unix(), msgType, ids)
}

// Every kind of callback is forwarded as it came, and its answer comes back; only a customer's own
// message opens a window.
func TestEveryKindOfCallback(t *testing.T) {
	r, b, app := callbackRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Callbacks[0].ReceiveIDs = []string{corpID, "wwSuite", ""}
	})
	suite, robot := r.app("/callback/golden", "wwSuite"), r.app("/callback/golden", "")
	robot.JSON = true
	data, err := os.ReadFile("../../wecom/callbacks.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(data)), "\n")[1:]
	for i, row := range append(rows, "brand_new_event\t-\tof tomorrow", "change_external_contact.brand_new\t-\tof tomorrow") {
		kind, says, _ := strings.Cut(row, "\t")
		says, _, _ = strings.Cut(says, "\t")
		for j, by := range []struct {
			app   wecomtest.App
			plain func(customer string) string
		}{
			{app, func(c string) string { return event(kind, corpID, c, r.clock.Now(), false) }},
			{suite, func(c string) string { return event(kind, corpID, c, r.clock.Now(), true) }},
			{robot, func(string) string {
				name, sub, _ := strings.Cut(strings.TrimPrefix(kind, "robot."), ".")
				return fmt.Sprintf(`{"msgid":"m","aibotid":"A","from":{"userid":"U"},"msgtype":%q,"event":{"eventtype":%q},"text":{"content":"hi"}}`, name, sub)
			}},
		} {
			if (j == 2) != strings.HasPrefix(kind, "robot.") {
				continue
			}
			customer := fmt.Sprintf("wmKind%dx%d", i, j)
			b.answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Bot", kind)
				fmt.Fprintf(w, "<xml>passive reply to %s</xml>", kind)
			})
			d := r.delivers(by.app, by.plain(customer), http.StatusOK)
			if want := "<xml>passive reply to " + kind + "</xml>"; string(d.Body) != want || d.Header.Get("X-Bot") != kind {
				t.Errorf("%s: the answer is %q", kind, d.Body)
			}
			got := b.take()
			if len(got) != 1 || got[0].target != "/wecom?"+d.Query || !bytes.Equal(got[0].body, d.Sent) {
				t.Errorf("%s: the bot got %+v", kind, got)
			}
			if opened := r.open(corpID, customer); opened != (says == "message") {
				t.Errorf("%s: opened is %v", kind, opened)
			}
		}
	}
}

// A callback that cannot be believed opens nothing. It goes on to the bot, which judges for itself.
func TestCallbacksThatAreNotBelieved(t *testing.T) {
	r, b, app := callbackRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts = append(c.Accounts, config.Account{CorpID: "wwOther", Name: "Other", Entity: "other"})
	})
	now := r.clock.Now()
	const kind = "customer_acquisition.customer_start_chat"
	other := app
	other.ReceiveID = "wwOther"
	wrongToken, wrongKey := app, app
	wrongToken.Token = "guessed"
	wrongKey.Key = strings.Repeat("A", 43)
	send := func(a wecomtest.App, at time.Time, corp, customer string) func() (wecomtest.Delivered, error) {
		return func() (wecomtest.Delivered, error) { return a.Deliver(at, event(kind, corp, customer, now, false)) }
	}
	for name, test := range map[string]struct {
		send   func() (wecomtest.Delivered, error)
		result string
		opens  bool
	}{
		"honest":                     {send(app, now, corpID, "wmHonest"), "recorded", true},
		"nine minutes late":          {send(app, now.Add(-9*time.Minute), corpID, "wmNine"), "recorded", true},
		"kept for eleven minutes":    {send(app, now.Add(-11*time.Minute), corpID, "wmKept"), "off_time", false},
		"from the future":            {send(app, now.Add(11*time.Minute), corpID, "wmFuture"), "off_time", false},
		"signed with another token":  {send(wrongToken, now, corpID, "wmToken"), "forged", false},
		"sealed with another key":    {send(wrongKey, now, corpID, "wmKey"), "forged", false},
		"for somebody else":          {send(other, now, "wwOther", "wmElse"), "unknown_receiver", false},
		"speaking for another corp":  {send(app, now, "wwOther", "wmForeign"), "unknown_receiver", false},
		"without a customer":         {send(app, now, corpID, ""), "unidentified", false},
		"with an id as long as none": {send(app, now, corpID, strings.Repeat("w", 129)), "unreadable", false},
		"without a signature": {func() (wecomtest.Delivered, error) {
			return app.Send("POST", "timestamp=1&nonce=2", []byte("<xml><Encrypt>AAAA</Encrypt></xml>"))
		}, "unreadable", false},
		"with two signatures": {func() (wecomtest.Delivered, error) {
			return app.Send("POST", "msg_signature=a&msg_signature=b&timestamp=1&nonce=2", []byte("<xml><Encrypt>AAAA</Encrypt></xml>"))
		}, "unreadable", false},
		"no envelope": {func() (wecomtest.Delivered, error) { return app.Send("POST", "a=b", []byte("hello")) }, "unreadable", false},
	} {
		t.Run(name, func(t *testing.T) {
			b.take()
			d, err := test.send()
			if err != nil || d.Status != http.StatusOK {
				t.Fatalf("HTTP %d, %v", d.Status, err)
			}
			if got := b.take(); len(got) != 1 || !bytes.Equal(got[0].body, d.Sent) {
				t.Errorf("the bot got %d callbacks", len(got))
			}
			if !strings.Contains(r.log(), `"result":"`+test.result+`"`) {
				t.Errorf("no record says %s", test.result)
			}
			entries, _, err := r.gateway.windows.Scan(t.Context(), "", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			if test.opens != (len(entries) > 0) {
				t.Errorf("windows: %+v", entries)
			}
			for _, e := range entries {
				r.gateway.store.Del(t.Context(), fmt.Sprintf("rg:window:{%s::%s}", e.Key.Corp, e.Key.Customer))
			}
		})
	}
}

// A replayed callback, and one that WeCom sends again, is forwarded and moves nothing.
func TestCallbackReplay(t *testing.T) {
	r, b, app := callbackRig(t, storetest.Embedded(t), nil)
	d := r.delivers(app, event("customer_acquisition.customer_start_chat", corpID, "wmReplay", r.clock.Now(), false), http.StatusOK)
	first := r.clock.Now()
	r.clock.Advance(5 * time.Minute)
	for range 2 {
		if again, err := app.Send("POST", d.Query, d.Sent); err != nil || again.Status != http.StatusOK {
			t.Fatalf("HTTP %d, %v", again.Status, err)
		}
	}
	e, found, err := r.gateway.windows.Show(t.Context(), window.Key{Corp: corpID, Customer: "wmReplay"})
	if err != nil || !found || e.Window.Last != first.UnixMilli() {
		t.Errorf("the last message is at %d, want %d, %v", e.Window.Last, first.UnixMilli(), err)
	}
	if got := b.take(); len(got) != 3 {
		t.Errorf("the bot got %d callbacks", len(got))
	}
}

// What becomes of a callback when a part fails: WeCom hears it, and tries again.
func TestCallbackWhenPartsFail(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	r, b, app := callbackRig(t, server.Config(), func(c *config.Config) {
		c.Redis.Timeout, c.Journal.MaxBytes = 300*time.Millisecond, 4<<10
	})
	message := func(customer string) string {
		return event("customer_acquisition.customer_start_chat", corpID, customer, r.clock.Now(), false)
	}
	kept := func(customer string) {
		t.Helper()
		if !r.open(corpID, customer) {
			t.Errorf("the message of %s is lost", customer)
		}
	}
	t.Run("the bot answers an error", func(t *testing.T) {
		b.answer(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "broken bot", http.StatusInternalServerError)
		})
		if d := r.delivers(app, message("wm1"), http.StatusInternalServerError); strings.TrimSpace(string(d.Body)) != "broken bot" {
			t.Errorf("the answer is %q", d.Body)
		}
		kept("wm1")
	})
	t.Run("the bot hangs", func(t *testing.T) {
		release := make(chan struct{})
		b.answer(func(http.ResponseWriter, *http.Request) { <-release })
		defer close(release)
		began := time.Now()
		r.delivers(app, message("wm2"), http.StatusGatewayTimeout)
		if took := time.Since(began); took > 5*4500*time.Millisecond {
			t.Errorf("WeCom waited %s", took)
		}
		kept("wm2")
	})
	t.Run("the bot trickles", func(t *testing.T) {
		b.answer(func(w http.ResponseWriter, rq *http.Request) {
			for rq.Context().Err() == nil {
				fmt.Fprint(w, "x")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-rq.Context().Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
		r.delivers(app, message("wm3"), http.StatusGatewayTimeout)
		kept("wm3")
	})
	t.Run("Redis is away", func(t *testing.T) {
		b.answer(nil)
		b.take()
		server.Down()
		r.delivers(app, message("wm4"), http.StatusOK) // the journal takes it
		if got := b.take(); len(got) != 1 {
			t.Errorf("the bot got %d callbacks", len(got))
		}
		server.Up()
		r.await("the journal to be in Redis", r.gateway.store.Journal.Empty)
		kept("wm4")
	})
	t.Run("neither Redis nor the journal takes it", func(t *testing.T) {
		server.Down()
		for status := http.StatusOK; status != http.StatusServiceUnavailable; {
			d, err := app.Deliver(r.clock.Now(), message("wm6"))
			if err != nil {
				t.Fatal(err)
			}
			status = d.Status
		}
		b.take()
		r.delivers(app, message("wm6"), http.StatusServiceUnavailable)
		if got := b.take(); len(got) != 0 {
			t.Errorf("the bot got %d callbacks that were not recorded", len(got))
		}
		r.delivers(app, event("kf_msg_or_event", corpID, "", r.clock.Now(), false), http.StatusOK)
		server.Up()
		r.await("the journal to be in Redis", r.gateway.store.Journal.Empty)
		r.delivers(app, message("wm6"), http.StatusOK)
		kept("wm6")
	})
	t.Run("the bot is down", func(t *testing.T) {
		b.Close()
		r.delivers(app, message("wm5"), http.StatusBadGateway)
		kept("wm5")
	})
}

// Without a bot the gateway answers by itself.
func TestCallbackWithoutBot(t *testing.T) {
	r, _, app := callbackRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Callbacks[0].ForwardTo = ""
		c.Callbacks[0].ReceiveIDs = append(c.Callbacks[0].ReceiveIDs, "wwSuite")
	})
	if d, err := app.Verify(r.clock.Now(), "1616140317555161061"); err != nil || d.Status != http.StatusOK || string(d.Body) != "1616140317555161061" {
		t.Errorf("verified with HTTP %d %q, %v", d.Status, d.Body, err)
	}
	forged := app
	forged.Token = "guessed"
	if d, err := forged.Verify(r.clock.Now(), "1"); err != nil || d.Status != http.StatusForbidden || !bytes.Contains(d.Body, []byte(`"errcode":990403`)) {
		t.Errorf("a forged verification: HTTP %d %s, %v", d.Status, d.Body, err)
	}
	if d := r.delivers(app, event("enter_agent", corpID, "", r.clock.Now(), false), http.StatusOK); len(d.Body) != 0 {
		t.Errorf("the answer is %q", d.Body)
	}
	if d := r.delivers(r.app("/callback/golden", "wwSuite"), event("suite_ticket", "", "", r.clock.Now(), true), http.StatusOK); string(d.Body) != "success" {
		t.Errorf("the answer is %q", d.Body)
	}
	for method, status := range map[string]int{"PUT": http.StatusMethodNotAllowed, "DELETE": http.StatusMethodNotAllowed} {
		if d, err := app.Send(method, "a=b", nil); err != nil || d.Status != status {
			t.Errorf("%s: HTTP %d, %v", method, d.Status, err)
		}
	}
	elsewhere := app
	elsewhere.URL += "/../golden/"
	if d, err := elsewhere.Send("POST", "a=b", nil); err != nil || d.Status != http.StatusNotFound {
		t.Errorf("another path: HTTP %d, %v", d.Status, err)
	}
}

var apiTarget = regexp.MustCompile(`/cgi-bin/[a-z_/]+\?access_token=\{T\}`)

// The framing of a callback is as strict as that of a call.
func TestCallbackFraming(t *testing.T) {
	r, b, _ := callbackRig(t, storetest.Embedded(t), nil)
	for _, c := range lines(t, "proxy/framing.tsv", 4) {
		t.Run(c[0], func(t *testing.T) {
			b.take()
			request := unescape(t, apiTarget.ReplaceAllString(c[3], "/callback/golden?a=b"))
			if strings.Contains(request, "{T}") {
				t.Skip("a case of the api listener's own")
			}
			status, seen := c[1], c[2]
			if method, _, _ := strings.Cut(request, " "); status == "200" && method != "GET" && method != "POST" {
				status, seen = "405", "0"
			}
			a, ok := exchangeRaw(t, r.gateway.callback.Addr().String(), request)
			if got := len(b.take()); fmt.Sprint(got) != seen {
				t.Errorf("the bot saw %d callbacks, want %s", got, seen)
			}
			if !ok || fmt.Sprint(a.StatusCode) != status {
				t.Errorf("answered %v: %+v, want %s", ok, a.Response, status)
			}
		})
	}
}

// A provider's one URL serves its client companies; each message counts for the company that it
// names, and each company's tokens are learnt as the provider fetches them.
func TestProviderWithThreeCorps(t *testing.T) {
	corps := []string{"wwClient1", "wwClient2", "wwClient3"}
	r, b, _ := callbackRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Callbacks[0].ReceiveIDs = []string{"wwSuite", "wwProvider"}
		for _, id := range corps {
			a := lapsedAccount(time.Now())
			a.CorpID, a.Name = id, id
			c.Accounts = append(c.Accounts, a)
		}
	})
	suite, provider := r.app("/callback/golden", "wwSuite"), r.app("/callback/golden", "wwProvider")
	b.answer(func(w http.ResponseWriter, rq *http.Request) { fmt.Fprint(w, "success") })
	if d, err := provider.Verify(r.clock.Now(), "42"); err != nil || d.Status != http.StatusOK {
		t.Fatalf("HTTP %d, %v", d.Status, err)
	}
	for i, id := range corps {
		r.platform.AddCorp(id, "permanent-"+id, "wk"+id)
		r.delivers(suite, event("customer_acquisition.message_from_customer", id, fmt.Sprintf("wmOf%d", i), r.clock.Now(), true), http.StatusOK)
		for j := range corps {
			if opened := r.open(corps[j], fmt.Sprintf("wmOf%d", i)); opened != (i == j) {
				t.Errorf("customer %d is open at %s: %v", i, corps[j], opened)
			}
		}
		r.platform.CustomerWrites(id, "wk"+id, "wmKf", "hello")
		body := fmt.Sprintf(`{"auth_corpid":%q,"permanent_code":"permanent-%s"}`, id, id)
		a := raw(t, r.gateway.api.Addr().String(), request("POST", "/cgi-bin/service/get_corp_token?suite_access_token=S", body))
		r.token = tokenOf(t, a)
		if a := r.call("POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"wk`+id+`"}`); a.Errcode != 0 {
			t.Fatalf("sync_msg: %s", a.body)
		}
		reply := `{"touser":"wmKf","open_kfid":"wk` + id + `","msgtype":"text","text":{"content":"hello"}}`
		if a := r.call("POST", "/cgi-bin/kf/send_msg", reply); a.Errcode != 0 || a.Header.Get("Replygate-Reason") != "window_open" {
			t.Errorf("%s: the reply got %s", id, a.body)
		}
		if a := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wm", ""); a.Gate.Reason != "rule_refuse" {
			t.Errorf("%s: details: %s", id, a.body)
		}
	}
}

// The token that an upstream company fetches for one downstream is the downstream's.
func TestDownstreamToken(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts[0].Subscription = nil
		down := lapsedAccount(time.Now())
		down.CorpID = "wwDown"
		c.Accounts = append(c.Accounts, down)
	})
	r.platform.AddCorp("wwDown", "s", "wkDown")
	a := r.call("POST", "/cgi-bin/corpgroup/corp/gettoken", `{"corpid":"wwDown","business_type":1,"agentid":7}`)
	if upstream := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wm", ""); upstream.Gate.Reason != "" {
		t.Errorf("the upstream company is refused: %s", upstream.body)
	}
	r.token = tokenOf(t, a)
	if down := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wm", ""); down.Gate.Reason != "rule_refuse" {
		t.Errorf("the downstream company passes: %s", down.body)
	}
}

// A callback that is too large, or does not come to its end, is answered and costs nothing.
func TestCallbackBounds(t *testing.T) {
	r, b, app := callbackRig(t, storetest.Embedded(t), nil)
	at := r.gateway.callback.Addr().String()
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"announced too large": {"POST /callback/golden?a=b HTTP/1.1\r\nHost: g\r\nContent-Length: 2097152\r\n\r\n" + strings.Repeat("x", 2<<20), 413},
		"chunked too large":   {"POST /callback/golden?a=b HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + strings.Repeat("x", 2<<20) + "\r\n0\r\n\r\n", 413},
		"cut short":           {"POST /callback/golden?a=b HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\nx", 400},
		"a long URL":          {"POST /callback/golden?" + strings.Repeat("a", 20<<10) + " HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n", 414},
		"a long head":         {"POST /callback/golden HTTP/1.1\r\nHost: g\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\nContent-Length: 0\r\n\r\n", 431},
	} {
		a, ok := exchangeRaw(t, at, test.request)
		if !ok || a.StatusCode != test.status || !strings.HasPrefix(string(a.body), `{"errcode":9904`) {
			t.Errorf("%s: answered %v: %+v %s, want %d", name, ok, a.Response, a.body, test.status)
		}
	}
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	_ = conn.SetDeadline(began.Add(60 * time.Second))
	fmt.Fprint(conn, "POST /callback/golden?a=b HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\nx") // and no more
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*4500*time.Millisecond {
		t.Errorf("a callback that does not end held its connection for %s", took)
	}
	if got := b.take(); len(got) != 0 {
		t.Errorf("the bot got %d of them", len(got))
	}
	r.delivers(app, event("enter_agent", corpID, "", r.clock.Now(), false), http.StatusOK)
}

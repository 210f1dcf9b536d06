package wecomtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/wecom/wecomtest"
)

// platform is a simulated WeCom with one corp, reached over HTTP.
type platform struct {
	*testing.T
	*wecomtest.Platform
	clock *wecomtest.Clock
	url   string
	token string
}

func start(t *testing.T) *platform {
	t.Helper()
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	p := &platform{T: t, Platform: wecomtest.New(clock.Now), clock: clock}
	p.AddCorp("ww1", "s", "wk1")
	server := p.Start()
	t.Cleanup(server.Close)
	p.url = server.URL
	p.token = p.fetch()
	return p
}

func (p *platform) fetch() string {
	p.Helper()
	a, _ := p.get("/cgi-bin/gettoken?corpid=ww1&corpsecret=s", "")
	token, _ := a["access_token"].(string)
	return token
}

// get makes a call, a POST if it has a body.
func (p *platform) get(target, body string) (map[string]any, http.Header) {
	p.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, p.url+target, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // asks for gzip, and takes it off again
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.Fatalf("HTTP %d, %v", resp.StatusCode, err)
	}
	var a map[string]any
	if err := json.Unmarshal(data, &a); err != nil {
		p.Fatalf("%s: %v", data, err)
	}
	if !resp.Uncompressed {
		p.Errorf("%s: not compressed, though asked for", target)
	}
	return a, resp.Header
}

func (p *platform) wants(errcode int, path, body string) map[string]any {
	p.Helper()
	a, h := p.get(path+"?access_token="+p.token, body)
	if got := int(a["errcode"].(float64)); got != errcode || h.Get("Error-Code") != fmt.Sprint(errcode) {
		p.Fatalf("%s %s: %v, Error-Code %s; want %d", path, body, a, h.Get("Error-Code"), errcode)
	}
	if errcode != 0 && !strings.Contains(a["errmsg"].(string), fmt.Sprintf("devtool/query?e=%d", errcode)) {
		p.Errorf("errmsg: %v", a["errmsg"])
	}
	return a
}

const send = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text","text":{"content":"x"}}`

func TestTokensRepeatAndExpire(t *testing.T) {
	p := start(t)
	if again := p.fetch(); again != p.token || len(again) != 214 {
		t.Errorf("another token within the life of the first: %s", again)
	}
	p.clock.Advance(2 * time.Hour)
	p.wants(42001, "/cgi-bin/user/get", "")
	if p.fetch() == p.token {
		t.Error("an expired token is handed out")
	}
	p.token = p.fetch()
	p.Revoke("ww1")
	p.wants(42001, "/cgi-bin/user/get", "")
	p.token = p.fetch()
	p.wants(0, "/cgi-bin/user/get", "")
	p.Invalidate("ww1")
	p.wants(40014, "/cgi-bin/user/get", "")
	if again := p.fetch(); again == p.token {
		t.Error("an invalid token is handed out")
	}
	p.token = "made-up"
	p.wants(40014, "/cgi-bin/user/get", "")
	p.token = ""
	p.wants(41001, "/cgi-bin/user/get", "")
}

func TestReplyRule(t *testing.T) {
	p := start(t)
	p.wants(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerEnters("ww1", "wk1", "wmA") // enters, and writes nothing
	p.wants(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	for range 5 {
		p.wants(0, "/cgi-bin/kf/send_msg", send)
	}
	p.wants(95001, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello?")
	p.SetState("ww1", "wk1", "wmA", 3)
	p.wants(95018, "/cgi-bin/kf/send_msg", send)
	p.SetState("ww1", "wk1", "wmA", 1)
	p.clock.Advance(48*time.Hour - time.Millisecond)
	p.token = p.fetch()
	p.wants(0, "/cgi-bin/kf/send_msg", send)
	p.clock.Advance(time.Millisecond)
	p.wants(95002, "/cgi-bin/kf/send_msg", send)
	p.wants(95000, "/cgi-bin/kf/send_msg", strings.Replace(send, "wk1", "wk2", 1))
	p.wants(47001, "/cgi-bin/kf/send_msg", "{")
}

func TestSyncPagesAndReplays(t *testing.T) {
	p := start(t)
	p.CustomerWroteAt("ww1", "wk1", "wmOld", "long ago", p.clock.Now().Add(-73*time.Hour))
	for i := range 5 {
		p.CustomerWrites("ww1", "wk1", fmt.Sprintf("wm%d", i), "hello")
	}
	cursor, seen := "", 0
	for {
		a := p.wants(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"open_kfid":"wk1","cursor":%q,"limit":2}`, cursor))
		seen += len(a["msg_list"].([]any))
		cursor = a["next_cursor"].(string)
		if a["has_more"].(float64) == 0 {
			break
		}
	}
	if seen != 5 {
		t.Errorf("%d messages, want the 5 of the last three days", seen)
	}
	if a := p.wants(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"cursor":%q}`, cursor)); len(a["msg_list"].([]any)) != 0 {
		t.Errorf("behind the end: %v", a)
	}
	if a := p.wants(0, "/cgi-bin/kf/sync_msg", `{}`); len(a["msg_list"].([]any)) != 5 {
		t.Errorf("without a cursor: %v", a)
	}
}

func TestFaultsAndCounts(t *testing.T) {
	p := start(t)
	p.Forget()
	p.FailNext("/cgi-bin/message/send", 45009, -1)
	p.wants(45009, "/cgi-bin/message/send", "{}")
	p.wants(-1, "/cgi-bin/message/send", "{}")
	p.wants(0, "/cgi-bin/message/send", `{"touser":"@all"}`)
	calls := p.Calls()
	if p.Count("/cgi-bin/message/send") != 3 || string(calls[2].Body) != `{"touser":"@all"}` || calls[2].Corp != "ww1" || calls[0].Code != 45009 {
		t.Errorf("%+v", calls)
	}
}

// WeCom reads a body in order, stops at what it cannot read, and acts on what came before.
func TestSloppyBodies(t *testing.T) {
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	const head = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text"`
	for _, c := range []struct {
		name, body string
		errcode    int
		warned     bool
	}{
		{"a BOM", "\ufeff" + send, 0, false},
		{"a cut surrogate", head + `,"text":{"content":"\ud83d"}}`, 0, false},
		{"a cut character", head + ",\"text\":{\"content\":\"\xe4\xbd\"}}", 0, false},
		{"a raw newline after the recipient", head + ",\"text\":{\"content\":\"a\nb\"}}", 0, true},
		{"a raw newline before the recipient", `{"text":{"content":"` + "\n" + `"},"touser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 47001, true},
		{"no end", head, 0, true},
		{"a wrong type at the end", head + `,"msgid":7}`, 0, true},
		{"a wrong type before the channel", `{"touser":"wmA","msgid":7,"open_kfid":"wk1","msgtype":"text"}`, 95000, true},
		{"another case", `{"toUser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 40096, false},
		{"a form", "touser=wmA&open_kfid=wk1", 47001, false},
	} {
		p.CustomerWrites("ww1", "wk1", "wmA", "hello") // five replies again
		a := p.wants(c.errcode, "/cgi-bin/kf/send_msg", c.body)
		if warned := strings.HasPrefix(a["errmsg"].(string), "Warning: wrong json format. "); warned != c.warned {
			t.Errorf("%s: %v", c.name, a)
		}
	}
}

func TestCustomerDetails(t *testing.T) {
	p := start(t)
	details := func(id string) (int, any) {
		a, _ := p.get("/cgi-bin/externalcontact/get?access_token="+p.token+"&external_userid="+id, "")
		contact, _ := a["external_contact"].(map[string]any)
		return int(a["errcode"].(float64)), contact["external_userid"]
	}
	for id, want := range map[string]int{"wmA": 0, "woB": 0, "": 41035, "zhangsan": 40096} {
		if code, got := details(id); code != want || code == 0 && got != id {
			t.Errorf("%q: errcode %d, %v; want %d", id, code, got, want)
		}
	}
}

package wecomtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/wecom/wecomtest"
)

// platform is a simulated WeCom with one corp, served over HTTP.
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

func (p *platform) expect(errcode int, path, body string) map[string]any {
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

func TestTokensRepeatAndExpire(t *testing.T) {
	p := start(t)
	if again := p.fetch(); again != p.token || len(again) != 214 {
		t.Errorf("another token within the life of the first: %s", again)
	}
	p.clock.Advance(2 * time.Hour)
	p.expect(42001, "/cgi-bin/user/get", "")
	if p.fetch() == p.token {
		t.Error("an expired token is handed out")
	}
	p.token = p.fetch()
	p.Revoke("ww1")
	p.expect(42001, "/cgi-bin/user/get", "")
	p.token = p.fetch()
	p.expect(0, "/cgi-bin/user/get", "")
	p.Invalidate("ww1")
	p.expect(40014, "/cgi-bin/user/get", "")
	if again := p.fetch(); again == p.token {
		t.Error("an invalid token is handed out")
	}
	p.token = "made-up"
	p.expect(40014, "/cgi-bin/user/get", "")
	p.token = ""
	p.expect(41001, "/cgi-bin/user/get", "")
}

func TestFaultsAndCounts(t *testing.T) {
	p := start(t)
	p.Forget()
	p.FailNext("/cgi-bin/message/send", 45009, -1)
	p.expect(45009, "/cgi-bin/message/send", "{}")
	p.expect(-1, "/cgi-bin/message/send", "{}")
	p.expect(0, "/cgi-bin/message/send", `{"touser":"@all"}`)
	calls := p.Calls()
	if p.Count("/cgi-bin/message/send") != 3 || string(calls[2].Body) != `{"touser":"@all"}` || calls[2].Corp != "ww1" || calls[0].Code != 45009 {
		t.Errorf("%+v", calls)
	}
}

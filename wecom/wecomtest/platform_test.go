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

// raw makes any call and returns the answer without decoding it.
func (p *platform) raw(method, target string, header http.Header, body io.Reader) (*http.Response, []byte) {
	p.Helper()
	req, err := http.NewRequest(method, p.url+target, body)
	if err != nil {
		p.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp, data
}

// code returns the errcode of the answer to a GET.
func (p *platform) code(target string) int {
	p.Helper()
	a, _ := p.get(target, "")
	return int(a["errcode"].(float64))
}

func TestGetToken(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s2")
	for query, want := range map[string]int{
		"corpid=ww1&corpsecret=s": 0, "corpid=ww2&corpsecret=s2": 0, "corpid=ww1&corpsecret=s2": 40001, "corpid=ww1": 40001, "corpid=ww3&corpsecret=s": 40013, "": 40013,
	} {
		if got := p.code("/cgi-bin/gettoken?" + query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	first, _ := p.get("/cgi-bin/gettoken?corpid=ww2&corpsecret=s2", "")
	if first["access_token"] == p.token || first["expires_in"].(float64) != 7200 {
		t.Errorf("the token of another corp: %v", first)
	}
	p.clock.Advance(time.Hour)
	later, _ := p.get("/cgi-bin/gettoken?corpid=ww2&corpsecret=s2", "")
	if later["access_token"] != first["access_token"] || later["expires_in"].(float64) != 3600 {
		t.Errorf("an hour later: %v", later)
	}
	if got := p.Issue("ww2"); got != first["access_token"] {
		t.Errorf("Issue returns another token than gettoken: %s", got)
	}
}

// A token works until the last millisecond of its life.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.clock.Advance(2*time.Hour - time.Millisecond)
	p.expect(0, "/cgi-bin/user/get", "")
	old := p.token
	p.clock.Advance(time.Millisecond)
	p.expect(42001, "/cgi-bin/user/get", "")
	if p.token = p.Issue("ww1"); p.token == old {
		t.Error("an expired token is issued again")
	}
	p.expect(0, "/cgi-bin/user/get", "")
	p.token = old
	p.expect(42001, "/cgi-bin/user/get", "") // also after there is a new one
}

// Providers and upstream companies get tokens of other corps.
func TestTokensForOthers(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, test := range []struct {
		path, body string
		errcode    int
	}{
		{"/cgi-bin/service/get_corp_token", `{"auth_corpid":"ww1","permanent_code":"s"}`, 0},
		{"/cgi-bin/service/get_corp_token", `{"auth_corpid":"ww1","permanent_code":"x"}`, 40084},
		{"/cgi-bin/service/get_corp_token", `{"auth_corpid":"ww2","permanent_code":"s"}`, 40084},
		{"/cgi-bin/service/get_corp_token", `[]`, 47001},
		{"/cgi-bin/corpgroup/corp/gettoken", `{"corpid":"ww1"}`, 0},
		{"/cgi-bin/corpgroup/corp/gettoken", `{"corpid":"ww2"}`, 40013},
		{"/cgi-bin/corpgroup/corp/gettoken", `x`, 47001},
	} {
		a := p.expect(test.errcode, test.path, test.body)
		if test.errcode == 0 && (a["access_token"] != p.token || a["expires_in"].(float64) != 7200) {
			t.Errorf("%s: %v", test.path, a)
		}
	}
	p.token = ""
	p.expect(0, "/cgi-bin/service/get_corp_token", `{"auth_corpid":"ww1","permanent_code":"s"}`) // needs no corp's token
	p.expect(41001, "/cgi-bin/corpgroup/corp/gettoken", `{"corpid":"ww1"}`)
}

// Some calls need no access token of a corp.
func TestCallsWithoutToken(t *testing.T) {
	t.Parallel()
	p := start(t)
	for path, want := range map[string]int{
		"/cgi-bin/service/get_permanent_code": 0, "/cgi-bin/webhook/send?key=k": 0, "/cgi-bin/webhook/upload_media?key=k": 0,
		"/cgi-bin/aibot/response?response_code=r": 0, "/cgi-bin/wedoc/smartsheet/webhook?key=k": 0,
		"/cgi-bin/user/get": 41001, "/cgi-bin/kf/send_msg": 41001, "/cgi-bin/user/get?access_token=": 41001, "/cgi-bin/user/get?access_token=x": 40014, "/": 41001,
	} {
		if got := p.code(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// Faults apply to one path, in order, and once each.
func TestFailNext(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.FailNext("/cgi-bin/user/get", -1, 0)
	p.FailNext("/cgi-bin/user/get", 45009)
	p.expect(0, "/cgi-bin/user/list", "")
	for _, want := range []int{-1, 0, 45009, 0, 0} {
		p.expect(want, "/cgi-bin/user/get", "")
	}
	p.FailNext("/cgi-bin/gettoken", 45009)
	if got := p.code("/cgi-bin/gettoken?corpid=ww1&corpsecret=s"); got != 45009 {
		t.Errorf("gettoken: %d", got)
	}
	p.FailNext("/cgi-bin/user/get", -1)
	p.token = "unknown" // a fault comes before the check of the token
	p.expect(-1, "/cgi-bin/user/get", "")
}

// A replacement handler answers, and its calls are recorded.
func TestAnswer(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Forget()
	p.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write(append([]byte("not JSON: "), body...))
	})
	resp, data := p.raw("POST", "/cgi-bin/user/get", nil, strings.NewReader("the body"))
	if resp.StatusCode != http.StatusBadGateway || string(data) != "not JSON: the body" {
		t.Errorf("HTTP %d, %s", resp.StatusCode, data)
	}
	if calls := p.Calls(); len(calls) != 1 || string(calls[0].Body) != "the body" {
		t.Errorf("%+v", calls)
	}
	p.expect(0, "/cgi-bin/user/list", "")
	p.Answer("/cgi-bin/user/get", nil)
	p.expect(0, "/cgi-bin/user/get", "")
}

// Calls are recorded as sent, and the record is a copy.
func TestCalls(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Forget()
	target := "/cgi-bin/user/get%2e?a=%41&&b;c&access_token=" + p.token
	p.raw("PUT", target, http.Header{"X-Test": {"a", "b"}}, strings.NewReader("body"))
	p.raw("GET", "/cgi-bin/user/get?access_token=x", nil, nil)
	calls := p.Calls()
	if len(calls) != 2 || p.Count("/cgi-bin/user/get") != 1 || p.Count("/cgi-bin/user/list") != 0 {
		t.Fatalf("%+v", calls)
	}
	path, query, _ := strings.Cut(target, "?")
	c := calls[0]
	if c.Method != "PUT" || c.Path != path || c.Query != query || fmt.Sprint(c.Header["X-Test"]) != "[a b]" || string(c.Body) != "body" || c.Size != 4 || c.Code != 0 || c.Corp != "ww1" || c.Warned {
		t.Errorf("%+v", c)
	}
	if c := calls[1]; c.Method != "GET" || c.Code != 40014 || c.Corp != "" || len(c.Body) != 0 {
		t.Errorf("%+v", c)
	}
	calls[0].Path = "changed"
	if p.Calls()[0].Path != path {
		t.Error("Calls returns the platform's own slice")
	}
	if p.Forget(); len(p.Calls()) != 0 {
		t.Error("Forget keeps calls")
	}
}

// The platform is safe for concurrent use.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Forget()
	const each = 40
	target := p.url + "/cgi-bin/kf/sync_msg?access_token=" + p.token
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range each {
				customer := fmt.Sprintf("wm%d-%d", i, n)
				p.CustomerWrites("ww1", "wk1", customer, "hello")
				p.SetState("ww1", "wk1", customer, 1)
				resp, err := http.Post(target, "application/json", strings.NewReader(`{"limit":1}`))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				_ = p.Calls()
			}
		})
	}
	all.Wait()
	if got := p.Count("/cgi-bin/kf/sync_msg"); got != 4*each {
		t.Errorf("%d calls", got)
	}
	if a := p.expect(0, "/cgi-bin/kf/sync_msg", `{}`); len(a["msg_list"].([]any)) != 4*each {
		t.Errorf("%d messages", len(a["msg_list"].([]any)))
	}
}

package console_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/config"
	"replygate/console"
)

const (
	readKey   = "read-key-0123456789"
	changeKey = "change-key-0123456789"
)

// start is when the clock of the tests begins: a Sunday evening in China.
var start = time.Date(2026, 11, 29, 13, 30, 0, 0, time.UTC)

// rig is a console over an API that answers from testdata/console/api.
type rig struct {
	*testing.T
	http.Handler
	clock atomic.Pointer[time.Time]
	api   func(w http.ResponseWriter, r *http.Request) bool // answers before the files do, if it returns true

	mu    sync.Mutex
	asked []string // method, path, query and body of each call of the API
}

func newRig(t *testing.T, set func(*console.Settings)) *rig {
	t.Helper()
	r := &rig{T: t}
	r.clock.Store(&start)
	s := console.Settings{
		Keys: config.Admin{ReadKey: readKey, ChangeKey: changeKey}, Config: config.Default().Console,
		Language: func() string { return config.English }, Now: func() time.Time { return *r.clock.Load() },
	}
	if set != nil {
		set(&s)
	}
	c, err := console.New(s)
	if err != nil {
		t.Fatal(err)
	}
	r.Handler = c.Over(http.HandlerFunc(r.serveAPI))
	return r
}

func (t *rig) pass(d time.Duration) {
	at := t.clock.Load().Add(d)
	t.clock.Store(&at)
}

// serveAPI answers from the file that is called like the path.
func (t *rig) serveAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": "the API says " + code}})
	}
	key := map[bool]string{true: changeKey, false: readKey}[r.URL.Path == "/v1/reload" || strings.HasPrefix(r.URL.Path, "/v1/windows/")]
	if r.Header.Get("Authorization") != "Bearer "+key && strings.HasPrefix(r.URL.Path, "/v1/") {
		fail(http.StatusUnauthorized, "unauthorized")
		return
	}
	body, _ := io.ReadAll(r.Body)
	t.mu.Lock()
	t.asked = append(t.asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	t.mu.Unlock()
	if t.api != nil && t.api(w, r) {
		return
	}
	data, err := os.ReadFile(filepath.Join("../testdata/console/api", strings.ReplaceAll(strings.Trim(r.URL.Path, "/"), "/", "_")+".json"))
	if err != nil {
		fail(http.StatusNotFound, "not_found")
		return
	}
	_, _ = w.Write(data)
}

// call makes one request; header has pairs of a name and a value.
func (t *rig) call(method, target string, form url.Values, header ...string) *http.Response {
	t.Helper()
	if form != nil {
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	}
	return t.send(method, target, form.Encode(), header...)
}

// post posts a body.
func (t *rig) post(target, body string, header ...string) *http.Response {
	t.Helper()
	return t.send(http.MethodPost, target, body, header...)
}

func (t *rig) send(method, target, body string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:9090"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	t.ServeHTTP(w, r)
	return w.Result()
}

func text(res *http.Response) string {
	data, _ := io.ReadAll(res.Body)
	return string(data)
}

// signIn signs in and returns the cookie as a request sends it.
func (t *rig) signIn(header ...string) string {
	t.Helper()
	res := t.call("POST", "/console/login", url.Values{"key": {readKey}, "next": {"./settings"}}, header...)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "./settings" || len(res.Cookies()) != 1 {
		t.Fatalf("sign-in: %d, to %q, %v", res.StatusCode, res.Header.Get("Location"), res.Cookies())
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
		t.Errorf("the cookie is %v", c)
	}
	return c.Name + "=" + c.Value
}

// The console is found by each way of writing its address, and by relative links.
func TestAddresses(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	for _, path := range []string{"/", "/console"} {
		if res := r.call("GET", path, nil); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "console/" {
			t.Errorf("%s: %d, to %q", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/console/", "/console/accounts", "/console/settings", "/console/login", "/console/accounts?q=x"} {
		res := r.call("GET", path, nil)
		want := map[bool]int{true: http.StatusOK, false: http.StatusSeeOther}[path == "/console/login"]
		if res.StatusCode != want {
			t.Errorf("%s, signed out: %d", path, res.StatusCode)
		}
		if want == http.StatusSeeOther && !strings.HasPrefix(res.Header.Get("Location"), "./login?next=") {
			t.Errorf("%s, signed out: to %q", path, res.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/console/accounts", "/console/settings"} {
		body := text(r.call("GET", path, nil, "Cookie", cookie))
		for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if strings.HasPrefix(m[1], "/") || strings.Contains(m[1], "//") {
				t.Errorf("%s: the link %q is not relative", path, m[1])
			}
		}
	}
	if res := r.call("GET", "/console/nowhere", nil, "Cookie", cookie); res.StatusCode != http.StatusNotFound || !strings.Contains(text(res), "There is no such page") {
		t.Errorf("an unknown page: %d", res.StatusCode)
	}
	if res := r.call("GET", "/readyz", nil); res.StatusCode != http.StatusOK {
		t.Errorf("the API is not reached: %d", res.StatusCode)
	}
}

// Every answer of the console has the headers that keep foreign content out.
func TestHeaders(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	for _, path := range []string{"/", "/console/accounts", "/console/login", "/console/nowhere"} {
		h := r.call("GET", path, nil, "Cookie", cookie).Header
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy lacks %s", path, part)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
	}
	page := text(r.call("GET", "/console/accounts", nil, "Cookie", cookie))
	names := regexp.MustCompile(`assets/console\.[0-9a-f]{12}\.(?:css|js)`).FindAllString(page, -1)
	if len(names) != 2 {
		t.Fatalf("the page loads %v", names)
	}
	for _, name := range names {
		res := r.call("GET", "/console/"+name, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || len(text(res)) == 0 {
			t.Errorf("%s: %d, %s", name, res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
}

// A session opens the pages and GET of the API until it ends, its key changes or it is forged.
func TestSessions(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	open := func(name string, want bool, cookie string) {
		t.Helper()
		page, api := r.call("GET", "/console/settings", nil, "Cookie", cookie), r.call("GET", "/v1/config", nil, "Cookie", cookie)
		live := r.call("GET", "/console/settings", nil, "Cookie", cookie, "Console-Live", "1")
		if got := page.StatusCode == http.StatusOK; got != want || page.StatusCode == http.StatusOK != (api.StatusCode == http.StatusOK) {
			t.Errorf("%s: the page answers %d, the API %d", name, page.StatusCode, api.StatusCode)
		}
		if !want && live.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a refresh answers %d", name, live.StatusCode)
		}
	}
	open("fresh", true, cookie)
	open("none", false, "")
	for i := range cookie {
		if i <= len("replygate=") {
			continue
		}
		forged := []byte(cookie)
		forged[i] ^= 1
		if r.call("GET", "/console/settings", nil, "Cookie", string(forged)).StatusCode == http.StatusOK && forged[i] != '"' {
			t.Errorf("a cookie with another byte %d opens the page", i)
		}
	}
	open("of another scope", false, strings.Replace(cookie, ".read.", ".change.", 1))
	if res := r.call("POST", "/v1/explain", nil, "Cookie", cookie); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST of the API by the cookie: %d", res.StatusCode)
	}
	other := newRig(t, func(s *console.Settings) { s.Keys.ReadKey = "another-key-0123456789" })
	if res := other.call("GET", "/console/settings", nil, "Cookie", cookie); res.StatusCode == http.StatusOK {
		t.Error("a cookie of the key before opens the page")
	}
	second := newRig(t, nil)
	if res := second.call("GET", "/console/settings", nil, "Cookie", cookie); res.StatusCode != http.StatusOK {
		t.Errorf("another gateway with the same keys answers %d", res.StatusCode)
	}
	r.pass(8*time.Hour - time.Second)
	open("before its end", true, cookie)
	r.pass(time.Second)
	open("at its end", false, cookie)
}

// Without a key, on loopback, nobody signs in.
func TestNoKey(t *testing.T) {
	r := newRig(t, func(s *console.Settings) { s.Keys = config.Admin{} })
	r.api = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"settings":[]}`))
		return true
	}
	_ = r
	if res := r.call("GET", "/console/login?next=./settings", nil); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "./settings" {
		t.Errorf("the sign-in answers %d, to %q", res.StatusCode, res.Header.Get("Location"))
	}
}

// The sign-in leads to pages of the console only.
func TestNextIsOurs(t *testing.T) {
	r := newRig(t, nil)
	for next, want := range map[string]string{
		"./accounts?q=a%20b": "./accounts?q=a%20b", "decisions/54fda24f7aa4f3c3": "decisions/54fda24f7aa4f3c3",
		"https://example.com/": "./", "//example.com": "./", "/\\example.com": "./", "\\\\example.com": "./", "/v1/config": "./", "../v1/config": "./", "login?next=x": "./", "": "./", " //example.com": "./", "\t//example.com": "./", "javascript:alert(1)": "./",
	} {
		res := r.call("POST", "/console/login", url.Values{"key": {readKey}, "next": {next}})
		if got := res.Header.Get("Location"); got != want {
			t.Errorf("next %q leads to %q, want %q", next, got, want)
		}
	}
}

// After five wrong keys in a minute an address waits, whatever key it gives; others do not.
func TestWrongKeys(t *testing.T) {
	r := newRig(t, nil)
	try := func(key string) *http.Response {
		return r.call("POST", "/console/login", url.Values{"key": {key}})
	}
	for i := range 5 {
		if res := try("wrong"); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 || !strings.Contains(text(res), "That is not the key.") {
			t.Errorf("try %d: %d", i, res.StatusCode)
		}
	}
	if res := try(readKey); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
		t.Errorf("the sixth try: %d", res.StatusCode)
	}
	r.pass(time.Minute)
	if res := try(readKey); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a minute later: %d", res.StatusCode)
	}
}

// Over plain HTTP from another machine nobody signs in; through a TLS proxy the cookie is for TLS
// alone, whether the proxy keeps the Host or not.
func TestTLSProxy(t *testing.T) {
	r := newRig(t, func(s *console.Settings) { s.Config.Origin = "https://replygate.example.com" })
	form := url.Values{"key": {readKey}}
	for name, header := range map[string][]string{
		"Host kept":     {"Host", "replygate.example.com", "Origin", "https://replygate.example.com", "Sec-Fetch-Site", "same-origin"},
		"Host replaced": {"Host", "127.0.0.1:9090", "Origin", "https://replygate.example.com"},
	} {
		res := r.call("POST", "/console/login", form, header...)
		if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 || res.Cookies()[0].Name != "__Host-replygate" || !res.Cookies()[0].Secure {
			t.Errorf("%s: %d, %v", name, res.StatusCode, res.Cookies())
			continue
		}
		if res := r.call("GET", "/console/settings", nil, "Host", header[1], "Cookie", "__Host-replygate="+res.Cookies()[0].Value); res.StatusCode != http.StatusOK {
			t.Errorf("%s: the page answers %d", name, res.StatusCode)
		}
	}
	res := r.call("POST", "/console/login", form, "Host", "10.1.0.11:9090", "Origin", "http://10.1.0.11:9090")
	if res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
		t.Errorf("plain HTTP from another machine: %d, %v", res.StatusCode, res.Cookies())
	}
	if body := text(r.call("GET", "/console/login", nil, "Host", "10.1.0.11:9090")); strings.Contains(body, "<input name=\"key\"") {
		t.Error("plain HTTP from another machine: the form asks for the key")
	}
}

// A page of another site can make no browser post a form.
func TestCrossOrigin(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	for name, header := range map[string][]string{
		"of another site":           {"Sec-Fetch-Site", "cross-site"},
		"of another port":           {"Sec-Fetch-Site", "same-site"},
		"of an old browser":         {"Origin", "https://example.com"},
		"of a page without address": {"Origin", "null"},
	} {
		for _, path := range []string{"/console/login", "/console/logout", "/console/settings/reload"} {
			res := r.call("POST", path, url.Values{"key": {readKey}}, append([]string{"Cookie", cookie}, header...)...)
			if res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
				t.Errorf("%s, POST %s: %d, %v", name, path, res.StatusCode, res.Cookies())
			}
		}
	}
	if i := slices.IndexFunc(r.asked, func(s string) bool { return strings.HasPrefix(s, "POST") }); i >= 0 {
		t.Errorf("the API was asked %s", r.asked[i])
	}
}

// A change asks for the change key, once in ten minutes; the API gets it, not the browser.
func TestChange(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	reload := func(key, cookies string) *http.Response {
		return r.call("POST", "/console/settings/reload", url.Values{"key": {key}, "if_match": {"9b852c4c2056d034"}}, "Cookie", cookies)
	}
	for _, wrong := range []string{"", "wrong", readKey} {
		if res := reload(wrong, cookie); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("with the key %q: %d", wrong, res.StatusCode)
		}
	}
	res := reload(changeKey, cookie)
	if res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 || !strings.Contains(text(res), "policy.mode") {
		t.Fatalf("with the change key: %d, %v", res.StatusCode, res.Cookies())
	}
	both := cookie + "; " + res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
	r.pass(10*time.Minute - time.Second)
	if res := reload("", both); res.StatusCode != http.StatusOK {
		t.Errorf("within ten minutes: %d", res.StatusCode)
	}
	r.pass(time.Second)
	if res := reload("", both); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after ten minutes: %d", res.StatusCode)
	}
	if res := reload("", res.Cookies()[0].Name+"="+res.Cookies()[0].Value); res.StatusCode == http.StatusOK {
		t.Error("the right to change is enough without a session")
	}
}

// Signing out deletes the cookies.
func TestSignOut(t *testing.T) {
	r := newRig(t, nil)
	res := r.call("POST", "/console/logout", nil, "Cookie", r.signIn())
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 4 {
		t.Fatalf("%d, %v", res.StatusCode, res.Cookies())
	}
	for _, c := range res.Cookies() {
		if c.MaxAge >= 0 {
			t.Errorf("%v stays", c)
		}
	}
}

// The language is that of ?lang=, of the cookie it leaves, of the browser, and of policy.language.
func TestLanguages(t *testing.T) {
	r := newRig(t, func(s *console.Settings) { s.Language = func() string { return config.Chinese } })
	for name, c := range map[string]struct {
		target string
		header []string
		want   string
	}{
		"the parameter first":    {"/console/login?lang=en", []string{"Accept-Language", "zh-CN", "Cookie", "replygate-lang=zh"}, "en"},
		"then the cookie":        {"/console/login", []string{"Accept-Language", "zh-CN", "Cookie", "replygate-lang=en"}, "en"},
		"then the browser":       {"/console/login", []string{"Accept-Language", "en-GB,en;q=0.9,zh;q=0.5"}, "en"},
		"the browser's Chinese":  {"/console/login", []string{"Accept-Language", "zh-TW,en;q=0.5"}, "zh-Hans"},
		"then policy.language":   {"/console/login", []string{"Accept-Language", "fr"}, "zh-Hans"},
		"nothing of it":          {"/console/login", nil, "zh-Hans"},
		"a language of no pages": {"/console/login?lang=fr", []string{"Cookie", "replygate-lang=xx"}, "zh-Hans"},
	} {
		if body := text(r.call("GET", c.target, nil, c.header...)); !strings.Contains(body, `<html lang="`+c.want+`"`) {
			t.Errorf("%s: %.60s", name, body)
		}
	}
}

// Both languages have the same texts with the same placeholders, and a page uses each.
func TestTexts(t *testing.T) {
	type phrase struct{ One, Other string }
	read := func(name string) (all map[string]phrase) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw := map[string]any{}
		if err := yaml.Unmarshal(data, &raw); err != nil {
			t.Fatal(err)
		}
		all = map[string]phrase{}
		for key, value := range raw {
			switch v := value.(type) {
			case string:
				all[key] = phrase{Other: v}
			case map[string]any:
				all[key] = phrase{v["one"].(string), v["other"].(string)}
			default:
				t.Errorf("%s: %s is %T", name, key, value)
			}
		}
		return all
	}
	english, chinese := read("texts.en.yaml"), read("texts.zh.yaml")
	holders := func(s string) []string {
		all := regexp.MustCompile(`\{[a-z]+\}`).FindAllString(s, -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	used := sources(t)
	for key, en := range english {
		zh, ok := chinese[key]
		if !ok {
			t.Errorf("texts.zh.yaml lacks %s", key)
			continue
		}
		if a, b := holders(en.Other), holders(zh.Other); !slices.Equal(a, b) {
			t.Errorf("%s has the placeholders %v in English, %v in Chinese", key, a, b)
		}
		if en.Other == "" || zh.Other == "" {
			t.Errorf("%s is empty", key)
		}
		if !strings.Contains(used, `"`+key+`"`) && !strings.Contains(used, `"`+key[:strings.LastIndexByte(key, '.')+1]+`"`) {
			t.Errorf("no page uses %s", key)
		}
	}
	for key := range chinese {
		if _, ok := english[key]; !ok {
			t.Errorf("texts.en.yaml lacks %s", key)
		}
	}
	for _, m := range regexp.MustCompile("(?:\\bt |\\btext\\()\"([a-z0-9_.-]*[a-z0-9])\"").FindAllStringSubmatch(used, -1) {
		if _, ok := english[m[1]]; !ok {
			t.Errorf("there is no text %s", m[1])
		}
	}
}

// sources returns the templates and the code of the package.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"templates/*.html", "*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				all.Write(data)
			}
		}
	}
	return all.String()
}

// screens are the pages with data; each has a row or a value of testdata/console/api.
var screens = []struct{ path, shows string }{
	{"", "4,812"}, {"closing", "wmHdKzDAAA"}, {"closing?within=all", "1,284"}, {"accounts", "ww5c1f20a97be43d68"}, {"accounts?standing=lapsed&q=x", "18,420"},
	{"accounts/calendar", "accounts.ics?token="}, {"accounts/wwa03be7712f9c54e1", "3,010"}, {"contacts", "19,204"}, {"entities", "8,973"}, {"entities/鹿鸣实业", "5,963"},
	{"rehearsal", "1,204"}, {"rehearsal?corp_id=wwa03be7712f9c54e1", "9,120"}, {"windows", "wkAJ2GCAAA"}, {"windows?corp_id=wwa03be7712f9c54e1&customer=wmHdKzDAAA7yQ2m0v8TnB4cXe1LrUa5Q", "reply-inside-the-window"},
	{"decisions", "19acf8e92d84f3c3"}, {"decisions/19acf8e92d84f3c3", "95002"}, {"rules", "2,190"}, {"replays/b7", "96,403"}, {"health", "10.1.0.11:9090"}, {"settings", "policy.mode"},
}

// Every page shows its data, in both languages, with nothing inline and no markup that came from
// data.
func TestScreens(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	for _, s := range screens {
		for _, lang := range []string{"en", "zh"} {
			res := r.call("GET", "/console/"+strings.ReplaceAll(s.path, "鹿鸣实业", url.PathEscape("鹿鸣实业")), nil, "Cookie", cookie+"; replygate-lang="+lang)
			body := text(res)
			name := s.path + " in " + lang
			if res.StatusCode != http.StatusOK || !strings.Contains(body, s.shows) {
				t.Errorf("%s: %d, without %q: %.300s", name, res.StatusCode, s.shows, body[strings.Index(body, "<main"):])
				continue
			}
			for _, bad := range []string{"<script>alert", "<img", " style=", "onerror=x", "ZgotmplZ", "%!", "<no value>", "javascript:"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s: the page has %s", name, bad)
				}
			}
			for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				if strings.HasPrefix(m[1], "/") || strings.Contains(m[1], "//") {
					t.Errorf("%s: the link %q is not relative", name, m[1])
				}
			}
			if strings.Contains(body, readKey) || strings.Contains(body, changeKey) {
				t.Errorf("%s: the page has a key", name)
			}
		}
	}
}

// The list that a count leads to begins when the counting began.
func TestListsOfCounts(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	for page, links := range map[string][]string{
		"":         {`decisions?verdict=refuse&amp;from=2026-11-29T00%3a00%3a00%2b08%3a00"`, `&amp;reason=rule_refuse&amp;from=2026-11-29T00%3a00%3a00%2b08%3a00"`},
		"accounts": {`decisions?verdict=refuse&amp;corp_id=ww5c1f20a97be43d68&amp;from=2026-11-23T00%3a00%3a00%2b08%3a00"`},
	} {
		_, body := r.page(page, "en", cookie)
		for _, link := range links {
			if !strings.Contains(body, link) {
				t.Errorf("%q lacks %s: %q", page, link, regexp.MustCompile(`decisions\?verdict[^>]*`).FindAllString(body, 5))
			}
		}
	}
}

// An entity's page opens by the link of a list, whatever its name is, and its own links lead back.
func TestNamesInPaths(t *testing.T) {
	for _, name := range []string{"Acme A/S", "a#b?c", "100 %2F", "鹿鸣实业"} {
		r := newRig(t, nil)
		r.api = func(w http.ResponseWriter, req *http.Request) bool {
			one := map[string]any{"name": name, "accounts": []any{map[string]any{"corp_id": "wwA", "entity": name}}}
			switch req.URL.EscapedPath() {
			case "/v1/entities":
				_ = json.NewEncoder(w).Encode(map[string]any{"entities": []any{one}})
			case "/v1/entities/" + url.PathEscape(name):
				_ = json.NewEncoder(w).Encode(one)
			default:
				return false
			}
			return true
		}
		cookie := r.signIn()
		_, list := r.page("entities", "en", cookie)
		link := "entities/" + url.PathEscape(name)
		if !strings.Contains(list, `href="./`+link+`"`) {
			t.Errorf("%s: no link to %s", name, link)
		}
		res := r.call("GET", "/console/"+link, nil, "Cookie", cookie)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK || !strings.Contains(string(body), `href="../accounts/wwA"`) || !strings.Contains(string(body), `href="../assets/`) {
			t.Errorf("%s: HTTP %d %.600s", name, res.StatusCode, body)
		}
		next, _ := url.Parse(r.call("GET", "/console/"+link+"?a=b", nil).Header.Get("Location"))
		if got := next.Query().Get("next"); next.Path != "../login" || got != "./"+link+"?a=b" {
			t.Errorf("%s: the sign-in leads to %s by %s", name, got, next)
		}
	}
}

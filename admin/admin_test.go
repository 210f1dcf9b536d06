package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/admin"
	"replygate/backfill"
	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/window"
)

// The keys of the tests.
const (
	readKey    = "read-key-0123456789"
	changeKey  = "change-key-0123456789"
	metricsKey = "metrics-key-0123456789"
)

// start is when the clock of the tests begins.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// accounts are the accounts of the tests, one for each standing.
const accounts = `accounts:
  - { corp_id: wwLapsed, name: Lapsed, entity: acme, subscription: { expires_at: 2026-11-20T12:00:00Z, grace: 24h } }
  - { corp_id: wwGrace, name: Grace, entity: acme, subscription: { expires_at: 2026-11-22T11:00:00Z, grace: 2h } }
  - corp_id: wwFree
    name: Free
    entity: free
    subscription: { expires_at: 2026-11-20T12:00:00Z }
    contacts: { free: 2000, total: 120 }
  - { corp_id: wwPaying, name: Paying, entity: paying }
`

// gateway is a running gateway as a test sets it.
type gateway struct {
	gate     gate.Gate
	redisUp  bool
	draining bool
	bypassed int
	channels []string
	replays  map[string]backfill.Status
	hash     string
	stale    bool
	problems []string

	records    map[string]string // of decisions, by id
	unreadable error             // of the log
	newest     [][]byte          // records in memory
	since      time.Time         // when these begin
	file       string            // of the log; "": none
	budget     int64             // bytes that one page may read of it
	busy       bool              // it is being searched for others
	hold       chan struct{}     // nil, or closed once its search may go on

	mu       sync.Mutex
	reported window.Tally // all that were counted
	asked    []string     // the hashes of reloads
	reload   func() (admin.Reloaded, error)
}

func (g *gateway) Gate() *gate.Gate { return &g.gate }
func (g *gateway) RedisUp() bool    { return g.redisUp }
func (g *gateway) Draining() bool   { return g.draining }
func (g *gateway) Bypassed() int    { return g.bypassed }
func (g *gateway) Replaying() (backfill.Counts, bool) {
	return backfill.Counts{Running: 1, Refused: 2}, g.replays != nil
}
func (g *gateway) Replays(_ context.Context, corp string) (backfill.Status, bool, error) {
	s, found := g.replays[corp]
	return s, found, nil
}
func (g *gateway) Channels(context.Context, string) ([]string, error) {
	return slices.Clone(g.channels), nil
}
func (g *gateway) Version() (string, bool) { return g.hash, g.stale }
func (g *gateway) Problems() []string      { return g.problems }

func (g *gateway) InForce() (*config.Config, string) { return g.gate.Config, g.hash }

func (g *gateway) ConfigFile() string { return "admin.yaml" }

func (g *gateway) GateSince() (*gate.Gate, time.Time) { return &g.gate, start }

func (g *gateway) Address() string { return "10.0.0.1:9090" }

func (g *gateway) Self() admin.GatewayHealth {
	return admin.GatewayHealth{Version: "v1", Config: g.hash, Since: "2026-11-22T12:00:00.000Z"}
}

func (g *gateway) NewestDecisions() ([][]byte, time.Time) { return g.newest, g.since }

func (g *gateway) OlderDecisions(ctx context.Context, until time.Time, visit func([]byte) bool) (bool, []string, error) {
	if g.hold != nil {
		<-g.hold
	}
	if g.busy {
		return true, nil, context.DeadlineExceeded
	}
	if g.file == "" {
		return false, nil, g.unreadable
	}
	b := record.Backward{Path: g.file, Until: until, Bytes: g.budget}
	more, err := b.Read(ctx, visit)
	return more, b.Packed, err
}

func (g *gateway) Decision(_ context.Context, id string, _ time.Time) ([]byte, string, error) {
	if line := g.records[id]; line != "" {
		return []byte(line), "memory", nil
	}
	return nil, "", g.unreadable
}

func (g *gateway) CountReported(t window.Tally) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reported.Recorded += t.Recorded
	g.reported.Expired += t.Expired
	g.reported.Ahead += t.Ahead
}

func (g *gateway) Reload(ifHash string) (admin.Reloaded, error) {
	g.asked = append(g.asked, ifHash)
	return g.reload()
}

// api is an admin API over a store of its own, with a clock that the test moves.
type api struct {
	*testing.T
	admin   *admin.Admin
	gateway *gateway
	handler http.Handler
	redis   redis.UniversalClient
	health  window.Health
	audit   *observer.ObservedLogs
	clock   atomic.Pointer[time.Time]
}

// newAPI makes an API over an embedded store, whose records are complete.
func newAPI(t *testing.T, more string) *api {
	t.Helper()
	return newAPIOn(t, storetest.Embedded(t), more)
}

func newAPIOn(t *testing.T, c config.Redis, more string) *api {
	t.Helper()
	a := &api{T: t}
	a.clock.Store(&start)
	client := storetest.Open(t, c, a.now)
	a.redis, a.health = client.UniversalClient, client
	a.build(more)
	a.since(-96 * time.Hour)
	return a
}

// newAPIWithoutRedis makes an API whose Redis cannot be reached.
func newAPIWithoutRedis(t *testing.T) *api {
	t.Helper()
	a := &api{T: t}
	a.clock.Store(&start)
	refused := func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}
	c := redis.NewClient(&redis.Options{Dialer: refused, DialerRetries: 1, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	a.redis, a.health = c, away{}
	a.build("")
	return a
}

// away is the health of a Redis that cannot be reached.
type away struct{}

func (away) Checked() bool                     { return false }
func (away) RedisTime(string, time.Time) int64 { return 0 }
func (away) MultiKey() bool                    { return true }

func (a *api) build(more string) {
	a.Helper()
	c, err := config.Parse("admin.yaml", []byte(accounts+more))
	if err != nil {
		a.Fatal(err)
	}
	g, err := gate.New("admin.yaml", c)
	if err != nil {
		a.Fatal(err)
	}
	core, audit := observer.New(zapcore.DebugLevel)
	a.audit, a.gateway = audit, &gateway{gate: g, redisUp: true, hash: "0123456789abcdef"}
	a.admin = &admin.Admin{
		Keys: c.Admin, Loopback: true, Gateway: a.gateway, Gatherer: prometheus.NewRegistry(), Audit: zap.New(core), Now: a.now,
		Windows: window.NewEmbedded(a.redis, a.health, window.Settings{
			Prefix: "rg:", Length: c.Window.Length, Replies: c.Window.Replies, Timeout: 10 * time.Second, Now: a.now,
		}),
		Calls: calls.New(a.redis, "rg:", 10*time.Second, a.now),
	}
	a.counting()
	a.handler = a.admin.Handler()
}

func (a *api) now() time.Time { return *a.clock.Load() }

func (a *api) advance(d time.Duration) {
	at := a.now().Add(d)
	a.clock.Store(&at)
}

// since sets from when on records are complete, relative to now.
func (a *api) since(d time.Duration) {
	a.Helper()
	if err := a.redis.Set(a.Context(), "rg:since", a.now().Add(d).UnixMilli(), 0).Err(); err != nil {
		a.Fatal(err)
	}
}

// wrote records that a customer wrote, relative to now.
func (a *api) wrote(corp, channel, customer string, d time.Duration) {
	a.Helper()
	k := window.Key{Corp: corp, Channel: channel, Customer: customer}
	if _, err := a.admin.Windows.Record(a.Context(), []window.Fact{{Key: k, At: a.now().Add(d)}}); err != nil {
		a.Fatal(err)
	}
}

// replied reserves n replies to a customer and returns how many the last one leaves.
func (a *api) replied(corp, channel, customer string, n int) (left int) {
	a.Helper()
	for range n {
		left = a.admin.Windows.Reserve(a.Context(), window.Key{Corp: corp, Channel: channel, Customer: customer}).Left
	}
	return left
}

// answer is a response of the API.
type answer struct {
	*httptest.ResponseRecorder
	body string
}

// failure returns the code and the message of an error response.
func (r answer) failure(t *testing.T) (code, message string) {
	t.Helper()
	var f admin.Failure
	if err := json.Unmarshal([]byte(r.body), &f); err != nil || f.Error.Code == "" || f.Error.Message == "" {
		t.Errorf("HTTP %d is no error response: %s", r.Code, r.body)
	}
	return f.Error.Code, f.Error.Message
}

// call sends a request from loopback, with a JSON Content-Type if it has a body. headers are
// "Name: value"; Host sets the host.
func (a *api) call(method, target, body string, headers ...string) answer {
	a.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Host = "localhost:9090"
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, req)
	return answer{w, w.Body.String()}
}

// want compares a response with a status and a body, whole.
func (a *api) want(r answer, status int, body string) {
	a.Helper()
	if r.Code != status || strings.TrimSuffix(r.body, "\n") != body {
		a.Errorf("HTTP %d %s\nwant %d %s", r.Code, r.body, status, body)
	}
}

// endpoints are all that need a key, with a request that is well formed.
var endpoints = []struct{ method, path, body, key string }{
	{"GET", "/metrics", "", metricsKey},
	{"GET", "/v1/windows", "", readKey},
	{"GET", "/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm", "", readKey},
	{"GET", "/v1/accounts", "", readKey},
	{"GET", "/v1/accounts/wwLapsed", "", readKey},
	{"GET", "/v1/backfills?corp_id=wwLapsed", "", readKey},
	{"GET", "/v1/calendar", "", readKey},
	{"GET", "/v1/entities", "", readKey},
	{"GET", "/v1/entities/acme", "", readKey},
	{"GET", "/v1/contacts", "", readKey},
	{"POST", "/v1/contacts/count", `{"corp_id":"wwLapsed"}`, changeKey},
	{"GET", "/v1/contacts/count?corp_id=wwLapsed", "", readKey}, // of the count that the call before began
	{"GET", "/v1/decisions", "", readKey},
	{"GET", "/v1/rules", "", readKey},
	{"GET", "/v1/health", "", readKey},
	{"GET", "/v1/overview", "", readKey},
	{"POST", "/v1/explain", `{"corp_id":"wwLapsed","path":"/cgi-bin/externalcontact/get"}`, readKey},
	{"POST", "/v1/preflight", `{"corp_id":"wwLapsed","calls":[{"channel":"wk","customer":"wm"}]}`, readKey},
	{"POST", "/v1/inbound", `{"inbound":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","at":"2026-11-22T11:00:00Z"}]}`, changeKey},
	{"POST", "/v1/windows/open", `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`, changeKey},
	{"POST", "/v1/windows/close", `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`, changeKey},
	{"POST", "/v1/reload", `{}`, changeKey},
	{"POST", "/v1/backfill", `{"corp_id":"wwLapsed"}`, changeKey},
}

const keys = "admin: { read_key: " + readKey + ", change_key: " + changeKey + ", metrics_key: " + metricsKey + " }\n"

func TestEveryEndpointNeedsItsKey(t *testing.T) {
	t.Parallel()
	a := newAPI(t, keys)
	a.gateway.reload = func() (admin.Reloaded, error) { return admin.Reloaded{Changed: []string{}}, nil }
	for _, e := range endpoints {
		audited := a.audit.Len()
		given := map[string]string{
			"no key": "", "an empty one": "Bearer ", "a wrong one": "Bearer wrong-key-0123456789",
			"one too short": "Bearer " + e.key[:len(e.key)-1], "one too long": "Bearer " + e.key + "x",
			"another case": "Bearer " + strings.ToUpper(e.key), "another scheme": "Basic " + e.key,
		}
		for _, other := range []string{readKey, changeKey, metricsKey} {
			if other != e.key {
				given[other] = "Bearer " + other
			}
		}
		for name, header := range given {
			r := a.call(e.method, e.path, e.body, "Authorization: "+header)
			code, message := r.failure(t)
			if r.Code != http.StatusUnauthorized || r.Header().Get("WWW-Authenticate") != "Bearer" || code != "unauthorized" ||
				message != "send the right key as Authorization: Bearer KEY" {
				t.Errorf("%s %s with %s: HTTP %d %s", e.method, e.path, name, r.Code, r.body)
			}
		}
		if n := a.audit.Len() - audited; n != 0 {
			t.Errorf("%s %s: %d changes without the key", e.method, e.path, n)
		}
		if r := a.call(e.method, e.path, e.body, "Authorization: Bearer "+e.key); r.Code == http.StatusUnauthorized || r.Code == http.StatusNotFound && e.method == "POST" {
			t.Errorf("%s %s with its key: HTTP %d %s", e.method, e.path, r.Code, r.body)
		}
	}
}

func TestWithoutKeysAllMayCall(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.gateway.reload = func() (admin.Reloaded, error) { return admin.Reloaded{Changed: []string{}}, nil }
	a.gateway.replays = map[string]backfill.Status{"wwLapsed": {State: backfill.None, Secrets: []backfill.SecretStatus{}, List: []backfill.ChannelStatus{}}}
	a.wrote("wwLapsed", "wk", "wm", -time.Hour)
	for _, e := range endpoints {
		if r := a.call(e.method, e.path, e.body); r.Code != http.StatusOK {
			t.Errorf("%s %s: HTTP %d %s", e.method, e.path, r.Code, r.body)
		}
	}
}

// TestSecretsAreNeverShown looks for every secret of the configuration in all responses and in the
// audit log.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const callback = "callbacks: [{ path: /callback, token: callback-token-1, encoding_aes_key: jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C, receive_ids: [wwLapsed] }]\n"
	a := newAPI(t, keys+callback+"redis: { password: redis-password-1 }\nlog: { ids: hashed, ids_key: ids-key-0123456789 }\n")
	a.gateway.reload = func() (admin.Reloaded, error) { return admin.Reloaded{}, admin.ErrOtherVersion }
	secrets := a.gateway.gate.Config.Secrets()
	if len(secrets) < 7 {
		t.Fatalf("the configuration has %d secrets", len(secrets))
	}
	var shown strings.Builder
	for _, e := range append(slices.Clone(endpoints), struct{ method, path, body, key string }{"GET", "/healthz", "", ""}, struct{ method, path, body, key string }{"GET", "/readyz", "", ""}) {
		for _, key := range []string{e.key, e.key + "x"} {
			r := a.call(e.method, e.path, e.body, "Authorization: Bearer "+key)
			fmt.Fprintln(&shown, r.Header(), r.body)
		}
	}
	for _, entry := range a.audit.All() {
		fmt.Fprintln(&shown, entry.Message, entry.ContextMap())
	}
	for _, s := range secrets {
		if strings.Contains(shown.String(), s) {
			t.Errorf("%s… is shown", s[:8])
		}
	}
}

func TestHostMustNameThisMachine(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for host, local := range map[string]bool{
		"localhost": true, "localhost:9090": true, "127.0.0.1": true, "127.0.0.1:9090": true, "127.8.9.10:1": true,
		"[::1]": true, "[::1]:9090": true,
		"": false, "gateway": false, "gateway:9090": false, "10.0.0.1:9090": false, "[2001:db8::1]:9090": false, "0.0.0.0": false,
		"localhost.evil.example": false, "127.0.0.1.evil.example:9090": false, "localhost@evil.example": false,
	} {
		a.admin.Loopback = true
		r := a.call("GET", "/healthz", "", "Host: "+host)
		if local && r.Code != http.StatusOK {
			t.Errorf("%q: HTTP %d", host, r.Code)
		}
		if !local {
			a.want(r, http.StatusForbidden, `{"error":{"code":"bad_host","message":"call the admin API by a loopback address or localhost, or through a proxy by console.origin"}}`)
		}
		a.admin.Loopback = false
		if r := a.call("GET", "/healthz", "", "Host: "+host); r.Code != http.StatusOK {
			t.Errorf("%q on another listener: HTTP %d", host, r.Code)
		}
	}
}

func TestOriginMustBeItsOwn(t *testing.T) {
	t.Parallel()
	a := newAPI(t, keys)
	for origin, own := range map[string]bool{
		"http://localhost:9090": true, "https://localhost:9090": true,
		"http://localhost": false, "http://localhost:8080": false, "https://evil.example": false, "null": false, "localhost:9090": false,
		"http://localhost:90901": false, "http://localhost:9090@evil.example": false, "http://%zz": false,
	} {
		r := a.call("GET", "/v1/accounts", "", "Origin: "+origin, "Authorization: Bearer "+readKey)
		if own && r.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d", origin, r.Code)
		}
		if !own {
			a.want(r, http.StatusForbidden, `{"error":{"code":"bad_origin","message":"the admin API is not for other sites' pages"}}`)
		}
	}
}

// A console that browsers reach through a proxy has one more Host and one more Origin, also where
// the proxy replaces the Host.
func TestOriginOfTheConsole(t *testing.T) {
	t.Parallel()
	a := newAPI(t, keys)
	a.admin.Origin = "https://replygate.example.com"
	a.admin.Console = func(api http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("/console/", func(http.ResponseWriter, *http.Request) {})
		mux.Handle("/", api)
		return mux
	}
	a.handler = a.admin.Handler()
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"replygate.example.com", "", http.StatusOK},
		{"replygate.example.com", "https://replygate.example.com", http.StatusOK},
		{"127.0.0.1:9090", "https://replygate.example.com", http.StatusOK},
		{"localhost:9090", "http://localhost:9090", http.StatusOK},
		{"replygate.example.com:8443", "", http.StatusForbidden},
		{"evil.example", "", http.StatusForbidden},
		{"evil.example", "https://replygate.example.com", http.StatusForbidden},
		{"replygate.example.com", "https://evil.example", http.StatusForbidden},
		{"127.0.0.1:9090", "http://replygate.example.com", http.StatusForbidden},
	} {
		headers := []string{"Host: " + c.host, "Authorization: Bearer " + readKey}
		if c.origin != "" {
			headers = append(headers, "Origin: "+c.origin)
		}
		for _, path := range []string{"/v1/accounts", "/console/", "/console/login"} {
			if r := a.call("GET", path, "", headers...); r.Code != c.want {
				t.Errorf("%s, Host %s, Origin %s: HTTP %d", path, c.host, c.origin, r.Code)
			}
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/", ""}, {"GET", "/v1", ""}, {"GET", "/v2/windows", ""}, {"GET", "/v1/windows/", ""}, {"GET", "/debug/pprof/", ""}, {"GET", "/v1/decision", ""}, {"POST", "/v1/decisions", "GET, HEAD"},
		{"POST", "/healthz", "GET, HEAD"}, {"POST", "/metrics", "GET, HEAD"}, {"PUT", "/v1/windows", "GET, HEAD"}, {"DELETE", "/v1/windows", "GET, HEAD"},
		{"POST", "/v1/accounts", "GET, HEAD"}, {"POST", "/v1/config", "GET, HEAD"}, {"DELETE", "/v1/decisions/1a21fee66cf4c3e1", "GET, HEAD"},
		{"GET", "/v1/windows/open", "POST"}, {"GET", "/v1/explain", "POST"}, {"GET", "/v1/preflight", "POST"}, {"PUT", "/v1/inbound", "POST"},
		{"GET", "/v1/reload", "POST"}, {"OPTIONS", "/v1/backfill", "POST"},
	} {
		r, status := a.call(c.method, c.path, ""), http.StatusNotFound
		want := `{"error":{"code":"not_found","message":"the admin API has no such path: docs/http.md lists those it has"}}`
		if c.allow != "" {
			status, want = http.StatusMethodNotAllowed, fmt.Sprintf(`{"error":{"code":"method_not_allowed","message":"call this path with %s"}}`, c.allow)
		}
		a.want(r, status, want)
		if got := r.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow: %s", c.method, c.path, got)
		}
	}
	if r := a.call("HEAD", "/healthz", ""); r.Code != http.StatusOK {
		t.Errorf("HEAD: HTTP %d", r.Code)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	a := newAPIWithoutRedis(t)
	a.gateway.draining, a.gateway.redisUp = true, false
	r := a.call("GET", "/healthz", "")
	a.want(r, http.StatusOK, `{"status":"ok"}`)
	if r.Header().Get("Content-Type") != "application/json; charset=utf-8" || r.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", r.Header())
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	const since = `"since":"2026-11-18T12:00:00.000Z",`
	for name, c := range map[string]struct {
		change func(*api)
		status int
		want   string
	}{
		"serving":  {func(*api) {}, 200, `{"ready":true,"redis":"up","history":"complete",` + since + `"channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":false}`},
		"stopping": {func(a *api) { a.gateway.draining = true }, 503, `{"ready":false,"redis":"up","history":"complete",` + since + `"channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":true}`},
		"a stale configuration, channels that bypass it": {func(a *api) { a.gateway.stale, a.gateway.bypassed = true, 3 }, 200,
			`{"ready":true,"redis":"up","history":"complete",` + since + `"channels_bypassed":3,"config":"0123456789abcdef","config_stale":true,"stopping":false}`},
		"a held reload": {func(a *api) {
			a.gateway.stale, a.gateway.problems = true, []string{"a reload is held", "accounts_file cannot be read"}
		}, 200,
			`{"ready":true,"redis":"up","history":"complete",` + since + `"channels_bypassed":0,"config":"0123456789abcdef","config_stale":true,"config_problems":["a reload is held","accounts_file cannot be read"],"stopping":false}`},
		"younger records": {func(a *api) { a.since(-time.Hour) }, 200,
			`{"ready":true,"redis":"up","history":"incomplete","since":"2026-11-22T11:00:00.000Z","channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":false}`},
		"records as old as a window": {func(a *api) { a.since(-48 * time.Hour) }, 200,
			`{"ready":true,"redis":"up","history":"complete","since":"2026-11-20T12:00:00.000Z","channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":false}`},
		"without Redis": {func(a *api) { a.gateway.redisUp = false }, 200, `{"ready":true,"redis":"down","history":"unknown","channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, "")
			c.change(a)
			a.want(a.call("GET", "/readyz", ""), c.status, c.want)
		})
	}
}

// TestReadinessOfALostRedis asks while the gateway has not noticed yet that Redis is away.
func TestReadinessOfALostRedis(t *testing.T) {
	t.Parallel()
	a := newAPIWithoutRedis(t)
	a.want(a.call("GET", "/readyz", ""), http.StatusOK, `{"ready":true,"redis":"up","history":"unknown","channels_bypassed":0,"config":"0123456789abcdef","config_stale":false,"stopping":false}`)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "replygate_test_total", Help: "A test."})
	registry.MustRegister(counter)
	counter.Add(3)
	a.admin.Gatherer = registry
	a.handler = a.admin.Handler()
	r := a.call("GET", "/metrics", "")
	if r.Code != http.StatusOK || !strings.HasPrefix(r.Header().Get("Content-Type"), "text/plain") || !strings.Contains(r.body, "\nreplygate_test_total 3\n") {
		t.Errorf("HTTP %d %s %s", r.Code, r.Header(), r.body)
	}
}

func TestListWindows(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.want(a.call("GET", "/v1/windows", ""), http.StatusOK, `{"windows":[],"more":false,"since":"2026-11-18T12:00:00.000Z","incomplete":false,"index":"waiting","as_of":"2026-11-22T12:00:00.000Z"}`)
	a.wrote("wwLapsed", "wkA", "wm1", -time.Hour)
	a.wrote("wwLapsed", "wkB", "wm1", -2*time.Hour)
	a.wrote("wwPaying", "wkC", "wm2", -3*time.Hour)
	for _, c := range []struct {
		query string
		want  []string
		more  bool
	}{
		{"", []string{"wkA/wm1", "wkB/wm1", "wkC/wm2"}, false},
		{"?corp_id=wwLapsed", []string{"wkA/wm1", "wkB/wm1"}, false},
		{"?corp_id=wwPaying&limit=1", []string{"wkC/wm2"}, false},
		{"?corp_id=wwNobody", nil, false},
		{"?limit=1000", []string{"wkA/wm1", "wkB/wm1", "wkC/wm2"}, false},
	} {
		list := a.list(c.query)
		var got []string
		for _, w := range list.Windows {
			got = append(got, w.Channel+"/"+w.Customer)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) || list.More != c.more {
			t.Errorf("%q: %v, more %v", c.query, got, list.More)
		}
	}
	if list := a.list("?limit=2"); len(list.Windows) != 2 || !list.More {
		t.Errorf("limit 2: %+v", list)
	}
	a.since(-time.Hour)
	if list := a.list("?corp_id=wwLapsed"); !list.Incomplete || list.Since != "2026-11-22T11:00:00.000Z" {
		t.Errorf("younger records: %+v", list)
	}
}

// list asks for a list of windows.
func (a *api) list(query string) (list admin.WindowList) {
	a.Helper()
	r := a.call("GET", "/v1/windows"+query, "")
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.Code != http.StatusOK {
		a.Fatalf("HTTP %d %s", r.Code, r.body)
	}
	return list
}

func TestLimitOfAList(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for limit, status := range map[string]int{"1": 200, "1000": 200, "0": 400, "-1": 400, "1001": 400, "many": 400, "1.5": 400, "99999999999999999999": 400} {
		r := a.call("GET", "/v1/windows?limit="+limit, "")
		if r.Code != status {
			t.Errorf("limit %s: HTTP %d", limit, r.Code)
		}
		if status == 400 {
			a.want(r, 400, `{"error":{"code":"bad_query","message":"limit must be 1 to 1000"}}`)
		}
	}
}

// TestShowWindow shows one window in each state.
func TestShowWindow(t *testing.T) {
	t.Parallel()
	const tail = `"more":false,"since":"2026-11-18T12:00:00.000Z","incomplete":false}`
	for name, c := range map[string]struct {
		before func(*api)
		status int
		want   string
	}{
		"open": {func(a *api) { a.wrote("wwLapsed", "wk", "wm", -time.Hour) }, 200,
			`{"windows":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","state":"open","last":"2026-11-22T11:00:00.000Z","closes":"2026-11-24T11:00:00.000Z","replies_left":5,"sent":[]}],` + tail},
		"after a reply": {func(a *api) { a.wrote("wwLapsed", "wk", "wm", -time.Hour); a.replied("wwLapsed", "wk", "wm", 1) }, 200,
			`{"windows":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","state":"open","last":"2026-11-22T11:00:00.000Z","closes":"2026-11-24T11:00:00.000Z","replies_left":4,"sent":["2026-11-22T12:00:00.000Z"]}],` + tail},
		"at its last millisecond": {func(a *api) {
			a.wrote("wwLapsed", "wk", "wm", -time.Hour)
			a.advance(47*time.Hour - time.Millisecond)
		}, 200,
			`{"windows":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","state":"open","last":"2026-11-22T11:00:00.000Z","closes":"2026-11-24T11:00:00.000Z","replies_left":5,"sent":[]}],` + tail},
		"closed by hand": {func(a *api) {
			a.wrote("wwLapsed", "wk", "wm", -time.Hour)
			a.call("POST", "/v1/windows/close", `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`)
		}, 200,
			`{"windows":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","state":"shut","last":"2026-11-22T11:00:00.000Z","closes":"2026-11-24T11:00:00.000Z","replies_left":5,"sent":[]}],` + tail},
		"another value under its key": {func(a *api) { a.spoil("wwLapsed", "wk", "wm") }, 200,
			`{"windows":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","state":"broken","last":"","closes":"","replies_left":null,"sent":[]}],` + tail},
		"nothing on record": {func(*api) {}, 404,
			`{"error":{"code":"no_window","message":"no message of this customer on this channel is on record within the window's length"}}`},
		"nothing on record, which proves nothing": {func(a *api) { a.since(-time.Hour) }, 404,
			`{"error":{"code":"no_window","message":"no message of this customer on this channel is on record, but records are complete only since 2026-11-22T11:00:00.000Z"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, "")
			c.before(a)
			a.want(a.call("GET", "/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm", ""), c.status, c.want)
		})
	}
}

// spoil puts another value under the key of a window.
func (a *api) spoil(corp, channel, customer string) {
	a.Helper()
	a.wrote(corp, channel, customer, -time.Hour)
	keys, err := a.redis.Keys(a.Context(), "rg:window:*").Result()
	if err != nil || len(keys) != 1 {
		a.Fatalf("%v, %v", keys, err)
	}
	if err := a.redis.Set(a.Context(), keys[0], "not a window", 0).Err(); err != nil {
		a.Fatal(err)
	}
}

func TestRepliesThatAreNotCounted(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "window: { replies: 0 }\n")
	a.wrote("wwLapsed", "wk", "wm", -time.Hour)
	a.replied("wwLapsed", "wk", "wm", 7)
	if list := a.list(""); len(list.Windows) != 1 || list.Windows[0].Left != nil || list.Windows[0].State != "open" {
		t.Errorf("%+v", list.Windows)
	}
}

func TestFullWindow(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.wrote("wwLapsed", "wk", "wm", -time.Hour)
	if left := a.replied("wwLapsed", "wk", "wm", 5); left != 0 {
		t.Fatalf("%d replies left", left)
	}
	list := a.list("?corp_id=wwLapsed&channel=wk&customer=wm")
	if w := list.Windows[0]; w.State != "full" || *w.Left != 0 || len(w.Sent) != 5 {
		t.Errorf("%+v", w)
	}
}

// TestWithoutRedis calls every endpoint while Redis is away: what needs it asks to try again, and
// nothing is audited as done.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	a := newAPIWithoutRedis(t)
	const away = `{"error":{"code":"store_unavailable","message":"Redis does not answer; try again"}}`
	a.want(a.call("GET", "/v1/windows", ""), 503, away)
	a.want(a.call("GET", "/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm", ""), 503, away)
	a.want(a.call("POST", "/v1/windows/close", `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`), 503, away)
	a.want(a.call("POST", "/v1/windows/open", `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`), 503, away)
	a.want(a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed","began":"2026-11-22T11:00:00Z","channels":["wk"]}`), 503, away)
	a.want(a.call("POST", "/v1/inbound", `{"inbound":[{"corp_id":"wwLapsed","channel":"wk","customer":"wm","at":"2026-11-22T11:00:00Z"}]}`), 503,
		`{"error":{"code":"store_unavailable","message":"Redis did not take the messages; send them again"}}`)
	for _, e := range []struct{ path, body, want string }{
		{"/v1/explain", `{"corp_id":"wwLapsed","path":"/cgi-bin/kf/send_msg","content_type":"application/json","body":"{\"touser\":\"wm\",\"open_kfid\":\"wk\",\"msgtype\":\"text\"}"}`, `"reason":"store_unavailable"`},
		{"/v1/preflight", `{"corp_id":"wwLapsed","calls":[{"channel":"wk","customer":"wm"}]}`, `"reason":"store_unavailable"`},
	} {
		if r := a.call("POST", e.path, e.body); r.Code != 200 || !strings.Contains(r.body, e.want) {
			t.Errorf("%s: HTTP %d %s", e.path, r.Code, r.body)
		}
	}
	if n := a.audit.Len() + a.gateway.reported.Recorded; n != 0 {
		t.Errorf("%d changes are noted that were not made: %v", n, a.audit.All())
	}
}

// TestServer calls over TCP: a head beyond 16 KB is refused, and every phase of a request has a
// timeout.
func TestServer(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	s := a.admin.Server()
	for name, d := range map[string]time.Duration{"head": s.ReadHeaderTimeout, "body": s.ReadTimeout, "response": s.WriteTimeout, "idle": s.IdleTimeout} {
		if d <= 0 || d > time.Minute {
			t.Errorf("the timeout of the %s is %s", name, d)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	for size, status := range map[int]int{8 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequest("GET", "http://"+ln.Addr().String()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Filler", strings.Repeat("x", size))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("a head of %d bytes: HTTP %d, want %d", size, resp.StatusCode, status)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// audited returns the last audit record, its members sorted by name.
func (a *api) audited() string {
	all := a.audit.All()
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	text, fields := last.Message, last.ContextMap()
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		text += fmt.Sprintf(" %s=%v", k, fields[k])
	}
	return text
}

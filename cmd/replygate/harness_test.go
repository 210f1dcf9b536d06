package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/internal/recordtest"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// The company of the tests: its account, kf channel, and a customer who wrote.
const (
	corpID  = "wwGolden"
	secret  = "golden-corp-secret"
	channel = "wkGolden"
	wrote   = "wmWroteGolden"
)

// rig is a gateway in front of a simulated WeCom, on loopback, with a clock that the test moves.
type rig struct {
	*testing.T
	clock    *wecomtest.Clock
	platform *wecomtest.Platform
	upstream *httptest.Server
	gateway  *gateway
	output   *output
	token    string
}

// output collects what a gateway writes.
type output struct {
	check *recordtest.Checker // nil: nobody checks the records
	mu    sync.Mutex
	buf   bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	if o.check != nil {
		_, _ = o.check.Write(p)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// lapsedAccount is the account of the tests, an hour after its subscription ended.
func lapsedAccount(now time.Time) config.Account {
	return config.Account{CorpID: corpID, Name: "Golden", Entity: "golden", Subscription: &config.Subscription{ExpiresAt: now.Add(-time.Hour)}}
}

// withAnother adds a second lapsed account: then whose a token is that nobody learnt cannot be told
// by that alone.
func withAnother(c *config.Config) {
	c.Accounts = append(c.Accounts, config.Account{CorpID: "wwAnother", Subscription: c.Accounts[0].Subscription})
}

func reauthenticating(c *config.Config) { c.UnknownToken = config.Reauthenticate }

// newRig starts a gateway for one lapsed account; change alters its configuration first.
func newRig(t *testing.T, c config.Redis, change func(*config.Config)) *rig {
	t.Helper()
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	platform := wecomtest.New(clock.Now)
	platform.AddCorp(corpID, secret, channel)
	upstream := platform.Start()
	t.Cleanup(upstream.Close)
	r := &rig{T: t, clock: clock, platform: platform, upstream: upstream}
	r.gateway = r.start(c, change)
	r.since(-96 * time.Hour)
	return r
}

// start starts one more gateway for the same platform. It ends with the test.
func (r *rig) start(redis config.Redis, change func(*config.Config)) *gateway {
	r.Helper()
	g, stop := r.startApart(redis, change)
	r.Cleanup(func() {
		if err := <-stop(); err != nil {
			r.Error(err)
		}
	})
	return g
}

// startApart is start for a gateway that the test itself stops: stop tells it to, and what it
// returns says when it has.
func (r *rig) startApart(redis config.Redis, change func(*config.Config)) (g *gateway, stop func() <-chan error) {
	r.Helper()
	c := config.Default()
	c.Listen = config.Listen{API: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	c.Upstream.URL, c.Upstream.Timeout = r.upstream.URL, 10*time.Second
	c.Redis, c.Journal = redis, storetest.Journal(r, redis)
	c.Accounts = []config.Account{lapsedAccount(r.clock.Now())}
	c.Shutdown.LameDuck = 0
	if change != nil {
		change(&c)
	}
	set, err := compile("test", &c)
	if err != nil {
		r.Fatal(err)
	}
	r.output = &output{check: recordtest.New(r)}
	g, err = build(context.Background(), set, r.clock.Now, streams{out: r.output, err: r.output})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- g.serve(ctx) }()
	return g, func() <-chan error {
		cancel()
		return served
	}
}

// log returns all that the rig's gateways wrote.
func (r *rig) log() string {
	r.Helper()
	r.gateway.logs.Sync()
	return r.output.String()
}

// await waits for something that nothing tells of.
func (r *rig) await(what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

// acquainted awaits that n gateways on one Redis, which g is one of, hold their leases.
func (r *rig) acquainted(g *gateway, n int) {
	r.Helper()
	r.await("the gateways to hear of each other", func() bool {
		s := g.windows.Status()
		return s.Members == n && len(s.Causes) == 0
	})
}

// since says that records reach back to now + d.
func (r *rig) since(d time.Duration) {
	r.Helper()
	if err := r.gateway.store.Set(r.Context(), "rg:since", r.clock.Now().Add(d).UnixMilli(), 0).Err(); err != nil {
		r.Fatal(err)
	}
}

// answer is an answer as a bot reads it.
type answer struct {
	*http.Response
	body    []byte
	Errcode int `json:"errcode"`
	Errmsg  string
	Gate    struct {
		Verdict    string `json:"verdict"`
		Rule       string `json:"rule"`
		Reason     string `json:"reason"`
		DecisionID string `json:"decision_id"`
	} `json:"replygate"`
}

// raw sends the bytes of one request to a gateway and reads the answer.
func raw(t testing.TB, address, request string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(conn), request)
}

func readAnswer(t testing.TB, br *bufio.Reader, request string) answer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.80q: %v", request, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer to %.80q breaks off: %v", request, err)
	}
	a := answer{Response: resp, body: body}
	_ = json.Unmarshal(body, &a) // files are no JSON
	return a
}

// request writes a request with a body.
func request(method, target, body string, headers ...string) string {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: gateway\r\nUser-Agent: golden\r\n", method, target)
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" || method == http.MethodPost {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// call makes one call with the rig's token, which it fetches through the gateway first.
func (r *rig) call(method, target, body string, headers ...string) answer {
	r.Helper()
	return r.callAt(r.gateway, method, target, body, headers...)
}

func (r *rig) callAt(g *gateway, method, target, body string, headers ...string) answer {
	r.Helper()
	if r.token == "" {
		r.token = r.fetchToken(g)
	}
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return raw(r, g.api.Addr().String(), request(method, target+separator+"access_token="+r.token, body, headers...))
}

func (r *rig) fetchToken(g *gateway) string {
	r.Helper()
	return tokenOf(r, raw(r, g.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corpID+"&corpsecret="+secret, "")))
}

// tokenOf returns the access token that an answer hands out.
func tokenOf(t testing.TB, a answer) string {
	t.Helper()
	var out struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.AccessToken == "" {
		t.Fatalf("no token: %s", a.body)
	}
	return out.AccessToken
}

// sync pulls messages as a bot does.
func (r *rig) sync() answer {
	r.Helper()
	return r.call("POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"`+channel+`"}`)
}

func replyTo(customer string) string {
	return `{"touser":"` + customer + `","open_kfid":"` + channel + `","msgtype":"text","text":{"content":"hello"}}`
}

// reply sends one reply and wants a verdict and a reason.
func (r *rig) reply(customer, verdict, reason string) answer {
	r.Helper()
	a := r.call("POST", "/cgi-bin/kf/send_msg", replyTo(customer))
	if got, why := a.Header.Get("Replygate-Verdict"), a.Header.Get("Replygate-Reason"); got != verdict || why != reason {
		r.Fatalf("verdict %s, reason %s; want %s, %s: %s", got, why, verdict, reason, a.body)
	}
	return a
}

// adminCall calls the admin API.
func (r *rig) adminCall(method, path, body string, headers ...string) answer {
	r.Helper()
	if body != "" {
		headers = append(headers, "Content-Type: application/json")
	}
	req := strings.Replace(request(method, path, body, headers...), "Host: gateway", "Host: localhost", 1)
	return raw(r, r.gateway.control.Addr().String(), req)
}

// eachStore runs body over every kind of store.
func eachStore(t *testing.T, change func(*config.Config), body func(r *rig)) {
	t.Run("embedded", func(t *testing.T) { body(newRig(t, storetest.Embedded(t), change)) })
	t.Run("redis-server", func(t *testing.T) { body(newRig(t, storetest.Start(t).Config(), change)) })
	t.Run("cluster", func(t *testing.T) { body(newRig(t, storetest.OneNode(t), change)) })
}

// lines reads a table of testdata; # begins a remark.
func lines(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s: %q has %d columns, want %d", name, line, len(row), columns)
		}
		all = append(all, row)
	}
	return all
}

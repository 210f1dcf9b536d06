package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
	"replygate/internal/recordtest"
	"replygate/proxy"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/upstream"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// The accounts of most tests: one in good standing, one whose subscription ended an hour ago.
const (
	corpActive = "wwActive"
	corpLapsed = "wwLapsed"
	wkLapsed   = "wkLapsed" // a channel of corpLapsed
	wmLi       = "wmLi"     // a customer
)

// harness is a gateway over a simulated WeCom, both on loopback, with an embedded store and a
// stopped clock that the test moves.
type harness struct {
	*testing.T
	clock    *wecomtest.Clock
	platform *wecomtest.Platform
	config   *config.Config
	gateway  *proxy.Gateway
	redis    *outage
	draining atomic.Bool
	registry *prometheus.Registry
	records  *records               // of requests, callbacks and decisions, in order
	log      *observer.ObservedLogs // the gateway's own log
	rdb      redis.UniversalClient
	api      string // addresses of the listeners
	callback string
}

// newHarness starts a gateway; change, unless nil, alters its configuration first. Records are
// complete: a missing window proves that the customer did not write.
func newHarness(t *testing.T, change func(*config.Config)) *harness {
	t.Helper()
	r := &harness{T: t, clock: wecomtest.NewClock(), redis: &outage{}, registry: prometheus.NewRegistry(), records: newRecords(t)}
	r.clock.Set(time.Now().Truncate(time.Second))
	r.platform = wecomtest.New(r.clock.Now)
	r.platform.AddCorp(corpActive, "secret", "wkActive")
	r.platform.AddCorp(corpLapsed, "secret", wkLapsed)
	wecom := r.platform.Start()
	t.Cleanup(wecom.Close)

	c := config.Default()
	c.Upstream.URL, c.Upstream.Timeout = wecom.URL, 10*time.Second
	c.Policy.UnsureWait = 0
	c.Accounts = []config.Account{
		{CorpID: corpActive, Name: "Active"},
		{CorpID: corpLapsed, Name: "Lapsed", Subscription: &config.Subscription{ExpiresAt: r.clock.Now().Add(-time.Hour)}},
	}
	if change != nil {
		change(&c)
	}
	r.config = &c
	r.build()
	r.api = r.serve(r.gateway.APIServer())
	r.callback = r.serve(r.gateway.CallbackServer())
	r.history(-96 * time.Hour)
	return r
}

func (r *harness) build() {
	r.Helper()
	s := storetest.Open(r, storetest.Embedded(r), r.clock.Now)
	r.rdb = s.UniversalClient
	r.rdb.AddHook(r.redis)
	core, log := observer.New(zapcore.InfoLevel)
	r.log = log
	c := r.config
	sends, err := upstream.New(c.Upstream)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(sends.Close)
	lines := record.NewLog(r.records, false)
	r.gateway = &proxy.Gateway{
		Upstream: sends,
		Tokens:   account.NewTokens(s.UniversalClient, "rg:", s.Timeout, r.clock.Now),
		Windows: window.NewEmbedded(s.UniversalClient, s, window.Settings{
			Prefix: "rg:", Length: c.Window.Length, Replies: c.Window.Replies, Timeout: s.Timeout, Now: r.clock.Now,
		}),
		Bypass: proxy.NewBypass(), Metrics: proxy.NewMetrics(r.registry),
		Access: lines, Decisions: lines, Refusals: lines, Log: record.RateLimit(zap.New(core), r.clock.Now),
		Now: r.clock.Now, Draining: r.draining.Load,
	}
	r.gateway.Observer = proxy.NewObserver(r.gateway)
	r.use(c)
}

// use puts a configuration in force.
func (r *harness) use(c *config.Config) {
	r.Helper()
	judge, err := gate.New("test", c)
	if err != nil {
		r.Fatal(err)
	}
	receivers, err := proxy.NewReceivers(c.Callbacks)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(receivers.Close)
	r.gateway.Use(&proxy.Settings{Gate: judge, Receivers: receivers})
	all := judge.Accounts.CorpIDs()
	if err := r.gateway.Windows.ListAccounts(r.Context(), all, all); err != nil && !r.redis.away.Load() {
		r.Fatal(err)
	}
}

// serve serves on a free loopback port until the test ends, and returns its address.
func (r *harness) serve(s *fasthttp.Server) string {
	r.Helper()
	ln, err := proxy.Listen("listen.test", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
	if err != nil {
		r.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	r.Cleanup(func() { _ = s.Shutdown() })
	return ln.Addr().String()
}

// history lets records reach back to now + d.
func (r *harness) history(d time.Duration) {
	r.Helper()
	if err := r.rdb.Set(r.Context(), "rg:since", r.clock.Now().Add(d).UnixMilli(), 0).Err(); err != nil {
		r.Fatal(err)
	}
}

// token returns a corp's token, which the gateway knows.
func (r *harness) token(corp string) string {
	r.Helper()
	token := r.platform.Issue(corp)
	if err := r.gateway.Tokens.Learn(r.Context(), token, corp, 2*time.Hour); err != nil {
		r.Fatal(err)
	}
	return token
}

// wrote puts a message on record.
func (r *harness) wrote(k window.Key, at time.Time) {
	r.Helper()
	if _, err := r.gateway.Windows.Record(r.Context(), []window.Fact{{Key: k, At: at}}); err != nil {
		r.Fatal(err)
	}
}

// lastOf returns when a customer wrote last as it is on record, ok is false if nothing is.
func (r *harness) lastOf(k window.Key) (at time.Time, ok bool) {
	r.Helper()
	e, found, err := r.gateway.Windows.Show(r.Context(), k)
	if err != nil {
		r.Fatal(err)
	}
	return time.UnixMilli(e.Window.Last), found
}

// answer is what a client gets.
type answer struct {
	status int
	header http.Header
	body   string
	closed bool // the gateway ends the connection after it

	// Of an answer of the gateway's own.
	Errcode   int
	Errmsg    string
	Replygate struct {
		Verdict, Rule, Reason string
		DecisionID            string `json:"decision_id"`
	}
}

// post calls a path of WeCom's API.
func (r *harness) post(path, token, body string) answer {
	r.Helper()
	return r.send(r.api, fmt.Sprintf("POST %s?access_token=%s HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, token, len(body), body))
}

// reply sends a text to a customer of a channel.
func (r *harness) reply(token, channel, customer string) answer {
	r.Helper()
	return r.post("/cgi-bin/kf/send_msg", token, fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text","text":{"content":"hi"}}`, customer, channel))
}

// send sends bytes on a connection of their own and reads one answer.
func (r *harness) send(addr, request string) answer {
	r.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(conn, request) }() // the gateway may answer before it has read all
	return r.read(conn, request)
}

// read reads the answer to a request.
func (r *harness) read(from io.Reader, request string) answer {
	r.Helper()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(from), &http.Request{Method: method})
	if err != nil {
		r.Fatalf("%.100q: no answer: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatalf("%.100q: the answer ends early: %v", request, err)
	}
	return ownAnswer(answer{status: resp.StatusCode, header: resp.Header, body: string(body), closed: resp.Close})
}

// ownAnswer reads what the gateway's own answers say; others say nothing of it.
func ownAnswer(a answer) answer {
	_ = json.Unmarshal([]byte(a.body), &a)
	return a
}

// records collects the lines of records.
type records struct {
	check *recordtest.Checker
	mu    sync.Mutex
	lines [][]byte
}

func newRecords(t testing.TB) *records { return &records{check: recordtest.New(t)} }

func (l *records) Write(line []byte) (int, error) {
	_, _ = l.check.Write(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, bytes.Clone(line))
	return len(line), nil
}

// take returns the records of a kind (request, callback, decision), without time and kind, and
// forgets all.
func (l *records) take(t testing.TB, kind string) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m["msg"] != kind {
			continue
		}
		for _, name := range []string{"level", "time", "msg"} {
			delete(m, name)
		}
		all = append(all, m)
	}
	l.lines = nil
	return all
}

// samples returns the value of every counter, and how many values every histogram has observed, by
// name{label="value",…}. Zeros are left out.
func (r *harness) samples() map[string]float64 {
	r.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+strconv.Quote(l.GetValue()))
			}
			v := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if v != 0 {
				all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = v
			}
		}
	}
	return all
}

// moved returns by how much do moved each sample.
func (r *harness) moved(do func()) map[string]float64 {
	r.Helper()
	before := r.samples()
	do()
	after := r.samples()
	for name := range after {
		after[name] -= before[name]
	}
	maps.DeleteFunc(after, func(_ string, v float64) bool { return v == 0 })
	return after
}

// wantMoves compares samples with lines of name{…} and how much each moved, 1 if it is left out.
func wantMoves(t *testing.T, got map[string]float64, lines ...string) {
	t.Helper()
	want := map[string]float64{}
	for _, line := range lines {
		name, n, more := strings.Cut(line, " ")
		want[name] = 1
		if more {
			want[name], _ = strconv.ParseFloat(n, 64)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("moved:\n%s\nwant:\n%s", listed(got), listed(want))
	}
}

func listed(m map[string]float64) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "  %s %v\n", name, m[name])
	}
	return b.String()
}

// outage is a hook of the client of Redis by which a test takes Redis away.
type outage struct{ away atomic.Bool }

var errAway = errors.New("connection refused by the test")

func (o *outage) DialHook(next redis.DialHook) redis.DialHook { return next }

func (o *outage) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if o.away.Load() {
			cmd.SetErr(errAway)
			return errAway
		}
		return next(ctx, cmd)
	}
}

func (o *outage) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if o.away.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(errAway)
			}
			return errAway
		}
		return next(ctx, cmds)
	}
}

// wantRecord expects one record with exactly these members.
func wantRecord(t *testing.T, name string, got []map[string]any, want map[string]any) {
	t.Helper()
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("%s: records %v\nwant one %v", name, got, want)
	}
}

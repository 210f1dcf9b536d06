package proxy_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	"replygate/trace"
	"replygate/upstream"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// rig is a gateway with both listeners in front of a simulated WeCom.
type rig struct {
	*proxy.Gateway
	t             *testing.T
	wecom         *wecomtest.Platform
	registry      *prometheus.Registry
	log           *observer.ObservedLogs
	lines         lines // of all records
	api, callback string
}

// lines collects records.
type lines struct {
	check *recordtest.Checker
	mu    sync.Mutex
	all   []map[string]any
}

func (l *lines) Write(p []byte) (int, error) {
	_, _ = l.check.Write(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return 0, err
		}
		l.all = append(l.all, r)
	}
	return len(p), nil
}

// last returns the last record of a kind.
func (l *lines) last(kind string) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.all) - 1; i >= 0; i-- {
		if l.all[i]["msg"] == kind {
			return l.all[i]
		}
	}
	return nil
}

const twoAccounts = `accounts:
  - { corp_id: wwActive }
  - { corp_id: wwLapsed, name: shop, subscription: { expires_at: 2020-01-01T00:00:00Z } }
`

// newRig serves a configuration. Its corps have the secret s and the channel wk.
func newRig(t *testing.T, text string) *rig {
	t.Helper()
	r := &rig{t: t, wecom: wecomtest.New(time.Now), registry: prometheus.NewRegistry()}
	for _, corp := range []string{"wwActive", "wwLapsed"} {
		r.wecom.AddCorp(corp, "s", "wk")
	}
	platform := r.wecom.Start()
	t.Cleanup(platform.Close)
	c, err := config.Parse("rig", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.Upstream.URL = platform.URL
	judge, err := gate.New("rig", c)
	if err != nil {
		t.Fatal(err)
	}
	sends, err := upstream.New(c.Upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sends.Close)
	receivers, err := proxy.NewReceivers(c.Callbacks)
	if err != nil {
		t.Fatal(err)
	}
	core, log := observer.New(zapcore.WarnLevel)
	r.log = log
	s := storetest.Open(t, storetest.Embedded(t), time.Now)
	ago := 100 * time.Hour // until the history has begun: then a missing message is proof
	r.lines.check = recordtest.New(t)
	records := record.NewLog(&r.lines, false)
	tracer, err := trace.New(c.Traces, trace.Options{Log: record.RateLimit(zap.New(core), time.Now), Count: func(string, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = &proxy.Gateway{
		Upstream: sends,
		Tokens:   account.NewTokens(s.UniversalClient, "rg:", s.Timeout, time.Now),
		Windows: window.NewEmbedded(s.UniversalClient, s, window.Settings{
			Prefix: "rg:", Length: c.Window.Length, Replies: c.Window.Replies, Timeout: s.Timeout, Now: func() time.Time { return time.Now().Add(-ago) },
		}),
		Bypass: proxy.NewBypass(), Metrics: proxy.NewMetrics(r.registry),
		Access: records, Decisions: records, Refusals: records, Log: record.RateLimit(zap.New(core), time.Now),
		Now: time.Now, Draining: func() bool { return false }, Traces: tracer,
	}
	if _, _, err := r.Windows.Complete(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	ago = 0
	r.Use(&proxy.Settings{Gate: judge, Receivers: receivers})
	r.api, r.callback = r.listen(r.APIServer().Serve), r.listen(r.CallbackServer().Serve)
	return r
}

// listen serves on a free port of loopback.
func (r *rig) listen(serve func(net.Listener) error) (url string) {
	r.t.Helper()
	ln, err := proxy.Listen("listen", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { ln.Close() })
	go func() { _ = serve(ln) }()
	return "http://" + ln.Addr().String()
}

// answered is an answer of the gateway.
type answered struct {
	status    int
	header    http.Header
	text      string
	Errcode   int    `json:"errcode"`
	Token     string `json:"access_token"`
	Replygate struct {
		Reason, Verdict string
		ID              string `json:"decision_id"`
	} `json:"replygate"`
}

// call sends a call, and waits until its records are written.
func (r *rig) call(method, target, body string, header ...string) answered {
	r.t.Helper()
	req, err := http.NewRequest(method, r.api+target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answered{status: resp.StatusCode, header: resp.Header, text: string(all)}
	_ = json.Unmarshal(all, &a)
	return a
}

// token fetches a corp's token through the gateway, which learns whose it is.
func (r *rig) token(corp string) string {
	r.t.Helper()
	a := r.call("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret=s", "")
	if a.Token == "" {
		r.t.Fatalf("no token: %s", a.text)
	}
	return a.Token
}

// pull has a bot fetch all messages of a corp's channel.
func (r *rig) pull(token string) answered {
	r.t.Helper()
	return r.call("POST", "/cgi-bin/kf/sync_msg?access_token="+token, `{"open_kfid":"wk","limit":1000}`)
}

// reply has a bot reply to a customer.
func (r *rig) reply(token, customer string) answered {
	r.t.Helper()
	return r.call("POST", "/cgi-bin/kf/send_msg?access_token="+token, `{"touser":"`+customer+`","open_kfid":"wk","msgtype":"text","text":{"content":"hi"}}`)
}

// count returns a counter's value, or a histogram's count, by name and some of its labels.
func (r *rig) count(name string, labels map[string]string) (n float64) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			for k, v := range labels {
				if has[k] != v {
					continue metrics
				}
			}
			n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return n
}

func newUpstream(t *testing.T, url string) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(config.Upstream{URL: url, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

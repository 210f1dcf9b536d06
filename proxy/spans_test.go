package proxy_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/proxy"
	"replygate/trace/tracetest"
)

const (
	botTrace = "0af7651916cd43dd8448eb211c80319c"
	botSpan  = "b7ad6b7169203331"
)

// steps writes the spans below one as name(those below it).
func steps(all []tracetest.Span, of tracetest.Span) string {
	var names []string
	for _, s := range tracetest.Children(all, of) {
		name := s.Name
		if s.Failure != "" {
			name += "!"
		}
		if below := steps(all, s); below != "" {
			name += "(" + below + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// exported ends the export, and returns the root span of each call by its name and verdict.
func (r *rig) exported(c *tracetest.Collector) (roots map[string]tracetest.Span, all []tracetest.Span) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	r.Traces.Close(ctx)
	all, roots = c.Spans(), map[string]tracetest.Span{}
	for _, s := range all {
		if s.Kind == "server" {
			roots[strings.TrimSpace(s.Name+" "+s.Attributes["replygate.verdict"])] = s
		}
	}
	return roots, all
}

// Each sampled call leaves a server span with a span for each of its steps, and its ids; none of
// that goes on to WeCom.
func TestSpansOfCalls(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	r := newRig(t, twoAccounts+"traces: { endpoint: '"+c.URL+"', sample: 100% }\n")
	active, lapsed := r.token("wwActive"), r.token("wwLapsed")
	r.wecom.CustomerWrites("wwLapsed", "wk", "wmWrote", "hello")
	r.pull(lapsed)
	r.reply(active, "wm")
	passed := r.call("POST", "/cgi-bin/kf/send_msg?access_token="+lapsed, `{"touser":"wmWrote","open_kfid":"wk","msgtype":"text","text":{"content":"TEXT"}}`,
		"Traceparent", "00-"+botTrace+"-"+botSpan+"-01", "Tracestate", "vendor=STATE", "Baggage", "user=BAGGAGE")
	decision := r.lines.last("decision")
	refused := r.call("POST", "/cgi-bin/externalcontact/add_msg_template?access_token="+lapsed, "{}")
	r.call("GET", "/replygate/healthz", "")
	r.call("GET", "/cgi-bin/user/get?access_token="+active+"&userid=x", "", "Traceparent", "00-"+botTrace+"-"+botSpan+"-00")

	roots, all := r.exported(c)
	for name, want := range map[string]string{
		"GET /cgi-bin/gettoken":                                 "upstream store",
		"POST /cgi-bin/kf/sync_msg":                             "read upstream store",
		"POST /cgi-bin/kf/send_msg":                             "read upstream",
		"POST /cgi-bin/kf/send_msg pass":                        "read judge(store) upstream",
		"POST /cgi-bin/externalcontact/add_msg_template refuse": "judge",
	} {
		root, found := roots[name]
		if got := steps(all, root); !found || got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		delete(roots, name)
	}
	if len(roots) > 0 {
		t.Errorf("more spans: %v", roots)
	}
	roots, _ = r.exported(c)
	root := roots["POST /cgi-bin/kf/send_msg pass"]
	for key, want := range map[string]string{
		"replygate.corp_id": "wwLapsed", "replygate.capability": "kf_reply", "replygate.verdict": "pass", "replygate.reason": "window_open",
		"replygate.decision_id": passed.header.Get("Replygate-Decision-Id"), "url.path": "/cgi-bin/kf/send_msg", "http.response.status_code": "200",
	} {
		if got := root.Attributes[key]; got != want || got == "" {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if root.Trace != botTrace || root.Parent != botSpan || decision["trace_id"] != botTrace {
		t.Errorf("the bot's trace: %+v, trace_id %v", root, decision["trace_id"])
	}
	if got := roots["POST /cgi-bin/externalcontact/add_msg_template refuse"].Attributes; got["replygate.decision_id"] != refused.Replygate.ID || got["replygate.reason"] != "rule_refuse" {
		t.Errorf("%v", got)
	}
	bodies, _ := c.Raw()
	for _, secret := range []string{active, lapsed, "TEXT", "STATE", "BAGGAGE", "corpsecret"} {
		if strings.Contains(bodies, secret) {
			t.Errorf("%s is in a span", secret)
		}
	}
	calls := r.wecom.Calls()
	if len(calls) < 5 {
		t.Fatalf("%d calls reached WeCom", len(calls))
	}
	for _, call := range calls {
		for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
			if value, there := call.Header[name]; there {
				t.Errorf("%s: %s %q reached WeCom", call.Path, name, value)
			}
		}
	}
}

// A call that fails has a span that says why; so has its upstream.
func TestSpansOfFailures(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	r := newRig(t, twoAccounts+"traces: { endpoint: '"+c.URL+"', sample: 100% }\n")
	r.wecom.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	})
	r.call("GET", "/cgi-bin/user/get?access_token=x", "")
	roots, all := r.exported(c)
	root := roots["GET /cgi-bin/user/get error"]
	if root.Failure != "error: upstream_broke_off" || root.Attributes["error.type"] != "upstream_broke_off" || root.Attributes["http.response.status_code"] != "502" || steps(all, root) != "upstream!" {
		t.Errorf("%+v: %s", root, steps(all, root))
	}
	if below := tracetest.Children(all, root); len(below) != 1 || below[0].Attributes["error.type"] != "connection_closed" {
		t.Errorf("%+v", below)
	}
	if r.lines.last("request")["trace_id"] != root.Trace {
		t.Errorf("%v", r.lines.last("request"))
	}
}

// Without traces nothing is allocated for them.
func TestTracesOffAllocateNothing(t *testing.T) {
	var rc fasthttp.RequestCtx
	if err := rc.Request.Read(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: g\r\nTraceparent: 00-" + botTrace + "-" + botSpan + "-01\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, (&proxy.Gateway{}).Tracing(&rc)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

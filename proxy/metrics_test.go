package proxy_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/config"
	"replygate/proxy"
	"replygate/window"
)

// The metrics are a contract with dashboards: their names, types and labels, and what stands there
// before anything happened.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	proxy.NewMetrics(registry)
	descs := make(chan *prometheus.Desc, 64)
	registry.Describe(descs)
	close(descs)
	labels := map[string]string{}
	for d := range descs {
		_, text, _ := strings.Cut(d.String(), `fqName: "`)
		name, rest, _ := strings.Cut(text, `"`)
		_, rest, _ = strings.Cut(rest, "variableLabels: {")
		labels[name], _, _ = strings.Cut(rest, "}")
	}
	want := map[string]string{
		"replygate_requests_total":             "capability,status",
		"replygate_request_duration_seconds":   "judged",
		"replygate_upstream_duration_seconds":  "result",
		"replygate_decisions_total":            "capability,verdict,reason,forwarded",
		"replygate_shadow_decisions_total":     "capability,verdict,reason,rule",
		"replygate_upstream_errcodes_total":    "verdict,errcode",
		"replygate_inbound_total":              "source,result",
		"replygate_delivery_failures_total":    "why",
		"replygate_callbacks_total":            "kind,result,status",
		"replygate_callbacks_unverified_total": "cause",
		"replygate_attributed_total":           "by",
		"replygate_corp_contradictions_total":  "kind",
		"replygate_unsure_wait_seconds":        "outcome",
	}
	if !maps.Equal(labels, want) {
		t.Errorf("metrics:\n%v\nwant\n%v", labels, want)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var zeros []string // an alarm on a rate needs a first value
	for _, f := range families {
		for _, m := range f.GetMetric() {
			zeros = append(zeros, fmt.Sprintf("%s %s", strings.TrimPrefix(f.GetName(), "replygate_"), m.GetLabel()[0].GetValue()))
		}
	}
	if want := []string{
		"attributed_total channel", "attributed_total code", "attributed_total host", "attributed_total none", "attributed_total only_account",
		"attributed_total path", "attributed_total setting", "attributed_total token",
		"callbacks_unverified_total age", "callbacks_unverified_total corp", "callbacks_unverified_total key", "callbacks_unverified_total malformed", "callbacks_unverified_total receive_id", "callbacks_unverified_total token",
		"corp_contradictions_total call", "corp_contradictions_total channel", "corp_contradictions_total earlier", "corp_contradictions_total learnt", "corp_contradictions_total token",
		"request_duration_seconds false", "request_duration_seconds true", "upstream_duration_seconds answered", "upstream_duration_seconds error",
	}; !slices.Equal(zeros, want) {
		t.Errorf("at first: %q", zeros)
	}
}

// says answers a path of WeCom with a body.
func (r *harness) says(path, body string) {
	r.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// Each call moves the metrics that it should, and no other.
func TestMetricsOfCalls(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/kf/send_msg"
	r := newHarness(t, nil)
	active, lapsed := r.token(corpActive), r.token(corpLapsed)
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
	reply := func(answer string) func() {
		return func() {
			r.says(send, answer)
			r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
			r.reply(lapsed, wkLapsed, wmLi)
			r.clock.Advance(2 * time.Second) // a later message opens a window that WeCom shut
		}
	}
	replied := []string{
		`replygate_requests_total{capability="kf_reply",status="200"}`, `replygate_request_duration_seconds{judged="true"}`,
		`replygate_upstream_duration_seconds{result="answered"}`, `replygate_attributed_total{by="token"}`,
		`replygate_decisions_total{capability="kf_reply",forwarded="true",reason="window_open",verdict="pass"}`,
	}
	errcode := func(label string) []string {
		return append(slices.Clone(replied), `replygate_upstream_errcodes_total{errcode="`+label+`",verdict="pass"}`)
	}
	for _, test := range []struct {
		name string
		do   func()
		want []string
	}{
		{"a path that no rule is about", func() { r.post("/cgi-bin/user/get", active, "{}") }, []string{
			`replygate_requests_total{capability="address_book",status="200"}`, `replygate_request_duration_seconds{judged="false"}`, `replygate_upstream_duration_seconds{result="answered"}`}},
		{"a path that the catalogue lacks", func() { r.post("/cgi-bin/none", active, "{}") }, []string{
			`replygate_requests_total{capability="uncatalogued",status="200"}`, `replygate_request_duration_seconds{judged="false"}`, `replygate_upstream_duration_seconds{result="answered"}`}},
		{"an account in good standing", func() { r.reply(active, "wkActive", wmLi) }, []string{
			`replygate_requests_total{capability="kf_reply",status="200"}`, `replygate_request_duration_seconds{judged="false"}`, `replygate_upstream_duration_seconds{result="answered"}`, `replygate_attributed_total{by="token"}`}},
		{"a reply", reply(`{"errcode":0}`), errcode("ok")},
		{"a reply past five", reply(`{"errcode":95001}`), errcode("95001")},
		{"a reply past 48 hours", reply(`{"errcode":95002}`), errcode("95002")},
		{"a session that ended", reply(`{"errcode":95013}`), errcode("95013")},
		{"a session in another state", reply(`{"errcode":95018}`), errcode("95018")},
		{"another errcode", reply(`{"errcode":40001}`), errcode("other")},
		{"an errcode in no list", reply(`{"errcode":123456789}`), errcode("other")},
		{"an answer that nobody can read", reply(`oops`), replied},
		{"a refused reply", func() { r.reply(lapsed, wkLapsed, "wmNever") }, []string{
			`replygate_requests_total{capability="kf_reply",status="200"}`, `replygate_request_duration_seconds{judged="true"}`, `replygate_attributed_total{by="token"}`,
			`replygate_decisions_total{capability="kf_reply",forwarded="false",reason="window_closed",verdict="refuse"}`}},
		{"a mass message", func() { r.post("/cgi-bin/externalcontact/add_msg_template", lapsed, "{}") }, []string{
			`replygate_requests_total{capability="mass_message",status="200"}`, `replygate_request_duration_seconds{judged="true"}`, `replygate_attributed_total{by="token"}`,
			`replygate_decisions_total{capability="mass_message",forwarded="false",reason="rule_refuse",verdict="refuse"}`}},
		{"a path with two readings", func() { r.post("/cgi-bin/kf/send_msg/", lapsed, "{}") }, []string{
			`replygate_requests_total{capability="none",status="200"}`, `replygate_request_duration_seconds{judged="true"}`, `replygate_attributed_total{by="token"}`,
			`replygate_decisions_total{capability="",forwarded="false",reason="ambiguous_path",verdict="refuse"}`}},
		{"no token", func() { r.post("/cgi-bin/externalcontact/add_msg_template", "", "{}") }, []string{
			`replygate_requests_total{capability="mass_message",status="200"}`, `replygate_request_duration_seconds{judged="true"}`, `replygate_attributed_total{by="none"}`,
			`replygate_decisions_total{capability="mass_message",forwarded="false",reason="missing_token",verdict="refuse"}`}},
		{"a path of the gateway's own", func() { r.post("/replygate/none", lapsed, "{}") }, []string{
			`replygate_requests_total{capability="uncatalogued",status="404"}`, `replygate_request_duration_seconds{judged="false"}`}},
		{"a request that is no HTTP", func() { r.send(r.api, "hello\r\n\r\n") }, []string{
			`replygate_requests_total{capability="none",status="400"}`, `replygate_request_duration_seconds{judged="false"}`}},
		{"a preflight", func() { r.preflight(lapsed, question(wmLi)) }, []string{
			`replygate_requests_total{capability="uncatalogued",status="200"}`, `replygate_request_duration_seconds{judged="false"}`, `replygate_attributed_total{by="token"}`}},
		{"an upstream that hangs up", func() {
			r.platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
			r.post("/cgi-bin/user/get", active, "{}")
		}, []string{
			`replygate_requests_total{capability="address_book",status="502"}`, `replygate_request_duration_seconds{judged="false"}`, `replygate_upstream_duration_seconds{result="error"}`}},
		{"a reply while Redis is away", func() {
			r.says(send, `{"errcode":0}`)
			r.redis.away.Store(true)
			defer r.redis.away.Store(false)
			r.reply(lapsed, wkLapsed, "wmElse")
		}, []string{
			`replygate_requests_total{capability="kf_reply",status="200"}`, `replygate_request_duration_seconds{judged="true"}`, `replygate_attributed_total{by="token"}`,
			`replygate_decisions_total{capability="kf_reply",forwarded="false",reason="store_unavailable",verdict="unsure"}`}},
	} {
		got := r.moved(test.do)
		t.Run(test.name, func(t *testing.T) { wantMoves(t, got, test.want...) })
	}
}

// only keeps the samples of some metrics.
func only(moved map[string]float64, metrics ...string) map[string]float64 {
	maps.DeleteFunc(moved, func(name string, _ float64) bool {
		return !slices.ContainsFunc(metrics, func(m string) bool { return strings.HasPrefix(name, "replygate_"+m+"{") })
	})
	return moved
}

// Each way to find whose a call is has its own counter, and so has each contradiction.
func TestMetricsOfCallers(t *testing.T) {
	t.Parallel()
	const send, body = "/cgi-bin/kf/send_msg", `{"touser":"wm","open_kfid":%q,"msgtype":"text","text":{"content":"hi"}}`
	two := func(c *config.Config) {
		c.Accounts[0].Hosts, c.Accounts[0].Channels = []string{"active.example"}, []string{"wkListed"}
		c.Accounts[1].Hosts = []string{"lapsed.example"}
	}
	call := func(r *harness, host, path, token, channel string) {
		r.Helper()
		b := fmt.Sprintf(body, channel)
		r.send(r.api, fmt.Sprintf("POST %s?access_token=%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", path, token, host, len(b), b))
	}
	by := func(way string) string { return `replygate_attributed_total{by="` + way + `"}` }
	kind := func(k string) string { return `replygate_corp_contradictions_total{kind="` + k + `"}` }
	for _, test := range []struct {
		name   string
		change func(*config.Config)
		do     func(r *harness)
		want   []string
	}{
		{"nothing", two, func(r *harness) { call(r, "g", send, "t", "wkNone") }, []string{by("none")}},
		{"its token", two, func(r *harness) { call(r, "g", send, r.token(corpLapsed), "wkNone") }, []string{by("token")}},
		{"the path", two, func(r *harness) { call(r, "g", "/corp/wwLapsed"+send, "t", "wkNone") }, []string{by("path")}},
		{"the Host", two, func(r *harness) { call(r, "lapsed.example", send, "t", "wkNone") }, []string{by("host")}},
		{"a listed channel", two, func(r *harness) { call(r, "g", send, "t", "wkListed") }, []string{by("channel")}},
		{"a code", two, func(r *harness) {
			r.codes(corpLapsed, "CODE")
			r.post("/cgi-bin/kf/send_msg_on_event", "t", `{"code":"CODE","msgtype":"text","text":{"content":"hi"}}`)
		}, []string{by("code")}},
		{"the setting", func(c *config.Config) { c.UnknownToken = corpLapsed }, func(r *harness) { call(r, "g", send, "t", "wkNone") }, []string{by("setting")}},
		{"the only account", func(c *config.Config) { c.Accounts = c.Accounts[1:] }, func(r *harness) { call(r, "g", send, "t", "wkNone") }, []string{by("only_account")}},
		{"a token against the path", two, func(r *harness) { call(r, "g", "/corp/wwActive"+send, r.token(corpLapsed), "wkNone") }, []string{by("token"), kind("token")}},
		{"a token against the channel", two, func(r *harness) { call(r, "g", send, r.token(corpLapsed), "wkListed") }, []string{by("token"), kind("token")}},
		{"the path against the Host", two, func(r *harness) { call(r, "active.example", "/corp/wwLapsed"+send, "t", "wkNone") }, []string{by("none"), kind("call")}},
		{"two paths, one after the other", two, func(r *harness) {
			call(r, "g", "/corp/wwLapsed"+send, "t", "wkNone")
			call(r, "g", "/corp/wwActive"+send, "t", "wkNone")
		}, []string{by("path"), by("none"), kind("earlier")}},
		{"a channel of another account", two, func(r *harness) {
			r.says("/cgi-bin/kf/sync_msg", pageOf(textFrom("wkListed", wmLi, r.clock.Now())))
			r.post("/cgi-bin/kf/sync_msg", r.token(corpLapsed), "{}")
		}, []string{by("token"), kind("channel")}},
		{"a token of another account", two, func(r *harness) {
			r.says("/cgi-bin/gettoken", fmt.Sprintf(`{"errcode":0,"access_token":%q,"expires_in":7200}`, r.token(corpLapsed)))
			r.send(r.api, "GET /cgi-bin/gettoken?corpid=wwActive&corpsecret=s HTTP/1.1\r\nHost: g\r\n\r\n")
		}, []string{kind("learnt")}},
		{"a call that no rule is about", two, func(r *harness) { call(r, "g", "/cgi-bin/user/get", "t", "") }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, test.change)
			wantMoves(t, only(r.moved(func() { test.do(r) }), "attributed_total", "corp_contradictions_total"), test.want...)
		})
	}
}

// codes has a corp own one-time codes.
func (r *harness) codes(corp string, texts ...string) {
	r.Helper()
	for _, text := range texts {
		code := window.Code{Key: window.Key{Corp: corp, Channel: wkLapsed, Customer: wmLi}, Kind: "enter_session", Deadline: r.clock.Now().Add(time.Minute)}
		if err := r.gateway.Windows.LearnCodes(r.Context(), []window.LearntCode{{Text: text, Code: code}}); err != nil {
			r.Fatal(err)
		}
	}
}

// pageOf is an answer of kf/sync_msg.
func pageOf(items ...string) string {
	return `{"errcode":0,"errmsg":"ok","next_cursor":"1","has_more":0,"msg_list":[` + strings.Join(items, ",") + `]}`
}

// textFrom is an item of a page: a customer's text.
func textFrom(channel, customer string, at time.Time) string {
	return fmt.Sprintf(`{"msgid":"m%s%d","open_kfid":%q,"external_userid":%q,"send_time":%d,"origin":3,"msgtype":"text"}`, customer, at.Unix(), channel, customer, at.Unix())
}

// undelivered is an item of a page: a reply that WeCom did not deliver.
func undelivered(r *harness, kind int) string {
	return fmt.Sprintf(`{"msgid":"f","send_time":%d,"origin":4,"msgtype":"event","event":{"event_type":"msg_send_fail","open_kfid":%q,"external_userid":%q,"fail_msgid":"o","fail_type":%d}}`, r.clock.Now().Unix(), wkLapsed, wmLi, kind)
}

// What became of every message of a page is counted.
func TestMetricsOfPages(t *testing.T) {
	t.Parallel()
	in := func(result string, n int) string {
		return fmt.Sprintf(`replygate_inbound_total{result=%q,source="sync_msg"} %d`, result, n)
	}
	failed := func(why string) string { return `replygate_delivery_failures_total{why="send_failed_` + why + `"}` }
	const skipped = `{"msgid":"s","origin":5,"send_time":1,}`
	for _, test := range []struct {
		name  string
		token string // of a corp, or one that nobody knows
		page  func(r *harness) string
		away  bool
		want  []string
	}{
		{"nothing", corpLapsed, func(*harness) string { return pageOf() }, false, nil},
		{"messages", corpLapsed, func(r *harness) string {
			return pageOf(textFrom(wkLapsed, "a", r.clock.Now()), textFrom(wkLapsed, "a", r.clock.Now().Add(-time.Hour)), textFrom(wkLapsed, "b", r.clock.Now().Add(-48*time.Hour)),
				textFrom(wkLapsed, "c", r.clock.Now().Add(6*time.Minute)), skipped)
		}, false, []string{in("recorded", 2), in("expired", 1), in("ahead", 1), in("skipped", 1)}},
		{"a message without a customer", corpLapsed, func(r *harness) string { return pageOf(textFrom(wkLapsed, "", r.clock.Now())) }, false, []string{in("unreadable", 1)}},
		{"no page", corpLapsed, func(*harness) string { return `{"errcode":0,"msg_list":"x"}` }, false, []string{in("unreadable", 1)}},
		{"a failure of WeCom", corpLapsed, func(*harness) string { return `{"errcode":-1,"msg_list":"x"}` }, false, nil},
		{"a caller that nobody knows", "t", func(r *harness) string {
			return pageOf(textFrom(wkLapsed, "a", r.clock.Now()), textFrom(wkLapsed, "b", r.clock.Now()))
		}, false, []string{in("unattributed", 2)}},
		{"Redis is away", corpLapsed, func(r *harness) string { return pageOf(textFrom(wkLapsed, "a", r.clock.Now())) }, true, []string{in("unrecorded", 1)}},
		{"replies that were not delivered", corpLapsed, func(r *harness) string {
			return pageOf(undelivered(r, 4), undelivered(r, 6), undelivered(r, 10), undelivered(r, 99))
		}, false, []string{failed("window"), failed("count"), failed("refused")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, nil)
			token := test.token
			if token == corpLapsed {
				token = r.token(corpLapsed)
			}
			r.says("/cgi-bin/kf/sync_msg", test.page(r))
			r.redis.away.Store(test.away)
			wantMoves(t, only(r.moved(func() { r.post("/cgi-bin/kf/sync_msg", token, "{}") }), "inbound_total", "delivery_failures_total"), test.want...)
		})
	}
}

// Facts of the admin API count by their own source.
func TestMetricsOfReports(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	wantMoves(t, r.moved(func() { r.gateway.Metrics.Reported(window.Tally{Recorded: 3, Expired: 2, Ahead: 1}) }),
		`replygate_inbound_total{result="recorded",source="report"} 3`, `replygate_inbound_total{result="expired",source="report"} 2`, `replygate_inbound_total{result="ahead",source="report"}`)
}

// A call that waited counts by what became of it, one that could not wait too.
func TestMetricsOfWaits(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.Policy.UnsureWait = 20 * time.Millisecond })
	lapsed := r.token(corpLapsed)
	r.redis.away.Store(true)
	wantMoves(t, only(r.moved(func() { r.reply(lapsed, wkLapsed, wmLi) }), "unsure_wait_seconds"), `replygate_unsure_wait_seconds{outcome="still_unsure"}`)
	r.draining.Store(true)
	wantMoves(t, only(r.moved(func() { r.reply(lapsed, wkLapsed, wmLi) }), "unsure_wait_seconds"), `replygate_unsure_wait_seconds{outcome="shutdown"}`)
}

// A rule in shadow counts what it would have done, beside what was done.
func TestMetricsOfShadowRules(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		c.Policy.Rules = []config.Rule{{Name: config.Word{Text: "no-uploads"}, Mode: config.Word{Text: "shadow"}, Action: config.Word{Text: "refuse"}, Match: config.Match{Capabilities: []config.Word{{Text: "media"}}}}}
	})
	wantMoves(t, only(r.moved(func() { r.post("/cgi-bin/media/upload", r.token(corpLapsed), "{}") }), "shadow_decisions_total", "decisions_total"),
		`replygate_shadow_decisions_total{capability="media",reason="rule_refuse",rule="no-uploads",verdict="refuse"}`,
		`replygate_decisions_total{capability="media",forwarded="true",reason="rule_pass",verdict="pass"}`)
}

// No word of a client becomes a label: whatever clients send, the sets of labels stay few.
func TestMetricLabelsAreBounded(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	own := r.app(corpLapsed)
	send := func(i int) {
		mark := fmt.Sprintf("mark%d", i)
		r.post("/cgi-bin/"+mark, mark, mark)
		r.post("/cgi-bin/externalcontact/"+mark, mark, mark)
		r.post("/replygate/"+mark, mark, mark)
		r.post("/corp/"+mark+"/cgi-bin/kf/send_msg", mark, `{"touser":"`+mark+`","open_kfid":"`+mark+`","msgtype":"`+mark+`"}`)
		r.send(r.api, strings.ToUpper(strings.Trim(mark, "0123456789"))+" /cgi-bin/user/get HTTP/1.1\r\nHost: "+mark+"\r\nUser-Agent: "+mark+"\r\n\r\n")
		r.says("/cgi-bin/kf/send_msg", fmt.Sprintf(`{"errcode":%d}`, 70000+i))
		r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: mark}, r.clock.Now())
		r.reply(r.token(corpLapsed), wkLapsed, mark)
		r.deliver(own, "<xml><ToUserName>"+mark+"</ToUserName><MsgType>event</MsgType><Event>"+mark+"</Event></xml>")
		r.send(r.callback, "GET /"+mark+" HTTP/1.1\r\nHost: g\r\n\r\n")
	}
	send(0)
	before := slices.Sorted(maps.Keys(r.samples()))
	for i := range 5 {
		send(i + 1)
	}
	after := slices.Sorted(maps.Keys(r.samples()))
	if !slices.Equal(before, after) {
		t.Errorf("samples\n%s\nbecame\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if all := strings.Join(after, "\n"); strings.Contains(all, "mark") {
		t.Errorf("a client's own word is a label:\n%s", all)
	}
}

// Counters that are found by their labels lose nothing when the first calls come at once.
func TestMetricsAtOnce(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	active := r.token(corpActive)
	paths := []string{"user/get", "media/upload", "kf/send_msg", "none"}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() { r.post("/cgi-bin/"+paths[i%len(paths)], active, "{}") })
	}
	all.Wait()
	total := 0.0
	for name, n := range only(r.samples(), "requests_total") {
		if total += n; n != 8 {
			t.Errorf("%s %v", name, n)
		}
	}
	if total != 32 {
		t.Errorf("%v calls are counted", total)
	}
}

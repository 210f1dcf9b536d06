package proxy_test

import (
	"compress/zlib"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"replygate/config"
	"replygate/window"
)

const pull = "/cgi-bin/kf/sync_msg"

// itemOf is what somebody sent on a channel: origin 3 is a customer, 5 a servicer.
func itemOf(origin int, channel, customer string, at time.Time) string {
	return fmt.Sprintf(`{"msgid":"%s-%d","open_kfid":%q,"external_userid":%q,"send_time":%d,"origin":%d,"msgtype":"text","text":{"content":"x"}}`,
		customer, at.Unix(), channel, customer, at.Unix(), origin)
}

// eventOf is an event; members are those of "event" without their braces.
func eventOf(at time.Time, members string) string {
	return fmt.Sprintf(`{"msgid":"event-%d","send_time":%d,"origin":4,"msgtype":"event","event":{%s}}`, at.Unix(), at.Unix(), members)
}

// of are the members of an event that name its customer.
func of(channel, customer, kind string) string {
	return fmt.Sprintf(`"open_kfid":%q,"external_userid":%q,"event_type":%q`, channel, customer, kind)
}

// pulled has a bot fetch a page, and returns how the counters of messages moved, in one line.
func (r *harness) pulled(a ask, page string, header ...string) string {
	r.Helper()
	r.replies(pull, 200, page, header...)
	var got answer
	moved := r.moved(func() { got = r.ask(a) })
	if got.body != page {
		r.Errorf("the bot reads %.200q, want %.200q", got.body, page)
	}
	var all []string
	for name, n := range moved {
		if result, ok := strings.CutPrefix(name, `replygate_inbound_total{result="`); ok {
			all = append(all, fmt.Sprint(strings.TrimSuffix(result, `",source="sync_msg"}`), " ", n))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// A page that WeCom serves by an ambiguous path is recorded like any other: its messages are gone.
func TestPagesOfAmbiguousPaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/cgi-bin/kf/sync%5fmsg", "/cgi-bin/kf/./sync_msg", "/CGI-BIN/kf/sync_msg", "/cgi-bin/kf/sync_msg/"} {
		r := newHarness(t, nil)
		r.replies(path, 200, page(message("wkActive", wmLi, r.clock.Now())))
		r.post(path, r.token(corpActive), `{"open_kfid":"wkActive"}`)
		if _, ok := r.lastOf(window.Key{Corp: corpActive, Channel: "wkActive", Customer: wmLi}); !ok {
			t.Errorf("%s: the message is not on record", path)
		}
	}
}

// An item of a page opens a window, teaches a code, is passed over, or marks the gap that it
// leaves.
func TestItemsOfAPage(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	now := r.clock.Now()
	r.Cleanup(func() { r.clock.Set(now) })
	for _, test := range []struct {
		name   string
		body   string // of the call
		page   string
		counts string
		opens  bool // the window of wmLi on wkLapsed
		code   string
		gaps   string
	}{
		{"a customer's message", `{"open_kfid":"wkLapsed"}`, pageOf(itemOf(3, wkLapsed, wmLi, now)), "recorded 1", true, "", ""},
		{"of a call without a channel", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now)), "recorded 1", true, "", ""},
		{"twice", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now), itemOf(3, wkLapsed, wmLi, now)), "recorded 2", true, "", ""},
		{"of an hour ago", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now.Add(-time.Hour))), "recorded 1", true, "", ""},
		{"on another channel", `{}`, pageOf(itemOf(3, "wk2", wmLi, now)), "recorded 1", false, "", ""},
		{"too old", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now.Add(-48*time.Hour))), "expired 1", false, "", ""},
		{"a second younger", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now.Add(time.Second-48*time.Hour))), "recorded 1", true, "", ""},
		{"of the future", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now.Add(5*time.Minute+time.Second))), "ahead 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"a clock a little ahead", `{}`, pageOf(itemOf(3, wkLapsed, wmLi, now.Add(5*time.Minute))), "recorded 1", true, "", ""},
		{"an empty page", `{}`, pageOf(), "", false, "", ""},
		{"a page without a list", `{}`, `{"errcode":0,"errmsg":"ok"}`, "", false, "", ""},
		{"a servicer's message", `{}`, pageOf(itemOf(5, wkLapsed, wmLi, now)), "", false, "", ""},
		{"of an origin to come", `{}`, pageOf(itemOf(9, wkLapsed, wmLi, now)), "", false, "", ""},
		{"of no origin", `{}`, pageOf(strings.Replace(itemOf(3, wkLapsed, wmLi, now), `"origin":3,`, "", 1)), "", false, "", ""},
		{"of an unreadable origin", `{}`, pageOf(strings.Replace(itemOf(3, wkLapsed, wmLi, now), `"origin":3`, `"origin":true`, 1)), "unreadable 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"without its customer", `{}`, pageOf(itemOf(3, wkLapsed, "", now)), "unreadable 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"without its channel, which the call names", `{"open_kfid":"wkLapsed"}`, pageOf(itemOf(3, "", wmLi, now)), "unreadable 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"without its channel", `{}`, pageOf(itemOf(3, "", wmLi, now)), "unreadable 1", false, "", "wwLapsed wwLapsed:any wwLapsed:items"},
		{"without its time", `{}`, pageOf(strings.Replace(itemOf(3, wkLapsed, wmLi, now), fmt.Sprint(now.Unix()), "0", 2)), "unreadable 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"on another channel than the call names", `{"open_kfid":"wkLapsed"}`, pageOf(itemOf(3, "wk9", "", now)), "unreadable 1", false, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"an unreadable one too old to matter", `{}`, pageOf(itemOf(3, wkLapsed, "", now.Add(-49*time.Hour))), "unreadable 1", false, "", ""},
		{"a broken servicer's message", `{}`, pageOf(`{"origin":5,"open_kfid":"wkLapsed","text":tru}`), "skipped 1", false, "", ""},
		{"one that is good beside one that is not", `{}`, pageOf(itemOf(3, wkLapsed, "", now), itemOf(3, wkLapsed, wmLi, now)), "recorded 1, unreadable 1", true, "", "wkLapsed wkLapsed:items wwLapsed:any"},
		{"an item that is no object", `{}`, pageOf(`7`, itemOf(3, wkLapsed, wmLi, now)), "recorded 1", true, "", ""},
		{"a customer who enters", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "enter_session")+`,"welcome_code":"CODE"`)), "", false, "enter_session", ""},
		{"who enters a second time", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "enter_session"))), "", false, "", ""},
		{"a session that is taken", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "session_status_change")+`,"change_type":1,"msg_code":"CODE"`)), "", false, "session_taken", ""},
		{"a session that ends", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "session_status_change")+`,"change_type":3,"msg_code":"CODE"`)), "", false, "session_ended", ""},
		{"a session that changes hands", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "session_status_change")+`,"change_type":2,"msg_code":"CODE"`)), "", false, "", ""},
		{"a code without its customer", `{}`, pageOf(eventOf(now, of(wkLapsed, "", "enter_session")+`,"welcome_code":"CODE"`)), "unreadable 1", false, "", "wwLapsed:any"},
		{"a code that is a number", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "enter_session")+`,"welcome_code":7`)), "unreadable 1", false, "", "wwLapsed:any"},
		{"an event to come", `{}`, pageOf(eventOf(now, of(wkLapsed, wmLi, "new_event")+`,"welcome_code":"CODE"`)), "", false, "", ""},
		{"cut", `{"open_kfid":"wkLapsed"}`, pageOf(itemOf(3, wkLapsed, wmLi, now))[:219], "recorded 1, unreadable 1", true, "", "wkLapsed wwLapsed:any"},
		{"no JSON", `{}`, "<html>busy</html>", "unreadable 1", false, "", "wwLapsed wwLapsed:any"},
		{"an errcode", `{}`, strings.Replace(pageOf(itemOf(3, wkLapsed, wmLi, now)), ":0", ":95000", 1), "", false, "", ""},
	} {
		if err := r.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		r.history(-96 * time.Hour)
		token := r.token(corpLapsed)
		if counts := r.pulled(ask{target: pull + "?access_token=" + token, body: test.body}, test.page); counts != test.counts {
			t.Errorf("%s: counted %q, want %q", test.name, counts, test.counts)
		}
		if _, opens := r.lastOf(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}); opens != test.opens {
			t.Errorf("%s: opens a window: %v", test.name, opens)
		}
		code := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "CODE")
		if code.Code.Kind != test.code || test.code != "" && (code.Code.Key.Customer != wmLi || code.Code.Key.Channel != wkLapsed) {
			t.Errorf("%s: a code %+v, want kind %q", test.name, code.Code, test.code)
		}
		if gaps := r.gaps(); gaps != test.gaps {
			t.Errorf("%s: gaps %q, want %q", test.name, gaps, test.gaps)
		}
	}
}

// windows returns the windows on record, each as corp/channel.
func (r *harness) windows() string {
	r.Helper()
	all, _, err := r.gateway.Windows.Scan(r.Context(), "", "", 100)
	if err != nil {
		r.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Key.Corp+"/"+e.Key.Channel)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A page counts as its known token's; else as that of the account that the call names, or whose
// channels its items are on; else it is nobody's, and marks the gaps that it leaves.
func TestWhosePagesAre(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	page := func(channels ...string) string {
		var items []string
		for _, channel := range channels {
			items = append(items, itemOf(3, channel, wmLi, now))
		}
		return pageOf(items...)
	}
	for _, test := range []struct {
		name    string
		setting string
		ask     ask // {L} a token of the lapsed account, {U} an unknown one
		page    string
		windows string // corp/channel of those that are open
		by      string // whose it is and by what, and what contradicted it
		counts  string
		gaps    string
	}{
		{"a known token", config.Auto, ask{target: pull + "?access_token={L}", body: "{}"}, page(wkLapsed), "wwLapsed/wkLapsed", "wwLapsed token", "recorded 1", ""},
		{"against what it names", config.Auto, ask{host: "active.example", target: "/corp/wwActive" + pull + "?access_token={L}", body: "{}"}, page(wkLapsed), "wwLapsed/wkLapsed", "wwLapsed token", "recorded 1", ""},
		{"two known tokens", config.Auto, ask{target: pull + "?access_token={L}&access_token=second", body: "{}"}, page(wkLapsed), "wwLapsed/wkLapsed", "wwLapsed token", "recorded 1", ""},
		{"by its path", config.Auto, ask{target: "/corp/wwLapsed" + pull + "?access_token={U}", body: "{}"}, page("wkNew"), "wwLapsed/wkNew", "wwLapsed path", "recorded 1", ""},
		{"by its Host", config.Auto, ask{host: "active.example", target: pull + "?access_token={U}", body: "{}"}, page("wkNew"), "wwActive/wkNew", "wwActive host", "recorded 1", ""},
		{"by the channel that it names", config.Auto, ask{target: pull + "?access_token={U}", body: `{"open_kfid":"wkActive"}`}, page("wkActive"), "wwActive/wkActive", "wwActive channel", "recorded 1", ""},
		{"by the channel that it names, against its items", config.Auto, ask{target: pull + "?access_token={U}", body: `{"open_kfid":"wkActive"}`}, page(wkLapsed), "wwActive/wkLapsed", "wwActive channel", "recorded 1", ""},
		{"by the channels of its items", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, page(wkLapsed, "wkNew"), "wwLapsed/wkLapsed wwLapsed/wkNew", "wwLapsed channel", "recorded 2", ""},
		{"channels of two accounts", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, page(wkLapsed, "wkActive"), "", "none call", "unattributed 2", "wkActive wkLapsed"},
		{"its path against its items", config.Auto, ask{target: "/corp/wwActive" + pull + "?access_token={U}", body: "{}"}, page(wkLapsed), "", "none call", "unattributed 1", "wkLapsed"},
		{"its path against its Host", config.Auto, ask{host: "active.example", target: "/corp/wwLapsed" + pull + "?access_token={U}", body: "{}"}, page("wkNew"), "", "none call", "unattributed 1", "wkNew"},
		{"nobody's", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, page("wkNew", "wkNew2", "wkNew"), "", "none", "unattributed 3", "wkNew wkNew2"},
		{"nobody's, of a channel", config.Auto, ask{target: pull + "?access_token={U}", body: `{"open_kfid":"wkNew"}`}, page("wkNew"), "", "none", "unattributed 1", "wkNew"},
		{"nobody's, with a code", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, pageOf(eventOf(now, of("wkNew", wmLi, "enter_session")+`,"welcome_code":"C"`)), "", "none", "", "wwActive:any wwLapsed:any"},
		{"nobody's, and unreadable", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, "[]", "", "none", "unreadable 1", "wwActive wwActive:any wwLapsed wwLapsed:any"},
		{"nobody's, and empty", config.Auto, ask{target: pull + "?access_token={U}", body: "{}"}, page(), "", "none", "", ""},
		{"without a token", config.Auto, ask{target: pull, body: "{}"}, page(wkLapsed), "wwLapsed/wkLapsed", "wwLapsed channel", "recorded 1", ""},
		{"of tokens of two corps", config.Auto, ask{target: pull + "?access_token={L}&access_token={U}", body: "{}"}, page("wkNew"), "", "none", "unattributed 1", "wkNew"},
		{"by the setting", corpActive, ask{target: "/corp/wwLapsed" + pull + "?access_token={U}", body: "{}"}, page(wkLapsed), "wwActive/wkLapsed", "wwActive setting", "recorded 1", ""},
		{"where all pass", config.Pass, ask{target: pull + "?access_token={U}", body: "{}"}, page(wkLapsed), "", "none", "unattributed 1", "wkLapsed"},
		{"where names do not count", config.Refuse, ask{target: "/corp/wwLapsed" + pull + "?access_token={U}", body: "{}"}, page(wkLapsed), "", "none", "unattributed 1", "wkLapsed"},
	} {
		r := newHarness(t, func(c *config.Config) { named(c); c.UnknownToken = test.setting })
		r.clock.Set(now)
		if err := r.gateway.Tokens.Learn(t.Context(), "second", corpLapsed, time.Hour); err != nil {
			t.Fatal(err)
		}
		test.ask.target = strings.NewReplacer("{L}", r.token(corpLapsed), "{U}", "unknown").Replace(test.ask.target)
		var counts string
		moved := r.moved(func() { counts = r.pulled(test.ask, test.page) })
		if counts != test.counts {
			t.Errorf("%s: counted %q, want %q", test.name, counts, test.counts)
		}
		by := ""
		for _, name := range slices.Sorted(maps.Keys(moved)) {
			for _, prefix := range []string{`replygate_attributed_total{by="`, `replygate_corp_contradictions_total{kind="`} {
				if label, ok := strings.CutPrefix(name, prefix); ok {
					by += " " + strings.TrimSuffix(label, `"}`)
				}
			}
		}
		access, decision := r.lastRecords()
		if corp, _ := access["corp_id"].(string); strings.TrimSpace(corp+by) != test.by || decision != nil {
			t.Errorf("%s: %s%s, want %s; judged %v", test.name, corp, by, test.by, decision)
		}
		if windows := r.windows(); windows != test.windows {
			t.Errorf("%s: windows %q, want %q", test.name, windows, test.windows)
		}
		if gaps := r.gaps(); gaps != test.gaps {
			t.Errorf("%s: gaps %q, want %q", test.name, gaps, test.gaps)
		}
	}
}

// One account's page shows that a page of nobody is not its own.
func TestPageOfAnAccountThatPulls(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	nobodys := ask{target: pull + "?access_token=unknown", body: "{}"}
	r.pulled(ask{target: pull + "?access_token=" + r.token(corpLapsed), body: "{}"}, pageOf())
	r.pulled(nobodys, "[]")
	if gaps, want := r.gaps(), "wwActive wwActive:any"; gaps != want {
		t.Errorf("gaps %q, want %q", gaps, want)
	}
	r.clock.Advance(48 * time.Hour)
	r.pulled(nobodys, "[]")
	if gaps, want := r.gaps(), "wwActive wwActive:any wwLapsed wwLapsed:any"; gaps != want {
		t.Errorf("once its last page is as old as a window: gaps %q, want %q", gaps, want)
	}
}

// A page that nobody can read goes on to the bot as it is.
func TestPagesThatCannotBeInflated(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	good := pageOf(itemOf(3, wkLapsed, wmLi, now))
	var deflated strings.Builder
	w := zlib.NewWriter(&deflated)
	_, _ = w.Write([]byte(good))
	_ = w.Close()
	whole := zipped(good)
	const gaps = "wkLapsed wwLapsed:any"
	for _, test := range []struct {
		name     string
		page     string
		encoding string
		limit    config.Size // limits.read_answer, 0 for the default
		counts   string
		gaps     string
	}{
		{"gzip", whole, "gzip", 0, "recorded 1", ""},
		{"x-gzip in capitals", whole, "X-GZIP", 0, "recorded 1", ""},
		{"deflate", deflated.String(), "deflate", 0, "recorded 1", ""},
		{"identity", good, "identity", 0, "recorded 1", ""},
		{"gzip that breaks off", whole[:12], "gzip", 0, "unreadable 1", gaps},
		{"gzip that breaks off in its checksum", whole[:len(whole)-8], "gzip", 0, "recorded 1", ""},
		{"gzip that is none", good, "gzip", 0, "unreadable 1", gaps},
		{"deflate that is gzip", whole, "deflate", 0, "unreadable 1", gaps},
		{"two encodings", whole, "gzip, gzip", 0, "unreadable 1", gaps},
		{"zstd", good, "zstd", 0, "unreadable 1", gaps},
		{"gzip of more than any page has", zipped(strings.TrimSuffix(good, "}") + strings.Repeat(" ", 16<<20) + "}"), "gzip", 0, "recorded 1, unreadable 1", gaps},
		{"as long as the limit", good, "", config.Size(len(good)), "recorded 1", ""},
		{"longer than the limit", good, "", config.Size(len(good) - 1), "unreadable 1", gaps},
		{"long, and longer than the limit", good + strings.Repeat(" ", 200<<10), "", 100 << 10, "unreadable 1", gaps},
		{"long, and within the limit", good + strings.Repeat(" ", 200<<10), "", 300 << 10, "recorded 1", ""},
	} {
		r := newHarness(t, func(c *config.Config) {
			if test.limit != 0 {
				c.Limits.ReadAnswer = test.limit
			}
		})
		r.clock.Set(now)
		var header []string
		if test.encoding != "" {
			header = []string{"Content-Encoding: " + test.encoding}
		}
		token := r.token(corpLapsed)
		if counts := r.pulled(ask{target: pull + "?access_token=" + token, body: `{"open_kfid":"wkLapsed"}`}, test.page, header...); counts != test.counts {
			t.Errorf("%s: counted %q, want %q", test.name, counts, test.counts)
		}
		if got := r.gaps(); got != test.gaps {
			t.Errorf("%s: gaps %q, want %q", test.name, got, test.gaps)
		}
		lines := r.log.FilterMessageSnippet("customers' messages or codes passed unrecorded").All()
		if (len(lines) == 1) != (test.gaps != "") {
			t.Errorf("%s: the log has %v", test.name, lines)
		} else if len(lines) == 1 {
			f := lines[0].ContextMap()
			if lines[0].Level != zapcore.WarnLevel || f["how"] != "unreadable" || f["corp_id"] != corpLapsed || f["channel"] != wkLapsed || f["error"] == nil {
				t.Errorf("%s: the log has %v", test.name, f)
			}
		}
	}
}

// A gap is logged when it is new or moves, not each time a bot pulls the same page.
func TestGapIsLoggedOnce(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	call := ask{target: pull + "?access_token=" + r.token(corpLapsed), body: `{"open_kfid":"wkLapsed"}`}
	bad := itemOf(3, wkLapsed, "", r.clock.Now())
	for i, step := range []struct {
		page   string
		logged int
	}{
		{pageOf(bad), 1},
		{pageOf(bad), 1},
		{pageOf(bad, itemOf(3, wkLapsed, "", r.clock.Now().Add(-time.Hour))), 1}, // the older one moves nothing
		{pageOf(bad, itemOf(3, wkLapsed, "", r.clock.Now().Add(time.Minute))), 2},
	} {
		r.clock.Advance(time.Minute) // such a line is logged once a minute
		r.pulled(call, step.page)
		if n := r.log.FilterMessageSnippet("passed unrecorded").Len(); n != step.logged {
			t.Errorf("page %d: %d lines, want %d", i, n, step.logged)
		}
	}
}

// A page with several tokens, one of which Redis may know, is not recorded for the account that
// unknown_token names.
func TestPageOfSeveralTokensWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.UnknownToken = corpActive })
	active := r.token(corpActive)
	r.redis.away.Store(true)
	page := pageOf(itemOf(3, wkLapsed, wmLi, r.clock.Now()))
	for _, query := range []string{"?access_token=t&access_token=u", "?access_token=t&access_token=" + active} {
		if counts := r.pulled(ask{target: pull + query, body: "{}"}, page); counts != "unattributed 1" {
			t.Errorf("%s: counted %q", query, counts)
		}
	}
}

// Messages that Redis does not take are counted, and their channel's history has a gap once Redis
// is back; nobody who wrote meanwhile is refused.
func TestPageWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	token := r.token(corpLapsed)
	call := ask{target: pull + "?access_token=" + token, body: "{}"}
	r.redis.away.Store(true)
	page := pageOf(itemOf(3, wkLapsed, wmLi, r.clock.Now()), itemOf(3, wkLapsed, "wmZhao", r.clock.Now()))
	if counts := r.pulled(call, page); counts != "unrecorded 2" {
		t.Errorf("counted %q", counts)
	}
	if counts := r.pulled(call, page); counts != "unrecorded 2" {
		t.Errorf("again: counted %q", counts)
	}
	for text, n := range map[string]int{
		"customers' messages or codes passed unrecorded":                  1, // a minute
		"the gap is noted in this gateway alone: redis did not take it":   1,
		"redis did not take whose channels are: it is told with the next": 1,
	} {
		if got := r.log.FilterMessageSnippet(text).Len(); got != n {
			t.Errorf("%q: %d lines, want %d", text, got, n)
		}
	}
	r.redis.away.Store(false)
	if got, want := r.fate(ask{target: sendMsg + "?access_token=" + token, body: toLi(wkLapsed)}), "unsure history_incomplete, wwLapsed by token, sent"; got != want {
		t.Errorf("a reply: %s, want %s", got, want)
	}
	if gaps := r.gaps(); gaps != "wkLapsed wwLapsed:any" {
		t.Errorf("gaps %q", gaps)
	}
	if counts := r.pulled(call, page); counts != "recorded 2" {
		t.Errorf("the same page later: counted %q", counts)
	}
	if got, want := r.fate(ask{target: sendMsg + "?access_token=" + token, body: toLi(wkLapsed)}), "pass window_open, wwLapsed by token, sent"; got != want {
		t.Errorf("a reply then: %s, want %s", got, want)
	}
}

// WeCom's later word on a reply that it took corrects the window that the reply went into, and no
// other.
func TestDeliveryFailuresOfAPage(t *testing.T) {
	t.Parallel()
	const before, after = "pass window_open", "refuse window_shut"
	for _, test := range []struct {
		name  string
		kind  string // members of the event
		at    time.Duration
		moved string // label of replygate_delivery_failures_total
		fate  string // of the next reply
	}{
		{"the window had closed", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":4`, 2 * time.Minute, "send_failed_window", after},
		{"five were sent", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":6`, 2 * time.Minute, "send_failed_count", "refuse replies_used_up"},
		{"the customer refuses", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":10`, 2 * time.Minute, "send_failed_refused", after},
		{"before the customer wrote again", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":4`, -time.Second, "send_failed_window", before},
		{"perhaps before that", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":4`, 59 * time.Second, "send_failed_window", before},
		{"another failure", of(wkLapsed, wmLi, "msg_send_fail") + `,"fail_type":3`, 2 * time.Minute, "", before},
		{"of no type", of(wkLapsed, wmLi, "msg_send_fail"), 2 * time.Minute, "", before},
		{"of another customer", of(wkLapsed, "wmZhao", "msg_send_fail") + `,"fail_type":4`, 2 * time.Minute, "send_failed_window", before},
		{"on another channel", of("wk2", wmLi, "msg_send_fail") + `,"fail_type":4`, 2 * time.Minute, "send_failed_window", before},
	} {
		r := newHarness(t, nil)
		token := r.token(corpLapsed)
		r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
		r.platform.CustomerWrites(corpLapsed, wkLapsed, wmLi, "hello")
		r.clock.Advance(10 * time.Minute)
		at := r.clock.Now().Add(test.at - 10*time.Minute)
		moved := r.moved(func() {
			r.pulled(ask{target: pull + "?access_token=" + token, body: "{}"}, pageOf(eventOf(at, test.kind)))
		})
		want := map[string]float64{}
		if test.moved != "" {
			want[`replygate_delivery_failures_total{why="`+test.moved+`"}`] = 1
		}
		maps.DeleteFunc(moved, func(name string, _ float64) bool { return !strings.HasPrefix(name, "replygate_delivery") })
		if !maps.Equal(moved, want) {
			t.Errorf("%s: counted %v, want %v", test.name, moved, want)
		}
		if got := r.fate(ask{target: sendMsg + "?access_token=" + token, body: toLi(wkLapsed)}); !strings.HasPrefix(got, test.fate+",") {
			t.Errorf("%s: the next reply: %s, want %s", test.name, got, test.fate)
		}
	}
}

// Corrections that Redis does not take are counted as far as they were tried, and logged.
func TestDeliveryFailureWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	call := ask{target: pull + "?access_token=" + r.token(corpLapsed), body: "{}"}
	r.pulled(call, pageOf()) // learns what there is to learn
	r.redis.away.Store(true)
	failed := eventOf(r.clock.Now(), of(wkLapsed, wmLi, "msg_send_fail")+`,"fail_type":4`)
	r.pulled(call, pageOf(failed, failed, failed))
	lines := r.log.FilterMessage("a window could not be corrected by WeCom's later word").All()
	if len(lines) != 1 || lines[0].ContextMap()["corp_id"] != corpLapsed {
		t.Errorf("the log has %v", lines)
	}
}

// A known token teaches whose the channels of its pages are. What was attributed by anything else
// teaches nothing, and no channel changes its corp.
func TestChannelsOfPages(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		named(c)
		c.Accounts[0].Channels = []string{"wkListed"}
	})
	now := r.clock.Now()
	if err := r.gateway.Tokens.Learn(t.Context(), "unlisted", "wwUnlisted", time.Hour); err != nil {
		t.Fatal(err)
	}
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	for _, test := range []struct {
		name   string
		target string
		page   string
		owners string // of wk1, wk2, wk3
		other  string // the channel of the contradiction that is logged
	}{
		{"attributed by the path", "/corp/wwLapsed" + pull + "?access_token=u1", pageOf(itemOf(3, "wk1", wmLi, now)), ", , ", ""},
		{"a corp that is no account", pull + "?access_token=unlisted", pageOf(itemOf(3, "wk1", wmLi, now)), ", , ", ""},
		{"an answer with an errcode", pull + "?access_token=" + lapsed, strings.Replace(pageOf(itemOf(3, "wk1", wmLi, now)), ":0", ":1", 1), ", , ", ""},
		{"a message", pull + "?access_token=" + lapsed, pageOf(itemOf(3, "wk1", wmLi, now)), "wwLapsed, , ", ""},
		{"a servicer's message", pull + "?access_token=" + lapsed, pageOf(itemOf(5, "wk2", wmLi, now)), "wwLapsed, , ", ""},
		{"a code", pull + "?access_token=" + lapsed, pageOf(eventOf(now, of("wk2", wmLi, "enter_session")+`,"welcome_code":"C"`)), "wwLapsed, wwLapsed, ", ""},
		{"a failure", pull + "?access_token=" + active, pageOf(eventOf(now, of("wk3", wmLi, "msg_send_fail")+`,"fail_type":4`)), "wwLapsed, wwLapsed, wwActive", ""},
		{"another's", pull + "?access_token=" + active, pageOf(itemOf(3, "wk1", wmLi, now)), "wwLapsed, wwLapsed, wwActive", "wk1"},
		{"one that is listed for another", pull + "?access_token=" + lapsed, pageOf(itemOf(3, "wkListed", wmLi, now)), "wwLapsed, wwLapsed, wwActive", "wkListed"},
	} {
		r.clock.Advance(time.Minute) // each contradiction is logged
		r.log.TakeAll()
		r.pulled(ask{target: test.target, body: "{}"}, test.page)
		owners := strings.Join([]string{r.gateway.Tokens.LearntChannel("wk1"), r.gateway.Tokens.LearntChannel("wk2"), r.gateway.Tokens.LearntChannel("wk3")}, ", ")
		if owners != test.owners {
			t.Errorf("%s: wk1, wk2 and wk3 belong to %s, want %s", test.name, owners, test.owners)
		}
		other := ""
		for _, line := range r.log.FilterField(zap.String("contradiction", "channel")).All() {
			other += strings.Trim(fmt.Sprint(line.ContextMap()["other"]), "[]")
		}
		if other != test.other {
			t.Errorf("%s: contradiction about %q, want %q", test.name, other, test.other)
		}
	}
}

// Bots' pulls are told, to replays that share WeCom's limit with them, as far as their corp is
// known and WeCom counts them.
func TestPulledIsTold(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	var told []string
	r.gateway.Pulled = func(corp string, at time.Time, free, limited bool) {
		told = append(told, fmt.Sprintf("%s %v %v %v", corp, at.Equal(r.clock.Now()), free, limited))
	}
	token := r.token(corpLapsed)
	for _, c := range []struct{ body, page, want string }{
		{`{}`, pageOf(), "[" + corpLapsed + " true false false]"},
		{`{"open_kfid":"wkLapsed","cursor":"c"}`, pageOf(), "[" + corpLapsed + " true false false]"},
		{`{"token":"ENC","open_kfid":"wkLapsed"}`, pageOf(), "[" + corpLapsed + " true true false]"},
		{`{"token":""}`, pageOf(), "[" + corpLapsed + " true false false]"},
		{`{}`, `{"errcode":45009,"errmsg":"api freq out of limit","msg_list":[]}`, "[" + corpLapsed + " true false true]"},
		{`{}`, `{"errcode":95000,"errmsg":"invalid open_kfid"}`, "[]"},
	} {
		told = nil
		r.pulled(ask{target: pull + "?access_token=" + token, body: c.body}, c.page)
		if got := fmt.Sprint(told); got != c.want {
			t.Errorf("%s %s: told %s, want %s", c.body, c.page, got, c.want)
		}
	}
}

// A page that the gateway itself pulled is recorded as a bot's is, and does not count as one.
func TestRecordPage(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	now := r.clock.Now()
	r.history(-96 * time.Hour)
	k := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	r.gateway.RecordPage(t.Context(), corpLapsed, wkLapsed, []byte(pageOf(itemOf(3, wkLapsed, wmLi, now), itemOf(3, "wk2", "", now.Add(-time.Hour)))))
	if _, opens := r.lastOf(k); !opens || r.gaps() != "wkLapsed wkLapsed:items wwLapsed:any" {
		t.Errorf("opens %v, gaps %q", opens, r.gaps())
	}
	r.gateway.RecordPage(t.Context(), corpLapsed, "wk3", []byte(`{"errcode":45009}`))
	r.gateway.RecordPage(t.Context(), corpLapsed, "wk4", []byte("<html>"))
	if gaps := r.gaps(); !strings.Contains(gaps, "wk4") || strings.Contains(gaps, "wk3") {
		t.Errorf("gaps %q", gaps)
	}
	if all, err := r.gateway.Tokens.ChannelsOf(t.Context(), corpLapsed); err != nil || fmt.Sprint(all) != "[wkLapsed]" {
		t.Errorf("channels %q, %v", all, err)
	}
}

package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

func (r *rig) writes(customer string) {
	r.Helper()
	r.platform.CustomerWrites(corpID, channel, customer, "hello?")
	if a := r.sync(); a.Errcode != 0 {
		r.Fatalf("sync_msg: %s", a.body)
	}
}

// The story of one window, to the millisecond.
func TestReplyWindow(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		r.reply(wrote, "refuse", "window_closed")
		at := r.clock.Now()
		r.writes(wrote)
		a := r.reply(wrote, "pass", "window_open")
		if a.Header.Get("Replygate-Replies-Left") != "4" || a.Header.Get("Replygate-Window-Closes") != at.Add(48*time.Hour).UTC().Format(time.RFC3339) ||
			a.Header.Get("Replygate-Rule") != "reply-inside-the-window" || a.Header.Get("Replygate-Decision-Id") == "" {
			r.Errorf("headers: %v", a.Header)
		}
		r.clock.Set(at.Add(48*time.Hour - time.Millisecond))
		r.token = "" // the old one has run out
		r.reply(wrote, "pass", "window_open")
		r.clock.Set(at.Add(48 * time.Hour))
		a = r.reply(wrote, "refuse", "window_closed")
		if a.Errcode != 95002 || a.StatusCode != 200 {
			r.Errorf("refusal: HTTP %d %s", a.StatusCode, a.body)
		}
		r.writes(wrote)
		r.reply(wrote, "pass", "window_open")
		if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 3 {
			r.Errorf("%d replies reached WeCom, want 3", n)
		}
	})
}

func TestSixthReplyIsRefused(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		r.writes(wrote)
		for left := 4; left >= 0; left-- {
			if a := r.reply(wrote, "pass", "window_open"); a.Errcode != 0 || a.Header.Get("Replygate-Replies-Left") != fmt.Sprint(left) {
				r.Fatalf("%d left: %s %v", left, a.body, a.Header)
			}
		}
		if a := r.reply(wrote, "refuse", "replies_used_up"); a.Errcode != 95001 {
			r.Errorf("%s", a.body)
		}
		r.clock.Advance(time.Second)
		r.writes(wrote)
		r.reply(wrote, "pass", "window_open")
	})
}

// Fifty replies at once through two gateways on one Redis: exactly the five that are left go.
func TestFiftyRepliesThroughTwoGateways(t *testing.T) {
	redis := storetest.Start(t).Config()
	r := newRig(t, redis, strictly(nil)) // until the two have heard of each other what is used up is unsure
	other := r.start(redis, strictly(nil))
	r.writes(wrote)
	var all sync.WaitGroup
	verdicts := make([]string, 50)
	for i := range verdicts {
		g := []*gateway{r.gateway, other}[i%2]
		all.Go(func() {
			verdicts[i] = r.callAt(g, "POST", "/cgi-bin/kf/send_msg", replyTo(wrote)).Header.Get("Replygate-Verdict")
		})
	}
	all.Wait()
	if n := strings.Count(strings.Join(verdicts, " "), "pass"); n != 5 {
		t.Errorf("%d replies passed, want 5: %v", n, verdicts)
	}
	if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 5 {
		t.Errorf("%d replies reached WeCom, want 5", n)
	}
}

// What WeCom answers corrects the count, for that customer alone.
func TestSettlement(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		send := "/cgi-bin/kf/send_msg"
		r.writes(wrote)
		for _, code := range []int{95018, 95000, -1, 45009} { // not taken: each is given back
			r.platform.FailNext(send, code)
			if a := r.reply(wrote, "pass", "window_open"); a.Errcode != code || a.Header.Get("Replygate-Replies-Left") != "4" {
				r.Fatalf("errcode %d: %s %v", code, a.body, a.Header)
			}
		}
		r.platform.FailNext(send, 95001)
		r.reply(wrote, "pass", "window_open")
		r.reply(wrote, "refuse", "replies_used_up")
		r.clock.Advance(time.Second)
		r.writes(wrote)
		r.platform.FailNext(send, 95002)
		r.reply(wrote, "pass", "window_open")
		r.reply(wrote, "refuse", "window_shut")
		r.sync() // the same messages once more
		r.reply(wrote, "refuse", "window_shut")
		r.writes("wmOther")
		r.reply("wmOther", "pass", "window_open")
		r.clock.Advance(time.Second)
		r.writes(wrote)
		r.reply(wrote, "pass", "window_open")
	})
}

// A reply whose outcome nobody knows counts; one that certainly was not sent does not.
func TestUnknownOutcomeCounts(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Upstream.Timeout = 300 * time.Millisecond })
	r.writes(wrote)
	r.platform.Answer("/cgi-bin/kf/send_msg", func(w http.ResponseWriter, _ *http.Request) { // takes it and breaks off
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	})
	a := r.call("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
	if a.StatusCode != 502 || a.Errcode != 990502 || a.Header.Get("Replygate-Verdict") != "pass" {
		t.Fatalf("broken off: HTTP %d %s", a.StatusCode, a.body)
	}
	hang := make(chan struct{})
	r.platform.Answer("/cgi-bin/kf/send_msg", func(http.ResponseWriter, *http.Request) { <-hang })
	a = r.call("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
	close(hang)
	if a.StatusCode != 504 || a.Errcode != 990504 || !strings.Contains(a.Errmsg, "outcome is unknown") {
		t.Fatalf("hanging: HTTP %d %s", a.StatusCode, a.body)
	}
	if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 2 {
		t.Fatalf("%d attempts, want 2", n)
	}
	r.platform.Answer("/cgi-bin/kf/send_msg", nil)
	if a := r.reply(wrote, "pass", "window_open"); a.Header.Get("Replygate-Replies-Left") != "2" {
		t.Fatalf("left %s, want 2", a.Header.Get("Replygate-Replies-Left"))
	}
	r.upstream.CloseClientConnections()
	r.upstream.Close()
	a = r.call("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
	if a.StatusCode != 502 || a.Errcode != 990502 || !strings.Contains(a.Errmsg, "nothing was sent") {
		t.Fatalf("gone: HTTP %d %s", a.StatusCode, a.body)
	}
	if w := r.adminCall("GET", "/v1/windows?corp_id="+corpID+"&channel="+channel+"&customer="+wrote, ""); !strings.Contains(string(w.body), `"replies_left":2`) {
		t.Errorf("a reply that was not sent counts: %s", w.body)
	}
}

// A pooled connection that the upstream closed costs no call and doubles none.
func TestStaleConnections(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.call("GET", "/cgi-bin/user/get?userid=z", "")
	for i := range 20 {
		r.upstream.CloseClientConnections()
		r.platform.Forget()
		if a := r.call("POST", "/cgi-bin/message/send", `{"touser":"@all"}`); a.StatusCode != 200 || r.platform.Count("/cgi-bin/message/send") != 1 {
			t.Fatalf("call %d: HTTP %d, reached %d times", i, a.StatusCode, r.platform.Count("/cgi-bin/message/send"))
		}
	}
}

// What sync_msg says in odd ways; after each page the window is open or closed.
func TestSyncPages(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	path := "/cgi-bin/kf/sync_msg"
	item := func(customer string, at time.Time, origin int) string {
		return fmt.Sprintf(`{"msgid":"m","open_kfid":%q,"external_userid":%q,"send_time":%d,"origin":%d,"msgtype":"text"}`, channel, customer, at.Unix(), origin)
	}
	page := func(items ...string) string {
		return `{"errcode":0,"errmsg":"ok","has_more":0,"msg_list":[` + strings.Join(items, ",") + `]}`
	}
	now := r.clock.Now()
	many := make([]string, 1000)
	for i := range many {
		many[i] = item(fmt.Sprintf("wmMany%d", i), now, 3)
	}
	for _, test := range []struct{ name, customer, body, verdict string }{
		{"a message", "wm1", page(item("wm1", now, 3)), "pass"},
		{"of a day ago", "wm2", page(item("wm2", now.Add(-24*time.Hour), 3)), "pass"},
		{"of three days ago", "wm3", page(item("wm3", now.Add(-72*time.Hour), 3)), "refuse"},
		{"a servicer's", "wm4", page(item("wm4", now, 5)), "refuse"},
		{"an event", "wm5", page(item("wm5", now, 4)), "refuse"},
		{"a thousand", "wmMany999", page(many...), "pass"},
		{"an empty page with more to come", "wm7", `{"errcode":0,"has_more":1,"next_cursor":"c","msg_list":[]}`, "refuse"},
		{"an hour ahead", "wm6", page(item("wm6", now.Add(time.Hour), 3)), "unsure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, test.body) })
			if a := r.sync(); string(a.body) != test.body {
				t.Fatalf("the page changed: %.200s", a.body)
			}
			if got := r.call("POST", "/cgi-bin/kf/send_msg", replyTo(test.customer)).Header.Get("Replygate-Verdict"); got != test.verdict {
				t.Errorf("verdict %s, want %s", got, test.verdict)
			}
		})
	}
	if told := strings.Count(r.output.String(), "set the clock by NTP"); told != 1 {
		t.Errorf("the operator was told %d times of messages that are ahead", told)
	}
	t.Run("compressed unasked", func(t *testing.T) {
		r.platform.Answer(path, func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Accept-Encoding") != "" {
				t.Errorf("compression was asked for: %s", req.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, page(item("wmZip", now, 3)))
			z.Close()
		})
		if a := r.call("POST", path, `{}`, "Accept-Encoding: gzip"); a.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("the page changed its encoding: %v", a.Header)
		}
		r.reply("wmZip", "pass", "window_open")
	})
}

// A page that cannot be read, or is too long to, goes on; records are incomplete from then on.
func TestMissedPages(t *testing.T) {
	for name, page := range map[string]string{
		"unreadable": `{"errcode":0,"msg_list":[{"origin":3`,
		"over-long":  `{"errcode":0,"msg_list":[],"x":"` + strings.Repeat("x", 300<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Limits.ReadAnswer = 256 << 10 })
			r.reply(wrote, "refuse", "window_closed")
			r.platform.Answer("/cgi-bin/kf/sync_msg", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
			if a := r.sync(); string(a.body) != page {
				t.Fatalf("the page changed: %d bytes of %d", len(a.body), len(page))
			}
			a := r.reply(wrote, "unsure", "history_incomplete")
			if a.Errcode != 95002 || r.platform.Count("/cgi-bin/kf/send_msg") != 1 { // WeCom's own word
				t.Errorf("%s", a.body)
			}
		})
	}
}

// Messages in a page whose token nobody learnt may be anybody's: records are incomplete from then
// on.
func TestUnattributedMessages(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), withAnother)
	known := r.fetchToken(r.gateway)
	r.platform.Revoke(corpID)
	r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
	r.token = r.platform.Issue(corpID)
	if a := r.sync(); a.Errcode != 0 || !strings.Contains(string(a.body), wrote) {
		t.Fatalf("the page: %s", a.body)
	}
	r.token = known
	r.reply(wrote, "unsure", "history_incomplete")
	if m := r.adminCall("GET", "/metrics", ""); !strings.Contains(string(m.body), `replygate_inbound_total{result="unattributed",source="sync_msg"} 1`) {
		t.Error("unattributed messages are not counted")
	}
}

// A rule about one account makes whose a token is matter, also for calls that are otherwise free.
func TestStrangersMeetRulesAboutOthers(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		withAnother(c)
		word := func(s string) []config.Word { return []config.Word{{Text: s}} }
		c.Policy.Rules = []config.Rule{{
			Name: config.Word{Text: "no-media"}, Action: config.Word{Text: "refuse"},
			Match: config.Match{Capabilities: word("media"), Accounts: word(corpID)},
		}}
	})
	if a := r.call("GET", "/cgi-bin/media/get?media_id=M", ""); a.Gate.Rule != "no-media" {
		t.Errorf("a known token: %s", a.body)
	}
	r.platform.Revoke(corpID)
	r.token = r.platform.Issue(corpID)
	if a := r.call("GET", "/cgi-bin/media/get?media_id=M", ""); a.Errcode != 42001 || r.platform.Count("/cgi-bin/media/get") != 0 {
		t.Errorf("a strange token: %s", a.body)
	}
	if a := r.call("GET", "/cgi-bin/user/get?userid=z", ""); a.Errcode != 0 {
		t.Errorf("a call that no rule names: %s", a.body)
	}
}

func TestColdStartMayRefuse(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Policy.ColdStart = config.Refuse })
	r.since(-time.Hour)
	if a := r.reply(wrote, "refuse", "history_incomplete"); a.Errcode != 95002 || r.platform.Count("/cgi-bin/kf/send_msg") != 0 {
		t.Errorf("%s", a.body)
	}
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
}

// Messages that another source saw open windows too.
func TestReportedInbound(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		report := func(corp, customer, at string) answer {
			return r.adminCall("POST", "/v1/inbound", fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":%q,"customer":%q,"at":%q}]}`, corp, channel, customer, at))
		}
		now := r.clock.Now()
		if a := report(corpID, wrote, now.Add(-time.Hour).Format(time.RFC3339Nano)); a.StatusCode != 200 || string(a.body) != `{"ahead":0,"expired":0,"recorded":1}`+"\n" {
			r.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
		r.platform.CustomerWroteAt(corpID, channel, wrote, "seen elsewhere", now.Add(-time.Hour))
		if a := r.reply(wrote, "pass", "window_open"); a.Errcode != 0 {
			r.Errorf("%s", a.body)
		}
		for _, bad := range []answer{
			report("wwNobody", wrote, now.Format(time.RFC3339)),
			report(corpID, "", now.Format(time.RFC3339)),
			report(corpID, wrote, "yesterday"),
			r.adminCall("POST", "/v1/inbound", `{"inbound":[]}`),
			r.adminCall("POST", "/v1/inbound", `{"inbuond":[]}`),
		} {
			var f struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(bad.body, &f); err != nil || bad.StatusCode != 400 || f.Error.Code == "" || f.Error.Message == "" {
				r.Errorf("HTTP %d %s", bad.StatusCode, bad.body)
			}
		}
	})
}

// While Redis is away: remembered windows pass, other replies are unsure, interfaces stay refused.
func TestRedisOutage(t *testing.T) {
	server := storetest.Start(t)
	redis := server.Config()
	redis.Timeout = 300 * time.Millisecond
	r := newRig(t, redis, nil)
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	server.Down()
	if a := r.reply(wrote, "pass", "window_remembered"); a.Header.Get("Replygate-Replies-Left") != "unknown" || a.Errcode != 0 {
		t.Errorf("remembered: %v %s", a.Header, a.body)
	}
	if a := r.reply("wmOther", "unsure", "store_unavailable"); a.Errcode != -1 {
		t.Errorf("unsure: %s", a.body)
	}
	if a := r.call("GET", "/cgi-bin/externalcontact/list?userid=z", ""); a.Errcode != 48002 {
		t.Errorf("an interface during the outage: %s", a.body)
	}
	if a := r.call("POST", "/cgi-bin/message/send", `{"touser":"@all"}`); a.Errcode != 0 {
		t.Errorf("a call that is not judged: %s", a.body)
	}
	r.platform.CustomerWrites(corpID, channel, "wmDuring", "hello?")
	if a := r.sync(); a.Errcode != 0 || !strings.Contains(string(a.body), "wmDuring") {
		t.Errorf("a page during the outage: %s", a.body)
	}
	server.Up() // empty, but the journal has what was pulled meanwhile
	r.await("the journal to be in Redis", func() bool { return r.gateway.store.Journal.Empty() })
	r.reply("wmDuring", "pass", "window_open")
	r.await("all that Redis lost to be written again", func() bool { return len(r.gateway.windows.Status().Causes) == 0 })
	r.reply("wmOther", "unsure", "history_incomplete")
	if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 4 {
		t.Errorf("%d replies reached WeCom, want 3", n)
	}
}

// A bot that was running before the gateway came recovers by itself.
func TestRunningBotRecovers(t *testing.T) {
	eachStore(t, reauthenticating, func(r *rig) {
		r.writes(wrote)
		r.platform.Revoke(corpID)
		r.token = r.platform.Issue(corpID) // the gateway never saw it
		if a := r.call("POST", "/cgi-bin/message/send", `{"touser":"@all"}`); a.Errcode != 0 {
			r.Fatalf("a call that is not judged: %s", a.body)
		}
		if a := r.reply(wrote, "refuse", "unknown_token"); a.Errcode != 42001 {
			r.Fatalf("first sight: %s", a.body)
		}
		r.token = r.fetchToken(r.gateway) // WeCom gives the same one again
		r.reply(wrote, "pass", "window_open")
	})
}

// One that never fetches through the gateway gets a plain refusal, and cannot loop for ever.
func TestStubbornBotGetsAPlainNo(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), reauthenticating)
	r.token = r.platform.Issue(corpID)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 42001}, {2 * time.Second, 42001}, {time.Second, 48002}, {56 * time.Second, 48002}, {time.Second, 42001}} {
		r.clock.Advance(step.after)
		if a := r.reply(wrote, "refuse", "unknown_token"); a.Errcode != step.want {
			t.Fatalf("after %s more: %s, want %d", step.after, a.body, step.want)
		}
	}
	if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 0 {
		t.Errorf("%d replies reached WeCom", n)
	}
}

func TestUnknownTokenSettings(t *testing.T) {
	for setting, want := range map[string]struct {
		errcode   int
		reason    string
		preflight int // its errcode
	}{
		config.Refuse: {48002, "unknown_token", 48002},
		config.Pass:   {0, "", 48002},
		corpID:        {48002, "rule_refuse", 0},
	} {
		t.Run(setting, func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.UnknownToken = setting })
			r.token = r.platform.Issue(corpID)
			if a := r.call("GET", "/cgi-bin/externalcontact/list?userid=z", ""); a.Errcode != want.errcode || a.Gate.Reason != want.reason {
				t.Errorf("%s", a.body)
			}
			if a := r.call("POST", "/replygate/preflight", `{"calls":[{"endpoint":"/cgi-bin/externalcontact/get"}]}`); a.Errcode != want.preflight {
				t.Errorf("a preflight: %s", a.body)
			}
		})
	}
}

// While Redis is away a token that this gateway does not know may be a lapsed account's: it does
// not pass as nobody's.
func TestUnknownTokenPassesOnlyIfRedisSaysSo(t *testing.T) {
	server := storetest.Start(t)
	change := func(c *config.Config) { c.UnknownToken, c.Policy.UnsureWait = config.Pass, 0 }
	r := newRig(t, server.Config(), change)
	r.token = r.fetchToken(r.gateway) // known to this gateway, and in Redis
	other := r.start(server.Config(), change)
	server.Down()
	r.platform.Forget()
	if a := r.callAt(other, "GET", "/cgi-bin/externalcontact/list?userid=z", ""); a.Errcode != -1 || a.Gate.Reason != "store_unavailable" {
		t.Errorf("%s", a.body)
	}
	if n := len(r.platform.Calls()); n != 0 {
		t.Errorf("LEAK: %d calls reached WeCom", n)
	}
	if a := r.callAt(other, "POST", "/cgi-bin/message/send", "{}"); a.Errcode != 0 {
		t.Errorf("a call that is not judged: %s", a.body)
	}
}

func TestUnlistedAccount(t *testing.T) {
	for _, setting := range []string{config.Refuse, config.Pass} {
		t.Run(setting, func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
				c.Accounts[0].CorpID, c.UnlistedAccount = "wwAnother", setting
			})
			a := r.call("GET", "/cgi-bin/externalcontact/list?userid=z", "")
			if refused := a.Errcode == 48002 && a.Gate.Reason == "unlisted_account" && strings.Contains(a.Errmsg, "add corp "+corpID); refused != (setting == config.Refuse) {
				t.Errorf("%s", a.body)
			}
			if a := r.call("POST", "/cgi-bin/message/send", `{}`); a.Errcode != 0 {
				t.Errorf("a call that is not judged: %s", a.body)
			}
		})
	}
}

func TestMissingAndAmbiguousTokens(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	api := r.gateway.api.Addr().String()
	if a := raw(t, api, request("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))); a.Errcode != 41001 || a.Gate.Reason != "missing_token" {
		t.Errorf("no token: %s", a.body)
	}
	if a := raw(t, api, request("POST", "/cgi-bin/kf/send_msg?access_token=A&access_token=B", replyTo(wrote))); a.StatusCode != 400 || a.Errcode != 990400 || a.Gate.Reason != "ambiguous_credential" {
		t.Errorf("two tokens: HTTP %d %s", a.StatusCode, a.body)
	}
	if n := len(r.platform.Calls()); n != 0 {
		t.Errorf("%d calls reached WeCom", n)
	}
	if a := raw(t, api, request("POST", "/cgi-bin/service/get_suite_token", `{"suite_id":"s"}`)); a.Errcode != 0 {
		t.Errorf("a provider's call: %s", a.body)
	}
}

// Only what the configured upstream answers teaches a token.
func TestFailedGettokenTeachesNothing(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	a := raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corpID+"&corpsecret=wrong", ""))
	if a.Errcode != 40001 {
		t.Fatalf("%s", a.body)
	}
	if keys := r.gateway.store.Keys(t.Context(), "rg:token:*").Val(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
}

func TestJudgedBodies(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Limits.JudgedBody = 64 << 10 })
	r.writes(wrote)
	send := "/cgi-bin/kf/send_msg"
	long := strings.Replace(replyTo(wrote), "hello", strings.Repeat("x", 65<<10), 1)
	for _, test := range []struct {
		name, body string
		headers    []string
		status     int
		errcode    int
	}{
		{"two recipients", `{"touser":"` + wrote + `","touser":"wmX","open_kfid":"` + channel + `"}`, nil, 200, 40058},
		{"a form", "touser=" + wrote + "&open_kfid=" + channel + "&msgtype=text", []string{"Content-Type: application/x-www-form-urlencoded"}, 200, 40058},
		{"compressed", replyTo(wrote), []string{"Content-Encoding: gzip"}, 200, 40058},
		{"nothing", "", nil, 200, 40058},
		{"nobody", `{"open_kfid":"` + channel + `","msgtype":"text"}`, nil, 200, 40058},
		{"too long", long, nil, 413, 990413},
	} {
		t.Run(test.name, func(t *testing.T) {
			if a := r.call("POST", send, test.body, test.headers...); a.StatusCode != test.status || a.Errcode != test.errcode {
				t.Errorf("HTTP %d %s", a.StatusCode, a.body)
			}
		})
	}
	for name, headers := range map[string][]string{"text": {"Content-Type: text/plain"}, "no type": nil, "JSON as a form": {"Content-Type: application/x-www-form-urlencoded"}} {
		if a := r.call("POST", send, replyTo(wrote), headers...); a.Errcode != 0 {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if n := r.platform.Count(send); n != 3 {
		t.Errorf("%d replies reached WeCom, want 3", n)
	}
}

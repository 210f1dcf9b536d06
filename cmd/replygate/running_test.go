package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

const (
	sendOnEvent = "/cgi-bin/kf/send_msg_on_event"
	stateTrans  = "/cgi-bin/kf/service_state/trans"
)

// onEvent sends one message by a code and wants a verdict and a reason.
func onEventWith(code string) string {
	return `{"code":"` + code + `","msgtype":"text","text":{"content":"welcome"}}`
}

func (r *rig) onEvent(code, verdict, reason string) answer {
	r.Helper()
	a := r.call("POST", sendOnEvent, onEventWith(code))
	if got, why := a.Header.Get("Replygate-Verdict"), a.Header.Get("Replygate-Reason"); got != verdict || why != reason {
		r.Fatalf("code %s: verdict %s, reason %s; want %s, %s: %s", code, got, why, verdict, reason, a.body)
	}
	return a
}

// trans changes the state of a session and returns the code that WeCom gave for it.
func (r *rig) trans(customer string, state int) string {
	r.Helper()
	a := r.call("POST", stateTrans, fmt.Sprintf(`{"open_kfid":%q,"external_userid":%q,"service_state":%d}`, channel, customer, state))
	var out struct {
		Code string `json:"msg_code"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.Code == "" {
		r.Fatalf("no code: %s", a.body)
	}
	return out.Code
}

// A code is good for one message: while it is live if the customer opened the chat, else while the
// window is open. It does not count among the five.
func TestOneTimeCodes(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		r.onEvent("never-seen", "refuse", "code_unknown")
		code := r.platform.CustomerEnters(corpID, channel, "wmNew")
		r.onEvent(code, "refuse", "code_unknown") // its event has not come through yet
		r.sync()
		r.reply("wmNew", "refuse", "window_closed") // entering is no message
		if a := r.onEvent(code, "pass", "code_live"); a.Errcode != 0 {
			r.Fatalf("WeCom did not take it: %s", a.body)
		}
		if a := r.onEvent(code, "refuse", "code_used"); a.Errcode != 95002 {
			r.Errorf("%s", a.body)
		}
		r.sync() // the replay frees no used code
		r.onEvent(code, "refuse", "code_used")

		late := r.platform.CustomerEnters(corpID, channel, "wmLate")
		r.sync()
		r.clock.Advance(20 * time.Second)
		r.onEvent(late, "refuse", "code_expired")

		queue := r.trans("wmQueue", 2)
		r.onEvent(queue, "refuse", "window_closed") // a state that the bot chose is no message
		r.writes("wmQueue")
		for range 5 {
			r.platform.SetState(corpID, channel, "wmQueue", 0)
			r.reply("wmQueue", "pass", "window_open")
		}
		r.reply("wmQueue", "refuse", "replies_used_up")
		if a := r.onEvent(queue, "pass", "window_open"); a.Errcode != 0 { // not one of the five
			r.Errorf("%s", a.body)
		}

		taken := r.platform.SessionChanges(corpID, channel, "wmQueue", 1)
		r.sync()
		r.platform.FailNext(sendOnEvent, 45009)
		r.onEvent(taken, "pass", "window_open") // not taken: the code is given back
		if a := r.onEvent(taken, "pass", "window_open"); a.Errcode != 0 {
			r.Errorf("%s", a.body)
		}
		r.onEvent(taken, "refuse", "code_used")
	})
}

// A code that nobody saw is refused only where records would hold it; one of another company in any
// case.
func TestUnknownCodes(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		says := func(corp, code, verdict, reason string) answer {
			p.Helper()
			p.token = p.tokens[corp]
			return p.onEvent(code, verdict, reason)
		}
		says(corpID, "NEVER", "refuse", "code_unknown")
		theirs := p.platform.CustomerEnters(otherCorp, otherChannel, "wmTheirs")
		p.token = p.tokens[otherCorp]
		p.callAt(p.gateway, "POST", syncMsg, `{}`)

		p.pull(corpID, `{"open_kfid":"`+second+`"}`, `<html>`) // it may have held the code
		if a := says(corpID, "NEVER", "unsure", "history_incomplete"); a.Errcode != -1 {
			p.Errorf("%s", a.body)
		}
		says(otherCorp, "NEVER", "refuse", "code_unknown")
		says(corpID, theirs, "refuse", "code_unknown")
		p.clock.Advance(48 * time.Hour)
		p.fetch()
		says(corpID, "NEVER", "refuse", "code_unknown")

		p.platform.Answer(stateTrans, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errcode":0,"msg_code":"C`) })
		p.token = p.tokens[otherCorp]
		p.callAt(p.gateway, "POST", stateTrans, `{"open_kfid":"`+otherChannel+`","external_userid":"wm","service_state":2}`)
		p.platform.Answer(stateTrans, nil)
		says(otherCorp, "C", "unsure", "history_incomplete")
		says(corpID, "C", "refuse", "code_unknown")
		p.incomplete() // no message was lost
		p.pull(corpID, `{}`, pageOf(`{"msgid":"m","origin":4,"event":{"event_type":"enter_session","welcome_code":"W"}}`))
		says(corpID, "W", "unsure", "history_incomplete")

		p.clock.Advance(48 * time.Hour)
		p.fetch()
		says(corpID, "NEVER", "refuse", "code_unknown")
		p.since(-time.Hour)
		says(corpID, "NEVER", "unsure", "history_incomplete")
		if n := p.platform.Count(sendOnEvent); n != 0 {
			p.Errorf("%d messages reached WeCom", n)
		}
	})
}

// A welcome code of a callback names its customer, for an operator's rule that lets welcomes
// go inside the window.
func TestWelcomeCodeOfCallback(t *testing.T) {
	rules := []config.Rule{{Name: config.Word{Text: "welcome-who-wrote"}, Action: config.Word{Text: "reply"},
		Match: config.Match{Capabilities: []config.Word{{Text: "welcome"}}, Standings: []config.Word{{Text: "lapsed"}}}}}
	r, _, app := callbackRig(t, storetest.Embedded(t), func(c *config.Config) { c.Policy.Rules = rules })
	added := func(customer, code string) {
		plain := event("change_external_contact.add_external_contact", corpID, customer, r.clock.Now(), false)
		r.delivers(app, strings.Replace(plain, "</xml>", "<WelcomeCode>"+code+"</WelcomeCode></xml>", 1), 200)
	}
	welcome := func(code, reason string) {
		t.Helper()
		a := r.call("POST", "/cgi-bin/externalcontact/send_welcome_msg", `{"welcome_code":"`+code+`","text":{"content":"hi"}}`)
		if a.Header.Get("Replygate-Reason") != reason {
			t.Errorf("%s: %s, want %s", code, a.body, reason)
		}
	}
	added("wmSilent", "W1")
	welcome("W1", "window_closed")
	added("wmWrote", "W2")
	r.delivers(app, event("customer_acquisition.customer_start_chat", corpID, "wmWrote", r.clock.Now(), false), 200)
	welcome("W2", "window_open")
	welcome("W3", "code_unknown")
}

// What WeCom says in later events corrects the window of that customer alone.
func TestLateTruth(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		for failType, reason := range map[int]string{4: "window_shut", 6: "replies_used_up", 10: "window_shut", 5: "window_open"} {
			customer := fmt.Sprintf("wmFail%d", failType)
			r.writes(customer)
			r.writes("wmOther")
			r.reply(customer, "pass", "window_open")
			r.clock.Advance(2 * time.Minute)
			r.platform.DeliveryFails(corpID, channel, customer, failType)
			r.sync()
			verdict := "refuse"
			if reason == "window_open" {
				verdict = "pass"
			}
			r.reply(customer, verdict, reason)
			r.reply("wmOther", "pass", "window_open")
			r.clock.Advance(time.Second)
			r.writes(customer)
			r.reply(customer, "pass", "window_open")
		}
		r.writes(wrote)
		r.platform.FailNext("/cgi-bin/kf/send_msg", 95013)
		r.reply(wrote, "pass", "window_open")
		r.since(0)
		r.platform.CustomerWrites(corpID, channel, "wmPast", "hello")
		r.reply("wmPast", "unsure", "history_incomplete")
		metrics := string(r.adminCall("GET", "/metrics", "").body)
		for _, line := range []string{
			`replygate_delivery_failures_total{why="send_failed_window"} `, `replygate_delivery_failures_total{why="send_failed_refused"} `,
			`replygate_upstream_errcodes_total{errcode="95013",verdict="pass"} 1`, `replygate_upstream_errcodes_total{errcode="ok",verdict="unsure"} 1`,
		} {
			if !strings.Contains(metrics, line) {
				r.Errorf("metrics lack %s", line)
			}
		}
	})
}

func TestRefusalsInChinese(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Policy.Language = config.Chinese })
	a := r.reply(wrote, "refuse", "window_closed")
	if !strings.HasPrefix(a.Errmsg, "客户在 48 小时内没有发来消息；请等待客户的消息，之后可在同样时长内回复; rule=reply-inside-the-window, id=") || a.Header.Get("Error-Msg") != "window_closed" {
		t.Errorf("%s, header %s", a.Errmsg, a.Header.Get("Error-Msg"))
	}
	a = r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wm", "")
	if !strings.Contains(a.Errmsg, "订阅已失效") {
		t.Errorf("%s", a.Errmsg)
	}
}

// An operator opens and closes a window, and that leaves a record.
func TestOperatorChangesWindows(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Admin.ChangeKey, c.Admin.ReadKey = "change-key", "read-key" })
	at := "http://" + r.gateway.control.Addr().String()
	change := func(verb string, words ...string) (int, string) {
		code, out, errs := cli(t, append([]string{"windows", verb, "--admin", at, "--reason", "a phone call"}, words...)...)
		return code, out + errs
	}
	if code, out := change("open", corpID, channel, wrote); code != exitBad || !strings.Contains(out, "unauthorized") {
		t.Errorf("without a key: exit %d %s", code, out)
	}
	t.Setenv("REPLYGATE_ADMIN_CHANGE_KEY", "change-key")
	r.reply(wrote, "refuse", "window_closed")
	if code, out := change("open", corpID, channel, wrote); code != exitGood || !strings.Contains(out, wrote) {
		t.Fatalf("exit %d %s", code, out)
	}
	r.reply(wrote, "pass", "window_open")
	if code, out := change("close", corpID, channel, wrote); code != exitGood || !strings.Contains(out, "shut") {
		t.Fatalf("exit %d %s", code, out)
	}
	r.reply(wrote, "refuse", "window_shut")
	if code, out := change("close", corpID, channel, "wmNobody"); code != exitBad || !strings.Contains(out, "no_window") {
		t.Errorf("exit %d %s", code, out)
	}
	if code, out := change("open", "wwStranger", channel, wrote); code != exitBad || !strings.Contains(out, "unknown_corp") {
		t.Errorf("exit %d %s", code, out)
	}
	if log := r.log(); strings.Count(log, `"reason":"a phone call"`) < 2 || strings.Contains(log, "change-key") {
		t.Errorf("the audit records: %s", log)
	}
}

// A script that changes many windows leaves an audit record of every change.
func TestEveryChangeIsAudited(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	const changes = 60
	for i := range changes {
		body := fmt.Sprintf(`{"corp_id":%q,"channel":%q,"customer":"wmAudited%d","reason":"a script"}`, corpID, channel, i)
		if a := r.adminCall("POST", "/v1/windows/open", body); a.StatusCode != 200 {
			t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
	if n := strings.Count(r.log(), `"reason":"a script"`); n != changes {
		t.Errorf("%d audit records of %d changes", n, changes)
	}
}

// An operator finds the key that somebody broke, and mends it by opening the window.
func TestOperatorMendsWindow(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	at := "http://" + r.gateway.control.Addr().String()
	key := "rg:window:{" + corpID + ":" + channel + ":" + wrote + "}"
	r.writes("wmOther")
	r.writes(wrote)
	if err := r.gateway.store.Set(t.Context(), key, "open", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.reply(wrote, "unsure", "store_unavailable")
	if log := r.log(); strings.Count(log, "windows list --all shows it as broken") != 1 {
		t.Errorf("the log: %s", log)
	}
	code, out, errs := cli(t, "windows", "list", "--admin", at)
	if code != exitGood || !strings.Contains(out, "broken") || !strings.Contains(out, "wmOther") || !strings.Contains(errs, "delete it") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	if code, _, errs = cli(t, "windows", "close", corpID, channel, wrote, "--admin", at, "--reason", "a test"); code != exitBad || !strings.Contains(errs, key+" holds no window: delete it") {
		t.Errorf("close: exit %d %s", code, errs)
	}
	if code, out, errs = cli(t, "windows", "open", corpID, channel, wrote, "--admin", at, "--reason", "a test"); code != exitGood || !strings.Contains(out, "open") {
		t.Errorf("open: exit %d %s%s", code, out, errs)
	}
	r.reply(wrote, "pass", "window_open")
}

// A bot that replies through the gateway and pulls past it: the operator hears of it.
func TestBotPullsPastTheGateway(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	ready := func(want int) {
		t.Helper()
		var out struct {
			Past int `json:"channels_bypassed"`
		}
		if a := r.adminCall("GET", "/readyz", ""); json.Unmarshal(a.body, &out) != nil || out.Past != want {
			t.Errorf("readiness: %s, want %d", a.body, want)
		}
		if metrics := r.adminCall("GET", "/metrics", ""); !strings.Contains(string(metrics.body), fmt.Sprintf("replygate_channels_bypassed %d\n", want)) {
			t.Errorf("the metric is not %d", want)
		}
	}
	r.since(-time.Hour)
	ready(0)
	r.reply("wmPast", "unsure", "history_incomplete")
	r.reply("wmPast", "unsure", "history_incomplete")
	ready(1)
	if n := strings.Count(r.log(), "nobody pulls this channel's messages"); n != 1 {
		t.Errorf("said %d times", n)
	}
	r.sync()
	ready(0)
}

// conversations is a company in the middle of its life: a thousand customers who wrote within the
// last 48 hours, some of whom got replies, before any gateway was there.
func conversations(p *wecomtest.Platform, now time.Time) (customers []string) {
	for i := range 1000 {
		customer := fmt.Sprintf("wmLife%04d", i)
		p.CustomerWroteAt(corpID, channel, customer, "hello", now.Add(-time.Duration(i)*47*time.Hour/1000))
		customers = append(customers, customer)
	}
	for i := range 100 {
		p.CustomerWroteAt(corpID, channel, fmt.Sprintf("wmOld%d", i), "hello", now.Add(-49*time.Hour))
	}
	return customers
}

// A gateway put in front of a running bot refuses no honest reply: with a backfill it knows every
// window, without one it says that it cannot know. The bot's cursor stands at the end: it pulls
// nothing old.
func TestGatewayComesLater(t *testing.T) {
	t.Parallel()
	for _, filled := range []bool{false, true} {
		t.Run(fmt.Sprintf("backfill=%v", filled), func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), nil)
			customers := conversations(r.platform, r.clock.Now())
			r.since(0) // the gateway's first moment
			verdict, reason := "unsure", "history_incomplete"
			if filled {
				r.backfills()
				verdict, reason = "pass", "window_open"
			}
			for _, customer := range customers {
				if a := r.reply(customer, verdict, reason); a.Errcode != 0 {
					t.Fatalf("%s: an honest reply got %s", customer, a.body)
				}
			}
			if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != len(customers) {
				t.Errorf("%d replies reached WeCom, want %d", n, len(customers))
			}
			if filled {
				r.reply("wmOld1", "refuse", "window_closed")
				r.reply("wmNever", "refuse", "window_closed")
			} else if a := r.reply("wmOld1", "unsure", "history_incomplete"); a.Errcode != 95002 {
				t.Errorf("WeCom itself still keeps the window: %s", a.body)
			}
			if n := strings.Count(r.log(), `"reason":"`+reason+`"`); n < len(customers) {
				t.Errorf("%d records say %s", n, reason)
			}
		})
	}
}

// backfillArgs is the command line of a backfill of the rig's company.
func (r *rig) backfillArgs() []string {
	r.Helper()
	dir := r.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		r.Fatal(err)
	}
	return []string{"windows", "backfill", corpID, "--secret-file", file, "--state", filepath.Join(dir, "state"), "--rate", "100",
		"--admin", "http://" + r.gateway.control.Addr().String(), "--api", "http://" + r.gateway.api.Addr().String()}
}

// backfills runs a backfill to its end.
func (r *rig) backfills() {
	r.Helper()
	code, out, errs := cli(r.T, r.backfillArgs()...)
	if code != exitGood || !strings.Contains(out, "its records are complete") {
		r.Fatalf("exit %d %s%s", code, out, errs)
	}
}

// A backfill that the gateway cannot take yet keeps its progress, and is reported by the next run.
func TestBackfillIsReportedAgain(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	conversations(r.platform, r.clock.Now())
	r.since(-time.Minute)
	var away atomic.Bool
	away.Store(true)
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.gateway.control.Addr().String()})
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, rq *http.Request) {
		body, _ := io.ReadAll(rq.Body)
		if away.Load() && strings.Contains(string(body), `"channels"`) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"code":"store_unavailable","message":"Redis does not answer; try again"}}`)
			return
		}
		rq.Body = io.NopCloser(bytes.NewReader(body))
		pass.ServeHTTP(w, rq)
	}))
	defer between.Close()
	args := append(r.backfillArgs(), "--admin", between.URL)
	if code, _, errs := cli(t, args...); code != exitBad || !strings.Contains(errs, "run the same command again to go on") {
		t.Fatalf("exit %d %s", code, errs)
	}
	away.Store(false)
	if code, out, errs := cli(t, args...); code != exitGood || !strings.Contains(errs, "going on with the backfill") || !strings.Contains(out, "its records are complete") {
		t.Fatalf("exit %d %s%s", code, out, errs)
	}
	if _, err := os.Stat(args[6]); !os.IsNotExist(err) {
		t.Errorf("the state file is still there: %v", err)
	}
}

// An interrupted backfill goes on where it was; one over which messages were missed proves nothing.
func TestBackfillResumes(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	conversations(r.platform, r.clock.Now())
	r.since(-time.Minute)
	complete := func(want bool) {
		t.Helper()
		if got, _, err := r.gateway.windows.Complete(context.Background(), corpID, channel); err != nil || got != want {
			t.Errorf("complete is %v, %v", got, err)
		}
	}
	args := r.backfillArgs()
	r.platform.FailNext("/cgi-bin/kf/sync_msg", 0, 48002) // the first page comes, the second does not
	code, _, errs := cli(t, args...)
	if code != exitBad || !strings.Contains(errs, "run the same command again") || strings.Contains(errs, secret) {
		t.Fatalf("exit %d %s", code, errs)
	}
	complete(false)
	if code, out, errs := cli(t, args...); code != exitGood || !strings.Contains(errs, "going on with the backfill") {
		t.Fatalf("exit %d %s%s", code, out, errs)
	}
	complete(true)
	if _, err := os.Stat(args[6]); !os.IsNotExist(err) {
		t.Errorf("the state file is still there: %v", err)
	}
	r.since(0)
	complete(true) // the gap began when the backfill did
	r.clock.Advance(time.Second)
	r.since(0)
	complete(false)
	code, _, errs = cli(t, append(r.backfillArgs(), "--rate", "0")...)
	if code != exitUsage {
		t.Errorf("exit %d %s", code, errs)
	}
	t.Setenv("REPLYGATE_CORP_SECRET", "")
	if code, _, errs := cli(t, "windows", "backfill", corpID); code != exitUsage || !strings.Contains(errs, "secret is missing") {
		t.Errorf("exit %d %s", code, errs)
	}
	wrong := r.backfillArgs()
	if err := os.WriteFile(wrong[4], []byte("wrong-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cli(t, wrong...); code != exitBad || !strings.Contains(errs, "errcode 40001") || strings.Contains(errs, "wrong-secret") {
		t.Errorf("exit %d %s", code, errs)
	}
	if a := r.adminCall("GET", "/v1/windows?corp_id="+corpID, ""); !strings.Contains(string(a.body), `"incomplete":true`) {
		t.Errorf("%s", a.body)
	}
}

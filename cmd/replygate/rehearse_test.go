package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/rehearsal"
	"replygate/store/storetest"
)

// rehearsed are the calls of the story: how often each is made before the lapse.
var rehearsed = []struct {
	path, body string
	times      int
}{
	{"/cgi-bin/externalcontact/add_msg_template", `{"chat_type":"single","external_userid":["` + wrote + `"],"text":{"content":"x"}}`, 2},
	{"/cgi-bin/externalcontact/get", ``, 3},
	{"/cgi-bin/kf/send_msg", replyTo(wrote), 4},
	{"/cgi-bin/kf/sync_msg", `{"open_kfid":"` + channel + `"}`, 1},
	{"/cgi-bin/user/list", ``, 5},
}

func (r *rig) rehearsal(query string) (report rehearsal.Report) {
	r.Helper()
	a := r.adminCall("GET", "/v1/rehearsal?corp_id="+corpID+query, "")
	if err := json.Unmarshal(a.body, &report); err != nil || a.StatusCode != 200 {
		r.Fatalf("HTTP %d, %v: %s", a.StatusCode, err, a.body)
	}
	return report
}

// The calls of an account in good standing are counted. The rehearsal says what would stop, and at
// the second of the lapse exactly that is refused.
func TestRehearsalComesTrue(t *testing.T) {
	eachStore(t, func(c *config.Config) {
		c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: c.Accounts[0].Subscription.ExpiresAt.Add(10*24*time.Hour + time.Hour)}
		c.Clients = []config.Client{{Name: "crm", Header: "User-Agent", Contains: "golden"}}
	}, func(r *rig) {
		r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
		r.sync()
		for _, c := range rehearsed {
			for range c.times {
				if a := r.call("POST", c.path, c.body); a.Gate.Verdict != "" {
					r.Fatalf("%s: %s", c.path, a.body)
				}
			}
		}
		for range 2 { // a second look counts nothing twice
			report := r.rehearsal("")
			stops := map[string]bool{}
			for _, row := range report.By {
				if row.Client != "crm" {
					r.Errorf("%+v", row)
				}
				stops[string(row.Capability)] = row.Verdict == gate.FateRefuse
			}
			if report.Calls != 17 || report.Refused != 5 || report.Standing != "lapsed" { // with gettoken
				r.Errorf("%+v", report)
			}
			if want := map[string]bool{"mass_message": true, "customer_details": true, "kf_reply": false, "kf_sync": false, "address_book": false, "token": false}; fmt.Sprint(stops) != fmt.Sprint(want) {
				r.Errorf("stops: %v", stops)
			}
		}
		at, err := time.Parse(time.RFC3339, r.rehearsal("").At)
		if err != nil {
			r.Fatal(err)
		}
		for _, after := range []bool{false, true} {
			moment := at.Add(-time.Second)
			if after {
				moment = at
			}
			r.clock.Advance(moment.Sub(r.clock.Now()))
			r.token = ""
			r.platform.CustomerWrites(corpID, channel, wrote, "hello again?")
			r.sync()
			refused := 0
			for _, c := range rehearsed {
				for range c.times {
					if r.call("POST", c.path, c.body).Gate.Verdict == "refuse" {
						refused++
					}
				}
			}
			if want := map[bool]int{true: 5}[after]; refused != want {
				r.Errorf("after the lapse: %v: %d calls are refused, want %d", after, refused, want)
			}
		}
		report := r.rehearsal("")
		if now := r.gateway.calls; now.Refresh(r.Context()) != nil {
			r.Fatal("no activity")
		}
		if made, refused, _ := r.gateway.calls.Activity(corpID); refused != 5 || made != report.Calls {
			r.Errorf("the activity is %d calls, %d refused; the rehearsal counts %d", made, refused, report.Calls)
		}
		// Those before the lapse were observed after their answers, the others judged.
		r.await("8 replies inside their window", func() bool {
			for _, row := range r.rehearsal("").By {
				if row.Capability == "kf_reply" {
					return row.InsideWindow != nil && *row.InsideWindow == 8 && row.Unobserved == 0
				}
			}
			return false
		})
	})
}

// Of an account in good standing the rehearsal names the bots whose bodies would be refused: as
// many as the gateway refuses once the account has lapsed.
func TestRehearsalNamesAmbiguousBodies(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: c.Accounts[0].Subscription.ExpiresAt.Add(10 * 24 * time.Hour)}
		c.Clients = []config.Client{{Name: "crm", Header: "User-Agent", Contains: "golden"}}
	})
	reply := replyTo(wrote)
	bodies := []struct {
		body, header string
		bad          bool
	}{
		{reply, "", false},
		{`{"touser":"wmOther",` + reply[1:], "", true},
		{`{"touser":"` + wrote + `",` + reply[1:], "", true},
		{`{"ToUser":"wmOther",` + reply[1:], "", true},
		{reply, "Content-Encoding: odd", true},
		{strings.Replace(reply, "hello", strings.Repeat("x", 2000), 1), "Content-Type: application/json", false},
	}
	send := func() (ambiguous int) {
		r.token = ""
		for _, c := range bodies {
			r.clock.Advance(time.Second)
			r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
			r.sync()
			var headers []string
			if c.header != "" {
				headers = []string{c.header}
			}
			a := r.call("POST", sendMsg, c.body, headers...)
			if a.Gate.Reason == "ambiguous_body" {
				ambiguous++
			} else if a.Errcode != 0 {
				t.Errorf("%s: %s", c.body, a.body)
			}
		}
		return ambiguous
	}
	want := int64(0)
	for _, c := range bodies {
		if c.bad {
			want++
		}
	}
	if n := send(); n != 0 {
		t.Errorf("%d calls of an account in good standing were refused", n)
	}
	var row rehearsal.Row
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v", row)
		}
	})
	r.await("the bodies to be looked at", func() bool {
		for _, by := range r.rehearsal("").By {
			if by.Capability == "kf_reply" {
				row = by
			}
		}
		return row.Ambiguous == want && row.Unobserved == 0
	})
	if row.Client != "crm" || row.Refused != want || row.InsideWindow == nil || *row.InsideWindow != int64(len(bodies))-want || !strings.Contains(row.Advice, "40058") {
		t.Errorf("%+v", row)
	}
	r.clock.Advance(12 * 24 * time.Hour)
	if n := send(); int64(n) != want {
		t.Errorf("after the lapse %d are refused, want %d", n, want)
	}
}

// Two gateways add up, calls count for whoever a token in memory, a path or nothing names, and what
// a gateway has not written is written when it stops.
func TestCountedCallsOfTwoGateways(t *testing.T) {
	c := storetest.Start(t).Config()
	r := newRig(t, c, withAnother)
	second, stop := r.startApart(c, withAnother)
	r.acquainted(second, 2)
	r.call("GET", "/cgi-bin/user/list", "")
	r.call("GET", "/cgi-bin/externalcontact/get", "") // refused
	r.callAt(second, "GET", "/cgi-bin/user/list", "") // its token is in Redis, and in no memory of this one
	raw(r, second.api.Addr().String(), request("GET", "/corp/"+corpID+"/cgi-bin/user/list?access_token=foreign", ""))
	raw(r, second.api.Addr().String(), request("GET", "/cgi-bin/externalcontact/get?access_token=foreign", ""))
	raw(r, second.api.Addr().String(), request("GET", "/replygate/healthz", ""))
	raw(r, second.api.Addr().String(), request("POST", "/replygate/preflight?access_token="+r.token, `{"calls":[{}]}`))
	if err := <-stop(); err != nil {
		r.Fatal(err)
	}
	found, err := r.gateway.calls.Read(r.Context(), 1, corpID, calls.Unknown)
	if err != nil {
		r.Fatal(err)
	}
	got := map[string]string{}
	for corp, lines := range found {
		for _, l := range lines {
			got[corp+" "+l.Path] = fmt.Sprintf("%d, refused %d", l.Calls, l.Refused)
		}
	}
	if want := map[string]string{
		corpID + " /cgi-bin/user/list": "2, refused 0", corpID + " /cgi-bin/externalcontact/get": "1, refused 1",
		corpID + " /cgi-bin/gettoken": "1, refused 0", "unknown /cgi-bin/user/list": "1, refused 0", "unknown /cgi-bin/externalcontact/get": "1, refused 1",
	}; fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("%v, want %v", got, want)
	}
}

const rehearseLog = `{"level":"info","msg":"request","time":"2026-11-22T12:00:00.000Z","method":"POST","path":"/cgi-bin/externalcontact/get","status":200,"corp_id":"ww1"}
{"level":"info","msg":"request","time":"2026-11-23T12:00:00.000Z","method":"POST","path":"/cgi-bin/kf/send_msg","status":200,"corp_id":"ww1"}
{"level":"info","msg":"request","time":"2026-11-23T12:00:00.000Z","method":"POST","path":"/cgi-bin/externalcontact/get","status":200}
`

// The command rehearses logs without a gateway, in both languages, as table, JSON and CSV.
func TestRehearseLogs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := write("c.yaml", "accounts:\n  - { corp_id: ww1, name: 鹿鸣, subscription: { expires_at: 2199-01-01T00:00:00+08:00, grace: 0s } }\n  - { corp_id: ww2 }\n")
	log := write("decisions.log", rehearseLog)
	for _, run := range []struct {
		args []string
		want []string // in the output, in order
	}{
		{nil, []string{"ww1  鹿鸣  lapsed", "From Jan 1, 2199, 00:00, 1 of 鹿鸣's 2 calls in these logs would be refused: 1 kind of interface, 1 bot.",
			"INTERFACE", "customer_details", "stops", "kf_reply", "in the window", "Not observed: 1 of the replies", "Calls with tokens that the gateway does not know", "customer_details"}},
		{[]string{"--language", "zh", "--at", "2198-12-31"}, []string{"2198 年 12 月 31 日 00:00 不会停用：届时状态为“有效”", "照常"}},
		{[]string{"--csv", "--corp", "ww1"}, []string{"corp_id,account,at,", "ww1,鹿鸣,2199-01-01T00:00:00.000+08:00,lapsed,customer_details,read and remark customers,unknown,1,refuse,no-customer-details,1,,", "kf_reply"}},
		{[]string{"--json", "--corp", "ww1"}, []string{`"corp_id": "ww1"`, `"refused": 1`}},
		{[]string{"--json"}, []string{`"accounts": [`, `"total": 1`}},
	} {
		code, out, errs := cli(t, append(append([]string{"rehearse", "-c", c}, run.args...), log)...)
		rest := out
		for _, text := range run.want {
			_, after, found := strings.Cut(rest, text)
			if !found {
				t.Errorf("%v: exit %d, %q is missing, or not in its place:\n%s%s", run.args, code, text, out, errs)
				break
			}
			rest = after
		}
	}
	for _, args := range [][]string{{"--at", "tomorrow"}, {"--language", "fr"}, {"--json", "--csv"}} {
		if code, out, _ := cli(t, append([]string{"rehearse", "-c", c, log}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	if code, _, errs := cli(t, "rehearse", "-c", c, "--corp", "wwNone", log); code != exitBad || !strings.Contains(errs, "has no account wwNone") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := cli(t, "rehearse", "-c", c, write("empty.log", "{}\n")); code != exitBad || !strings.Contains(errs, "no record of a call") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// The command asks a running gateway, page by page.
func TestRehearseCommand(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		for i := range 250 {
			at := c.Accounts[0].Subscription.ExpiresAt.Add(time.Duration(i+2) * time.Hour)
			c.Accounts = append(c.Accounts, config.Account{CorpID: fmt.Sprintf("ww%d", i), Subscription: &config.Subscription{ExpiresAt: at}})
		}
	})
	address := r.gateway.control.Addr().String()
	r.call("GET", "/cgi-bin/externalcontact/get", "")
	if code, out, errs := cli(t, "rehearse", "--admin", address, "--corp", corpID, "--language", "zh"); code != exitGood || !strings.Contains(out, "现在起，Golden 过去 7 天的 2 次调用中有 1 次会被拒绝") && !strings.Contains(out, "1 次调用中有 1 次会被拒绝") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, errs := cli(t, "rehearse", "--admin", address)
	if n := strings.Count(out, "No traffic of"); code != exitGood || n != 250 {
		t.Errorf("exit %d, %d accounts\n%s", code, n, errs)
	}
}

// Without an account that stops, the answer is in the language of the gateway too.
func TestRehearseNobody(t *testing.T) {
	t.Parallel()
	for language, want := range map[string]string{config.Chinese: "30 天内没有企业停用。", config.English: "No account stops within 30 days."} {
		var out bytes.Buffer
		if err := (rehearseOptions{}).print(&out, admin.RehearsalList{Language: language}); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %v %s", language, err, out.String())
		}
	}
}

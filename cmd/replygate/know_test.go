package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/replay"
	"replygate/ruletest"
	"replygate/store/storetest"
	"replygate/wecom"
)

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The rule sets that ship come out as their tests say, and the tests meet every rule.
func TestShippedRuleSets(t *testing.T) {
	for _, set := range []string{"reply-only-2024", "grandfathered-2023"} {
		c := file(t, "c.yaml", "accounts: [{ corp_id: ww1 }]\npolicy: { ruleset: "+set+" }\n")
		code, out, errs := cli(t, "test", "-c", c, "--cover-min", "100", "../../testdata/rules/"+set+".yaml")
		if code != exitGood || !strings.Contains(out, " passed, 0 failed") {
			t.Errorf("%s: exit %d\n%s%s", set, code, out, errs)
		}
	}
}

// planted is a rule set as rules of one's own, with one capability moved to another rule: where
// what refused lets pass, and what let pass refuses.
func planted(t *testing.T, set, capability string) gate.Gate {
	t.Helper()
	data, err := policy.RuleSet(set)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := config.ParseRuleSet(set, data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("planted", []byte("accounts: [{ corp_id: ww1 }]\npolicy: { ruleset: off }\n"))
	if err != nil {
		t.Fatal(err)
	}
	mistake := config.Rule{Name: config.Word{Text: "everything-else"}, Action: config.Word{Text: "refuse"}, Match: config.Match{Capabilities: []config.Word{{Text: capability}}}}
	for i := range rules.Rules {
		r := &rules.Rules[i]
		for j, w := range r.Match.Capabilities {
			if w.Text != capability {
				continue
			}
			if r.Action.Text != "pass" {
				mistake.Action.Text = "pass"
			}
			mistake.Name = r.Name
			r.Match.Capabilities = append(r.Match.Capabilities[:j:j], r.Match.Capabilities[j+1:]...)
			if len(r.Match.Capabilities) == 0 {
				r.Match.Capabilities = []config.Word{{Text: "school"}} // no other rule may become one about everything
				r.Name.Text += "-left"
			}
			break
		}
	}
	if mistake.Name.Text == "everything-else" { // the rule of that name comes later
		rules.Rules[len(rules.Rules)-1].Name.Text = "the-rest"
	}
	for i := range rules.Rules {
		if rules.Rules[i].Name == mistake.Name {
			rules.Rules[i].Name.Text += "-left"
		}
	}
	mistake.Match.Standings = []config.Word{{Text: "lapsed"}}
	c.Policy.Rules = append([]config.Rule{mistake}, rules.Rules...)
	g, err := gate.New("planted", c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A mistake in a rule set is caught by the tests that ship with it, whichever capability it is
// about.
func TestPlantedMistakesAreCaught(t *testing.T) {
	for _, set := range []string{"reply-only-2024", "grandfathered-2023"} {
		name := "../../testdata/rules/" + set + ".yaml"
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, capability := range wecom.Capabilities() {
			if capability == wecom.TokenCalls { // no rule of an operator applies to it
				continue
			}
			cases, err := ruletest.Parse(name, data)
			if err != nil {
				t.Fatal(err)
			}
			runner := ruletest.Runner{Gate: planted(t, set, string(capability))}
			caught := false
			for i := range cases {
				if cases[i].Name.Text != string(capability) {
					continue
				}
				r := runner.Run(t.Context(), name, &cases[i])
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				for _, f := range r.Failures {
					caught = caught || strings.Contains(strings.Join(f.Lines, "\n"), "verdict: ")
				}
			}
			if !caught {
				t.Errorf("%s: a mistake about %s is not caught", set, capability)
			}
		}
	}
}

func TestFailedCase(t *testing.T) {
	c := file(t, "c.yaml", "accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n")
	other := file(t, "other.yaml", "accounts: [{ corp_id: ww1 }]\n")
	cases := file(t, "cases.yaml", `- name: good
  steps:
    - call: { path: /cgi-bin/message/send }
      want: { verdict: pass }
    - { at: +1h, reload: `+other+` }
    - call: { path: /cgi-bin/externalcontact/get }
      want: { verdict: pass }
- name: bad
  steps:
    - call: { path: /cgi-bin/externalcontact/get }
      want: { verdict: pass, rule: details, errcode: 0 }
`)
	junit := filepath.Join(t.TempDir(), "junit.xml")
	code, out, errs := cli(t, "test", "-c", c, "--junit", junit, cases)
	want := cases + ":10:7: bad\n    - verdict: pass\n    + verdict: refuse\n    - rule: details\n    + rule: no-customer-details\n    - errcode: 0\n    + errcode: 48002\n1 passed, 1 failed\n"
	if code != exitBad || out != want || !strings.Contains(errs, "1 of 2 cases failed") {
		t.Errorf("exit %d\n%s%s\nwant\n%s", code, out, errs, want)
	}
	data, err := os.ReadFile(junit)
	var report struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	if err != nil || xml.Unmarshal(data, &report) != nil || report.Tests != 2 || report.Failures != 1 {
		t.Errorf("%v\n%s", err, data)
	}
	if code, _, errs := cli(t, "test", "-c", c, "--cover-min", "50", cases); code != exitBad || errs == "" {
		t.Errorf("coverage: exit %d %s", code, errs)
	}
	for text, want := range map[string]string{
		"- name: a\n": "case a has no steps",
		"- name: a\n  steps: [{ at: +1h, lapses: ww1 }, { at: +1m, lapses: ww1 }]\n":                                                  ":2:43: the step is before the one above it",
		"- name: a\n  steps: [{ at: yesterday, lapses: ww1 }]\n":                                                                      `:2:17: at cannot be "yesterday"`,
		"- name: a\n  steps: [{ call: { path: /a } }]\n":                                                                              "only one of call and want",
		"- name: a\n  steps: [{ lapses: ww1, renews: ww1 }]\n":                                                                        "a step has 2 events",
		"- name: a\n  steps: [{ call: { path: /a }, want: { verdict: passes } }]\n":                                                   "did you mean pass?",
		"- name: a\n  steps: [{ call: { pth: /a }, want: { verdict: pass } }]\n":                                                      "did you mean path?",
		"- name: a\n  steps: [{ lapses: ww2 }]\n":                                                                                     `there is no account "ww2"`,
		"- name: a\n  history: partly\n  steps: [{ lapses: ww1 }]\n":                                                                  `history cannot be "partly"`,
		"- steps: [{ lapses: ww1 }]\n":                                                                                                "a case has no name",
		"- name: a\n  steps: [{ times: 0, call: { path: /a }, want: { verdict: pass } }]\n":                                           "times cannot be 0",
		"- name: a\n  steps: [{ call: { path: a }, want: { verdict: pass } }]\n":                                                      "a call has no path",
		"- name: a\n  accounts: [{ corp_id: wwX }]\n  steps: [{ call: { path: /cgi-bin/kf/send_msg }, want: { verdict: refuse } }]\n": "",
	} {
		code, out, errs := cli(t, "test", "-c", c, file(t, "x.yaml", text))
		if want != "" && (code != exitBad || !strings.Contains(out+errs, want)) {
			t.Errorf("%s: exit %d %s%s, want %s", text, code, out, errs, want)
		}
	}
}

// explain tells of the running gateway, in either language, and of a candidate.
func TestExplain(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.writes(wrote)
	at := r.clock.Now()
	r.clock.Advance(47*time.Hour + 30*time.Minute)
	api := "http://" + r.gateway.control.Addr().String()
	code, out, errs := cli(t, "explain", "--admin", api, "--corp", corpID, "--body", replyTo(wrote), "--at", r.clock.Now().Format(time.RFC3339), "/cgi-bin/kf/send_msg")
	for _, want := range []string{
		"pass  window_open, rule reply-inside-the-window", "in 30 m 0 s, if nobody writes",
		`in-good-standing +no +it is about active, free, full, grace accounts, this one is lapsed`, `reply-inside-the-window +yes +it matches: reply`,
		`no-moments +not tried +reply-inside-the-window decides`, `account.standing +lapsed +configuration and clock`, `window.last +` + regexp.QuoteMeta(localTime(at)) + ` +Redis`,
		`window.replies_left +5 +Redis`,
	} {
		if code != exitGood || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("exit %d: no %q in\n%s%s", code, want, out, errs)
		}
	}
	if n := r.platform.Count("/cgi-bin/kf/send_msg"); n != 0 {
		t.Error("explain sends")
	}
	code, out, _ = cli(t, "explain", "--admin", api, "--corp", corpID, "--language", "zh", "/cgi-bin/externalcontact/get")
	if code != exitGood || !strings.Contains(out, "匹配：拒绝（refuse）") || !strings.Contains(out, "不会自行变化") {
		t.Errorf("exit %d\n%s", code, out)
	}
	candidate := file(t, "candidate.yaml", "accounts: [{ corp_id: "+corpID+", subscription: { expires_at: 2020-01-01T00:00:00Z } }]\npolicy:\n  rules:\n    - { name: details, match: { capabilities: [customer_details] }, until: 2099-01-01T00:00:00Z, action: pass }\n")
	code, out, errs = cli(t, "explain", "--admin", api, "--candidate", candidate, "--corp", corpID, "--json", "/cgi-bin/externalcontact/get")
	var e struct {
		Verdict, Rule, Reason string
		ChangesAt             string `json:"changes_at"`
	}
	if err := json.Unmarshal([]byte(out), &e); code != exitGood || err != nil || e.Verdict != "pass" || e.Rule != "details" || !strings.HasPrefix(e.ChangesAt, "2099-01-01") {
		t.Errorf("exit %d %v\n%s%s", code, err, out, errs)
	}
	now := "--at=" + r.clock.Now().Format(time.RFC3339)
	for _, test := range []struct{ args, want string }{
		{"--body " + replyTo(wrote), "pass  window_open"},
		{"--body " + replyTo("wmStranger"), "refuse  window_closed"},
		{"--wrote 3h --body " + replyTo("wmStranger"), "pass  window_open"},
		{"--wrote 49h --body " + replyTo("wmStranger"), "refuse  window_closed"},
	} {
		args := append([]string{"explain", "--admin", api, "--candidate", candidate, "--corp", corpID, now}, strings.Fields(test.args)...)
		if code, out, errs := cli(t, append(args, "/cgi-bin/kf/send_msg")...); code != exitGood || !strings.HasPrefix(out, test.want) {
			t.Errorf("%s: exit %d\n%s%s", test.args, code, out, errs)
		}
	}
	if code, _, errs := cli(t, "explain", "/cgi-bin/kf/send_msg"); code != exitUsage || !strings.Contains(errs, "give --corp") {
		t.Errorf("exit %d %s", code, errs)
	}
}

// A preflight tells of a thousand customers, to operators and to bots, and changes nothing.
func TestPreflight(t *testing.T) {
	eachStore(t, reauthenticating, func(r *rig) {
		r.writes(wrote)
		r.reply(wrote, "pass", "window_open")
		var calls []string
		for i := range 998 {
			calls = append(calls, fmt.Sprintf(`{"channel":%q,"customer":"wm%d"}`, channel, i))
		}
		calls = append(calls, fmt.Sprintf(`{"endpoint":"/cgi-bin/kf/send_msg","channel":%q,"customer":%q}`, channel, wrote), `{"endpoint":"/cgi-bin/externalcontact/get"}`)
		body := `"calls":[` + strings.Join(calls, ",") + `]}`
		for name, a := range map[string]answer{
			"operator": r.adminCall("POST", "/v1/preflight", `{"corp_id":"`+corpID+`",`+body),
			"bot":      r.call("POST", "/replygate/preflight", "{"+body),
		} {
			var out struct {
				Errcode int
				Results []gate.Outlook
			}
			if err := json.Unmarshal(a.body, &out); err != nil || len(out.Results) != 1000 || out.Errcode != 0 {
				r.Fatalf("%s: %v %.300s", name, err, a.body)
			}
			if o := out.Results[0]; o.Verdict != "refuse" || o.Reason != "window_closed" {
				r.Errorf("%s: an unknown caller: %+v", name, o)
			}
			if o := out.Results[998]; o.Verdict != "pass" || o.RepliesLeft == nil || *o.RepliesLeft != 4 || o.WindowCloses == "" || o.Rule != "reply-inside-the-window" {
				r.Errorf("%s: one who wrote: %+v", name, o)
			}
			if o := out.Results[999]; o.Reason != "rule_refuse" || o.RepliesLeft != nil {
				r.Errorf("%s: details: %+v", name, o)
			}
		}
		r.reply(wrote, "pass", "window_open")
		if left := r.reply(wrote, "pass", "window_open").Header.Get("Replygate-Replies-Left"); left != "2" {
			r.Errorf("a preflight counts: %s left", left)
		}
		for _, bad := range []struct{ token, body, code string }{
			{r.token, `{"calls":[]}`, "40058"}, {r.token, `{"calls":[{"customr":"a"}]}`, "40058"}, {r.token, `{"calls":[{"endpoint":"x"}]}`, "40058"},
			{"strange", `{"calls":[{}]}`, "42001"}, {"", `{"calls":[{}]}`, "41001"},
		} {
			a := raw(r, r.gateway.api.Addr().String(), request("POST", "/replygate/preflight?access_token="+bad.token, bad.body))
			if a.Header.Get("Error-Code") != bad.code {
				r.Errorf("%+v: %s", bad, a.body)
			}
		}
		if n := len(r.platform.Calls()); r.platform.Count("/replygate/preflight") != 0 || n == 0 {
			r.Error("a preflight reached WeCom")
		}
	})
}

// replay tells who would newly be refused or passed, and fails over a threshold.
func TestReplay(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.writes(wrote)
	for range 3 {
		r.reply(wrote, "pass", "window_open")
	}
	r.reply("wmStranger", "refuse", "window_closed")
	for range 5 {
		r.call("GET", "/cgi-bin/externalcontact/get", "")
	}
	r.call("POST", "/cgi-bin/message/send", "{}")
	log := file(t, "log", r.log())
	account := "accounts: [{ corp_id: " + corpID + ", subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n"
	candidate := file(t, "c.yaml", account+"policy:\n  rules:\n    - { name: details, match: { capabilities: [customer_details] }, action: pass }\n    - { name: no-replies, match: { capabilities: [kf_reply], msgtypes: [text] }, action: refuse }\n")
	code, out, errs := cli(t, "replay", "-c", candidate, "--threshold", "50%", log)
	for _, want := range []string{
		"^12 calls judged once more: 4 as before" /* gettoken and sync_msg too */, "3 newly refused, 0 newly unsure, 5 newly passed", `RULE +NEWLY NOT SENT +NEWLY PASSED\n(?s:.*)details +0 +5`, `no-replies +3 +0`,
		`kf_reply +3 +0`, `EXAMPLE +AT`, `pass window_open +refuse rule_refuse`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitBad || !strings.Contains(errs, "would tip over, more than 50%") {
		t.Errorf("exit %d %s", code, errs)
	}
	same := file(t, "same.yaml", account)
	if code, out, errs := cli(t, "replay", "-c", same, "--threshold", "0", log); code != exitGood || !strings.Contains(out, "0 newly refused, 0 newly unsure, 0 newly passed") {
		t.Errorf("the same rules: exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs := cli(t, "replay", "-c", same, file(t, "empty", "no record\n{}\n")); code != exitBad || !strings.Contains(errs, "no record that could be judged") {
		t.Errorf("no records: exit %d %s", code, errs)
	}
}

// Ids are hashed in records if the configuration says so, and such records can be replayed.
func TestHashedIDs(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Log.IDs, c.Log.IDsKey = config.Hashed, "a key of many letters" })
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	r.reply(wrote, "pass", "window_open")
	log := r.log()
	ids := regexp.MustCompile(`"customers":\["(h:[0-9a-f]{32})"\]`).FindAllStringSubmatch(log, -1)
	if strings.Contains(log, wrote) || len(ids) != 2 || ids[0][1] != ids[1][1] {
		t.Errorf("%s", log)
	}
	report, err := replay.Run(r.gateway.inForce(), strings.NewReader(log), func(int64) {})
	if err != nil || report.Calls < 2 || report.Changed() != 0 {
		t.Errorf("%+v %v", report, err)
	}
}

// A million records are judged once more, in flat memory.
func BenchmarkReplayMillion(b *testing.B) {
	c, err := config.Parse("bench", []byte("accounts: [{ corp_id: wwGolden, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\npolicy:\n  rules:\n    - { name: r, match: { capabilities: [kf_reply], msgtypes: [video] }, action: refuse }\n"))
	if err != nil {
		b.Fatal(err)
	}
	set, err := compile("bench", c)
	if err != nil {
		b.Fatal(err)
	}
	line := `{"level":"info","time":"2026-11-25T23:43:07.967Z","msg":"decision","id":"04c88eee882e608f","at":"2026-11-26T00:44:07.000Z","corp_id":"wwGolden","account":"Golden","standing":"lapsed","endpoint":"/cgi-bin/kf/send_msg","capability":"kf_reply","verdict":"pass","reason":"window_open","rule":"reply-inside-the-window","forwarded":true,"read":true,"msgtype":"text","channel":"wkGolden","recipients":1,"customers":["wmWroteGolden"],"windows":[{"state":"open","last":1795653847000,"left":4}],"window_closes":"2026-11-27T23:44:07Z","replies_left":4}` + "\n"
	for b.Loop() {
		report, err := replay.Run(&set.Gate, &repeated{line: line, left: 1_000_000}, func(int64) {})
		if err != nil || report.Calls != 1_000_000 || report.Changed() != 0 {
			b.Fatalf("%+v %v", report, err)
		}
	}
}

// repeated reads a line so many times.
type repeated struct {
	line string
	at   int
	left int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) && r.left > 0 {
		c := copy(p[n:], r.line[r.at:])
		n += c
		if r.at += c; r.at == len(r.line) {
			r.at = 0
			r.left--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

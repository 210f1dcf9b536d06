package ruletest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"replygate/config"
	"replygate/gate"
	"replygate/ruletest"
)

func newGate(t *testing.T) gate.Gate {
	t.Helper()
	c, err := config.Parse("c.yaml", []byte("accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("c.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestRun compares the members of want one by one, and goes on with the next step after a failure.
func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cases, err := ruletest.Parse("cases.yaml", []byte(`
- name: one
  steps:
    - call: { path: /cgi-bin/externalcontact/get }
      want: { verdict: refuse, forwarded: false, errmsg: subscription has lapsed, shadow: refuse }
    - call: { path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","msgtype":"text"}' }
      want: { verdict: pass, replies_left: 4 }
    - inbound: { channel: wk, customer: wm }
    - call: { path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","msgtype":"text"}' }
      want: { verdict: pass, rule: reply-inside-the-window, replies_left: 4 }
`))
	if err != nil {
		t.Fatal(err)
	}
	r := ruletest.Runner{Gate: newGate(t)}.Run(t.Context(), "cases.yaml", &cases[0])
	var out bytes.Buffer
	ruletest.Print(&out, []ruletest.Result{r})
	want := "cases.yaml:4:7: one\n    - shadow: refuse\n    + shadow: none\ncases.yaml:6:7: one\n    - verdict: pass\n    + verdict: refuse\n    - replies_left: 4\n    + replies_left: 0\n"
	if r.Good() || out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if unmet := ruletest.Coverage([]string{"no-customer-details", "no-moments", "reply-inside-the-window"}, []ruletest.Result{r}); strings.Join(unmet, " ") != "no-moments" {
		t.Errorf("unmet: %v", unmet)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "replygate-test-") {
			t.Errorf("a case leaves %s", e.Name())
		}
	}
}

// TestWhatCallsConsume follows reservations and codes: a call that is not forwarded consumes
// nothing, and expired keys are gone.
func TestWhatCallsConsume(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const onEvent = `{ path: /cgi-bin/kf/send_msg_on_event, body: '{"code":"C","msgtype":"text"}' }`
	const card = `{ path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","msgtype":"business_card"}' }`
	const reply = `{ path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","msgtype":"text"}' }`
	for name, steps := range map[string]string{
		"a refused call does not consume its code": `
    - enters: { channel: wk, customer: wm, code: C }
    - { at: +30s, call: ` + onEvent + `, want: { verdict: refuse, reason: code_expired } }
    - { at: +31s, inbound: { channel: wk, customer: wm } }
    - { at: +32s, call: ` + onEvent + `, want: { verdict: pass, reason: window_open } }
    - { at: +33s, call: ` + onEvent + `, want: { verdict: refuse, reason: code_used } }`,
		"a code is live for twenty seconds": `
    - enters: { channel: wk, customer: wm, code: C }
    - { at: +20s, call: ` + onEvent + `, want: { verdict: refuse, reason: code_expired } }
    - enters: { channel: wk, customer: wm, code: D }
    - { at: +39s, call: ` + strings.Replace(onEvent, `"C"`, `"D"`, 1) + `, want: { verdict: pass, reason: code_live } }`,
		"an unsure call does not consume its code": `
    - enters: { channel: wk, customer: wm, code: C }
    - { at: +30s, call: ` + onEvent + `, want: { verdict: unsure, reason: history_incomplete, forwarded: false } }
    - { redis: down }
    - { call: ` + onEvent + `, want: { verdict: unsure, reason: store_unavailable, forwarded: false } }
    - { redis: up }
    - inbound: { channel: wk, customer: wm }
    - { at: +31s, call: ` + onEvent + `, want: { verdict: pass, reason: window_open } }
  history: incomplete`,
		"a code is gone after 48 hours": `
    - enters: { channel: wk, customer: wm, code: C }
    - { at: +47h59m59s, inbound: { channel: wk, customer: wm } }
    - { at: +48h1s, call: ` + onEvent + `, want: { verdict: refuse, reason: code_unknown } }`,
		"a used code is remembered as long": `
    - enters: { channel: wk, customer: wm, code: C }
    - { call: ` + onEvent + `, want: { verdict: pass, reason: code_live } }
    - { at: +47h59m59s, call: ` + onEvent + `, want: { verdict: refuse, reason: code_used } }`,
		"a refused reply is not counted": `
    - inbound: { channel: wk, customer: wm }
    - { call: ` + card + `, times: 6, want: { verdict: refuse, rule: no-adding-customers } }
    - { call: ` + reply + `, want: { verdict: pass, replies_left: 4 } }`,
	} {
		cases, err := ruletest.Parse("cases.yaml", []byte("- name: "+name+"\n  steps:"+steps+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		r := ruletest.Runner{Gate: newGate(t)}.Run(t.Context(), "cases.yaml", &cases[0])
		if !r.Good() {
			t.Errorf("%s: %v %+v", name, r.Err, r.Failures)
		}
	}
}

// runCase parses and runs one case, given by the lines below its name.
func runCase(t *testing.T, r ruletest.Runner, lines string) ruletest.Result {
	t.Helper()
	cases, err := ruletest.Parse("f", []byte("- name: a\n"+lines))
	if err != nil {
		t.Fatal(err)
	}
	return r.Run(t.Context(), "f", &cases[0])
}

// configured compiles a configuration with a lapsed account ww1 and a paying one ww2.
func configured(t *testing.T, more string) gate.Gate {
	t.Helper()
	c, err := config.Parse("c.yaml", []byte("accounts: [{ corp_id: ww1, entity: acme, subscription: { expires_at: 2020-01-01T00:00:00Z } }, { corp_id: ww2 }]\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("c.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const (
	details = `call: { path: /cgi-bin/externalcontact/get }`
	replyWM = `call: { path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","msgtype":"text"}' }`
)

// TestEvents shows the effect of every event, on the calls before and after it.
func TestEvents(t *testing.T) {
	t.Parallel()
	const rules = `policy:
  rules:
    - { name: tags-on-pc, match: { capabilities: [customer_tags], clients: [pc] }, action: pass }
    - { name: tags-elsewhere, match: { capabilities: [customer_tags], clients: [unknown] }, action: refuse, refusal: { errcode: 48003, errmsg: use the PC } }
    - { name: moments-of-2027, match: { capabilities: [customer_moments] }, from: 2027-01-01T00:00:00Z, action: pass }
clients: [{ name: pc, networks: [10.0.0.0/8] }]
`
	g := configured(t, rules)
	for name, steps := range map[string]string{
		"nobody wrote": `
    - { ` + replyWM + `, want: { verdict: refuse, reason: window_closed, forwarded: false, errcode: 95002 } }`,
		"a customer writes": `
    - inbound: { channel: wk, customer: wm }
    - { ` + replyWM + `, want: { verdict: pass, reason: window_open, forwarded: true, errcode: 0, replies_left: 4 } }`,
		"another customer writes": `
    - inbound: { channel: wk, customer: wmOther }
    - { ` + replyWM + `, want: { reason: window_closed } }`,
		"on another channel": `
    - inbound: { channel: wkOther, customer: wm }
    - { ` + replyWM + `, want: { reason: window_closed } }`,
		"to another corp": `
    - inbound: { corp_id: ww2, channel: wk, customer: wm }
    - { ` + replyWM + `, want: { reason: window_closed } }`,
		"48 hours pass": `
    - inbound: { channel: wk, customer: wm }
    - { at: +47h59m59.999s, ` + replyWM + `, want: { reason: window_open } }
    - { at: +48h, ` + replyWM + `, want: { reason: window_closed } }`,
		"five replies": `
    - inbound: { channel: wk, customer: wm }
    - { at: +1s, ` + replyWM + `, times: 5, want: { verdict: pass } }
    - { at: +2s, ` + replyWM + `, times: 2, want: { reason: replies_used_up, errcode: 95001, replies_left: 0 } }
    - { at: +3s, inbound: { channel: wk, customer: wm } }
    - { at: +3s, ` + replyWM + `, want: { reason: window_open, replies_left: 4 } }`,
		"a subscription ends": `
    - { call: { corp_id: ww2, path: /cgi-bin/externalcontact/get }, want: { verdict: pass, reason: not_judged } }
    - lapses: ww2
    - { call: { corp_id: ww2, path: /cgi-bin/externalcontact/get }, want: { verdict: refuse, rule: no-customer-details } }`,
		"a subscription is renewed": `
    - { ` + details + `, want: { verdict: refuse } }
    - renews: ww1
    - { ` + details + `, want: { verdict: pass, rule: in-good-standing } }`,
		"and ends once more": `
    - renews: ww1
    - { at: +1h, lapses: ww1 }
    - { ` + details + `, want: { verdict: refuse } }`,
		"Redis is away": `
    - inbound: { channel: wk, customer: wm }
    - redis: down
    - { ` + replyWM + `, want: { verdict: unsure, reason: store_unavailable, forwarded: false, errcode: -1 } }
    - { ` + details + `, want: { verdict: refuse, rule: no-customer-details } }
    - redis: up
    - { ` + replyWM + `, want: { verdict: pass, replies_left: 4 } }`,
		"another client": `
    - { call: { path: /cgi-bin/externalcontact/get_corp_tag_list, client: pc }, want: { rule: tags-on-pc, forwarded: true } }
    - { call: { path: /cgi-bin/externalcontact/get_corp_tag_list }, want: { rule: tags-elsewhere, errcode: 48003, errmsg: use the PC } }`,
		"an instant of a rule": `
    - { call: { path: /cgi-bin/externalcontact/add_moment_task }, want: { rule: no-moments } }
    - { at: 2026-12-31T23:59:59.999Z, call: { path: /cgi-bin/externalcontact/add_moment_task }, want: { rule: no-moments } }
    - { at: 2027-01-01T00:00:00Z, call: { path: /cgi-bin/externalcontact/add_moment_task }, want: { rule: moments-of-2027 } }`,
		"a path and a body with two readings": `
    - { call: { path: /cgi-bin/kf/%73end_msg }, want: { reason: ambiguous_path } }
    - { call: { path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","touser":"wn"}' }, want: { reason: ambiguous_body } }
    - { call: { path: /cgi-bin/kf/send_msg, body: '{"touser":"wm","open_kfid":"wk","x":"&touser=B&"}' }, want: { reason: window_closed } }
    - { call: { path: /cgi-bin/kf/send_msg, content_type: application/x-www-form-urlencoded, body: '{"touser":"wm","open_kfid":"wk","x":"&touser=B&"}' }, want: { reason: ambiguous_body } }`,
		"an unlisted corp": `
    - { call: { corp_id: ww3, path: /cgi-bin/externalcontact/get }, want: { reason: unlisted_account } }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := runCase(t, ruletest.Runner{Gate: g}, "  steps:"+steps); !r.Good() {
				t.Errorf("%v %+v", r.Err, r.Failures)
			}
		})
	}
}

// TestCaseSettings has accounts, history and start of a case, and what they are by default.
func TestCaseSettings(t *testing.T) {
	t.Parallel()
	g := configured(t, "policy: { cold_start: refuse, rules: [{ name: in-2026, match: { capabilities: [customer_tags] }, until: 2026-01-01T00:00:00.001Z, action: pass }] }\n")
	for name, lines := range map[string]string{
		"accounts of the case": `
  accounts: [{ corp_id: wwA, subscription: { expires_at: 2025-12-31T00:00:00Z, grace: 24h } }, { corp_id: wwB }]
  steps:
    - { ` + details + `, want: { verdict: refuse, rule: no-customer-details } }
    - { call: { corp_id: wwB, path: /cgi-bin/externalcontact/get }, want: { verdict: pass } }
    - { call: { corp_id: ww1, path: /cgi-bin/externalcontact/get }, want: { reason: unlisted_account } }`,
		"an incomplete history": `
  history: incomplete
  steps:
    - { ` + replyWM + `, want: { verdict: refuse, reason: history_incomplete } }
    - { at: +48h, ` + replyWM + `, want: { verdict: refuse, reason: window_closed } }`,
		"a complete history": `
  history: complete
  steps:
    - { ` + replyWM + `, want: { verdict: refuse, reason: window_closed } }`,
		"the default start": `
  steps:
    - { call: { path: /cgi-bin/externalcontact/get_corp_tag_list }, want: { rule: in-2026 } }
    - { at: +1ms, call: { path: /cgi-bin/externalcontact/get_corp_tag_list }, want: { rule: no-customer-details } }`,
		"another start": `
  start: 2019-12-31T23:59:59Z
  steps:
    - { ` + details + `, want: { rule: in-good-standing } }
    - { at: +1s, ` + details + `, want: { rule: no-customer-details } }`,
	} {
		if r := runCase(t, ruletest.Runner{Gate: g}, lines); !r.Good() {
			t.Errorf("%s: %v %+v", name, r.Err, r.Failures)
		}
	}
}

// TestReload changes the configuration in the middle of a case: windows stay.
func TestReload(t *testing.T) {
	t.Parallel()
	var loaded []string
	r := ruletest.Runner{Gate: configured(t, ""), Load: func(path string) (gate.Gate, error) {
		loaded = append(loaded, path)
		if path == "broken.yaml" {
			return gate.Gate{}, errors.New("broken.yaml:1:1: accounts is missing")
		}
		return configured(t, "policy: { ruleset: off }\n"), nil
	}}
	result := runCase(t, r, `  steps:
    - inbound: { channel: wk, customer: wm }
    - { `+details+`, want: { verdict: refuse } }
    - reload: off.yaml
    - { `+details+`, want: { verdict: pass } }
`)
	if !result.Good() || !slices.Equal(loaded, []string{"off.yaml"}) {
		t.Errorf("%v %+v, loaded %v", result.Err, result.Failures, loaded)
	}
	result = runCase(t, r, "  steps: [{ "+details+", want: { verdict: pass } }, { reload: broken.yaml }, { "+details+", want: { verdict: pass } }]\n")
	if result.Err == nil || result.Err.Error() != "f:2:86: broken.yaml:1:1: accounts is missing" || len(result.Failures) != 1 || result.Good() {
		t.Errorf("%v %+v", result.Err, result.Failures)
	}
}

// TestWant has one member of want at a time that differs from the decision of one call.
func TestWant(t *testing.T) {
	t.Parallel()
	g := configured(t, "policy: { rules: [{ name: soon, match: { capabilities: [kf_reply] }, action: refuse, mode: shadow }] }\n")
	for want, lines := range map[string][]string{
		"{}": nil,
		"{ verdict: pass, rule: reply-inside-the-window, reason: window_open, forwarded: true, errcode: 0, shadow: refuse, replies_left: 4 }": nil,
		"{ verdict: refuse }":                 {"- verdict: refuse", "+ verdict: pass"},
		"{ rule: other }":                     {"- rule: other", "+ rule: reply-inside-the-window"},
		"{ reason: window_closed }":           {"- reason: window_closed", "+ reason: window_open"},
		"{ forwarded: false }":                {"- forwarded: false", "+ forwarded: true"},
		"{ errcode: 95002 }":                  {"- errcode: 95002", "+ errcode: 0"},
		"{ errmsg: lapsed }":                  {"- errmsg: lapsed", "+ errmsg: "},
		"{ shadow: unsure }":                  {"- shadow: unsure", "+ shadow: refuse"},
		"{ replies_left: 0 }":                 {"- replies_left: 0", "+ replies_left: 4"},
		"{ verdict: refuse, errcode: 95002 }": {"- verdict: refuse", "+ verdict: pass", "- errcode: 95002", "+ errcode: 0"},
	} {
		r := runCase(t, ruletest.Runner{Gate: g}, "  steps: [{ inbound: { channel: wk, customer: wm } }, { "+replyWM+", want: "+want+" }]\n")
		if lines == nil {
			if !r.Good() {
				t.Errorf("%s: %v %+v", want, r.Err, r.Failures)
			}
			continue
		}
		if r.Err != nil || len(r.Failures) != 1 || !slices.Equal(r.Failures[0].Lines, lines) || r.Failures[0].At != (config.Position{Line: 2, Col: 55}) || r.Good() {
			t.Errorf("%s: %v %+v", want, r.Err, r.Failures)
		}
		if !r.Rules["reply-inside-the-window"] || !r.Rules["soon"] || len(r.Rules) != 2 {
			t.Errorf("%s: rules %v", want, r.Rules)
		}
	}
}

// TestTimesStopAtAFailure makes a call until it fails: it is one failure, and the rest is not made.
func TestTimesStopAtAFailure(t *testing.T) {
	t.Parallel()
	r := runCase(t, ruletest.Runner{Gate: configured(t, "")}, `  steps:
    - inbound: { channel: wk, customer: wm }
    - { at: +1s, `+replyWM+`, times: 100, want: { verdict: pass } }
    - { at: +2s, `+replyWM+`, want: { verdict: refuse } }
`)
	if r.Err != nil || len(r.Failures) != 1 || !slices.Equal(r.Failures[0].Lines, []string{"- verdict: pass", "+ verdict: refuse"}) {
		t.Errorf("%v %+v", r.Err, r.Failures)
	}
}

// TestErrors ends cases that cannot be run to the end, with the place of the step.
func TestErrors(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	g := configured(t, "")
	for lines, want := range map[string]string{
		"  steps: [{ lapses: ww1 }, { lapses: ww9 }, { redis: up }]\n": `f:2:28: there is no account "ww9"`,
		"  steps: [{ renews: WW1 }]\n":                                 `f:2:11: there is no account "WW1"`,
		"  accounts: [{ corp_id: wwA }]\n  steps: [{ lapses: ww1 }]\n": `f:3:11: there is no account "ww1"`,
	} {
		if r := runCase(t, ruletest.Runner{Gate: g}, lines); r.Err == nil || r.Err.Error() != want || r.Good() {
			t.Errorf("%s: %v", lines, r.Err)
		}
	}
	cases, err := ruletest.Parse("f", []byte("- name: a\n  steps: [{ inbound: { channel: wk, customer: wm } }]\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := (ruletest.Runner{Gate: g}).Run(ctx, "f", &cases[0]); !errors.Is(r.Err, context.Canceled) {
		t.Errorf("a test that is stopped: %v", r.Err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("%v left in the temporary directory, %v", left, err)
	}
}

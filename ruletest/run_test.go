package ruletest_test

import (
	"bytes"
	"os"
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

// TestWhatCallsConsume follows reservations and codes: a call that is not forwarded consumes nothing,
// and expired keys are gone.
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

// TestParseFindsWhatHasNoEffect reports what is legal and without effect as a mistake.
func TestParseFindsWhatHasNoEffect(t *testing.T) {
	for text, want := range map[string]string{
		"- name: a\n  steps: [{ times: 2, inbound: { customer: wm } }]\n": "f:2:11: times has no effect on a step without a call",
	} {
		if _, err := ruletest.Parse("f", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("- name: a\n  steps: [{ at: +1h, lapses: ww1 }, { times: 2, call: { path: /a }, want: { verdict: pass } }]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := ruletest.Parse("f", data)
		if err == nil && len(cases) > 0 && cases[0].Name.Text == "" {
			t.Error("a case without a name is taken")
		}
	})
}

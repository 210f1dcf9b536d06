package replay_test

import (
	"fmt"
	"strings"
	"testing"

	"replygate/gate"
	"replygate/replay"
)

// line is a decision record of ww1 at noon, with more members.
func line(endpoint, more string) string {
	return fmt.Sprintf(`{"msg":"decision","id":"a","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":%q,"verdict":"pass","reason":"x","rule":"r","forwarded":true,%s}`, endpoint, more)
}

// judged is the outcome of a line as text: verdict, reason and rule, or the error.
func judged(g *gate.Gate, line string) string {
	o, err := replay.Judge(g, []byte(line))
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(o.Verdict+" "+o.Reason+" "+o.Rule), " ")
}

// TestLinesThatAreNoRecords tells lines about something else from records that are damaged.
func TestLinesThatAreNoRecords(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	const other = "no record of a call"
	for name, c := range map[string]struct{ line, want string }{
		"an object":                     {`{}`, other},
		"another message":               {`{"msg":"serving","at":"2026-11-22T12:00:00Z","endpoint":"/cgi-bin/kf/send_msg"}`, other},
		"a callback":                    {`{"msg":"callback","path":"/callback","corp_id":"ww1"}`, other},
		"a decision without an instant": {`{"msg":"decision","endpoint":"/cgi-bin/kf/send_msg"}`, other},
		"a decision without a path":     {`{"msg":"decision","at":"2026-11-22T12:00:00Z"}`, other},
		"a failure":                     {`{"msg":"decision","at":"2026-11-22T12:00:00Z","endpoint":"/x","verdict":"error"}`, other},
		"a request with a decision":     {`{"msg":"request","time":"2026-11-22T12:00:00.000Z","path":"/x","decision_id":"a"}`, other},
		"a request that failed":         {`{"msg":"request","time":"2026-11-22T12:00:00.000Z","path":"/x","error_kind":"upstream_timeout"}`, other},
		"a failed one of before":        {`{"msg":"request","time":"2026-11-22T12:00:00.000Z","path":"/x","fault":"upstream_timeout"}`, other},
		"a request without a path":      {`{"msg":"request","time":"2026-11-22T12:00:00.000Z"}`, other},
		"a request with a damaged time": {`{"msg":"request","time":"noon","path":"/x"}`, `parsing time "noon"`},
		"a request without a time":      {`{"msg":"request","path":"/x"}`, `parsing time ""`},
		"a damaged instant":             {`{"msg":"decision","at":"noon","endpoint":"/x"}`, "not JSON as the gateway writes it"},
		"another type":                  {`{"msg":"decision","at":"2026-11-22T12:00:00Z","endpoint":"/x","recipients":"two"}`, "not JSON as the gateway writes it"},
		"a name twice":                  {`{"msg":"decision","msg":"request"}`, "not JSON as the gateway writes it"},
		"cut off":                       {`{"msg":"decision","at":"2026-11-22T12:00:00Z","endp`, "not JSON as the gateway writes it"},
		"an array":                      {`[]`, "not JSON as the gateway writes it"},
		"nothing":                       {``, "not JSON as the gateway writes it"},
	} {
		if got := judged(g, c.line); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A broken record is told without Go's types.
func TestUnreadableRecords(t *testing.T) {
	for _, line := range []string{"{", `{"verdict":5}`, `{"kind":"decision","at":"yesterday"}`} {
		if _, err := replay.Judge(nil, []byte(line)); err == nil || err.Error() != "not JSON as the gateway writes it: copy the whole line from log.decisions" {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestRequestsThatWereNotJudged decides access records: under rules that ask for no more than the
// path they may be refused.
func TestRequestsThatWereNotJudged(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	const request = `{"msg":"request","time":%q,"path":%q,"corp_id":"ww1"}`
	for _, c := range []struct{ time, path, want string }{
		{"2026-11-22T12:00:00.000Z", "/cgi-bin/user/get", "pass not_judged not-customer-contact"},
		{"2026-11-22T20:00:00.000+0800", "/cgi-bin/externalcontact/get", "refuse rule_refuse no-customer-details"},
		{"2019-12-31T23:59:59.999Z", "/cgi-bin/externalcontact/get", "pass not_judged in-good-standing"},
		{"2020-01-01T00:00:00.000Z", "/cgi-bin/externalcontact/get", "refuse rule_refuse no-customer-details"},
		{"2026-11-22T12:00:00.000Z", "/cgi-bin/kf/send_msg", "the record does not hold what the call says"},
		{"2026-11-22T12:00:00.000Z", "/cgi-bin/%6bf/send_msg", "the record does not hold the path as it was sent"},
		{"2026-11-22T12:00:00.000Z", "/cgi-bin/kf/…", "the record does not hold the path as it was sent"},
	} {
		if got := judged(g, fmt.Sprintf(request, c.time, c.path)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.time, c.path, got, c.want)
		}
	}
}

// TestWindowStates decides replies by the state on record, in every word that a record can have.
func TestWindowStates(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	const reply = `"read":true,"msgtype":"text","channel":"wk","recipients":1,"customers":["wm"]`
	for windows, want := range map[string]string{
		`[{"state":"open","last":1795348800000,"left":4,"counted":true}]`: "pass window_open reply-inside-the-window",
		`[{"state":"open","last":1795348800000}]`:                         "pass window_open reply-inside-the-window",
		`[{"state":"remembered","last":1795348800000}]`:                   "pass window_remembered reply-inside-the-window",
		`[{"state":"full","last":1795348800000,"left":0}]`:                "refuse replies_used_up reply-inside-the-window",
		`[{"state":"shut","last":1795348800000,"left":3}]`:                "refuse window_shut reply-inside-the-window",
		`[{"state":"closed","left":0}]`:                                   "refuse window_closed reply-inside-the-window",
		`[{"state":"incomplete"}]`:                                        "unsure history_incomplete reply-inside-the-window",
		`[{"state":"unavailable"}]`:                                       "unsure store_unavailable reply-inside-the-window",
		`[{"state":"unproven"}]`:                                          "unsure store_unavailable reply-inside-the-window",
		`[{"state":"of a later build"}]`:                                  "unsure store_unavailable reply-inside-the-window",
		`[]`:                                                              "the record does not hold what the call says",
	} {
		if got := judged(g, line("/cgi-bin/kf/send_msg", reply+`,"windows":`+windows)); got != want {
			t.Errorf("%s: %s, want %s", windows, got, want)
		}
	}
}

// TestCodeStates decides messages that go out by a one-time code.
func TestCodeStates(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	const noon = "1795348800000"
	for more, want := range map[string]string{
		`,"code_state":"fresh","code_kind":"enter_session","code_deadline":1795348800001,"windows":[{"state":"closed"}]`: "pass code_live reply-inside-the-window",
		`,"code_state":"fresh","code_kind":"enter_session","code_deadline":` + noon + `,"windows":[{"state":"closed"}]`:  "refuse code_expired reply-inside-the-window",
		`,"code_state":"fresh","code_kind":"session_ended","code_deadline":` + noon + `,"windows":[{"state":"open"}]`:    "pass window_open reply-inside-the-window",
		`,"code_state":"used"`:           "refuse code_used reply-inside-the-window",
		`,"code_state":"unknown"`:        "refuse code_unknown reply-inside-the-window",
		`,"code_state":"incomplete"`:     "unsure history_incomplete reply-inside-the-window",
		`,"code_state":"unavailable"`:    "unsure store_unavailable reply-inside-the-window",
		`,"code_state":"of a later one"`: "the record does not hold what the call says",
		``:                               "the record does not hold what the call says",
		`,"code_state":"fresh","code_kind":"enter_session","code_deadline":` + noon: "the record does not hold what the call says",
	} {
		if got := judged(g, line("/cgi-bin/kf/send_msg_on_event", `"read":true,"msgtype":"text","with_code":true`+more)); got != want {
			t.Errorf("%s: %s, want %s", more, got, want)
		}
	}
}

// TestManyRecipients decides mass messages: a record holds at most 20 of their customers.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	const rules = "policy: { rules: [{ name: some, match: { capabilities: [mass_message] }, when: call.customers > 25 && call.groups == 0, action: pass }, { name: mass, match: { capabilities: [mass_message] }, action: reply, partial: trim }] }\n"
	g := newGate(t, rules)
	customers := func(n int, states ...string) string {
		var ids, windows []string
		for i := range min(n, 20) {
			ids = append(ids, fmt.Sprintf(`"wm%d"`, i))
			windows = append(windows, fmt.Sprintf(`{"state":%q,"left":3,"counted":false}`, states[i%len(states)]))
		}
		return fmt.Sprintf(`"read":true,"channel":"","recipients":%d,"customers":[%s],"windows":[%s]`, n, strings.Join(ids, ","), strings.Join(windows, ","))
	}
	for name, c := range map[string]struct{ more, want string }{
		"all may be reached":                {customers(20, "open"), "pass window_open mass"},
		"some may be reached":               {customers(3, "open", "closed"), "pass recipients_trimmed mass"},
		"some, in a body not to be changed": {`"lenient":true,` + customers(3, "open", "closed"), "refuse window_closed mass"},
		"nobody may be reached":             {customers(3, "closed"), "refuse window_closed mass"},
		"more than the record holds":        {customers(21, "open"), "the record does not hold what the call says"},
		"a rule that counts them":           {customers(26, "open"), "pass rule_pass some"},
		"a number that no call can have":    {customers(1<<40, "open"), "pass rule_pass some"},
		"nobody named":                      {`"read":true,"implicit":true`, "refuse recipients_implicit mass"},
		"groups":                            {`"read":true,"groups":2`, "refuse recipients_implicit mass"},
		"a number of groups below zero":     {`"read":true,"groups":-1`, "refuse recipients_missing mass"},
	} {
		if got := judged(g, line("/cgi-bin/externalcontact/add_msg_template", c.more)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestBodiesThatWereNotRead decides records without facts: it depends on whether a rule needs them.
func TestBodiesThatWereNotRead(t *testing.T) {
	t.Parallel()
	const open = "policy: { rules: [{ name: open, match: { capabilities: [kf_reply, add_customer] }, action: pass }] }\n"
	ambiguous := strings.Replace(line("/cgi-bin/kf/send_msg", `"errcode":40058`), `"reason":"x"`, `"reason":"ambiguous_body"`, 1)
	for name, c := range map[string]struct{ rules, line, want string }{
		"ambiguous":                            {"", ambiguous, "refuse ambiguous_body"},
		"ambiguous, and no rule reads it":      {open, ambiguous, "pass not_judged open"},
		"not read":                             {"", line("/cgi-bin/kf/send_msg", `"groups":0`), "the record does not hold what the call says"},
		"not read, and no rule reads it":       {open, line("/cgi-bin/kf/send_msg", `"groups":0`), "pass not_judged open"},
		"a second capability":                  {"policy: { rules: [{ name: open, match: { capabilities: [kf_reply] }, action: pass }] }\n", line("/cgi-bin/kf/send_msg", `"read":true,"msgtype":"business_card","also":"add_customer","channel":"wk","recipients":1,"customers":["wm"]`), "refuse rule_refuse no-adding-customers"},
		"an unlisted corp":                     {"", strings.Replace(line("/cgi-bin/externalcontact/get", `"groups":0`), "ww1", "ww2", 1), "refuse unlisted_account"},
		"policy in shadow":                     {"policy: { mode: shadow }\n", line("/cgi-bin/externalcontact/get", `"groups":0`), "pass shadow_mode"},
		"a wait that the client gave up":       {open, line("/cgi-bin/kf/send_msg", `"wait":"client_gone"`), "the client went away while the call waited, so no rule decided it"},
		"an unknown corp":                      {"", strings.Replace(line("/cgi-bin/externalcontact/get", `"groups":0`), "ww1", "", 1), "the record does not tell whose call it was"},
		"an unknown corp, which is irrelevant": {"", strings.Replace(line("/cgi-bin/user/get", `"groups":0`), "ww1", "", 1), "pass not_judged not-customer-contact"},
	} {
		if got := judged(newGate(t, c.rules), c.line); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

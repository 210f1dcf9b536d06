package replay_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/replay"
)

func newGate(t testing.TB, rules string) *gate.Gate {
	t.Helper()
	c, err := config.Parse("replay.yaml", []byte("accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n"+rules))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("replay.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

// decision is the record of a reply to a customer whose window was in the given state.
func decision(id, state string, forwarded bool) string {
	return fmt.Sprintf(`{"msg":"decision","id":%q,"at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"pass","reason":"window_open","rule":"r","forwarded":%v,"read":true,"msgtype":"text","channel":"wk","recipients":1,"customers":["wm"],"windows":[{"state":%q,"last":1795348800000,"left":3}]}`, id, forwarded, state)
}

// TestRunCountsEveryLine counts each line once: decided, undecided, no record of a call, or
// unreadable.
func TestRunCountsEveryLine(t *testing.T) {
	lines := []string{
		decision("same", "open", true),
		decision("refused", "closed", true),
		decision("passed", "open", false),
		decision("unsure", "unavailable", true),
		decision("unproven", "unproven", true), // forwarded under cold_start: pass
		strings.Replace(decision("dropped", "open", false), `"read"`, `"wait":"client_gone","waited_ms":1200,"read"`, 1),
		`{"msg":"decision","id":"unread","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"refuse","reason":"unlisted_account","forwarded":false}`,
		`{"msg":"decision","id":"odd","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/externalcontact/…","verdict":"refuse","reason":"ambiguous_path","forwarded":false}`,
		`{"msg":"decision","id":"nobody","at":"2026-11-22T12:00:00.000Z","corp_id":"","endpoint":"/cgi-bin/externalcontact/get","verdict":"refuse","reason":"unknown_token","forwarded":false}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"GET","path":"/cgi-bin/externalcontact/get","status":200,"corp_id":"ww1"}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"POST","path":"/cgi-bin/message/send","status":200}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","path":"/x","decision_id":"same"}`,
		`{"msg":"decision","id":"failed","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","account":"","endpoint":"/cgi-bin/user/get","verdict":"error","reason":"upstream_timeout","rule":"","forwarded":true,"errcode":990504}`,
		`{"msg":"decision","id":"free","at":"2026-11-22T12:00:00.000Z","corp_id":"","account":"","endpoint":"/cgi-bin/user/get","verdict":"error","reason":"ambiguous_credential","rule":"","forwarded":false,"errcode":990400}`,
		`{"msg":"decision","id":"malformed","at":"2026-11-22T12:00:00.000Z","corp_id":"","account":"","endpoint":"","verdict":"error","reason":"malformed_request","rule":"","forwarded":false,"errcode":990400}`,
		`{"msg":"serving"}`,
		`not JSON`,
		`{"msg":"decision","id":"` + strings.Repeat("x", 2<<20) + `"}`,
		"",
	}
	read := int64(0)
	r, err := replay.Run(newGate(t, ""), strings.NewReader(strings.Join(lines, "\n")), func(n int64) { read = n })
	if err != nil {
		t.Fatal(err)
	}
	undecided := 0
	for _, n := range r.Undecided {
		undecided += n
	}
	if r.Calls != 7 || r.Same != 3 || r.Refused != 2 || r.Unsure != 1 || r.Passed != 1 || undecided != 4 || r.OtherLines != 5 || r.Unreadable != 2 {
		t.Errorf("%+v", r)
	}
	if tips := r.ByAccount["ww1"]; tips.Refused != 3 || tips.Passed != 1 || r.ByHour["2026-11-22T12:00Z"] != tips || len(r.Examples) != 4 {
		t.Errorf("%+v", r)
	}
	if read < 2<<20 {
		t.Errorf("%d bytes read", read)
	}
}

// TestUnsureCallsThatAreForwarded counts them as passed: it matters whether a call was sent.
func TestUnsureCallsThatAreForwarded(t *testing.T) {
	t.Parallel()
	g := newGate(t, "policy: { on_unsure: pass }\n")
	log := decision("sent", "unavailable", true) + "\n" + decision("not sent", "unavailable", false)
	r, err := replay.Run(g, strings.NewReader(log), func(int64) {})
	if err != nil || r.Calls != 2 || r.Same != 1 || r.Passed != 1 || r.Unsure != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRunOfABrokenLog stops at a read error and keeps what was read.
func TestRunOfABrokenLog(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(decision("a", "open", true)+"\n"), badReader{})
	if r, err := replay.Run(newGate(t, ""), broken, func(int64) {}); err == nil || r.Calls != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestRunIsTheSumOfItsLines compares the report of a long log with its lines decided one by one.
// The log has several batches, which several workers share.
func TestRunIsTheSumOfItsLines(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		line            string
		refused, passed int
	}{
		{decision("same", "open", true), 0, 0},
		{decision("refused", "closed", true), 1, 0},
		{decision("unsure", "unavailable", true), 1, 0},
		{decision("passed", "open", false), 0, 1},
		{`{"msg":"serving"}`, 0, 0},
	}
	const each = 1000
	var log strings.Builder
	for i := range each * len(kinds) {
		hour := fmt.Sprintf(`"at":"2026-11-22T%02d:`, i%24)
		log.WriteString(strings.Replace(kinds[i%len(kinds)].line, `"at":"2026-11-22T12:`, hour, 1) + "\r\n")
	}
	var reads []int64
	r, err := replay.Run(newGate(t, ""), strings.NewReader(log.String()), func(n int64) { reads = append(reads, n) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Calls != 4*each || r.Same != each || r.Refused != each || r.Unsure != each || r.Passed != each || r.OtherLines != each || r.Unreadable != 0 || r.Changed() != 3*each {
		t.Errorf("%+v", r)
	}
	all := replay.Tips{Refused: 2 * each, Passed: each}
	if r.ByAccount["ww1"] != all || r.ByAbility["kf_reply"] != all || r.ByRule["reply-inside-the-window"] != all || len(r.ByHour) != 24 {
		t.Errorf("by account %v, by capability %v, by rule %v, by hour %v", r.ByAccount, r.ByAbility, r.ByRule, r.ByHour)
	}
	var sum replay.Tips
	for _, n := range r.ByHour {
		sum.Refused, sum.Passed = sum.Refused+n.Refused, sum.Passed+n.Passed
	}
	if sum != all {
		t.Errorf("the hours sum up to %+v", sum)
	}
	if !slices.IsSorted(reads) || len(reads) < 5 || reads[len(reads)-1] != int64(log.Len()) {
		t.Errorf("%d calls of read, the last with %d of %d bytes", len(reads), reads[len(reads)-1], log.Len())
	}
}

// TestExamples shows ten of the calls that changed, in the order of time.
func TestExamples(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	filler := strings.Repeat(" ", 40<<10) // so that there are several batches
	for i := range 40 {
		at := fmt.Sprintf(`"at":"2026-11-22T12:00:%02d.`, 59-i)
		log.WriteString(strings.Replace(decision("id", "closed", true), `"at":"2026-11-22T12:00:00.`, at, 1) + filler + "\n")
	}
	r, err := replay.Run(newGate(t, ""), strings.NewReader(log.String()), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Examples) != 10 {
		t.Fatalf("%d examples", len(r.Examples))
	}
	for i, e := range r.Examples {
		if i > 0 && e.At.Before(r.Examples[i-1].At) {
			t.Errorf("%s is after %s", e.At, r.Examples[i-1].At)
		}
		e.At = time.Time{}
		want := replay.Example{
			ID: "id", CorpID: "ww1", Endpoint: "/cgi-bin/kf/send_msg", Was: replay.Outcome{Verdict: "pass", Rule: "r", Reason: "window_open"},
			Becomes: replay.Outcome{Verdict: "refuse", Rule: "reply-inside-the-window", Reason: "window_closed"},
		}
		if e != want {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
}

// TestLengthOfALine reads lines up to 1 MiB, and skips longer ones as a whole.
func TestLengthOfALine(t *testing.T) {
	t.Parallel()
	g := newGate(t, "")
	const most = 1 << 20
	record := decision("a", "open", true)
	padded := func(size int) string { return record + strings.Repeat(" ", size-len(record)-1) + "\n" }
	for name, c := range map[string]struct {
		log               string
		calls, unreadable int
	}{
		"the longest":                   {padded(most), 1, 0},
		"one byte longer":               {padded(most+1) + record, 1, 1},
		"several times as long":         {record + "\n" + padded(3*most) + record + "\n", 2, 1},
		"two of them":                   {padded(most+1) + padded(2*most) + record, 1, 2},
		"without an end":                {record + "\n" + strings.Repeat("x", 2*most), 1, 1},
		"blank lines":                   {"\n\r\n  \n\t\n" + record + "\n\n", 1, 0},
		"no line feed at the end":       {record, 1, 0},
		"nothing":                       {"", 0, 0},
		"half a record at the end":      {record + "\n" + record[:len(record)/2], 1, 1},
		"a record after another object": {`{"msg":"serving"}` + record, 0, 1},
	} {
		r, err := replay.Run(g, strings.NewReader(c.log), func(int64) {})
		if err != nil || r.Calls != c.calls || r.Unreadable != c.unreadable {
			t.Errorf("%s: %d calls, %d unreadable, %v", name, r.Calls, r.Unreadable, err)
		}
	}
}

// TestJudgeByInputs decides records again under other rules: by what the call said and what Redis
// answered then, not by the outcome on record.
func TestJudgeByInputs(t *testing.T) {
	const (
		reply = `{"msg":"decision","id":"a","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"pass","reason":"window_open","rule":"r","forwarded":true,"read":true,"msgtype":"text","channel":"wk","recipients":1,"customers":["wm"],%s}`
		get   = `{"msg":"decision","id":"b","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/externalcontact/get","verdict":"refuse","reason":"rule_refuse","rule":"r","forwarded":false,"read":true,%s}`

		unread  = `{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"GET","path":"/cgi-bin/externalcontact/get","status":200,"corp_id":"ww1"}`
		last    = "policy: { rules: [{ name: last, match: { capabilities: [kf_reply] }, when: window.replies_left <= 1 && window.replies_left >= 1, action: refuse }] }\n"
		clients = "clients: [{ name: bot, header: X-Bot, contains: x, networks: [10.9.0.0/16] }, { name: pc, header: user-agent, contains: WindowsWechat }, { name: crm, networks: [10.1.0.0/16] }]\n"
		byPC    = clients + "policy: { rules: [{ name: pc, match: { clients: [pc] }, action: pass }] }\n"
		byCRM   = clients + "policy: { rules: [{ name: crm, match: { clients: [crm] }, action: pass }] }\n"
		share   = "policy: { rules: [{ name: half, match: { capabilities: [kf_reply] }, percent: 50, action: refuse }] }\n"
	)
	for _, test := range []struct{ name, rules, line, want string }{
		{"the last reply, counted", last, fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":0,"counted":true}]`), "refuse last"},
		{"the one before it, counted", last, fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":1,"counted":true}]`), "pass reply-inside-the-window"},
		{"one left, not counted", last, fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":1,"counted":false}]`), "refuse last"},
		{"the last reply of an earlier build", last, fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":0}]`), "refuse last"},
		{"no reply left", last, fmt.Sprintf(reply, `"windows":[{"state":"full","last":1795348800000,"left":0,"counted":false}]`), "refuse reply-inside-the-window"},

		{"a client by its agent", byPC, fmt.Sprintf(get, `"remote":"10.2.0.1","user_agent":"x WindowsWechat y"`), "pass pc"},
		{"another agent", byPC, fmt.Sprintf(get, `"remote":"10.2.0.1","user_agent":"curl"`), "refuse no-customer-details"},
		{"a client by its network", byCRM, fmt.Sprintf(get, `"remote":"10.1.2.3","user_agent":"curl"`), "pass crm"},
		{"the first that matches", byCRM, fmt.Sprintf(get, `"remote":"10.1.2.3","user_agent":"WindowsWechat"`), "refuse no-customer-details"},
		{"a mapped address", byCRM, fmt.Sprintf(get, `"remote":"::ffff:10.1.2.3","user_agent":""`), "pass crm"},
		{"by a header that is not on record", byCRM, fmt.Sprintf(get, `"remote":"10.9.0.1","user_agent":"curl"`), "the record does not hold the header that tells the client"},
		{"an agent of which the end is not on record", byPC, fmt.Sprintf(get, `"remote":"10.2.0.1","user_agent":"`+strings.Repeat("x", gate.MaxAgent)+`"`), "the record does not hold the header that tells the client"},
		{"an agent that tells before its end", byPC, fmt.Sprintf(get, `"remote":"10.2.0.1","user_agent":"WindowsWechat `+strings.Repeat("x", gate.MaxAgent)+`"`), "pass pc"},
		{"an agent with a secret", byPC, fmt.Sprintf(get, `"remote":"10.2.0.1","user_agent":"bot key=***"`), "the record does not hold the header that tells the client"},
		{"an earlier build that knew another one", byPC, fmt.Sprintf(get, `"client":"tablet"`), "the record does not hold the header that tells the client"},
		{"an earlier build that knew", byPC, fmt.Sprintf(get, `"client":"pc"`), "pass pc"},
		{"an earlier build that did not ask", byPC, fmt.Sprintf(get, `"groups":0`), "the record does not hold the header that tells the client"},
		{"a call that was not judged", byPC, unread, "the record does not hold the header that tells the client"},
		{"one whose client is on record", byPC, strings.Replace(unread, `"corp_id"`, `"client":"pc","remote":"10.2.0.1","corp_id"`, 1), "pass pc"},
		{"one of another client", byCRM, strings.Replace(unread, `"corp_id"`, `"client":"pc","remote":"10.1.2.3","corp_id"`, 1), "refuse no-customer-details"},
		{"no rule asks", clients, unread, "refuse no-customer-details"},

		{"a share of customers", share, strings.Replace(fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":3}]`), `"wm"`, `"h:0123"`, 1), "the record holds customers' ids hashed, and a rule takes a share of them"},
		{"hashed, and no share", "", strings.Replace(fmt.Sprintf(reply, `"windows":[{"state":"open","last":1795348800000,"left":3}]`), `"wm"`, `"h:0123"`, 1), "pass reply-inside-the-window"},
	} {
		o, err := replay.Judge(newGate(t, test.rules), []byte(test.line))
		got := o.Verdict + " " + o.Rule
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestLogOfAnEarlierBuild replays a log that an earlier build wrote under the first configuration
// below: that one changes nothing, the others change what they should.
func TestLogOfAnEarlierBuild(t *testing.T) {
	log, err := os.ReadFile("../testdata/replay/earlier-build.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	const account = "accounts: [{ corp_id: ww0123456789abcdef, name: Acme, entity: acme, subscription: { expires_at: 2026-01-01T00:00:00Z } }]\n"
	const clients = "clients: [{ name: pc, header: User-Agent, contains: WindowsWechat }, { name: here, networks: [127.0.0.0/8] }]\n"
	const mass = "    - { name: mass-to-open-windows, match: { endpoints: [/cgi-bin/externalcontact/add_msg_template] }, action: reply, partial: trim }\n"
	const tags = "    - { name: tags-on-pc, match: { capabilities: [customer_tags], clients: [pc] }, action: pass }\n"
	const last = "    - { name: not-the-last-reply, match: { capabilities: [kf_reply] }, when: window.open && window.replies_left <= 1, action: refuse"
	for name, test := range map[string]struct {
		config                                   string
		same, refused, unsure, passed, undecided int
	}{
		"the rules of the time":            {clients + "policy:\n  rules:\n" + tags + last + ", mode: shadow }\n" + mass, 15, 0, 0, 0, 2},
		"a rule that was in shadow":        {clients + "policy:\n  rules:\n" + tags + last + " }\n" + mass, 14, 1, 0, 0, 2},
		"another client":                   {clients + "policy:\n  rules:\n    - { name: tags-here, match: { capabilities: [customer_tags], clients: [here] }, action: pass }\n" + mass, 15, 0, 0, 1, 1},
		"a client that was not configured": {"clients: [{ name: bot, networks: [10.0.0.0/8] }]\npolicy:\n  rules:\n    - { name: tags-of-bots, match: { capabilities: [customer_tags], clients: [bot] }, action: pass }\n" + mass, 15, 0, 0, 0, 2},
		"no rules of the operator":         {"", 16, 0, 0, 0, 1},
		"a body read by another rule":      {"policy:\n  rules:\n    - { name: by-type, match: { capabilities: [kf_reply], msgtypes: [image] }, action: refuse }\n", 15, 1, 0, 0, 1},
	} {
		c, err := config.Parse("replay.yaml", []byte(account+test.config))
		if err != nil {
			t.Fatal(err)
		}
		g, err := gate.New("replay.yaml", c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay.Run(&g, bytes.NewReader(log), func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		undecided := 0
		for _, n := range r.Undecided {
			undecided += n
		}
		if r.Same != test.same || r.Refused != test.refused || r.Unsure != test.unsure || r.Passed != test.passed || undecided != test.undecided {
			t.Errorf("%s: %d as before, %d refused, %d unsure, %d passed, %v", name, r.Same, r.Refused, r.Unsure, r.Passed, r.Undecided)
		}
	}
}

// FuzzJudge reads any line: it is decided or not, without a panic.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(decision("a", "open", true)))
	f.Add([]byte(`{"msg":"decision","endpoint":"/cgi-bin/kf/send_msg_on_event","at":"2026-11-22T12:00:00Z","corp_id":"ww1","read":true,"with_code":true,"code_state":"fresh"}`))
	f.Add([]byte(`{"msg":"decision","endpoint":"/cgi-bin/externalcontact/add_msg_template","at":"2026-11-22T12:00:00Z","corp_id":"ww1","read":true,"recipients":99999999,"groups":-1}`))
	g := newGate(f, "policy: { rules: [{ name: r, match: { capabilities: [mass_message] }, action: reply, partial: trim }, { name: w, when: window.open, action: pass }] }\n")
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = replay.Judge(g, line) })
}

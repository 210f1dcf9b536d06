package proxy

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"replygate/gate"
	"replygate/policy"
	"replygate/record"
	"replygate/wecom"
	"replygate/window"
)

// Records are JSON whatever is in them, and hold what they were made of.
func TestRecordsAreJSON(t *testing.T) {
	odd := "a\"b\\c\n企\x00<&>"
	last := time.UnixMilli(1_795_000_000_123).UTC()
	full := &DecisionRecord{
		ID: "id", At: last, CorpID: "ww1", Account: odd, Standing: "lapsed", By: gate.ByHost, Client: "pc", Endpoint: "/e",
		Judged: &gate.Judgement{
			Decision: policy.Decision{Verdict: policy.Refuse, Reason: policy.WindowClosed, Rule: odd, Capability: "kf_reply", Errcode: 95002, Closes: last, Left: 0, Rest: []string{"x"}},
			Shadow:   &policy.Decision{Verdict: policy.Pass, Reason: policy.RulePass, Rule: "s"},
			Read:     true,
			Facts:    wecom.Facts{Channel: "wk", Customers: []string{"a", odd}, Groups: []string{"g"}, Code: "secret", MsgType: "text", Implicit: true, Also: "add_customer"},
			Evidence: policy.Evidence{
				Windows: []window.Answer{{State: window.Open, Last: last, Left: 3}, {State: window.Closed, Left: -1}},
				Code:    window.CodeAnswer{State: window.CodeUsed, Code: window.Code{Kind: "k", Deadline: last}},
			},
		},
	}
	same(t, full, `{"id":"id","at":"2026-11-18T11:06:40.123Z","corp_id":"ww1","account":"a\"b\\c\n企\u0000<&>","standing":"lapsed","attributed_by":"host","endpoint":"/e",
		"capability":"kf_reply","verdict":"refuse","reason":"window_closed","rule":"a\"b\\c\n企\u0000<&>","forwarded":false,"errcode":95002,"read":true,
		"client":"pc","msgtype":"text","also":"add_customer","implicit":true,"groups":1,"channel":"wk","recipients":2,"customers":["a","a\"b\\c\n企\u0000<&>"],
		"windows":[{"state":"open","last":1795000000123,"left":3,"counted":false},{"state":"closed"}],"with_code":true,"code_state":"used","code_kind":"k",
		"code_deadline":1795000000123,"window_closes":"2026-11-18T11:06:40.123Z","replies_left":0,"trimmed":1,
		"shadow":{"verdict":"pass","reason":"rule_pass","rule":"s"}}`)
	same(t, &DecisionRecord{At: last, Judged: &gate.Judgement{Decision: policy.Decision{Verdict: policy.Pass, Go: true, Left: -1}}},
		`{"id":"","at":"2026-11-18T11:06:40.123Z","corp_id":"","account":"","standing":"","endpoint":"","capability":"","verdict":"pass","reason":"","rule":"","forwarded":true}`)
	same(t, &AccessRecord{Method: "POST", Path: odd, Capability: "oa", CorpID: "ww1", Status: 200, Verdict: "pass", DecisionID: "d", ErrorKind: "f", Duration: 1_234_567},
		`{"method":"POST","path":"a\"b\\c\n企\u0000<&>","status":200,"duration_ms":1.234,"capability":"oa","corp_id":"ww1","verdict":"pass","decision_id":"d","error_kind":"f"}`)
	same(t, &AccessRecord{}, `{"method":"","path":"","status":0,"duration_ms":0}`)
}

func same(t *testing.T, r record.Appender, text string) {
	t.Helper()
	var want, got map[string]any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	line := append(r.AppendJSON([]byte{'{'}), '}')
	redactor := record.NewRedactor()
	if all, records := redactor.Redact(line), redactor.RedactRecords(line); string(all) != string(records) {
		t.Errorf("a member has the name of a secret: %s", all)
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nwant %s", line, text)
	}
}

// randomRecord is a random record, with what its JSON must decode to.
type randomRecord struct {
	record.Appender
	want map[string]any
}

// word is a random text: plain, empty, with marks of JSON, or no UTF-8. In JSON, each of its broken
// bytes is U+FFFD.
func word(r *rand.Rand) (s, decoded string) {
	const marks = "az09_\"\\/<>&\n\r\t\b\f\x00\x1f\x7f企\u2028\u2029😀\ufffd"
	all := []rune(marks)
	var b strings.Builder
	for range r.IntN(12) {
		if r.IntN(8) == 0 {
			b.WriteByte(byte(0x80 + r.IntN(0x80)))
		} else {
			b.WriteRune(all[r.IntN(len(all))])
		}
	}
	return b.String(), string([]rune(b.String()))
}

// put notes what a member must decode to, unless it is empty and left out.
func put(want map[string]any, name, decoded string, always bool) {
	if decoded != "" || always {
		want[name] = decoded
	}
}

// randomRecords are one record of each kind.
func randomRecords(r *rand.Rand) map[string]randomRecord {
	at := time.UnixMilli(r.Int64N(4e12)).UTC()
	stamp := at.Format("2006-01-02T15:04:05.000Z")
	next := func(name string, want map[string]any, always bool) string {
		s, decoded := word(r)
		put(want, name, decoded, always)
		return s
	}
	took := time.Duration(r.Int64N(1e12)).Truncate(time.Microsecond)
	millis := float64(took.Microseconds()) / 1000
	status := r.IntN(1000)

	access := map[string]any{"duration_ms": millis, "status": float64(status)}
	a := &AccessRecord{Method: next("method", access, true), Path: next("path", access, true), Capability: wecom.Capability(next("capability", access, false)),
		CorpID: next("corp_id", access, false), Verdict: next("verdict", access, false), DecisionID: next("decision_id", access, false), ErrorKind: next("error_kind", access, false), Status: status, Duration: took}
	if a.Wait = policy.WaitOutcome(next("wait", access, false)); a.Wait != "" {
		a.Waited, access["waited_ms"] = took, millis
	}

	callback := map[string]any{"duration_ms": millis, "status": float64(status)}
	c := &CallbackRecord{Method: next("method", callback, true), Path: next("path", callback, true), Kind: next("kind", callback, true), Result: next("result", callback, false),
		CorpID: next("corp_id", callback, false), DecisionID: next("decision_id", callback, false), ErrorKind: next("error_kind", callback, false), Status: status, Duration: took}

	failure := map[string]any{"at": stamp, "verdict": "error", "rule": "", "forwarded": status%2 == 0, "errcode": float64(status)}
	f := &FailureRecord{ID: next("id", failure, true), At: at, CorpID: next("corp_id", failure, true), Account: next("account", failure, true), Endpoint: next("endpoint", failure, true),
		Capability: wecom.Capability(next("capability", failure, false)), Reason: next("reason", failure, true), Forwarded: status%2 == 0, Errcode: status}
	if r.IntN(2) == 0 {
		f.Remote = netip.MustParseAddr("2001:db8::1")
		failure["remote"] = "2001:db8::1"
	}

	decision := map[string]any{"at": stamp, "verdict": "pass", "forwarded": true}
	d := &DecisionRecord{ID: next("id", decision, true), At: at, CorpID: next("corp_id", decision, true), Account: next("account", decision, true), Standing: next("standing", decision, true),
		Endpoint: next("endpoint", decision, true), Client: next("client", decision, false), Fault: next("fault", decision, false),
		Judged: &gate.Judgement{Decision: policy.Decision{Verdict: policy.Pass, Go: true, Left: -1,
			Capability: wecom.Capability(next("capability", decision, true)), Reason: policy.Reason(next("reason", decision, true)), Rule: next("rule", decision, true)},
			Facts: wecom.Facts{MsgType: next("msgtype", decision, false)}}}
	var customers []any
	for range r.IntN(3 * maxLoggedIDs) {
		s, decoded := word(r)
		d.Judged.Facts.Customers = append(d.Judged.Facts.Customers, s)
		if len(customers) < maxLoggedIDs {
			customers = append(customers, decoded)
		}
	}
	if customers != nil {
		decision["customers"], decision["recipients"] = customers, float64(len(d.Judged.Facts.Customers))
		d.Judged.Facts.Channel = next("channel", decision, true)
	}
	return map[string]randomRecord{"access": {a, access}, "callback": {c, callback}, "failure": {f, failure}, "decision": {d, decision}}
}

// Whatever is in a record, its line is one line of JSON, and decodes to just that.
func TestAnyRecordIsJSON(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 11))
	for range 500 {
		for kind, one := range randomRecords(r) {
			line := append(one.AppendJSON([]byte{'{'}), '}')
			if bytes.ContainsAny(line, "\n\r") || !utf8.Valid(line) {
				t.Fatalf("%s: %q is not one line of text", kind, line)
			}
			var got map[string]any
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%s: %v: %s", kind, err, line)
			}
			if !reflect.DeepEqual(got, one.want) {
				t.Fatalf("%s: %s\nwant %q", kind, line, one.want)
			}
		}
	}
}

// Durations are milliseconds with as many digits as they need.
func TestMillis(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0", time.Nanosecond: "0", time.Microsecond: "0.001", 1500 * time.Microsecond: "1.5", time.Second: "1000", 48 * time.Hour: "172800000", 123_456_789: "123.456",
	} {
		if got := string(millis(nil, "", d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

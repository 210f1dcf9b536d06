package proxy

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"replygate/gate"
	"replygate/policy"
	"replygate/record"
	"replygate/wecom"
	"replygate/window"
)

// Records are JSON whatever stands in them, and hold what they were made of.
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

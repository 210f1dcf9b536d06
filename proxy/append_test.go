package proxy

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"replygate/gate"
	"replygate/policy"
	"replygate/record"
	"replygate/wecom"
	"replygate/window"
)

// Records say the same whichever way they are written.
func TestRecordsAppendWhatTheyMarshal(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	some := func(words ...string) string { return words[random.IntN(len(words))] }
	odd := []string{"", "plain", "a\"b\\c\n", "企业", "\x00\xff", "<&>"}
	for range 3000 {
		answers := make([]window.Answer, random.IntN(3))
		for i := range answers {
			answers[i] = window.Answer{State: window.State(random.IntN(7)), Left: random.IntN(4) - 1}
			if random.IntN(2) == 0 {
				answers[i].Last = time.UnixMilli(1_795_000_000_000 + random.Int64N(1e9))
			}
		}
		d := policy.Decision{
			Verdict: policy.Verdict(random.IntN(3)), Reason: policy.WindowOpen, Rule: some(odd...), Capability: wecom.Capability(some(odd...)),
			Go: random.IntN(2) == 0, Errcode: random.IntN(100_000) - 1, Left: random.IntN(4) - 1,
		}
		if random.IntN(2) == 0 {
			d.Closes = time.Unix(1_795_000_000, random.Int64N(1e9))
		}
		r := DecisionRecord{
			ID: some(odd...), At: time.Now(), CorpID: some(odd...), Account: some(odd...), Client: some(odd...), Endpoint: some(odd...),
			Judged: gate.Judgement{Decision: d, Read: random.IntN(2) == 0, Evidence: policy.Evidence{Windows: answers}},
		}
		f := &r.Judged.Facts
		f.MsgType, f.Channel, f.Implicit = some(odd...), some(odd...), random.IntN(2) == 0
		for range random.IntN(25) {
			f.Customers = append(f.Customers, some(odd...))
		}
		f.Groups, f.Code = make([]string, random.IntN(2)), some("", "code")
		if random.IntN(2) == 0 {
			r.Judged.Evidence.Code = window.CodeAnswer{State: window.CodeUsed, Code: window.Code{Kind: some("", "k"), Deadline: time.UnixMilli(random.Int64N(1e12))}}
			r.Judged.Shadow = &d
			r.Hash = hasherOf("a key")
			r.Judged.Decision.Rest = f.Customers
		}
		same(t, r)
		same(t, AccessRecord{
			Method: some(odd...), Path: some(odd...), Capability: wecom.Capability(some(odd...)), CorpID: some(odd...), Status: random.IntN(600),
			Verdict: some(odd...), DecisionID: some(odd...), Fault: some(odd...), Duration: time.Duration(random.Int64N(1e10)),
		})
	}
}

func same(t *testing.T, r record.Appender) {
	t.Helper()
	e := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	buf, err := e.EncodeEntry(zapcore.Entry{}, []zapcore.Field{{Type: zapcore.InlineMarshalerType, Interface: r}})
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(buf.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	line := append(r.AppendJSON([]byte{'{'}), '}')
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("appended %s\nmarshalled %s", line, buf.Bytes())
	}
}

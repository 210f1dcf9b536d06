package wecom_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"replygate/wecom"
)

func TestRefusalIsJSON(t *testing.T) {
	got := string(wecom.Refusal{Errcode: 95002, Errmsg: "a \"quoted\" text\n\xff", Verdict: "refuse", Rule: "r", Reason: "window_closed", DecisionID: "id"}.AppendJSON(nil))
	want := `{"errcode":95002,"errmsg":"a \"quoted\" text\n�","replygate":{"verdict":"refuse","rule":"r","reason":"window_closed","decision_id":"id"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// AppendJSON appends, and a JSON decoder returns every string as it was.
func TestRefusalRoundTrip(t *testing.T) {
	t.Parallel()
	texts := []string{"", "plain", `"quoted" \ back`, "line\nfeed\ttab\x00\x1f\x7f", "微信 é \u2028 😀", "</script>&<", "\xffa\xc3(", strings.Repeat("x", 5000)}
	for i, text := range texts {
		r := wecom.Refusal{
			Errcode: -i, Errmsg: text, Verdict: texts[(i+1)%len(texts)], Rule: texts[(i+2)%len(texts)], Reason: texts[(i+3)%len(texts)], DecisionID: texts[(i+4)%len(texts)],
		}
		out := r.AppendJSON([]byte("before"))
		body, found := bytes.CutPrefix(out, []byte("before"))
		var got struct {
			Errcode   int
			Errmsg    string
			Replygate struct {
				Verdict, Rule, Reason string
				DecisionID            string `json:"decision_id"`
			}
		}
		if err := json.Unmarshal(body, &got); err != nil || !found {
			t.Fatalf("%q: %v", out, err)
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		back := wecom.Refusal{
			Errcode: got.Errcode, Errmsg: got.Errmsg, Verdict: got.Replygate.Verdict, Rule: got.Replygate.Rule, Reason: got.Replygate.Reason, DecisionID: got.Replygate.DecisionID,
		}
		want := wecom.Refusal{Errcode: -i, Errmsg: valid(r.Errmsg), Verdict: valid(r.Verdict), Rule: valid(r.Rule), Reason: valid(r.Reason), DecisionID: valid(r.DecisionID)}
		if back != want {
			t.Errorf("%+v came back as %+v", want, back)
		}
	}
}

// The errcode comes first, as in WeCom's answers.
func TestRefusalBeginsWithItsErrcode(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{0: `{"errcode":0,"errmsg":"`, -1: `{"errcode":-1,"errmsg":"`, wecom.CodeAmbiguous: `{"errcode":990400,"errmsg":"`} {
		if got := (wecom.Refusal{Errcode: code}).AppendJSON(nil); !bytes.HasPrefix(got, []byte(want)) {
			t.Errorf("%s", got)
		}
	}
}

// A refusal in a large enough buffer does not allocate.
func TestRefusalDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1024)
	r := wecom.Refusal{Errcode: 95002, Errmsg: "plain", Verdict: "refuse", Rule: "r", Reason: "window_closed", DecisionID: "id"}
	if n := testing.AllocsPerRun(100, func() { _ = r.AppendJSON(buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package wecom_test

import (
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

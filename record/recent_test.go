package record_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/record"
)

// decisionLine is a line of a log with a decision.
func decisionLine(console bool, at time.Time, id, rest string) string {
	to := &stream{}
	record.NewLog(to, console).Add(at, "decision", members(fmt.Sprintf(`"id":%q,%s`, id, rest)))
	return to.text()
}

// The newest records are found whatever the format of the log, and old ones make room.
func TestRecent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	for _, console := range []bool{false, true} {
		var to bytes.Buffer
		r := record.NewRecent(4000)
		w := r.Through(&to)
		var all strings.Builder
		for i := range 100 {
			lines := decisionLine(console, at, fmt.Sprintf("id%03d", i), `"verdict":"refuse","note":"\"id\":\"id007\""`) + "another line\n"
			all.WriteString(lines)
			if n, err := w.Write([]byte(lines)); n != len(lines) || err != nil {
				t.Fatal(n, err)
			}
		}
		if to.String() != all.String() {
			t.Error("the lines did not all go on")
		}
		for _, id := range []string{"id099", "id090"} {
			if got := string(r.Find(id)); !strings.HasPrefix(got, "{") || !strings.HasSuffix(got, "}") || !strings.Contains(got, `"msg":"decision","id":"`+id+`"`) {
				t.Errorf("console %v: %s: %q", console, id, got)
			}
		}
		for _, id := range []string{"id007", "id100", "id09"} {
			if got := r.Find(id); got != nil {
				t.Errorf("console %v: %s: %s", console, id, got)
			}
		}
	}
}

// A record that is larger than a buffer is not remembered, and does not drop the others.
func TestRecentLargeRecord(t *testing.T) {
	t.Parallel()
	r := record.NewRecent(1000)
	w := r.Through(&bytes.Buffer{})
	for _, line := range []string{decisionLine(false, time.Unix(0, 0), "a", `"x":1`), decisionLine(false, time.Unix(0, 0), "b", fmt.Sprintf(`"x":%q`, strings.Repeat("x", 600)))} {
		if _, err := w.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if r.Find("a") == nil || r.Find("b") != nil {
		t.Errorf("%s %s", r.Find("a"), r.Find("b"))
	}
}

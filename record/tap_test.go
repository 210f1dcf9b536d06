package record_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"replygate/record"
)

// A tap shows the members of decision records alone, in both formats, and changes no line.
func TestTap(t *testing.T) {
	for _, console := range []bool{false, true} {
		var out bytes.Buffer
		var tap record.Tap
		to := tap.Through(&out)
		add := func(kind, of string) { record.NewLog(to, console).Add(time.Now(), kind, members(of)) }
		add("decision", `"id":"1"`) // nobody looks yet
		var seen []string
		tap.Use(func(members []byte) { seen = append(seen, string(members)) })
		add("request", `"id":"2"`)
		add("decision", `"id":"3","verdict":"pass"`)
		if !slices.Equal(seen, []string{`"id":"3","verdict":"pass"}`}) || bytes.Count(out.Bytes(), []byte("\n")) != 3 {
			t.Errorf("%q\n%s", seen, out.String())
		}
	}
}

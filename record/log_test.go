package record_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/record"
)

// members is a record of the given JSON members.
type members string

func (m members) AppendJSON(dst []byte) []byte { return append(dst, m...) }

func TestLog(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 18, 0, 0, 7e6, time.FixedZone("", 8*3600))
	for _, c := range []struct {
		console bool
		record  members
		want    string
	}{
		{false, `"status":200`, `{"level":"info","time":"2026-11-22T10:00:00.007Z","msg":"request","status":200}`},
		{false, `"a":1,"b":"x"`, `{"level":"info","time":"2026-11-22T10:00:00.007Z","msg":"request","a":1,"b":"x"}`},
		{true, `"status":200`, "2026-11-22T10:00:00.007Z\tinfo\trequest\t{\"status\":200}"},
	} {
		to := &stream{}
		record.NewLog(to, c.console).Add(at, "request", c.record)
		if got := to.text(); got != c.want+"\n" || to.calls != 1 {
			t.Errorf("in %d writes\n got %q\nwant %q", to.calls, got, c.want)
		}
	}
}

func TestNilLog(t *testing.T) {
	t.Parallel()
	var l *record.Log
	l.Add(time.Now(), "request", panics{})
}

// panics is a record that must not be encoded.
type panics struct{}

func (panics) AppendJSON([]byte) []byte { panic("a record that is not written was encoded") }

// A log that is off writes nothing, and does not encode what it does not write.
func TestLogEnable(t *testing.T) {
	t.Parallel()
	to := &stream{}
	l := record.NewLog(to, false)
	l.Enable(false)
	l.Add(time.Now(), "request", panics{})
	if to.calls != 0 {
		t.Errorf("%d writes of a log that is off", to.calls)
	}
	l.Enable(true)
	l.Add(time.Now(), "request", members(`"a":1`))
	if to.calls != 1 {
		t.Errorf("%d writes of a log that is on again", to.calls)
	}
}

// Records share buffers, but never their content.
func TestLogConcurrently(t *testing.T) {
	t.Parallel()
	to := &stream{}
	l := record.NewLog(to, false)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for range 200 {
				l.Add(time.Unix(0, 0), "request", members(fmt.Sprintf(`"w":%d,"text":%q`, w, strings.Repeat(fmt.Sprint(w), 10+w))))
			}
		})
	}
	writers.Wait()
	lines := to.lines()
	if len(lines) != 8*200 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		var r struct {
			W    int
			Text string
		}
		if err := json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&r); err != nil || r.Text != strings.Repeat(fmt.Sprint(r.W), 10+r.W) {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

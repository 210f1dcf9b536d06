package proxy

import (
	"testing"
	"time"
)

func TestHeaderText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ~!":    "plain ~!",
		"":            "",
		"a\r\nX: b":   "a??X: b",
		"已过期":         "reason",
		"mixed 已过期":   "reason",
		"a\x00b\x7fc": "reason", // a byte after ~ counts as another script
	} {
		if got := headerText(text, "reason"); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestLogLimit(t *testing.T) {
	t.Parallel()
	var l logLimit
	at := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		kind  string
		after time.Duration
		may   bool
	}{
		{"a", 0, true}, {"a", time.Second, false}, {"b", time.Second, true}, {"a", 59 * time.Second, false},
		{"a", time.Minute, true}, {"a", -time.Hour, true}, // the clock was set back
	} {
		if may := l.mayLog(step.kind, at.Add(step.after)); may != step.may {
			t.Errorf("%s after %v: %v", step.kind, step.after, may)
		}
	}
}

// lastDay counts 24 hours, to the hour.
func TestLastDay(t *testing.T) {
	t.Parallel()
	var d lastDay
	at := time.Unix(1_700_000_000, 0).Truncate(time.Hour)
	for hour := range 48 {
		d.add(at.Add(time.Duration(hour) * time.Hour))
	}
	last := at.Add(47 * time.Hour)
	for after, want := range map[time.Duration]int64{0: 25, time.Hour: 24, 12 * time.Hour: 13, 24 * time.Hour: 1, 25 * time.Hour: 0, 1000 * time.Hour: 0} {
		if n := d.count(last.Add(after)); n != want {
			t.Errorf("%v later: %d, want %d", after, n, want)
		}
	}
}

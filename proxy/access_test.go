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

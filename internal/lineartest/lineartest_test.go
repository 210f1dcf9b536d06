//go:build unix

package lineartest_test

import (
	"strings"
	"testing"
	"time"

	"replygate/internal/lineartest"
)

// recorder takes the failure of a check.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

// A reader that looks at each byte once passes; one that starts again at each byte does not.
func TestCheck(t *testing.T) {
	text := func(n int) string { return strings.Repeat("a", n) }
	count := 0
	once := func(s string) { count += strings.Count(s, "a") }
	again := func(s string) {
		for i := range s {
			count += strings.Count(s[:i], "a")
		}
	}
	for _, c := range []struct {
		name string
		read func(string)
		want bool
	}{{"linear", once, false}, {"quadratic", again, true}} {
		r := &recorder{TB: t}
		if lineartest.Check(r, c.name, text, c.read); r.failed != c.want {
			t.Errorf("a %s reader fails: %v", c.name, r.failed)
		}
	}
}

func TestCPUTime(t *testing.T) {
	began := lineartest.CPUTime(t)
	for lineartest.CPUTime(t)-began < 10*time.Millisecond { // grows as long as it is computed
	}
}

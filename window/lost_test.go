package window_test

import (
	"testing"
	"time"

	"replygate/window"
)

// A reply that Redis has counted without telling was not sent. However many there are, the customer
// has all replies left once Redis tells again, through any gateway.
func TestReplyWhoseAnswerIsLost(t *testing.T) {
	each(t, 5, func(b *bench) {
		l := &lostAnswers{prefix: "rg:window:"}
		for _, after := range []time.Duration{0, 10 * time.Second} { // within the message's own second, and later
			k := window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmSlow" + after.String()}
			b.wrote(k, b.clock.Now())
			b.clock.Advance(after)
			addHook(b.T, b.rdb, l)
			l.on.Store(true)
			for range 7 {
				if a := b.Reserve(b.Context(), k); a.State != window.Unavailable {
					b.Fatalf("without an answer: %s", a.State)
				}
				b.clock.Advance(time.Millisecond)
			}
			l.on.Store(false)
			for left := range 5 {
				b.reserve(k, window.Open, 4-left)
			}
			b.reserve(k, window.Exhausted, 0)
		}
	})
}

func TestTakeBack(t *testing.T) {
	t.Parallel()
	const last, at = 1_800_000_000_000, 1_800_000_005_000
	for name, c := range map[string]struct {
		sent, instants, want []int64
	}{
		"one":                           {[]int64{at, at + 7}, []int64{at}, []int64{at + 7}},
		"none was counted":              {[]int64{at + 7}, []int64{at}, []int64{at + 7}},
		"two of one instant":            {[]int64{at, at + 1, at + 7}, []int64{at, at}, []int64{at + 7}},
		"within the message's second":   {[]int64{last + 1000, last + 1001, at}, []int64{last + 3, last + 4}, []int64{at}},
		"the customer has written anew": {[]int64{last + 1000}, []int64{last - 5000}, []int64{last + 1000}},
	} {
		w := window.Window{Last: last, Sent: c.sent}.TakeBack(c.instants...)
		if want := (window.Window{Last: last, Sent: c.want}); asText(w) != asText(want) {
			t.Errorf("%s: %+v, want %+v", name, w, want)
		}
	}
}

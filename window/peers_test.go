package window

import (
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// A gateway's word counts if it comes soon after its last look; one that comes late is not counted, and neither is that of a
// gateway that holds something back. One that never said anything is doubted at once.
func TestWords(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Store) {
		var other peers
		say := func(clean, count string, clock time.Time, doubtful bool) {
			t.Helper()
			said, err := beatScript.Run(t.Context(), s.UniversalClient, []string{"rg:gateways"}, "me", clean, clock.UnixMilli(), late.Milliseconds()).StringSlice()
			if err != nil {
				t.Fatal(err)
			}
			got := s.HGet(t.Context(), "rg:gateways", "me").Val()
			other.end("other", true, time.Now(), said, nil)
			if got != count || other.doubtful() != doubtful {
				t.Errorf("the number is %q, doubtful %v; want %q, %v", got, other.doubtful(), count, doubtful)
			}
		}
		redis := func() time.Time { return s.Time(t.Context()).Val() }
		say("1", "", time.UnixMilli(0), false) // its first look
		say("0", "0", redis(), true)
		say("1", "1", redis(), false)
		say("1", "1", redis().Add(-10*late), false) // late
		say("1", "2", redis(), false)
		say("0", "2", redis(), false)
	})
}

package window

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// A gateway's word counts if Redis gets it in time; one that comes late is not counted, and neither
// is that of a gateway that holds something back. One that never said anything is doubted at once.
func TestWords(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		var other members
		say := func(clean int, count string, until time.Time, doubtful bool) {
			t.Helper()
			began := time.Now()
			saw, err := leaseScript.Run(t.Context(), s.UniversalClient, []string{"rg:gateways"}, "me", clean, until.UnixMilli()).StringSlice()
			if err == nil {
				other.endRenewal("other", began, saw)
			} else if !redis.HasErrorPrefix(err, "LATE") {
				t.Fatal(err)
			}
			got := s.HGet(t.Context(), "rg:gateways", "me").Val()
			if got != count || other.degraded() != doubtful {
				t.Errorf("the number is %q, doubtful %v; want %q, %v", got, other.degraded(), count, doubtful)
			}
		}
		inTime := func() time.Time { return s.Time(t.Context()).Val().Add(time.Minute) }
		say(1, "", time.UnixMilli(1), false) // its clock is not known
		say(0, "0", inTime(), true)
		say(1, "1", inTime(), false)
		say(1, "1", s.Time(t.Context()).Val().Add(-10*renewTimeout), false) // late
		say(1, "2", inTime(), false)
		say(0, "2", inTime(), false)

		other.lastExchange = time.Now().Add(-2 * memberTimeout) // it slept
		say(1, "3", inTime(), true)
		say(1, "4", inTime(), false)

		other = members{} // another one that starts now
		say(0, "4", inTime(), true)
		say(1, "5", inTime(), false)
	})
}

// A gateway that falls silent is doubted by the others before it may acknowledge anything: no look
// makes them believe its last word for longer than it waits.
func TestSilence(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, looks := range [][]int{{0, 100, 200}, {0, 990, 1000}, {0, 190, 1100}, {0, 5000, 5100}, {0, 10, 600_000}} {
		for last := range looks[len(looks)-1] / 10 {
			var self, other members
			word := at(last * 10)
			self.beginRenewal(func() bool { return true }, word)
			self.endRenewal("self", at(0), nil) // a word before it may be on its way
			count := "1"
			for _, look := range looks {
				if at(look).After(word) {
					count = "2"
				}
				other.endRenewal("other", at(look), []string{"self", count})
				believes := other.others["self"].renewed.Add(leaseTTL)
				if believes.After(at(look)) && believes.After(self.leaseExpiry()) {
					t.Fatalf("with looks at %v ms, the word of %v is believed until %v", looks, word.Sub(start), believes.Sub(start))
				}
			}
		}
	}
}

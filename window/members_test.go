package window

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// A renewal counts if Redis runs it before its deadline and the journal is empty. A member that
// never renewed makes the others degraded at once.
func TestLeaseRenewal(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		var other members
		renew := func(clean int, count string, until time.Time, degraded bool) {
			t.Helper()
			began := time.Now()
			saw, err := leaseScript.Run(t.Context(), s.UniversalClient, []string{"rg:gateways"}, "me", clean, until.UnixMilli()).StringSlice()
			if err == nil {
				other.endRenewal("other", began, saw)
			} else if !redis.HasErrorPrefix(err, "LATE") {
				t.Fatal(err)
			}
			got := s.HGet(t.Context(), "rg:gateways", "me").Val()
			if got != count || other.degraded() != degraded {
				t.Errorf("the counter is %q, degraded %v; want %q, %v", got, other.degraded(), count, degraded)
			}
		}
		inTime := func() time.Time { return s.Time(t.Context()).Val().Add(time.Minute) }
		renew(1, "", time.UnixMilli(1), false) // its clock is not known
		renew(0, "0", inTime(), true)
		renew(1, "1", inTime(), false)
		renew(1, "1", s.Time(t.Context()).Val().Add(-10*renewTimeout), false) // late
		renew(1, "2", inTime(), false)
		renew(0, "2", inTime(), false)

		other.lastExchange = time.Now().Add(-2 * memberTimeout) // it slept
		renew(1, "3", inTime(), true)
		renew(1, "4", inTime(), false)

		other = members{} // another one that starts now
		renew(0, "4", inTime(), true)
		renew(1, "5", inTime(), false)
	})
}

// Before a gateway with a journal may acknowledge, its lease has expired for the others, however
// their exchanges interleave with its last renewal.
func TestLeaseExpiresBeforeAcknowledgement(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, exchanges := range [][]int{{0, 100, 200}, {0, 990, 1000}, {0, 190, 1100}, {0, 5000, 5100}, {0, 10, 600_000}} {
		for last := range exchanges[len(exchanges)-1] / 10 {
			var self, other members
			renewal := at(last * 10)
			self.beginRenewal(func() bool { return true }, renewal)
			self.endRenewal("self", at(0), nil) // an earlier renewal may be on its way
			count := "1"
			for _, exchange := range exchanges {
				if at(exchange).After(renewal) {
					count = "2"
				}
				other.endRenewal("other", at(exchange), []string{"self", count})
				validUntil := other.others["self"].renewed.Add(leaseTTL)
				if validUntil.After(at(exchange)) && validUntil.After(self.leaseExpiry()) {
					t.Fatalf("with exchanges at %v ms, the renewal of %v is valid until %v", exchanges, renewal.Sub(start), validUntil.Sub(start))
				}
			}
		}
	}
}

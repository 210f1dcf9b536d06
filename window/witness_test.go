package window

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store/storetest"
)

// The tags of a gateway's words are all over the slots, as a Cluster counts them.
func TestSlotTags(t *testing.T) {
	s := storetest.Open(t, storetest.OneNode(t), time.Now)
	for i, tag := range slotTags {
		got, err := s.UniversalClient.(*redis.ClusterClient).ClusterKeySlot(t.Context(), "rg:witness:me:{"+tag+"}").Result()
		if err != nil || int(got) != slot(tag) || slot(tag)/256 != i {
			t.Errorf("%s is in slot %d, not %d in part %d: %v", tag, got, slot(tag), i, err)
		}
	}
}

// What was recorded behind a time is said to be kept only if it is, and of the last minute it is.
func TestRecentFactsCover(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		var r recentFacts
		now := time.UnixMilli(1_790_000_000_000)
		noted := map[Key]time.Time{}
		for n := range 60 {
			now = now.Add(time.Duration(1+random.IntN(20_000)) * time.Millisecond)
			k := Key{Corp: "ww1", Customer: fmt.Sprint("wm", n)}
			r.note(now, map[Key]int64{k: now.UnixMilli()}, nil)
			noted[k] = now
			since := now.Add(-time.Duration(random.IntN(240_000)) * time.Millisecond)
			covers := r.covers(since)
			if !covers && now.Sub(since) < time.Minute {
				t.Fatalf("%s back is not covered", now.Sub(since))
			}
			kept, _ := r.all()
			for k, at := range noted {
				if _, found := kept[k]; covers && at.After(since) && !found {
					t.Fatalf("%s back is covered, and lacks a fact of %s back", now.Sub(since), now.Sub(at))
				}
			}
		}
	}
}

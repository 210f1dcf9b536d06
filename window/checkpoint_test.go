package window

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// A rollback is detected if the checkpoint is older than the confirmed one, or missing, but not if
// Redis runs a delayed write of an older checkpoint after a newer one.
func TestCheckpointDetectsRollback(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		_, cluster := s.UniversalClient.(*redis.ClusterClient)
		w, now := newCheckpoints("rg:", "me", cluster), time.UnixMilli(1_790_000_000_000)
		key := w.keys[len(w.keys)-1]
		exchange := func(back bool, to time.Time) {
			t.Helper()
			now = now.Add(checkpointEvery)
			gotTo, last, got := w.exchange(t.Context(), s.UniversalClient, now)
			if got != back || back && (!gotTo.Equal(to) || !last.Equal(now.Add(-checkpointEvery))) {
				t.Errorf("rolled back: %v to %s from %s, want %v to %s", got, gotTo, last, back, to)
			}
		}
		exchange(false, now)
		exchange(false, now)

		long := now.Add(-time.Minute)
		late := checkpoints{keys: w.keys, confirmed: make([]int64, len(w.keys))}
		late.exchange(t.Context(), s.UniversalClient, long)
		exchange(false, now)

		s.Set(t.Context(), key, long.UnixMilli(), 0)
		exchange(true, long)
		exchange(false, now)
		s.Del(t.Context(), key)
		exchange(true, time.Time{})
		if left := s.PTTL(t.Context(), key).Val(); left <= 0 || left > checkpointKept {
			t.Errorf("the checkpoint is kept for %s", left)
		}
	})
}

// covers is true only if every later write is kept, and always for the last minute.
func TestRecentWritesCover(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		var r recentWrites
		now := time.UnixMilli(1_790_000_000_000)
		noted := map[Key]time.Time{}
		for n := range 60 {
			now = now.Add(time.Duration(1+random.IntN(20_000)) * time.Millisecond)
			k := Key{Corp: "ww1", Customer: fmt.Sprint("wm", n)}
			r.add(now, map[Key]int64{k: now.UnixMilli()}, nil)
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

package store_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
	"replygate/store/storetest"
)

// Each tag is in its own partition, and its slot is the one that a Cluster computes.
func TestPartitionTags(t *testing.T) {
	s := storetest.Open(t, storetest.OneNode(t), time.Now)
	for i, tag := range store.PartitionTags {
		key := "rg:lease:{" + tag + "}:me"
		got, err := s.UniversalClient.(*redis.ClusterClient).ClusterKeySlot(t.Context(), key).Result()
		if err != nil || int(got) != store.Slot(tag) || store.Slot(tag)/256 != i || store.Partition(key) != i {
			t.Errorf("%s is in slot %d, not %d in partition %d: %v", tag, got, store.Slot(tag), i, err)
		}
	}
}

// A key's partition is that of the slot that a Cluster computes, whatever its hash tag looks like.
func TestPartitionOfAKey(t *testing.T) {
	s := storetest.Open(t, storetest.OneNode(t), time.Now)
	seen := map[int]bool{}
	for _, key := range []string{
		"rg:since", "rg:gap:ww1", "rg:window:{ww1:wk1:wmLi}", "rg:window:{ww1:wk%3A1:wm%7D}", "", "{", "}", "{}", "{}{b}", "a{b", "a}b{c}", "{{b}}", "a{b}{c}", "a{b}c", "b",
	} {
		slot, err := s.UniversalClient.(*redis.ClusterClient).ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := store.Partition(key); got != int(slot)/256 {
			t.Errorf("%q is in partition %d, and its slot %d in %d", key, got, slot, slot/256)
		}
		seen[int(slot)/256] = true
	}
	if len(seen) < 5 {
		t.Errorf("the keys are in %d partitions alone", len(seen))
	}
}

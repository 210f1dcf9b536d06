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
		got, err := s.UniversalClient.(*redis.ClusterClient).ClusterKeySlot(t.Context(), "rg:checkpoint:me:{"+tag+"}").Result()
		if err != nil || int(got) != store.Slot(tag) || store.Slot(tag)/256 != i {
			t.Errorf("%s is in slot %d, not %d in partition %d: %v", tag, got, store.Slot(tag), i, err)
		}
	}
}

package storetest

import (
	"strconv"
	"strings"
	"testing"
)

// Slots and their owners are those that Redis itself names.
func TestSlotsAndOwners(t *testing.T) {
	_, nodes := StartCluster(t, 0)
	owner := OwnerOf(nodes)
	owners := map[int]bool{}
	for _, key := range []string{"rg:since", "rg:window:{a:b:c}", "{}x", "{a", "a}b{c}", "b", "c", "d", "e", "f"} {
		if got, want := strconv.Itoa(Slot(key)), strings.TrimSpace(nodes[0].CLI("cluster", "keyslot", key)); got != want {
			t.Errorf("%s: slot %s, want %s", key, got, want)
		}
		for i, n := range nodes {
			moved := strings.HasPrefix(n.Send("GET "+key), "-MOVED")
			if moved == (owner(key) == i) {
				t.Errorf("%s: the owner is %d, and node %d says otherwise", key, owner(key), i)
			}
		}
		owners[owner(key)] = true
	}
	if len(owners) != len(nodes) {
		t.Errorf("the keys are on %d nodes: the test shows little", len(owners))
	}
}

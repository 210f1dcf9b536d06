package main

import (
	"encoding/json"
	"fmt"
	"testing"
)

// Each load has every kind of call, the direct one first: the others are compared with it.
func TestRows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	kinds := map[string]int{}
	var last string
	for _, r := range rows(7) {
		name := r.load.name + "/" + r.name
		if seen[name] {
			t.Errorf("%s is measured twice", name)
		}
		seen[name] = true
		kinds[r.name]++
		if r.load.name != last {
			if r.corp != "" {
				t.Errorf("%s begins with %s, want the direct row", r.load.name, r.name)
			}
			last = r.load.name
		}
		if r.load.clients != 1 && r.load.clients != 7 {
			t.Errorf("%s has %d connections, want 1 or those given", name, r.load.clients)
		}
	}
	for name, n := range kinds {
		if n != 3 {
			t.Errorf("%s is measured at %d loads, want 3", name, n)
		}
	}
	if len(kinds) != 6 {
		t.Errorf("%d kinds", len(kinds))
	}
}

// Calls that must pass go to customers with a window, and those that must be refused to others.
func TestBodies(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for i := range customers {
		known[customer(i)] = true
	}
	if len(known) != customers {
		t.Fatalf("%d customers of %d", len(known), customers)
	}
	for _, c := range []struct {
		name   string
		body   func(int64) []byte
		known  bool
		atMost int // different customers
	}{
		{"open", open, true, customers},
		{"seen", seen, true, 1000},
		{"nobody", nobody, false, customers},
	} {
		met := map[string]bool{}
		for _, i := range []int64{0, 1, 999, 1000, 1001, customers - 1, customers, customers + 1, 1 << 40} {
			var body struct {
				To      string `json:"touser"`
				Channel string `json:"open_kfid"`
				Type    string `json:"msgtype"`
				Text    struct{ Content string }
			}
			if err := json.Unmarshal(c.body(i), &body); err != nil {
				t.Fatalf("%s(%d): %v", c.name, i, err)
			}
			if known[body.To] != c.known || body.Channel != "wkBench" || body.Type != "text" || body.Text.Content == "" {
				t.Errorf("%s(%d) = %+v", c.name, i, body)
			}
			met[body.To] = true
		}
		for i := range int64(3 * 1000) {
			met[string(c.body(i))] = true
		}
		if string(c.body(0)) != string(c.body(int64(c.atMost))) {
			t.Errorf("%s does not begin again after %d", c.name, c.atMost)
		}
		if string(c.body(0)) == string(c.body(1)) {
			t.Errorf("%s always has the same customer", c.name)
		}
	}
	var all struct {
		To     []string `json:"external_userid"`
		Sender string
	}
	if err := json.Unmarshal(mass(1), &all); err != nil || len(all.To) != 1 || all.Sender == "" {
		t.Errorf("mass = %+v, %v", all, err)
	}
}

// Ids have the length of real ones, so that bodies have too.
func TestIDs(t *testing.T) {
	t.Parallel()
	for _, i := range []int{0, 9, customers - 1} {
		if id := customer(i); len(id) != len("wmBenchCustomer")+16 {
			t.Errorf("%s has %d characters", id, len(id))
		}
	}
	for _, corp := range []string{active, lapsed} {
		if got := token(corp); len(got) != 214 || got[:len(corp)] != corp {
			t.Errorf("the token of %s is %q", corp, got)
		}
	}
	if token(active) == token(lapsed) {
		t.Error(fmt.Sprint("both corps have the token ", token(active)))
	}
}

package window

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	leaseSeeds   = flag.Int("lease.seeds", 0, "how many schedules TestLeaseModel runs instead of its own")
	leaseFirst   = flag.Uint64("lease.first", 1, "the seed of the first of them, or of -lease.search")
	leaseTrace   = flag.Uint64("lease.trace", 0, "the seed of a schedule that TestLeaseModel logs")
	leaseWithout = flag.String("lease.without", "", "a rule of TestLeaseRules that those schedules do without")
	leaseSearch  = flag.Int("lease.search", 0, "in how many schedules TestLeaseRules searches for new seeds, which it stores")
)

// modelSum is what many schedules came to.
type modelSum struct {
	mu    sync.Mutex
	total modelCounts
	wrong map[uint64]string // :: seed -> its first false refusal
}

// runSeeds runs schedules, several at a time. If first is true, it stops at a false refusal.
func runSeeds(from uint64, n int, rules leaseRules, first bool) *modelSum {
	sum := &modelSum{wrong: map[uint64]string{}}
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= uint64(n) {
					return
				}
				w := modelRun(from+i, rules, nil)
				sum.mu.Lock()
				sum.total.add(w.modelCounts)
				if len(w.wrong) > 0 {
					sum.wrong[from+i] = w.wrong[0]
					if first {
						next.Store(uint64(n))
					}
				}
				sum.mu.Unlock()
			}
		})
	}
	workers.Wait()
	return sum
}

// TestLeaseModel runs many schedules with all rules: nothing that was acknowledged is refused.
// CONTRIBUTING.md says how to run others.
func TestLeaseModel(t *testing.T) {
	rules := allLeaseRules()
	if *leaseWithout != "" {
		off, known := ruleSwitches[*leaseWithout]
		if !known {
			t.Fatalf("-lease.without: there is no rule %q", *leaseWithout)
		}
		off(&rules)
	}
	if *leaseTrace > 0 {
		modelRun(*leaseTrace, rules, t.Logf)
		return
	}
	n := 200
	switch {
	case *leaseSeeds > 0:
		n = *leaseSeeds
	case testing.Short():
		n = 40
	}
	sum := runSeeds(*leaseFirst, n, rules, false)
	for seed, text := range sum.wrong {
		t.Errorf("-lease.trace=%d: %s", seed, text)
	}
	t.Logf("%d schedules: %+v", n, sum.total)
	for what, c := range map[string]struct{ got, perSchedule int }{
		"acknowledged messages": {sum.total.acks, 150},
		"refusals":              {sum.total.refusals, 150},
		"repairs":               {sum.total.repairs, 3},
	} {
		if c.got < n*c.perSchedule {
			t.Errorf("only %d %s in %d schedules", c.got, what, n)
		}
	}
	for what, got := range map[string]int{"gaps": sum.total.gaps, "removed members": sum.total.removals, "backfills": sum.total.backfills, "orderly leaves": sum.total.left} {
		if got < n/10 {
			t.Errorf("only %d %s in %d schedules", got, what, n)
		}
	}
}

// ruleSwitches switch off one rule each.
var ruleSwitches = map[string]func(*leaseRules){
	"double-collect":  func(r *leaseRules) { r.doubleCollect = false },
	"run-id":          func(r *leaseRules) { r.runID = false },
	"loss-gap":        func(r *leaseRules) { r.lossGap = false },
	"rewrite-first":   func(r *leaseRules) { r.rewriteFirst = false },
	"journal-first":   func(r *leaseRules) { r.journalFirst = false },
	"journal-wait":    func(r *leaseRules) { r.journalWait = false },
	"changeover-wait": func(r *leaseRules) { r.changeoverWait = false },
	"two-ttl":         func(r *leaseRules) { r.twoTTL = false },
	"run-check":       func(r *leaseRules) { r.runCheck = false },
	"member-limit":    func(r *leaseRules) { r.memberLimit = false },
	"leave-stamp":     func(r *leaseRules) { r.leaveStamp = false },
	"late-gap":        func(r *leaseRules) { r.lateGap = false },
	"settling":        func(r *leaseRules) { r.settling = false },
	"empty-list":      func(r *leaseRules) { r.emptyList = false },
}

const ruleSeeds = "testdata/lease_rules.tsv"

// TestLeaseRules switches off one rule at a time: the recorded schedule then has a false refusal,
// and has none with the rule. So each rule is needed, and the model notices its absence.
func TestLeaseRules(t *testing.T) {
	seeds := readRuleSeeds(t)
	for _, name := range sortedKeys(ruleSwitches) {
		t.Run(name, func(t *testing.T) {
			rules := allLeaseRules()
			ruleSwitches[name](&rules)
			if *leaseSearch > 0 {
				delete(seeds, name)
				if found := sortedKeys(runSeeds(*leaseFirst, *leaseSearch, rules, true).wrong); len(found) > 0 {
					seeds[name] = found[0]
				}
			}
			seed, found := seeds[name]
			if !found {
				t.Fatalf("no seed is recorded: run -lease.search=20000")
			}
			if w := modelRun(seed, rules, nil); len(w.wrong) == 0 {
				t.Errorf("seed %d has no false refusal without the rule: run -lease.search=20000", seed)
			}
			if w := modelRun(seed, allLeaseRules(), nil); len(w.wrong) > 0 {
				t.Errorf("seed %d has a false refusal with the rule: %s", seed, w.wrong[0])
			}
		})
	}
	if *leaseSearch > 0 {
		writeRuleSeeds(t, seeds)
	}
	for name := range seeds {
		if ruleSwitches[name] == nil {
			t.Errorf("%s: there is no rule %q", ruleSeeds, name)
		}
	}
}

// A schedule depends on its seed alone.
func TestLeaseModelIsDeterministic(t *testing.T) {
	for seed := uint64(1); seed < 6; seed++ {
		var runs [2][]string
		for i := range runs {
			modelRun(seed, allLeaseRules(), func(format string, args ...any) { runs[i] = append(runs[i], fmt.Sprintf(format, args...)) })
		}
		if !slices.Equal(runs[0], runs[1]) || len(runs[0]) < 100 {
			t.Errorf("seed %d: two runs of %d and %d lines differ", seed, len(runs[0]), len(runs[1]))
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func readRuleSeeds(t *testing.T) map[string]uint64 {
	t.Helper()
	data, err := os.ReadFile(ruleSeeds)
	if err != nil && *leaseSearch == 0 {
		t.Fatal(err)
	}
	seeds := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		if name, seed, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && !strings.HasPrefix(line, "#") {
			if seeds[name], err = strconv.ParseUint(seed, 10, 64); err != nil {
				t.Fatalf("%s: %v", ruleSeeds, err)
			}
		}
	}
	return seeds
}

func writeRuleSeeds(t *testing.T, seeds map[string]uint64) {
	t.Helper()
	text := "# A schedule of the lease model for each rule, in which its absence leads to a false refusal.\n# rule\tseed\n"
	for _, name := range sortedKeys(seeds) {
		text += fmt.Sprintf("%s\t%d\n", name, seeds[name])
	}
	if err := os.WriteFile(ruleSeeds, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

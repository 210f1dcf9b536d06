package gate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"replygate/gate"
	"replygate/wecom"
)

// goldenCalls are whole calls of each interface: those that a lapsed account must not reach, with
// the bodies of real bots, and two with hardly a body.
func goldenCalls(t *testing.T) map[string][]gate.Call {
	t.Helper()
	data, err := os.ReadFile("../testdata/golden/refused.tsv")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]gate.Call{}
	for line := range strings.Lines(string(data)) {
		if row := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(row) == 3 {
			path, query, _ := strings.Cut(row[1], "?")
			all[path] = append(all[path], gate.Call{Path: []byte(path), Query: []byte(query), Body: []byte(row[2])})
		}
	}
	for _, e := range wecom.Endpoints() {
		for _, body := range []string{"{}", `{"msgtype":"business_card"}`} {
			all[e.Path] = append(all[e.Path], gate.Call{Path: []byte(e.Path), Body: []byte(body)})
		}
	}
	return all
}

// passing walks the catalogue as one of the lapsed accounts does, and returns the calls that pass.
func passing(t *testing.T, text string, calls map[string][]gate.Call) map[string]bool {
	t.Helper()
	g := newGate(t, lapsedTwo+text)
	passed := map[string]bool{}
	for _, e := range wecom.Endpoints() {
		for i, in := range calls[e.Path] {
			for _, in.Corp = range []string{"wwA", "wwB"} {
				in.At, in.ContentType = now, "application/json"
				j, _, _ := g.Judge(t.Context(), in, withWindows())
				passed[fmt.Sprint(e.Path, " ", i)] = passed[fmt.Sprint(e.Path, " ", i)] || j.Decision.Go
			}
		}
	}
	return passed
}

const lapsedTwo = `accounts:
  - { corp_id: wwA, entity: a, subscription: { expires_at: 2026-10-01T00:00:00Z } }
  - { corp_id: wwB, entity: b, subscription: { expires_at: 2026-10-01T00:00:00Z } }
`

// interfaces counts those with a call in after that is not in before.
func interfaces(calls map[string]bool, pick func(call string) bool) (n int) {
	seen := map[string]bool{}
	for call := range calls {
		if path, _, _ := strings.Cut(call, " "); !seen[path] && pick(call) {
			seen[path] = true
			n++
		}
	}
	return n
}

// The number in a warning is that of the interfaces that the gate passes to whole calls with the
// rule and refuses without, for random rules that follow random refusals.
func TestOpensIsWhatPasses(t *testing.T) {
	calls := goldenCalls(t)
	random := rand.New(rand.NewPCG(1, 2))
	var words []string
	for _, c := range wecom.Capabilities() {
		words = append(words, string(c))
	}
	pick := func(n int) []string {
		var all []string
		for range n {
			all = append(all, words[random.IntN(len(words))])
		}
		return slices.Compact(slices.Sorted(slices.Values(all)))
	}
	part := func(chance float64, text string, args ...any) string {
		if random.Float64() > chance {
			return ""
		}
		return fmt.Sprintf(text, args...)
	}
	base := map[string]map[string]bool{}
	for _, set := range []string{"reply-only-2024", "grandfathered-2023"} {
		base[set] = passing(t, "policy: { ruleset: "+set+" }\n", calls)
	}
	rounds, warned := 30, 0
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		set := []string{"reply-only-2024", "grandfathered-2023"}[random.IntN(2)]
		text := "policy:\n  ruleset: " + set + "\n  rules:\n"
		for i := range random.IntN(3) {
			text += fmt.Sprintf("    - { name: r%d, match: { capabilities: [%s] }, action: refuse%s }\n", i, strings.Join(pick(4), ", "), part(.2, ", mode: shadow"))
		}
		text += fmt.Sprintf("    - { name: x, match: { standings: [lapsed]%s%s%s }%s, action: pass }\n",
			part(.5, ", capabilities: [%s]", strings.Join(pick(5+random.IntN(40)), ", ")),
			part(.3, ", endpoints: [%s]", []string{"/cgi-bin/externalcontact/*", "/cgi-bin/*/*", "/cgi-bin/externalcontact/*/*"}[random.IntN(3)]),
			part(.3, ", accounts: [wwB]"),
			part(.3, ", when: '%s'", []string{"account.entity == \"a\"", "call.endpoint startsWith \"/cgi-bin/externalcontact/g\"", "not (call.capability in [\"mass_message\"])", "true"}[random.IntN(4)]))
		before, after := base[set], passing(t, text, calls)
		of := interfaces(before, func(c string) bool { return !before[c] })
		opens := interfaces(after, func(c string) bool { return after[c] && !before[c] })
		found := newGate(t, lapsedTwo+text).Warnings("f", now)
		switch {
		case len(found) == 0 && 4*opens >= of && opens > 20: // more than one capability has
			t.Errorf("%d of %d interfaces pass, and there is no warning of\n%s", opens, of, text)
		case len(found) > 1, len(found) == 1 && (found[0].Opens != opens || found[0].Of != of):
			t.Errorf("%d of %d interfaces pass, warned of %v\n%s", opens, of, found, text)
		}
		warned += len(found)
	}
	if warned < rounds/5 {
		t.Errorf("only %d of %d rules were warned of", warned, rounds)
	}
}

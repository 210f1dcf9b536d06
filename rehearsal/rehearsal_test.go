package rehearsal_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/rehearsal"
	"replygate/wecom"
	"replygate/window"
)

// now is the instant of all cases: a Monday.
var now = time.Date(2026, 11, 30, 4, 0, 0, 0, time.UTC)

// rehearsed is one case of testdata/cases.yaml.
type rehearsed struct {
	Name     string
	Accounts yaml.Node
	More     string // of the configuration
	At       string // "": its own stop
	Counted  []string
	Standing string
	RuleSet  string `yaml:"ruleset"`
	Shadow   bool
	Untold   int64
	Rows     []string
	En, Zh   string
}

func cases(t testing.TB) (all []rehearsed) {
	t.Helper()
	data, err := os.ReadFile("testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (c rehearsed) gate(t testing.TB) *gate.Gate {
	t.Helper()
	accounts, err := yaml.Marshal(map[string]any{"accounts": &c.Accounts})
	if err != nil {
		t.Fatal(err)
	}
	return newGate(t, string(accounts)+c.More)
}

func newGate(t testing.TB, text string) *gate.Gate {
	t.Helper()
	c, err := config.Parse("case.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("case.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

func (c rehearsed) lines(t testing.TB) (all []calls.Line) {
	t.Helper()
	for _, text := range c.Counted {
		words := strings.Fields(text)
		var n [4]int64
		for i, w := range words[2:] {
			var err error
			if n[i], err = strconv.ParseInt(w, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, calls.Line{Path: words[0], Client: words[1], Counts: calls.Counts{Calls: n[0], Refused: 1, Ambiguous: n[1], Inside: n[2], Outside: n[3]}})
	}
	return all
}

func rowText(r rehearsal.Row) string {
	inside := "-"
	if r.InsideWindow != nil {
		inside = strconv.FormatInt(*r.InsideWindow, 10)
	}
	return fmt.Sprintf("%s %s %d %s %s %d %s %d", r.Capability, r.Client, r.Calls, r.Verdict, r.Rule, r.Refused, inside, r.Unobserved)
}

func TestCases(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			g := c.gate(t)
			a := g.Accounts.All()[0]
			for _, chinese := range []bool{false, true} {
				by := rehearsal.New(g, now, chinese)
				at := by.StopsAt(a)
				if c.At != "" {
					var err error
					if at, err = rehearsal.ReadAt(c.At); err != nil {
						t.Fatal(err)
					}
				}
				r := by.Account(a, at, 7, c.lines(t))
				var rows []string
				for _, row := range r.By {
					rows = append(rows, rowText(row))
					if (row.Refused > 0 || row.Ambiguous > 0) != (row.Advice != "") || row.Meaning == string(row.Capability) {
						t.Errorf("%s means %q, the advice is %q", row.Capability, row.Meaning, row.Advice)
					}
				}
				if !slices.Equal(rows, c.Rows) {
					t.Errorf("%q\nwant %q", rows, c.Rows)
				}
				want := c.En
				if chinese {
					want = c.Zh
				}
				if r.Sentence != want {
					t.Errorf("%s\nwant %s", r.Sentence, want)
				}
				if r.Standing != c.Standing || r.RuleSet != c.RuleSet || r.Shadow != c.Shadow || r.Untold != c.Untold || r.Days != 7 || r.CorpID != "ww1" {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// A rehearsal says of every interface what explain says of a call to it at that instant: to a
// customer whose window is open, and to one who did not write.
func TestAgreesWithExplain(t *testing.T) {
	for _, c := range cases(t) {
		g := c.gate(t).Enforcing()
		a := g.Accounts.All()[0]
		by := rehearsal.New(g, now, false)
		at := by.StopsAt(a)
		for i, e := range slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds()) {
			if e.Capability == "oa" && i%20 > 0 { // a third of all, and alike
				continue
			}
			for _, client := range g.Clients.Names() {
				r := by.Account(a, at, 7, []calls.Line{{Path: e.Path, Client: client, Counts: calls.Counts{Calls: 1}}})
				path := strings.ReplaceAll(e.Path, "*", "new")
				if path == "new" {
					path = "/cgi-bin/new/new"
				}
				facts := e.Plausible(wecom.Facts{Channel: "wk", Customers: []string{"wm"}})
				if e.Capability == wecom.KfEventReply {
					facts.Code = "code"
				}
				goes := map[window.State]bool{}
				for _, state := range []window.State{window.Open, window.Closed} {
					in := gate.Call{Corp: a.CorpID, Client: client, Path: []byte(path), At: at}
					x := g.ExplainReading(context.Background(), in, oneState{state}, func(*wecom.Endpoint) (wecom.Facts, error) { return facts, nil }, false)
					goes[state] = x.Decision.Go
				}
				want := map[[2]bool]gate.FateVerdict{{true, true}: gate.FatePass, {true, false}: gate.FateReply, {false, false}: gate.FateRefuse}[[2]bool{goes[window.Open], goes[window.Closed]}]
				if got := r.By[0].Verdict; got != want {
					t.Errorf("%s: %s by %s: %s, explain says %s", c.Name, path, client, got, want)
				}
			}
		}
	}
}

// oneState is a store in which all windows are in one state.
type oneState struct{ window.State }

func (s oneState) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	all := make([]window.Answer, len(keys))
	for i := range all {
		all[i] = window.Answer{State: s.State, Left: -1}
	}
	return all
}
func (s oneState) Reserve(ctx context.Context, k window.Key) window.Answer { return s.Peek(ctx, k)[0] }
func (s oneState) PeekCode(context.Context, string, string) window.CodeAnswer {
	if s.State == window.Closed {
		return window.CodeAnswer{}
	}
	return window.CodeAnswer{State: window.CodeTaken}
}
func (s oneState) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return s.PeekCode(ctx, corp, code)
}

// The verdict of a call that rules tell apart by its message type or customer says that it varies.
func TestVaries(t *testing.T) {
	const account = "accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n"
	for rule, varies := range map[string]bool{
		"match: { msgtypes: [image] }, action: refuse":                                       true,
		"match: { capabilities: [kf_reply] }, percent: 50, action: refuse":                   true,
		"match: { capabilities: [mass_message] }, percent: 50, action: refuse":               false,
		"match: { msgtypes: [image], capabilities: [welcome] }, action: refuse":              false,
		"match: { msgtypes: [image], standings: [active] }, action: refuse":                  false,
		"match: { capabilities: [kf_reply] }, when: call.msgtype == 'image', action: refuse": false, // samples know only what match names
	} {
		g := newGate(t, account+"policy: { rules: [{ name: own, "+rule+" }] }\n")
		r := rehearsal.New(g, now, false).Account(g.Accounts.All()[0], now, 7, []calls.Line{{Path: "/cgi-bin/kf/send_msg", Client: "unknown", Counts: calls.Counts{Calls: 1}}})
		if got := r.By[0].Advice == policy.AdviceVaries(false); got != varies {
			t.Errorf("%s: the advice is %q", rule, r.By[0].Advice)
		}
	}
}

// Calls of unknown accounts matter where a rule could refuse them.
func TestUnattributed(t *testing.T) {
	g := newGate(t, "accounts: [{ corp_id: ww1 }, { corp_id: ww2 }]")
	rows := rehearsal.New(g, now, true).Unattributed([]calls.Line{
		{Path: "/cgi-bin/media/get", Client: "bot", Counts: calls.Counts{Calls: 9}},
		{Path: "/cgi-bin/kf/send_msg", Client: "bot", Counts: calls.Counts{Calls: 3}},
		{Path: "/cgi-bin/kf/send", Client: "bot", Counts: calls.Counts{Calls: 1}},
		{Path: "/cgi-bin/externalcontact/get", Client: "crm", Counts: calls.Counts{Calls: 7}},
		{Path: calls.Other, Client: calls.Other, Counts: calls.Counts{Calls: 7}},
	})
	var got []string
	for _, r := range rows {
		got = append(got, rowText(r))
	}
	if want := []string{"customer_details crm 7 refuse  7 - 0", "kf_reply bot 4 refuse  4 - 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestReadAt(t *testing.T) {
	for text, want := range map[string]string{
		"2026-12-02":                "2026-12-01T16:00:00Z",
		"2026-12-02T01:00:00+08:00": "2026-12-01T17:00:00Z",
		"2026-12-2":                 "", "tomorrow": "", "": "",
	} {
		at, err := rehearsal.ReadAt(text)
		if (err != nil) != (want == "") || err == nil && at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}

// Both languages take the same values: what is left out or formatted wrongly shows as %!.
func TestTexts(t *testing.T) {
	source, err := os.ReadFile("text.go")
	if err != nil {
		t.Fatal(err)
	}
	pair := regexp.MustCompile(`(?s)text\{\s*"([^"]*)",\s*"([^"]*)"`)
	value := regexp.MustCompile(`%\[\d\]`)
	n := 0
	for _, m := range pair.FindAllStringSubmatch(string(source), -1) {
		n++
		en, zh := value.FindAllString(m[1], -1), value.FindAllString(m[2], -1)
		slices.Sort(en)
		slices.Sort(zh)
		if !slices.Equal(en, zh) && !strings.Contains(m[1], "standing") { // Chinese has a word for it
			t.Errorf("%q and %q take other values", m[1], m[2])
		}
	}
	if n < 12 {
		t.Errorf("only %d texts were found", n)
	}
}

// BenchmarkAccounts rehearses 10,000 accounts with 20 kinds of calls each, without reading them.
func BenchmarkAccounts(b *testing.B) {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - { corp_id: ww%d, subscription: { expires_at: 2026-12-%02dT00:00:00+08:00 } }\n", i, 1+i%30)
	}
	g := newGate(b, text.String())
	var lines []calls.Line
	for i, e := range wecom.Endpoints() {
		if i%50 == 0 {
			lines = append(lines, calls.Line{Path: e.Path, Client: "bot", Counts: calls.Counts{Calls: 5}})
		}
	}
	for b.Loop() {
		by := rehearsal.New(g, now, true)
		for _, a := range g.Accounts.All() {
			by.Account(a, by.StopsAt(a), 7, lines)
		}
	}
}

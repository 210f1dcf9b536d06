// Package rehearsal tells what would stop for an account at an instant, such as that of its lapse:
// which of its calls of the last days would be refused, which go on, and what to do.
//
// It does not read Redis or logs, and decides nothing by itself: the rules of the configuration
// judge sample calls, or the recorded ones.
package rehearsal

import (
	"cmp"
	"slices"
	"time"

	"replygate/account"
	"replygate/calls"
	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
)

// Report is the rehearsal of one account.
type Report struct {
	CorpID   string `json:"corp_id"`
	Account  string `json:"account"` // its name
	At       string `json:"at"`      // RFC 3339
	Standing string `json:"standing"`
	RuleSet  string `json:"ruleset"`
	Calls    int64  `json:"calls"`
	Days     int    `json:"days"`    // within which the calls came
	Refused  int64  `json:"refused"` // of Calls, as far as that is known
	By       []Row  `json:"by"`
	Sentence string `json:"sentence"` // the whole in words
	Shadow   bool   `json:"shadow,omitempty"`
	// Untold are calls that are in no row: their path has several readings, or there were too many
	// kinds of calls to count each.
	Untold int64 `json:"untold,omitempty"`
	// Unattributed are calls of all accounts whose token the gateway does not know, and which would
	// be refused for that to a lapsed account.
	Unattributed []Row `json:"unattributed,omitempty"`
}

// Row is what would become of the calls of one client to the interfaces of one capability.
type Row struct {
	Capability wecom.Capability `json:"capability"`
	Meaning    string           `json:"meaning"` // of the capability
	Client     string           `json:"client"`
	Calls      int64            `json:"calls"`
	Verdict    gate.FateVerdict `json:"verdict"`
	Rule       string           `json:"rule,omitempty"`
	Refused    int64            `json:"refused"` // of Calls, as far as that is known
	// InsideWindow are the replies whose customer had an open window; nil: no reply was observed.
	InsideWindow *int64 `json:"inside_window,omitempty"`
	Unobserved   int64  `json:"unobserved,omitempty"` // replies of which that is not known
	Ambiguous    int64  `json:"ambiguous_bodies,omitempty"`
	Advice       string `json:"advice,omitempty"`
}

// Rehearser rehearses accounts under one configuration.
type Rehearser struct {
	gate     *gate.Gate // as if policy.mode were enforce
	shadow   bool
	now      time.Time
	instants []time.Time // at which rules begin or end, sorted
	fates    map[fateKey]gate.Fate
	text     texts
}

// fateKey is all that a Fate depends on.
type fateKey struct {
	alike    string // policy.Engine.Alike
	standing account.Standing
	phase    int // how many of the instants are past
	path     string
	client   string
}

// New returns a Rehearser for the present instant; its texts are in Chinese or in English.
func New(g *gate.Gate, now time.Time, chinese bool) *Rehearser {
	r := &Rehearser{gate: g.Enforcing(), shadow: g.Engine.Shadow(), now: now, fates: map[fateKey]gate.Fate{}, text: texts{chinese}}
	r.instants = r.gate.Engine.Instants(nil)
	slices.SortFunc(r.instants, time.Time.Compare)
	return r
}

// Gate returns the gate that judges: that of New, as if policy.mode were enforce.
func (r *Rehearser) Gate() *gate.Gate { return r.gate }

// StopsAt returns when an account stops by itself, or now if it has stopped, or never does.
func (r *Rehearser) StopsAt(a *account.Account) time.Time {
	if at := a.LapsesAt(); at.After(r.now) {
		return at
	}
	return r.now
}

// Account rehearses an account at an instant, by what was counted of its calls on the last days.
func (r *Rehearser) Account(a *account.Account, at time.Time, days int, lines []calls.Line) Report {
	t := r.Tally(a, at)
	for _, l := range lines {
		t.count(l)
	}
	return t.Report(days, false)
}

// Tally adds up the calls of one account.
type Tally struct {
	r      *Rehearser
	who    policy.Subject // but for the client
	alike  string
	at     time.Time
	rows   map[rowKey]*sum
	untold int64
}

type rowKey struct {
	capability wecom.Capability
	client     string
	verdict    gate.FateVerdict
	rule       string
}

type sum struct {
	calls.Counts
	varies bool
}

// Tally returns an empty Tally.
func (r *Rehearser) Tally(a *account.Account, at time.Time) *Tally {
	return &Tally{
		r: r, at: at, alike: r.gate.Engine.Alike(a), rows: map[rowKey]*sum{},
		who: policy.Subject{CorpID: a.CorpID, Entity: a.Entity, Account: a, Standing: a.StandingLater(r.now, at)},
	}
}

// fate returns what would become of a client's calls to a path.
func (t *Tally) fate(path, client string) gate.Fate {
	phase, _ := slices.BinarySearchFunc(t.r.instants, t.at, func(i, at time.Time) int {
		if i.After(at) {
			return 1
		}
		return -1
	})
	key := fateKey{t.alike, t.who.Standing, phase, path, client}
	f, known := t.r.fates[key]
	if !known {
		who := t.who
		who.Client = client
		f = t.r.gate.Fate(who, wecom.Lookup(path), t.at)
		t.r.fates[key] = f
	}
	return f
}

// count adds a counted kind of call.
func (t *Tally) count(l calls.Line) {
	if l.Path[0] != '/' && l.Path != "*" {
		t.untold += l.Calls
		return
	}
	f := t.fate(l.Path, l.Client)
	counts := l.Counts
	counts.Refused = 0 // that was then
	switch f.Verdict {
	case gate.FateRefuse:
		counts = calls.Counts{Calls: l.Calls, Refused: l.Calls}
	case gate.FateReply:
		counts.Refused = min(counts.Outside+counts.Ambiguous, counts.Calls)
	default:
		counts = calls.Counts{Calls: l.Calls}
	}
	t.add(f, l.Client, counts)
}

func (t *Tally) add(f gate.Fate, client string, counts calls.Counts) {
	key := rowKey{f.Capability, client, f.Verdict, f.Rule}
	s := t.rows[key]
	if s == nil {
		s = &sum{}
		t.rows[key] = s
	}
	s.Counts = s.Plus(counts)
	s.varies = s.varies || f.Varies
}

// Past adds a recorded call, as decided for the instant of the Tally. With decided false its record
// does not hold all that decides, and what becomes of it is told by its path.
func (t *Tally) Past(path, client string, d policy.Decision, decided bool) {
	f := t.fate(path, client)
	one := calls.Counts{Calls: 1}
	switch {
	case !decided:
		t.count(calls.Line{Path: path, Client: client, Counts: one})
		return
	case d.Go && f.Verdict == gate.FateReply && d.Capability == f.Capability:
		one.Inside = 1
	case f.Verdict == gate.FateReply && d.Capability == f.Capability && d.Reason == policy.AmbiguousBody:
		one.Refused, one.Ambiguous = 1, 1
	case f.Verdict == gate.FateReply && d.Capability == f.Capability && d.Verdict == policy.Refuse:
		one.Refused, one.Outside = 1, 1
	case d.Go:
		f = gate.Fate{Verdict: gate.FatePass, Rule: d.Rule, Capability: d.Capability}
	case d.Verdict == policy.Unsure:
		f = gate.Fate{Verdict: gate.FateUnsure, Rule: d.Rule, Capability: d.Capability}
	default:
		f = gate.Fate{Verdict: gate.FateRefuse, Rule: d.Rule, Capability: d.Capability}
		one.Refused = 1
	}
	t.add(f, client, one)
}

// Report returns the Report of what was added: what is refused first, then what needs a window,
// then the rest, each with the most calls first. logs is true if the calls are those of logs.
func (t *Tally) Report(days int, logs bool) Report {
	a := t.who.Account
	out := Report{
		CorpID: a.CorpID, Account: a.Name, At: t.at.In(Zone).Format(instantLayout), Standing: string(t.who.Standing), RuleSet: t.r.gate.RuleSetAt(t.at),
		Days: days, By: []Row{}, Shadow: t.r.shadow, Untold: t.untold, Calls: t.untold,
	}
	for key, s := range t.rows {
		out.Calls += s.Calls
		out.Refused += s.Refused
		out.By = append(out.By, t.row(key, s))
	}
	slices.SortFunc(out.By, func(a, b Row) int {
		return cmp.Or(cmp.Compare(order[a.Verdict], order[b.Verdict]), cmp.Compare(b.Calls, a.Calls),
			cmp.Compare(a.Capability, b.Capability), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Rule, b.Rule))
	})
	out.Sentence = t.sentence(&out, logs)
	return out
}

var order = map[gate.FateVerdict]int{gate.FateRefuse: 0, gate.FateReply: 1, gate.FateUnsure: 2, gate.FatePass: 3}

// Zone is that of the instants in a Report: WeCom's.
var Zone = time.FixedZone("UTC+8", 8*3600)

const instantLayout = "2006-01-02T15:04:05.000Z07:00"

func (t *Tally) row(key rowKey, s *sum) Row {
	row := Row{
		Capability: key.capability, Meaning: policy.Meaning(key.capability, t.r.text.chinese), Client: key.client, Calls: s.Calls,
		Verdict: key.verdict, Rule: key.rule, Refused: s.Refused, Ambiguous: s.Ambiguous, Advice: t.advice(key, s),
	}
	if key.verdict == gate.FateReply && key.capability == wecom.KfReply {
		row.Unobserved = max(s.Calls-s.Inside-s.Outside-s.Ambiguous, 0)
		if s.Inside+s.Outside > 0 {
			row.InsideWindow = &s.Inside
		}
	}
	return row
}

func (t *Tally) advice(key rowKey, s *sum) string {
	var all []string
	chinese := t.r.text.chinese
	switch {
	case key.verdict == gate.FateRefuse:
		all = append(all, policy.AdviceRefused(key.capability, key.rule, chinese))
	case s.Outside > 0:
		all = append(all, t.r.gate.Engine.AdviceReply(chinese))
	}
	if s.Ambiguous > 0 {
		all = append(all, policy.AdviceBody(s.Ambiguous, chinese))
	}
	if s.varies {
		all = append(all, policy.AdviceVaries(chinese))
	}
	return t.r.text.join(all)
}

// Unattributed returns the rows of calls whose account is not known, of those that a rule could
// refuse.
func (r *Rehearser) Unattributed(lines []calls.Line) []Row {
	sums := map[rowKey]int64{}
	for _, l := range lines {
		if l.Path[0] != '/' {
			continue
		}
		if e := wecom.Lookup(l.Path); !r.gate.AlwaysPasses(wecom.Route{Path: e.Path, Endpoint: e}) {
			sums[rowKey{capability: e.Capability, client: l.Client}] += l.Calls
		}
	}
	var rows []Row
	for key, n := range sums {
		rows = append(rows, Row{
			Capability: key.capability, Meaning: policy.Meaning(key.capability, r.text.chinese), Client: key.client, Calls: n,
			Verdict: gate.FateRefuse, Refused: n, Advice: policy.AdviceToken(r.text.chinese),
		})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Capability, b.Capability), cmp.Compare(a.Client, b.Client))
	})
	return rows
}

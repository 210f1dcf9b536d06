package gate

import (
	"context"
	"slices"
	"time"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Explanation is a judgement with the rules and facts that led to it.
type Explanation struct {
	Judgement
	Judged    bool      // false if the call passes unread
	ChangesAt time.Time // when the outcome changes by time alone; zero if never
	Rules     []policy.Traced
	Facts     []Fact
}

// Fact is one input of a judgement, and its source.
type Fact struct {
	Name   string
	Value  any
	Source string
}

// Explain judges a call without changing anything in the store, and explains the result.
func (g *Gate) Explain(ctx context.Context, in Call, s Store, chinese bool) Explanation {
	return g.ExplainReading(ctx, in, s, g.reader(in), chinese)
}

// ExplainReading is Explain with read as the source of the facts, as in JudgeReading.
func (g *Gate) ExplainReading(ctx context.Context, in Call, s Store, read Reader, chinese bool) Explanation {
	g = &Gate{Config: g.Config, Accounts: g.Accounts, Engine: g.Engine.In(chinese), Clients: g.Clients}
	known := &cachedStore{Store: Peeking(s), windows: map[window.Key]window.Answer{}, codes: map[string]window.CodeAnswer{}}
	j, h, judged := g.JudgeReading(ctx, in, known, read)
	e := Explanation{Judgement: j, Judged: judged, ChangesAt: g.changesAt(ctx, in, j, known, read)}
	if !h.Route.Ambiguous() {
		c := policy.Call{Who: h.Who, Endpoint: h.Route.Endpoint, Facts: j.Facts, At: in.At, Windows: j.Seen}
		e.Rules = g.Engine.Trace(c, h.Route.Endpoint.Capability, chinese)
		if also := j.Facts.Also; also != "" {
			for _, t := range g.Engine.Trace(c, also, chinese) {
				t.Name += " (" + string(also) + ")"
				e.Rules = append(e.Rules, t)
			}
		}
	}
	before := j.Evidence.Windows
	if len(j.Keys) > 0 {
		before = known.Peek(ctx, j.Keys...) // not as this reply would leave them
	}
	e.Facts = g.facts(in, h, j, before)
	return e
}

// changesAt returns the first instant at which the same call has another outcome if no message or
// reply comes in between. It judges the call again at each instant at which an input changes.
func (g *Gate) changesAt(ctx context.Context, in Call, j Judgement, known *cachedStore, read Reader) time.Time {
	instants := g.Engine.Instants(g.Accounts.Find(in.Corp))
	for _, a := range known.windows {
		instants = append(instants, a.Closes(g.Engine.Length()))
	}
	for _, c := range known.codes {
		instants = append(instants, c.Code.Deadline)
	}
	slices.SortFunc(instants, time.Time.Compare)
	for _, at := range instants {
		if !at.After(in.At) {
			continue
		}
		later := in
		later.At = at
		then, _, _ := g.JudgeReading(ctx, later, laterStore{known, at, g.Engine.Length()}, read)
		if !sameOutcome(then.Decision, j.Decision) {
			return at
		}
	}
	return time.Time{}
}

func sameOutcome(a, b policy.Decision) bool {
	return a.Verdict == b.Verdict && a.Rule == b.Rule && a.Reason == b.Reason && a.Go == b.Go
}

// cachedStore reads each window and code of a store once, and changes nothing.
type cachedStore struct {
	Store
	windows map[window.Key]window.Answer
	codes   map[string]window.CodeAnswer
}

func (m *cachedStore) Peek(ctx context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i, k := range keys {
		a, known := m.windows[k]
		if !known {
			a = m.Store.Peek(ctx, k)[0]
			m.windows[k] = a
		}
		answers[i] = a
	}
	return answers
}

func (m *cachedStore) Reserve(ctx context.Context, k window.Key) window.Answer {
	return readOnly{m}.Reserve(ctx, k)
}

func (m *cachedStore) PeekCode(ctx context.Context, corp, code string) window.CodeAnswer {
	a, known := m.codes[corp+"\x00"+code]
	if !known {
		a = m.Store.PeekCode(ctx, corp, code)
		m.codes[corp+"\x00"+code] = a
	}
	return a
}

func (m *cachedStore) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return m.PeekCode(ctx, corp, code)
}

// laterStore answers as the store will at a later instant: windows past their close are closed.
type laterStore struct {
	*cachedStore
	at     time.Time
	length time.Duration
}

func (s laterStore) Peek(ctx context.Context, keys ...window.Key) []window.Answer {
	answers := s.cachedStore.Peek(ctx, keys...)
	for i, a := range answers {
		if !a.Last.IsZero() && !s.at.Before(a.Closes(s.length)) {
			answers[i] = window.Answer{State: window.Closed, Last: a.Last}
		}
	}
	return answers
}

func (s laterStore) Reserve(ctx context.Context, k window.Key) window.Answer {
	return readOnly{s}.Reserve(ctx, k)
}

// The sources of facts.
const (
	fromRequest   = "request"
	fromConfig    = "configuration"
	fromCatalogue = "catalogue"
	fromClock     = "configuration and clock"
	fromBody      = "body"
	fromStore     = "Redis"
	fromMeter     = "contact_list"
)

// facts lists the inputs of a judgement; windows are those before the call was counted.
func (g *Gate) facts(in Call, h Head, j Judgement, windows []window.Answer) []Fact {
	all := []Fact{{"account.corp_id", in.Corp, fromRequest}, {"at", in.At.Format(time.RFC3339Nano), fromRequest}}
	if a := h.Who.Account; a != nil {
		all = append(all, factsOfAccount(a, h.Who)...)
	} else {
		all = append(all, Fact{"account.listed", false, fromConfig})
	}
	if h.Route.Ambiguous() {
		return append(all, Fact{"call.path", g.Engine.ManyReadings(), fromRequest})
	}
	all = append(all, Fact{"call.endpoint", h.Route.Endpoint.Path, fromRequest}, Fact{"call.capability", h.Route.Endpoint.Capability, fromCatalogue})
	if in.Client != "" {
		all = append(all, Fact{"call.client", in.Client, fromRequest})
	}
	all = append(all, factsOfBody(j.Facts)...)
	for _, a := range windows {
		all = append(all, factsOfWindow(a, g.Engine.Length())...)
	}
	if code := j.Evidence.Code; code.Asked() {
		all = append(all, Fact{"code.state", code.State.String(), fromStore})
		if !code.Code.Deadline.IsZero() {
			all = append(all, Fact{"code.kind", code.Code.Kind, fromStore}, Fact{"code.deadline", code.Code.Deadline.UTC().Format(time.RFC3339), fromStore})
		}
	}
	return all
}

func factsOfAccount(a *account.Account, who policy.Subject) []Fact {
	all := []Fact{{"account.name", a.Name, fromConfig}, {"account.entity", a.Entity, fromConfig}, {"account.standing", who.Standing, fromClock}}
	if at := a.LapsesAt(); !at.IsZero() {
		all = append(all, Fact{"account.expires_at", a.ExpiresAt().Format(time.RFC3339), fromConfig}, Fact{"account.lapses_at", at.Format(time.RFC3339), fromConfig})
	}
	if free, total, known := a.Contacts(); known {
		source := fromConfig
		if n, _ := a.Counted(); n.Source == account.Metered {
			source = fromMeter
		}
		all = append(all, Fact{"account.contacts", total, source}, Fact{"account.contacts_free", free, fromConfig})
	}
	return all
}

func factsOfBody(f wecom.Facts) (all []Fact) {
	if f.MsgType != "" {
		all = append(all, Fact{"call.msgtype", f.MsgType, fromBody})
	}
	if f.Also != "" {
		all = append(all, Fact{"call.also", f.Also, fromBody})
	}
	if len(f.Customers) > 0 {
		all = append(all, Fact{"call.channel", f.Channel, fromBody}, Fact{"call.customers", f.Customers, fromBody})
	}
	if len(f.Groups) > 0 {
		all = append(all, Fact{"call.groups", len(f.Groups), fromBody})
	}
	if f.Implicit {
		all = append(all, Fact{"call.implicit", true, fromBody})
	}
	return all
}

func factsOfWindow(a window.Answer, length time.Duration) []Fact {
	all := []Fact{{"window.state", a.State.String(), fromStore}}
	if !a.Last.IsZero() {
		all = append(all, Fact{"window.last", a.Last.UTC().Format(time.RFC3339Nano), fromStore}, Fact{"window.closes", a.Closes(length).UTC().Format(time.RFC3339Nano), fromStore})
	}
	if a.Left >= 0 {
		all = append(all, Fact{"window.replies_left", a.Left, fromStore})
	}
	return all
}

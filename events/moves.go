package events

import (
	"context"
	"time"

	"replygate/account"
	"replygate/contacts"
)

// Moves finds contacts that move between accounts of one legal entity.
type Moves struct {
	Book      func() *account.Book
	State     func(corp string) contacts.State
	Histories func(ctx context.Context, corps []string) (map[string][]contacts.Day, error)
}

// MovedData is the data of contacts.moved: two numbers, not a claim about people.
type MovedData struct {
	Entity string `json:"entity"`
	From   string `json:"from"` // corp ids
	To     string `json:"to"`
	Gained int    `json:"gained"`
	Lost   int    `json:"lost"`
	Days   int    `json:"days"`
}

// moveKept is how long a move is the same one: it is measured over so many days.
const moveKept = 30 * day

// find returns the moves that are not known yet.
func (m *Moves) find(ctx context.Context, known map[string]string, now time.Time) (all []Event, err error) {
	siblings, err := m.siblings(ctx, now)
	if err != nil {
		return nil, err
	}
	for _, e := range contacts.Entities(siblings, now) {
		for _, s := range e.Shifts {
			field := "moved:" + s.From
			was := known[field]
			if to, at := parseKnown(was); to == s.To && now.Sub(at) < moveKept {
				continue
			}
			all = append(all, Event{
				Type: ContactsMoved, At: now, Corp: s.From, Key: []string{s.From, s.To, was},
				Data:  MovedData{Entity: e.Name, From: s.From, To: s.To, Gained: s.Gained, Lost: s.Lost, Days: s.Days},
				Field: field, Was: was, Value: knownSince(s.To, now),
			})
		}
	}
	return all, nil
}

// siblings returns the accounts of all entities, with their histories.
func (m *Moves) siblings(ctx context.Context, now time.Time) (all []contacts.Sibling, err error) {
	for _, a := range m.Book().All() {
		if a.Entity == "" {
			continue
		}
		s := contacts.Sibling{CorpID: a.CorpID, Name: a.Name, Entity: a.Entity, Lapses: a.LapsesAt()}
		s.Number, s.Known = contacts.NumberOf(a, m.State(a.CorpID))
		all = append(all, s)
	}
	return all, contacts.ReadHistories(ctx, all, m.Histories)
}

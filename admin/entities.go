package admin

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"replygate/account"
	"replygate/contacts"
)

// Entity is the JSON form of the report about one legal entity. It reports, and refuses nothing.
type Entity struct {
	Name       string    `json:"name"`
	Total      int       `json:"total"`       // the sum over the accounts whose contacts are known
	UpperBound bool      `json:"upper_bound"` // a person who is a contact of two accounts is in total twice
	Exact      bool      `json:"exact"`       // no number in total is an estimate
	Unknown    int       `json:"unknown"`     // accounts that are not in total
	Change     *int      `json:"change_30d"`  // over the accounts that have one; null: none has
	Accounts   []Sibling `json:"accounts"`
	Moves      []Shift   `json:"moves"`
}

// Sibling is one account of an Entity.
type Sibling struct {
	CorpID    string `json:"corp_id"`
	Name      string `json:"name"`
	Entity    string `json:"entity"`
	Standing  string `json:"standing"`
	Lapses    string `json:"lapses_at,omitempty"`
	Total     *int   `json:"total"` // null: not known
	Exact     bool   `json:"exact"`
	CountedAt string `json:"counted_at,omitempty"`
	Source    string `json:"source,omitempty"`
	Limit     *int   `json:"limit"` // null: not known
	LimitKind string `json:"limit_kind,omitempty"`
	Change    *int   `json:"change_30d"` // null: not counted for a week
	Days      int    `json:"change_days,omitempty"`
}

// Shift says that one account lost at least a tenth of its contacts while another of its entity
// gained about as many: two numbers, which do not say that these are the same people.
type Shift struct {
	From   string `json:"from"` // corp ids
	To     string `json:"to"`
	Lost   int    `json:"lost"`
	Gained int    `json:"gained"`
	Days   int    `json:"days"`
	Lapses string `json:"lapses_at,omitempty"` // of From, if it is within 30 days of these days
}

// EntityList is the answer of GET /v1/entities.
type EntityList struct {
	Entities []Entity `json:"entities"`
	ListEnd
}

// OneEntity is the answer of GET /v1/entities/NAME.
type OneEntity struct {
	Entity
	AsOf string `json:"as_of"`
}

const byTotal = "-total"

var entityListing = listing{sorts: []string{byTotal, byName}, filters: []string{"q"}}

// entities lists the legal entities of the accounts. As CSV it has a row for each account.
func (a *Admin) entities(w http.ResponseWriter, r *http.Request) {
	q, err := a.readQuery(r, entityListing)
	if err != nil {
		failQuery(w, err)
		return
	}
	text, now := strings.ToLower(q.Get("q")), a.Now()
	found := contacts.Entities(a.siblings(func(entity string) bool { return strings.Contains(strings.ToLower(entity), text) }), now)
	list := EntityList{Entities: []Entity{}, ListEnd: ListEnd{Total: new(len(found)), AsOf: stamp(now)}}
	found, list.Next = page(q, found, func(e contacts.Entity) position {
		if q.sort == byName {
			return position{Text: strings.ToLower(e.Name), ID: e.Name}
		}
		return position{Number: float64(e.Total), ID: e.Name}
	})
	if q.csv {
		export(a, w, "entities", a.siblingRows(r.Context(), found, now))
		return
	}
	for _, e := range found {
		if e, err = a.withHistory(r.Context(), e, now); err != nil {
			storeAway(w, err)
			return
		}
		list.Entities = append(list.Entities, showEntity(e))
	}
	if !unchanged(w, r, list.Entities, list.Total) {
		reply(w, http.StatusOK, list)
	}
}

// siblingRows yields the accounts of entities, a page for each entity.
func (a *Admin) siblingRows(ctx context.Context, found []contacts.Entity, now time.Time) iter.Seq2[[]Sibling, error] {
	return func(yield func([]Sibling, error) bool) {
		for _, e := range found {
			e, err := a.withHistory(ctx, e, now)
			if !yield(showEntity(e).Accounts, err) || err != nil {
				return
			}
		}
	}
}

// entity shows one legal entity.
func (a *Admin) entity(w http.ResponseWriter, r *http.Request) {
	if _, err := checkedValues(r); err != nil {
		failQuery(w, err)
		return
	}
	name, now := r.PathValue("name"), a.Now()
	found := contacts.Entities(a.siblings(func(entity string) bool { return entity == name }), now)
	if len(found) == 0 {
		fail(w, http.StatusNotFound, "no_entity", "no account of the configuration has this entity: letter case matters")
		return
	}
	e, err := a.withHistory(r.Context(), found[0], now)
	if err != nil {
		storeAway(w, err)
		return
	}
	shown := showEntity(e)
	if !unchanged(w, r, shown) {
		reply(w, http.StatusOK, OneEntity{shown, stamp(now)})
	}
}

// siblings returns the accounts of the entities that are chosen by name, without their histories.
func (a *Admin) siblings(chosen func(entity string) bool) (found []contacts.Sibling) {
	now := a.Now()
	for _, acc := range a.Gateway.Gate().Accounts.All() {
		if acc.Entity == "" || !chosen(acc.Entity) {
			continue
		}
		s := contacts.Sibling{CorpID: acc.CorpID, Name: acc.Name, Entity: acc.Entity, Standing: acc.Standing(now), Lapses: acc.LapsesAt()}
		s.Number, s.Known = a.number(acc)
		s.Limit, s.LimitKind = acc.Limit(now)
		found = append(found, s)
	}
	return found
}

// withHistory returns an entity with what its accounts' histories tell.
func (a *Admin) withHistory(ctx context.Context, e contacts.Entity, now time.Time) (contacts.Entity, error) {
	siblings := make([]contacts.Sibling, len(e.Accounts))
	for i, m := range e.Accounts {
		siblings[i] = m.Sibling
	}
	if err := contacts.ReadHistories(ctx, siblings, a.histories); err != nil {
		return e, err
	}
	return contacts.Entities(siblings, now)[0], nil
}

// histories returns the days on which accounts were counted, oldest first.
func (a *Admin) histories(ctx context.Context, corps []string) (map[string][]contacts.Day, error) {
	if a.Histories == nil || len(corps) == 0 {
		return nil, nil
	}
	return a.Histories(ctx, corps)
}

func showEntity(e contacts.Entity) Entity {
	out := Entity{
		Name: e.Name, Total: e.Total, UpperBound: e.UpperBound, Exact: !e.Estimate, Unknown: e.Unknown,
		Accounts: make([]Sibling, len(e.Accounts)), Moves: make([]Shift, len(e.Shifts)),
	}
	if slices.ContainsFunc(e.Accounts, func(m contacts.Member) bool { return m.Paced }) {
		out.Change = &e.Change
	}
	for i, m := range e.Accounts {
		out.Accounts[i] = showMember(m)
	}
	slices.SortStableFunc(out.Accounts, func(a, b Sibling) int { return cmp.Compare(known(b.Total), known(a.Total)) })
	for i, s := range e.Shifts {
		out.Moves[i] = Shift{From: s.From, To: s.To, Lost: s.Lost, Gained: s.Gained, Days: s.Days, Lapses: Stamp(s.Lapse)}
	}
	return out
}

func showMember(m contacts.Member) Sibling {
	out := Sibling{CorpID: m.CorpID, Name: m.Name, Entity: m.Entity, Standing: string(m.Standing), Lapses: Stamp(m.Lapses)}
	if m.Known {
		out.Total, out.Exact, out.CountedAt, out.Source = &m.Number.Total, m.Number.Exact, Stamp(m.Number.AsOf), string(m.Number.Source)
	}
	if m.LimitKind != account.NoLimit {
		out.Limit, out.LimitKind = &m.Limit, string(m.LimitKind)
	}
	if m.Paced {
		out.Change, out.Days = &m.Growth, m.Pace.Days
	}
	return out
}

// known returns a number, or -1 if it is not known.
func known(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

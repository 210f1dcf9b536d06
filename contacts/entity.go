package contacts

import (
	"cmp"
	"context"
	"slices"
	"time"

	"replygate/account"
)

const (
	// lostPercent is how much of its contacts a sibling must lose to be reported.
	lostPercent = 10
	// gainedPercent is how much of the loss another sibling must at least have gained.
	gainedPercent = 90
	// lapseRange is how far from the days compared a lapse may be to be named with a shift.
	lapseRange = 30 * 24 * time.Hour
)

// Sibling is one account, with what is known of its contacts.
type Sibling struct {
	CorpID, Name, Entity string
	Standing             account.Standing
	Lapses               time.Time // end of the grace period; zero: never
	Number               Number
	Known                bool // Number is known
	Limit                int
	LimitKind            account.LimitKind
	History              []Day // oldest first
}

// Entity is the report about the accounts of one legal entity. It never refuses anything.
type Entity struct {
	Name     string
	Accounts []Member
	// Total sums the accounts whose contacts are known. Contact ids differ between corps, so a person
	// who is a contact of two accounts counts twice: the sum is an upper bound of people.
	Total      int
	UpperBound bool // Total may count people twice: more than one account is in it
	Estimate   bool // at least one of the numbers in Total is an estimate
	Unknown    int  // accounts that are not in Total
	Change     int  // of the accounts that have a pace
	Shifts     []Shift
}

// Member is an account of an entity, with its change of up to 30 days.
type Member struct {
	Sibling
	Pace   Pace
	Paced  bool // Pace is known
	Growth int  // Pace.Change, 0 if not Paced
}

// Shift says that one account lost at least a tenth of its contacts, while another of the same
// entity gained about as many. It is a fact about two numbers, not about people. A gain may be in
// several shifts if it is enough for all their losses together.
type Shift struct {
	From, To     string // corp ids
	Lost, Gained int    // the whole change of each
	Days         int
	Lapse        time.Time // when From lapses or lapsed, if that is within 30 days of the days compared; else zero
}

// Entities reports the legal entities of accounts at an instant, in the order of their names.
// Accounts without an entity are in none.
func Entities(siblings []Sibling, now time.Time) []Entity {
	byName := map[string]*Entity{}
	var all []*Entity
	for _, s := range siblings {
		if s.Entity == "" {
			continue
		}
		if byName[s.Entity] == nil {
			byName[s.Entity] = &Entity{Name: s.Entity}
			all = append(all, byName[s.Entity])
		}
		byName[s.Entity].add(s, now)
	}
	slices.SortFunc(all, func(a, b *Entity) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]Entity, len(all))
	for i, e := range all {
		e.Shifts = shifts(e.Accounts, now)
		out[i] = *e
	}
	return out
}

func (e *Entity) add(s Sibling, now time.Time) {
	m := Member{Sibling: s}
	if m.Pace, m.Paced = Measure(s.History, now); m.Paced {
		m.Growth = m.Pace.Change
	}
	e.Accounts = append(e.Accounts, m)
	e.Change += m.Growth
	if !s.Known {
		e.Unknown++
		return
	}
	e.UpperBound = len(e.Accounts)-e.Unknown > 1
	e.Estimate = e.Estimate || !s.Number.Exact
	e.Total += s.Number.Total
}

// shifts pairs each account that lost a tenth with the one whose gain is nearest to the loss. A
// gain is used up by the losses that it was paired with. Accounts around a lapse choose first, then
// those that lost most.
func shifts(members []Member, now time.Time) (found []Shift) {
	var losers []*Member
	for i := range members {
		if m := &members[i]; m.Growth < 0 && -m.Growth*100 >= m.Pace.From*lostPercent {
			losers = append(losers, m)
		}
	}
	slices.SortStableFunc(losers, func(a, b *Member) int {
		if near := a.lapsesNear(now); near != b.lapsesNear(now) {
			if near {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Growth, b.Growth)
	})
	paired := map[*Member]int{} // losses, by the account that gained
	for _, from := range losers {
		lost := -from.Growth
		to := nearestGain(members, paired, lost)
		if to == nil {
			continue
		}
		paired[to] += lost
		s := Shift{From: from.CorpID, To: to.CorpID, Lost: lost, Gained: to.Growth, Days: max(from.Pace.Days, to.Pace.Days)}
		if from.lapsesNear(now) {
			s.Lapse = from.Lapses
		}
		found = append(found, s)
	}
	return found
}

// nearestGain returns the account whose gain is enough for a loss, beside those that it is paired
// with, and then nearest to it; nil if there is none.
func nearestGain(members []Member, paired map[*Member]int, lost int) (nearest *Member) {
	least := 0 // distance
	for i := range members {
		m := &members[i]
		losses := paired[m] + lost
		if m.Growth*100 < losses*gainedPercent {
			continue
		}
		distance := max(m.Growth-losses, losses-m.Growth)
		if nearest == nil || distance < least {
			nearest, least = m, distance
		}
	}
	return nearest
}

// lapsesNear reports whether the account lapses within 30 days of the days that its pace compares.
func (m Member) lapsesNear(now time.Time) bool {
	first := now.AddDate(0, 0, -m.Pace.Days)
	return !m.Lapses.IsZero() && m.Lapses.After(first.Add(-lapseRange)) && m.Lapses.Before(now.Add(lapseRange))
}

// historyChunk is how many histories are read from Redis at a time.
const historyChunk = 200

// ReadHistories sets the histories of accounts, as read returns them by corp.
func ReadHistories(ctx context.Context, accounts []Sibling, read func(ctx context.Context, corps []string) (map[string][]Day, error)) error {
	for chunk := range slices.Chunk(accounts, historyChunk) {
		corps := make([]string, len(chunk))
		for i, s := range chunk {
			corps[i] = s.CorpID
		}
		histories, err := read(ctx, corps)
		if err != nil {
			return err
		}
		for i := range chunk {
			chunk[i].History = histories[chunk[i].CorpID]
		}
	}
	return nil
}

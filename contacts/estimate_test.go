package contacts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
)

var epoch = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

// Which callbacks move the estimate, and by what.
func TestMovesOfCallbacks(t *testing.T) {
	contact := func(change, source string) Callback {
		return Callback{Event: "change_external_contact", ChangeType: change, UserID: "Clerk1", ExternalUserID: "wm1", Source: source, At: epoch}
	}
	chat := func(change, detail string, ids ...string) Callback {
		return Callback{Event: "change_external_chat", ChangeType: change, UpdateDetail: detail, ChatID: "wr1", MemChangeList: ids, At: epoch}
	}
	for _, test := range []struct {
		c    Callback
		want string
	}{
		{contact("add_external_contact", ""), "+wm1 member clerk1"},
		{contact("del_external_contact", ""), "-wm1 member clerk1"},
		{contact("del_external_contact", "DELETE_BY_TRANSFER"), "~wm1 member clerk1"},
		{contact("add_half_external_contact", ""), ""},
		{contact("del_follow_user", ""), ""},
		{contact("edit_external_contact", ""), ""},
		{contact("transfer_fail", ""), ""},
		{contact("msg_audit_approved", ""), ""},
		{Callback{Event: "change_external_contact", ChangeType: "add_external_contact", ExternalUserID: "wm1"}, ""}, // of a link, without a member
		{Callback{Event: "change_external_contact", ChangeType: "add_external_contact", UserID: "clerk1"}, ""},
		{Callback{Event: "customer_acquisition", ChangeType: "del_follow_user", UserID: "clerk1", ExternalUserID: "wm1"}, ""},
		{chat("update", "add_member", "clerk1", "wm1", "wo2"), "+wm1 group wr1, +wo2 group wr1"},
		{chat("update", "del_member", "wm1"), "-wm1 group wr1"},
		{chat("update", "change_owner", "wm1"), ""},
		{chat("create", "add_member", "wm1"), ""},
		{chat("dismiss", "", "wm1"), ""},
	} {
		var got []string
		for _, v := range test.c.Moves() {
			if !v.At.Equal(test.c.At) {
				t.Errorf("%+v", v)
			}
			got = append(got, fmt.Sprintf("%c%s %s", v.Change, v.Customer, v.With))
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%+v: %q, want %q", test.c, text, test.want)
		}
	}
}

// The difference that one person makes, for every order of the moves, each of them repeated.
func TestDelta(t *testing.T) {
	move := func(with string, change Change, after int) Move {
		return Move{Customer: "wm1", With: with, Change: change, At: epoch.Add(time.Duration(after) * time.Second)}
	}
	for name, test := range map[string]struct {
		moves []Move
		want  int
	}{
		"nothing":                         {nil, 0},
		"added":                           {[]Move{move("a", Added, 1)}, 1},
		"removed":                         {[]Move{move("a", Removed, 1)}, -1},
		"added and removed":               {[]Move{move("a", Added, 1), move("a", Removed, 2)}, 0},
		"removed and added":               {[]Move{move("a", Removed, 1), move("a", Added, 2)}, 0},
		"within one second":               {[]Move{move("a", Added, 1), move("a", Removed, 1)}, 0},
		"within one second, then added":   {[]Move{move("a", Added, 1), move("a", Removed, 1), move("a", Added, 5)}, 1},
		"added by two":                    {[]Move{move("a", Added, 1), move("b", Added, 2)}, 1},
		"added by two, removed by one":    {[]Move{move("a", Added, 1), move("b", Added, 2), move("a", Removed, 3)}, 1},
		"added by two, removed by two":    {[]Move{move("a", Added, 1), move("b", Added, 2), move("a", Removed, 3), move("b", Removed, 4)}, 0},
		"from one member to another":      {[]Move{move("a", Removed, 1), move("b", Added, 2)}, 0},
		"by succession":                   {[]Move{move("a", Moved, 1)}, 0},
		"by succession, told twice":       {[]Move{move("a", Moved, 1), move("b", Added, 1)}, 0},
		"removed after succession":        {[]Move{move("a", Moved, 1), move("b", Removed, 2)}, -1},
		"removed again, and again":        {[]Move{move("a", Removed, 1), move("a", Added, 2), move("a", Removed, 3)}, -1},
		"a removal whose addition is old": {[]Move{move("a", Removed, 1), move("b", Removed, 2)}, -1},
	} {
		for range 20 {
			order := slices.Concat(test.moves, test.moves)
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			known, total := "", 0
			for _, v := range order {
				var d int
				known, d = apply(known, epoch.UnixMilli(), v)
				total += d
			}
			if total != test.want || parseMoved(known).delta() != test.want {
				t.Errorf("%s, in the order %v: %d (%s), want %d", name, order, total, known, test.want)
			}
		}
	}
}

// What Redis holds is read back as it was written; what somebody else wrote there is left out.
func TestMovedText(t *testing.T) {
	m := moved{}.add(Move{With: "a", Change: Added, At: epoch}).add(Move{With: "b", Change: Moved, At: epoch}).add(Move{With: "a", Change: Removed, At: epoch.Add(time.Minute)})
	if got := parseMoved(m.String()); got.String() != m.String() || len(got) != 2 {
		t.Errorf("%s is read as %s", m, got)
	}
	for text, want := range map[string]string{
		"": "", "x": "", "x:": "", "x:+1": "", "x:+1-": "", "x:1-2": "", "x:+-2": "", "x:+1x2": "", "x:+1+-2": "", "x:+1-99999999999999999999": "",
		"x:+1-2 broken y:~3+4": "x:+1-2 y:~3+4",
	} {
		if got := parseMoved(text).String(); got != want {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

// One person has a bounded number of relations on record.
func TestRelationsAreBounded(t *testing.T) {
	known := ""
	for i := range 100 {
		known, _ = apply(known, 0, Move{With: fmt.Sprint(i), Change: Added, At: epoch})
	}
	if n := len(parseMoved(known)); n != maxRelations {
		t.Errorf("%d relations", n)
	}
}

// ledger is an account's count and estimate without Redis.
type ledger struct {
	State
	people map[string]string
}

func (l *ledger) put(c Count) { *l = ledger{State: State{Count: c}, people: map[string]string{}} }

func (l *ledger) move(v Move) {
	if l.people == nil {
		return
	}
	known := l.people[v.Customer]
	after, delta := apply(known, l.AsOf.UnixMilli(), v)
	if after == known {
		return
	}
	l.people[v.Customer], l.Moved = after, l.Moved+delta
	if v.At.After(l.MovedAt) {
		l.MovedAt = v.At
	}
}

// counter takes counts and moves: a ledger, or a Store.
type counter interface {
	put(Count)
	move(Move)
}

// world is the truth about an account's contacts, with the callbacks about it.
type world struct {
	random    *rand.Rand
	simple    bool // each person has at most one relation
	lossy     bool // callbacks are lost
	now       time.Time
	relations map[[2]string]bool // person, member or group
	pending   []Callback
	moves     []Move // delivered since the last pass
}

func newWorld(seed uint64) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 0)), simple: seed%2 == 0, lossy: seed%3 == 0, now: epoch, relations: map[[2]string]bool{}}
}

// people returns everybody in the list: those with a relation, and three whom no callback names.
func (w *world) people() map[string]bool {
	all := map[string]bool{"x1": true, "x2": true, "x3": true}
	for r := range w.relations {
		all[r[0]] = true
	}
	return all
}

// change adds or removes a relation.
func (w *world) change() {
	w.now = w.now.Add(time.Duration(1+w.random.IntN(100)) * time.Second)
	person := fmt.Sprint("wm", w.random.IntN(12))
	with := "clerk"
	if !w.simple {
		with = []string{"clerk", "boss", "wrGroup"}[w.random.IntN(3)]
	}
	r := [2]string{person, with}
	c := Callback{Event: "change_external_contact", ChangeType: "add_external_contact", UserID: with, ExternalUserID: person, At: w.now}
	if with == "wrGroup" {
		c = Callback{Event: "change_external_chat", ChangeType: "update", UpdateDetail: "add_member", ChatID: with, MemChangeList: []string{"clerk", person}, At: w.now}
	}
	if w.relations[r] {
		delete(w.relations, r)
		c.ChangeType, c.UpdateDetail = strings.Replace(c.ChangeType, "add_", "del_", 1), strings.Replace(c.UpdateDetail, "add_", "del_", 1)
	} else {
		w.relations[r] = true
	}
	if !w.lossy || w.random.IntN(4) > 0 {
		for range 1 + w.random.IntN(3) {
			w.pending = append(w.pending, c)
		}
	}
}

// deliver hands over some of the pending callbacks, in any order.
func (w *world) deliver(n int, to counter) {
	for range min(n, len(w.pending)) {
		i := w.random.IntN(len(w.pending))
		for _, v := range w.pending[i].Moves() {
			to.move(v)
			w.moves = append(w.moves, v)
		}
		w.pending = slices.Delete(w.pending, i, i+1)
	}
}

// pass walks over the list, several rows a person, and puts the count.
func (w *world) pass(t *testing.T, to counter) Count {
	w.now = w.now.Add(500 * time.Millisecond)
	var rows []Row
	for id := range w.people() {
		for range 1 + w.random.IntN(3) {
			rows = append(rows, Row{TmpOpenID: id, Customer: id[0] == 'w'})
		}
	}
	w.random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var p Pass
	cursor := ""
	for n := 0; cursor != "" || n == 0; n++ {
		size := min(1+w.random.IntN(8), len(rows))
		page := Page{Cursor: cursor, Rows: rows[:size]}
		if rows = rows[size:]; len(rows) > 0 {
			page.Next = fmt.Sprint("C", n)
		}
		if err := p.Add(page, w.now); err != nil {
			t.Fatal(err)
		}
		cursor = page.Next
	}
	count, done := p.Count()
	if !done {
		t.Fatal("the pass is not done")
	}
	to.put(count)
	w.moves = nil
	w.now = w.now.Add(500 * time.Millisecond)
	return count
}

// 1,000 histories with callbacks lost, repeated and reordered: after a pass the count is exact, and
// before it is an estimate that does not depend on the order. It is right if nothing is lost and
// nobody is a contact of two members.
func TestHistories(t *testing.T) {
	estimates := 0
	for seed := range uint64(1000) {
		w, l := newWorld(seed), &ledger{}
		for range 60 {
			switch w.random.IntN(12) {
			case 0:
				count := w.pass(t, l)
				if n := l.Number(); n.Total != len(w.people()) || !n.Exact || !n.AsOf.Equal(count.AsOf) || n.Source != "metered" {
					t.Fatalf("history %d: after a pass %+v, want %d", seed, n, len(w.people()))
				}
			case 1, 2, 3, 4, 5:
				w.change()
			default:
				w.deliver(1+w.random.IntN(3), l)
			}
			if w.random.IntN(5) == 0 {
				check(t, seed, w, l)
			}
		}
		w.deliver(len(w.pending), l)
		check(t, seed, w, l)
		if n := l.Number(); !n.Exact {
			estimates++
			if w.simple && !w.lossy && n.Total != len(w.people()) {
				t.Fatalf("history %d: estimated %d, in truth %d", seed, n.Total, len(w.people()))
			}
		}
		w.pass(t, l)
		if n := l.Number(); n.Total != len(w.people()) || !n.Exact {
			t.Fatalf("history %d: at the end %+v, want %d", seed, n, len(w.people()))
		}
	}
	if estimates < 500 {
		t.Errorf("only %d histories have an estimate", estimates)
	}
}

// check compares the estimate with the one that the same moves lead to if each comes once and in
// order, and its label with whether a move came.
func check(t *testing.T, seed uint64, w *world, l *ledger) {
	t.Helper()
	if l.people == nil {
		return
	}
	ordered := &ledger{}
	ordered.put(l.Count)
	slices.SortStableFunc(w.moves, func(a, b Move) int { return a.At.Compare(b.At) })
	moved := false
	for _, v := range w.moves {
		ordered.move(v)
		moved = moved || v.At.After(l.AsOf)
	}
	n := l.Number()
	if n != ordered.Number() || n.Exact == moved || moved != (n.Source == "callbacks") {
		t.Fatalf("history %d: %+v, in order %+v", seed, n, ordered.Number())
	}
}

// The estimate is shown only if the count that it moves is the one that decides.
func TestNumberOf(t *testing.T) {
	total := 7
	byHand := account.Count{Total: total, AsOf: epoch.Add(time.Hour), Source: account.ByHand}
	stored := State{Count: metered(5, epoch), Moved: 2, MovedAt: epoch.Add(time.Minute)}
	exact := func(c account.Count) Number {
		return Number{Total: c.Total, AsOf: c.AsOf, Source: c.Source, Exact: true}
	}
	for _, test := range []struct {
		name    string
		file    *config.Contacts
		metered *Count
		stored  State
		want    Number
		known   bool
	}{
		{"nothing", nil, nil, State{}, Number{}, false},
		{"stored, not read yet", nil, nil, stored, Number{}, false},
		{"metered, not moved", nil, &stored.Count, State{Count: stored.Count}, exact(stored.Count.Count), true},
		{"metered, not stored", nil, &stored.Count, State{}, exact(stored.Count.Count), true},
		{"metered and moved", nil, &stored.Count, stored, Number{Total: 7, AsOf: epoch.Add(time.Minute), Source: account.Callbacks}, true},
		{"a newer one by hand", &config.Contacts{Total: &total, CountedAt: byHand.AsOf}, &stored.Count, stored, exact(byHand), true},
		{"by hand and moved", &config.Contacts{Total: &total, CountedAt: byHand.AsOf}, nil, State{Count: Count{Count: byHand}, Moved: -1, MovedAt: epoch.Add(2 * time.Hour)},
			Number{Total: 6, AsOf: epoch.Add(2 * time.Hour), Source: account.Callbacks}, true},
		{"by hand, without a time", &config.Contacts{Total: &total}, nil, State{}, exact(account.Count{Total: 7, Source: account.ByHand}), true},
	} {
		book, counts := account.NewBook([]config.Account{{CorpID: "ww1", Contacts: test.file}}), account.NewCounts()
		book.UseCounts(counts, time.Hour)
		if test.metered != nil {
			counts.Set("ww1", test.metered.Count)
		}
		if n, known := NumberOf(book.Find("ww1"), test.stored); n != test.want || known != test.known {
			t.Errorf("%s: %+v, %v, want %+v", test.name, n, known, test.want)
		}
	}
	// Fewer than none is none.
	if n := (State{Count: metered(1, epoch), Moved: -2, MovedAt: epoch}).Number(); n.Total != 0 {
		t.Errorf("%+v", n)
	}
}

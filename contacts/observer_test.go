package contacts_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
	"replygate/record"
	"replygate/store/storetest"
)

// tallies counts what became of observations.
type tallies struct {
	mu  sync.Mutex
	all map[string]int
	one chan struct{} // gets a value for each
}

func (c *tallies) add(source, result string) {
	c.mu.Lock()
	c.all[source+" "+result]++
	c.mu.Unlock()
	select {
	case c.one <- struct{}{}:
	default:
	}
}

func (c *tallies) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[what]
}

func newObserver(t *testing.T) (*contacts.Observer, *tallies) {
	t.Helper()
	redis := storetest.Open(t, storetest.Embedded(t), time.Now)
	book := account.NewBook([]config.Account{{CorpID: "ww1"}, {CorpID: "ww2"}})
	c := &tallies{all: map[string]int{}, one: make(chan struct{}, 100_000)}
	return (&contacts.Observer{
		Store: contacts.NewStore(redis.UniversalClient, "rg:", 5*time.Second), Counts: account.NewCounts(),
		Accounts: func() *account.Book { return book }, Tally: c.add, Log: record.RateLimit(zap.NewNop(), time.Now),
		OwnerOf: func(_ context.Context, token string) (string, account.Owner) {
			switch corp, known := strings.CutPrefix(token, "of "); {
			case known:
				return corp, account.Known
			case token == "away":
				return "", account.Unreachable
			}
			return "", account.Unknown
		},
	}).Init(), c
}

func answerOf(next string, people ...string) []byte {
	rows := make([]string, len(people))
	for i, p := range people {
		rows[i] = fmt.Sprintf(`{"is_customer":true,"tmp_openid":%q,"follow_userid":"clerk"}`, p)
	}
	return fmt.Appendf(nil, `{"errcode":0,"errmsg":"ok","info_list":[%s],"next_cursor":%q}`, strings.Join(rows, ","), next)
}

// What becomes of each answer, by whose it is and whether it can be read.
func TestObservedPages(t *testing.T) {
	for _, test := range []struct {
		name  string
		pages []contacts.Sighting
		want  string // of the last page
		total int    // of ww1; -1: none
	}{
		{"a walk", []contacts.Sighting{{Token: "of ww1", Answer: answerOf("C", "a", "b")}, {Token: "of ww1", Cursor: "C", Answer: answerOf("", "b", "c")}}, contacts.Counted, 3},
		{"a walk without its first page", []contacts.Sighting{{Token: "of ww1", Cursor: "C", Answer: answerOf("", "b", "c")}}, contacts.Observed, -1},
		{"a walk with a page that cannot be read", []contacts.Sighting{
			{Token: "of ww1", Answer: answerOf("C", "a")}, {Token: "of ww1", Cursor: "C", Answer: []byte(`{"errcode":0,"info_list":[{}],"next_cursor":"D"}`)}, {Token: "of ww1", Cursor: "D", Answer: answerOf("", "b")},
		}, contacts.Observed, -1},
		{"two bots at once", []contacts.Sighting{
			{Token: "of ww1", Answer: answerOf("C", "a")}, {Token: "of ww2", Answer: answerOf("C", "x", "y")}, {Token: "of ww1", Cursor: "C", Answer: answerOf("", "b")},
		}, contacts.Counted, 2},
		{"a refusal", []contacts.Sighting{{Token: "of ww1", Answer: []byte(`{"errcode":48002,"errmsg":"api forbidden"}`)}}, contacts.Observed, -1},
		{"no JSON", []contacts.Sighting{{Token: "of ww1", Answer: []byte(`<html>`)}}, contacts.UnreadablePage, -1},
		{"an unknown token", []contacts.Sighting{{Token: "?", Answer: answerOf("", "a")}}, contacts.Unattributed, -1},
		{"an unknown token that only one account can have", []contacts.Sighting{{Token: "?", Corp: "ww1", Answer: answerOf("", "a")}}, contacts.Counted, 1},
		{"a known token wins", []contacts.Sighting{{Token: "of ww2", Corp: "ww1", Answer: answerOf("", "a")}}, contacts.Counted, -1},
		{"redis is away", []contacts.Sighting{{Token: "away", Corp: "ww1", Answer: answerOf("", "a")}}, contacts.Dropped, -1},
		{"no account", []contacts.Sighting{{Token: "of ww9", Answer: answerOf("", "a")}}, contacts.NotListed, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, c := newObserver(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go o.Run(ctx)
			for i, p := range test.pages {
				before := c.of("contact_list " + test.want)
				p.At = start.Add(time.Duration(i) * time.Minute)
				o.Page(p)
				<-c.one
				if last := i == len(test.pages)-1; last && c.of("contact_list "+test.want) != before+1 {
					t.Errorf("%v, want %s", c.all, test.want)
				}
			}
			s := o.State("ww1")
			if known := !s.AsOf.IsZero(); known != (test.total >= 0) || known && s.Total != test.total {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Callbacks of accounts move the estimate; others, and those from the future, do not.
func TestObservedCallbacks(t *testing.T) {
	o, c := newObserver(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go o.Run(ctx)
	o.Finished(ctx, "ww1", contacts.Count{Count: account.Count{Total: 10, AsOf: start, Source: account.Metered}})
	added := func(at time.Time) contacts.Callback {
		return contacts.Callback{Event: "change_external_contact", ChangeType: "add_external_contact", UserID: "u", ExternalUserID: "wm", At: at}
	}
	now := start.Add(time.Hour)
	for _, test := range []struct {
		corp string
		c    contacts.Callback
		want string
	}{
		{"ww1", added(now), contacts.Observed},
		{"ww1", added(now.Add(5 * time.Minute)), contacts.Observed},
		{"ww1", added(now.Add(5*time.Minute + time.Second)), contacts.Dropped},
		{"ww1", added(time.Time{}), contacts.Dropped},
		{"ww9", added(now), contacts.NotListed},
	} {
		before := c.of("callback " + test.want)
		o.Callback(test.corp, test.c, now)
		<-c.one
		if c.of("callback "+test.want) != before+1 {
			t.Errorf("%s %+v: %v, want %s", test.corp, test.c, c.all, test.want)
		}
	}
	o.Callback("ww1", contacts.Callback{Event: "change_external_tag", ChangeType: "create", At: now}, now)
	if err := o.Refresh(ctx, now); err != nil {
		t.Fatal(err)
	}
	if s := o.State("ww1"); s.Moved != 1 || len(c.one) != 0 {
		t.Errorf("%+v", s)
	}
}

// While nobody carries out what is queued, calls and callbacks do not wait, and memory is bounded.
func TestObserverIsBounded(t *testing.T) {
	o, c := newObserver(t)
	big := make([]byte, contacts.MaxAnswer)
	for range 20 {
		o.Page(contacts.Sighting{Token: "of ww1", Answer: big})
	}
	if n := c.of("contact_list dropped"); n != 12 {
		t.Errorf("%d of 20 answers of 4 MB were dropped, want 12", n)
	}
	for i := range 5000 {
		o.Callback("ww1", contacts.Callback{Event: "change_external_contact", ChangeType: "add_external_contact", UserID: "u", ExternalUserID: fmt.Sprint("wm", i), At: start}, start)
	}
	if n := c.of("callback dropped"); n != 5000-4096+8 {
		t.Errorf("%d callbacks were dropped", n)
	}
}

// The levels of meter.warn are told once each, and again after the number fell below them.
func TestLevels(t *testing.T) {
	limit := 1000
	book := account.NewBook([]config.Account{{CorpID: "ww1", Contacts: &config.Contacts{Free: 1, Purchased: &limit}}, {CorpID: "ww2"}})
	counts := account.NewCounts()
	book.UseCounts(counts, time.Hour)
	var l contacts.Levels
	for i, step := range []struct {
		total, moved int
		after        time.Duration
		want         string
	}{
		{799, 0, 0, "[]"},
		{800, 0, 0, "[80%]"},
		{850, 0, 0, "[]"},
		{860, 140, 0, "[100%]"}, // an estimate informs
		{860, 0, 0, "[]"},
		{950, 0, 0, "[95%]"},
		{700, 0, 0, "[]"},
		{900, 0, 0, "[90%]"},
		{900, 0, 3*time.Hour - time.Millisecond, "[]"},
		{900, 0, 3 * time.Hour, "[stale]"},
		{900, 0, 4 * time.Hour, "[]"},
	} {
		now := start.Add(time.Duration(i) * time.Second)
		c := account.Count{Total: step.total, AsOf: now, Source: account.Metered}
		if step.after > 0 {
			c.AsOf = start.Add(7 * time.Second)
			now = c.AsOf.Add(step.after)
		}
		counts.Set("ww1", c)
		state := contacts.State{Count: contacts.Count{Count: c}}
		if step.moved > 0 {
			state.Moved, state.MovedAt = step.moved, now
		}
		var got []string
		for _, raised := range l.Raised(book, func(string) contacts.State { return state }, []config.Percent{80, 90, 95}, now) {
			if text := raised.Percent.String(); raised.Stale {
				got = append(got, "stale")
			} else {
				got = append(got, text)
			}
		}
		if fmt.Sprint(got) != step.want {
			t.Errorf("step %d: %v, want %s", i, got, step.want)
		}
	}
}

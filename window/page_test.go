package window

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/store/storetest"
)

// A page of any size is read back from its records, and each of them tells whose it is.
func TestPageRoundTrip(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 255, 256, 1000} {
		want := page{Token: "00ff", Channels: []string{"wk1"}, Noted: 7, holds: newBacklog()}
		for i := range n {
			k := Key{Channel: "wk1", Customer: fmt.Sprint(strings.Repeat("\xff", 100), i)}
			want.holds.facts[k] = int64(1_790_000_000_000 + i)
			want.holds.codes = append(want.holds.codes, LearntCode{Text: strings.Repeat("C", 500) + fmt.Sprint(i), Code: Code{Key: k, Kind: "to_queue", Deadline: time.UnixMilli(int64(i))}})
			want.holds.losses = append(want.holds.losses, Loss{Channel: "wk1", Messages: true, Item: &Item{ID: fmt.Sprint(i)}, Noted: 7})
		}
		records, err := backlog{pages: []page{want}}.encode()
		if err != nil || len(records) != (3*n+255)/256 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		got := newBacklog()
		for _, r := range records {
			if len(r) > 1<<20 {
				t.Errorf("a record has %d bytes", len(r))
			}
			if err := got.decode(r); err != nil {
				t.Fatal(err)
			}
		}
		all := newBacklog()
		for _, p := range got.pages {
			if p.Token != want.Token || !slices.Equal(p.Channels, want.Channels) || p.Noted != want.Noted {
				t.Errorf("%d: a page is read back as %+v", n, p)
			}
			all.add(p.holds.writes)
			all.losses = append(all.losses, p.holds.losses...)
		}
		if !maps.Equal(all.facts, want.holds.facts) || !reflect.DeepEqual(all.codes, want.holds.codes) || !reflect.DeepEqual(all.losses, want.holds.losses) {
			t.Errorf("%d: %d messages, %d codes and %d losses are read back", n, len(all.facts), len(all.codes), len(all.losses))
		}
	}
}

// A page waits in the journal until Redis can be asked for its corp. It is recorded for that, or
// marks the gaps of its channels at the time when it passed.
func TestDrainOfAPage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: waits for leases to expire")
	}
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	for _, test := range []struct {
		name, corp string
		message    time.Duration // its age
		code, lost bool
		windows    string
		codes      string
		gaps       string
	}{
		{"known", "ww1", 0, true, false, "rg:window:{ww1:wk1:wmLi}", "ww1", ""},
		{"known, with an item that cannot be read", "ww1", 0, false, true, "rg:window:{ww1:wk1:wmLi}", "", "wk2 ww1:any"},
		{"known, of the future", "ww1", -time.Hour, false, false, "", "", "wk1 wk1:items ww1:any"},
		{"known, too old", "ww1", 49 * time.Hour, false, false, "", "", ""},
		{"unknown", "", 0, false, false, "", "", "wk1"},
		{"unknown, with a code", "", 0, true, false, "", "", "wk1 ww1:any ww2:any"},
		{"unknown, with an item that cannot be read", "", 0, false, true, "", "", "wk1 wk2"},
		{"unknown, too old", "", 49 * time.Hour, false, false, "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.FlushAll(t.Context())
			w := joined(t, s)
			passed := time.Now()
			w.Now = func() time.Time { return passed }
			w.gaps.listed = []string{"ww1", "ww2"}
			k := Key{Channel: "wk1", Customer: "wmLi"}
			u := Unattributed{Token: "hash", Channels: []string{"wk1"}, Facts: []Fact{{Key: k, At: passed.Add(-test.message)}}}
			if test.code {
				u.Codes = []LearntCode{{Text: "CODE", Code: Code{Key: k, Kind: "to_queue", Deadline: passed.Add(time.Hour)}}}
			}
			if test.lost {
				u.Losses = []Loss{{Channel: "wk2", Messages: true, Reason: gapUnreadable}}
			}
			var away error
			w.CorpOf = func(_ context.Context, token string, channels []string) (string, error) {
				if token != "hash" || !slices.Equal(channels, u.Channels) {
					t.Errorf("it asks for %q, %q", token, channels)
				}
				return test.corp, away
			}
			if _, err := w.RecordUnattributed(u); err != nil {
				t.Fatal(err)
			}
			if err := w.CheckJournal(); err != nil {
				t.Error(err)
			}
			kept := test.message < 48*time.Hour
			if kept && time.Now().Before(w.leases.expiry()) {
				t.Error("it is acknowledged before the lease has expired")
			}
			if kept == w.journal.Empty() {
				t.Fatalf("it is in the journal: %v", !kept)
			}
			w.Now = func() time.Time { return passed.Add(time.Minute) }
			away = errors.New("redis is away")
			if w.drain(t.Context()); kept == w.journal.Empty() || s.Exists(t.Context(), "rg:gap:wk1").Val() != 0 {
				t.Error("something is done with it while redis is away")
			}
			away = nil
			if w.drain(t.Context()); !w.journal.Empty() {
				t.Error("the journal is not empty")
			}
			windows := strings.Join(s.Keys(t.Context(), "rg:window:*").Val(), " ")
			code, _ := parseCode(s.Get(t.Context(), w.codeKey("CODE")).Val())
			keys := s.Keys(t.Context(), "rg:gap:*").Val()
			slices.Sort(keys)
			gaps := strings.ReplaceAll(strings.Join(keys, " "), "rg:gap:", "")
			if windows != test.windows || code.Key.Corp != test.codes || gaps != test.gaps {
				t.Errorf("windows %q, the code is of %q, gaps %q; want %q, %q, %q", windows, code.Key.Corp, gaps, test.windows, test.codes, test.gaps)
			}
			for _, key := range keys {
				if at, err := s.Get(t.Context(), key).Int64(); err != nil || at != passed.UnixMilli() {
					t.Errorf("%s is %d ms after the page", key, at-passed.UnixMilli())
				}
			}
		})
	}
}

// A gateway for which the others do not wait keeps a page and says so; an embedded store keeps
// none.
func TestPageThatCannotWait(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	set := Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: 5 * time.Second, Now: time.Now}
	u := Unattributed{Token: "hash", Facts: []Fact{{Key: Key{Channel: "wk1", Customer: "wmLi"}, At: time.Now()}}}
	shared := NewShared(s.UniversalClient, checked{}, openJournal(t), set) // it has not joined
	if _, err := shared.RecordUnattributed(u); !errors.Is(err, ErrNotMember) || shared.journal.Empty() {
		t.Errorf("RecordUnattributed = %v", err)
	}
	if _, err := NewEmbedded(s.UniversalClient, checked{}, set).RecordUnattributed(u); !errors.Is(err, errCorpUnknown) {
		t.Errorf("RecordUnattributed = %v", err)
	}
}

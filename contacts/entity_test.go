package contacts_test

import (
	"fmt"
	"testing"
	"time"

	"replygate/account"
	"replygate/contacts"
)

// sibling is an account of acme that had first contacts 30 days ago and has last now; last < 0: not
// known.
func sibling(corp string, first, last int) contacts.Sibling {
	s := contacts.Sibling{CorpID: corp, Entity: "acme", Standing: account.Active}
	if last >= 0 {
		totals := linear(31, first, 0)
		totals[30] = last
		s.History = days(totals...)
		s.Known, s.Number = true, contacts.Number{Total: last, AsOf: start, Source: account.Metered, Exact: true}
	}
	return s
}

func lapsing(s contacts.Sibling, after time.Duration) contacts.Sibling {
	s.Lapses = start.Add(after)
	return s
}

// The sum of an entity says what it leaves out and what it may count twice.
func TestEntitySums(t *testing.T) {
	estimate, other, single := sibling("ww2", 100, 150), sibling("ww9", 5, 6), sibling("ww8", 1, 1)
	estimate.Number.Exact, estimate.Number.Source = false, account.Callbacks
	other.Entity, single.Entity = "zeta", ""
	got := contacts.Entities([]contacts.Sibling{other, sibling("ww1", 1000, 1100), estimate, sibling("ww3", 0, -1), single}, start)
	if len(got) != 2 || got[0].Name != "acme" || got[1].Name != "zeta" {
		t.Fatalf("%+v", got)
	}
	acme, zeta := got[0], got[1]
	if acme.Total != 1250 || !acme.UpperBound || !acme.Estimate || acme.Unknown != 1 || acme.Change != 150 || len(acme.Accounts) != 3 {
		t.Errorf("%+v", acme)
	}
	if acme.Accounts[0].CorpID != "ww1" || acme.Accounts[0].Growth != 100 || !acme.Accounts[0].Paced || acme.Accounts[2].Paced {
		t.Errorf("%+v", acme.Accounts)
	}
	if zeta.Total != 6 || zeta.UpperBound || zeta.Estimate || zeta.Unknown != 0 || zeta.Change != 1 {
		t.Errorf("%+v", zeta)
	}
}

// One account loses at least a tenth while another gains about as many.
func TestShifts(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		name     string
		siblings []contacts.Sibling
		want     string // of each shift: from to lost gained, and whether a lapse is near
	}{
		{"nobody loses", []contacts.Sibling{sibling("a", 1000, 1000), sibling("b", 1000, 1500)}, ""},
		{"a tenth", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 1100)}, "a b 100 100 false;"},
		{"less than a tenth", []contacts.Sibling{sibling("a", 1000, 901), sibling("b", 1000, 1100)}, ""},
		{"nobody gains", []contacts.Sibling{sibling("a", 1000, 100), sibling("b", 1000, 1000)}, ""},
		{"another loses too", []contacts.Sibling{sibling("a", 1000, 100), sibling("b", 1000, 100)}, ""},
		{"about as many", []contacts.Sibling{sibling("a", 4000, 3345), sibling("b", 2000, 2640)}, "a b 655 640 false;"},
		{"nine tenths of it", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 1090)}, "a b 100 90 false;"},
		{"less than nine tenths", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 1089)}, ""},
		{"more than it", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 9000)}, "a b 100 8000 false;"},
		{"the nearest gain", []contacts.Sibling{sibling("a", 1000, 800), sibling("b", 0, 900), sibling("c", 0, 210), sibling("d", 0, 100)}, "a c 200 210 false;"},
		{"two lose", []contacts.Sibling{sibling("a", 1000, 800), sibling("b", 1000, 0), sibling("c", 0, 210), sibling("d", 0, 990)}, "b d 1000 990 false;a c 200 210 false;"},
		{"a gain for one of two losses", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 880), sibling("c", 0, 120)}, "b c 120 120 false;"},
		{"the same loss twice, one gain", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 900), sibling("c", 0, 179)}, "a c 100 179 false;"},
		{"a gain for both losses", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 900), sibling("c", 0, 180)}, "a c 100 180 false;b c 100 180 false;"},
		{"each its own gain", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 900), sibling("c", 0, 100), sibling("d", 0, 100)}, "a c 100 100 false;b d 100 100 false;"},
		{"a gain used up, another one left", []contacts.Sibling{sibling("a", 1000, 900), sibling("b", 1000, 900), sibling("c", 0, 110), sibling("d", 0, 5000)}, "a c 100 110 false;b d 100 5000 false;"},
		{"around a lapse first", []contacts.Sibling{sibling("a", 1000, 880), lapsing(sibling("b", 1000, 900), day), sibling("c", 0, 120)}, "b c 100 120 true;"},
		{"all are gone", []contacts.Sibling{sibling("a", 50, 0), sibling("b", 0, 50)}, "a b 50 50 false;"},
		{"one is not known", []contacts.Sibling{sibling("a", 1000, 0), sibling("b", 0, -1)}, ""},
		{"alone", []contacts.Sibling{sibling("a", 1000, 0)}, ""},
		{"before it lapses", []contacts.Sibling{lapsing(sibling("a", 1000, 0), 29*day), sibling("b", 0, 1000)}, "a b 1000 1000 true;"},
		{"after it lapsed", []contacts.Sibling{lapsing(sibling("a", 1000, 0), -59*day), sibling("b", 0, 1000)}, "a b 1000 1000 true;"},
		{"long before", []contacts.Sibling{lapsing(sibling("a", 1000, 0), 31*day), sibling("b", 0, 1000)}, "a b 1000 1000 false;"},
		{"long after", []contacts.Sibling{lapsing(sibling("a", 1000, 0), -61*day), sibling("b", 0, 1000)}, "a b 1000 1000 false;"},
		{"the other one lapses", []contacts.Sibling{sibling("a", 1000, 0), lapsing(sibling("b", 0, 1000), day)}, "a b 1000 1000 false;"},
	} {
		got := ""
		for _, s := range contacts.Entities(test.siblings, start)[0].Shifts {
			got += fmt.Sprintf("%s %s %d %d %v;", s.From, s.To, s.Lost, s.Gained, !s.Lapse.IsZero())
			if s.Days != 30 {
				t.Errorf("%s: %+v", test.name, s)
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Accounts of different entities never make a shift.
func TestShiftsWithinAnEntity(t *testing.T) {
	other := sibling("b", 0, 1000)
	other.Entity = "zeta"
	for _, e := range contacts.Entities([]contacts.Sibling{sibling("a", 1000, 0), other}, start) {
		if len(e.Shifts) != 0 {
			t.Errorf("%+v", e)
		}
	}
}

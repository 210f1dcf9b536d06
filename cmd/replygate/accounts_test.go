package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
	"replygate/store/storetest"
)

// The commands read all pages, and pass their flags on.
func TestAccountCommands(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		now := c.Accounts[0].Subscription.ExpiresAt.Add(time.Hour) // of the rig's clock
		for i := range 450 {
			c.Accounts = append(c.Accounts, config.Account{
				CorpID: fmt.Sprintf("ww%d", i), Name: "蓝桥家居", Entity: fmt.Sprintf("集团%d", i%3),
				Subscription: &config.Subscription{ExpiresAt: now.Add(time.Duration(i+1)*24*time.Hour - time.Minute)},
				Contacts:     &config.Contacts{Free: 2000, Total: ptr(3000), Purchased: ptr(4000)},
			})
		}
	})
	at := r.gateway.control.Addr().String()
	var list admin.AccountList
	code, out, _ := cli(t, "accounts", "list", "--json", "--admin", at)
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitGood || len(list.Accounts) != 451 || list.Next != "" || *list.Total != 451 {
		t.Errorf("exit %d, %d accounts, next %q: %v", code, len(list.Accounts), list.Next, err)
	}
	for _, test := range []struct {
		command string
		code    int
		want    []string // in what it prints
		lines   int      // 0: not compared
	}{
		{"accounts list --within 3d", exitGood, []string{"CORP  NAME      ENTITY  STANDING  DAYS LEFT", "ww0   蓝桥家居  集团0   active    less than 1", "ww2   蓝桥家居  集团2   active    2", "3000 of 4000 purchased"}, 4},
		{"accounts list --standing lapsed", exitGood, []string{corpID}, 2},
		{"accounts list --entity 集团1 --sort name", exitGood, []string{"ww1 "}, 151},
		{"accounts list -q WW44", exitGood, []string{"ww44 ", "ww449 "}, 12},
		{"accounts list --sort waiting", exitUsage, []string{"wrong usage: sort must be one of stops, -contacts_used, -waiting, -refused_7d, name"}, 0},
		{"accounts list --standing good", exitUsage, []string{"wrong usage: standing must be one of active, grace, lapsed, free, full"}, 0},
		{"closing --standing good", exitUsage, []string{"wrong usage: standing must be one of"}, 0},
		{"contacts list --kind x", exitUsage, []string{"wrong usage: kind must be one of"}, 0},
		{"windows list --state x", exitUsage, []string{"wrong usage: state must be one of"}, 0},
		{"rehearse --at never", exitUsage, []string{"wrong usage: "}, 0},
		{"accounts show ww7", exitGood, []string{"name               蓝桥家居\n", "days left          7\n", "stops then         add_customer, contact_rules", "contacts           3000 of 4000 purchased\n", "chats waiting      0\n"}, 12},
		{"accounts show nobody", exitBad, []string{"the configuration has no account with this corp_id (no_account)"}, 0},
		{"accounts calendar", exitGood, []string{"DATE (Asia/Shanghai)  SUBSCRIPTIONS THAT END  ACCOUNTS THAT STOP\n"}, 0},
		{"accounts calendar --from 2024-01-01 --to 2024-01-31", exitGood, nil, 1},
		{"accounts calendar --from today", exitUsage, []string{"wrong usage: from must be a date like 2026-12-02"}, 0},
		{"entities show", exitGood, []string{"sum       -         -         at most 450000  "}, 456},
		{"entities show 集团2", exitGood, []string{"at most 450000"}, 152},
		{"entities show 集团", exitBad, []string{"letter case matters (no_entity)"}, 0},
	} {
		code, out, errors := cli(t, append(strings.Fields(test.command), "--admin", at)...)
		if code != test.code || test.lines != 0 && strings.Count(out, "\n") != test.lines {
			t.Errorf("%s: exit %d, %d lines:\n%s%s", test.command, code, strings.Count(out, "\n"), out, errors)
		}
		for _, text := range test.want {
			if !strings.Contains(out+errors, text) {
				t.Errorf("%s: no %q in\n%.2000s%s", test.command, text, out, errors)
			}
		}
	}
}

// Entities are reported from the histories in Redis: one account lapses, and another one grows.
func TestEntitiesFromHistories(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts[0].Entity = "acme"
		c.Accounts = append(c.Accounts, config.Account{CorpID: "wwSibling", Entity: "acme"})
	})
	now := r.clock.Now()
	for corp, totals := range map[string][2]int{corpID: {5000, 4345}, "wwSibling": {1000, 1640}} {
		for i, total := range totals {
			count := account.Count{Total: total, AsOf: now.AddDate(0, 0, -30*(1-i)), Source: account.Metered}
			if stored, err := r.gateway.contacts.observer.Store.Put(t.Context(), corp, contacts.Count{Count: count}); err != nil || !stored {
				t.Fatal(stored, err)
			}
		}
	}
	at := r.gateway.control.Addr().String()
	code, out, _ := cli(t, "entities", "show", "acme", "--admin", at)
	want := "acme: in 30 days " + corpID + " lost 655 contacts and wwSibling gained 640; " + corpID + " lapses at " + localTime(now.Add(-time.Hour)) + "\n"
	if code != exitGood || !strings.HasSuffix(out, want) {
		t.Errorf("exit %d %s\nwant %s", code, out, want)
	}
}

func ptr[T any](v T) *T { return &v }

// What is not exact, not known or an upper bound says so.
func TestPrintEntities(t *testing.T) {
	var out bytes.Buffer
	err := printEntities(streams{out: &out}, []admin.Entity{
		{Name: "鹿鸣集团", Total: 5985, UpperBound: true, Exact: true, Unknown: 1, Change: ptr(-15), Accounts: []admin.Sibling{
			{CorpID: "wwDeer", Name: "鹿鸣服饰", Standing: "lapsed", Total: ptr(4345), Exact: true, Limit: ptr(2000), LimitKind: "free", Change: ptr(-655)},
			{CorpID: "wwShoes", Name: "鹿鸣\x1b鞋帽", Standing: "active", Total: ptr(1640), Exact: true, Change: ptr(640)},
			{CorpID: "wwUnknown", Standing: "active"},
		}, Moves: []admin.Shift{
			{From: "wwDeer", To: "wwShoes", Lost: 655, Gained: 640, Days: 30, Lapses: "2026-11-17T12:00:00.000Z"},
			{From: "wwDeer", To: "wwShoes", Lost: 655, Gained: 640, Days: 28},
		}},
		{Name: "alone", Total: 7, Accounts: []admin.Sibling{{CorpID: "wwAlone", Name: "Alone", Standing: "free", Total: ptr(7)}}},
	})
	want := `ENTITY    CORP       NAME       STANDING  CONTACTS                         LIMIT      30 DAYS
鹿鸣集团  wwDeer     鹿鸣服饰   lapsed    4345                             2000 free  -655
鹿鸣集团  wwShoes    鹿鸣�鞋帽  active    1640                             -          +640
鹿鸣集团  wwUnknown  -          active    -                                -          -
鹿鸣集团  sum        -          -         at most 5985, without 1 unknown  -          -15
alone     wwAlone    Alone      free      about 7                          -          -
alone     sum        -          -         about 7                          -          -
鹿鸣集团: in 30 days wwDeer lost 655 contacts and wwShoes gained 640; wwDeer lapses at ` + local("2026-11-17T12:00:00.000Z") + `
鹿鸣集团: in 28 days wwDeer lost 655 contacts and wwShoes gained 640
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}

func TestAccountCells(t *testing.T) {
	for _, test := range []struct {
		account        admin.Account
		left, contacts string
	}{
		{admin.Account{}, "-", "-"},
		{admin.Account{DaysLeft: ptr(0)}, "less than 1", "-"},
		{admin.Account{DaysLeft: ptr(9), LapsesTo: "free", Total: ptr(5), Exact: ptr(false), Limit: ptr(2000), LimitKind: "free"}, "9, then free", "about 5 of 2000 free"},
		{admin.Account{DaysLeft: ptr(30), LapsesTo: "lapsed", Total: ptr(5), Exact: ptr(true)}, "30", "5"},
	} {
		if left, contacts := daysLeft(test.account), contactsOf(test.account); left != test.left || contacts != test.contacts {
			t.Errorf("%+v: %q, %q", test.account, left, contacts)
		}
	}
}

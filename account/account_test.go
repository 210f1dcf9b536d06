package account_test

import (
	"slices"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

func TestCorpIDsAreCaseSensitive(t *testing.T) {
	b := account.NewBook([]config.Account{{CorpID: "wwAbC"}})
	if b.Find("wwabc") != nil || b.Find("wwAbC") == nil {
		t.Error("Find folds letter case")
	}
}

func tokens(t *testing.T, body func(t *testing.T, clock *wecomtest.Clock, one, two *account.Tokens)) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		body(t, clock, gateway(), gateway())
	})
}

func owner(t *testing.T, tokens *account.Tokens, token, corp string, want account.Owner) {
	t.Helper()
	if got, o, _ := tokens.Owner(t.Context(), token); got != corp || o != want {
		t.Fatalf("Owner(%s) = %q, %d; want %q, %d", token, got, o, corp, want)
	}
}

// gatewayOf is a gateway's Tokens in a store.
func gatewayOf(s *store.Client, clock *wecomtest.Clock) *account.Tokens {
	return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now)
}

// The book finds accounts by corp id, by host and by channel.
func TestBook(t *testing.T) {
	b := account.NewBook([]config.Account{
		{CorpID: "ww1", Name: "One", Entity: "acme", Hosts: []string{"One.Example.com", "10.0.0.1"}, Channels: []string{"wk1", "wk2"}},
		{CorpID: "ww2", Hosts: []string{"two.example.com"}},
	})
	if a := b.Find("ww1"); a == nil || a.Name != "One" || a.Entity != "acme" || !a.ListsChannels() || b.Find("ww2").ListsChannels() {
		t.Errorf("Find: %+v", a)
	}
	if ids := b.CorpIDs(); !slices.Equal(ids, []string{"ww1", "ww2"}) || len(b.All()) != 2 || b.All()[1].CorpID != "ww2" {
		t.Errorf("CorpIDs: %v", ids)
	}
	for host, want := range map[string]string{
		"one.example.com": "ww1", "ONE.EXAMPLE.COM:8080": "ww1", "one.example.com:443": "ww1", "10.0.0.1:80": "ww1", "two.example.com": "ww2",
		"": "", "example.com": "", "one.example.com.evil.com": "", "xone.example.com": "",
	} {
		if a := b.OfHost([]byte(host)); corpOf(a) != want {
			t.Errorf("OfHost(%q) is %q, want %q", host, corpOf(a), want)
		}
	}
	for channel, want := range map[string]string{"wk1": "ww1", "wk2": "ww1", "WK1": "", "wk3": "", "": ""} {
		if a := b.OfChannel(channel); corpOf(a) != want {
			t.Errorf("OfChannel(%q) is %q, want %q", channel, corpOf(a), want)
		}
	}
}

func corpOf(a *account.Account) string {
	if a == nil {
		return ""
	}
	return a.CorpID
}

func TestEmptyBook(t *testing.T) {
	b := account.NewBook(nil)
	if b.Find("") != nil || b.OfHost([]byte("a")) != nil || b.OfChannel("") != nil || len(b.All()) != 0 || len(b.CorpIDs()) != 0 {
		t.Error("an empty book finds an account")
	}
}

// Package account knows who is calling: the companies in the configuration, their standing at an
// instant, and whose an access token is.
//
// It does not decide what a standing allows; package policy does.
package account

import (
	"time"

	"replygate/config"
)

// Account is one company on WeCom that the gateway serves.
type Account struct {
	CorpID       string
	Name         string
	Entity       string
	subscription *config.Subscription
	contacts     *config.Contacts
}

// Book holds the accounts by corp id.
type Book struct {
	byCorp map[string]*Account
	all    []*Account
}

// NewBook takes over the accounts of a configuration.
func NewBook(accounts []config.Account) *Book {
	b := &Book{byCorp: make(map[string]*Account, len(accounts))}
	for _, c := range accounts {
		a := &Account{CorpID: c.CorpID, Name: c.Name, Entity: c.Entity, subscription: c.Subscription, contacts: c.Contacts}
		b.byCorp[a.CorpID] = a
		b.all = append(b.all, a)
	}
	return b
}

// Find returns the account of a corp id, nil if the configuration has none.
func (b *Book) Find(corpID string) *Account { return b.byCorp[corpID] }

// All returns the accounts in the order of the configuration.
func (b *Book) All() []*Account { return b.all }

// ExpiresAt is when the subscription ends; zero if it never does.
func (a *Account) ExpiresAt() time.Time {
	if a.subscription == nil {
		return time.Time{}
	}
	return a.subscription.ExpiresAt
}

// LapsesAt is when the grace behind the subscription ends; zero if the account never lapses.
func (a *Account) LapsesAt() time.Time {
	if a.subscription == nil {
		return time.Time{}
	}
	return a.subscription.ExpiresAt.Add(a.subscription.Grace)
}

// Contacts returns the free allowance and the number of external contacts; known is false without a
// number.
func (a *Account) Contacts() (free, total int, known bool) {
	if a.contacts == nil || a.contacts.Total == nil {
		return 0, 0, false
	}
	return a.contacts.Free, *a.contacts.Total, true
}

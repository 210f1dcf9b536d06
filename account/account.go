// Package account knows who is calling: the companies in the configuration, their standing at an
// instant, and whose an access token or a channel is.
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
	channels     bool // it lists some
}

// Book holds the accounts by corp id.
type Book struct {
	byCorp    map[string]*Account
	byHost    map[string]*Account // by config.HostName
	byChannel map[string]*Account
	all       []*Account
}

// NewBook takes over the accounts of a configuration.
func NewBook(accounts []config.Account) *Book {
	b := &Book{byCorp: make(map[string]*Account, len(accounts)), byHost: map[string]*Account{}, byChannel: map[string]*Account{}}
	for _, c := range accounts {
		a := &Account{CorpID: c.CorpID, Name: c.Name, Entity: c.Entity, subscription: c.Subscription, contacts: c.Contacts, channels: len(c.Channels) > 0}
		b.byCorp[a.CorpID] = a
		b.all = append(b.all, a)
		for _, host := range c.Hosts {
			b.byHost[config.HostName(host)] = a
		}
		for _, channel := range c.Channels {
			b.byChannel[channel] = a
		}
	}
	return b
}

// Find returns the account of a corp id, nil if the configuration has none.
func (b *Book) Find(corpID string) *Account { return b.byCorp[corpID] }

// OfHost returns the account whose bots call the gateway by the name in a Host header, nil if none
// lists it.
func (b *Book) OfHost(host []byte) *Account {
	if len(b.byHost) == 0 {
		return nil
	}
	return b.byHost[config.HostName(string(host))]
}

// OfChannel returns the account that lists a channel, nil if none does.
func (b *Book) OfChannel(channel string) *Account { return b.byChannel[channel] }

// All returns the accounts in the order of the configuration.
func (b *Book) All() []*Account { return b.all }

// ListsChannels tells whether the configuration lists channels of the account.
func (a *Account) ListsChannels() bool { return a.channels }

// CorpIDs returns the corp ids of all accounts.
func (b *Book) CorpIDs() []string {
	ids := make([]string, len(b.all))
	for i, a := range b.all {
		ids[i] = a.CorpID
	}
	return ids
}

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

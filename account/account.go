// Package account identifies callers: the companies in the configuration, their standing at an
// instant, and which company owns an access token or a channel.
//
// It does not decide what a standing allows; package policy does.
package account

import (
	"strings"
	"time"

	"replygate/config"
)

// Account is one company on WeCom that the gateway serves.
type Account struct {
	CorpID       string
	Name         string
	Entity       string
	subscription *config.Subscription
	channels     bool // the configuration lists channels of it

	free, purchased int           // numbers of contacts; purchased is 0 if it is not known
	byHand          *Count        // in the configuration; nil: none
	metered         *counted      // nil: no Counts in use
	every           time.Duration // meter.every
}

// Book holds the accounts by corp id.
type Book struct {
	byCorp    map[string]*Account
	byFolded  map[string]*Account // by the corp id in small letters
	byHost    map[string]*Account // by config.HostName
	byChannel map[string]*Account
	all       []*Account
}

// NewBook returns the accounts of a validated configuration.
func NewBook(accounts []config.Account) *Book {
	b := &Book{byCorp: make(map[string]*Account, len(accounts)), byFolded: make(map[string]*Account, len(accounts)), byHost: map[string]*Account{}, byChannel: map[string]*Account{}}
	for _, c := range accounts {
		a := &Account{CorpID: c.CorpID, Name: c.Name, Entity: c.Entity, subscription: c.Subscription, channels: len(c.Channels) > 0}
		a.free, a.byHand = config.DefaultContactsFree, countByHand(c.Contacts)
		if c.Contacts != nil {
			a.free = c.Contacts.Free
			if c.Contacts.Purchased != nil {
				a.purchased = *c.Contacts.Purchased
			}
		}
		b.byCorp[a.CorpID] = a
		b.byFolded[strings.ToLower(a.CorpID)] = a
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

// Find returns the account of a corp id, or nil if accounts does not list it. Case matters.
func (b *Book) Find(corpID string) *Account { return b.byCorp[corpID] }

// Spelling returns a corp id as accounts have it. gettoken takes it in any letter case (WeCom's
// document 97104), and two accounts never differ in that alone.
func (b *Book) Spelling(corpID string) string {
	if a := b.byFolded[strings.ToLower(corpID)]; a != nil {
		return a.CorpID
	}
	return corpID
}

// OfHost returns the account that lists the name in a Host header, or nil. Port and case do not
// matter; see config.HostName.
func (b *Book) OfHost(host []byte) *Account {
	if len(b.byHost) == 0 {
		return nil
	}
	return b.byHost[config.HostName(string(host))]
}

// OfChannel returns the account that lists a channel, or nil.
func (b *Book) OfChannel(channel string) *Account { return b.byChannel[channel] }

// All returns the accounts in the order of the configuration.
func (b *Book) All() []*Account { return b.all }

// ListsChannels reports whether the configuration lists channels of the account.
func (a *Account) ListsChannels() bool { return a.channels }

// CorpIDs returns the corp ids of all accounts, in the order of the configuration.
func (b *Book) CorpIDs() []string {
	ids := make([]string, len(b.all))
	for i, a := range b.all {
		ids[i] = a.CorpID
	}
	return ids
}

// ExpiresAt returns when the subscription ends; zero if it never does, or never began.
func (a *Account) ExpiresAt() time.Time {
	if a.subscription == nil || a.never() {
		return time.Time{}
	}
	return a.subscription.ExpiresAt
}

// LapsesAt returns when the grace period after the subscription ends; zero if the account never
// lapses.
func (a *Account) LapsesAt() time.Time {
	if a.subscription == nil || a.never() {
		return time.Time{}
	}
	return a.subscription.ExpiresAt.Add(a.subscription.Grace)
}

// Package contacts counts the external contacts of accounts: exactly by walks over WeCom's
// contact_list, and estimated in between by callbacks. It keeps both in Redis, shared by all
// gateways, says when a limit is reached, and sums the accounts of one legal entity.
//
// It opens no connection to WeCom and decides no standing: package account does that, from exact
// counts.
package contacts

import (
	"crypto/sha256"
	"errors"
	"time"

	"replygate/account"
)

// PassLimit is how long a pass may take. A tmp_openid is valid for four hours (DOC 99434), so ids
// of pages further apart must not be compared.
const PassLimit = 4 * time.Hour

// maxPeople bounds how many people one process remembers for unfinished passes, in about 50 MB.
// Tests lower it.
var maxPeople = 2_000_000

// Errors of Pass.Add. The pass then has no count, and must be begun again without a cursor.
var (
	ErrBroken   = errors.New("contacts: the page does not follow the one before, so the pass has no count; begin again without a cursor")
	ErrTooSlow  = errors.New("contacts: the pass took four hours, after which its ids are not comparable; begin again without a cursor")
	ErrTooLarge = errors.New("contacts: the pass has more people than the gateway counts")
)

// Row is one row of externalcontact/contact_list: a person, and a member or group that has this
// person as a contact. A person has as many rows as members and groups.
type Row struct {
	TmpOpenID string // identifies the person within one pass
	Customer  bool   // false: a contact that no other API shows; it counts as well
}

// Page is one answer of externalcontact/contact_list.
type Page struct {
	Cursor string // of the request; "" begins a walk
	Next   string // next_cursor of the answer; "" ends the walk
	Rows   []Row
}

// Count is an exact count: the distinct people of one pass.
type Count struct {
	account.Count
	Customers int // of Total, those that other APIs show as customers
}

// Pass is a walk over contact_list from its first page to its last. The zero Pass awaits the first
// page. It is not safe for concurrent use.
type Pass struct {
	began, ended time.Time
	cursor, next string // of the newest page
	pages        int
	people       map[person]bool // whether they are customers
}

// person identifies a tmp_openid. A hash of fixed length bounds what a long id costs.
type person [16]byte

// Add adds the next page, received at now. The page before may be repeated, as by a client that did
// not get its answer. After an error the pass has no count.
func (p *Pass) Add(page Page, now time.Time) error {
	if p.pages == 0 {
		p.began, p.people = now, map[person]bool{}
	}
	repeats := p.pages > 0 && page.Cursor == p.cursor
	follows := page.Cursor == p.next && (p.pages == 0) == (page.Cursor == "")
	loops := page.Next != "" && page.Next == page.Cursor
	elapsed := now.Sub(p.began)
	switch {
	case !repeats && !follows, loops:
		return ErrBroken
	case elapsed < 0, elapsed >= PassLimit:
		return ErrTooSlow
	}
	for _, r := range page.Rows {
		sum := sha256.Sum256([]byte(r.TmpOpenID))
		id := person(sum[:])
		p.people[id] = p.people[id] || r.Customer
	}
	if len(p.people) > maxPeople {
		return ErrTooLarge
	}
	p.ended, p.cursor, p.next = now, page.Cursor, page.Next
	p.pages++
	return nil
}

// Done reports whether the last page was added.
func (p *Pass) Done() bool { return p.pages > 0 && p.next == "" }

// Next returns the cursor of the next page, "" for the first.
func (p *Pass) Next() string { return p.next }

// Pages returns the number of pages added so far, repeated ones too, and People that of distinct
// people in them.
func (p *Pass) Pages() int { return p.pages }

// People returns the number of distinct people so far.
func (p *Pass) People() int { return len(p.people) }

// Count returns the count of a pass that is Done, as of its last page, to the millisecond.
func (p *Pass) Count() (Count, bool) {
	if !p.Done() {
		return Count{}, false
	}
	customers := 0
	for _, is := range p.people {
		if is {
			customers++
		}
	}
	return Count{Count: account.Count{Total: len(p.people), AsOf: p.ended.Truncate(time.Millisecond), Source: account.Metered}, Customers: customers}, true
}

package wecomtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the platform documents about externalcontact/contact_list (DOC 99434), or leaves open.
const (
	maxContacts    = 1000             // rows of a page, by default and at most
	openidLife     = 4 * time.Hour    // of a tmp_openid
	cursorLife     = 30 * time.Minute // a cursor expires; after how long is not documented
	expiredCursor  = 40058            // nor is the errcode of an expired cursor
	firstUnseeded  = 1 << 40          // position of the first row that was not seeded
	noContact      = 84061
	cursorFormat   = "%q %q %d %d %d"
	changeContact  = "change_external_contact"
	changeGroup    = "change_external_chat"
	deletedForward = "DELETE_BY_TRANSFER"
)

// contactBook has a corp's contacts: relations in the order in which they began.
type contactBook struct {
	relations []*relation
	groups    map[string]*group
	events    []Event
	last      int // position of the newest relation

	seeded, seedRows int // persons that exist only as rows of contact_list, and the rows of each
}

// relation makes a person a contact: a member added the person, or the person is in a group.
type relation struct {
	position int
	person   string // external_userid, or the name of someone who is no customer
	customer bool
	half     bool   // the member has not added the customer back
	member   string // who added the person, or owns the group
	chatID   string // of a customer group
	chatName string // of another group
	began    time.Time
}

type group struct {
	owner   string
	version int
}

// contactRow is a row of externalcontact/contact_list.
type contactRow struct {
	IsCustomer     bool   `json:"is_customer"`
	Name           string `json:"name,omitempty"` // masked
	TmpOpenID      string `json:"tmp_openid"`
	ExternalUserID string `json:"external_userid,omitempty"`
	FollowUserID   string `json:"follow_userid,omitempty"`
	ChatID         string `json:"chat_id,omitempty"`
	ChatName       string `json:"chat_name,omitempty"`
	AddTime        int64  `json:"add_time"`
}

// AddContact makes a member and a customer contacts, also after AddHalf.
func (p *Platform) AddContact(corpID, member, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	p.befriend(c, member, customer)
	p.contactEvent(c, "add_external_contact", member, customer, "WelcomeCode", p.giveCode(c, shortCode))
}

// befriend makes a member and a customer contacts without a callback, as a call of the API does
// (DOC 96361).
func (p *Platform) befriend(c *corp, member, customer string) {
	if r := c.book.friend(member, customer); r != nil {
		r.half = false
		return
	}
	c.book.add(relation{person: customer, customer: true, member: member, began: p.now()})
}

// AddHalf has a customer add a member who does not add the customer back. They are no contacts yet:
// contact_list lacks the customer, and calls about the customer get 84061.
func (p *Platform) AddHalf(corpID, member, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	if c.book.friend(member, customer) == nil {
		c.book.add(relation{person: customer, customer: true, half: true, member: member, began: p.now()})
	}
	p.contactEvent(c, "add_half_external_contact", member, customer, "WelcomeCode", p.giveCode(c, shortCode))
}

// DelContact has a member delete a customer.
func (p *Platform) DelContact(corpID, member, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	c.book.remove(func(r *relation) bool { return r.isFriend(member, customer) })
	p.contactEvent(c, "del_external_contact", member, customer)
}

// DelFollow has a customer delete a member. The relation stays from the member's side, so the
// customer still counts.
func (p *Platform) DelFollow(corpID, member, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contactEvent(p.corps[corpID], "del_follow_user", member, customer)
}

// EditContact has a member change the remark or the tags of a customer.
func (p *Platform) EditContact(corpID, member, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contactEvent(p.corps[corpID], "edit_external_contact", member, customer)
}

// TransferContact hands a member's customer over to another member, both at work. That the second
// callback comes too is not documented.
func (p *Platform) TransferContact(corpID, from, to, customer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	p.befriend(c, to, customer)
	c.book.remove(func(r *relation) bool { return r.isFriend(from, customer) })
	p.contactEvent(c, "del_external_contact", from, customer, "Source", deletedForward)
	p.contactEvent(c, "add_external_contact", to, customer)
}

// TransferFails has a customer stay with the old member, for the reason customer_refused or
// customer_limit_exceed (DOC 92277).
func (p *Platform) TransferFails(corpID, to, customer, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contactEvent(p.corps[corpID], "transfer_fail", to, customer, "FailReason", reason)
}

// AddOther adds a person who is no customer: a contact of a member without the customer-contact
// right, in the group chatName unless that is "". No callback reports it.
func (p *Platform) AddOther(corpID, member, name, chatName string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[corpID].book.add(relation{person: name, member: member, chatName: chatName, began: p.now()})
}

// DelOther removes a person who is no customer.
func (p *Platform) DelOther(corpID, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[corpID].book.remove(func(r *relation) bool { return !r.customer && r.person == name })
}

// CreateGroup creates a customer group of a member.
func (p *Platform) CreateGroup(corpID, chatID, owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	c.book.groups[chatID] = &group{owner: owner}
	p.groupEvent(c, chatID, "create", nil)
}

// JoinGroup adds members and customers to a group at once, by invitation.
func (p *Platform) JoinGroup(corpID, chatID string, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	owner := c.book.groups[chatID].owner
	for _, id := range ids {
		if isCustomer(id) {
			c.book.add(relation{person: id, customer: true, member: owner, chatID: chatID, began: p.now()})
		}
	}
	p.groupEvent(c, chatID, "update", ids, "UpdateDetail", "add_member", "JoinScene", "0", "QuitScene", "0")
}

// LeaveGroup removes members and customers from a group.
func (p *Platform) LeaveGroup(corpID, chatID string, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	c.book.remove(func(r *relation) bool { return r.chatID == chatID && slices.Contains(ids, r.person) })
	p.groupEvent(c, chatID, "update", ids, "UpdateDetail", "del_member", "JoinScene", "0", "QuitScene", "0")
}

// DismissGroup ends a group.
func (p *Platform) DismissGroup(corpID, chatID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	c.book.remove(func(r *relation) bool { return r.chatID == chatID })
	p.groupEvent(c, chatID, "dismiss", nil)
	delete(c.book.groups, chatID)
}

// SetContacts replaces the seeded contacts of a corp: customers with some rows each in
// contact_list, the rows of a customer far apart. They take no memory and send no callbacks.
func (p *Platform) SetContacts(corpID string, customers, rowsEach int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.corps[corpID].book
	b.seeded, b.seedRows = customers, rowsEach
}

// Contacts returns how many persons a corp serves: what a complete pass of contact_list must count.
func (p *Platform) Contacts(corpID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, persons := p.corps[corpID].book, map[string]bool{}
	for _, r := range b.relations {
		if !r.half {
			persons[r.person] = true
		}
	}
	return b.seeded + len(persons)
}

func (r *relation) isFriend(member, customer string) bool {
	return r.customer && r.chatID == "" && r.member == member && r.person == customer
}

func (b *contactBook) add(r relation) {
	b.last++
	r.position = firstUnseeded + b.last
	b.relations = append(b.relations, &r)
}

func (b *contactBook) remove(matches func(*relation) bool) {
	b.relations = slices.DeleteFunc(b.relations, matches)
}

// friend returns the relation of a member and a customer, nil if there is none.
func (b *contactBook) friend(member, customer string) *relation {
	if i := slices.IndexFunc(b.relations, func(r *relation) bool { return r.isFriend(member, customer) }); i >= 0 {
		return b.relations[i]
	}
	return nil
}

// knows reports whether calls about a customer succeed. In a corp without contacts all do.
func (b *contactBook) knows(customer string) bool {
	if b.empty() {
		return true
	}
	var n int
	if _, err := fmt.Sscanf(customer, seedID, &n); err == nil && n < b.seeded && customer == fmt.Sprintf(seedID, n) {
		return true
	}
	return slices.ContainsFunc(b.relations, func(r *relation) bool { return r.customer && !r.half && r.person == customer })
}

func (b *contactBook) empty() bool { return len(b.relations) == 0 && b.seeded == 0 }

func isCustomer(id string) bool { return strings.HasPrefix(id, "wm") || strings.HasPrefix(id, "wo") }

// seedID is the format of a seeded contact's external_userid.
const seedID = "wmSeed%07d"

// walk is one pass of contact_list, as a cursor carries it.
type walk struct {
	corp, name string
	began      time.Time
	position   int       // of the next row
	issued     time.Time // of the cursor
}

// cursor returns the cursor for the next page.
func (w walk) cursor() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, cursorFormat, w.corp, w.name, w.began.UnixNano(), w.position, w.issued.UnixNano()))
}

// readWalk parses a cursor.
func readWalk(cursor string) (w walk, ok bool) {
	var began, issued int64
	text, err := base64.StdEncoding.DecodeString(cursor)
	if err == nil {
		_, err = fmt.Sscanf(string(text), cursorFormat, &w.corp, &w.name, &began, &w.position, &issued)
	}
	w.began, w.issued = time.Unix(0, began), time.Unix(0, issued)
	return w, err == nil
}

// openid returns a person's tmp_openid: another one in each walk, and after four hours in the same.
func (w walk) openid(person string, now time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s", w.corp, w.name, now.Sub(w.began)/openidLife, person))
	return "to" + base64.RawURLEncoding.EncodeToString(sum[:20])
}

// contactList answers externalcontact/contact_list: all served external contacts, customers or not,
// with a row for each relation (DOC 99434). A contact that comes during a walk is on its last page.
func (p *Platform) contactList(call *Call, c *corp, _ *http.Request, body []byte) any {
	var in struct {
		Cursor string `json:"cursor"`
		Limit  int    `json:"limit"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	now := p.now()
	w := walk{corp: c.id, name: rand.Text(), began: now}
	if in.Cursor != "" {
		var ok bool
		if w, ok = readWalk(in.Cursor); !ok || w.corp != c.id || now.Sub(w.issued) >= cursorLife {
			return p.fail(call, expiredCursor)
		}
	}
	if in.Limit <= 0 || in.Limit > maxContacts {
		in.Limit = maxContacts
	}
	rows := c.book.page(&w, in.Limit, now)
	next := ""
	if w.position >= 0 {
		w.issued = now
		next = w.cursor()
	}
	return ok(map[string]any{"info_list": rows, "next_cursor": next})
}

// page returns the next rows of a walk and moves its position, to -1 at the end.
func (b *contactBook) page(w *walk, limit int, now time.Time) []contactRow {
	rows := []contactRow{}
	for ; w.position < b.seeded*b.seedRows && len(rows) < limit; w.position++ {
		id := fmt.Sprintf(seedID, w.position%b.seeded)
		rows = append(rows, contactRow{
			IsCustomer: true, TmpOpenID: w.openid(id, now), ExternalUserID: id,
			FollowUserID: fmt.Sprintf("clerk%d", w.position/b.seeded+1), AddTime: w.began.Unix(),
		})
	}
	if w.position < b.seeded*b.seedRows {
		return rows
	}
	for _, r := range b.relations {
		switch {
		case r.half || r.position < w.position:
		case len(rows) == limit:
			w.position = r.position
			return rows
		default:
			rows = append(rows, w.row(r, now))
		}
	}
	w.position = -1
	return rows
}

func (w walk) row(r *relation, now time.Time) contactRow {
	row := contactRow{
		IsCustomer: r.customer, TmpOpenID: w.openid(r.person, now), FollowUserID: r.member,
		ChatID: r.chatID, ChatName: r.chatName, AddTime: r.began.Unix(),
	}
	if r.customer {
		row.ExternalUserID = r.person
	} else {
		row.Name = "***"
	}
	return row
}

// contactsOf answers externalcontact/list: the customers of a member, 84061 if there are none (DOC
// 96314). A corp without contacts gets the sample.
func (p *Platform) contactsOf(call *Call, c *corp, r *http.Request, _ []byte) any {
	if c.book.empty() {
		return sample(call.Path)
	}
	ids := []string{}
	for _, rel := range c.book.relations {
		if rel.isFriend(r.URL.Query().Get("userid"), rel.person) && !rel.half {
			ids = append(ids, rel.person)
		}
	}
	if len(ids) == 0 {
		failed := p.fail(call, noContact)
		failed["external_userid"] = ids
		return failed
	}
	return ok(map[string]any{"external_userid": ids})
}

// contact answers with the details of a customer, 84061 if the corp has contacts and this is none.
func (p *Platform) contact(call *Call, c *corp, r *http.Request, _ []byte) any {
	id := r.URL.Query().Get("external_userid")
	switch {
	case id == "":
		return p.fail(call, 41035)
	case !isCustomer(id):
		return p.fail(call, 40096)
	case !c.book.knows(id):
		return p.fail(call, noContact)
	}
	return ok(map[string]any{
		"external_contact": map[string]any{"external_userid": id, "name": "Li", "type": 1, "gender": 1},
		"follow_user":      []any{map[string]any{"userid": "zhangsan", "remark": "Li of Acme", "createtime": 1525779812}},
	})
}

// setContacts serves /simulator/contacts.
func (p *Platform) setContacts(w http.ResponseWriter, r *http.Request) {
	in := struct {
		CorpID   string `json:"corp_id"`
		Contacts int    `json:"contacts"`
	}{Contacts: -1}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in); err != nil || in.Contacts < 0 || in.Contacts > 10_000_000 {
		http.Error(w, `send {"corp_id":"…","contacts":1999}`, http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	c := p.corps[in.CorpID]
	p.mu.Unlock()
	if c == nil {
		http.Error(w, fmt.Sprintf("the simulated WeCom has no corp %q", in.CorpID), http.StatusNotFound)
		return
	}
	p.SetContacts(in.CorpID, in.Contacts, 2)
	writeJSON(w, map[string]any{"contacts": p.Contacts(in.CorpID)})
}

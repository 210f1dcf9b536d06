package wecomtest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Event is a callback about a contact or a customer group that the platform has to send.
type Event struct {
	corp, kind string
	at         time.Time
	fields     []string // names and values by turns
	changed    []string // MemChangeList
}

// The platform sends a callback again if it gets no success in time, and gives up after three tries
// (DOC 90238).
const (
	callbackTries = 3
	callbackTime  = 5 * time.Second
)

// contactEvent adds a callback change_external_contact (DOC 92130, 92277) with more fields.
func (p *Platform) contactEvent(c *corp, change, member, customer string, more ...string) {
	fields := append([]string{"ChangeType", change, "UserID", member, "ExternalUserID", customer}, more...)
	c.book.events = append(c.book.events, Event{corp: c.id, kind: changeContact, at: p.now(), fields: fields})
}

// groupEvent adds a callback change_external_chat (DOC 92130, 92277) with more fields. If members
// change, the version of the group goes up.
func (p *Platform) groupEvent(c *corp, chatID, change string, changed []string, more ...string) {
	fields := append([]string{"ChatId", chatID, "ChangeType", change}, more...)
	if g := c.book.groups[chatID]; changed != nil {
		g.version++
		fields = append(fields, "MemChangeCnt", fmt.Sprint(len(changed)), "LastMemVer", version(g.version-1), "CurMemVer", version(g.version))
	}
	c.book.events = append(c.book.events, Event{corp: c.id, kind: changeGroup, at: p.now(), fields: fields, changed: changed})
}

func version(n int) string { return fmt.Sprintf("%032x", n) }

// TakeEvents returns the callbacks that a corp's changes of contacts and groups call for, and
// forgets them. A test may send them with SendEvent in any order, twice, or not at all.
func (p *Platform) TakeEvents(corpID string) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.corps[corpID].book
	events := b.events
	b.events = nil
	return events
}

// SendEvent sends a callback until it is taken: by HTTP 200 within five seconds, from a third party
// with the body "success" (DOC 90597). It gives up after three tries, and returns their answers.
func (p *Platform) SendEvent(a App, e Event) (tries []Delivered, taken bool) {
	for len(tries) < callbackTries {
		d, err := a.deliver(p.now(), e.Plain(a), p.patience)
		tries = append(tries, d)
		if err == nil && d.Status == http.StatusOK && (a.Suite == "" || string(d.Body) == "success") {
			return tries, true
		}
	}
	return tries, false
}

// SendEvents sends all callbacks that a corp's changes call for. It reports whether all were taken.
func (p *Platform) SendEvents(corpID string, a App) (taken bool) {
	taken = true
	for _, e := range p.TakeEvents(corpID) {
		_, ok := p.SendEvent(a, e)
		taken = taken && ok
	}
	return taken
}

// Plain returns the decrypted text of the callback, in the envelope of an internal app or, if a has
// a suite, of a third party.
func (e Event) Plain(a App) string {
	var b strings.Builder
	put := func(name, value string) { fmt.Fprintf(&b, "<%s><![CDATA[%s]]></%s>", name, value, name) }
	b.WriteString("<xml>")
	if a.Suite != "" {
		put("SuiteId", a.Suite)
		put("AuthCorpId", e.corp)
		put("InfoType", e.kind)
		fmt.Fprintf(&b, "<TimeStamp>%d</TimeStamp>", e.at.Unix())
	} else {
		put("ToUserName", e.corp)
		put("FromUserName", "sys")
		fmt.Fprintf(&b, "<CreateTime>%d</CreateTime>", e.at.Unix())
		put("MsgType", "event")
		put("Event", e.kind)
	}
	for i := 0; i < len(e.fields); i += 2 {
		put(e.fields[i], e.fields[i+1])
	}
	if e.changed != nil {
		b.WriteString("<MemChangeList>")
		for _, id := range e.changed {
			put("Item", id)
		}
		b.WriteString("</MemChangeList>")
	}
	b.WriteString("</xml>")
	return b.String()
}

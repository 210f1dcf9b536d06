package proxy

import (
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
	"replygate/wecom"
)

// observeContacts hands an answer of contact_list to the observer, which reads it later: the call
// does not wait for that. Half a page, or one whose cursor is not certain, breaks the walk off.
func (x *apiRequest) observeContacts(answer io.Reader, err error) {
	x.readClaims()
	if err != nil || x.rc.Response.StatusCode() != fasthttp.StatusOK || len(x.tokens) != 1 {
		return
	}
	cursor, certain := wecom.ContactCursor(x.sentCall())
	whole, err := io.ReadAll(io.LimitReader(answer, contacts.MaxAnswer+1))
	if !certain || err != nil || len(whole) > contacts.MaxAnswer {
		return
	}
	x.gw.Contacts.Page(contacts.Sighting{
		Token: account.HashToken(x.tokens[0]), Corp: x.corpOfAll(), Cursor: cursor, Answer: whole, At: x.gw.Now(),
	})
}

// corpOfAll returns the account that all calls with unknown tokens belong to by the configuration,
// "" if there is none. What a call says of itself does not tell whose contacts it lists: a wrong
// count would refuse calls of another account.
func (x *apiRequest) corpOfAll() string {
	only := x.gate.OnlyAccount()
	switch setting := x.gate.Config.UnknownToken; {
	case x.gate.Accounts.Find(setting) != nil:
		return setting
	case setting == config.Auto && only != nil:
		return only.CorpID
	}
	return ""
}

// observeContacts hands a verified callback about contacts to the observer. Most are about
// something else.
func (d *callbackRequest) observeContacts() {
	if d.gw.Contacts == nil {
		return
	}
	event, change, _ := strings.Cut(d.event.Kind, ".")
	c := contacts.Callback{
		Event: event, ChangeType: change, UserID: d.event.Member, ExternalUserID: d.event.Customer, Source: d.event.Source, At: d.event.At,
	}
	if g := d.event.Group; g != nil {
		c.UpdateDetail, c.ChatID, c.MemChangeList = g.Detail, g.ID, g.Members
	}
	d.gw.Contacts.Callback(d.event.Corp, c, d.at)
}

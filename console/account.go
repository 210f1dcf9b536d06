package console

import (
	"net/http"
	"net/url"
)

// accountView is the page of one account.
type accountView struct {
	Account   account
	Contacts  *contactRow
	Entity    *entity
	Rehearsal *rehearsal
	Refusals  []decision
	Waiting   closingList
	Failed    map[string]string // why a part of the page is missing
}

// accountPage shows one account. Each part of the page stands without the others.
func accountPage(q *request) {
	corp := q.r.PathValue("corp")
	view := accountView{Failed: map[string]string{}}
	if f := q.get("/v1/accounts/"+url.PathEscape(corp), nil, &view.Account); f != nil {
		q.fail(f)
		return
	}
	q.describe(&view.Account)
	fetch := func(name, path string, query url.Values, into any) bool {
		f := q.get(path, query, into)
		if f != nil {
			view.Failed[name] = f.Message
		}
		return f == nil
	}
	var contacts struct{ Contacts []contactRow }
	if fetch("contacts", "/v1/contacts", url.Values{"corp_id": {corp}, "history": {"90"}}, &contacts) && len(contacts.Contacts) == 1 {
		view.Contacts = &contacts.Contacts[0]
	}
	if view.Account.Entity != "" {
		var e entity
		if fetch("entity", "/v1/entities/"+url.PathEscape(view.Account.Entity), nil, &e) && len(e.Accounts) > 1 {
			view.Entity = &e
		}
	}
	var r rehearsal
	if fetch("rehearsal", "/v1/rehearsal", url.Values{"corp_id": {corp}, "language": {q.code}}, &r) {
		view.Rehearsal = &r
	}
	var refusals struct{ Decisions []decision }
	fetch("refusals", "/v1/decisions", url.Values{"corp_id": {corp}, "verdict": {"refuse"}, "limit": {"20"}}, &refusals)
	view.Refusals = refusals.Decisions
	fetch("waiting", "/v1/closing", url.Values{"corp_id": {corp}, "limit": {"10"}}, &view.Waiting)
	for i := range view.Waiting.Waiting {
		q.describeChat(&view.Waiting.Waiting[i])
	}
	q.render(http.StatusOK, "account", view)
}

package console

import (
	"net/http"
	"net/url"
	"slices"
)

// accountView is the page of one account.
type accountView struct {
	Account   account
	Channels  []channel
	Why       string // of the standing
	Events    []event
	Contacts  *contactRow
	Entity    *entity
	Rehearsal *rehearsal // of the calls of 28 days
	Refusals  []decision
	Waiting   closingList
	Rules     []rule            // that name it or its entity
	Failed    map[string]string // why a part of the page is missing
}

// channel is a channel of an account as GET /v1/accounts/CORP gives it.
type channel struct {
	Channel    string  `json:"channel"`
	Since      instant `json:"since"`
	Incomplete bool    `json:"incomplete"`
	Messages   int     `json:"messages_7d"`
	Replied    instant `json:"replied"`
	Untold     string  `json:"untold"`
	Waiting    *int    `json:"waiting"`
}

// event is something that happened to an account, or will.
type event struct {
	At         instant
	Text, When string
	Past       bool
}

// accountPage shows one account. Each part of the page stands without the others.
func accountPage(q *request) {
	var one struct {
		account
		Channels []channel `json:"channels"`
	}
	corp := q.r.PathValue("corp")
	if f := q.get("/v1/accounts/"+url.PathEscape(corp), nil, &one); f != nil {
		q.fail(f)
		return
	}
	view := accountView{Account: one.account, Channels: one.Channels, Failed: map[string]string{}}
	if !q.overview().RedisDown.IsZero() {
		view.Failed["channels"] = q.text("account.channels.away")
	}
	q.describe(&view.Account)
	if view.Account.Standing == "lapsed" { // the sentence below tells that since
		view.Account.Left.Why = ""
	}
	view.Why, view.Events = q.standingWhy(view.Account), q.events(view.Account)
	q.accountContacts(&view)
	q.accountTraffic(&view)
	q.render(http.StatusOK, "account", view)
}

// fetch asks for one part of the page, and notes if it is missing.
func (v *accountView) fetch(q *request, name, path string, query url.Values, into any) bool {
	if q.get(path, query, into) != nil {
		v.Failed[name] = q.text("account.away." + name)
		return false
	}
	return true
}

// accountContacts gets the account's contacts, and the accounts of the same entity.
func (q *request) accountContacts(v *accountView) {
	var contacts struct{ Contacts []contactRow }
	if v.fetch(q, "contacts", "/v1/contacts", url.Values{"corp_id": {v.Account.CorpID}, "history": {"90"}}, &contacts) && len(contacts.Contacts) == 1 {
		v.Contacts = &contacts.Contacts[0]
	}
	if v.Account.Entity == "" {
		return
	}
	var e entity
	if v.fetch(q, "entity", "/v1/entities/"+url.PathEscape(v.Account.Entity), nil, &e) && len(e.Accounts) > 1 {
		v.Entity = &e
	}
}

// accountTraffic gets the account's calls, refusals and chats that wait.
func (q *request) accountTraffic(v *accountView) {
	corp := []string{v.Account.CorpID}
	var r rehearsal
	if v.fetch(q, "rehearsal", "/v1/rehearsal", url.Values{"corp_id": corp, "history": {"28"}, "language": {q.code}}, &r) {
		v.Rehearsal = &r
	}
	var refusals struct{ Decisions []decision }
	v.fetch(q, "refusals", "/v1/decisions", url.Values{"corp_id": corp, "verdict": {"refuse"}, "limit": {"20"}}, &refusals)
	v.Refusals = refusals.Decisions
	v.fetch(q, "waiting", "/v1/closing", url.Values{"corp_id": corp, "limit": {"10"}}, &v.Waiting)
	for i := range v.Waiting.Waiting {
		q.describeChat(&v.Waiting.Waiting[i])
	}
	var rules rulesView
	if q.get("/v1/rules", url.Values{"corp_id": corp}, &rules) == nil {
		v.Rules = rules.Rules
	}
}

// standingWhy tells until when an account has its standing, or since when; "" if that has no time.
func (q *request) standingWhy(a account) string {
	at := map[string]instant{"active": a.Expires, "grace": a.Lapses, "lapsed": a.Lapses}[a.Standing]
	if at.IsZero() {
		return ""
	}
	return q.text("account.why."+a.Standing, "t", q.minute(at.Time))
}

// events are the instants that are known of an account, the earliest first.
func (q *request) events(a account) []event {
	var all []event
	add := func(at instant, key string, values ...any) {
		if at.IsZero() {
			return
		}
		e := event{At: at, Text: q.text("account.event."+key, values...), Past: !at.After(q.now)}
		if e.Past {
			e.When = q.text("account.ago", "left", q.left(q.now.Sub(at.Time)))
		} else {
			e.When = q.text("account.in", "left", q.left(at.Sub(q.now)))
		}
		all = append(all, e)
	}
	add(a.Expires, "expires")
	if a.LapsesTo == "free" {
		add(a.Lapses, "free")
	} else {
		add(a.Lapses, "stops")
	}
	add(a.Counted, "counted")
	var rules rulesView
	if q.get("/v1/rules", nil, &rules) == nil && rules.Next != nil {
		add(rules.Next.From, "ruleset", "ruleset", rules.Next.Ruleset)
	}
	slices.SortStableFunc(all, func(x, y event) int { return x.At.Compare(y.At.Time) })
	return all
}

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
}

// event is something that happened to an account, or will.
type event struct {
	At         instant
	Text, When string
	Past       bool
}

// accountPage shows one account. Each part of the page stands without the others.
func accountPage(q *request) {
	corp := q.r.PathValue("corp")
	view := accountView{Failed: map[string]string{}}
	var one struct {
		account
		Channels []channel `json:"channels"`
	}
	if f := q.get("/v1/accounts/"+url.PathEscape(corp), nil, &one); f != nil {
		q.fail(f)
		return
	}
	view.Account, view.Channels = one.account, one.Channels
	if !q.overview().RedisDown.IsZero() {
		view.Failed["channels"] = q.text("account.channels.away")
	}
	q.describe(&view.Account)
	fetch := func(name, path string, query url.Values, into any) bool {
		f := q.get(path, query, into)
		if f != nil {
			view.Failed[name] = q.text("account.away." + name)
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
	if fetch("rehearsal", "/v1/rehearsal", url.Values{"corp_id": {corp}, "history": {"28"}, "language": {q.code}}, &r) {
		view.Rehearsal = &r
	}
	var refusals struct{ Decisions []decision }
	fetch("refusals", "/v1/decisions", url.Values{"corp_id": {corp}, "verdict": {"refuse"}, "limit": {"20"}}, &refusals)
	view.Refusals = refusals.Decisions
	fetch("waiting", "/v1/closing", url.Values{"corp_id": {corp}, "limit": {"10"}}, &view.Waiting)
	for i := range view.Waiting.Waiting {
		q.describeChat(&view.Waiting.Waiting[i])
	}
	view.Why, view.Events = q.standingWhy(view.Account), q.events(view.Account)
	q.render(http.StatusOK, "account", view)
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

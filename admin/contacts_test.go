package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
	"replygate/record"
)

// wecomCalls answers the meter's calls.
type wecomCalls func(ctx context.Context, path string) (answer string, err error)

func (f wecomCalls) Call(ctx context.Context, path string, _ url.Values, _ []byte) (status int, answer []byte, err error) {
	text, err := f(ctx, path)
	return http.StatusOK, []byte(text), err
}

// counting gives an API what it needs to count contacts. Every account but wwNoSecret has a secret.
func (a *api) counting() {
	log := record.RateLimit(zap.NewNop(), a.now)
	a.admin.Contacts = (&contacts.Observer{
		Store: contacts.NewStore(a.redis, "rg:", 10*time.Second), Counts: account.NewCounts(), Log: log,
		Accounts: func() *account.Book { return a.gateway.gate.Accounts },
	}).Init()
	a.admin.Meter = (&contacts.Meter{
		Observer: a.admin.Contacts, Log: log, Now: a.now,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Targets: func() (all []contacts.Target, every time.Duration) {
			for _, acc := range a.gateway.gate.Accounts.All() {
				if acc.CorpID != "wwNoSecret" {
					all = append(all, contacts.Target{Corp: acc.CorpID, Secret: "contact-secret-1"})
				}
			}
			return all, 6 * time.Hour
		},
	}).Init()
}

// withCounted gives an API other accounts, which are what was counted makes them.
func (a *api) withCounted(accounts []config.Account) {
	a.Helper()
	a.with(accounts)
	a.gateway.gate.Accounts.UseCounts(a.admin.Contacts.Counts, 6*time.Hour)
}

// metered stores that an account was counted some time ago.
func (a *api) metered(corp string, total int, ago time.Duration) {
	a.Helper()
	c := contacts.Count{Count: account.Count{Total: total, AsOf: a.now().Add(-ago), Source: account.Metered}}
	if stored, err := a.admin.Contacts.Store.Put(a.Context(), corp, c); err != nil || !stored {
		a.Fatal(stored, err)
	}
}

// refresh has the API read what is stored.
func (a *api) refresh() {
	a.Helper()
	if err := a.admin.Contacts.Refresh(a.Context(), a.now()); err != nil {
		a.Fatal(err)
	}
}

// contactsOf returns one page of the list of contacts.
func (a *api) contactsOf(query string) (list admin.ContactsList, corps []string) {
	a.Helper()
	list = get[admin.ContactsList](a, "/v1/contacts?"+query)
	for _, row := range list.Contacts {
		corps = append(corps, row.CorpID)
	}
	return list, corps
}

// withNumbers gives an API an account for each label that a number may have, and for each reason
// why there is none.
func withNumbers(a *api) {
	a.Helper()
	never := &config.Subscription{Never: true}
	byHand := &config.Contacts{Free: 2000, Purchased: new(10_000), Total: new(9000), CountedAt: start.Add(-48 * time.Hour)}
	a.withCounted([]config.Account{
		{CorpID: "wwAlmost", Name: "Almost", Entity: "acme", Subscription: never, Secrets: config.Secrets{Contact: "contact-secret-1"}},
		{CorpID: "wwTier", Name: "蓝桥家居", Entity: "acme", Contacts: byHand},
		{CorpID: "wwMoved", Name: "Moved", Subscription: never},
		{CorpID: "wwPaying", Name: "Paying"},
		{CorpID: "wwPending", Name: "=Pending", Secrets: config.Secrets{Contact: "contact-secret-1"}},
		{CorpID: "wwNoSecret", Name: "No secret", Entity: "zeta"},
		{CorpID: "wwRefused", Name: "Refused", Subscription: never},
		{CorpID: "wwStale", Name: "Stale", Subscription: never},
	})
	a.metered("wwAlmost", 1979, 10*24*time.Hour)
	a.metered("wwAlmost", 1999, time.Hour)
	a.metered("wwMoved", 1990, time.Hour)
	a.metered("wwPaying", 50_000, time.Hour)
	a.metered("wwRefused", 2001, time.Hour)
	a.metered("wwStale", 2100, 24*time.Hour)
	ctx, store := a.Context(), a.admin.Contacts.Store
	for i := range 12 {
		move := contacts.Move{Customer: fmt.Sprint("wm", i), With: "member a", Change: contacts.Added, At: start.Add(-time.Minute)}
		if err := store.Move(ctx, "wwMoved", move); err != nil {
			a.Fatal(err)
		}
	}
	if err := a.redis.HSet(ctx, "rg:contacts:{wwMoved}:count", "partial", 1).Err(); err != nil {
		a.Fatal(err)
	}
	if err := store.Fail(ctx, "wwRefused", contacts.Failure{Reason: contacts.Refused, Errcode: 48002, At: start.Add(-time.Minute)}); err != nil {
		a.Fatal(err)
	}
	a.refresh()
}

// Every number has its label, and where there is none the row says why and what to do.
func TestContacts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	withNumbers(a)
	why := func(reason contacts.Reason, errcode int, more string) string {
		f := contacts.Failure{Reason: reason, Errcode: errcode}
		return `"problem":{"reason":"` + string(reason) + `",` + more + `"why":"` + f.Why() + `","remedy":"` + f.Remedy() + `"}`
	}
	for corp, want := range map[string]string{
		"wwAlmost": `"name":"Almost","entity":"acme","standing":"free","total":1999,"as_of":"2026-11-22T11:00:00.000Z","source":"metered","exact":true,"limit":2000,"limit_kind":"free","left":1,"percent":99,` +
			`"pace":{"days":10,"change":20,"per_day":2},"full_on":"2026-11-23"`,
		"wwTier":     `"name":"蓝桥家居","entity":"acme","standing":"active","total":9000,"as_of":"2026-11-20T12:00:00.000Z","source":"file","exact":true,"limit":10000,"limit_kind":"purchased","left":1000,"percent":90`,
		"wwMoved":    `"name":"Moved","entity":"","standing":"free","total":2002,"as_of":"2026-11-22T11:59:00.000Z","source":"callbacks","estimate":true,"counted":{"total":1990,"as_of":"2026-11-22T11:00:00.000Z","source":"metered","exact":true},"incomplete":true,"limit":2000,"limit_kind":"free","left":0,"percent":100,"full_on":"2026-11-22"`,
		"wwPaying":   `"name":"Paying","entity":"","standing":"active","total":50000,"as_of":"2026-11-22T11:00:00.000Z","source":"metered","exact":true`,
		"wwPending":  `"name":"=Pending","entity":"","standing":"active",` + why(contacts.Pending, 0, ""),
		"wwNoSecret": `"name":"No secret","entity":"zeta","standing":"active",` + why(contacts.NoSecret, 0, ""),
		"wwRefused": `"name":"Refused","entity":"","standing":"full","total":2001,"as_of":"2026-11-22T11:00:00.000Z","source":"metered","exact":true,"limit":2000,"limit_kind":"free","left":0,"percent":100,"full_on":"2026-11-22",` +
			why(contacts.Refused, 48002, `"errcode":48002,"at":"2026-11-22T11:59:00.000Z",`),
		"wwStale": `"name":"Stale","entity":"","standing":"active","total":2100,"as_of":"2026-11-21T12:00:00.000Z","source":"metered","exact":true,"limit":2000,"limit_kind":"free","left":0,"percent":105,"full_on":"2026-11-22","stale":true,` + why(contacts.Stale, 0, ""),
	} {
		a.want(a.call("GET", "/v1/contacts?corp_id="+corp, ""), 200, `{"contacts":[{"corp_id":"`+corp+`",`+want+`}],"total":1,"as_of":"2026-11-22T12:00:00.000Z"}`)
	}
	list, _ := a.contactsOf("corp_id=wwAlmost&history=400")
	if want := []admin.Day{{Date: "2026-11-12", Total: 1979}, {Date: "2026-11-22", Total: 1999}}; !slices.Equal(list.Contacts[0].History, want) {
		t.Errorf("%v", list.Contacts[0].History)
	}
	if list, _ = a.contactsOf("corp_id=wwAlmost&history=1"); len(list.Contacts[0].History) != 1 || list.Contacts[0].History[0].Total != 1999 {
		t.Errorf("%v", list.Contacts[0].History)
	}
}

// Rows without a limit follow those that have one, and rows without a number are last, whatever the
// direction.
func TestContactSortsAndFilters(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	withNumbers(a)
	const unknown = " wwNoSecret wwPending"
	for query, want := range map[string]string{
		"":                                 "wwStale wwMoved wwRefused wwAlmost wwTier wwPaying" + unknown,
		"sort=used":                        "wwTier wwAlmost wwRefused wwMoved wwStale wwPaying" + unknown,
		"sort=-total":                      "wwPaying wwTier wwStale wwMoved wwRefused wwAlmost" + unknown,
		"sort=total":                       "wwAlmost wwRefused wwMoved wwStale wwTier wwPaying" + unknown,
		"sort=name":                        "wwPending wwAlmost wwMoved wwNoSecret wwPaying wwRefused wwStale wwTier",
		"sort=-name":                       "wwTier wwStale wwRefused wwPaying wwNoSecret wwMoved wwAlmost wwPending",
		"kind=free":                        "wwStale wwMoved wwRefused wwAlmost",
		"kind=purchased":                   "wwTier",
		"entity=acme":                      "wwAlmost wwTier",
		"entity=Acme":                      "",
		"standing=full":                    "wwRefused",
		"standing=active&kind=free":        "wwStale",
		"standing=&kind=&history=&entity=": "wwStale wwMoved wwRefused wwAlmost wwTier wwPaying" + unknown, // a form sends its empty fields too
	} {
		list, corps := a.contactsOf(query)
		if got := strings.Join(corps, " "); got != want || *list.Total != len(corps) || list.Next != "" {
			t.Errorf("%s: %s of %d\nwant %s", query, got, *list.Total, want)
		}
		var paged []string
		for next := ""; ; {
			page, corps := a.contactsOf(query + "&limit=1&cursor=" + next)
			if paged = append(paged, corps...); *page.Total != *list.Total {
				t.Errorf("%s: a page of %d, want %d", query, *page.Total, *list.Total)
			}
			if next = page.Next; next == "" {
				break
			}
		}
		if !slices.Equal(paged, corps) {
			t.Errorf("%s: in pages %v\nwant %v", query, paged, corps)
		}
	}
}

// The list keeps what all lists promise: checked parameters, an ETag, and CSV.
func TestContactListConventions(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	withNumbers(a)
	list, _ := a.contactsOf("limit=1&sort=name")
	for query, want := range map[string]struct{ code, message string }{
		"sort=stops":                        {"bad_query", "sort must be one of -used, used, -total, total, name, -name"},
		"limit=0":                           {"bad_query", "limit must be 1 to 200"},
		"kind=paid":                         {"bad_query", "kind must be one of free, purchased"},
		"standing=good":                     {"bad_query", "standing must be one of active, grace, lapsed, free, full"},
		"history=0":                         {"bad_query", "history must be 1 to 400 (days)"},
		"history=401":                       {"bad_query", "history must be 1 to 400 (days)"},
		"history=week":                      {"bad_query", "history must be 1 to 400 (days)"},
		"within=7d":                         {"bad_query", `there is no parameter "within"; allowed are corp_id, entity, standing, kind, history, limit, cursor, sort, format`},
		"kind=free&kind=free":               {"bad_query", "kind is given 2 times; give it once"},
		"cursor=" + list.Next:               {"bad_cursor", "this cursor is not one of this list and sort: begin again without it"}, // of another sort
		"sort=name&cursor=" + list.Next[1:]: {"bad_cursor", "this cursor is not one of this list and sort: begin again without it"},
	} {
		r := a.call("GET", "/v1/contacts?"+query, "")
		if code, message := r.failure(t); r.Code != 400 || code != want.code || message != want.message {
			t.Errorf("%s: HTTP %d %s: %s", query, r.Code, code, message)
		}
	}
	r := a.call("GET", "/v1/contacts?corp_id=wwalmost", "")
	if code, _ := r.failure(t); r.Code != 404 || code != "no_account" {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}

	tag := a.call("GET", "/v1/contacts", "").Header().Get("ETag")
	a.advance(time.Second)
	if r := a.call("GET", "/v1/contacts", "", "If-None-Match: "+tag); r.Code != http.StatusNotModified || r.body != "" {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	a.metered("wwAlmost", 1998, 0)
	a.refresh()
	if r := a.call("GET", "/v1/contacts", "", "If-None-Match: "+tag); r.Code != 200 {
		t.Errorf("HTTP %d although a number changed", r.Code)
	}

	csv := a.call("GET", "/v1/contacts?format=csv&sort=total&limit=1&history=30", "").body
	for _, want := range []string{
		"corp_id,name,entity,standing,total,as_of,source,exact,estimate,counted,incomplete,limit,limit_kind,left,percent,pace,full_on,stale,problem,history\n",
		"\nwwAlmost,Almost,acme,free,1998,2026-11-22T12:00:01.000Z,metered,true,false,,false,2000,free,2,99,'+19 in 10 days,2026-11-23,false,,2026-11-12:1979 2026-11-22:1998\n",
		"\nwwMoved,Moved,,free,2002,2026-11-22T11:59:00.000Z,callbacks,false,true,1990 metered 2026-11-22T11:00:00.000Z,true,2000,free,0,100,,2026-11-22,false,,2026-11-22:1990\n",
		"\nwwPending,'=Pending,,active,,,,false,false,,false,,,,,,,false,\"the contacts are not counted yet: ",
	} {
		if !strings.Contains(csv, want) {
			t.Errorf("no %q in\n%s", want, csv)
		}
	}
	if n := strings.Count(csv, "\n"); n != 9 {
		t.Errorf("%d lines of CSV", n)
	}
}

// While Redis is away the list shows what is known, without the past.
func TestContactsWithoutRedis(t *testing.T) {
	t.Parallel()
	a := newAPIWithoutRedis(t)
	a.want(a.call("GET", "/v1/contacts?corp_id=wwFree", ""), 200, `{"contacts":[{"corp_id":"wwFree","name":"Free","entity":"free","standing":"free","total":120,"source":"file","exact":true,"limit":2000,"limit_kind":"free","left":1880,"percent":6}],"total":1,"as_of":"2026-11-22T12:00:00.000Z"}`)
	r := a.call("GET", "/v1/contacts?history=7", "")
	if code, _ := r.failure(t); r.Code != 503 || code != "store_unavailable" || r.Header().Get("Retry-After") == "" {
		t.Errorf("HTTP %d %s %s", r.Code, r.Header(), r.body)
	}
}

// A count is begun by POST, and GET tells how far it is, and how it ended.
func TestContactsCount(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.withCounted([]config.Account{{CorpID: "ww1", Subscription: &config.Subscription{Never: true}}, {CorpID: "wwNoSecret"}})
	asked, answers := make(chan string), make(chan string)
	a.admin.Meter.Calls = wecomCalls(func(ctx context.Context, path string) (string, error) {
		if strings.HasSuffix(path, "/gettoken") {
			return `{"errcode":0,"access_token":"a-token"}`, nil
		}
		select {
		case asked <- path:
			return <-answers, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() { defer close(served); a.admin.Meter.ServeAsked(ctx) }()
	defer func() { stop(); <-served }()

	state := func(r answer) (c admin.ContactCount) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.body), &c); err != nil || r.Code != 200 {
			t.Fatalf("HTTP %d %s", r.Code, r.body)
		}
		return c
	}
	count := func() answer { return a.call("POST", "/v1/contacts/count", `{"corp_id":"ww1"}`) }
	seen := func() answer { return a.call("GET", "/v1/contacts/count?corp_id=ww1", "") }
	ended := func() admin.ContactCount {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if c := state(seen()); c.State != "running" {
				return c
			}
			if time.Now().After(deadline) {
				t.Fatal("the count does not end")
			}
		}
	}
	a.want(seen(), 404, `{"error":{"code":"no_count","message":"this gateway has not counted the account since it started; POST {\"corp_id\":…} begins"}}`)
	const running = `{"corp_id":"ww1","state":"running","began":"2026-11-22T12:00:00.000Z","pages":0,"people":0}`
	a.want(count(), 200, running)
	<-asked
	answers <- `{"errcode":0,"info_list":[{"is_customer":true,"tmp_openid":"a"},{"is_customer":true,"tmp_openid":"b"}],"next_cursor":"C"}`
	<-asked // the first page is in
	const half = `{"corp_id":"ww1","state":"running","began":"2026-11-22T12:00:00.000Z","pages":1,"people":2}`
	a.want(seen(), 200, half)
	a.want(count(), 200, half) // no second one at the same time
	a.advance(time.Minute)
	answers <- `{"errcode":0,"info_list":[{"is_customer":true,"tmp_openid":"b"},{"is_customer":false,"tmp_openid":"c"}],"next_cursor":""}`
	ended()
	a.want(seen(), 200, `{"corp_id":"ww1","state":"counted","began":"2026-11-22T12:00:00.000Z","ended":"2026-11-22T12:01:00.000Z","pages":2,"people":3,"total":3,"as_of":"2026-11-22T12:01:00.000Z"}`)
	if entry := a.audit.FilterMessage("contacts are counted").All(); len(entry) != 2 || entry[0].ContextMap()["corp_id"] != "ww1" {
		t.Errorf("%v", entry)
	}

	if c := state(count()); c.State != "running" || c.Before != 3 {
		t.Errorf("%+v", c)
	}
	<-asked
	answers <- `{"errcode":48002,"errmsg":"api forbidden"}`
	if c := ended(); c.State != "failed" || c.Total != nil || c.Problem == nil || c.Problem.Reason != "refused" || c.Problem.Errcode != 48002 || c.Problem.Remedy == "" || c.Problem.At != "2026-11-22T12:01:00.000Z" {
		t.Errorf("%+v %+v", c, c.Problem)
	}
	if list, _ := a.contactsOf("corp_id=ww1"); *list.Contacts[0].Total != 3 || list.Contacts[0].Problem == nil {
		t.Errorf("%+v", list.Contacts[0])
	}
}

// What cannot be counted is said at once.
func TestContactsCountRefuses(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.with(append(numbered(6), config.Account{CorpID: "wwNoSecret"}))
	count := func(body string) answer { return a.call("POST", "/v1/contacts/count", body) }
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"corp_id":"wwNobody"}`:   {404, "no_account"},
		`{"corp_id":"WW00001"}`:    {404, "no_account"}, // letter case matters
		`{}`:                       {404, "no_account"},
		`{"corp_id":"wwNoSecret"}`: {409, "no_secret"},
		`{"corp":"ww00001"}`:       {400, "bad_json"},
		``:                         {400, "bad_json"},
	} {
		r := count(body)
		if code, _ := r.failure(t); r.Code != want.status || code != want.code {
			t.Errorf("%s: HTTP %d %s", body, r.Code, r.body)
		}
	}
	for query, want := range map[string]struct {
		status int
		code   string
	}{
		"?corp_id=wwNobody":       {404, "no_account"},
		"":                        {404, "no_account"},
		"?corp_id=ww00001":        {404, "no_count"},
		"?corp=ww00001":           {400, "bad_query"},
		"?corp_id=a&corp_id=b":    {400, "bad_query"},
		"?corp_id=ww00001&all=on": {400, "bad_query"},
	} {
		r := a.call("GET", "/v1/contacts/count"+query, "")
		if code, _ := r.failure(t); r.Code != want.status || code != want.code {
			t.Errorf("%s: HTTP %d %s", query, r.Code, r.body)
		}
	}
	if r := a.call("DELETE", "/v1/contacts/count", ""); r.Code != 405 || r.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("HTTP %d %s", r.Code, r.Header())
	}
	for i := range 4 { // nobody serves them here
		if r := count(fmt.Sprintf(`{"corp_id":"ww%05d"}`, i)); r.Code != 200 {
			t.Errorf("HTTP %d %s", r.Code, r.body)
		}
	}
	r := count(`{"corp_id":"ww00004"}`)
	if code, _ := r.failure(t); r.Code != 429 || code != "too_many" || r.Header().Get("Retry-After") == "" {
		t.Errorf("HTTP %d %s %s", r.Code, r.Header(), r.body)
	}
	if r := a.call("GET", "/v1/contacts/count?corp_id=ww00004", ""); r.Code != 404 {
		t.Errorf("a count that was refused: HTTP %d %s", r.Code, r.body)
	}
	if n := a.audit.Len(); n != 4 {
		t.Errorf("%d changes are audited", n)
	}
}

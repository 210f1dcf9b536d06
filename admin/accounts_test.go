package admin_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
)

const lapsedStops = `["add_customer","contact_rules","contact_statistics","customer_acquisition","customer_details","customer_moments","customer_strategy","customer_tags","group_join_way","group_management","mass_message","succession","welcome"]`

// Without parameters the list is whole and in the order of the configuration.
func TestAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	const lapsed = `{"corp_id":"wwLapsed","name":"Lapsed","entity":"acme","standing":"lapsed","expires_at":"2026-11-20T12:00:00.000Z","lapses_at":"2026-11-21T12:00:00.000Z","lapses_to":"lapsed","stops":` + lapsedStops + `,"contacts_limit":2000,"contacts_limit_kind":"free"}`
	const free = `{"corp_id":"wwFree","name":"Free","entity":"free","standing":"free","expires_at":"2026-11-20T12:00:00.000Z","lapses_at":"2026-11-20T12:00:00.000Z","lapses_to":"free","stops":[],"contacts_total":120,"contacts_free":2000,"contacts_source":"file","contacts_exact":true,"contacts_limit":2000,"contacts_limit_kind":"free","contacts_used":6}`
	const paying = `{"corp_id":"wwPaying","name":"Paying","entity":"paying","standing":"active","stops":[]}`
	grace := func(standing, more string) string {
		return `{"corp_id":"wwGrace","name":"Grace","entity":"acme","standing":"` + standing + `","expires_at":"2026-11-22T11:00:00.000Z","lapses_at":"2026-11-22T13:00:00.000Z","lapses_to":"lapsed",` + more + `}`
	}
	end := func(n, at string) string { return `],"total":` + n + `,"as_of":"2026-11-22T` + at + `Z"}` }
	inGrace := grace("grace", `"days_left":0,"stops":`+lapsedStops)
	a.want(a.call("GET", "/v1/accounts", ""), 200, `{"accounts":[`+lapsed+","+inGrace+","+free+","+paying+end("4", "12:00:00.000"))
	a.want(a.call("GET", "/v1/accounts?corp_id=wwFree", ""), 200, `{"accounts":[`+free+end("1", "12:00:00.000"))
	const none = `{"error":{"code":"no_account","message":"the configuration has no account with this corp_id"}}`
	a.want(a.call("GET", "/v1/accounts?corp_id=wwfree", ""), 404, none)
	a.want(a.call("GET", "/v1/accounts/wwfree", ""), 404, none)
	a.want(a.call("GET", "/v1/accounts/wwFree", ""), 200, free[:len(free)-1]+`,"as_of":"2026-11-22T12:00:00.000Z"}`)
	if r := a.call("GET", "/v1/accounts/wwFree?all=1", ""); r.Code != 400 {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	a.advance(time.Hour - time.Millisecond)
	a.want(a.call("GET", "/v1/accounts?corp_id=wwGrace", ""), 200, `{"accounts":[`+inGrace+end("1", "12:59:59.999"))
	a.advance(time.Millisecond)
	a.want(a.call("GET", "/v1/accounts?corp_id=wwGrace", ""), 200, `{"accounts":[`+grace("lapsed", `"stops":`+lapsedStops+`,"contacts_limit":2000,"contacts_limit_kind":"free"`)+end("1", "13:00:00.000"))
}

// companies are accounts that each filter and sort tells apart.
func companies() []config.Account {
	ends := func(days int, grace time.Duration) *config.Subscription {
		return &config.Subscription{ExpiresAt: start.AddDate(0, 0, days), Grace: grace}
	}
	has := func(total, purchased int) *config.Contacts {
		c := &config.Contacts{Free: 2000, Total: &total}
		if purchased > 0 {
			c.Purchased = &purchased
		}
		return c
	}
	return []config.Account{
		{CorpID: "wwNever", Name: "zeta"},
		{CorpID: "wwSoon", Name: "蓝桥家居", Entity: "蓝桥集团", Subscription: ends(3, 0), Contacts: has(9000, 10000)},
		{CorpID: "wwLater", Name: "Beta", Entity: "蓝桥集团", Subscription: ends(40, 72*time.Hour), Contacts: has(2500, 0)},
		{CorpID: "wwGone", Name: "gamma", Subscription: ends(-30, 0)},
		{CorpID: "wwJustGone", Name: "Delta", Subscription: ends(-2, 24*time.Hour), Contacts: has(2600, 5000)},
		{CorpID: "wwGrace", Name: "eta", Subscription: ends(-1, 72*time.Hour), Contacts: has(7000, 7000)},
		{CorpID: "wwWillBeFree", Name: "theta", Subscription: ends(5, 0), Contacts: has(1999, 3000)},
		{CorpID: "wwSmall", Name: "iota", Subscription: &config.Subscription{Never: true}, Contacts: has(1000, 0)},
	}
}

func TestAccountFiltersAndSorts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.with(companies())
	a.admin.Activity = func(corp string) (admin.Activity, bool) {
		switch corp {
		case "wwNever":
			return admin.Activity{Waiting: new(3), Refused7d: new(0)}, true
		case "wwGone":
			return admin.Activity{Waiting: new(0), Refused7d: new(70), Calls7d: new(90)}, true
		case "wwSoon":
			return admin.Activity{Waiting: new(9)}, true
		}
		return admin.Activity{}, false
	}
	const all = "wwGrace wwSoon wwLater wwJustGone wwGone wwSmall wwWillBeFree wwNever" // iota, theta, zeta
	for query, want := range map[string]string{
		"sort=stops":                 all,
		"sort=":                      all,
		"format=json":                all,
		"sort=name":                  "wwLater wwJustGone wwGrace wwGone wwSmall wwWillBeFree wwNever wwSoon",
		"sort=-contacts_used":        "wwJustGone wwGrace wwSoon wwWillBeFree wwSmall wwGone wwLater wwNever",
		"sort=-waiting":              "wwSoon wwNever wwGone wwGrace wwJustGone wwLater wwSmall wwWillBeFree",
		"sort=-refused_7d":           "wwGone wwNever wwGrace wwJustGone wwLater wwSmall wwSoon wwWillBeFree",
		"q=TA&sort=name":             "wwLater wwJustGone wwGrace wwSmall wwWillBeFree wwNever",
		"q=蓝桥":                       "wwSoon wwLater",
		"q=wwg&sort=name":            "wwGrace wwGone",
		"entity=蓝桥集团&q=beta":         "wwLater",
		"entity=蓝桥":                  "",
		"standing=lapsed":            "wwJustGone wwGone",
		"standing=grace":             "",
		"standing=full":              "wwGrace",
		"standing=free":              "wwSmall",
		"standing=active&sort=name":  "wwLater wwWillBeFree wwNever wwSoon",
		"within=7d":                  "wwGrace wwSoon",
		"within=72h":                 "wwGrace wwSoon",
		"within=71h":                 "wwGrace",
		"within=60d":                 "wwGrace wwSoon wwLater",
		"used=90":                    "wwGrace wwSoon wwJustGone",
		"used=100%25":                "wwGrace wwJustGone",
		"used=0&sort=name":           "wwJustGone wwGrace wwSmall wwWillBeFree wwSoon",
		"on=2026-11-25":              "wwSoon",
		"on=2026-11-21":              "wwGrace wwJustGone",
		"on=2026-11-24":              "wwGrace",
		"on=2026-11-27":              "wwWillBeFree",
		"on=2027-01-04":              "wwLater",
		"corp_id=wwSoon&within=1d":   "",
		"corp_id=wwSoon&limit=1":     "wwSoon",
		"standing=active&within=30d": "wwSoon",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		list := a.accounts(values)
		if got := strings.Join(corps(list), " "); got != want || *list.Total != len(list.Accounts) {
			t.Errorf("%s: %s of %d\nwant %s", query, got, *list.Total, want)
		}
	}
	for corp, want := range map[string]string{
		"wwSoon":       `{"days_left":3,"lapses_to":"lapsed","contacts_purchased":10000,"contacts_used":90,"waiting":9}`,
		"wwWillBeFree": `{"days_left":5,"lapses_to":"free","contacts_used":66.6,"stops":[]}`,
		"wwGone":       `{"lapses_to":"lapsed","waiting":0,"refused_7d":70,"calls_7d":90,"stops":` + lapsedStops + `}`,
		"wwNever":      `{"stops":[],"waiting":3,"refused_7d":0}`,
	} {
		r := a.call("GET", "/v1/accounts/"+corp, "")
		var got, wanted map[string]any
		if json.Unmarshal([]byte(r.body), &got) != nil || json.Unmarshal([]byte(want), &wanted) != nil {
			t.Fatal(r.body)
		}
		for key, value := range wanted {
			shown, _ := json.Marshal(got[key])
			if expected, _ := json.Marshal(value); string(shown) != string(expected) {
				t.Errorf("%s: %s is %s, want %s", corp, key, shown, expected)
			}
		}
	}
	if got := strings.Join(keysOf(t, a.call("GET", "/v1/accounts/wwLater", "").body), " "); strings.Contains(got, "waiting") || strings.Contains(got, "7d") {
		t.Errorf("what is not known is shown: %s", got)
	}
}

// An estimate is shown as one, and moves neither the standing nor what stops.
func TestAccountWithEstimate(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.with([]config.Account{{CorpID: "ww1", Subscription: &config.Subscription{ExpiresAt: start.AddDate(0, 0, 10)}}})
	counts := account.NewCounts()
	a.gateway.gate.Accounts.UseCounts(counts, 6*time.Hour)
	count := account.Count{Total: 1990, AsOf: start.Add(-time.Hour), Source: account.Metered}
	counts.Set("ww1", count)
	a.admin.Counted = func(string) contacts.State {
		return contacts.State{Count: contacts.Count{Count: count}, Moved: 30, MovedAt: start.Add(-time.Minute)}
	}
	r := a.call("GET", "/v1/accounts/ww1", "")
	const want = `"lapses_to":"free","days_left":10,"stops":[],"contacts_total":2020,"contacts_free":2000,"contacts_counted_at":"2026-11-22T11:59:00.000Z","contacts_source":"callbacks","contacts_exact":false,"as_of"`
	if !strings.Contains(r.body, want) {
		t.Errorf("%s\nwant %s", r.body, want)
	}
	a.advance(8 * 24 * time.Hour) // the count makes nobody free any more
	if r := a.call("GET", "/v1/accounts/ww1", ""); !strings.Contains(r.body, `"lapses_to":"lapsed"`) {
		t.Error(r.body)
	}
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	few := &config.Contacts{Free: 2000, Total: new(100)}
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip(err)
	}
	a.with([]config.Account{
		{CorpID: "wwNever"},
		{CorpID: "wwNone", Subscription: &config.Subscription{Never: true}},
		{CorpID: "wwFirst", Subscription: &config.Subscription{ExpiresAt: at("2026-12-01T00:00:00+08:00"), Grace: 72 * time.Hour}},
		{CorpID: "wwLast", Subscription: &config.Subscription{ExpiresAt: at("2026-12-01T23:59:59+08:00")}},
		{CorpID: "wwBefore", Subscription: &config.Subscription{ExpiresAt: at("2026-11-30T23:59:59+08:00"), Grace: time.Second}},
		{CorpID: "wwFree", Subscription: &config.Subscription{ExpiresAt: at("2026-12-01T12:00:00+08:00"), Grace: time.Hour}, Contacts: few},
		{CorpID: "wwPast", Subscription: &config.Subscription{ExpiresAt: at("2026-10-01T00:00:00+08:00")}},
		{CorpID: "wwFar", Subscription: &config.Subscription{ExpiresAt: at("2027-02-21T00:00:00+08:00"), Grace: 24 * time.Hour}},
	})
	const inShanghai = `{"date":"2026-11-30","ends":1,"stops":0},{"date":"2026-12-01","ends":3,"stops":2},{"date":"2026-12-04","ends":0,"stops":1}`
	for _, test := range []struct {
		query string
		zone  *time.Location
		want  string
	}{
		{"", nil, `{"days":[` + inShanghai + `,{"date":"2027-02-21","ends":1,"stops":0}],"from":"2026-11-22","to":"2027-02-21","timezone":"Asia/Shanghai",`},
		{"from=2026-11-30&to=2026-12-04", nil, `{"days":[` + inShanghai + `],"from":"2026-11-30","to":"2026-12-04",`},
		{"from=2026-12-01&to=2026-12-01", nil, `{"days":[{"date":"2026-12-01","ends":3,"stops":2}],`},
		{"from=2026-12-02&to=2026-12-03", nil, `{"days":[],`},
		{"from=2026-09-01&to=2026-10-05", nil, `{"days":[{"date":"2026-10-01","ends":1,"stops":1}],`},
		{"from=2026-11-01&to=2026-12-31", newYork, `{"days":[{"date":"2026-11-30","ends":3,"stops":1},{"date":"2026-12-01","ends":1,"stops":1},{"date":"2026-12-03","ends":0,"stops":1}],`},
	} {
		a.admin.Zone = test.zone
		if r := a.call("GET", "/v1/calendar?"+test.query, ""); r.Code != 200 || !strings.HasPrefix(r.body, test.want) {
			t.Errorf("%s in %v: HTTP %d %s\nwant %s", test.query, test.zone, r.Code, r.body, test.want)
		}
	}
	a.admin.Zone = nil
	for query, want := range map[string]string{
		"from=2026-12-02&to=2026-12-01": "to is before from",
		"from=2026-01-01&to=2027-02-05": "from and to span at most 400 days",
		"from=2026-1-1":                 "from must be a date like 2026-12-02",
		"to=tomorrow":                   "to must be a date like 2026-12-02",
		"zone=UTC":                      `there is no parameter "zone"; allowed are from, to`,
	} {
		r := a.call("GET", "/v1/calendar?"+query, "")
		if code, message := r.failure(t); r.Code != 400 || code != "bad_query" || message != want {
			t.Errorf("%s: HTTP %d %s", query, r.Code, r.body)
		}
	}
	if r := a.call("GET", "/v1/calendar?from=2026-01-01&to=2027-02-04", ""); r.Code != 200 {
		t.Errorf("400 days: HTTP %d %s", r.Code, r.body)
	}
}

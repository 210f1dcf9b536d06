package admin_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/gate"
)

// with gives an API other accounts.
func (a *api) with(accounts []config.Account) {
	a.Helper()
	c := config.Default()
	c.Accounts = accounts
	g, err := gate.New("admin.yaml", &c)
	if err != nil {
		a.Fatal(err)
	}
	a.gateway.gate = g
}

// accounts returns one page of accounts.
func (a *api) accounts(query url.Values) admin.AccountList {
	a.Helper()
	r := a.call("GET", "/v1/accounts?"+query.Encode(), "")
	var list admin.AccountList
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.Code != 200 {
		a.Fatalf("HTTP %d %s", r.Code, r.body)
	}
	return list
}

// corps returns the corp ids of a list.
func corps(list admin.AccountList) (ids []string) {
	for _, acc := range list.Accounts {
		ids = append(ids, acc.CorpID)
	}
	return ids
}

func numbered(n int) (all []config.Account) {
	for i := range n {
		all = append(all, config.Account{CorpID: fmt.Sprintf("ww%05d", i), Name: fmt.Sprintf("Company %d", i%97), Entity: fmt.Sprintf("entity%d", i/3)})
	}
	return all
}

// Rows that come, go and move between two pages make no other row appear twice or not at all.
func TestPagesWhileRowsMove(t *testing.T) {
	t.Parallel()
	const rows = 60
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		a := newAPI(t, "")
		present := numbered(rows)
		waiting := map[string]int{}
		for _, acc := range present {
			waiting[acc.CorpID] = random.IntN(8) // many are equal
		}
		a.admin.Activity = func(corp string) (admin.Activity, bool) {
			n, known := waiting[corp]
			return admin.Activity{Waiting: &n}, known
		}
		a.with(present)
		stayed := map[string]bool{}
		for corp := range waiting {
			stayed[corp] = true
		}
		seen := map[string]int{}
		query := url.Values{"sort": {"-waiting"}, "limit": {"7"}}
		for {
			list := a.accounts(query)
			for _, corp := range corps(list) {
				seen[corp]++
			}
			if list.Next == "" {
				break
			}
			query.Set("cursor", list.Next)
			for range 5 {
				moved := fmt.Sprintf("ww%05d", random.IntN(rows))
				waiting[moved] = random.IntN(8)
				delete(stayed, moved)
			}
			gone := random.IntN(len(present))
			delete(stayed, present[gone].CorpID)
			present = append(slices.Delete(slices.Clone(present), gone, gone+1), config.Account{CorpID: fmt.Sprintf("wwNew%d", random.Uint32())})
			waiting[present[len(present)-1].CorpID] = random.IntN(8)
			a.with(present)
		}
		if len(stayed) == 0 {
			t.Fatal("every row moved")
		}
		for corp := range stayed {
			if seen[corp] != 1 {
				t.Errorf("seed %d: %s, which did not move, is on %d pages", seed, corp, seen[corp])
			}
		}
	}
}

// The clock moves between pages too: an account that stops meanwhile keeps its place.
func TestPagesWhileTheClockMoves(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	var all []config.Account
	for i, acc := range numbered(20) {
		acc.Subscription = &config.Subscription{ExpiresAt: start.Add(time.Duration(i-10)*time.Hour + time.Minute)}
		all = append(all, acc)
	}
	a.with(all)
	query, seen := url.Values{"sort": {"stops"}, "limit": {"3"}}, []string{}
	for {
		list := a.accounts(query)
		seen = append(seen, corps(list)...)
		if list.Next == "" {
			break
		}
		query.Set("cursor", list.Next)
		a.advance(2 * time.Hour)
	}
	var want []string
	for i := 10; i < 20; i++ { // those that come, soonest first; then those that stopped, latest first
		want = append(want, all[i].CorpID)
	}
	for i := 9; i >= 0; i-- {
		want = append(want, all[i].CorpID)
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%v\nwant %v", seen, want)
	}
}

func TestListQueries(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.with(numbered(5))
	next := a.accounts(url.Values{"limit": {"2"}, "sort": {"name"}}).Next
	otherList := a.call("GET", "/v1/entities?sort=name&limit=1", "")
	var entities admin.EntityList
	if err := json.Unmarshal([]byte(otherList.body), &entities); err != nil || entities.Next == "" {
		t.Fatal(otherList.body)
	}
	data, err := base64.RawURLEncoding.DecodeString(next)
	if err != nil {
		t.Fatal(err)
	}
	forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(data), "company 1", "company 3", 1)))
	if forged == next {
		t.Fatal("the cursor does not hold what it is to be forged in")
	}
	const badCursor = "this cursor is not one of this list and sort: begin again without it"
	for query, want := range map[string]struct{ code, message string }{
		"limit=0":                                {"bad_query", "limit must be 1 to 200"},
		"limit=201":                              {"bad_query", "limit must be 1 to 200"},
		"limit=ten":                              {"bad_query", "limit must be 1 to 200"},
		"limit=1&limit=2":                        {"bad_query", "limit is given 2 times; give it once"},
		"sort=corp":                              {"bad_query", "sort must be one of stops, -contacts_used, -waiting, -refused_7d, name"},
		"sort=-name":                             {"bad_query", "sort must be one of stops, -contacts_used, -waiting, -refused_7d, name"},
		"format=xml":                             {"bad_query", "format must be json or csv"},
		"page=2":                                 {"bad_query", `there is no parameter "page"; allowed are corp_id, q, standing, entity, within, used, on, limit, cursor, sort, format`},
		"q=%zz":                                  {"bad_query", "the query is not well-formed: escape its values"},
		"q=" + strings.Repeat("x", 300):          {"bad_query", "q is longer than 256 bytes"},
		"standing=ok":                            {"bad_query", "standing must be one of active, grace, lapsed, free, full"},
		"within=7":                               {"bad_query", `within: "7" is no length of time like 7d or 12h, at most 3660 days`},
		"within=-7d":                             {"bad_query", `within: "-7d" is no length of time like 7d or 12h, at most 3660 days`},
		"within=0d":                              {"bad_query", `within: "0d" is no length of time like 7d or 12h, at most 3660 days`},
		"within=4000d":                           {"bad_query", `within: "4000d" is no length of time like 7d or 12h, at most 3660 days`},
		"used=NaN":                               {"bad_query", "used must be a percentage of the limit of contacts, like 90"},
		"used=-1":                                {"bad_query", "used must be a percentage of the limit of contacts, like 90"},
		"on=2026-13-01":                          {"bad_query", "on must be a date like 2026-12-02"},
		"cursor=x":                               {"bad_cursor", badCursor},
		"cursor=" + next:                         {"bad_cursor", badCursor}, // of another sort
		"sort=name&cursor=" + next[1:]:           {"bad_cursor", badCursor},
		"sort=name&cursor=" + next + "A":         {"bad_cursor", badCursor},
		"sort=name&cursor=" + next[:len(next)-4]: {"bad_cursor", badCursor},
		"sort=name&cursor=" + forged:             {"bad_cursor", badCursor},
		"sort=name&cursor=" + entities.Next:      {"bad_cursor", badCursor},
	} {
		r := a.call("GET", "/v1/accounts?"+query, "")
		if code, message := r.failure(t); r.Code != 400 || code != want.code || message != want.message {
			t.Errorf("%s: HTTP %d %s: %s", query, r.Code, code, message)
		}
	}
	// Every byte of a cursor counts.
	for i := range next {
		other := next[:i] + string(rune('A'+(next[i]-'A'+1)%26)) + next[i+1:]
		if r := a.call("GET", "/v1/accounts?sort=name&cursor="+other, ""); r.Code != 400 {
			t.Errorf("a cursor with another byte %d: HTTP %d", i, r.Code)
		}
	}
	// A form sends its empty fields too.
	if list := a.accounts(url.Values{"q": {""}, "standing": {""}, "cursor": {""}, "limit": {""}, "sort": {""}, "within": {""}}); len(list.Accounts) != 5 || list.Next != "" {
		t.Errorf("%+v", list)
	}
	// A gateway with the same key takes the cursor, one with another key does not.
	same, other := newAPI(t, keys), newAPI(t, strings.Replace(keys, readKey, "another-key-0123456789", 1))
	ours := newAPI(t, keys)
	for _, each := range []*api{same, other, ours} {
		each.with(numbered(5))
	}
	var list admin.AccountList
	if err := json.Unmarshal([]byte(ours.call("GET", "/v1/accounts?limit=2", "", "Authorization: Bearer "+readKey).body), &list); err != nil {
		t.Fatal(err)
	}
	for each, want := range map[*api]int{same: 200, other: 400} {
		key := each.admin.Keys.ReadKey.Reveal()
		if r := each.call("GET", "/v1/accounts?cursor="+list.Next, "", "Authorization: Bearer "+key); r.Code != want {
			t.Errorf("with the key %s: HTTP %d %s", key, r.Code, r.body)
		}
	}
}

// An answer that shows the same has the same ETag, though its time is another.
func TestETag(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for _, path := range []string{"/v1/accounts", "/v1/accounts?limit=2", "/v1/accounts/wwGrace", "/v1/entities", "/v1/entities/acme", "/v1/calendar"} {
		first := a.call("GET", path, "")
		tag := first.Header().Get("ETag")
		a.advance(time.Second)
		for _, known := range []string{tag, strings.TrimPrefix(tag, "W/"), `"other", ` + tag} {
			r := a.call("GET", path, "", "If-None-Match: "+known)
			if r.Code != http.StatusNotModified || r.body != "" || r.Header().Get("ETag") != tag {
				t.Errorf("%s with %s: HTTP %d %s", path, known, r.Code, r.body)
			}
		}
		if r := a.call("GET", path, "", `If-None-Match: "other"`); r.Code != 200 || r.Header().Get("ETag") != tag {
			t.Errorf("%s: HTTP %d %s", path, r.Code, r.Header())
		}
	}
	before := a.call("GET", "/v1/accounts", "").Header().Get("ETag")
	a.advance(time.Hour) // wwGrace lapses
	if r := a.call("GET", "/v1/accounts", "", "If-None-Match: "+before); r.Code != 200 {
		t.Errorf("HTTP %d although a standing changed", r.Code)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	all := numbered(700)
	for i, name := range []string{"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", `a "quoted", name`, "蓝桥家居", "<script>"} {
		all[i].Name = name
	}
	all[0].Contacts = &config.Contacts{Free: 2000, Total: new(5)}
	all[0].Subscription = &config.Subscription{ExpiresAt: start.Add(time.Hour)}
	a.with(all)
	r := a.call("GET", "/v1/accounts?format=csv&limit=3&entity=&sort=stops", "")
	lines := strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
	if r.Code != 200 || r.Header().Get("Content-Type") != "text/csv; charset=utf-8; header=present" || len(lines) != 701 {
		t.Fatalf("HTTP %d %s, %d lines", r.Code, r.Header(), len(lines))
	}
	want := map[int]string{
		0: "corp_id,name,entity,standing,expires_at,lapses_at,lapses_to,days_left,stops,contacts_total,contacts_free,contacts_purchased,contacts_counted_at,contacts_source,contacts_exact,contacts_limit,contacts_limit_kind,contacts_used,waiting,refused_7d,calls_7d",
	}
	for i, line := range want {
		if lines[i] != line {
			t.Errorf("line %d: %s\nwant %s", i, lines[i], line)
		}
	}
	for _, part := range []string{
		"\nww00000,'=cmd|' /C calc'!A0,entity0,active,2026-11-22T13:00:00.000Z,2026-11-22T13:00:00.000Z,free,0,,5,2000,,,file,true,,,,,,\n",
		",'+1,", ",'-1,", ",'@SUM(A1),", ",'\tx,", "'\rx", `,"a ""quoted"", name",`, ",蓝桥家居,", ",<script>,",
	} {
		if !strings.Contains(r.body, part) {
			t.Errorf("no %q in the CSV", part)
		}
	}
}

// slowly is a client that takes its answer when it is told to.
type slowly struct {
	*httptest.ResponseRecorder
	began, goOn chan struct{}
}

func (s slowly) Write(p []byte) (int, error) {
	select {
	case s.began <- struct{}{}:
		<-s.goOn
	default:
	}
	return s.ResponseRecorder.Write(p)
}

func TestOneExportAtATime(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	s := slowly{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := httptest.NewRequest("GET", "/v1/accounts?format=csv", nil)
		req.Host = "localhost:9090"
		a.handler.ServeHTTP(s, req)
	}()
	<-s.began
	for _, path := range []string{"/v1/accounts", "/v1/entities"} {
		r := a.call("GET", path+"?format=csv", "")
		if code, _ := r.failure(t); r.Code != 429 || code != "too_many" || r.Header().Get("Retry-After") == "" {
			t.Errorf("%s: HTTP %d %s %s", path, r.Code, r.Header(), r.body)
		}
		if r := a.call("GET", path, ""); r.Code != 200 {
			t.Errorf("%s without an export: HTTP %d", path, r.Code)
		}
	}
	close(s.goOn)
	<-done
	if r := a.call("GET", "/v1/accounts?format=csv", ""); r.Code != 200 {
		t.Errorf("after the export: HTTP %d %s", r.Code, r.body)
	}
}

// manyAccounts are 10,000 accounts of all standings.
func manyAccounts() []config.Account {
	all := numbered(10_000)
	for i := range all {
		all[i].Contacts = &config.Contacts{Free: 2000, Total: new(i * 7 % 4000), Purchased: new(3000)}
		all[i].Subscription = &config.Subscription{ExpiresAt: start.Add(time.Duration(i%400-200) * 24 * time.Hour), Grace: 72 * time.Hour}
	}
	return all
}

func TestTenThousandAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.with(manyAccounts())
	if whole := a.accounts(nil); len(whole.Accounts) != 10_000 || whole.Next != "" || *whole.Total != 10_000 {
		t.Errorf("without parameters: %d accounts, next %q", len(whole.Accounts), whole.Next)
	}
	for _, sort := range []string{"stops", "-contacts_used", "-waiting", "name"} {
		seen := map[string]bool{}
		query := url.Values{"limit": {"200"}, "sort": {sort}, "q": {"company"}}
		for pages := 0; ; pages++ {
			list := a.accounts(query)
			for _, corp := range corps(list) {
				if seen[corp] {
					t.Fatalf("%s: %s is on two pages", sort, corp)
				}
				seen[corp] = true
			}
			if query.Set("cursor", list.Next); list.Next == "" {
				if pages != 49 || len(seen) != 10_000 {
					t.Errorf("%s: %d accounts on %d pages", sort, len(seen), pages+1)
				}
				break
			}
		}
	}
}

func BenchmarkAccounts(b *testing.B) {
	for _, query := range []string{"limit=50", "limit=50&standing=grace&sort=-contacts_used", "q=company+1&within=30d&sort=stops", "sort=-waiting&limit=200", "sort=name&used=90"} {
		b.Run(query, func(b *testing.B) {
			a := &api{}
			a.clock.Store(&start)
			c := config.Default()
			c.Accounts = manyAccounts()
			g, err := gate.New("admin.yaml", &c)
			if err != nil {
				b.Fatal(err)
			}
			handler := (&admin.Admin{Gateway: &gateway{gate: g}, Now: a.now, Activity: func(corp string) (admin.Activity, bool) {
				return admin.Activity{Waiting: new(len(corp))}, true
			}}).Handler()
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest("GET", "/v1/accounts?"+query, nil))
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// keysOf returns the keys of a JSON object.
func keysOf(t *testing.T, text string) []string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(object))
}

// Windows have CSV like other lists, and formulas in their ids are none there.
func TestCSVOfWindows(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.wrote("wwLapsed", "wk", "=wm1", -time.Hour)
	a.wrote("wwLapsed", "wk", "wm2", -2*time.Hour)
	r := a.call("GET", "/v1/windows?format=csv&corp_id=wwLapsed&limit=1", "")
	lines := strings.Split(strings.TrimSpace(r.body), "\n")
	if r.Code != 200 || len(lines) != 3 || lines[0] != "corp_id,channel,customer,state,last,closes,replies_left,sent,answered,served" ||
		!strings.HasPrefix(lines[1], "wwLapsed,wk,wm2,open,2026-11-22T10:00:00.000Z,") || !strings.HasPrefix(lines[2], "wwLapsed,wk,'=wm1,open,") {
		t.Errorf("HTTP %d %q", r.Code, lines)
	}
	if r := a.call("GET", "/v1/windows?format=csv&corp_id=wwLapsed&customer=wm2", ""); r.Code != 400 || !strings.Contains(r.body, "bad_query") {
		t.Errorf("one window: HTTP %d %s", r.Code, r.body)
	}
}

// within=all is as good as none, and rows tell until when their account may write first.
func TestClosingOfAll(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.wrote("wwGrace", "wk", "wm1", -48*time.Hour+30*time.Minute)
	list := get[admin.ClosingList](a, "/v1/closing?within=all", "")
	if len(list.Waiting) != 1 || !list.Waiting[0].ReachableAfter || list.Waiting[0].ReachableUntil != "2026-11-22T13:00:00.000Z" {
		t.Errorf("%+v", list)
	}
	if r := a.call("GET", "/v1/closing?within=some", ""); r.Code != 400 {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

// The page of an account tells of each channel what is on record.
func TestChannelsOfAnAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.gateway.channels = []string{"wkQuiet"}
	a.wrote("wwLapsed", "wk", "wm1", -time.Hour)
	one := get[admin.OneAccount](a, "/v1/accounts/wwLapsed", "")
	want := []admin.Channel{{Channel: "wk", Since: "2026-11-18T12:00:00.000Z", Messages7d: 1, Waiting: 1}, {Channel: "wkQuiet", Since: "2026-11-18T12:00:00.000Z"}}
	if !slices.Equal(one.Channels, want) {
		t.Errorf("%+v, want %+v", one.Channels, want)
	}
	a.gateway.redisUp = false
	if one := get[admin.OneAccount](a, "/v1/accounts/wwLapsed", ""); one.Channels != nil || one.CorpID != "wwLapsed" {
		t.Errorf("without Redis: %+v", one)
	}
}

// Rehearsals have the calls of as many days as they are asked for.
func TestDaysOfARehearsal(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for text, want := range map[string]int{"": 7, "&history=28": 28} {
		var r struct{ Days int }
		if err := json.Unmarshal([]byte(a.call("GET", "/v1/rehearsal?corp_id=wwGrace"+text, "").body), &r); err != nil || r.Days != want {
			t.Errorf("%q: %d days (%v)", text, r.Days, err)
		}
	}
	if r := a.call("GET", "/v1/rehearsal?corp_id=wwGrace&history=29", ""); r.Code != 400 {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

// The settings of ten thousand accounts can be left out.
func TestSettingsWithoutAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	var whole, brief admin.SettingList
	for query, into := range map[string]*admin.SettingList{"": &whole, "?accounts=count": &brief} {
		if err := json.Unmarshal([]byte(a.call("GET", "/v1/config"+query, "").body), into); err != nil {
			t.Fatal(err)
		}
	}
	ofAccount := func(s admin.Setting) bool { return strings.HasPrefix(s.Key, "accounts[") }
	if whole.Accounts != nil || brief.Accounts == nil || *brief.Accounts != 4 || slices.ContainsFunc(brief.Settings, ofAccount) ||
		len(slices.DeleteFunc(whole.Settings, ofAccount)) != len(brief.Settings) {
		t.Errorf("%d settings, and %d of %v accounts", len(whole.Settings), len(brief.Settings), brief.Accounts)
	}
}

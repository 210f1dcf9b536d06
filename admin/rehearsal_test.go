package admin_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/calls"
	"replygate/rehearsal"
	"replygate/store/storetest"
)

// counted counts n calls of a corp, by the bot crm.
func (a *api) counted(corp, path string, n int) {
	for range n {
		a.admin.Calls.Count(a.now(), calls.Call{Corp: corp, Path: path, Client: "crm"}, 0)
	}
}

// stopping are accounts that stop within 30 days, later, become free, and never stop.
const stopping = `  - { corp_id: wwSoon, name: Soon, subscription: { expires_at: 2026-12-01T00:00:00+08:00, grace: 24h } }
  - { corp_id: wwSooner, name: "=Sooner", subscription: { expires_at: 2026-11-30T00:00:00+08:00, grace: 0s } }
  - { corp_id: wwLater, subscription: { expires_at: 2027-12-01T00:00:00+08:00 } }
  - { corp_id: wwFreeSoon, subscription: { expires_at: 2026-12-01T00:00:00+08:00 }, contacts: { total: 5 } }
`

func (a *api) rehearsed(query string, v any) {
	a.Helper()
	r := a.call("GET", "/v1/rehearsal"+query, "")
	if err := json.Unmarshal([]byte(r.body), v); r.Code != 200 || err != nil {
		a.Fatalf("%s: HTTP %d, %v: %s", query, r.Code, err, r.body)
	}
}

// One account is rehearsed on the day on which it stops, or on one that is named.
func TestRehearsalOfOneAccount(t *testing.T) {
	a := newAPI(t, stopping)
	a.counted("wwSoon", "/cgi-bin/externalcontact/add_msg_template", 3)
	a.counted("wwSoon", "/cgi-bin/kf/send_msg", 2)
	a.admin.Calls.Note(a.now(), calls.Call{Corp: "wwSoon", Path: "/cgi-bin/kf/send_msg", Client: "crm"}, calls.Inside)
	a.counted(calls.Unknown, "/cgi-bin/externalcontact/get", 4)
	a.want(a.call("GET", "/v1/rehearsal?corp_id=wwSoon&language=zh", ""), 200, `{"corp_id":"wwSoon","account":"Soon","at":"2026-12-02T00:00:00.000+08:00","standing":"lapsed","ruleset":"reply-only-2024",`+
		`"calls":5,"days":7,"refused":3,"by":[`+
		`{"capability":"mass_message","meaning":"群发给客户和客户群","client":"crm","calls":3,"verdict":"refuse","rule":"no-mass-messages","refused":3,"advice":"续费，或在客户来信后 48 小时内逐个回复"},`+
		`{"capability":"kf_reply","meaning":"微信客服回复","client":"crm","calls":2,"verdict":"reply","rule":"reply-inside-the-window","refused":0,"inside_window":1,"unobserved":1}],`+
		`"sentence":"12 月 2 日 00:00 起，Soon 过去 7 天的 5 次调用中有 3 次会被拒绝，涉及 1 类接口和 1 个程序。",`+
		`"unattributed":[{"capability":"customer_details","meaning":"获取客户详情、修改备注","client":"crm","calls":4,"verdict":"refuse","refused":4,`+
		`"advice":"请让程序通过网关获取 access_token，或使用 /corp/<corp_id>/cgi-bin/… 形式的地址：只要该企业可能已失效，凭证归属不明的调用会被拒绝"}]}`)

	var r rehearsal.Report
	a.rehearsed("?corp_id=wwSoon&at="+url.QueryEscape("2026-12-01T23:59:59+08:00"), &r)
	if r.Standing != "grace" || r.Refused != 0 || r.Calls != 5 {
		t.Errorf("%+v", r)
	}
	a.rehearsed("?corp_id=wwLapsed", &r)
	if at, err := time.Parse(time.RFC3339, r.At); err != nil || !at.Equal(a.now()) || r.Calls != 0 || !strings.HasPrefix(r.Sentence, "No traffic") {
		t.Errorf("%+v", r)
	}
	a.advance(7 * 24 * time.Hour)
	if a.rehearsed("?corp_id=wwSoon", &r); r.Calls != 0 {
		t.Errorf("%d calls are on record a week later", r.Calls)
	}
}

// Without corp_id it is about the accounts that stop within 30 days, the first to stop first; with
// at, about all, page by page.
func TestRehearsalOfSeveral(t *testing.T) {
	a := newAPI(t, stopping)
	a.counted("wwSoon", "/cgi-bin/externalcontact/get", 3)
	a.counted(calls.Unknown, "/cgi-bin/externalcontact/get", 4)
	names := func(list admin.RehearsalList) (all []string) {
		for _, r := range list.Accounts {
			all = append(all, fmt.Sprintf("%s %d of %d", r.CorpID, r.Refused, r.Calls))
		}
		return all
	}
	var list admin.RehearsalList
	a.rehearsed("", &list)
	if got := fmt.Sprint(names(list)); got != "[wwGrace 0 of 0 wwSooner 0 of 0 wwSoon 3 of 3]" || *list.Total != 3 || list.Next != "" || len(list.Unattributed) != 1 {
		t.Errorf("%s: %+v", got, list)
	}
	var all []string
	query := url.Values{"at": {"2026-12-02"}, "limit": {"3"}}
	for pages := 1; ; pages++ {
		var list admin.RehearsalList
		a.rehearsed("?"+query.Encode(), &list)
		if all = append(all, names(list)...); list.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		query.Set("cursor", list.Next)
		if r := a.call("GET", "/v1/rehearsal?corp_id=wwFree&cursor="+list.Next, ""); r.Code != http.StatusOK || !strings.Contains(r.body, `"corp_id":"wwFree"`) {
			t.Errorf("one account has no pages: HTTP %d %s", r.Code, r.body)
		}
	}
	if got := fmt.Sprint(all); got != "[wwFree 0 of 0 wwLapsed 0 of 0 wwGrace 0 of 0 wwSooner 0 of 0 wwFreeSoon 0 of 0 wwSoon 3 of 3 wwLater 0 of 0 wwPaying 0 of 0]" {
		t.Error(got)
	}
	r := a.call("GET", "/v1/rehearsal?format=csv", "")
	if want := "corp_id,account,at,standing,capability,meaning,client,calls,verdict,rule,refused,inside_window,advice\n" +
		"wwSoon,Soon,2026-12-02T00:00:00.000+08:00,lapsed,customer_details,read and remark customers,crm,3,refuse,no-customer-details,3,,renew; export what the bot needs of customers before that day\n"; r.body != want {
		t.Errorf("%s\nwant %s", r.body, want)
	}
}

func TestRehearsalMistakes(t *testing.T) {
	a := newAPI(t, stopping)
	for query, code := range map[string]string{
		"?corp_id=wwNobody": "no_account", "?at=tomorrow": "bad_query", "?language=fr": "bad_query", "?days=3": "bad_query", "?sort=name": "bad_query",
		"?limit=0": "bad_query", "?cursor=x": "bad_cursor",
	} {
		r := a.call("GET", "/v1/rehearsal"+query, "")
		if got, _ := r.failure(t); got != code || r.Code/100 != 4 {
			t.Errorf("%s: HTTP %d %s, want %s", query, r.Code, got, code)
		}
	}
	a = newAPIWithoutRedis(t)
	r := a.call("GET", "/v1/rehearsal?corp_id=wwLapsed", "")
	if code, _ := r.failure(t); code != "store_unavailable" || r.Code != 503 || r.Header().Get("Retry-After") == "" {
		t.Errorf("HTTP %d %s", r.Code, code)
	}
}

var rehearsedAccounts = flag.Int("rehearsal.accounts", 1000, "accounts that TestRehearsalOfManyAccounts seeds; 10000 is the size of a large provider")

// The calls of seven days of many accounts, eight kinds a day each, are read and rehearsed, as CSV
// and page by page. The log says how long that takes: the goal is two seconds for 10,000 accounts.
func TestRehearsalOfManyAccounts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a redis-server")
	}
	var more strings.Builder
	n := *rehearsedAccounts
	for i := range n {
		fmt.Fprintf(&more, "  - { corp_id: wwMany%05d, subscription: { expires_at: 2026-12-%02dT00:00:00+08:00 } }\n", i, 1+i%20)
	}
	a := newAPIOn(t, storetest.Start(t).Config(), more.String())
	seedCalls(a, n)
	rehearse := func(what string, all func() (rows int)) {
		began := time.Now()
		rows, took := all(), time.Since(began)
		t.Logf("%s: %d rows in %s", what, rows, took.Round(time.Millisecond))
		if rows != 8*n {
			t.Errorf("%s: %d rows, want %d", what, rows, 8*n)
		}
	}
	rehearse("as CSV", func() int {
		return strings.Count(a.call("GET", "/v1/rehearsal?format=csv&at=2026-12-31", "").body, "\nwwMany")
	})
	rehearse("page by page", func() (rows int) {
		query := url.Values{"at": {"2026-12-31"}, "limit": {"200"}}
		for {
			var list admin.RehearsalList
			a.rehearsed("?"+query.Encode(), &list)
			for _, r := range list.Accounts {
				rows += len(r.By)
			}
			if list.Next == "" {
				return rows
			}
			query.Set("cursor", list.Next)
		}
	})
}

// seedCalls seeds what gateways have counted within the seven days up to now.
func seedCalls(a *api, accounts int) {
	a.Helper()
	paths := []string{"/cgi-bin/kf/send_msg", "/cgi-bin/kf/sync_msg", "/cgi-bin/externalcontact/get", "/cgi-bin/externalcontact/add_msg_template"}
	for from := 0; from < accounts; from += 500 {
		p := a.redis.Pipeline()
		for i := from; i < min(from+500, accounts); i++ {
			for day := range 7 {
				at := a.now().In(rehearsal.Zone).AddDate(0, 0, -day)
				year, week := at.ISOWeek()
				var fields []any
				for _, path := range paths {
					for _, client := range []string{"bot", "crm"} {
						fields = append(fields, at.Format(time.DateOnly)+":"+path+":"+client, 100+i%100)
					}
				}
				p.HSet(a.Context(), fmt.Sprintf("rg:calls:{wwMany%05d}:%d-W%02d", i, year, week), fields...)
			}
		}
		if _, err := p.Exec(a.Context()); err != nil {
			a.Fatal(err)
		}
	}
}

// A list of rehearsals names its language, also if it is empty.
func TestRehearsalLanguage(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "\npolicy: { language: zh }\n")
	for query, want := range map[string]string{"": `"language":"zh"`, "?language=en": `"language":"en"`} {
		if r := a.call("GET", "/v1/rehearsal"+query, ""); !strings.Contains(r.body, want) {
			t.Errorf("%q: %s", query, r.body)
		}
	}
}

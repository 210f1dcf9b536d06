package wecomtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// page returns one page of contact_list, as the gateway reads it.
func (p *platform) page(cursor string, limit int) wecom.ContactPage {
	p.Helper()
	body := fmt.Sprintf(`{"cursor":%q,"limit":%d}`, cursor, limit)
	_, answer := p.raw("POST", wecom.PathContactList+"?access_token="+p.token, nil, strings.NewReader(body))
	page, err := wecom.ReadContactPage(strings.NewReader(string(answer)))
	if err != nil {
		p.Fatalf("%s: %v", answer, err)
	}
	return page
}

// pass returns the rows of a walk to its end, with their number of pages.
func (p *platform) pass(limit int) (rows []wecom.ContactRow, pages int) {
	p.Helper()
	for cursor := ""; pages == 0 || cursor != ""; pages++ {
		page := p.page(cursor, limit)
		if page.Errcode != 0 {
			p.Fatalf("errcode %d on page %d", page.Errcode, pages)
		}
		rows = append(rows, page.Rows...)
		cursor = page.Next
	}
	return rows, pages
}

// persons returns the number of different tmp_openids.
func persons(rows []wecom.ContactRow) int {
	all := map[string]bool{}
	for _, r := range rows {
		all[r.TmpOpenID] = true
	}
	return len(all)
}

// A story of contacts: after each step a complete pass has that many persons in that many rows.
func TestContactList(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, step := range []struct {
		name          string
		do            func()
		persons, rows int
	}{
		{"nobody", func() {}, 0, 0},
		{"a contact", func() { p.AddContact("ww1", "clerk1", "wmA") }, 1, 1},
		{"again", func() { p.AddContact("ww1", "clerk1", "wmA") }, 1, 1},
		{"of another member too", func() { p.AddContact("ww1", "clerk2", "wmA") }, 1, 2},
		{"another contact", func() { p.AddContact("ww1", "clerk1", "wmB") }, 2, 3},
		{"a customer who was not added back", func() { p.AddHalf("ww1", "clerk1", "wmHalf") }, 2, 3},
		{"added back", func() { p.AddContact("ww1", "clerk1", "wmHalf") }, 3, 4},
		{"one who is a contact already", func() { p.AddHalf("ww1", "clerk1", "wmA") }, 3, 4},
		{"a customer deletes a member", func() { p.DelFollow("ww1", "clerk1", "wmB") }, 3, 4},
		{"a member edits a customer", func() { p.EditContact("ww1", "clerk1", "wmB") }, 3, 4},
		{"a member deletes a customer", func() { p.DelContact("ww1", "clerk1", "wmB") }, 2, 3},
		{"one of two members", func() { p.DelContact("ww1", "clerk1", "wmA") }, 2, 2},
		{"a hand-over", func() { p.TransferContact("ww1", "clerk2", "clerk3", "wmA") }, 2, 2},
		{"one that fails", func() { p.TransferFails("ww1", "clerk4", "wmA", "customer_refused") }, 2, 2},
		{"a person who is no customer", func() { p.AddOther("ww1", "clerk9", "Zhao", "") }, 3, 3},
		{"in a group too", func() { p.AddOther("ww1", "clerk9", "Zhao", "plain group") }, 3, 4},
		{"a group", func() { p.CreateGroup("ww1", "wrG", "clerk1") }, 3, 4},
		{"a contact joins it, with a member", func() { p.JoinGroup("ww1", "wrG", "clerk2", "wmA") }, 3, 5},
		{"nobody's contacts join it", func() { p.JoinGroup("ww1", "wrG", "wmC", "woD") }, 5, 7},
		{"one leaves", func() { p.LeaveGroup("ww1", "wrG", "wmC", "clerk2") }, 4, 6},
		{"the group ends", func() { p.DismissGroup("ww1", "wrG") }, 3, 4},
		{"the other person goes", func() { p.DelOther("ww1", "Zhao") }, 2, 2},
		{"many", func() { p.SetContacts("ww1", 1001, 2) }, 1003, 2004},
		{"fewer", func() { p.SetContacts("ww1", 997, 1) }, 999, 999},
	} {
		step.do()
		rows, pages := p.pass(1000)
		if persons(rows) != step.persons || len(rows) != step.rows || p.Contacts("ww1") != step.persons || pages != max(1, (len(rows)+999)/1000) {
			t.Errorf("%s: %d persons in %d rows on %d pages, Contacts %d; want %d in %d", step.name, persons(rows), len(rows), pages, p.Contacts("ww1"), step.persons, step.rows)
		}
	}
}

// The members of a row: of a contact, of a customer in a group, and of others (DOC 99434).
func TestContactRows(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddContact("ww1", "clerk1", "wmA")
	p.CreateGroup("ww1", "wrG", "clerk2")
	p.JoinGroup("ww1", "wrG", "wmA")
	p.AddOther("ww1", "clerk3", "Zhao", "plain group")
	a := p.expect(0, wecom.PathContactList, `{}`)
	list := a["info_list"].([]any)
	at := float64(p.clock.Now().Unix())
	for i, want := range []map[string]any{
		{"is_customer": true, "external_userid": "wmA", "follow_userid": "clerk1", "add_time": at},
		{"is_customer": true, "external_userid": "wmA", "follow_userid": "clerk2", "chat_id": "wrG", "add_time": at},
		{"is_customer": false, "name": "***", "follow_userid": "clerk3", "chat_name": "plain group", "add_time": at},
	} {
		row := list[i].(map[string]any)
		id, _ := row["tmp_openid"].(string)
		if delete(row, "tmp_openid"); fmt.Sprint(row) != fmt.Sprint(want) || !strings.HasPrefix(id, "to") {
			t.Errorf("%q, %v; want %v", id, row, want)
		}
	}
	if a["next_cursor"] != "" || len(list) != 3 {
		t.Errorf("%v", a)
	}
	p.expect(44002, wecom.PathContactList, "")
}

// Pages have the requested number of rows, at most 1,000, and a person's rows are on several pages.
func TestContactPages(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.SetContacts("ww1", 550, 2)
	p.AddContact("ww1", "clerk1", "wmA")
	for limit, want := range map[int]int{0: 1000, -1: 1000, 1: 1, 999: 999, 1000: 1000, 1001: 1000, 5000: 1000} {
		if page := p.page("", limit); len(page.Rows) != want || page.Next == "" || persons(page.Rows) != min(want, 550) {
			t.Errorf("limit %d: %d rows, next %q", limit, len(page.Rows), page.Next)
		}
	}
	for limit, want := range map[int]int{100: 12, 367: 3, 1000: 2} {
		if rows, pages := p.pass(limit); persons(rows) != 551 || len(rows) != 1101 || pages != want {
			t.Errorf("limit %d: %d persons in %d rows on %d pages", limit, persons(rows), len(rows), pages)
		}
	}
}

// A person has one tmp_openid in a walk of less than four hours, and others in other walks and
// after four hours.
func TestTmpOpenIDs(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.SetContacts("ww1", 2, 2)
	first, _ := p.pass(1000)
	second, _ := p.pass(1000)
	if both := append(slices.Clone(first), second...); persons(first) != 2 || persons(both) != 4 {
		t.Errorf("two walks: %v, %v", first, second)
	}
	for rows, want := range map[int]int{24: 1, 25: 2} { // a page every ten minutes
		p.SetContacts("ww1", 1, rows)
		var all []wecom.ContactRow
		page := p.page("", 1)
		for page.Next != "" {
			all = append(all, page.Rows...)
			p.clock.Advance(10 * time.Minute)
			p.token = p.fetch()
			page = p.page(page.Next, 1)
		}
		if all = append(all, page.Rows...); persons(all) != want || len(all) != rows {
			t.Errorf("a person in a walk of %v has %d tmp_openids in %d rows", time.Duration(rows-1)*10*time.Minute, persons(all), len(all))
		}
	}
}

// Contacts that come during a walk are on its last page, and those that go are missing on later
// ones.
func TestContactsChangeInAWalk(t *testing.T) {
	t.Parallel()
	p := start(t)
	for i := range 6 {
		p.AddContact("ww1", "clerk1", fmt.Sprintf("wm%d", i))
	}
	page := p.page("", 3)
	p.DelContact("ww1", "clerk1", "wm0")
	p.DelContact("ww1", "clerk1", "wm3")
	p.AddContact("ww1", "clerk1", "wmNew")
	var ids []string
	for cursor := page.Next; cursor != ""; cursor = page.Next {
		page = p.page(cursor, 2)
		for _, r := range page.Rows {
			ids = append(ids, r.ExternalUserID)
		}
	}
	if want := []string{"wm4", "wm5", "wmNew"}; !slices.Equal(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
}

// A cursor may be used twice, and expires. Another corp's or an invented one is as bad.
func TestContactCursors(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s2")
	p.SetContacts("ww1", 5, 1)
	page := p.page("", 2)
	once, again := p.page(page.Next, 2), p.page(page.Next, 2)
	if fmt.Sprint(once.Rows) != fmt.Sprint(again.Rows) || len(once.Rows) != 2 {
		t.Errorf("%v and %v", once, again)
	}
	p.clock.Advance(30*time.Minute - time.Nanosecond)
	if again := p.page(page.Next, 2); again.Errcode != 0 || len(again.Rows) != 2 {
		t.Errorf("before it expires: %+v", again)
	}
	p.clock.Advance(time.Nanosecond)
	for _, cursor := range []string{page.Next, "x", "bm9uZQ=="} {
		if bad := p.page(cursor, 2); bad.Errcode != 40058 {
			t.Errorf("%s: %+v", cursor, bad)
		}
	}
	page = p.page("", 2)
	p.token = p.Issue("ww2")
	if bad := p.page(page.Next, 2); bad.Errcode != 40058 {
		t.Errorf("of another corp: %+v", bad)
	}
}

// Once a corp has contacts, calls about others get 84061 (DOC 96314).
func TestContactCalls(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.expect(0, "/cgi-bin/externalcontact/list", "") // the sample
	p.AddContact("ww1", "clerk1", "wmA")
	p.AddContact("ww1", "clerk1", "wmB")
	p.DelFollow("ww1", "clerk1", "wmB")
	p.AddHalf("ww1", "clerk1", "wmHalf")
	p.SetContacts("ww1", 10, 1)
	code := func(target string) int {
		a, _ := p.get(target+"&access_token="+p.token, "")
		return int(a["errcode"].(float64))
	}
	for id, want := range map[string]int{"wmA": 0, "wmB": 0, "wmHalf": 84061, "wmX": 84061, "wmSeed0000009": 0, "wmSeed0000010": 84061, "wmSeed9": 84061} {
		if got := code("/cgi-bin/externalcontact/get?external_userid=" + id); got != want {
			t.Errorf("get %s: %d, want %d", id, got, want)
		}
	}
	a, _ := p.get("/cgi-bin/externalcontact/list?userid=clerk1&access_token="+p.token, "")
	if got := fmt.Sprint(a["external_userid"]); got != "[wmA wmB]" {
		t.Errorf("list: %v", a)
	}
	a, _ = p.get("/cgi-bin/externalcontact/list?userid=clerk2&access_token="+p.token, "")
	if a["errcode"].(float64) != 84061 || fmt.Sprint(a["external_userid"]) != "[]" {
		t.Errorf("list of a member without contacts: %v", a)
	}
}

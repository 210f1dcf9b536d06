package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom"
	"replygate/wecom/wecomtest"
)

const addWay = "/cgi-bin/externalcontact/add_contact_way"

// neverSubscribed makes the account of the tests one without a subscription, which 2,000 contacts
// limit.
func neverSubscribed(c *config.Config) {
	c.Accounts[0].Subscription, c.Metrics.PerAccount = &config.Subscription{Never: true}, 1
}

func withContactSecret(c *config.Config) { c.Accounts[0].Secrets.Contact = secret }

// walk reads contact_list to its end as a bot does, and returns the number of pages.
func (r *rig) walk() (pages int) {
	r.Helper()
	for cursor := ""; ; {
		a := r.call("POST", wecom.PathContactList, fmt.Sprintf(`{"cursor":%q,"limit":1000}`, cursor))
		var page struct {
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.Errcode != 0 {
			r.Fatalf("%s, %v", a.body, err)
		}
		pages++
		if cursor = page.Next; cursor == "" {
			return pages
		}
	}
}

// contacts returns the row of an account in GET /v1/contacts.
func (r *rig) contacts(corp string) admin.Contacts {
	r.Helper()
	a := r.adminCall("GET", "/v1/contacts?history=400&corp_id="+corp, "")
	var list admin.ContactsList
	if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != http.StatusOK || len(list.Contacts) != 1 {
		r.Fatalf("HTTP %d %s, %v", a.StatusCode, a.body, err)
	}
	return list.Contacts[0]
}

// entity returns one entity of GET /v1/entities.
func (r *rig) entity(name string) admin.Entity {
	r.Helper()
	a := r.adminCall("GET", "/v1/entities?q="+name, "")
	var list admin.EntityList
	if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != http.StatusOK || len(list.Entities) != 1 {
		r.Fatalf("HTTP %d %s, %v", a.StatusCode, a.body, err)
	}
	return list.Entities[0]
}

// total waits until the number of an account is total, as the gateway shows it.
func (r *rig) total(total int, estimate bool) admin.Contacts {
	r.Helper()
	var row admin.Contacts
	r.await(fmt.Sprintf("%d contacts", total), func() bool {
		r.gateway.followContacts(r.Context())
		row = r.contacts(corpID)
		return row.Total != nil && *row.Total == total && row.Estimate == estimate
	})
	if row.Exact == estimate || row.AsOf == "" {
		r.Errorf("%+v", row)
	}
	return row
}

// adds tries to add a customer, and wants the rule that refuses it, "" for none.
func (r *rig) adds(rule string) answer {
	r.Helper()
	a := r.call("POST", addWay, `{"type":1,"scene":2,"user":["zhangsan"]}`)
	if a.Gate.Rule != rule || (a.Errcode == 0) != (rule == "") {
		r.Errorf("%s: refused by %q, want %q: %s", r.clock.Now(), a.Gate.Rule, rule, a.body)
	}
	return a
}

// A bot's walk over contact_list counts, callbacks move the number until the next one, and only
// counts change the standing. A full account may not add, and the refusal says why.
func TestContactsOfABot(t *testing.T) {
	r, _, app := callbackRig(t, storetest.Start(t).Config(), neverSubscribed)
	row := r.contacts(corpID)
	if row.Total != nil || row.Problem == nil || row.Problem.Reason != "no_secret" || row.Standing != "active" || *row.Limit != 2000 || row.LimitKind != "free" {
		t.Fatalf("%+v", row)
	}
	r.platform.SetContacts(corpID, 1997, 2)
	for _, clerk := range []string{"wmA", "wmB"} {
		r.platform.AddContact(corpID, "zhangsan", clerk)
	}
	r.platform.TakeEvents(corpID)
	r.adds("")
	if pages := r.walk(); pages < 3 {
		t.Errorf("%d pages", pages)
	}
	row = r.total(1999, false)
	r.await("the day in its history, which follows the number", func() bool { row = r.contacts(corpID); return len(row.History) > 0 })
	if row.Source != "metered" || row.Standing != "free" || *row.Left != 1 || *row.Percent != 99 || row.Problem != nil || len(row.History) != 1 || row.History[0].Total != 1999 {
		t.Errorf("%+v", row)
	}

	r.clock.Advance(time.Minute)
	r.platform.AddContact(corpID, "zhangsan", "wmC")
	r.platform.AddContact(corpID, "lisi", "wmC") // the same person
	r.platform.CreateGroup(corpID, "wrGroup", "zhangsan")
	r.platform.JoinGroup(corpID, "wrGroup", "wmD", "wangwu")
	if !r.platform.SendEvents(corpID, app) {
		t.Fatal("a callback was not taken")
	}
	row = r.total(2001, true)
	if row.Source != "callbacks" || row.Standing != "free" || row.Counted == nil || *row.Counted.Total != 1999 || !row.Counted.Exact || *row.Left != 0 {
		t.Errorf("%+v", row)
	}
	r.adds("") // an estimate changes nothing

	r.clock.Advance(time.Minute)
	r.walk()
	if row = r.total(2001, false); row.Standing != "full" {
		t.Errorf("%+v", row)
	}
	refused := r.adds("full-adds-no-customers")
	if !strings.Contains(refused.Errmsg, "2001 contacts") || !strings.Contains(refused.Errmsg, "2000 (contacts.free)") {
		t.Errorf("%s", refused.Errmsg)
	}
	if a := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wmA", ""); a.Errcode != 0 {
		t.Errorf("%s", a.body)
	}
	if log := r.log(); !strings.Contains(log, `"the standing of an account changed"`) || !strings.Contains(log, `"from":"free","to":"full"`) {
		t.Errorf("%s", log)
	}
	metrics := string(r.adminCall("GET", "/metrics", "").body)
	for _, want := range []string{
		`replygate_contacts{corp_id="` + corpID + `"} 2001`, `replygate_standing_changes_total{from="free",to="full"} 1`,
		`replygate_contacts_observed_total{result="counted",source="contact_list"} 2`, "replygate_contacts_stale 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(metrics, "replygate_account_lapse_timestamp_seconds{") {
		t.Error("an account that never lapses has an instant of it")
	}

	again, _ := r.startApart(r.gateway.Config.Redis, neverSubscribed) // the count survives a restart
	if s := again.accounts().Find(corpID).Standing(r.clock.Now()); s != "full" {
		t.Errorf("another gateway takes it for %s", s)
	}
}

// What a call says of itself does not tell whose contacts it lists.
func TestContactsOfAnUnknownToken(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		neverSubscribed(c)
		withAnother(c)
	})
	r.platform.SetContacts(corpID, 5, 1)
	r.token = r.platform.Issue(corpID) // past the gateway
	for range 2 {
		r.call("POST", "/corp/"+corpID+wecom.PathContactList, `{}`)
		r.call("POST", "/corp/wwAnother"+wecom.PathContactList, `{}`)
	}
	r.await("the pages to be looked at", func() bool {
		return strings.Contains(string(r.adminCall("GET", "/metrics", "").body), `replygate_contacts_observed_total{result="unattributed",source="contact_list"} 4`)
	})
	if row := r.contacts(corpID); row.Total != nil {
		t.Errorf("%+v", row)
	}
}

// The story of a year: what an account may, at the second, as its contacts grow, as it purchases,
// and as its subscription ends while a part of its contacts moves to a sibling, which is reported.
// The gateway counts by itself.
func TestContactsOverAYear(t *testing.T) {
	var expires time.Time
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		neverSubscribed(c)
		withContactSecret(c)
		c.Accounts[0].Entity = "golden"
	})
	count := func(contacts int, standing, kind string) admin.Contacts {
		t.Helper()
		r.platform.SetContacts(corpID, contacts, 1)
		r.clock.Advance(24 * time.Hour)
		r.token = ""
		r.gateway.contacts.meter.Round(t.Context())
		row := r.total(contacts, false)
		if row.Standing != standing || row.LimitKind != kind || row.Source != "metered" || row.Problem != nil {
			t.Errorf("%d contacts: %+v", contacts, row)
		}
		return row
	}
	count(1500, "free", "free")
	for day := range 9 {
		count(1540+50*day, "free", "free")
	}
	row := count(1999, "free", "free")
	r.adds("")
	if row.Pace == nil || row.Pace.Days != 10 || row.Pace.Change != 499 || row.FullOn == "" || len(row.History) != 11 {
		t.Errorf("%+v %+v", row, row.Pace)
	}
	count(2000, "full", "free")
	r.adds("full-adds-no-customers")
	count(2001, "full", "free")
	r.adds("full-adds-no-customers")
	count(1999, "free", "free") // contacts were removed
	r.adds("")

	purchases := func(purchased int) {
		t.Helper()
		expires = r.clock.Now().Add(300 * 24 * time.Hour)
		r.reconfigure(func(c *config.Config) {
			c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: expires, Grace: 72 * time.Hour}
			c.Accounts[0].Contacts = &config.Contacts{Free: 2000, Purchased: &purchased}
		})
	}
	purchases(5000)
	for _, n := range []int{2000, 4999} {
		count(n, "active", "purchased")
		r.adds("") // a tier above the count never limits
	}
	if row = count(5000, "full", "purchased"); *row.Left != 0 || *row.Percent != 100 {
		t.Errorf("%+v", row)
	}
	if a := r.adds("full-adds-no-customers"); !strings.Contains(a.Errmsg, "5000 contacts") || !strings.Contains(a.Errmsg, "5000 (contacts.purchased)") {
		t.Errorf("%s", a.Errmsg)
	}
	purchases(10_000)
	r.adds("") // at once
	count(6000, "active", "purchased")

	const sibling = "wwSibling"
	r.platform.AddCorp(sibling, "sibling-secret")
	tier := 3000
	r.reconfigure(func(c *config.Config) {
		c.Accounts = append(c.Accounts, config.Account{
			CorpID: sibling, Entity: "golden", Contacts: &config.Contacts{Free: 2000, Purchased: &tier}, Secrets: config.Secrets{Contact: "sibling-secret"},
		})
	})
	together := func(contacts, siblings int) (e admin.Entity) {
		t.Helper()
		r.platform.SetContacts(corpID, contacts, 1)
		r.platform.SetContacts(sibling, siblings, 1)
		r.gateway.contacts.meter.Round(t.Context())
		r.total(contacts, false)
		r.await("the count of the sibling", func() bool {
			e = r.entity("golden")
			return e.Total == contacts+siblings
		})
		if !e.UpperBound || !e.Exact || e.Unknown != 0 || len(e.Accounts) != 2 || e.Accounts[1].CorpID != sibling || e.Accounts[1].Standing != "active" {
			t.Errorf("%+v", e)
		}
		return e
	}
	r.clock.Set(expires.Add(-20 * 24 * time.Hour))
	if e := together(6000, 1000); len(e.Moves) != 0 || e.Change != nil {
		t.Errorf("nothing moved yet: %+v", e)
	}

	for _, at := range []struct {
		when       time.Time
		standing   string
		adds, read string // the rule that refuses
	}{
		{expires.Add(-time.Second), "active", "", ""},
		{expires, "grace", "", ""},
		{expires.Add(72*time.Hour - time.Second), "grace", "", ""},
		{expires.Add(72 * time.Hour), "lapsed", "no-adding-customers", "no-customer-details"},
	} {
		r.clock.Set(at.when)
		r.token = ""
		if s := r.contacts(corpID).Standing; s != at.standing {
			t.Errorf("%s: %s, want %s", at.when.Sub(expires), s, at.standing)
		}
		r.adds(at.adds)
		if a := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wmSeed0000001", ""); a.Gate.Rule != at.read {
			t.Errorf("%s: %s", at.when.Sub(expires), a.body)
		}
	}

	r.clock.Advance(5 * 24 * time.Hour)
	e := together(5300, 1650)
	want := admin.Shift{From: corpID, To: sibling, Lost: 700, Gained: 650, Days: 28, Lapses: expires.Add(72 * time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")}
	if len(e.Moves) != 1 || e.Moves[0] != want || *e.Change != -50 || *e.Accounts[0].Change != -700 || e.Accounts[0].Standing != "lapsed" || *e.Accounts[1].Change != 650 {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	if kept := r.entity("golden"); len(kept.Moves) != 1 {
		t.Errorf("a report changes when it is read: %+v", kept)
	}
	r.token = tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+sibling+"&corpsecret=sibling-secret", "")))
	r.adds("") // a report refuses nothing, and its tier is not reached

	count(1999, "free", "free") // it fell below what is free: nothing is limited
	r.adds("")
	r.clock.Advance(7*24*time.Hour - time.Second)
	if s := r.contacts(corpID); s.Standing != "free" || !s.Stale {
		t.Errorf("%+v", s)
	}
	r.clock.Advance(time.Second)
	if s := r.contacts(corpID); s.Standing != "lapsed" || s.Problem == nil || s.Problem.Reason != "stale" {
		t.Errorf("a count of seven days still makes it %+v", s)
	}
}

// reconfigure puts a changed configuration in force, as a reload does.
func (r *rig) reconfigure(change func(*config.Config)) {
	r.Helper()
	c := *r.gateway.inForce().Config
	c.Accounts = append([]config.Account(nil), c.Accounts...)
	change(&c)
	set, err := compile("test", &c)
	if err != nil {
		r.Fatal(err)
	}
	r.gateway.reloading.Lock()
	defer r.gateway.reloading.Unlock()
	r.gateway.use(set)
}

// Of two gateways one counts, and the other one knows what it counted.
func TestOneGatewayCounts(t *testing.T) {
	redis := storetest.Start(t).Config()
	change := func(c *config.Config) { neverSubscribed(c); withContactSecret(c) }
	r := newRig(t, storetest.Embedded(t), neverSubscribed)
	r.platform.SetContacts(corpID, 2500, 1)
	gateways, stops := []*gateway{}, []func() <-chan error{}
	for range 2 {
		g, stop := r.startApart(redis, change)
		gateways, stops = append(gateways, g), append(stops, stop)
	}
	known := func(g *gateway) bool {
		g.followContacts(t.Context())
		n, known := g.accounts().Find(corpID).Counted()
		return known && n.Total == 2500
	}
	for _, g := range gateways {
		r.await("the count", func() bool { return known(g) })
	}
	if n := r.platform.Count(wecom.PathContactList); n != 3 {
		t.Errorf("%d pages were pulled, want 3", n)
	}
	if n := len(gateways[0].store.Keys(t.Context(), "rg:leader:meter*").Val()); n != 1 {
		t.Errorf("%d locks", n)
	}
	if n := len(gateways[0].store.Keys(t.Context(), "rg:token:*").Val()); n != 0 {
		t.Errorf("the gateways learnt %d tokens of their own", n)
	}
	for _, stop := range stops {
		if err := <-stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if log := r.output.String(); strings.Contains(log, secret) {
		t.Error("the secret is in the log")
	}
}

// The gateway that counts is killed in the middle of a walk. When its lock has ended, another one
// makes that count, from the first page on since ids of two walks must not be mixed. What the first
// one has counted is not counted twice.
func TestMeterIsTakenOver(t *testing.T) {
	server := storetest.Start(t)
	r := newRig(t, storetest.Embedded(t), nil)
	r.clock.Set(time.Now()) // the gateways below go by the machine's clock
	r.clock.Run()
	r.platform.AddCorp("wwAnother", "another-secret")
	r.platform.SetContacts(corpID, 900, 1)
	r.platform.SetContacts("wwAnother", 9500, 1)
	r.platform.SetLimit(wecom.PathContactList, wecomtest.Limit{Minute: 4}) // the walk of ten pages waits after four
	pages := func(corp string) (bodies []string) {
		for _, c := range r.platform.Calls() {
			if c.Path == wecom.PathContactList && c.Corp == corp {
				bodies = append(bodies, string(c.Body))
			}
		}
		return bodies
	}
	first, second := r.node(server.Addr(), r.upstream.URL), r.node(server.Addr(), r.upstream.URL)
	for _, n := range []*node{first, second} {
		n.rewrite("subscription: { expires_at: 2020-01-01T00:00:00Z } }", "subscription: none, secrets: { contact: "+secret+" } }, { corp_id: wwAnother, subscription: none, secrets: { contact: another-secret } }")
	}
	first.up()
	server.Await("900", "hget", "rg:contacts:{"+corpID+"}:count", "total")
	r.await("the walk to reach the limit", func() bool { return len(pages("wwAnother")) == 5 })
	second.up()
	first.kill()
	if left := server.CLI("pttl", "rg:leader:meter"); strings.HasPrefix(left, "-") {
		t.Errorf("the lock of a gateway that was killed: PTTL %s", left)
	}
	if known := server.CLI("exists", "rg:contacts:{wwAnother}:count"); strings.TrimSpace(known) != "0" {
		t.Error("a part of a walk is stored")
	}
	r.platform.SetLimit(wecom.PathContactList, wecomtest.Limit{})
	server.CLI("pexpire", "rg:leader:meter", "1") // as at the end of its term
	server.Await("9500", "hget", "rg:contacts:{wwAnother}:count", "total")
	if all := pages("wwAnother"); len(all) != 5+10 || strings.Contains(all[5], "cursor") {
		t.Errorf("%d pages of the second walk, which begins with %s", len(all)-5, all[5])
	}
	if n := len(pages(corpID)); n != 1 {
		t.Errorf("the account that was counted already was asked for %d pages", n)
	}
	r.await("both counts in the answer of the second gateway", func() bool {
		a := raw(t, second.admin, strings.Replace(request("GET", "/v1/contacts", ""), "Host: gateway", "Host: localhost", 1))
		return strings.Contains(string(a.body), `"total":900,`) && strings.Contains(string(a.body), `"total":9500,`)
	})
}

// rewrite replaces a part of the node's configuration.
func (n *node) rewrite(old, now string) {
	n.Helper()
	text, err := os.ReadFile(n.file)
	if err != nil || !strings.Contains(string(text), old) {
		n.Fatalf("no %q: %v", old, err)
	}
	if err := os.WriteFile(n.file, []byte(strings.Replace(string(text), old, now, 1)), 0o600); err != nil {
		n.Fatal(err)
	}
}

// contacts count counts at once and waits for the end; where WeCom refuses it says why and what to
// do, and so does the list.
func TestContactsCommands(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		neverSubscribed(c)
		withContactSecret(c)
		withAnother(c)
	})
	r.platform.SetContacts(corpID, 1234, 3)
	at := []string{"--admin", r.gateway.control.Addr().String()}
	command := func(want int, args ...string) (out, errs string) {
		t.Helper()
		code, out, errs := cli(t, append(append([]string{"contacts"}, args...), at...)...)
		if code != want {
			t.Fatalf("%v: exit %d\n%s%s", args, code, out, errs)
		}
		return out, errs
	}
	if out, _ := command(exitGood, "count", "--corp", corpID); !strings.HasPrefix(out, corpID+" has 1234 contacts, counted ") {
		t.Errorf("%s", out)
	}
	out, errs := command(exitGood, "list")
	for _, want := range []string{corpID, "1234", "2000 free", "766", "metered"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s:\n%s", want, out)
		}
	}
	if !strings.Contains(errs, "wwAnother: the gateway has no secret") {
		t.Errorf("%s", errs)
	}
	var list admin.ContactsList
	out, _ = command(exitGood, "list", "--json", "--kind", "free", "--limit", "1", "--history", "7")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Contacts) != 1 || list.Contacts[0].CorpID != corpID || len(list.Contacts[0].History) != 1 {
		t.Errorf("%s, %v", out, err)
	}
	if _, errs := command(exitBad, "count", "--corp", "wwAnother"); !strings.Contains(errs, "secrets.contact_file") {
		t.Errorf("%s", errs)
	}
	if _, errs := command(exitBad, "count", "--corp", "wwNobody"); !strings.Contains(errs, "no_account") {
		t.Errorf("%s", errs)
	}
	command(exitUsage, "count")
	for code, remedy := range map[int]string{48002: "may call the customer contact API", 60020: "trusted IPs", 99999: "errcode 99999"} {
		r.platform.Refuse(corpID, wecom.PathContactList, code)
		if out, errs := command(exitBad, "count", "--corp", corpID, "--json"); !strings.Contains(errs, remedy) || !strings.Contains(out, `"state": "failed"`) {
			t.Errorf("%d: %s%s", code, out, errs)
		}
		if row := r.contacts(corpID); row.Problem == nil || row.Problem.Errcode != code || row.Problem.Reason != "refused" || *row.Total != 1234 {
			t.Errorf("%+v", row)
		}
	}
	r.platform.Refuse(corpID, wecom.PathContactList, 0)
	r.clock.Advance(time.Second)
	command(exitGood, "count", "--corp", corpID)
	if row := r.contacts(corpID); row.Problem != nil {
		t.Errorf("%+v", row.Problem)
	}
	if strings.Contains(r.log(), secret) {
		t.Error("the secret is in the log")
	}
}

// Calls and callbacks do not notice that what they tell of contacts cannot be stored.
func TestContactsWhileRedisIsAway(t *testing.T) {
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 300 * time.Millisecond
	r, _, app := callbackRig(t, c, neverSubscribed)
	r.platform.SetContacts(corpID, 2000, 1)
	r.walk()
	r.total(2000, false)
	server.Down()
	r.platform.SetContacts(corpID, 1000, 1)
	r.clock.Advance(time.Minute)
	r.platform.AddContact(corpID, "zhangsan", "wmNew")
	for _, e := range r.platform.TakeEvents(corpID) {
		plain := strings.ReplaceAll(e.Plain(app), "WelcomeCode", "Other") // a code must be recorded, else WeCom sends again
		r.delivers(app, plain, http.StatusOK)
	}
	r.walk()
	r.await("the count in this process", func() bool {
		n, known := r.gateway.accounts().Find(corpID).Counted()
		return known && n.Total == 1001
	})
	if s := r.gateway.accounts().Find(corpID).Standing(r.clock.Now()); s != "free" {
		t.Errorf("%s", s)
	}
	if row := r.adminCall("GET", "/v1/contacts", ""); row.StatusCode != http.StatusOK || !strings.Contains(string(row.body), `"total":1001`) {
		t.Errorf("%s", row.body)
	}
	server.Up()
	r.await("the count in redis", func() bool {
		r.gateway.followContacts(t.Context())
		s := r.gateway.contacts.observer.State(corpID)
		return s.Total == 1001
	})
}

// Counts by hand are shared and make the history, at the start and after a reload. Of one by hand
// and a metered one the newer decides.
func TestContactsByHand(t *testing.T) {
	byHand := func(total int, at time.Time) func(*config.Config) {
		return func(c *config.Config) {
			neverSubscribed(c)
			c.Accounts[0].Contacts = &config.Contacts{Free: 2000, Total: &total, CountedAt: at}
		}
	}
	now := time.Now().Truncate(time.Second)
	r := newRig(t, storetest.Embedded(t), byHand(1800, now.Add(-time.Hour)))
	if row := r.total(1800, false); row.Source != "file" || row.Standing != "free" || len(row.History) != 1 {
		t.Errorf("%+v", row)
	}
	r.reconfigure(byHand(2100, now.Add(-time.Minute)))
	if row := r.total(2100, false); row.Standing != "full" || row.History[0].Total != 2100 {
		t.Errorf("%+v", row)
	}
	r.platform.SetContacts(corpID, 1900, 1)
	r.clock.Set(now.Add(time.Minute))
	r.walk()
	if row := r.total(1900, false); row.Standing != "free" || row.Source != "metered" {
		t.Errorf("%+v", row)
	}
	r.reconfigure(byHand(2200, now.Add(2*time.Minute)))
	if row := r.total(2200, false); row.Standing != "full" || row.Source != "file" || row.Stale {
		t.Errorf("%+v", row)
	}
}

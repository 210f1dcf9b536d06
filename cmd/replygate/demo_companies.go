package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"replygate/account"
	"replygate/calls"
	"replygate/contacts"
	"replygate/window"
)

// company is an account of the demo beside that of the story: it has a past, and its customers and
// bots go on while the demo stays up.
type company struct {
	ID, Name, Entity string
	Ends             time.Duration // of the subscription, from the end of the story on; 0: has no end
	Grace            time.Duration
	Never            bool // had a subscription
	Purchased        int  // 0: not told

	people  int  // external contacts; 0: never counted
	growth  int  // of them a day
	replies int  // a day; its bots' other calls are in proportion
	chats   int  // that wait for a reply
	lost    bool // messages of its second channel, for a while

	kf, crm bot
	cursor  string // of kf/sync_msg
}

const (
	days = 24 * time.Hour

	lapsesAfter = 2 * time.Minute // the first company, once the story is over
	liveEvery   = 2 * time.Second
	countedDays = 40 // with a count of contacts
	calledDays  = 28
	firstActs   = 6 // of each company before the first look at the console
)

// demoCompanies returns the companies.
func demoCompanies() []*company {
	return []*company{
		{ID: "ww5c1f20a97be43d68", Name: "蓝桥家居 Blue Bridge", Entity: "蓝桥集团 Blue Bridge", Ends: lapsesAfter - 3*days, Grace: 3 * days, Purchased: 20000, people: 18420, growth: 31, replies: 240, chats: 9},
		{ID: "wwb20fa35c7d19e846", Name: "鹿鸣服饰 Luming Apparel", Entity: "鹿鸣实业 Luming", Ends: 25 * days, Purchased: 12000, people: 6100, growth: -24, replies: 90, chats: 6},
		{ID: "ww0d8e47f13ab652c9", Name: "鹿鸣鞋帽 Luming Shoes", Entity: "鹿鸣实业 Luming", Ends: 118 * days, Purchased: 12000, people: 5300, growth: 24, replies: 70, chats: 3},
		{ID: "ww93c06ad85e2f17b4", Name: "青禾农资 Qinghe Farm", Ends: 9*days + 6*time.Hour, Purchased: 10000, people: 9720, growth: 24, replies: 60, chats: 2},
		{ID: "ww7ab1e9054cd82f36", Name: "云杉教育 Spruce School", Ends: 64 * days, Grace: 3 * days, Purchased: 50000, people: 31208, growth: 85, replies: 310, chats: 8},
		{ID: "wwe4173d02b9fa856c", Name: "白鹭旅行 Egret Travel", Ends: -40 * days, people: 1412, growth: 3, replies: 30, chats: 2},
		{ID: "ww2f6d80c9a4b5713e", Name: "松风书店 Pinewind Books", Never: true, people: 1962, growth: 2, replies: 20, chats: 1},
		{ID: "wwa85b1c7e03f94d62", Name: "远山茶业 Farhill Tea", Ends: -23 * days, Grace: 3 * days, replies: 120, chats: 12, lost: true},
		{ID: "ww61e0f7b38a2c9d54", Name: "海棠花店 Begonia Flowers", Ends: 5*time.Hour - days, Grace: 3 * days, Purchased: 5000, people: 3120, growth: 9, replies: 40, chats: 4},
		{ID: "ww38d9a2f06c41e7b5", Name: "石榴科技 Pomegranate Tech", people: 640, growth: 4, replies: 50, chats: 2},
	}
}

//go:embed demo.yaml
var demoYAML string

var demoTemplate = template.Must(template.New("demo.yaml").Parse(demoYAML))

// demoSettings is what the demo's configuration is made of.
type demoSettings struct {
	API, Admin, Redis, WeCom, Dir string // addresses, and the folder of its files
	Corp                          string // of the story
	Expires                       time.Time
	Companies                     []*company
	ends                          time.Time // the story
}

// At writes an instant from the end of the story on.
func (s demoSettings) At(d time.Duration) string { return s.ends.Add(d).Format(time.RFC3339) }

// load writes the configuration to a file and loads it.
func (s demoSettings) load() (settings, error) {
	var text bytes.Buffer
	if err := demoTemplate.Execute(&text, s); err != nil {
		return settings{}, err
	}
	file := filepath.Join(s.Dir, "replygate.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return settings{}, err
	}
	return load(file)
}

// channel is the kf account that customers write to.
func (c *company) channel() string { return "wkSales" + c.ID[2:10] }

func (c *company) secondChannel() string { return "wkCare" + c.ID[2:10] }

// customer is the id of the n-th customer.
func (c *company) customer(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, c.ID, n))
	return "wm" + hex.EncodeToString(sum[:12])
}

// settle gives the companies their past: counts of contacts, calls, and chats that wait.
func (d *demonstration) settle(ctx context.Context) error {
	g, now := d.gateway, d.clock.Now()
	g.day.look() // what follows belongs to today
	for _, c := range d.companies {
		for age := countedDays - 1; age >= 0 && c.people > 0; age-- {
			n := account.Count{Total: c.people - age*c.growth, AsOf: now.Add(-time.Duration(age) * days), Source: account.Metered}
			g.contacts.observer.Finished(ctx, c.ID, contacts.Count{Count: n})
		}
		for age := range calledDays {
			d.pastCalls(c, now.Add(-time.Duration(age)*days))
		}
		for n := range c.chats { // one of them closes within minutes
			closes := time.Duration(n*n)*13*time.Minute + time.Duration(c.growth+30)*20*time.Second
			d.platform.CustomerWroteAt(c.ID, c.channel(), c.customer(n), "hello?", now.Add(closes-48*time.Hour))
		}
		if c.lost {
			lost := window.Loss{Corp: c.ID, Channel: c.secondChannel(), Messages: true, Reason: "unrecorded"}
			if _, err := g.windows.RecordGaps(ctx, lost); err != nil {
				return err
			}
		}
		for n := range firstActs {
			if err := d.act(ctx, c, n); err != nil {
				return err
			}
		}
	}
	return errors.Join(g.calls.Flush(ctx), g.calls.Refresh(ctx), g.windows.Sum(ctx))
}

// pastCalls counts the calls of one day, fewer of them at weekends.
func (d *demonstration) pastCalls(c *company, at time.Time) {
	n := c.replies - c.replies*at.Day()%7/10
	if w := at.Weekday(); w == time.Saturday || w == time.Sunday {
		n /= 3
	}
	lapsed := d.gateway.Accounts.Find(c.ID).Standing(at) == account.Lapsed
	count := func(client, target string, n int, o calls.Outcome) {
		path, _, _ := strings.Cut(target, "?")
		for range n {
			d.gateway.calls.Count(at, calls.Call{Corp: c.ID, Path: path, Client: client}, o)
		}
	}
	count("kf-bot", pathSync, 2*n, 0)
	count("kf-bot", pathReply, n, calls.Inside)
	outside, other := calls.Outside, calls.Outcome(0)
	if lapsed {
		outside, other = calls.Outside|calls.Refused, calls.Refused
	}
	count("kf-bot", pathReply, n/12, outside)
	for i, s := range six {
		count("crm", s.target, n/(3+4*i), other)
	}
}

// live lets the companies' customers and bots go on until ctx ends.
func (d *demonstration) live(ctx context.Context) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for n := firstActs * len(d.companies); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = d.act(ctx, d.companies[n%len(d.companies)], n/len(d.companies)) // the next step follows all the same
	}
}

// act is the n-th thing that happens at a company: a customer writes, and is answered by a bot, by
// a servicer or not at all; and other calls are made.
func (d *demonstration) act(ctx context.Context, c *company, n int) error {
	who := c.customer(100 + n)
	d.platform.CustomerWrites(c.ID, c.channel(), who, "hello?")
	d.platform.CustomerWrites(c.ID, c.secondChannel(), c.customer(500), "me again") // and is answered at once
	d.platform.ServicerWrites(c.ID, c.secondChannel(), c.customer(500), "wangwu", "Welcome back.")
	if n%3 == 1 {
		d.platform.ServicerWrites(c.ID, c.channel(), c.customer(99+n), "lisi", "We are on it.")
	}
	var page struct {
		Next string `json:"next_cursor"`
	}
	if _, err := c.kf.call(ctx, pathSync, fmt.Sprintf(`{"cursor":%q}`, c.cursor), &page); err != nil {
		return err
	}
	c.cursor = page.Next
	var todo []step
	if n%3 == 2 {
		todo = append(todo, replyOn(c.channel(), who))
	}
	switch n % 4 {
	case 1:
		todo = append(todo, replyOn(c.channel(), c.customer(1000+n))) // who has not written
	case 3:
		todo = append(todo, replyOn(c.secondChannel(), c.customer(1000+n)))
	}
	for _, s := range todo {
		if _, err := c.kf.call(ctx, s.target, s.body, nil); err != nil {
			return err
		}
	}
	s := six[5*n%len(six)]
	_, err := c.crm.call(ctx, s.target, s.body, nil)
	return err
}

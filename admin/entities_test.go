package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
)

// history is a count of 31 days ago, and one of today.
func history(before, now int) []contacts.Day {
	return []contacts.Day{{Date: start.AddDate(0, 0, -30).Format(time.DateOnly), Total: before}, {Date: start.Format(time.DateOnly), Total: now}}
}

// siblingsAroundALapse are accounts of two entities; one of the first lapsed five days ago.
func siblingsAroundALapse(a *api) {
	total := func(n int) *config.Contacts {
		return &config.Contacts{Free: 2000, Purchased: new(5000), Total: &n, CountedAt: start.Add(-time.Hour)}
	}
	a.with([]config.Account{
		{CorpID: "wwDeer", Name: "鹿鸣服饰", Entity: "鹿鸣集团", Subscription: &config.Subscription{ExpiresAt: start.AddDate(0, 0, -5)}, Contacts: total(4345)},
		{CorpID: "wwShoes", Name: "鹿鸣鞋帽", Entity: "鹿鸣集团", Contacts: total(1640)},
		{CorpID: "wwUnknown", Name: "鹿鸣家纺", Entity: "鹿鸣集团"},
		{CorpID: "wwAlone", Name: "Alone", Entity: "alone", Contacts: total(7)},
		{CorpID: "wwNobody", Name: "Nobody", Contacts: total(100)},
	})
	a.admin.Histories = func(_ context.Context, corps []string) (map[string][]contacts.Day, error) {
		all := map[string][]contacts.Day{"wwDeer": history(5000, 4345), "wwShoes": history(1000, 1640), "wwAlone": history(7, 7)}
		found := map[string][]contacts.Day{}
		for _, corp := range corps {
			found[corp] = all[corp]
		}
		return found, nil
	}
}

func TestEntities(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	siblingsAroundALapse(a)
	const deer = `{"name":"鹿鸣集团","total":5985,"upper_bound":true,"exact":true,"unknown":1,"change_30d":-15,"accounts":[` +
		`{"corp_id":"wwDeer","name":"鹿鸣服饰","entity":"鹿鸣集团","standing":"lapsed","lapses_at":"2026-11-17T12:00:00.000Z","total":4345,"exact":true,"counted_at":"2026-11-22T11:00:00.000Z","source":"file","limit":2000,"limit_kind":"free","change_30d":-655,"change_days":30},` +
		`{"corp_id":"wwShoes","name":"鹿鸣鞋帽","entity":"鹿鸣集团","standing":"active","total":1640,"exact":true,"counted_at":"2026-11-22T11:00:00.000Z","source":"file","limit":5000,"limit_kind":"purchased","change_30d":640,"change_days":30},` +
		`{"corp_id":"wwUnknown","name":"鹿鸣家纺","entity":"鹿鸣集团","standing":"active","total":null,"exact":false,"limit":null,"change_30d":null}],` +
		`"moves":[{"from":"wwDeer","to":"wwShoes","lost":655,"gained":640,"days":30,"lapses_at":"2026-11-17T12:00:00.000Z"}]}`
	const alone = `{"name":"alone","total":7,"upper_bound":false,"exact":true,"unknown":0,"change_30d":0,"accounts":[` +
		`{"corp_id":"wwAlone","name":"Alone","entity":"alone","standing":"active","total":7,"exact":true,"counted_at":"2026-11-22T11:00:00.000Z","source":"file","limit":5000,"limit_kind":"purchased","change_30d":0,"change_days":30}],"moves":[]}`
	const end = `],"total":2,"as_of":"2026-11-22T12:00:00.000Z"}`
	a.want(a.call("GET", "/v1/entities", ""), 200, `{"entities":[`+deer+","+alone+end)
	a.want(a.call("GET", "/v1/entities?sort=name", ""), 200, `{"entities":[`+alone+","+deer+end)
	a.want(a.call("GET", "/v1/entities?q=ALO", ""), 200, `{"entities":[`+alone+strings.Replace(end, "2", "1", 1))
	a.want(a.call("GET", "/v1/entities/%E9%B9%BF%E9%B8%A3%E9%9B%86%E5%9B%A2", ""), 200, deer[:len(deer)-1]+`,"as_of":"2026-11-22T12:00:00.000Z"}`)
	a.want(a.call("GET", "/v1/entities/Alone", ""), 404, `{"error":{"code":"no_entity","message":"no account of the configuration has this entity: letter case matters"}}`)
	if r := a.call("GET", "/v1/entities?sort=-used", ""); r.Code != 400 || !strings.Contains(r.body, "sort must be one of -total, name") {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	csv := a.call("GET", "/v1/entities?format=csv&sort=name", "").body
	if lines := strings.Split(csv, "\n"); len(lines) != 6 || lines[2] != "wwDeer,鹿鸣服饰,鹿鸣集团,lapsed,2026-11-17T12:00:00.000Z,4345,true,2026-11-22T11:00:00.000Z,file,2000,free,-655,30" {
		t.Error(csv)
	}
	a.admin.Histories = func(context.Context, []string) (map[string][]contacts.Day, error) { return nil, errors.New("away") }
	for _, path := range []string{"/v1/entities", "/v1/entities/alone"} {
		if r := a.call("GET", path, ""); r.Code != 503 || r.Header().Get("Retry-After") == "" {
			t.Errorf("%s without Redis: HTTP %d %s", path, r.Code, r.body)
		}
	}
}

// Histories are read for a part of the accounts at a time, and only for those on the page.
func TestEntityHistoriesArePaged(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	all := numbered(30)
	for i := range 450 {
		all = append(all, config.Account{CorpID: fmt.Sprintf("wwBig%d", i), Entity: "big"})
	}
	a.with(all)
	var asked []int
	a.admin.Histories = func(_ context.Context, corps []string) (map[string][]contacts.Day, error) {
		asked = append(asked, len(corps))
		return map[string][]contacts.Day{"wwBig449": history(10, 20)}, nil
	}
	var one admin.OneEntity
	if err := json.Unmarshal([]byte(a.call("GET", "/v1/entities/big", "").body), &one); err != nil || len(one.Accounts) != 450 || *one.Change != 10 {
		t.Errorf("%+v", one)
	}
	if fmt.Sprint(asked) != "[200 200 50]" {
		t.Errorf("histories of %v accounts", asked)
	}
	asked = nil
	a.call("GET", "/v1/entities?limit=3&q=entity", "")
	if fmt.Sprint(asked) != "[3 3 3]" {
		t.Errorf("histories of %v accounts", asked)
	}
}

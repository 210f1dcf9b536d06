package admin_test

import (
	"encoding/json"
	"testing"

	"replygate/admin"
)

// Settings tell who put them in force, and a window who changed it last.
func TestWhoChangedIt(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	get := func(target string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(a.call("GET", target, "").body), into); err != nil {
			t.Fatal(err)
		}
	}
	var list admin.SettingList
	if get("/v1/config", &list); list.LoadedBy != admin.LoadedAtStart || list.LoadedAt != "2026-11-22T12:00:00.000Z" {
		t.Errorf("at the start: %s by %s", list.LoadedAt, list.LoadedBy)
	}
	a.gateway.reload = func() (admin.Reloaded, error) { return admin.Reloaded{Done: true, Changed: []string{}}, nil }
	a.gateway.problems = []string{"accounts_file cannot be read"}
	a.call("POST", "/v1/reload", "{}")
	if get("/v1/config", &list); list.LoadedBy != admin.LoadedByAPI || list.LoadedFrom != "192.0.2.1:1234" || len(list.Problems) != 1 {
		t.Errorf("after a reload: by %s from %s, problems %q", list.LoadedBy, list.LoadedFrom, list.Problems)
	}
	a.wrote("wwLapsed", "wk", "wm", 0)
	var windows admin.WindowList
	if get("/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm&changes=1", &windows); windows.Changes != nil {
		t.Errorf("untouched: %+v", windows.Changes)
	}
	a.call("POST", "/v1/windows/close", oneWindow)
	get("/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm&changes=1", &windows)
	if c := windows.Changes; len(c) != 1 || c[0].Action != "close" || c[0].From != "192.0.2.1:1234" || c[0].Reason != "a phone call" {
		t.Errorf("closed by hand: %+v", c)
	}
}

// GET /v1/rules with corp_id has the operator's rules that name the account or its entity.
func TestRulesOfAnAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t, `
policy:
  rules:
    - { name: of-others, match: { accounts: [wwGrace], capabilities: [welcome] }, action: refuse }
    - { name: of-it, match: { accounts: [wwLapsed], capabilities: [welcome] }, action: refuse }
    - { name: of-all, match: { capabilities: [welcome] }, action: refuse }
`)
	var list admin.RuleList
	if err := json.Unmarshal([]byte(a.call("GET", "/v1/rules?corp_id=wwLapsed", "").body), &list); err != nil || len(list.Rules) != 1 || list.Rules[0].Name != "of-it" {
		t.Errorf("%v %+v", err, list.Rules)
	}
	if r := a.call("GET", "/v1/rules?corp_id=wwNobody", ""); r.Code != 404 {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

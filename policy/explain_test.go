package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// traceRule returns what Trace says of the first rule of a policy.
func traceRule(t *testing.T, rule string, change func(*policy.Call), chinese bool) policy.Traced {
	t.Helper()
	e := configured(t, "accounts: [{ corp_id: ww1, entity: acme, contacts: { total: 5 } }, { corp_id: ww2, entity: other }]\n"+
		"clients: [{ name: pc, header: User-Agent, contains: x }]\npolicy:\n  rules:\n    - { name: r, "+rule+" }\n")
	c := call(send, wecom.Facts{Channel: "wk1", Customers: []string{"wm1"}, MsgType: "text"})
	c.Who.Client = "unknown"
	if change != nil {
		change(&c)
	}
	return e.Trace(c, c.Endpoint.Capability, chinese)[0]
}

// Trace says of each condition of a match why it does not hold, in both languages.
func TestTraceConditions(t *testing.T) {
	for _, test := range []struct {
		rule    string
		change  func(*policy.Call)
		matched bool
		en, zh  string
	}{
		{"action: refuse", nil, true, "it matches: refuse", "匹配：拒绝（refuse）"},
		{"action: pass", nil, true, "it matches: pass", "匹配：放行（pass）"},
		{"action: reply", nil, true, "it matches: reply", "匹配：仅在回复窗口内放行（reply）"},
		{"match: { capabilities: [media, kf_sync] }, action: pass", nil, false, "it is about kf_sync, media, not about kf_reply", "只适用于读取微信客服消息（kf_sync）、素材（media），不适用于微信客服回复（kf_reply）"},
		{"match: { capabilities: [add_customer, other] }, action: pass", nil, false, "it is about add_customer, other, not about kf_reply", "只适用于添加客户（联系我、名片；add_customer）、其他接口（other），不适用于微信客服回复（kf_reply）"},
		{"match: { endpoints: [/cgi-bin/kf/send] }, action: pass", nil, false, "it is not about " + send, "不适用于 " + send},
		{"match: { endpoints: [/cgi-bin/kf/*] }, action: pass", nil, true, "it matches: pass", "匹配：放行（pass）"},
		{"match: { standings: [grace, active] }, action: pass", nil, false, "it is about active, grace accounts, this one is lapsed", "只适用于状态为有效（active）、宽限期（grace）的企业，此企业为已失效（lapsed）"},
		{"match: { accounts: [ww2] }, action: pass", nil, false, "it is about other accounts than ww1", "不适用于企业 ww1"},
		{"match: { entities: [other] }, action: pass", nil, false, `it is about other, this account belongs to "acme"`, "只适用于主体“other”，此企业属于“acme”"},
		{"match: { clients: [pc] }, action: pass", nil, false, "it is about clients pc, the caller is unknown", "只适用于程序 pc，调用方为 unknown"},
		{"from: 2026-11-22T12:00:01Z, action: pass", nil, false, "it begins on 2026-11-22T12:00:01Z", "自 2026-11-22 20:00:01 北京时间 起生效"},
		{"from: 2026-11-22T12:00:00Z, action: pass", nil, true, "it matches: pass", "匹配：放行（pass）"},
		{"until: 2026-11-22T12:00:00Z, action: pass", nil, false, "it ended on 2026-11-22T12:00:00Z", "已于 2026-11-22 20:00:00 北京时间 失效"},
		{"until: 2026-11-22T12:00:01Z, action: pass", nil, true, "it matches: pass", "匹配：放行（pass）"},
		{"match: { msgtypes: [video, image] }, action: pass", nil, false, `it is about msgtype image, video, the call has "text"`, "只适用于 msgtype image、video，此调用为“text”"},
		{"percent: 0, action: pass", nil, false, "it takes 0 %, the call is drawn at ", "只取 0%，此调用落在 "},
		{"when: call.customers > 1, action: pass", nil, false, "call.customers > 1 does not hold", "条件 call.customers > 1 不成立"},
		{"when: call.customers == 1, action: pass", nil, true, "it matches: pass", "匹配：放行（pass）"},
		{"when: account.contacts < 9, action: pass", nil, true, "it decides, since whether account.contacts < 9 holds cannot be told: ", "由它决定：无法判断条件 account.contacts < 9 是否成立（"},
		{"when: window.open, action: pass", func(c *policy.Call) { c.Windows = []window.Answer{{State: window.Unavailable}} }, true, "it decides, since whether window.open holds cannot be told: redis", "由它决定：无法判断条件 window.open 是否成立（redis"},
		{"mode: shadow, action: refuse", nil, true, "it matches, but is in shadow: refuse is not applied", "匹配，但处于影子模式：不执行拒绝（refuse）"},
	} {
		for chinese, want := range map[bool]string{false: test.en, true: test.zh} {
			got := traceRule(t, test.rule, test.change, chinese)
			if got.Name != "r" || got.Matched != test.matched || !strings.HasPrefix(got.Why, want) {
				t.Errorf("%s: %+v, want %q", test.rule, got, want)
			}
		}
	}
}

// Rules after the one that decides are not tried; a rule in shadow decides nothing.
func TestTraceOrder(t *testing.T) {
	e := must(t, "ruleset: off", "    - { name: no, match: { capabilities: [media] }, action: refuse }\n    - { name: shadow, mode: shadow, action: refuse }\n    - { name: yes, action: pass }\n    - { name: late, action: refuse }\n")
	var got []string
	for _, r := range e.Trace(call(send, wecom.Facts{}), wecom.KfReply, false) {
		got = append(got, fmt.Sprintf("%s: %v: %s", r.Name, r.Tried, r.Why))
	}
	want := []string{
		"no: true: it is about media, not about kf_reply",
		"shadow: true: it matches, but is in shadow: refuse is not applied",
		"yes: true: it matches: pass",
		"late: false: yes decides",
		"everything-passes: false: yes decides",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, r := range e.Trace(call(send, wecom.Facts{}), wecom.KfReply, true)[3:] {
		if r.Why != "已由 yes 决定" || r.Tried || r.Matched {
			t.Errorf("%+v", r)
		}
	}
}

// Trace follows the rule set in force at the call's time, and the capability asked for.
func TestTracePhases(t *testing.T) {
	e := must(t, "ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00Z }]", "")
	decides := func(at time.Time, capability wecom.Capability) (name string) {
		c := call(send, wecom.Facts{Also: "add_customer"})
		c.At = at
		for _, r := range e.Trace(c, capability, false) {
			if r.Matched {
				name = r.Name
			}
		}
		return name
	}
	change := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at         time.Time
		capability wecom.Capability
		want       string
	}{
		{change.Add(-time.Second), wecom.KfReply, "everything-passes"},
		{change, wecom.KfReply, "reply-inside-the-window"},
		{change, "add_customer", "no-adding-customers"},
	} {
		if got := decides(test.at, test.capability); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.at, test.capability, got, test.want)
		}
	}
}

// Instants lists what changes by time alone: rules, rule sets and the account's standing.
func TestInstants(t *testing.T) {
	const text = `accounts:
  - { corp_id: ww1, subscription: { expires_at: 2026-01-01T00:00:00Z, grace: 24h } }
  - { corp_id: ww2 }
policy:
  ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-03-01T00:00:00Z }]
  rules:
    - { name: a, from: 2026-04-01T00:00:00Z, until: 2026-05-01T00:00:00Z, action: pass }
    - { name: b, until: 2026-06-01T00:00:00Z, action: pass }
`
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	book := account.NewBook(c.Accounts)
	e, err := policy.New("test.yaml", c, book)
	if err != nil {
		t.Fatal(err)
	}
	rules := []string{"2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"}
	for corp, want := range map[string][]string{
		"ww1": append([]string{"2026-01-01", "2026-01-02"}, rules...),
		"ww2": rules,
		"ww3": rules, // not listed
	} {
		got := map[string]bool{}
		for _, at := range e.Instants(book.Find(corp)) {
			got[at.UTC().Format(time.DateOnly)] = true
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", corp, got, want)
		}
		for _, day := range want {
			if !got[day] {
				t.Errorf("%s: %v lacks %s", corp, got, day)
			}
		}
	}
}

// Rules lists each name once, the operator's first, also where two rule sets share names.
func TestRules(t *testing.T) {
	e := must(t, "ruleset: [{ ruleset: grandfathered-2023 }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00Z }]", "    - { name: mine, action: pass }\n")
	names := e.Rules()
	seen := map[string]int{}
	for _, n := range names {
		seen[n]++
	}
	if names[0] != "mine" || seen["in-good-standing"] != 1 || seen["everything-else"] != 1 || seen["no-succession"] != 1 {
		t.Errorf("%v", names)
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("%s is listed %d times", n, times)
		}
	}
}

func TestSettings(t *testing.T) {
	plain := must(t, "", "")
	if plain.Length() != 48*time.Hour || plain.Chinese() || plain.Shadow() || plain.UsesClients() || plain.UsesPercent() {
		t.Errorf("defaults: %s %v %v %v %v", plain.Length(), plain.Chinese(), plain.Shadow(), plain.UsesClients(), plain.UsesPercent())
	}
	e := configured(t, "accounts: [{ corp_id: ww1 }]\nwindow: { length: 24h }\npolicy: { mode: shadow, language: zh, rules: [{ name: r, match: { clients: [unknown] }, percent: 99, action: pass }] }\n")
	if e.Length() != 24*time.Hour || !e.Chinese() || !e.Shadow() || !e.UsesClients() || !e.UsesPercent() {
		t.Errorf("set: %s %v %v %v %v", e.Length(), e.Chinese(), e.Shadow(), e.UsesClients(), e.UsesPercent())
	}
}

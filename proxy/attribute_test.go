package proxy_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"replygate/account"
	"replygate/config"
	"replygate/window"
)

// Calls that are judged for the lapsed account alone: by its path, and by its body.
const (
	details = "/cgi-bin/externalcontact/get"
	sendMsg = "/cgi-bin/kf/send_msg"
	onEvent = "/cgi-bin/kf/send_msg_on_event"
)

// anyones is a call that passes for every account today, and that toCome will judge one day.
const anyones = "/cgi-bin/kf/account/list"

// toCome adds a rule of the future.
func toCome(c *config.Config) {
	c.Policy.Rules = append(c.Policy.Rules, config.Rule{
		Name: config.Word{Text: "to-come"}, Action: config.Word{Text: "refuse"}, From: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		Match: config.Match{Endpoints: []config.Word{{Text: anyones}}},
	})
}

// named gives both accounts a name of their own and a channel.
func named(c *config.Config) {
	toCome(c)
	c.Accounts[0].Hosts, c.Accounts[0].Channels = []string{"active.example"}, []string{"wkActive"}
	c.Accounts[1].Hosts, c.Accounts[1].Channels = []string{"lapsed.example"}, []string{wkLapsed}
}

// reconfigure puts the harness's configuration with a change in force.
func (r *harness) reconfigure(change func(*config.Config)) {
	r.Helper()
	c := *r.config
	c.Accounts = slices.Clone(c.Accounts)
	change(&c)
	r.use(&c)
}

// ask is one call as a test writes it. Target is a path and a query, in which the test's own tokens
// are to be put.
type ask struct {
	target, host, body string
	head               string // more lines, each with its CR LF
}

// ask sends a call: a POST if it has a body, else a GET.
func (r *harness) ask(a ask) answer {
	r.Helper()
	return r.askBy("", a)
}

// askBy is ask by a method.
func (r *harness) askBy(method string, a ask) answer {
	r.Helper()
	if a.body != "" {
		method = cmp.Or(method, "POST")
		a.head += fmt.Sprintf("Content-Length: %d\r\n", len(a.body))
	}
	return r.send(r.api, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", cmp.Or(method, "GET"), a.target, cmp.Or(a.host, "g"), a.head, a.body))
}

// fate sends a call and tells in one line what became of it: "pass" or "refuse" with the reason, or
// "unread"; the corp that it counts as; by what that was found, if it was looked for; what
// contradicted it; and whether it reached WeCom.
func (r *harness) fate(a ask) string {
	r.Helper()
	r.records.take(r, "")
	before := len(r.platform.Calls())
	var got answer
	moved := r.moved(func() { got = r.ask(a) })
	fate := "unread"
	if verdict := got.header.Get("Replygate-Verdict"); verdict != "" {
		fate = verdict + " " + got.header.Get("Replygate-Reason")
	}
	access, decision := r.lastRecords()
	if corp, _ := access["corp_id"].(string); corp != "" {
		fate += ", " + corp
	}
	way := ""
	for name := range moved {
		if by, ok := strings.CutPrefix(name, `replygate_attributed_total{by="`); ok {
			way = strings.TrimSuffix(by, `"}`)
			fate += " by " + way
		}
	}
	if would, ok := decision["shadow"].(map[string]any); ok && decision["reason"] == "rule_pass" {
		fate += fmt.Sprintf(" / %v %v", would["verdict"], would["reason"])
	}
	for name, n := range moved {
		if kind, ok := strings.CutPrefix(name, `replygate_corp_contradictions_total{kind="`); ok {
			fate += fmt.Sprintf(", %v contradicts %s", n, strings.TrimSuffix(kind, `"}`))
		}
	}
	if len(r.platform.Calls()) > before {
		fate += ", sent"
	}
	// The decision record says it too, unless the token did.
	if recorded, _ := decision["attributed_by"].(string); decision != nil && decision["verdict"] != "error" && recorded != "" != (way != "token" && way != "none" && way != "") ||
		decision != nil && decision["attributed_by"] != nil && decision["attributed_by"] != way {
		r.Errorf("%s %s: attributed by %s, and the record says %v", a.target, a.body, way, decision["attributed_by"])
	}
	return fate
}

// lastRecords returns the record of the only request since the last take, and that of its decision,
// nil if there is none.
func (r *harness) lastRecords() (access, decision map[string]any) {
	r.Helper()
	r.records.mu.Lock()
	lines := slices.Clone(r.records.lines)
	r.records.mu.Unlock()
	of := func(kind string) map[string]any {
		all := (&records{lines: slices.Clone(lines)}).take(r, kind)
		if len(all) > 1 || len(all) == 0 && kind == "request" {
			r.Fatalf("%d records of kind %s", len(all), kind)
		}
		if len(all) == 0 {
			return nil
		}
		return all[0]
	}
	return of("request"), of("decision")
}

// toLi is the body of a reply to a customer on a channel.
func toLi(channel string) string {
	return `{"touser":"wmLi","open_kfid":"` + channel + `","msgtype":"text","text":{"content":"hi"}}`
}

// A known token tells whose a call is, else what the call names does: its path, its Host, its
// channel or its code. Where they contradict each other the call is refused.
func TestWhoCalls(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	if err := r.gateway.Tokens.Learn(t.Context(), "second-of-lapsed", corpLapsed, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.gateway.Tokens.Learn(t.Context(), "unlisted", "wwUnlisted", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.Tokens.LearnChannels(t.Context(), corpLapsed, []string{"wkLearnt"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.Tokens.LearnChannels(t.Context(), "wwUnlisted", []string{"wkUnlisted"}); err != nil {
		t.Fatal(err)
	}
	codes := []window.LearntCode{
		{Text: "C-lapsed", Code: window.Code{Key: window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second)}},
		{Text: "C-unlisted", Code: window.Code{Key: window.Key{Corp: "wwUnlisted", Channel: "wkU", Customer: wmLi}, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second)}},
	}
	if err := r.gateway.Windows.LearnCodes(t.Context(), codes); err != nil {
		t.Fatal(err)
	}
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	for i, test := range []struct {
		name string
		ask  ask // {L} a token of the lapsed account, {A} of the active one, {U} an unknown one, new in each case
		want string
	}{
		{"a known token", ask{target: details + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token"},
		{"of the active account", ask{target: details + "?access_token={A}"}, "unread, wwActive by token, sent"},
		{"of a corp that is no account", ask{target: details + "?access_token=unlisted"}, "refuse unlisted_account, wwUnlisted by token"},
		{"an unknown token", ask{target: details + "?access_token={U}"}, "refuse unknown_token by none"},
		{"no query", ask{target: details}, "refuse missing_token by none"},
		{"no token", ask{target: details + "?token={L}"}, "refuse missing_token by none"},
		{"an empty token", ask{target: details + "?access_token="}, "refuse missing_token by none"},
		{"a token in the body", ask{target: "/cgi-bin/externalcontact/add_msg_template", body: `{"access_token":"{L}"}`}, "refuse missing_token by none"},
		{"one token twice", ask{target: details + "?access_token={L}&access_token={L}"}, "refuse rule_refuse, wwLapsed by token"},
		{"two tokens of one corp", ask{target: details + "?access_token={L}&access_token=second-of-lapsed"}, "refuse rule_refuse, wwLapsed by token"},
		{"tokens of two corps", ask{target: details + "?access_token={A}&access_token={L}"}, "refuse ambiguous_credential by none"},
		{"a known and an unknown token", ask{target: details + "?access_token={A}&access_token={U}"}, "refuse ambiguous_credential by none"},
		{"a token under an odd name", ask{target: details + "?Access_Token={L}"}, "refuse ambiguous_credential by none"},
		{"two tokens where they do not matter", ask{target: "/cgi-bin/media/get?access_token={A}&access_token={L}"}, "unread, sent"},
		{"two tokens of active accounts' calls", ask{target: anyones + "?access_token={A}&access_token={L}"}, "unread, sent"},
		{"no token where it does not matter", ask{target: anyones}, "unread, sent"},

		{"the path", ask{target: "/corp/wwLapsed" + details + "?access_token={U}"}, "refuse rule_refuse, wwLapsed by path"},
		{"the path of the active account", ask{target: "/corp/wwActive" + details + "?access_token={U}"}, "unread, wwActive by path, sent"},
		{"the path of no listed corp", ask{target: "/corp/wwNobody" + details + "?access_token={U}"}, "refuse unknown_token by none"},
		{"the path in another case", ask{target: "/corp/WWLAPSED" + details + "?access_token={U}"}, "refuse unknown_token by none"},
		{"the path without a token", ask{target: "/corp/wwLapsed" + details}, "refuse missing_token by none"},

		{"the Host", ask{host: "lapsed.example", target: details + "?access_token={U}"}, "refuse rule_refuse, wwLapsed by host"},
		{"the Host with a port", ask{host: "Lapsed.Example:8080", target: details + "?access_token={U}"}, "refuse rule_refuse, wwLapsed by host"},
		{"the Host of the active account", ask{host: "active.example", target: details + "?access_token={U}"}, "unread, wwActive by host, sent"},
		{"the Host of nobody", ask{host: "www.lapsed.example", target: details + "?access_token={U}"}, "refuse unknown_token by none"},
		{"path and Host agree", ask{host: "lapsed.example", target: "/corp/wwLapsed" + details + "?access_token={U}"}, "refuse rule_refuse, wwLapsed by path"},
		{"path and Host contradict", ask{host: "active.example", target: "/corp/wwLapsed" + details + "?access_token={U}"}, "refuse corp_contradiction by none, 1 contradicts call"},
		{"the token is right against the path", ask{target: "/corp/wwActive" + details + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token, 1 contradicts token"},
		{"and against both", ask{host: "active.example", target: "/corp/wwActive" + details + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token, 2 contradicts token"},
		{"a token against the Host", ask{host: "lapsed.example", target: details + "?access_token={A}"}, "unread, wwActive by token, 1 contradicts token, sent"},

		{"a listed channel", ask{target: sendMsg + "?access_token={U}", body: toLi(wkLapsed)}, "refuse window_closed, wwLapsed by channel"},
		{"a channel of the active account", ask{target: sendMsg + "?access_token={U}", body: toLi("wkActive")}, "unread, wwActive by channel, sent"},
		{"a channel that was learnt", ask{target: sendMsg + "?access_token={U}", body: toLi("wkLearnt")}, "refuse window_closed, wwLapsed by channel"},
		{"a learnt channel of no listed corp", ask{target: sendMsg + "?access_token={U}", body: toLi("wkUnlisted")}, "refuse unknown_token by none"},
		{"an unknown channel", ask{target: sendMsg + "?access_token={U}", body: toLi("wkNobody")}, "refuse unknown_token by none"},
		{"two channels", ask{target: sendMsg + "?access_token={U}", body: `{"touser":"wmLi","open_kfid":"wkLapsed","open_kfid":"wkActive","msgtype":"text"}`}, "refuse unknown_token by none"},
		{"a body that is no JSON", ask{target: sendMsg + "?access_token={U}", body: "touser=wmLi&open_kfid=wkLapsed"}, "refuse unknown_token by none"},
		{"a channel where none belongs", ask{target: "/cgi-bin/externalcontact/add_msg_template?access_token={U}", body: `{"open_kfid":"wkLapsed"}`}, "refuse unknown_token by none"},
		{"path and channel agree", ask{target: "/corp/wwLapsed" + sendMsg + "?access_token={U}", body: toLi(wkLapsed)}, "refuse window_closed, wwLapsed by path"},
		{"path and channel contradict", ask{target: "/corp/wwLapsed" + sendMsg + "?access_token={U}", body: toLi("wkActive")}, "refuse corp_contradiction by none, 1 contradicts call"},
		{"Host and channel contradict", ask{host: "active.example", target: sendMsg + "?access_token={U}", body: toLi(wkLapsed)}, "refuse corp_contradiction by none, 1 contradicts call"},
		{"path and an unknown channel", ask{target: "/corp/wwLapsed" + sendMsg + "?access_token={U}", body: toLi("wkNobody")}, "refuse window_closed, wwLapsed by path"},
		{"the token is right against the channel", ask{target: sendMsg + "?access_token={L}", body: toLi("wkActive")}, "refuse window_closed, wwLapsed by token, 1 contradicts token"},

		{"a code", ask{target: onEvent + "?access_token={U}", body: `{"code":"C-lapsed","msgtype":"text"}`}, "pass code_live, wwLapsed by code, sent"},
		{"a code of no listed corp", ask{target: onEvent + "?access_token={U}", body: `{"code":"C-unlisted","msgtype":"text"}`}, "refuse unknown_token by none"},
		{"an unknown code", ask{target: onEvent + "?access_token={U}", body: `{"code":"C-none","msgtype":"text"}`}, "refuse unknown_token by none"},
		{"a code against the path", ask{target: "/corp/wwActive" + onEvent + "?access_token={U}", body: `{"code":"C-lapsed","msgtype":"text"}`}, "refuse corp_contradiction by none, 1 contradicts call"},

		{"an ambiguous path", ask{target: "/cgi-bin/kf/..%2fexternalcontact/get?access_token={L}"}, "refuse ambiguous_path, wwLapsed by token"},
		{"an ambiguous path of an unknown caller", ask{target: "/cgi-bin/kf/..%2fexternalcontact/get?access_token={U}"}, "refuse unknown_token by none"},
		{"an ambiguous path of the active account", ask{target: "/cgi-bin/kf/..%2fexternalcontact/get?access_token={A}"}, "unread, wwActive by token, sent"},
		{"what always passes", ask{target: "/cgi-bin/user/get?access_token={U}"}, "unread, sent"},
		{"what every account may do", ask{target: anyones + "?access_token={U}"}, "unread, sent"},
		{"the same with a contradiction", ask{host: "active.example", target: "/corp/wwLapsed" + anyones + "?access_token={U}"}, "unread, sent"},
		{"the same by its path", ask{target: "/corp/wwLapsed" + anyones + "?access_token={U}"}, "unread, wwLapsed by path, sent"},
	} {
		for _, text := range []*string{&test.ask.target, &test.ask.body} {
			*text = strings.NewReplacer("{L}", lapsed, "{A}", active, "{U}", fmt.Sprint("unknown-", i)).Replace(*text)
		}
		if got := r.fate(test.ask); got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

// What unknown_token says, and how many accounts there are, decides what becomes of an unknown
// token.
func TestUnknownToken(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	only := func(c *config.Config) { toCome(c); c.Accounts = c.Accounts[1:] }
	for i, test := range []struct {
		setting string
		change  func(*config.Config)
		target  string
		body    string
		want    string
		errcode int
	}{
		{config.Auto, named, details + "?access_token=u", "", "refuse unknown_token by none", 42001},
		{config.Auto, only, details + "?access_token=u", "", "refuse rule_refuse, wwLapsed by only_account", 48002},
		{config.Auto, only, "/corp/wwOther" + details + "?access_token=u", "", "refuse rule_refuse, wwLapsed by only_account", 48002},
		{config.Auto, only, sendMsg + "?access_token=u", toLi("wkAny"), "refuse window_closed, wwLapsed by only_account", 95002},
		{config.Auto, only, details, "", "refuse missing_token by none", 41001},
		{config.Auto, only, anyones + "?access_token=u", "", "unread, wwLapsed by only_account, sent", 40014},

		{config.Reauthenticate, named, details + "?access_token=u", "", "refuse unknown_token by none", 42001},
		{config.Reauthenticate, named, "/corp/wwLapsed" + details + "?access_token=u", "", "refuse unknown_token by none", 42001},
		{config.Reauthenticate, named, anyones + "?access_token=u", "", "unread, sent", 40014},
		{config.Reauthenticate, only, details + "?access_token=u", "", "refuse unknown_token by none", 42001},
		{config.Reauthenticate, named, "/cgi-bin/user/get?access_token=u", "", "unread, sent", 40014},

		{config.Refuse, named, details + "?access_token=u", "", "refuse unknown_token by none", 48002},
		{config.Refuse, named, "/corp/wwLapsed" + details + "?access_token=u", "", "refuse unknown_token by none", 48002},
		{config.Refuse, named, sendMsg + "?access_token=u", toLi(wkLapsed), "refuse unknown_token by none", 48002},
		{config.Refuse, named, anyones + "?access_token=u", "", "unread, sent", 40014},
		{config.Refuse, only, details + "?access_token=u", "", "refuse unknown_token by none", 48002},
		{config.Refuse, named, details, "", "refuse missing_token by none", 41001},

		{config.Pass, named, details + "?access_token=u", "", "unread by none, sent", 40014},
		{config.Pass, named, sendMsg + "?access_token=u", toLi(wkLapsed), "unread by none, sent", 40014},
		{config.Pass, named, details, "", "refuse missing_token by none", 41001},
		{config.Pass, named, details + "?access_token=u&access_token=v", "", "refuse ambiguous_credential by none", 990400},

		{corpLapsed, named, details + "?access_token=u", "", "refuse rule_refuse, wwLapsed by setting", 48002},
		{corpLapsed, named, "/corp/wwActive" + details + "?access_token=u", "", "refuse rule_refuse, wwLapsed by setting", 48002},
		{corpLapsed, named, details + "?access_token=u&access_token=v", "", "refuse rule_refuse, wwLapsed by token", 48002},
		{corpLapsed, named, details, "", "refuse missing_token by none", 41001},
		{corpActive, named, details + "?access_token=u", "", "unread, wwActive by setting, sent", 40014},
		{corpActive, named, sendMsg + "?access_token=u", toLi(wkLapsed), "unread, wwActive by setting, sent", 40014},
	} {
		r.reconfigure(func(c *config.Config) { test.change(c); c.UnknownToken = test.setting })
		test.target = strings.NewReplacer("=u", fmt.Sprint("=u", i), "=v", fmt.Sprint("=v", i)).Replace(test.target)
		if got := r.fate(ask{target: test.target, body: test.body}); got != test.want {
			t.Errorf("%s, %s: %s\nwant %s", test.setting, test.target, got, test.want)
		}
		if a := r.ask(ask{target: test.target, body: test.body}); a.Errcode != test.errcode {
			t.Errorf("%s, %s: errcode %d, want %d: %s", test.setting, test.target, a.Errcode, test.errcode, a.body)
		}
	}
}

// A rule without capabilities stops no account from fetching tokens, nor calls that belong to no
// account. In shadow it refuses nothing at all; enforced, it refuses its own accounts alone.
func TestRuleForEveryInterface(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	if err := r.gateway.Tokens.Learn(t.Context(), "unlisted", "wwUnlisted", time.Hour); err != nil {
		t.Fatal(err)
	}
	standing := config.Match{Standings: []config.Word{word("lapsed")}}
	shadow := config.Rule{Name: word("try"), Match: standing, Action: word("refuse"), Mode: word(config.Shadow)}
	enforced := config.Rule{Name: word("stop"), Match: config.Match{Accounts: []config.Word{word(corpLapsed)}}, Action: word("refuse")}
	everyone := config.Rule{Name: word("all"), Action: word("refuse")}
	user, missing, ambiguous := "/cgi-bin/user/get", "missing_token by none", "ambiguous_credential by none"
	for i, test := range []struct {
		rule config.Rule
		ask  ask
		want string
	}{
		{shadow, ask{target: "/cgi-bin/gettoken?corpid=wwActive&corpsecret=secret"}, "unread, wwActive, sent"},
		{shadow, ask{target: "/cgi-bin/service/get_suite_token", body: "{}"}, "unread, sent"},
		{shadow, ask{target: "/cgi-bin/service/get_login_info?access_token=u", body: "{}"}, "unread, sent"},
		{shadow, ask{target: "/cgi-bin/service/made_up?suite_access_token=s"}, "unread, sent"},
		{shadow, ask{target: "/cgi-bin/license/create_order?provider_access_token=p", body: "{}"}, "unread, sent"},
		{shadow, ask{target: "/cgi-bin/webhook/send?key=k", body: "{}"}, "unread, sent"},
		{shadow, ask{target: "/cgi-bin/aibot/response?response_code=c", body: "{}"}, "unread, sent"},
		{shadow, ask{target: user + "?access_token=u"}, "pass rule_pass by none / refuse unknown_token, sent"},
		{shadow, ask{target: user}, "pass rule_pass by none / refuse missing_token, sent"},
		{shadow, ask{target: user + "?access_token={A}&access_token={L}"}, "pass rule_pass by none / refuse ambiguous_credential, sent"},
		{shadow, ask{target: user + "?access_token=unlisted"}, "pass rule_pass, wwUnlisted by token / refuse unlisted_account, sent"},
		{shadow, ask{target: "/corp/wwLapsed" + user + "?access_token=u", host: "active.example"}, "pass rule_pass by none / refuse corp_contradiction, 1 contradicts call, sent"},
		{shadow, ask{target: user + "?access_token={A}"}, "unread, wwActive by token, sent"},
		{shadow, ask{target: user + "?access_token={L}"}, "pass rule_pass, wwLapsed by token / refuse rule_refuse, sent"},
		{shadow, ask{target: details + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token"},
		{shadow, ask{target: details + "?access_token=u"}, "refuse unknown_token by none"},
		{shadow, ask{target: details + "?key=k"}, "refuse " + missing},
		{shadow, ask{target: details + "?suite_access_token=s"}, "refuse " + missing},
		{shadow, ask{target: details + "?access_token=unlisted"}, "refuse unlisted_account, wwUnlisted by token"},

		{enforced, ask{target: "/cgi-bin/gettoken?corpid=wwActive&corpsecret=secret"}, "unread, wwActive, sent"},
		{enforced, ask{target: "/cgi-bin/service/get_provider_token", body: "{}"}, "unread, sent"},
		{enforced, ask{target: "/cgi-bin/service/made_up?suite_access_token=s"}, "unread, sent"},
		{enforced, ask{target: "/cgi-bin/license/create_order?provider_access_token=p", body: "{}"}, "unread, sent"},
		{enforced, ask{target: "/cgi-bin/webhook/send?key=k", body: "{}"}, "unread, sent"},
		{enforced, ask{target: "/cgi-bin/wedoc/smartsheet/webhook?key=k", body: "{}"}, "unread, sent"},
		{enforced, ask{target: user + "?access_token={A}"}, "unread, wwActive by token, sent"},
		{enforced, ask{target: user + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token"},
		{enforced, ask{target: user + "?access_token={L}&key=k"}, "refuse rule_refuse, wwLapsed by token"},
		{enforced, ask{target: user + "?Access_Token={L}&key=k"}, "refuse " + ambiguous},
		{enforced, ask{target: user + "?access_token={A}&access_token={L}"}, "refuse " + ambiguous},
		{enforced, ask{target: user + "?access_token=u"}, "refuse unknown_token by none"},
		{enforced, ask{target: user}, "refuse " + missing},
		{enforced, ask{target: details + "?key=k"}, "refuse " + missing},

		{everyone, ask{target: "/cgi-bin/gettoken?corpid=wwActive&corpsecret=secret"}, "unread, wwActive, sent"},
		{everyone, ask{target: user + "?access_token={A}"}, "refuse rule_refuse, wwActive by token"},
	} {
		r.reconfigure(func(c *config.Config) { named(c); c.Policy.Rules = []config.Rule{test.rule} })
		test.ask.target = strings.NewReplacer("{L}", lapsed, "{A}", active, "=unlisted", "=unlisted", "=u", fmt.Sprint("=u", i)).Replace(test.ask.target)
		if got := r.fate(test.ask); got != test.want {
			t.Errorf("%s, %s: %s\nwant %s", test.rule.Name.Text, test.ask.target, got, test.want)
		}
	}
}

// While Redis is away what this gateway knows and what a call names go on to tell whose it is; a
// token that Redis may know is never taken for an unknown one.
func TestWhoCallsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	r.redis.away.Store(true)
	const unsure = "unsure store_unavailable by none"
	for i, test := range []struct {
		setting string
		ask     ask
		want    string
	}{
		{config.Auto, ask{target: details + "?access_token={L}"}, "refuse rule_refuse, wwLapsed by token"},
		{config.Auto, ask{target: details + "?access_token={A}"}, "unread, wwActive by token, sent"},
		{config.Auto, ask{target: details + "?access_token=u"}, unsure},
		{config.Auto, ask{target: details}, "refuse missing_token by none"},
		{config.Auto, ask{target: details + "?access_token={L}&access_token=u"}, unsure},
		{config.Auto, ask{target: details + "?access_token={L}&access_token={A}&access_token=u"}, "refuse ambiguous_credential by none"},
		{config.Auto, ask{target: details + "?access_token=u&access_token=v"}, unsure},
		{config.Auto, ask{target: "/corp/wwLapsed" + details + "?access_token=u"}, "refuse rule_refuse, wwLapsed by path"},
		{config.Auto, ask{host: "active.example", target: details + "?access_token=u"}, "unread, wwActive by host, sent"},
		{config.Auto, ask{target: sendMsg + "?access_token=u", body: toLi(wkLapsed)}, "unsure store_unavailable, wwLapsed by channel"},
		{config.Auto, ask{target: sendMsg + "?access_token=u", body: toLi("wkActive")}, "unread, wwActive by channel, sent"},
		{config.Auto, ask{target: sendMsg + "?access_token=u", body: toLi("wkElsewhere")}, unsure},
		{config.Auto, ask{target: onEvent + "?access_token=u", body: `{"code":"C","msgtype":"text"}`}, unsure},
		{config.Auto, ask{target: anyones + "?access_token=u"}, "unread, sent"},
		{config.Auto, ask{target: "/cgi-bin/user/get?access_token=u"}, "unread, sent"},
		{config.Refuse, ask{target: details + "?access_token=u"}, unsure},
		{config.Reauthenticate, ask{target: details + "?access_token=u"}, unsure},
		{config.Pass, ask{target: details + "?access_token=u"}, unsure},
		{config.Pass, ask{target: anyones + "?access_token=u"}, "unread, sent"},
		{corpActive, ask{target: details + "?access_token=u"}, unsure},
		{corpActive, ask{target: "/cgi-bin/externalcontact/add_msg_template?access_token=u", body: "{}"}, unsure},
		{corpActive, ask{target: sendMsg + "?access_token=u", body: toLi("wkActive")}, unsure},
		{corpActive, ask{target: details + "?access_token=u&access_token=v"}, unsure},
		{corpActive, ask{target: details + "?access_token={A}&access_token=u"}, unsure},
		{corpActive, ask{target: details + "?access_token={A}"}, "unread, wwActive by token, sent"},
		{corpActive, ask{target: anyones + "?access_token=u"}, "unread, sent"},
		{corpLapsed, ask{target: details + "?access_token=u"}, unsure},
	} {
		r.reconfigure(func(c *config.Config) { named(c); c.UnknownToken = test.setting })
		test.ask.target = strings.NewReplacer("{L}", lapsed, "{A}", active, "=u", fmt.Sprint("=u", i)).Replace(test.ask.target)
		if got := r.fate(test.ask); got != test.want {
			t.Errorf("%s, %s %s: %s\nwant %s", test.setting, test.ask.target, test.ask.body, got, test.want)
		}
	}
}

// The only account is named by unknown_token whether Redis answers or not: it is no other's token.
func TestOnlyAccountBySettingWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for corp, want := range map[string]string{corpActive: "unread, wwActive by setting, sent", corpLapsed: "refuse rule_refuse, wwLapsed by setting"} {
		r := newHarness(t, func(c *config.Config) {
			c.UnknownToken = corp
			c.Accounts = slices.DeleteFunc(c.Accounts, func(a config.Account) bool { return a.CorpID != corp })
		})
		r.redis.away.Store(true)
		if got := r.fate(ask{target: details + "?access_token=u"}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A token that is known to be unknown does not make its call refused while Redis cannot tell whose
// the channel or the code is that the call names.
func TestNamesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	toU := func(path, body string) ask { return ask{target: path + "?access_token=u", body: body} }
	if got, want := r.fate(toU(details, "")), "refuse unknown_token by none"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	r.clock.Advance(4 * time.Second)
	r.fate(toU(details, "")) // looks the token up once more, for a second
	r.redis.away.Store(true)
	for _, test := range []struct {
		name string
		ask  ask
		want string
	}{
		{"nothing", toU(details, ""), "refuse unknown_token by none"},
		{"a channel", toU(sendMsg, toLi("wkElsewhere")), "unsure store_unavailable by none"},
		{"a code", toU(onEvent, `{"code":"C","msgtype":"text"}`), "unsure store_unavailable by none"},
		{"a listed channel", toU(sendMsg, toLi("wkActive")), "unread, wwActive by channel, sent"},
	} {
		if got := r.fate(test.ask); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A call that contradicts itself names nobody: later ones with its token count.
func TestContradictionNamesNobody(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	for _, step := range []struct {
		ask  ask
		want string
	}{
		{ask{host: "active.example", target: "/corp/wwLapsed" + details + "?access_token=u"}, "refuse corp_contradiction by none, 1 contradicts call"},
		{ask{host: "active.example", target: details + "?access_token=u"}, "unread, wwActive by host, sent"},
		{ask{host: "active.example", target: details + "?access_token=u"}, "unread, wwActive by host, sent"},
	} {
		if got := r.fate(step.ask); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
}

// Another gateway's token is read from Redis, and known from then on without it.
func TestTokenOfAnotherGateway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	other := newTokens(r)
	if err := other.Learn(t.Context(), "shared", corpLapsed, time.Hour); err != nil {
		t.Fatal(err)
	}
	const want = "refuse rule_refuse, wwLapsed by token"
	for _, away := range []bool{false, true} {
		r.redis.away.Store(away)
		if got := r.fate(ask{target: details + "?access_token=shared"}); got != want {
			t.Errorf("Redis away %v: %s, want %s", away, got, want)
		}
	}
	r.clock.Advance(time.Hour + 10*time.Minute - time.Second) // an SDK may still send it
	if got := r.fate(ask{target: details + "?access_token=shared"}); got != want {
		t.Errorf("shortly after it expired: %s, want %s", got, want)
	}
	r.clock.Advance(time.Second)
	if got := r.fate(ask{target: details + "?access_token=shared"}); got != "unsure store_unavailable by none" {
		t.Errorf("long after it expired: %s", got)
	}
}

// The gateway keeps /corp/ and /replygate/ for itself, however they are encoded, and nothing below
// them reaches WeCom but /corp/<corp_id>/cgi-bin/.
func TestOwnPaths(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	token := r.token(corpActive)
	for _, test := range []struct {
		path string
		sent string // the path that WeCom gets, "" if the gateway answers
	}{
		{"/replygate/", ""},
		{"/replygate", ""},
		{"/replygate/healthz/", ""},
		{"/replygate/health", ""},
		{"/replygate/%68ealthz", ""},
		{"/corp/wwActive/replygate/healthz", ""},
		{"/replygate/preflight/", ""},
		{"/%72eplygate/preflight", ""},
		{"/cgi-bin/../replygate/preflight", ""},
		{"/corp/", ""},
		{"/corp", ""},
		{"/corp/wwActive", ""},
		{"/corp/wwActive/", ""},
		{"/corp/wwActive/replygate/preflight", ""},
		{"/corp/wwActive/cgi-bin", ""},
		{"/corp/wwActive/corp/wwActive/cgi-bin/user/get", ""},
		{"/corp//cgi-bin/user/get", ""},
		{"/corp/ww%41ctive/cgi-bin/user/get", ""},
		{"/corp/" + strings.Repeat("w", 65) + "/cgi-bin/user/get", ""},
		{"/%63orp/wwActive/cgi-bin/user/get", ""},
		{"/corp/wwActive/cgi-bin/user/get", "/cgi-bin/user/get"},
		{"/corp/wwNobody/cgi-bin/user/get", "/cgi-bin/user/get"},
		{"/corp/" + strings.Repeat("w", 64) + "/cgi-bin/user/get", "/cgi-bin/user/get"},
		{"/cgi-bin/corp/get_openapi", "/cgi-bin/corp/get_openapi"},
		{"/corporation/x", "/corporation/x"},
		{"/replygates/x", "/replygates/x"},
		{"/", "/"},
	} {
		r.platform.Forget()
		r.records.take(t, "")
		a := r.ask(ask{target: test.path + "?access_token=" + token})
		var sent string
		if calls := r.platform.Calls(); len(calls) > 0 {
			sent = calls[0].Path
		}
		if sent != test.sent {
			t.Errorf("%s: WeCom gets %q, want %q", test.path, sent, test.sent)
		}
		access, decision := r.lastRecords()
		if test.sent != "" {
			if decision != nil {
				t.Errorf("%s: it is judged: %v", test.path, decision)
			}
			continue
		}
		if a.status != 404 || a.Errcode != 990404 || a.Replygate.Reason != "unknown_path" || !strings.Contains(a.Errmsg, "call /corp/<corp_id>/cgi-bin/..., /replygate/preflight or /replygate/healthz; nothing was sent; id="+a.Replygate.DecisionID) {
			t.Errorf("%s: HTTP %d %s", test.path, a.status, a.body)
		}
		if access["error_kind"] != "unknown_path" || decision["verdict"] != "error" || decision["forwarded"] != false || decision["id"] != a.Replygate.DecisionID {
			t.Errorf("%s: records %v, %v", test.path, access, decision)
		}
	}
}

// What names the corp does not go to WeCom; everything after it does, unchanged.
func TestPathWithoutItsCorp(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	for _, test := range []struct{ target, path, query string }{
		{"/corp/wwActive/cgi-bin/user/get?access_token=u&userid=a%20b", "/cgi-bin/user/get", "access_token=u&userid=a%20b"},
		{"/corp/wwActive/cgi-bin/user/get", "/cgi-bin/user/get", ""},
		{"/corp/wwActive/cgi-bin//user/get?a=/corp/wwLapsed", "/cgi-bin//user/get", "a=/corp/wwLapsed"},
	} {
		r.platform.Forget()
		r.ask(ask{target: test.target})
		calls := r.platform.Calls()
		if len(calls) != 1 || calls[0].Path != test.path || calls[0].Query != test.query {
			t.Errorf("%s: WeCom gets %+v", test.target, calls)
		}
	}
}

// Calls that only the single account attributes are counted for a day: with a second account they
// would be refused.
func TestAttributedAlone(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { named(c); c.Accounts = c.Accounts[1:] })
	known := r.token(corpLapsed)
	r.clock.Set(r.clock.Now().Truncate(time.Hour))
	for _, test := range []struct {
		name string
		ask  ask
		n    int64 // so many more are counted
	}{
		{"a judged call", ask{target: details + "?access_token=u"}, 1},
		{"a reply on no listed channel", ask{target: sendMsg + "?access_token=u", body: toLi("wkOther")}, 0}, // its channel is not looked at
		{"another kf call", ask{target: anyones + "?access_token=u"}, 0},                                     // likewise
		{"a known token", ask{target: details + "?access_token=" + known}, 0},
		{"the path", ask{target: "/corp/wwLapsed" + details + "?access_token=u"}, 0},
		{"another corp's path", ask{target: "/corp/wwOther" + details + "?access_token=u"}, 1},
		{"the Host", ask{host: "lapsed.example", target: details + "?access_token=u"}, 0},
		{"what always passes", ask{target: "/cgi-bin/user/get?access_token=u"}, 0},
		{"no token", ask{target: details}, 0},
	} {
		before := r.gateway.AttributedAlone()
		r.ask(test.ask)
		if n := r.gateway.AttributedAlone() - before; n != test.n {
			t.Errorf("%s: %d are counted, want %d", test.name, n, test.n)
		}
	}
	r.reconfigure(func(c *config.Config) { c.Accounts[0].Channels = nil })
	for _, target := range []string{sendMsg, anyones} {
		before := r.gateway.AttributedAlone()
		if r.ask(ask{target: target + "?access_token=u", body: toLi("wkOther")}); r.gateway.AttributedAlone() != before+1 {
			t.Errorf("without listed channels: %s is not counted", target)
		}
	}
	counted := r.gateway.AttributedAlone()
	r.clock.Advance(24*time.Hour + 59*time.Minute)
	if n := r.gateway.AttributedAlone(); n != counted {
		t.Errorf("after a day, to the hour: %d, want %d", n, counted)
	}
	r.ask(ask{target: details + "?access_token=u"})
	r.clock.Advance(time.Minute)
	if n := r.gateway.AttributedAlone(); n != 1 {
		t.Errorf("once a day is over: %d, want the last one", n)
	}
	r.clock.Advance(30 * 24 * time.Hour)
	if n := r.gateway.AttributedAlone(); n != 0 {
		t.Errorf("after a month: %d", n)
	}
}

// A token whose calls named several accounts belongs to none until it must have expired.
func TestTokenThatNamesSeveral(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	to := func(corp string) ask { return ask{target: "/corp/" + corp + details + "?access_token=u"} }
	const first, several = "refuse rule_refuse, wwLapsed by path", "refuse unknown_token by none, 1 contradicts earlier"
	if got := r.fate(to(corpLapsed)); got != first {
		t.Fatalf("%s, want %s", got, first)
	}
	for _, step := range []struct {
		name string
		ask  ask
		want string
	}{
		{"another account", to(corpActive), several},
		{"the first one again", to(corpLapsed), several},
		{"a Host", ask{host: "lapsed.example", target: details + "?access_token=u"}, several},
		{"a channel", ask{target: sendMsg + "?access_token=u", body: toLi(wkLapsed)}, several},
		{"neither", ask{target: details + "?access_token=u"}, several},
		{"another token", ask{target: "/corp/wwActive" + details + "?access_token=v"}, "unread, wwActive by path, sent"},
	} {
		if got := r.fate(step.ask); got != step.want {
			t.Errorf("%s: %s\nwant %s", step.name, got, step.want)
		}
	}
	r.clock.Advance(time.Minute)
	a := r.ask(to(corpLapsed))
	if a.Errcode != 48002 || !strings.Contains(a.Errmsg, "calls with this access_token have named several accounts, so it counts as nobody's until it expires; nothing was sent") {
		t.Errorf("once its bot had its chance to fetch another: %s", a.body)
	}
	if n := r.log.FilterMessageSnippet("calls with one unknown token have named several accounts").Len(); n != 2 {
		t.Errorf("%d lines of the log, want one a minute", n)
	}
	r.clock.Advance(2*time.Hour - time.Minute)
	if got := r.fate(to(corpLapsed)); got != first {
		t.Errorf("after its life: %s, want %s", got, first)
	}
}

// reauthenticated tells whether a call is answered as with an expired token.
func (r *harness) reauthenticated(a ask) bool {
	r.Helper()
	got := r.ask(a)
	switch {
	case got.Errcode == 42001 && strings.Contains(got.Errmsg, "fetch a new one through the gateway"):
		return true
	case got.Errcode != 48002:
		r.Errorf("%s: %s", a.target, got.body)
	}
	return false
}

// A bot with an unknown token is told to fetch another one, but no SDK that ignores it loops.
func TestReauthentication(t *testing.T) {
	t.Parallel()
	const call = details + "?access_token=u&external_userid=wmLi"
	mass := func(body string) ask {
		return ask{target: "/cgi-bin/externalcontact/add_msg_template?access_token=u", body: body}
	}
	long := strings.Repeat("x", 4<<10)
	for _, setting := range []string{config.Auto, config.Reauthenticate} {
		r := newHarness(t, func(c *config.Config) { named(c); c.UnknownToken = setting })
		for i, step := range []struct {
			name  string
			later time.Duration
			ask   ask
			want  bool
		}{
			{"the first", 0, ask{target: call}, true},
			{"the second", 0, ask{target: call}, true},
			{"the third", 0, ask{target: call}, false},
			{"with the token last", 0, ask{target: details + "?external_userid=wmLi&access_token=u"}, false},
			{"of another customer", 0, ask{target: details + "?access_token=u&external_userid=wmZhao"}, true},
			{"with another method", 0, ask{target: call, body: "{}"}, true},
			{"of another path", 0, mass(`{}`), true},
			{"of another path, again", 0, mass(`{}`), true},
			{"of another path, once more", 0, mass(`{}`), false},
			{"with another length", 0, mass(`{"a":1}`), true},
			{"within three seconds", 3*time.Second - time.Millisecond, ask{target: call + "&x=1"}, true},
			{"after three seconds", time.Millisecond, ask{target: call + "&x=2"}, false},
			{"with a fresh token", 0, ask{target: strings.Replace(call, "=u", "=v", 1)}, true},
			{"within a minute", 56 * time.Second, ask{target: call + "&x=3"}, false},
			{"after a minute", time.Second, ask{target: call + "&x=4"}, setting == config.Reauthenticate},
		} {
			r.clock.Advance(step.later)
			if got := r.reauthenticated(step.ask); got != step.want {
				t.Errorf("%s, %d, %s: %v", setting, i, step.name, got)
			}
		}
		// Bodies are told apart by their beginning, where they were read.
		read := func(token, content string) ask {
			return ask{target: sendMsg + "?access_token=" + token, body: `{"touser":"wmLi","open_kfid":"wkNobody","text":{"content":"` + content + `"}}`}
		}
		if setting == config.Auto {
			for i, step := range []struct {
				content string
				want    bool
			}{{"a", true}, {"b", true}, {"a", true}, {"a", false}, {"b", true}, {long + "a", true}, {long + "b", true}, {long + "c", false}} {
				if got := r.reauthenticated(read("w", step.content)); got != step.want {
					t.Errorf("body %d: %v", i, got)
				}
			}
		}
	}
}

// A contradiction is counted each time and logged once a minute, each kind by itself.
func TestContradictionsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	lapsed := r.token(corpLapsed)
	ofToken := ask{target: "/corp/wwActive" + details + "?access_token=" + lapsed}
	ofCall := ask{host: "active.example", target: "/corp/wwLapsed" + details + "?access_token=u"}
	for i, step := range []struct {
		later  time.Duration
		ask    ask
		logged int
	}{
		{0, ofToken, 1},
		{0, ofToken, 1},
		{0, ofCall, 2},
		{time.Minute - time.Millisecond, ofToken, 2},
		{time.Millisecond, ofToken, 3},
		{0, ofCall, 4},
		{-time.Hour, ofCall, 5}, // the clock was set back
	} {
		r.clock.Advance(step.later)
		r.ask(step.ask)
		if n := r.log.FilterFieldKey("contradiction").Len(); n != step.logged {
			t.Errorf("step %d: %d lines, want %d", i, n, step.logged)
		}
	}
	for _, line := range r.log.FilterFieldKey("contradiction").All() {
		fields := line.ContextMap()
		if line.Level != zapcore.ErrorLevel || fields["corp_id"] != corpLapsed || fmt.Sprint(fields["other"]) != "[wwActive]" {
			t.Errorf("%s: %v", line.Message, fields)
		}
	}
	if n := r.samples()[`replygate_corp_contradictions_total{kind="token"}`]; n != 4 {
		t.Errorf("%v contradictions of a token are counted, want all 4", n)
	}
}

// A channel that is listed for one account and was seen with another's token belongs to neither.
func TestListedChannelOfAnother(t *testing.T) {
	t.Parallel()
	r := newHarness(t, named)
	to := ask{target: sendMsg + "?access_token=u", body: toLi("wkActive")}
	if _, err := r.gateway.Tokens.LearnChannels(t.Context(), corpLapsed, []string{"wkActive"}); err != nil {
		t.Fatal(err)
	}
	if got, want := r.fate(to), "refuse unknown_token by none, 1 contradicts channel"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := r.gateway.Tokens.LearnChannels(t.Context(), corpLapsed, []string{wkLapsed}); err != nil {
		t.Fatal(err)
	}
	to.body = toLi(wkLapsed)
	if got, want := r.fate(to), "refuse window_closed, wwLapsed by channel"; got != want {
		t.Errorf("one that agrees: %s, want %s", got, want)
	}
}

// A client is told by its address and headers, not by what it claims to forward.
func TestClientOfACall(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		named(c)
		c.Clients = []config.Client{
			{Name: "office", Networks: []string{"10.0.0.0/8"}},
			{Name: "desk", Header: "User-Agent", Contains: "Desk/2"},
			{Name: "local", Networks: []string{"127.0.0.0/8"}},
		}
		c.Policy.Rules = []config.Rule{{
			Name: config.Word{Text: "not-from-desks"}, Action: config.Word{Text: "refuse"},
			Match: config.Match{Clients: []config.Word{{Text: "desk"}, {Text: "office"}}, Capabilities: []config.Word{{Text: "customer_details"}}},
		}}
	})
	token := r.token(corpActive)
	for _, test := range []struct{ name, head, want string }{
		{"its address", "", "unread, wwActive by token, sent"},
		{"its agent", "User-Agent: Desk/2.1 (bot)\r\n", "refuse rule_refuse, wwActive by token"},
		{"another agent", "User-Agent: Desk/3\r\n", "unread, wwActive by token, sent"},
		{"a claimed address", "X-Forwarded-For: 10.1.2.3\r\nX-Real-IP: 10.1.2.3\r\nForwarded: for=10.1.2.3\r\n", "unread, wwActive by token, sent"},
	} {
		if got := r.fate(ask{target: details + "?access_token=" + token, head: test.head}); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if _, d := r.lastRecords(); d != nil && (d["client"] != "desk" || d["user_agent"] != "Desk/2.1 (bot)" || d["remote"] != "127.0.0.1" || d["rule"] != "not-from-desks") {
			t.Errorf("%s: record %v", test.name, d)
		}
	}
}

// newTokens is the token store of another gateway on the same Redis.
func newTokens(r *harness) *account.Tokens {
	return account.NewTokens(r.rdb, "rg:", time.Second, r.clock.Now)
}

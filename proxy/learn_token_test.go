package proxy_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/window"
)

// replies has the simulated WeCom answer a path with these bytes. header has lines "Name: value".
func (r *harness) replies(path string, status int, body string, header ...string) {
	r.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// owner returns whom the gateway knows a token to belong to, "" if nobody.
func (r *harness) owner(token string) string {
	r.Helper()
	corp, o, _ := r.gateway.Tokens.Owner(r.Context(), token)
	if corp != "" != (o == account.Known) {
		r.Errorf("%s belongs to %q, state %d", token, corp, o)
	}
	return corp
}

// unmarshal reads an answer of WeCom.
func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// zipped compresses a text.
func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// gaps returns the names of the gaps on record, sorted: a corp's or a channel's id, with ":any" for
// the newest of a corp and its channels, ":items" for unreadable items.
func (r *harness) gaps() string {
	r.Helper()
	keys, err := r.rdb.Keys(r.Context(), "rg:gap:*").Result()
	if err != nil {
		r.Fatal(err)
	}
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], "rg:gap:")
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// Every call by which WeCom hands out a corp's token teaches whose it is, and no other: where the
// corp of the call can be read in two ways, or WeCom did not hand the token out, nothing is learnt.
func TestWhoseTokensAreLearnt(t *testing.T) {
	t.Parallel()
	const (
		suite   = "/cgi-bin/service/get_corp_token"
		auth    = "/cgi-bin/service/get_permanent_code"
		authV2  = "/cgi-bin/service/v2/get_permanent_code"
		signUp  = "/cgi-bin/service/get_register_info"
		down    = "/cgi-bin/corpgroup/corp/gettoken"
		granted = `{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":7200}`
		member  = `{"auth_corpid":"wwLapsed","permanent_code":"p"}`
	)
	r := newHarness(t, nil)
	for i, test := range []struct {
		name   string
		call   ask
		method string // "" for that of ask
		status int
		answer string // T is replaced by the token
		want   string
	}{
		{"gettoken", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, granted, corpLapsed},
		{"gettoken in another order", ask{target: "/cgi-bin/gettoken?corpsecret=s&corpid=wwLapsed"}, "", 200, granted, corpLapsed},
		{"gettoken of no listed corp", ask{target: "/cgi-bin/gettoken?corpid=wwNew&corpsecret=s"}, "", 200, granted, "wwNew"},
		{"gettoken without errcode", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, `{"access_token":"T","expires_in":7200}`, corpLapsed},
		{"gettoken under its account's path", ask{target: "/corp/wwLapsed/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, granted, corpLapsed},
		{"gettoken without a corp", ask{target: "/cgi-bin/gettoken?corpsecret=s"}, "", 200, granted, ""},
		{"gettoken of two corps", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpid=wwActive&corpsecret=s"}, "", 200, granted, ""},
		{"gettoken with another spelling", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&CorpId=wwActive&corpsecret=s"}, "", 200, granted, ""},
		{"gettoken with a body", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s", body: "corpid=wwActive"}, "", 200, granted, ""},
		{"gettoken of an odd corp", ask{target: "/cgi-bin/gettoken?corpid=ww%20Lapsed&corpsecret=s"}, "", 200, granted, ""},
		{"gettoken by PUT", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "PUT", 200, granted, ""},
		{"gettoken, an ambiguous path", ask{target: "/cgi-bin/get%74oken?corpid=wwLapsed&corpsecret=s"}, "", 200, granted, ""},
		{"another HTTP status", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 203, granted, ""},
		{"an errcode", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, strings.Replace(granted, ":0", ":40001", 1), ""},
		{"an errcode that is a text", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, strings.Replace(granted, ":0", `:"ok"`, 1), ""},
		{"no life", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, strings.Replace(granted, ":7200", ":0", 1), ""},
		{"a life in the past", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, strings.Replace(granted, ":7200", ":-1", 1), ""},
		{"cut JSON", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, granted[:len(granted)-1], ""},
		{"an empty answer", ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}, "", 200, "", ""},

		{"a provider's", ask{target: suite + "?suite_access_token=S", body: member}, "", 200, granted, corpLapsed},
		{"a provider's as a form", ask{target: suite, body: "auth_corpid=wwLapsed&permanent_code=p"}, "", 200, granted, ""},
		{"a provider's of two corps", ask{target: suite, body: `{"auth_corpid":"wwLapsed","auth_corpid":"wwActive"}`}, "", 200, granted, ""},
		{"a provider's, also in the query", ask{target: suite + "?auth_corpid=wwActive", body: member}, "", 200, granted, ""},
		{"a provider's, escaped", ask{target: suite, body: `{"auth\u005fcorpid":"wwLapsed"}`}, "", 200, granted, ""},
		{"a provider's, compressed", ask{target: suite, body: member, head: "Content-Encoding: gzip\r\n"}, "", 200, granted, ""},
		{"a provider's, long", ask{target: suite, body: member + strings.Repeat(" ", 20<<10)}, "", 200, granted, corpLapsed},
		{"a provider's, longer than is kept", ask{target: suite, body: member + strings.Repeat(" ", 70<<10)}, "", 200, granted, ""},
		{"a downstream corp's", ask{target: down + "?access_token=u", body: `{"corpid":"wwLapsed","agentid":1}`}, "", 200, granted, corpLapsed},
		{"a downstream corp's without it", ask{target: down + "?access_token=u", body: `{"agentid":1}`}, "", 200, granted, ""},
		{"a first authorisation", ask{target: auth, body: `{"auth_code":"a"}`}, "", 200, `{"access_token":"T","expires_in":7200,"permanent_code":"p","auth_corp_info":{"corpid":"wwLapsed"}}`, corpLapsed},
		{"a first authorisation without the corp", ask{target: auth, body: `{"auth_code":"a"}`}, "", 200, `{"access_token":"T","expires_in":7200,"corpid":"wwLapsed"}`, ""},
		{"the same in its second version", ask{target: authV2, body: `{"auth_code":"a"}`}, "", 200, `{"errcode":0,"access_token":"T","expires_in":7200,"auth_corp_info":{"corpid":"wwLapsed"}}`, corpLapsed},
		{"a registration", ask{target: signUp, body: `{"register_code":"r"}`}, "", 200, `{"corpid":"wwLapsed","contact_sync":{"access_token":"T","expires_in":3600}}`, corpLapsed},
		{"a registration's other token", ask{target: signUp, body: `{"register_code":"r"}`}, "", 200, `{"corpid":"wwLapsed","access_token":"T","expires_in":3600}`, ""},
		{"a token of no corp", ask{target: "/cgi-bin/service/get_suite_token?corpid=wwLapsed", body: member}, "", 200, granted, ""},
		{"another call's", ask{target: "/cgi-bin/user/get?corpid=wwLapsed"}, "", 200, granted, ""},
	} {
		token := fmt.Sprint("token-", i)
		path, _, _ := strings.Cut(strings.TrimPrefix(test.call.target, "/corp/wwLapsed"), "?")
		answer := strings.ReplaceAll(test.answer, `"T"`, `"`+token+`"`)
		r.replies(path, test.status, answer)
		r.records.take(t, "")
		got := r.askBy(test.method, test.call)
		if got.status != test.status || got.body != answer {
			t.Errorf("%s: the bot reads HTTP %d %s", test.name, got.status, got.body)
		}
		if corp := r.owner(token); corp != test.want {
			t.Errorf("%s: the token belongs to %q, want %q", test.name, corp, test.want)
		}
		if access, _ := r.lastRecords(); access["corp_id"] != nil != (test.want != "") || test.want != "" && access["corp_id"] != test.want {
			t.Errorf("%s: the record names %v, want %q", test.name, access["corp_id"], test.want)
		}
	}
}

// A token that was learnt is known for its life and ten minutes, at most for a day.
func TestLifeOfALearntToken(t *testing.T) {
	t.Parallel()
	for expires, life := range map[int]time.Duration{60: time.Minute, 7200: 2 * time.Hour, 1 << 30: 24 * time.Hour} {
		r := newHarness(t, nil)
		r.replies("/cgi-bin/gettoken", 200, fmt.Sprintf(`{"errcode":0,"access_token":"T","expires_in":%d}`, expires))
		r.ask(ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"})
		r.redis.away.Store(true) // whose clock is not the test's
		r.clock.Advance(life + 10*time.Minute - time.Second)
		if corp := r.owner("T"); corp != corpLapsed {
			t.Errorf("of %d s: shortly after it expired it belongs to %q", expires, corp)
		}
		r.clock.Advance(time.Second)
		if corp := r.owner("T"); corp != "" {
			t.Errorf("of %d s: long after it expired it belongs to %q", expires, corp)
		}
	}
}

// A bot that is told to fetch its token through the gateway, and does, is known from then on.
func TestBotBecomesKnown(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	r.platform.Issue(corpLapsed) // by another process
	if a := r.post(sendMsg, "unknown", toLi(wkLapsed)); a.Errcode != 42001 {
		t.Fatalf("an unknown token: %s", a.body)
	}
	var fetched struct {
		Token string `json:"access_token"`
	}
	a := r.ask(ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=secret"})
	unmarshal(t, a.body, &fetched)
	if got, want := r.fate(ask{target: sendMsg + "?access_token=" + fetched.Token, body: toLi(wkLapsed)}), "refuse window_closed, wwLapsed by token"; got != want {
		t.Errorf("with the fetched one: %s, want %s", got, want)
	}
	if corp, _, _ := newTokens(r).Owner(t.Context(), fetched.Token); corp != corpLapsed {
		t.Errorf("another gateway knows it as %q's", corp)
	}
}

// While Redis is away a token is learnt by this gateway alone, which says so and shares it later.
func TestTokenIsLearntWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	r.redis.away.Store(true)
	r.replies("/cgi-bin/gettoken", 200, `{"errcode":0,"access_token":"T","expires_in":7200}`)
	if a := r.ask(ask{target: "/cgi-bin/gettoken?corpid=wwLapsed&corpsecret=s"}); a.Errcode != 0 || a.status != 200 {
		t.Errorf("the bot reads %d %s", a.status, a.body)
	}
	if corp := r.owner("T"); corp != corpLapsed {
		t.Errorf("it belongs to %q", corp)
	}
	lines := r.log.FilterMessage("a token is known to this gateway alone until redis takes it").All()
	if len(lines) != 1 || lines[0].ContextMap()["corp_id"] != corpLapsed || !strings.Contains(fmt.Sprint(lines[0].ContextMap()["error"]), errAway.Error()) {
		t.Errorf("the log has %v", lines)
	}
	r.redis.away.Store(false)
	if corp, _, _ := newTokens(r).Owner(t.Context(), "T"); corp != "" {
		t.Errorf("Redis has it as %q's", corp)
	}
}

// transition is the body of a call that changes a session's state.
func transition(channel, customer string, state int) string {
	return fmt.Sprintf(`{"open_kfid":%q,"external_userid":%q,"service_state":%d}`, channel, customer, state)
}

// The codes that a change of a session's state gives out are known with their customer and
// deadline; one whose customer nobody can tell marks a gap.
func TestCodesOfTransitions(t *testing.T) {
	t.Parallel()
	const trans = "/cgi-bin/kf/service_state/trans"
	const coded = `{"errcode":0,"errmsg":"ok","msg_code":"CODE"}`
	for _, test := range []struct {
		name, token, body, answer string
		status                    int
		kind                      string        // of the code, "" if it is not learnt
		life                      time.Duration // likewise
		gaps                      string
	}{
		{"into the queue", "{L}", transition(wkLapsed, wmLi, 2), coded, 200, "to_queue", 48 * time.Hour, ""},
		{"to a servicer", "{L}", transition(wkLapsed, wmLi, 3), coded, 200, "to_servicer", 48 * time.Hour, ""},
		{"to its end", "{L}", transition(wkLapsed, wmLi, 4), coded, 200, "to_end", 20 * time.Second, ""},
		{"to the assistant, with a code", "{L}", transition(wkLapsed, wmLi, 1), coded, 200, "", 0, "wwLapsed:any"},
		{"no code", "{L}", transition(wkLapsed, wmLi, 1), `{"errcode":0,"errmsg":"ok"}`, 200, "", 0, ""},
		{"an empty code", "{L}", transition(wkLapsed, wmLi, 2), `{"errcode":0,"msg_code":""}`, 200, "", 0, ""},
		{"a code that is no text", "{L}", transition(wkLapsed, wmLi, 2), `{"errcode":0,"msg_code":7}`, 200, "", 0, "wwLapsed:any"},
		{"an errcode", "{L}", transition(wkLapsed, wmLi, 2), strings.Replace(coded, ":0", ":95018", 1), 200, "", 0, ""},
		{"another HTTP status", "{L}", transition(wkLapsed, wmLi, 2), coded, 500, "", 0, ""},
		{"cut JSON", "{L}", transition(wkLapsed, wmLi, 2), coded[:20], 200, "", 0, "wwLapsed:any"},
		{"no customer", "{L}", transition(wkLapsed, "", 2), coded, 200, "", 0, "wwLapsed:any"},
		{"two customers", "{L}", `{"external_userid":"wmA",` + transition(wkLapsed, wmLi, 2)[1:], coded, 200, "", 0, "wwLapsed:any"},
		{"an unknown token", "u", transition("wkNew", wmLi, 2), coded, 200, "", 0, "wwActive:any wwLapsed:any"},
		{"an unknown token, and a listed channel", "u", transition(wkLapsed, wmLi, 2), coded, 200, "to_queue", 48 * time.Hour, ""},
		{"a compressed answer", "{L}", transition(wkLapsed, wmLi, 2), zipped(coded), 200, "to_queue", 48 * time.Hour, ""},
		{"an ambiguous path", "{L}", transition(wkLapsed, wmLi, 2), coded, 200, "", 0, "wwLapsed:any"},
		{"an ambiguous path, no code", "{L}", transition(wkLapsed, wmLi, 1), `{"errcode":0,"errmsg":"ok"}`, 200, "", 0, ""},
	} {
		r := newHarness(t, named)
		path := trans
		if strings.HasPrefix(test.name, "an ambiguous path") {
			path = strings.ReplaceAll(trans, "_", "%5f")
		}
		header := []string{"X-A: b"}
		if !strings.HasPrefix(test.answer, "{") {
			header = []string{"Content-Encoding: gzip"}
		}
		r.replies(path, test.status, test.answer, header...)
		a := r.post(path, strings.ReplaceAll(test.token, "{L}", r.token(corpLapsed)), test.body)
		if a.body != test.answer {
			t.Errorf("%s: the bot reads %s", test.name, a.body)
		}
		code := r.gateway.Windows.PeekCode(t.Context(), corpLapsed, "CODE")
		want := window.Code{Key: window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, Kind: test.kind}
		switch {
		case test.kind == "":
			if code.State == window.CodeTaken {
				t.Errorf("%s: the code is learnt: %+v", test.name, code)
			}
		case code.State != window.CodeTaken || code.Code.Key != want.Key || code.Code.Kind != want.Kind || !code.Code.Deadline.Equal(r.clock.Now().Add(test.life)):
			t.Errorf("%s: %v %+v, want %+v for %v", test.name, code.State, code.Code, want, test.life)
		}
		if gaps := r.gaps(); gaps != test.gaps {
			t.Errorf("%s: gaps %q, want %q", test.name, gaps, test.gaps)
		}
	}
}

// A code that Redis does not take marks a gap, so that its first use is not refused as unknown.
func TestCodeWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { named(c); c.Policy.ColdStart = config.Refuse })
	token := r.token(corpLapsed)
	r.platform.SetState(corpLapsed, wkLapsed, wmLi, 2)
	r.redis.away.Store(true)
	a := r.post("/cgi-bin/kf/service_state/trans", token, transition(wkLapsed, wmLi, 3))
	var got struct {
		Code string `json:"msg_code"`
	}
	if unmarshal(t, a.body, &got); got.Code == "" {
		t.Fatalf("no code: %s", a.body)
	}
	r.redis.away.Store(false)
	if got, want := r.fate(ask{target: onEvent + "?access_token=" + token, body: `{"code":"` + got.Code + `","msgtype":"text"}`}), "unsure history_incomplete, wwLapsed by token"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if gaps := r.gaps(); gaps != "wwLapsed:any" {
		t.Errorf("gaps %q", gaps)
	}
	if n := r.log.FilterMessage("the gap is noted in this gateway alone: redis did not take it").Len(); n != 1 {
		t.Errorf("%d lines say that the gap is not in Redis", n)
	}
}

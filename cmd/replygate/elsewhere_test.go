package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// pastBot is a client that fetches its tokens past the gateway, and calls it by a base URL and a
// Host.
type pastBot struct {
	*rig
	corp   string
	base   string // "" or /corp/<corp_id>
	host   string
	tokens int // that it fetched
	token  string
}

// fetch gets a token as such a bot does: from WeCom itself.
func (b *pastBot) fetch() {
	b.tokens++
	b.token = b.platform.Issue(b.corp)
}

func (b *pastBot) send(method, path, body string, headers ...string) answer {
	b.Helper()
	text := request(method, b.base+path+"?access_token="+b.token, body, headers...)
	if b.host != "" {
		text = strings.Replace(text, "Host: gateway", "Host: "+b.host, 1)
	}
	return raw(b, b.gateway.api.Addr().String(), text)
}

// calls is a call of an SDK that fetches a new token and repeats without a bound, as wechatpy does.
func (b *pastBot) calls(method, path, body string) answer {
	b.Helper()
	for range 500 {
		a := b.send(method, path, body)
		switch a.Errcode {
		case 40001, 40014, 42001:
			b.fetch()
			continue
		}
		return a
	}
	b.Fatal("the SDK never comes to an end")
	panic("unreachable")
}

// wants makes a call and wants an errcode and a reason.
func (b *pastBot) wants(method, path, body string, errcode int, reason string) answer {
	b.Helper()
	a := b.calls(method, path, body)
	if a.Errcode != errcode || a.Header.Get("Replygate-Reason") != reason {
		b.Fatalf("%s: reason %q, want %d %q: %s", path, a.Header.Get("Replygate-Reason"), errcode, reason, a.body)
	}
	return a
}

const massPath, replyPath, pullPath = "/cgi-bin/externalcontact/add_msg_template", "/cgi-bin/kf/send_msg", "/cgi-bin/kf/sync_msg"

var massBody = `{"external_userid":["` + wrote + `"],"text":{"content":"sale"}}`

// metric returns the value of one series, "" if there is none.
func (r *rig) metric(series string) string {
	r.Helper()
	m := r.adminCall("GET", "/metrics", "")
	for line := range strings.SplitSeq(string(m.body), "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return value
		}
	}
	return ""
}

// A bot that fetches its tokens past the gateway works on the first day and on the day of the
// lapse: its pages open windows, its replies pass while they are open, and what the account may not
// do is refused, without one token more than it needs.
func TestTokensFetchedElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*config.Config)
		bot    pastBot
		by     string
	}{
		"only account": {func(c *config.Config) { c.Accounts = c.Accounts[:1] }, pastBot{}, "only_account"},
		"path":         {func(c *config.Config) {}, pastBot{base: "/corp/" + corpID}, "path"},
		"host":         {func(c *config.Config) {}, pastBot{host: gateHost}, "host"},
		"channel":      {func(c *config.Config) { c.Accounts[0].Channels = []string{channel} }, pastBot{}, "channel"},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(c *config.Config) {
				twoCorps(c, true, true)
				c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: c.Accounts[0].Subscription.ExpiresAt.Add(3 * time.Hour)} // lapses in two hours
				test.change(c)
			}, func(r *rig) {
				b := test.bot
				b.rig, b.corp = r, corpID
				r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
				b.fetch()
				b.wants("POST", pullPath, `{"open_kfid":"`+channel+`"}`, 0, "")
				b.wants("POST", replyPath, replyTo(wrote), 0, "")
				if test.by != "channel" {
					b.wants("POST", massPath, massBody, 0, "")
					b.wants("GET", "/cgi-bin/externalcontact/list", "", 0, "")
				}
				r.clock.Advance(2 * time.Hour) // the lapse, and the end of the token
				r.platform.CustomerWrites(corpID, channel, "wmLater", "hello?")
				b.wants("POST", pullPath, `{"open_kfid":"`+channel+`"}`, 0, "")
				b.wants("POST", replyPath, replyTo(wrote), 0, "window_open")
				b.wants("POST", replyPath, replyTo("wmLater"), 0, "window_open")
				b.wants("POST", replyPath, replyTo("wmNever"), 95002, "window_closed")
				if test.by != "channel" {
					b.wants("POST", massPath, massBody, 48002, "rule_refuse")
				} else {
					b.wants("POST", massPath, massBody, 48002, "unknown_token")
				}
				most := 2 // one before the lapse, one when WeCom says that it has expired
				if test.by == "channel" {
					most += 2
				}
				if b.tokens > most {
					t.Errorf("the bot fetched %d tokens", b.tokens)
				}
				if got := r.metric(`replygate_attributed_total{by="` + test.by + `"}`); got == "" || got == "0" {
					t.Errorf("attributed by %s: %q calls", test.by, got)
				}
				if keys := append(r.gateway.store.Keys(t.Context(), "rg:token:*").Val(), r.gateway.store.Keys(t.Context(), "rg:channel:*").Val()...); len(keys) != 0 {
					t.Errorf("what was attributed taught: %v", keys)
				}
			})
		})
	}
}

// With every account active nothing is judged, so it does not matter whose a token is.
func TestNothingIsAskedOfActiveAccounts(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, false, false) })
	b := pastBot{rig: r, corp: corpID}
	b.fetch()
	for _, path := range []string{replyPath, massPath, "/cgi-bin/externalcontact/get", "/cgi-bin/externalcontact/made_up", "/cgi-bin/externalcontact/get/"} {
		r.platform.Forget()
		a := b.send("POST", path, replyTo(wrote))
		if calls := r.platform.Calls(); len(calls) != 1 || calls[0].Path != path || a.Header.Get("Replygate-Verdict") != "" {
			t.Errorf("%s: %d calls reached WeCom: %s", path, len(calls), a.body)
		}
	}
	if a := raw(t, r.gateway.api.Addr().String(), request("POST", massPath, massBody)); a.Gate.Verdict != "" || a.Errcode != 41001 {
		t.Errorf("without a token WeCom itself answers: %s", a.body)
	}
}

// An SDK that refreshes without a bound comes to an end: it meets 42001 at most twice for one call,
// also when WeCom hands it another token each time, and then a refusal that names what helps.
func TestRefreshingEnds(t *testing.T) {
	eachStore(t, func(c *config.Config) { twoCorps(c, true, true) }, func(r *rig) {
		b := pastBot{rig: r, corp: corpID}
		b.fetch()
		a := b.wants("POST", massPath, massBody, 48002, "unknown_token")
		if b.tokens != 3 {
			t.Errorf("the bot fetched %d tokens, 3 are enough", b.tokens)
		}
		for _, remedy := range []string{"through the gateway", "/corp/<corp_id>/", "accounts[].hosts", "accounts[].channels"} {
			if !strings.Contains(a.Errmsg, remedy) {
				t.Errorf("the refusal does not name %s: %s", remedy, a.Errmsg)
			}
		}
		b.wants("POST", massPath, strings.Replace(massBody, "sale", "more", 1), 48002, "unknown_token") // another call, of the same length
		if b.tokens != 3 {
			t.Errorf("the bot fetched %d tokens", b.tokens)
		}
		b.wants("GET", "/cgi-bin/externalcontact/get", "", 48002, "unknown_token")
		if b.tokens != 5 {
			t.Errorf("the bot fetched %d tokens", b.tokens)
		}
		r.clock.Advance(3 * time.Second)
		b.wants("GET", "/cgi-bin/externalcontact/list", "", 48002, "unknown_token")
		r.clock.Advance(time.Minute)
		b.wants("GET", "/cgi-bin/externalcontact/list", "", 48002, "unknown_token")
		if b.tokens != 5 {
			t.Errorf("three seconds after first sight the bot fetched %d tokens", b.tokens)
		}
	})
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, true, true) })
	b := pastBot{rig: r, corp: corpID}
	for n := 1; ; n++ {
		r.platform.Revoke(corpID)
		b.fetch()
		if a := b.send("POST", massPath, massBody); a.Errcode != 42001 {
			if n < 3 || n > 60 {
				t.Errorf("after %d tokens: %s", n, a.body)
			}
			break
		}
	}
	if n := r.platform.Count(massPath); n != 0 {
		t.Errorf("%d mass messages reached WeCom", n)
	}
}

// One that fetches its next token through the gateway recovers at its first call.
func TestRefreshingThroughTheGatewayRecovers(t *testing.T) {
	eachStore(t, withAnother, func(r *rig) {
		r.platform.Revoke(corpID)
		r.token = r.platform.Issue(corpID) // from before the gateway
		if a := r.call("GET", "/cgi-bin/externalcontact/get", ""); a.Errcode != 42001 || a.Gate.Reason != "unknown_token" {
			r.Fatalf("first sight: %s", a.body)
		}
		r.token = r.fetchToken(r.gateway) // WeCom gives the same one again
		if a := r.call("GET", "/cgi-bin/externalcontact/get", ""); a.Errcode != 48002 || a.Gate.Reason != "rule_refuse" {
			r.Fatalf("%s", a.body)
		}
	})
}

// A token that calls have named for two corps belongs to none for the rest of its life.
func TestTokenNamedForTwoCorps(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		twoCorps(c, true, false) // the other one is active: by its name everything passes
		c.Accounts[0].Channels = []string{channel}
	})
	b, other := pastBot{rig: r, corp: corpID, base: "/corp/" + corpID}, pastBot{rig: r, corp: corpID, host: otherHost}
	b.fetch()
	other.token = b.token
	if a := b.send("POST", massPath, massBody); a.Gate.Reason != "rule_refuse" {
		t.Fatalf("%s", a.body)
	}
	for _, call := range []struct {
		name       string // the first of them names the second corp
		bot        *pastBot
		path, body string
	}{
		{"named for the other one", &other, massPath, massBody},
		{"named as before", &b, massPath, massBody},
		{"named by a channel", &pastBot{rig: r, corp: corpID, token: b.token}, replyPath, replyTo(wrote)},
	} {
		if a := call.bot.send("POST", call.path, call.body); a.Gate.Reason != "unknown_token" || a.Errcode != 42001 && a.Errcode != 48002 {
			t.Errorf("%s: %s", call.name, a.body)
		}
	}
	if n := r.platform.Count(massPath) + r.platform.Count(replyPath); n != 0 {
		t.Errorf("%d calls reached WeCom", n)
	}
	if r.metric(`replygate_corp_contradictions_total{kind="earlier"}`) == "0" || !strings.Contains(r.log(), `"contradiction":"earlier"`) {
		t.Error("neither counted nor in the log")
	}
	if strings.Contains(r.log(), b.token) {
		t.Error("the token is in the log")
	}
}

// A known token is right whatever the call says; what it says is counted, and in the log once a
// minute.
func TestKnownTokenWins(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, true, false); c.Accounts[1].Channels = []string{channel} })
	b := pastBot{rig: r, corp: corpID, token: r.fetchToken(r.gateway)}
	for _, named := range []pastBot{{base: "/corp/" + otherCorp}, {host: otherHost}, {base: "/corp/" + otherCorp, host: otherHost}} {
		named.rig, named.token = r, b.token
		if a := named.send("POST", massPath, massBody); a.Errcode != 48002 || a.Gate.Reason != "rule_refuse" {
			t.Errorf("%+v: %s", named, a.body)
		}
	}
	if a := b.send("POST", replyPath, replyTo(wrote)); a.Gate.Reason != "window_closed" {
		t.Errorf("%s", a.body)
	}
	if got := r.metric(`replygate_corp_contradictions_total{kind="token"}`); got != "5" {
		t.Errorf("%s contradictions", got)
	}
	if n := strings.Count(r.log(), `"contradiction":"token"`); n != 2 { // each of two lines once
		t.Errorf("%d lines in the log", n)
	}
	r.clock.Advance(time.Minute)
	b.base = "/corp/" + otherCorp
	b.send("POST", massPath, massBody)
	if n := strings.Count(r.log(), `"contradiction":"token"`); n != 3 {
		t.Errorf("%d lines in the log", n)
	}
	if r.metric(`replygate_attributed_total{by="token"}`) != "5" {
		t.Errorf("by token: %s", r.metric(`replygate_attributed_total{by="token"}`))
	}
}

// The prefix that names a corp is taken off in just its own spelling. Whatever else lies below the
// gateway's own prefixes is answered by the gateway, and nothing of it reaches WeCom.
func TestOwnPathsOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, true, false) })
	r.platform.Revoke(corpID)
	token := r.platform.Issue(corpID)
	for _, row := range lines(t, "wecom/own.tsv", 4) {
		path := strings.NewReplacer("/cgi-bin/get", massPath, `\cgi-bin\get`, strings.ReplaceAll(massPath, "/", `\`)).Replace(strings.ReplaceAll(row[0], "ww1", otherCorp))
		r.platform.Forget()
		a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), request("POST", path+"?access_token="+token, massBody))
		calls := r.platform.Calls()
		switch named := row[1] != "" && strings.HasPrefix(strings.TrimLeft(row[2], "/"), "cgi-bin/") && row[3] == "false"; {
		case !ok:
			t.Errorf("%s: no answer", path)
		case strings.HasPrefix(path, "/cgi-bin/"), row[3] == "false" && row[1] == "": // WeCom's own
		case named: // the other corp is active: it goes on, without the prefix
			want := strings.ReplaceAll(row[2], "ww1", otherCorp)
			if row[1] != "ww1" { // it is not in accounts
				if len(calls) != 0 && strings.Contains(want, "get") {
					t.Errorf("%s: LEAK %s", path, calls[0].Path)
				}
				continue
			}
			if len(calls) != 1 || calls[0].Path != want {
				t.Errorf("%s: HTTP %d %s, %d calls, want one of %s", path, a.StatusCode, a.body, len(calls), want)
			}
		case len(calls) != 0:
			t.Errorf("%s: reached WeCom as %s", path, calls[0].Path)
		case row[0] == "/replygate/preflight":
		case a.StatusCode != 404 || !strings.Contains(string(a.body), `"errcode":990404`):
			t.Errorf("%s: HTTP %d %s", path, a.StatusCode, a.body)
		}
	}
}

// Below the prefix every path of the table is judged as it is without it, and the query goes on as
// it came.
func TestPathsBelowTheCorpPrefix(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, true, false) })
	token := r.fetchToken(r.gateway)
	for _, row := range lines(t, "wecom/paths.tsv", 2) {
		if strings.ContainsAny(row[0], "#?") || !strings.HasPrefix(row[0], "/") {
			continue
		}
		query := "?a=%41&&access_token=" + token + "&b=c;d"
		var reached [2]string
		var got [2]answer
		for i, prefix := range []string{"", "/corp/" + corpID} {
			r.platform.Forget()
			got[i], _ = exchangeRaw(t, r.gateway.api.Addr().String(), request("GET", prefix+row[0]+query, ""))
			for _, c := range r.platform.Calls() {
				reached[i] += c.Path + "?" + c.Query
			}
		}
		if got[1].StatusCode == 404 && reached[1] == "" { // ours: it is not below /cgi-bin/
			continue
		}
		if reached[0] != reached[1] || got[0].Errcode != got[1].Errcode {
			t.Errorf("%s: HTTP %d %q without, HTTP %d %q with the prefix", row[0], got[0].StatusCode, reached[0], got[1].StatusCode, reached[1])
		}
	}
}

// Two access tokens pass as they came where the call is not judged for the owner of either, or
// where both belong to one corp; else the call goes nowhere.
func TestTwoTokens(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		twoCorps(c, true, false) // the other one is active
		c.Accounts = append(c.Accounts, config.Account{CorpID: "wwThird"})
	})
	for _, corp := range []string{otherCorp, "wwThird"} {
		r.platform.AddCorp(corp, secret)
	}
	fetch := func(corp string) string {
		return tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret="+secret, "")))
	}
	old, active, third := fetch(corpID), fetch(otherCorp), fetch("wwThird")
	r.writes(wrote)
	r.platform.Revoke(corpID)
	now := fetch(corpID)
	r.platform.Revoke(otherCorp)
	unknown := r.platform.Issue(otherCorp)
	const free = "/cgi-bin/user/get"
	for _, test := range []struct {
		name, path, query string
		errcode           int
		reason            string
		reaches           bool
	}{
		{"the old and the new one of a lapsed account: a reply", replyPath, "access_token=" + old + "&access_token=" + now, 42001, "window_open", true},
		{"in the other order", replyPath, "access_token=" + now + "&access_token=" + old, 0, "window_open", true},
		{"the same one twice", replyPath, "access_token=" + now + "&access_token=" + now, 0, "window_open", true},
		{"the same one in another case", replyPath, "access_token=" + now + "&ACCESS_TOKEN=" + now, 0, "window_open", true},
		{"both of a lapsed account: a mass message", massPath, "access_token=" + old + "&access_token=" + now, 48002, "rule_refuse", false},
		{"one of a lapsed and one of an active account", massPath, "access_token=" + now + "&access_token=" + active, 990400, "ambiguous_credential", false},
		{"in the other order: a mass message", massPath, "access_token=" + active + "&access_token=" + now, 990400, "ambiguous_credential", false},
		{"the second one after a semicolon", massPath, "access_token=" + active + ";access_token=" + now, 990400, "ambiguous_credential", false},
		{"the second one with an escape", massPath, "access_token=" + active + "&access%5ftoken=" + now, 990400, "ambiguous_credential", false},
		{"the second one in another case", massPath, "access_token=" + active + "&Access_Token=" + now, 990400, "ambiguous_credential", false},
		{"the second one as a list", massPath, "access_token=" + active + "&access_token[]=" + now, 990400, "ambiguous_credential", false},
		{"the second one in a fragment", massPath, "access_token=" + active + "#&access_token=" + now, 990400, "ambiguous_credential", false},
		{"a lapsed account's in an odd spelling alone", massPath, "Access_Token=" + now, 990400, "ambiguous_credential", false},
		{"a lapsed account's and an unknown one: a mass message", massPath, "access_token=" + now + "&access_token=" + unknown, 990400, "ambiguous_credential", false},
		{"an active account's and an unknown one", massPath, "access_token=" + active + "&access_token=" + unknown, 990400, "ambiguous_credential", false},
		{"two unknown ones", massPath, "access_token=X&access_token=" + unknown, 990400, "ambiguous_credential", false},
		{"two of active accounts", massPath, "access_token=" + third + "&access_token=" + active, 0, "", true},
		{"not judged: two unknown ones", free, "access_token=X&access_token=Y", 40014, "", true},
		{"not judged: of two accounts", free, "access_token=" + now + "&access_token=" + active, 0, "", true},
		{"not judged: in an odd spelling alone", free, "Access_Token=" + now, 41001, "", true},
		{"a provider's call", "/cgi-bin/service/get_login_info", "access_token=X&access_token=Y", 0, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.platform.Forget()
			body := replyTo(wrote)
			if test.path == massPath {
				body = massBody
			}
			a := raw(t, r.gateway.api.Addr().String(), request("POST", test.path+"?"+test.query, body))
			calls := r.platform.Calls()
			if a.Errcode != test.errcode || a.Header.Get("Replygate-Reason") != test.reason || (len(calls) == 1) != test.reaches || (test.errcode == 990400) != (a.StatusCode == 400) {
				t.Errorf("HTTP %d, %d calls, want %d %q: %s", a.StatusCode, len(calls), test.errcode, test.reason, a.body)
			}
			if test.reaches && calls[0].Query != test.query {
				t.Errorf("reached WeCom with %s", calls[0].Query)
			}
			if test.errcode == 990400 && (a.Gate.DecisionID == "" || a.Header.Get("Replygate-Decision-Id") != a.Gate.DecisionID) {
				t.Errorf("no decision id: %v", a.Header)
			}
		})
	}
	r.clock.Advance(11*time.Minute + 2*time.Hour)
	r.gateway.store.Embedded.Tick()
	if a := raw(t, r.gateway.api.Addr().String(), request("POST", replyPath+"?access_token="+old+"&access_token="+fetch(corpID), replyTo(wrote))); a.Errcode != 990400 {
		t.Errorf("long after it expired the old one is still known: %s", a.body)
	}
}

// Only what WeCom's own answer says of a call with one reading teaches; a token never moves to
// another corp.
func TestWhatTeaches(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, true, false) })
	api := r.gateway.api.Addr().String()
	n, errcode, status := 0, 0, 200
	for _, path := range []string{"/cgi-bin/gettoken", "/cgi-bin/service/get_corp_token", "/cgi-bin/corpgroup/corp/gettoken"} {
		r.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errcode":%d,"access_token":"token-%d","expires_in":7200}`, errcode, n)
		})
	}
	taught := func() string {
		return r.gateway.store.Get(t.Context(), fmt.Sprintf("rg:token:%x", sha256.Sum256(fmt.Appendf(nil, "token-%d", n)))).Val()
	}
	for _, row := range lines(t, "wecom/teaching.tsv", 5) {
		if row[0] == "/cgi-bin/kf/service_state/trans" || strings.Contains(row[1], "#") {
			continue
		}
		n++
		var headers []string
		if row[3] != "" {
			headers = strings.Split(row[3], "|")
		}
		method := "POST"
		if row[0] == "/cgi-bin/gettoken" && n%2 == 0 {
			method = "GET"
		}
		want := row[4]
		if want == "-" {
			want = ""
		}
		a := raw(t, api, request(method, row[0]+"?"+row[1], row[2], headers...))
		if got := taught(); got != want || a.StatusCode != 200 {
			t.Errorf("%s %s?%s %s %s: HTTP %d, taught %q, want %q", method, row[0], row[1], row[2], row[3], a.StatusCode, got, want)
		}
	}
	good := "/cgi-bin/gettoken?corpid=" + corpID + "&corpsecret=s"
	for name, test := range map[string]struct {
		text            string
		errcode, status int
		corp            string
	}{
		"as it should be":            {request("GET", good, ""), 0, 200, corpID},
		"a POST without a body":      {request("POST", good, ""), 0, 200, corpID},
		"an error":                   {request("GET", good, ""), 40001, 200, ""},
		"another HTTP status":        {request("GET", good, ""), 0, 500, ""},
		"another method":             {request("PUT", good, ""), 0, 200, ""},
		"a body in chunks":           {"POST " + good + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 0, 200, ""},
		"an empty body in chunks":    {"POST " + good + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 200, ""},
		"a long body":                {request("POST", good, strings.Repeat(" ", 100<<10)), 0, 200, ""},
		"a long body, of a provider": {request("POST", "/cgi-bin/service/get_corp_token", `{"auth_corpid":"`+corpID+`","x":"`+strings.Repeat("x", 100<<10)+`"}`), 0, 200, ""},
	} {
		n++
		errcode, status = test.errcode, test.status
		raw(t, api, test.text)
		if got := taught(); got != test.corp {
			t.Errorf("%s: taught %q, want %q", name, got, test.corp)
		}
	}
	errcode, status = 0, 200
	n++
	for _, corp := range []string{corpID, otherCorp, corpID} {
		raw(t, api, request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret=s", ""))
	}
	if got := taught(); got != corpID || r.metric(`replygate_corp_contradictions_total{kind="learnt"}`) != "1" || !strings.Contains(r.log(), `"contradiction":"learnt"`) {
		t.Errorf("a token that WeCom handed out twice belongs to %q", got)
	}
	b := pastBot{rig: r, token: fmt.Sprintf("token-%d", n), base: "/corp/" + otherCorp}
	if a := b.send("POST", massPath, massBody); a.Gate.Reason != "rule_refuse" {
		t.Errorf("it moved: %s", a.body)
	}
}

// Pages and codes of a call whose token is unknown are recorded for the corp that it is attributed
// to, by what it names or by the channels in the page; they teach nothing. Those of a known token
// teach whose the channels are, and so do verified callbacks.
func TestPagesOfUnknownTokens(t *testing.T) {
	eachStore(t, func(c *config.Config) {
		twoCorps(c, true, true)
		c.Listen.Callback = "127.0.0.1:0"
		c.Callbacks = []config.Callback{{Path: "/cb", Token: callbackToken, EncodingAESKey: callbackKey, ReceiveIDs: []string{corpID, "suite"}}}
	}, func(r *rig) {
		t := r.T
		channels := []string{channel, "wkListed", "wkSeen", "wkCalled", "wkElse"}
		r.platform.AddCorp(corpID, secret, channels...)
		r.platform.AddCorp(otherCorp, secret, "wkOther")
		known := r.fetchToken(r.gateway)
		b := &pastBot{rig: r, corp: corpID}
		fresh := func() { r.platform.Revoke(b.corp); b.fetch() }
		pull := func(body string) {
			t.Helper()
			if a := b.send("POST", pullPath, body); a.Errcode != 0 {
				t.Fatalf("%s", a.body)
			}
		}
		// since is kept where it is: a page that nobody is found for would move it
		since := func() string { return r.gateway.store.Get(t.Context(), "rg:since").Val() }
		began := since()
		open := func(customer, ch string, want bool) {
			t.Helper()
			n := r.gateway.store.Exists(t.Context(), "rg:window:{"+corpID+":"+ch+":"+customer+"}").Val()
			if (n == 1) != want {
				t.Fatalf("the window of %s on %s: %d", customer, ch, n)
			}
		}
		taught := func(want string) {
			t.Helper()
			var all []string
			for _, key := range r.gateway.store.Keys(t.Context(), "rg:channel:*").Val() {
				all = append(all, strings.TrimPrefix(key, "rg:channel:")+"="+r.gateway.store.Get(t.Context(), key).Val())
			}
			if got := strings.Join(all, " "); got != want {
				t.Fatalf("channels taught: %s, want %s", got, want)
			}
		}

		for i, test := range []struct {
			name, base, host, ch, body string
		}{
			{"the path names the corp", "/corp/" + corpID, "", "wkElse", `{"open_kfid":"wkElse"}`},
			{"the Host does", "", gateHost, "wkElse", `{}`},
			{"the call names a channel that is listed", "", "", "wkListed", `{"open_kfid":"wkListed"}`},
		} {
			fresh()
			b.base, b.host = test.base, test.host
			customer := fmt.Sprintf("wm%d", i)
			r.platform.CustomerWrites(corpID, test.ch, customer, "hello?")
			pull(test.body)
			open(customer, test.ch, true)
		}
		b.base, b.host = "", ""
		taught("")

		// a page of all channels: one of them is listed
		fresh()
		r.platform.CustomerWrites(corpID, "wkListed", "wmAll", "hello?")
		r.platform.CustomerWrites(corpID, "wkElse", "wmAll", "hello?")
		pull(`{}`)
		open("wmAll", "wkListed", true)
		open("wmAll", "wkElse", true)
		taught("")
		if since() != began {
			t.Fatal("a page that was attributed marks a gap")
		}

		// a code that a change of state gives out, for a call that names the corp by its channel
		code := struct {
			Code string `json:"msg_code"`
		}{}
		a := b.send("POST", "/cgi-bin/kf/service_state/trans", `{"open_kfid":"wkListed","external_userid":"wmAll","service_state":3,"servicer_userid":"z"}`)
		if err := json.Unmarshal(a.body, &code); err != nil || code.Code == "" {
			t.Fatalf("%s", a.body)
		}
		fresh()
		if a := b.send("POST", "/cgi-bin/kf/send_msg_on_event", `{"code":"`+code.Code+`","msgtype":"text"}`); a.Errcode != 0 || a.Header.Get("Replygate-Reason") != "window_open" {
			t.Fatalf("%s", a.body)
		}

		// pages of a known token teach
		b.token = known
		r.platform.Revoke(corpID)
		b.token = r.fetchToken(r.gateway)
		r.platform.CustomerWrites(corpID, "wkSeen", "wmSeen", "hello?")
		pull(`{"open_kfid":"wkSeen"}`)
		taught("wkSeen=" + corpID)
		fresh()
		if a := b.send("POST", replyPath, strings.Replace(replyTo("wmSeen"), channel, "wkSeen", 1)); a.Errcode != 0 || a.Header.Get("Replygate-Reason") != "window_open" {
			t.Fatalf("%s", a.body)
		}

		// an error teaches nothing, nor does a callback that is not verified, or that speaks for
		// another corp
		event := `<xml><ToUserName>%s</ToUserName><CreateTime>%d</CreateTime><MsgType>event</MsgType><Event>kf_msg_or_event</Event><Token>T</Token><OpenKfId>wkCalled</OpenKfId></xml>`
		forged := r.app("/cb", corpID)
		forged.Token = "another"
		for _, c := range []struct {
			app  wecomtest.App
			corp string
		}{{forged, corpID}, {r.app("/cb", "wwNobody"), corpID}, {r.app("/cb", corpID), otherCorp}, {r.app("/cb", "suite"), "wwNobody"}} {
			if _, err := c.app.Deliver(r.clock.Now(), fmt.Sprintf(event, c.corp, r.clock.Now().Unix())); err != nil {
				t.Fatal(err)
			}
		}
		taught("wkSeen=" + corpID)
		if _, err := r.app("/cb", corpID).Deliver(r.clock.Now(), fmt.Sprintf(event, corpID, r.clock.Now().Unix())); err != nil {
			t.Fatal(err)
		}
		if got := r.gateway.store.Get(t.Context(), "rg:channel:wkCalled").Val(); got != corpID {
			t.Fatalf("a verified callback taught %q", got)
		}
		r.platform.CustomerWrites(corpID, "wkCalled", "wmCalled", "hello?")
		fresh()
		pull(`{"open_kfid":"wkCalled"}`)
		open("wmCalled", "wkCalled", true)

		// a channel that was learnt never moves, and one page of two corps' channels is nobody's
		b.corp, b.token = otherCorp, tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+otherCorp+"&corpsecret="+secret, "")))
		item := `{"msgid":"m%d","open_kfid":%q,"external_userid":"wmMixed","send_time":%d,"origin":3,"msgtype":"text"}`
		r.platform.Answer(pullPath, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"errcode":0,"msg_list":[`+item+`,`+item+`]}`, 1, "wkSeen", r.clock.Now().Unix(), 2, "wkOther", r.clock.Now().Unix())
		})
		pull(`{}`)
		if got := r.gateway.store.Get(t.Context(), "rg:channel:wkSeen").Val(); got != corpID || r.metric(`replygate_corp_contradictions_total{kind="channel"}`) == "0" {
			t.Fatalf("a channel moved to %s", got)
		}
		b.corp = corpID
		fresh()
		pull(`{}`)
		open("wmMixed", "wkSeen", false)
	})
}

// A body that is read only to find out whose the call is goes on as it came, of any size and
// framing.
func TestBodiesReadForTheirOwner(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		twoCorps(c, false, true)
		c.Limits.JudgedBody = 4 << 10
	})
	r.platform.Answer(replyPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errcode":0}`) })
	b := pastBot{rig: r, corp: corpID}
	b.fetch()
	long := strings.Repeat("x", 64<<10)
	listed := ` {"touser":"a", "open_kfid" : "wkListed","msgtype":"text","text":{"content":"ä` + "\t" + `"}}`
	plain := strings.ReplaceAll(listed, "\t", "")
	for name, test := range map[string]struct {
		base, body string
		errcode    int
	}{
		"a listed channel":                  {"", plain, 0},
		"a new channel":                     {"", strings.Replace(plain, "wkListed", "wkNew", 1), 42001},
		"two channels":                      {"", `{"open_kfid":"wkListed","open_kfid":"wkOther"}`, 42001},
		"no JSON":                           {"", "hello", 42001},
		"nothing":                           {"", "", 42001},
		"too long":                          {"", `{"open_kfid":"wkListed","x":"` + long + `"}`, 42001},
		"named by its path: two channels":   {"/corp/" + corpID, `{"open_kfid":"wkListed","open_kfid":"wkOther"}`, 0},
		"named by its path: no JSON":        {"/corp/" + corpID, "hello", 0},
		"named by its path: nothing":        {"/corp/" + corpID, "", 0},
		"named by its path: too long":       {"/corp/" + corpID, `{"open_kfid":"wkListed","x":"` + long + `"}`, 0},
		"named by its path: another's":      {"/corp/" + corpID, strings.Replace(plain, "wkListed", "wkOther", 1), 48002},
		"named by its path: a listed one":   {"/corp/" + corpID, plain, 0},
		"named by its path: raw characters": {"/corp/" + corpID, listed, 0},
	} {
		for _, chunked := range []bool{false, true} {
			r.platform.Forget()
			r.platform.Revoke(corpID)
			b.fetch()
			text := request("POST", test.base+replyPath+"?access_token="+b.token, test.body, "Content-Type: text/plain")
			if chunked {
				text = fmt.Sprintf("POST %s%s?access_token=%s HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n", test.base, replyPath, b.token)
				if test.body != "" {
					text += fmt.Sprintf("%x\r\n%s\r\n", len(test.body), test.body)
				}
				text += "0\r\n\r\n"
			}
			a := raw(t, r.gateway.api.Addr().String(), text)
			calls := r.platform.Calls()
			if a.Errcode != test.errcode || (len(calls) == 1) != (test.errcode == 0) {
				t.Errorf("%s, chunked %v: %d calls, want %d: %s", name, chunked, len(calls), test.errcode, a.body)
			}
			if len(calls) == 1 && string(calls[0].Body) != test.body {
				t.Errorf("%s, chunked %v: %d bytes arrived of %d", name, chunked, len(calls[0].Body), len(test.body))
			}
		}
	}
	conn, err := net.Dial("tcp", r.gateway.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.platform.Forget()
	fmt.Fprintf(conn, "POST %s?access_token=%s HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n\r\n{", replyPath, b.token)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(bufio.NewReader(conn))
	conn.Close()
	if n := len(r.platform.Calls()); n != 0 {
		t.Errorf("a call whose body broke off reached WeCom %d times", n)
	}
}

// While Redis is away, and nothing else tells whose a call is, it is unsure, and its token is not
// used up for it: once Redis is back it is answered as any unknown one.
func TestUnknownTokenWhileRedisIsAway(t *testing.T) {
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	redis := server.Config()
	redis.Addrs, redis.Timeout = []string{wire.Addr().String()}, 300*time.Millisecond
	r := newRig(t, redis, func(c *config.Config) { twoCorps(c, true, true) })
	b := pastBot{rig: r, corp: corpID}
	b.fetch()
	r.cutOff(wire)
	for range 3 {
		if a := b.send("POST", massPath, massBody); a.Errcode != -1 || a.Gate.Verdict != "unsure" || a.Gate.Reason != "store_unavailable" {
			t.Fatalf("%s", a.body)
		}
		r.clock.Advance(5 * time.Second)
	}
	wire.Heal()
	r.await("redis to be back", r.gateway.store.Up)
	storetest.AwaitServing(t, r.gateway.store)
	if a := b.send("POST", massPath, massBody); a.Errcode != 42001 {
		t.Errorf("%s", a.body)
	}
}

// Before a second account ends what the only one decided, a reload is held while calls of the last
// day hang on it.
func TestReloadIsHeldForASecondAccount(t *testing.T) {
	f := newFileRig(t)
	b := pastBot{rig: f.rig, corp: corpID}
	f.platform.Revoke(corpID)
	b.fetch()
	another := "  - { corp_id: wwAnother }\n"
	warned := regexp.MustCompile(`\d+ calls of the last day`)
	warnings := func(more string) string {
		t.Helper()
		f.writes(more)
		r := f.tryReload()
		held := ""
		if r.Held != nil {
			held = warned.FindString(r.Held.Why)
			r = f.tryReload(`If-Match: "` + r.Held.Confirm + `"`)
		}
		if w := warned.FindString(fmt.Sprint(r.Warnings)); r.status != 200 || w != held {
			t.Fatalf("held because of %q: %+v", held, r)
		}
		return held
	}
	if w := warnings(another); w != "" {
		t.Errorf("nothing hangs on it: %s", w)
	}
	warnings("")
	for range 3 {
		b.send("POST", massPath, massBody)
	}
	(&pastBot{rig: f.rig, token: b.token, base: "/corp/" + corpID}).send("POST", massPath, massBody) // it would be attributed by that
	if w := warnings("policy: { language: en }\n"); w != "" {
		t.Errorf("there is one account still: %s", w)
	}
	if w := warnings(another); w != "3 calls of the last day" {
		t.Errorf("warnings: %q", w)
	}
	if !warned.MatchString(f.log()) {
		t.Error("the log does not warn")
	}
	warnings("")
	f.clock.Advance(26 * time.Hour)
	if w := warnings(another); w != "" {
		t.Errorf("a day later: %s", w)
	}
}

// check warns where nothing but tokens tells whose a call is.
func TestCheckWarnsOfUnknownTokens(t *testing.T) {
	for text, want := range map[string]bool{
		"accounts: [{ corp_id: ww1 }, { corp_id: ww2 }]\n":                                       true,
		"accounts: [{ corp_id: ww1 }, { corp_id: ww2, hosts: [a.internal] }]\n":                  false,
		"accounts: [{ corp_id: ww1, channels: [wkA] }, { corp_id: ww2 }]\n":                      false,
		"accounts: [{ corp_id: ww1 }, { corp_id: ww2 }]\nunknown_token: reauthenticate\n":        false,
		"accounts: [{ corp_id: ww1 }]\n":                                                         false,
		"unknown_token: auto\naccounts: [{ corp_id: ww1 }, { corp_id: ww2 }, { corp_id: w3 }]\n": true,
	} {
		c := file(t, "c.yaml", text)
		code, _, errs := cli(t, "check", "-c", c)
		if warned := strings.Contains(errs, "warning: no account has hosts or channels"); warned != want || code != exitGood {
			t.Errorf("%s: exit %d %s", text, code, errs)
		}
	}
}

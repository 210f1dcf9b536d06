package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/window"
)

const (
	otherCorp = "wwOther"
	gateHost  = "Golden.Gateway.Internal:8080"
	otherHost = "other.gateway.internal"
)

// twoCorps are the accounts of the tests: corpID with a standing, and another one with its own.
func twoCorps(c *config.Config, lapsed, otherLapsed bool) {
	account := c.Accounts[0]
	over := account.Subscription
	account.Hosts, account.Channels = []string{"golden.gateway.internal"}, []string{"wkListed"}
	if !lapsed {
		account.Subscription = nil
	}
	other := config.Account{CorpID: otherCorp, Hosts: []string{otherHost}, Channels: []string{"wkOther"}}
	if otherLapsed {
		other.Subscription = over
	}
	c.Accounts = []config.Account{account, other}
}

// attribution is a gateway for the rows of one kind of accounts.
type attribution struct {
	*rig
	rows  [][]string
	known string
}

var standings = map[string]func(*config.Config){
	"one-active":     func(c *config.Config) { twoCorps(c, false, false); c.Accounts = c.Accounts[:1] },
	"one-lapsed":     func(c *config.Config) { twoCorps(c, true, false); c.Accounts = c.Accounts[:1] },
	"several-active": func(c *config.Config) { twoCorps(c, false, true) },
	"several-lapsed": func(c *config.Config) { twoCorps(c, true, false) },
	"all-active":     func(c *config.Config) { twoCorps(c, false, false) },
}

// The four steps by which the corp of a call is found, over all kinds of calls, tokens and
// accounts.
func TestAttribution(t *testing.T) {
	rows := map[string][][]string{}
	for _, row := range lines(t, "proxy/attribution.tsv", 6) {
		rows[row[0]] = append(rows[row[0]], row)
	}
	for accounts, change := range standings {
		t.Run(accounts+"/embedded", func(t *testing.T) {
			a := attribution{rig: newRig(t, storetest.Embedded(t), change), rows: rows[accounts]}
			a.prepare()
			a.runAll(func(token string) bool { return token != "away" })
		})
		t.Run(accounts+"/redis-server", func(t *testing.T) {
			server := storetest.Start(t)
			wire := storetest.NewWire(t, server.Addr())
			redis := server.Config()
			redis.Addrs, redis.Timeout = []string{wire.Addr().String()}, 500*time.Millisecond
			a := attribution{rig: newRig(t, redis, func(c *config.Config) { change(c); c.Policy.UnsureWait = 0 }), rows: rows[accounts]}
			a.prepare()
			a.runAll(func(token string) bool { return token != "away" })
			a.cutOff(wire)
			a.runAll(func(token string) bool { return token == "away" })
		})
	}
}

// cutOff cuts Redis off, and awaits that no connection is left that was made at that moment.
func (r *rig) cutOff(wire *storetest.Wire) {
	r.Helper()
	wire.Cut()
	failed := 0
	r.await("redis to be away", func() bool {
		wire.Reset()
		if r.gateway.store.Ping(r.Context()).Err() == nil {
			failed = 0
			return false
		}
		failed++
		return failed >= 3
	})
}

var attributionChannels = map[string]string{"new": "wkNew", "listed": "wkListed", "learnt": "wkLearnt", "elsewhere": "wkElsewhere", "unseen": "wkUnseen", "other": "wkOther"}

// prepare lets customers write, and channels and codes become known.
func (a *attribution) prepare() {
	a.Helper()
	if len(a.rows) == 0 {
		a.Fatal("no rows")
	}
	for _, path := range []string{"/cgi-bin/kf/send_msg", "/cgi-bin/kf/send_msg_on_event", "/cgi-bin/externalcontact/add_msg_template"} {
		a.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errcode":0,"errmsg":"ok"}`) })
	}
	a.platform.AddCorp(corpID, secret, channel, "wkLearnt")
	a.known = a.fetchToken(a.gateway)
	a.platform.CustomerWrites(corpID, "wkLearnt", wrote, "hello?")
	a.token = a.known
	if page := a.rig.call("POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"wkLearnt"}`); page.Errcode != 0 {
		a.Fatalf("%s", page.body)
	}
	for _, ch := range []string{"wkElsewhere", "wkUnseen"} {
		if err := a.gateway.store.Set(a.Context(), "rg:channel:"+ch, corpID, time.Hour).Err(); err != nil {
			a.Fatal(err)
		}
	}
	now := a.clock.Now()
	var facts []window.Fact
	var keys []window.Key
	var codes []window.LearntCode
	for i := range a.rows {
		customer := fmt.Sprintf("wm%d", i)
		for name, ch := range attributionChannels {
			k := window.Key{Corp: corpID, Channel: ch, Customer: customer}
			if name == "other" {
				k.Corp = otherCorp
			}
			facts, keys = append(facts, window.Fact{Key: k, At: now.Add(-time.Minute)}), append(keys, k)
		}
		for name, k := range map[string]window.Key{"known": {Corp: corpID, Channel: "wkNew", Customer: customer}, "other": {Corp: otherCorp, Channel: "wkOther", Customer: customer}} {
			codes = append(codes, window.LearntCode{Text: fmt.Sprintf("%s-%d", name, i), Code: window.Code{Key: k, Kind: "to_queue", Deadline: now.Add(time.Hour)}})
		}
	}
	if _, err := a.gateway.windows.Record(a.Context(), facts); err != nil {
		a.Fatal(err)
	}
	if err := a.gateway.windows.LearnCodes(a.Context(), codes); err != nil {
		a.Fatal(err)
	}
	for _, answer := range a.gateway.windows.Peek(a.Context(), keys...) { // from now on it remembers them
		if answer.State != window.Open {
			a.Fatalf("a window is %s", answer.State)
		}
	}
}

func (a *attribution) runAll(of func(token string) bool) {
	a.Helper()
	for i, row := range a.rows {
		if of(row[1]) {
			a.run(i, row[1], row[2], row[3], row[4], row[5])
		}
	}
}

// run makes the call of one row.
func (a *attribution) run(i int, token, names, call, errcode, reason string) {
	a.Helper()
	access := a.known
	if token != "known" {
		a.platform.Revoke(corpID)
		access = a.platform.Issue(corpID)
	}
	customer := fmt.Sprintf("wm%d", i)
	kind, what, _ := strings.Cut(call, ":")
	if token == "away" && what == "elsewhere" { // one that no row before it was about
		what = "unseen"
	}
	target, body := "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["`+customer+`"],"text":{"content":"x"}}`
	switch kind {
	case "kf":
		target, body = "/cgi-bin/kf/send_msg", fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text","text":{"content":"x"}}`, customer, attributionChannels[what])
	case "code":
		target, body = "/cgi-bin/kf/send_msg_on_event", fmt.Sprintf(`{"code":"%s-%d","msgtype":"text","text":{"content":"x"}}`, what, i)
	}
	path, query, host := target, "access_token="+access, "gateway"
	for name := range strings.SplitSeq(names, "+") {
		switch name {
		case "path":
			path = "/corp/" + corpID + target
		case "path-B":
			path = "/corp/" + otherCorp + target
		case "path-unlisted":
			path = "/corp/wwNobody" + target
		case "host":
			host = gateHost
		case "host-B":
			host = otherHost
		}
	}
	a.platform.Forget()
	got := raw(a, a.gateway.api.Addr().String(), strings.Replace(request("POST", path+"?"+query, body), "Host: gateway", "Host: "+host, 1))
	why := got.Header.Get("Replygate-Reason")
	if why == "" {
		why = "not_judged"
	}
	calls := a.platform.Calls()
	if fmt.Sprint(got.Errcode) != errcode || why != reason || (len(calls) == 1) != (errcode == "0") {
		a.Errorf("%s %s %s: %d calls reached WeCom, reason %s, want %s %s: %s", token, names, call, len(calls), why, errcode, reason, got.body)
	}
	for _, c := range calls {
		if c.Path != target || c.Query != query || string(c.Body) != body {
			a.Errorf("%s %s %s reached WeCom as %s?%s %s", token, names, call, c.Path, c.Query, c.Body)
		}
	}
	if reason == "corp_contradiction" && !(strings.Contains(got.Errmsg, corpID) && strings.Contains(got.Errmsg, otherCorp)) {
		a.Errorf("%s %s %s: it does not name both: %s", token, names, call, got.Errmsg)
	}
	if got.Header.Get("Replygate-Verdict") == "refuse" && got.Gate.DecisionID == "" {
		a.Errorf("%s %s %s: no decision id", token, names, call)
	}
}

// WeCom looks at no channel in the body of these calls, so one that is put there tells nothing of
// whose they are.
func TestChannelThatWeComDoesNotReadTellsNoOwner(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, false, true) })
	for target, body := range map[string]string{
		"/cgi-bin/kf/send":           `{"receiver":{"type":"userid","id":"wm1"},"msgtype":"text","open_kfid":"wkListed"}`,
		"/cgi-bin/kf/not_catalogued": `{"external_userid":"wm1","open_kfid":"wkListed"}`,
	} {
		r.token = "fetched-elsewhere"
		r.platform.Forget()
		got := r.call("POST", target, body)
		if got.Header.Get("Replygate-Reason") != "unknown_token" || len(r.platform.Calls()) > 0 {
			t.Errorf("%s: %d calls reached WeCom, %s", target, len(r.platform.Calls()), got.body)
		}
	}
}

// Two tokens may belong to one corp while Redis cannot be asked for one of them: that is no
// refusal.
func TestTwoTokensWhileRedisIsAway(t *testing.T) {
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	redis := server.Config()
	redis.Addrs, redis.Timeout = []string{wire.Addr().String()}, 500*time.Millisecond
	r := newRig(t, redis, func(c *config.Config) { twoCorps(c, true, false); c.Policy.UnsureWait = 0 })
	known := r.fetchToken(r.gateway)
	call := func(query string) string {
		r.platform.Forget()
		body := `{"touser":"wm1","open_kfid":"wkListed","msgtype":"text","text":{"content":"x"}}`
		got := raw(r, r.gateway.api.Addr().String(), request("POST", "/cgi-bin/kf/send_msg?"+query, body))
		if len(r.platform.Calls()) > 0 {
			t.Errorf("%s reached WeCom", query)
		}
		return fmt.Sprint(got.Errcode, " ", got.Header.Get("Replygate-Reason"))
	}
	r.cutOff(wire)
	for query, want := range map[string]string{
		"access_token=" + known + "&access_token=elsewhere": "-1 store_unavailable",
		"access_token=elsewhere&access_token=" + known:      "-1 store_unavailable",
		"access_token=" + known + "&access_token=":          "990400 ambiguous_credential",
	} {
		if got := call(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// gettoken takes a corp id in any letter case: the token is the listed account's.
func TestCorpIDInAnotherLetterCase(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { twoCorps(c, false, true) })
	for _, id := range []string{strings.ToUpper(corpID), strings.ToLower(corpID)} {
		if id == corpID {
			continue
		}
		r.token = tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+id+"&corpsecret="+secret, "")))
		a := r.call("POST", "/cgi-bin/externalcontact/add_msg_template", "{}")
		if reason := a.Header.Get("Replygate-Reason"); a.Errcode == 48002 || reason == "unlisted_account" {
			t.Errorf("%s: errcode %d, %s", id, a.Errcode, reason)
		}
		r.platform.Revoke(corpID)
	}
}

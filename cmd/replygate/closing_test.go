package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
)

// closing returns the answer of GET /v1/closing.
func (r *rig) closing(query string) (list admin.ClosingList) {
	r.Helper()
	a := r.adminCall("GET", "/v1/closing?"+query, "")
	if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != 200 {
		r.Fatalf("HTTP %d %s %v", a.StatusCode, a.body, err)
	}
	return list
}

// customersWaiting returns the customers that GET /v1/closing lists.
func (r *rig) customersWaiting(query string) (all []string) {
	r.Helper()
	for _, w := range r.closing(query).Waiting {
		all = append(all, w.Customer)
	}
	return all
}

// awaitsAnswer awaits that these customers wait for an answer: replies are looked at after they
// were answered.
func (r *rig) awaitsAnswer(what, query string, customers ...string) {
	r.Helper()
	r.await(what, func() bool { return slices.Equal(r.customersWaiting(query), customers) })
}

// Chats that nobody has answered are listed until a bot or a servicer answers, and again if that is
// taken back. It is the same for an account that is not judged.
func TestUnanswered(t *testing.T) {
	for name, subscription := range map[string]*config.Subscription{"lapsed": nil, "active": {ExpiresAt: time.Now().AddDate(1, 0, 0)}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
				c.Console.Index = config.IndexAll
				if subscription != nil {
					c.Accounts[0].Subscription = subscription
				}
			})
			token := r.fetchToken(r.gateway)
			send := func(customer string) (msgid string) {
				t.Helper()
				a := r.call("POST", "/cgi-bin/kf/send_msg?access_token="+token, `{"touser":"`+customer+`","open_kfid":"`+channel+`","msgtype":"text","text":{"content":"hello"}}`)
				var sent struct{ MsgID string }
				if err := json.Unmarshal(a.body, &sent); err != nil || a.Errcode != 0 {
					t.Fatalf("%s %v", a.body, err)
				}
				return sent.MsgID
			}
			r.writes("wmA")
			r.clock.Advance(time.Minute)
			r.writes("wmB")
			r.awaitsAnswer("both", "", "wmA", "wmB")
			list := r.closing("limit=1")
			if w := list.Waiting; len(w) != 1 || w[0].Customer != "wmA" || w[0].Account != "Golden" || w[0].Standing != name || w[0].ReachableAfter != (name == "active") || list.Next == "" || list.AsOf == "" {
				t.Errorf("%+v", list)
			}
			if list.Counts["all"] != 2 || list.Counts["24h"] != 0 || len(list.Hours) != 24 {
				t.Errorf("%+v", list)
			}
			if next := r.customersWaiting("limit=1&cursor=" + list.Next); !slices.Equal(next, []string{"wmB"}) {
				t.Errorf("the next page: %v", next)
			}
			failed := send("wmA")
			r.awaitsAnswer("the bot's answer", "", "wmB")
			r.awaitsAnswer("that of a servicer", "by=servicer", "wmA", "wmB")
			r.platform.ReplyFails(corpID, channel, "wmA", failed, 7)
			r.sync()
			r.awaitsAnswer("the failure", "", "wmA", "wmB")
			recalled := r.platform.ServicerWrites(corpID, channel, "wmA", "zhangsan", "hello")
			r.sync()
			r.awaitsAnswer("the servicer's answer", "by=servicer", "wmB")
			r.platform.ServicerRecalls(corpID, channel, "wmA", "zhangsan", recalled)
			r.sync()
			r.awaitsAnswer("the recall", "", "wmA", "wmB")
			r.clock.Advance(47 * time.Hour)
			if got := r.customersWaiting("within=59m"); !slices.Equal(got, []string{"wmA"}) {
				t.Errorf("within 59 minutes: %v", got)
			}
			at := "http://" + r.gateway.control.Addr().String()
			code, out, errs := cli(t, "closing", "--within", "1h", "--corp", corpID, "--admin", at)
			if code != exitGood || !strings.Contains(out, "wmA") || !strings.Contains(errs, "2 within 1 h") {
				t.Errorf("exit %d %s%s", code, out, errs)
			}
			r.clock.Advance(2 * time.Hour)
			r.awaitsAnswer("the end of the windows", "")
		})
	}
}

// Each list has its parameters, and says what is wrong with others.
func TestClosingQueries(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for query, want := range map[string]string{
		"within=soon": "bad_query", "within=-1h": "bad_query", "by=nobody": "bad_query", "by=servicer": "bad_query", "standing=asleep": "bad_query",
		"sort=name": "bad_query", "limit=0": "bad_query", "limit=201": "bad_query", "cursor=x": "bad_cursor", "customer=x": "bad_query",
		"within=1h&corp_id=ww1&standing=lapsed&channel=wk&by=any&limit=200": "", "format=csv": "",
	} {
		a := r.adminCall("GET", "/v1/closing?"+query, "")
		if want == "" && a.StatusCode != 200 || want != "" && (a.StatusCode != 400 || !strings.Contains(string(a.body), want)) {
			t.Errorf("%s: HTTP %d %s", query, a.StatusCode, a.body)
		}
	}
	r.writes(wrote)
	a := r.adminCall("GET", "/v1/windows?corp_id="+corpID+"&customer="+wrote, "")
	if !strings.Contains(string(a.body), `"channel":"`+channel+`"`) {
		t.Errorf("a customer without a channel: HTTP %d %s", a.StatusCode, a.body)
	}
	for query, status := range map[string]int{
		"scan=1": 200, "scan=2": 400, "state=ajar": 400, "customer=wm": 400, "sort=closes&state=open&corp_id=" + corpID: 200,
		"by=servicer": 400, "within=1h": 400, "format=csv&corp_id=" + corpID + "&customer=" + wrote: 400,
	} {
		if a := r.adminCall("GET", "/v1/windows?"+query, ""); a.StatusCode != status {
			t.Errorf("%s: HTTP %d %s", query, a.StatusCode, a.body)
		}
	}
	for _, query := range []string{"format=csv", "format=csv&scan=1", "format=csv&state=open&channel=" + channel} {
		a := r.adminCall("GET", "/v1/windows?"+query, "")
		if want := corpID + "," + channel + "," + wrote + ",open,"; !strings.HasPrefix(string(a.body), "corp_id,channel,customer,state,") || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	if a := r.adminCall("GET", "/v1/windows?format=csv&state=shut", ""); strings.Count(string(a.body), "\n") != 1 {
		t.Errorf("no window is shut: %s", a.body)
	}
}

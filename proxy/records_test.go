package proxy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"replygate/config"
	"replygate/gate"
	"replygate/record"
	"replygate/window"
)

// Each request leaves one access record; what it holds depends on what became of the call.
func TestAccessRecords(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	active, lapsed := r.token(corpActive), r.token(corpLapsed)
	r.platform.AddMedia("m", []byte("x"))
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
	for _, test := range []struct {
		name string
		call func() answer
		want map[string]any // but for its id
	}{
		{"not judged", func() answer { return r.post("/cgi-bin/user/get", lapsed, "{}") },
			map[string]any{"method": "POST", "path": "/cgi-bin/user/get", "status": 200.0, "capability": "address_book"}},
		{"not judged, by its account", func() answer { return r.reply(active, "wkActive", wmLi) },
			map[string]any{"method": "POST", "path": "/cgi-bin/kf/send_msg", "status": 200.0, "capability": "kf_reply", "corp_id": corpActive}},
		{"passed", func() answer { return r.reply(lapsed, wkLapsed, wmLi) },
			map[string]any{"method": "POST", "path": "/cgi-bin/kf/send_msg", "status": 200.0, "capability": "kf_reply", "corp_id": corpLapsed, "verdict": "pass", "decision_id": "*"}},
		{"refused", func() answer { return r.reply(lapsed, wkLapsed, "wmNever") },
			map[string]any{"method": "POST", "path": "/cgi-bin/kf/send_msg", "status": 200.0, "capability": "kf_reply", "corp_id": corpLapsed, "verdict": "refuse", "decision_id": "*"}},
		{"refused with a status", func() answer { return r.post("/cgi-bin/kf/send_msg", "a&access_token=b", "{}") },
			map[string]any{"method": "POST", "path": "/cgi-bin/kf/send_msg", "status": 400.0, "capability": "kf_reply", "verdict": "refuse", "decision_id": "*"}},
		{"answered without a decision", func() answer { return r.post("/replygate/none", lapsed, "{}") },
			map[string]any{"method": "POST", "path": "/replygate/none", "status": 404.0, "capability": "uncatalogued", "verdict": "error", "decision_id": "*", "error_kind": "unknown_path"}},
		{"unreadable", func() answer { return r.send(r.api, "POST\r\n\r\n") },
			map[string]any{"method": "GET", "path": "", "status": 400.0, "verdict": "error", "decision_id": "*", "error_kind": "malformed_request"}},
	} {
		r.records.take(t, "")
		a := test.call()
		got := r.records.take(t, "request")
		test.want["duration_ms"], test.want["remote"] = 0.0, "127.0.0.1"
		if test.want["decision_id"] != nil {
			test.want["decision_id"] = a.header.Get("Replygate-Decision-Id")
		}
		wantRecord(t, test.name, got, test.want)
	}
}

// A record has how long a call took, and how long it waited.
func TestAccessRecordsHaveTimes(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.Policy.UnsureWait = 20 * time.Millisecond })
	lapsed := r.token(corpLapsed)
	r.clock.Run()
	r.redis.away.Store(true)
	r.reply(lapsed, wkLapsed, wmLi)
	got := r.records.take(t, "request")
	if len(got) != 1 || got[0]["wait"] != "still_unsure" || got[0]["waited_ms"].(float64) < 20 || got[0]["duration_ms"].(float64) < got[0]["waited_ms"].(float64) {
		t.Errorf("records: %v", got)
	}
}

// A path is shown as far as it can hold no secret: the catalogue's whole, others by their plain
// segments.
func TestLoggedPaths(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	long := strings.Repeat("a", 40)
	for _, test := range []struct{ path, want string }{
		{"/cgi-bin/kf/send_msg", "/cgi-bin/kf/send_msg"},
		{"/cgi-bin/kf/send_msg?access_token=SECRET", "/cgi-bin/kf/send_msg"},
		{"/corp/wwLapsed/cgi-bin/user/get", "/cgi-bin/user/get"},
		{"/cgi-bin/kf/send_msg/", "/cgi-bin/kf/send_msg/"},
		{"/cgi-bin/KF/send_msg", "/cgi-bin/…/send_msg"},
		{"/cgi-bin/%6bf/send_msg", "/cgi-bin/…/send_msg"},
		{"/cgi-bin//none", "/cgi-bin//none"},
		{"/cgi-bin/none;a=SECRET", "/cgi-bin/…"},
		{"/cgi-bin/v2.1_x-y", "/cgi-bin/v2.1_x-y"},
		{"/" + long, "/" + long},
		{"/" + long + "a", "/…"},
		{"/" + long + "/" + long + "/" + long + "/abcd", "/" + long + "/" + long + "/" + long + "/abcd"},
		{"/" + long + "/" + long + "/" + long + "/abcde", "/" + long + "/" + long + "/" + long + "/abcd…"},
		{"/" + strings.Repeat("x/", 1000), "/" + strings.Repeat("x/", 63) + "x…"},
		{"/\xff", "/…"},
		{"/", "/"},
	} {
		r.records.take(t, "")
		r.send(r.api, "GET "+test.path+" HTTP/1.1\r\nHost: g\r\n\r\n")
		got := r.records.take(t, "request")
		if len(got) != 1 || got[0]["path"] != test.want {
			t.Errorf("%.60q: %v\nwant path %s", test.path, got, test.want)
		}
	}
	for n := range 5 { // a cut through a rune
		r.records.take(t, "")
		r.send(r.api, "GET /"+strings.Repeat("a", n)+strings.Repeat("/A", 60)+" HTTP/1.1\r\nHost: g\r\n\r\n")
		path := r.records.take(t, "request")[0]["path"].(string)
		if !utf8.ValidString(path) || !strings.HasSuffix(path, "…") || strings.Contains(path, "A") {
			t.Errorf("%d: %q", n, path)
		}
	}
}

// A method of a client's own is no word of a record.
func TestLoggedMethods(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	for _, method := range []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "SECRET", "GETX"} {
		want := method
		switch method {
		case "PROPFIND", "SECRET", "GETX":
			want = "other"
		}
		r.records.take(t, "")
		r.send(r.api, method+" /replygate/none HTTP/1.1\r\nHost: g\r\n\r\n")
		if got := r.records.take(t, "request"); len(got) != 1 || got[0]["method"] != want {
			t.Errorf("%s: %v", method, got)
		}
	}
}

// A decision record holds what the call was judged from, and no text of it.
func TestDecisionRecords(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.Window.Replies = 3 })
	lapsed := r.token(corpLapsed)
	wrote := r.clock.Now().Add(-time.Hour)
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, wrote)
	at := r.clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	closes := wrote.Add(48 * time.Hour).UTC().Format(time.RFC3339Nano)
	for _, test := range []struct {
		name string
		call func() answer
		want map[string]any
	}{
		{"passed", func() answer { return r.reply(lapsed, wkLapsed, wmLi) }, map[string]any{
			"endpoint": "/cgi-bin/kf/send_msg", "capability": "kf_reply", "verdict": "pass", "reason": "window_open", "rule": "reply-inside-the-window", "forwarded": true,
			"read": true, "msgtype": "text", "channel": wkLapsed, "recipients": 1.0, "customers": []any{wmLi},
			"windows":       []any{map[string]any{"state": "open", "last": float64(wrote.UnixMilli()), "left": 2.0, "counted": true}},
			"window_closes": closes, "replies_left": 2.0,
		}},
		{"refused", func() answer { return r.reply(lapsed, wkLapsed, "wmNever") }, map[string]any{
			"endpoint": "/cgi-bin/kf/send_msg", "capability": "kf_reply", "verdict": "refuse", "reason": "window_closed", "rule": "reply-inside-the-window", "forwarded": false, "errcode": 95002.0,
			"read": true, "msgtype": "text", "channel": wkLapsed, "recipients": 1.0, "customers": []any{"wmNever"},
			"windows": []any{map[string]any{"state": "closed", "left": 0.0, "counted": false}}, "replies_left": 0.0,
		}},
		{"refused by its path", func() answer { return r.post("/cgi-bin/externalcontact/add_msg_template", lapsed, "{}") }, map[string]any{
			"endpoint": "/cgi-bin/externalcontact/add_msg_template", "capability": "mass_message", "verdict": "refuse", "reason": "rule_refuse", "rule": "no-mass-messages", "forwarded": false, "errcode": 48002.0,
		}},
	} {
		r.records.take(t, "")
		a := test.call()
		for name, v := range map[string]any{"id": a.header.Get("Replygate-Decision-Id"), "at": at, "corp_id": corpLapsed, "account": "Lapsed", "standing": "lapsed", "remote": "127.0.0.1", "user_agent": "", "attributed_by": nil} {
			if test.want[name] = v; v == nil {
				delete(test.want, name)
			}
		}
		got := r.records.take(t, "decision")
		wantRecord(t, test.name, got, test.want)
		if strings.Contains(fmt.Sprint(got), "hi") && strings.Contains(fmt.Sprint(got), "content") {
			t.Errorf("%s: the text of the call is on record: %v", test.name, got)
		}
	}
}

// Customers' ids are plain, or hashed with the operator's key; of a long list twenty are there, and
// how many there were.
func TestRecordedCustomers(t *testing.T) {
	t.Parallel()
	const key = "an-ids-key-of-32-bytes-or-more..."
	many := make([]string, 25)
	for i := range many {
		many[i] = fmt.Sprintf(`"wm%02d"`, i)
	}
	for _, ids := range []string{config.Plain, config.Hashed} {
		r := newHarness(t, func(c *config.Config) {
			c.Log.IDs, c.Log.IDsKey = ids, key
			c.Policy.Rules = []config.Rule{{Name: config.Word{Text: "masses"}, Action: config.Word{Text: "reply"}, Match: config.Match{Capabilities: []config.Word{{Text: "mass_message"}}}}}
		})
		lapsed := r.token(corpLapsed)
		r.reply(lapsed, wkLapsed, wmLi)
		got := r.records.take(t, "decision")
		want := "wmLi"
		if ids == config.Hashed {
			want = "h:a204add75b9ae681f41ee8a44551fb50" // HMAC-SHA256, the first 16 bytes, by openssl
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0]["customers"], []any{want}) || got[0]["channel"] != wkLapsed {
			t.Errorf("%s: %v", ids, got)
		}
		r.post("/cgi-bin/externalcontact/add_msg_template", lapsed, `{"chat_type":"single","external_userid":[`+strings.Join(many, ",")+`],"sender":"u","text":{"content":"x"}}`)
		got = r.records.take(t, "decision")
		if len(got) != 1 || got[0]["recipients"] != 25.0 {
			t.Fatalf("%s: %v", ids, got)
		}
		if all, _ := got[0]["customers"].([]any); len(all) != 20 {
			t.Errorf("%s: %d ids of 25", ids, len(all))
		}
	}
}

// Of a caller's User-Agent the beginning is kept.
func TestRecordedAgents(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed := r.token(corpLapsed)
	for _, test := range []struct{ agent, want string }{
		{"bot/1.0", "bot/1.0"},
		{"机器人\"\xff", "机器人\"\ufffd"},
		{strings.Repeat("a", gate.MaxAgent), strings.Repeat("a", gate.MaxAgent)},
		{strings.Repeat("a", gate.MaxAgent) + "b", strings.Repeat("a", gate.MaxAgent)},
	} {
		r.records.take(t, "")
		r.send(r.api, "POST /cgi-bin/externalcontact/add_msg_template?access_token="+lapsed+" HTTP/1.1\r\nHost: g\r\nUser-Agent: "+test.agent+"\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 2\r\n\r\n{}")
		if got := r.records.take(t, "decision"); len(got) != 1 || got[0]["user_agent"] != test.want || got[0]["remote"] != "127.0.0.1" {
			t.Errorf("%.20q: %v", test.agent, got)
		}
	}
}

// Every record names the caller: the address of its connection, whatever a header says, and the
// client that the configuration makes of it.
func TestRecordedCallers(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) {
		c.Clients = []config.Client{{Name: "pc", Header: "User-Agent", Contains: "WindowsWechat"}, {Name: "far", Networks: []string{"192.0.2.0/24"}}}
	})
	lapsed := r.token(corpLapsed)
	for _, test := range []struct{ path, kind string }{
		{"/cgi-bin/user/get", "request"}, {"/cgi-bin/externalcontact/add_msg_template", "request"}, {"/cgi-bin/externalcontact/add_msg_template", "decision"}, {"/replygate/none", "decision"},
	} {
		for agent, client := range map[string]string{"bot WindowsWechat/4": "pc", "bot": config.UnknownClient} {
			r.records.take(t, "")
			r.send(r.api, "POST "+test.path+"?access_token="+lapsed+" HTTP/1.1\r\nHost: g\r\nUser-Agent: "+agent+"\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nContent-Length: 2\r\n\r\n{}")
			if got := r.records.take(t, test.kind); len(got) != 1 || got[0]["remote"] != "127.0.0.1" || got[0]["client"] != client {
				t.Errorf("%s %s by %s: %v", test.kind, test.path, agent, got)
			}
		}
	}
}

// An answer without a decision leaves a record that its id finds.
func TestFailureRecords(t *testing.T) {
	t.Parallel()
	r := newHarness(t, withCallback("", corpLapsed))
	lapsed := r.token(corpLapsed)
	at := r.clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	r.gateway.Upstream.Abort() // every call times out
	for _, test := range []struct {
		name string
		call func() answer
		want map[string]any
	}{
		{"a path of the gateway's own", func() answer { return r.post("/replygate/none", lapsed, "{}") },
			map[string]any{"corp_id": "", "account": "", "endpoint": "/replygate/none", "capability": "uncatalogued", "reason": "unknown_path", "errcode": 990404.0, "forwarded": false}},
		{"an upstream that cannot be reached", func() answer { return r.reply(r.token(corpActive), "wkActive", wmLi) },
			map[string]any{"corp_id": corpActive, "account": "Active", "endpoint": "/cgi-bin/kf/send_msg", "capability": "kf_reply", "reason": "upstream_unreachable", "cause": "timeout", "errcode": 990502.0, "forwarded": false}},
		{"a callback of nobody", func() answer { return r.send(r.callback, "GET /none HTTP/1.1\r\nHost: g\r\n\r\n") },
			map[string]any{"corp_id": "", "account": "", "endpoint": "…", "reason": "unknown_callback", "errcode": 990404.0, "forwarded": false}},
	} {
		r.records.take(t, "")
		a := test.call()
		for name, v := range map[string]any{"id": a.Replygate.DecisionID, "at": at, "verdict": "error", "rule": "", "remote": "127.0.0.1"} {
			test.want[name] = v
		}
		wantRecord(t, test.name, r.records.take(t, "decision"), test.want)
	}
}

// Decisions that go on, those that do not, and requests can go to different files.
func TestRecordsBySink(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	access, decisions, refusals := newRecords(t), newRecords(t), newRecords(t)
	r.gateway.Access, r.gateway.Decisions, r.gateway.Refusals = record.NewLog(access, false), record.NewLog(decisions, false), record.NewLog(refusals, false)
	lapsed := r.token(corpLapsed)
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
	r.reply(lapsed, wkLapsed, wmLi)
	r.reply(lapsed, wkLapsed, "wmNever")
	r.post("/replygate/none", lapsed, "{}")
	if a := access.take(t, "request"); len(a) != 3 {
		t.Errorf("access: %v", a)
	}
	if d := decisions.take(t, "decision"); len(d) != 1 || d[0]["verdict"] != "pass" {
		t.Errorf("decisions: %v", d)
	}
	if d := refusals.take(t, "decision"); len(d) != 2 || d[0]["verdict"] != "refuse" || d[1]["verdict"] != "error" {
		t.Errorf("refusals: %v", d)
	}
}

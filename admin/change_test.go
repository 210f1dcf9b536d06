package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/admin"
	"replygate/backfill"
	"replygate/config"
	"replygate/window"
)

// TestBodyMustBeJSON sends bodies that a page of another site, or a careless script, would send.
func TestBodyMustBeJSON(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for _, e := range endpoints {
		if e.method != http.MethodPost {
			continue
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "application/jsonp", "application/json;;"} {
			r := a.call("POST", e.path, e.body, "Content-Type: "+kind)
			a.want(r, http.StatusUnsupportedMediaType, `{"error":{"code":"not_json","message":"send Content-Type: application/json"}}`)
		}
	}
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		if r := a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed"}`, "Content-Type: "+kind); r.Code != http.StatusOK {
			t.Errorf("%s: HTTP %d %s", kind, r.Code, r.body)
		}
	}
}

func TestBodyMustBeOneKnownObject(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	for body, why := range map[string]string{
		``:                                       "it is empty",
		`{`:                                      "it ends too early",
		`inbound`:                                "it is not JSON at byte 1: invalid character 'i' looking for beginning of value",
		`[]`:                                     "it must be an object, not a list",
		`"x"`:                                    "it must be an object, not a string",
		`{"corp_id":7}`:                          "corp_id: want a string, not a number",
		`{"corp_id":{}}`:                         "corp_id: want a string, not an object",
		`{"channels":"wk"}`:                      "channels: want a list, not a string",
		`{"channels":[1.5]}`:                     "channels: want a string, not a number",
		`{"corp_id":"wwLapsed","corpid":"x"}`:    `there is no member "corpid"`,
		`{"corp_id":"wwLapsed"}{}`:               "something follows the JSON object",
		`{"corp_id":"wwLapsed"} x`:               "something follows the JSON object",
		`{"corp_id":"wwLapsed","began":"today"}`: `"today" is not an instant like 2026-11-22T10:00:00+08:00`,
		`{"corp_id":"wwLapsed","began":17}`:      "an instant must be a string like 2026-11-22T10:00:00+08:00",
	} {
		r := a.call("POST", "/v1/backfill", body)
		if code, got := r.failure(t); r.Code != http.StatusBadRequest || code != "bad_json" || got != "the body cannot be read: "+why {
			t.Errorf("%s: HTTP %d %s", body, r.Code, r.body)
		}
	}
	for body, why := range map[string]string{
		`{"inbound":[{"corp_id":true}]}`: "inbound.corp_id: want a string, not true or false",
		`{"inbound":{"corp_id":"ww"}}`:   "inbound: want a list, not an object",
		`{"inbound":[7]}`:                "inbound: want an object, not a number",
	} {
		r := a.call("POST", "/v1/inbound", body)
		if code, got := r.failure(t); r.Code != http.StatusBadRequest || code != "bad_json" || got != "the body cannot be read: "+why {
			t.Errorf("%s: HTTP %d %s", body, r.Code, r.body)
		}
	}
	if r := a.call("POST", "/v1/backfill", " {\"corp_id\":\"wwLapsed\"}\r\n\t "); r.Code != http.StatusOK {
		t.Errorf("blanks around the object: HTTP %d %s", r.Code, r.body)
	}
}

func TestBodyHasABound(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	const limit = 1 << 20
	const head, tail = `{"corp_id":"wwLapsed","path":"/cgi-bin/kf/send_msg","body":"`, `"}`
	body := func(size int) string { return head + strings.Repeat("x", size-len(head)-len(tail)) + tail }
	if r := a.call("POST", "/v1/explain", body(limit)); r.Code != http.StatusOK {
		t.Errorf("%d bytes: HTTP %d %s", limit, r.Code, r.body)
	}
	a.want(a.call("POST", "/v1/explain", body(limit+1)), http.StatusRequestEntityTooLarge, `{"error":{"code":"too_large","message":"send at most 1048576 bytes"}}`)
	a.want(a.call("POST", "/v1/explain", `{"corp_id":"wwLapsed"}`+strings.Repeat(" ", limit)), http.StatusBadRequest,
		`{"error":{"code":"bad_json","message":"the body cannot be read: something follows the JSON object"}}`)
}

// message is one message of a report.
func message(corp, channel, customer, at string) string {
	return fmt.Sprintf(`{"corp_id":%q,"channel":%q,"customer":%q,"at":%q}`, corp, channel, customer, at)
}

func report(messages ...string) string { return `{"inbound":[` + strings.Join(messages, ",") + `]}` }

func TestReportInbound(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	r := a.call("POST", "/v1/inbound", report(
		message("wwLapsed", "wk", "wm1", "2026-11-22T11:00:00Z"),
		message("wwLapsed", "wk", "wm2", "2026-11-22T19:30:00.250+08:00"),
		message("wwLapsed", "", "wm3", "2026-11-22T12:05:00Z"),
		message("wwPaying", "wk", "wm4", "2026-11-20T12:00:00.001Z"),
		message("wwPaying", "wk", "wm5", "2026-11-20T12:00:00Z"),
		message("wwPaying", "wk", "wm6", "2026-11-22T12:05:00.001Z"),
	))
	a.want(r, http.StatusOK, `{"ahead":1,"expired":1,"recorded":4}`)
	if a.gateway.reported != (window.Tally{Recorded: 4, Expired: 1, Ahead: 1}) {
		t.Errorf("counted: %+v", a.gateway.reported)
	}
	if got := a.audited(); got != "inbound reported ahead=1 expired=1 from=192.0.2.1:1234 recorded=4" {
		t.Errorf("audited: %s", got)
	}
	var got []string
	for _, w := range a.list("").Windows {
		got = append(got, w.CorpID+" "+w.Channel+" "+w.Customer+" "+w.Last)
	}
	slices.Sort(got)
	want := []string{
		"wwLapsed  wm3 2026-11-22T12:05:00.000Z", "wwLapsed wk wm1 2026-11-22T11:00:00.000Z",
		"wwLapsed wk wm2 2026-11-22T11:30:00.250Z", "wwPaying wk wm4 2026-11-20T12:00:00.001Z",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestReportIsRefusedWhole sends reports with one mistake beside a good message: nothing of them is
// recorded, counted or audited.
func TestReportIsRefusedWhole(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	good := message("wwLapsed", "wk", "wm", "2026-11-22T11:00:00Z")
	long := strings.Repeat("x", 129)
	for body, want := range map[string]string{
		`{}`:     `bad_count: send {"inbound":[…]} with 1 to 1000 messages`,
		`null`:   `bad_count: send {"inbound":[…]} with 1 to 1000 messages`,
		report(): `bad_count: send {"inbound":[…]} with 1 to 1000 messages`,
		`{"inbound":[` + strings.Repeat(good+",", 1000) + good + `]}`:         `bad_count: send {"inbound":[…]} with 1 to 1000 messages`,
		report(good, message("wwNobody", "wk", "wm", "2026-11-22T11:00:00Z")): "unknown_corp: inbound[1]: corp_id is not in accounts; nothing was recorded",
		report(good, message("", "wk", "wm", "2026-11-22T11:00:00Z")):         "unknown_corp: inbound[1]: corp_id is not in accounts; nothing was recorded",
		report(good, message("wwLapsed", "wk", "", "2026-11-22T11:00:00Z")):   "bad_customer: inbound[1]: customer must have 1 to 128 bytes, channel at most as many; nothing was recorded",
		report(good, message("wwLapsed", "wk", long, "2026-11-22T11:00:00Z")): "bad_customer: inbound[1]: customer must have 1 to 128 bytes, channel at most as many; nothing was recorded",
		report(good, message("wwLapsed", long, "wm", "2026-11-22T11:00:00Z")): "bad_customer: inbound[1]: customer must have 1 to 128 bytes, channel at most as many; nothing was recorded",
		report(good, `{"corp_id":"wwLapsed","channel":"wk","customer":"wm"}`): "bad_time: inbound[1]: at is missing; write an instant with its zone; nothing was recorded",
		report(good, message("wwLapsed", "wk", "wm", "2026-11-22T11:00:00")):  "bad_json: ",
		report(good, message("wwLapsed", "wk", "wm", "1795348800")):           "bad_json: ",
	} {
		r := a.call("POST", "/v1/inbound", body)
		code, message := r.failure(t)
		if got := code + ": " + message; r.Code != http.StatusBadRequest || got != want && (code != "bad_json" || want != "bad_json: ") {
			t.Errorf("%.80s: HTTP %d %s", body, r.Code, r.body)
		}
	}
	if n := len(a.list("").Windows) + a.audit.Len() + a.gateway.reported.Recorded; n != 0 {
		t.Errorf("%d traces of refused reports", n)
	}
}

func TestBoundsOfAReport(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	longest := strings.Repeat("x", 128)
	all := []string{message("wwLapsed", longest, longest, "2026-11-22T11:00:00Z")}
	for i := range 999 {
		at := start.Add(-time.Duration(i) * time.Second).Format(time.RFC3339)
		all = append(all, message("wwLapsed", "wk", "wm", at))
	}
	a.want(a.call("POST", "/v1/inbound", report(all...)), http.StatusOK, `{"ahead":0,"expired":0,"recorded":1000}`)
	if list := a.list("?corp_id=wwLapsed&channel=" + longest + "&customer=" + longest); len(list.Windows) != 1 {
		t.Errorf("the longest ids: %+v", list)
	}
	if list := a.list(""); len(list.Windows) != 2 {
		t.Errorf("%+v", list)
	}
}

// TestReportsAtOnce sends reports of one customer concurrently, in any order: the latest message
// counts, and every report is answered and counted.
func TestReportsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	var senders sync.WaitGroup
	for i := range 40 {
		senders.Go(func() {
			at := start.Add(-time.Duration(i) * time.Minute).Format(time.RFC3339)
			if r := a.call("POST", "/v1/inbound", report(message("wwLapsed", "wk", "wm", at))); r.Code != http.StatusOK {
				t.Errorf("HTTP %d %s", r.Code, r.body)
			}
		})
	}
	senders.Wait()
	if list := a.list(""); len(list.Windows) != 1 || list.Windows[0].Last != "2026-11-22T12:00:00.000Z" {
		t.Errorf("%+v", list)
	}
	if a.gateway.reported.Recorded != 40 || a.audit.Len() != 40 {
		t.Errorf("%d counted, %d audited", a.gateway.reported.Recorded, a.audit.Len())
	}
}

const oneWindow = `{"corp_id":"wwLapsed","channel":"wk","customer":"wm","reason":"a phone call"}`

// TestOpenAndCloseByHand follows one window: closed by hand it stays closed until the customer
// writes again.
func TestOpenAndCloseByHand(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	state := func(step string, r answer, want string) {
		t.Helper()
		var list admin.WindowList
		if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.Code != http.StatusOK || len(list.Windows) != 1 || list.Windows[0].State != want {
			t.Errorf("%s: HTTP %d %s", step, r.Code, r.body)
		}
	}
	audited := func(what string) {
		t.Helper()
		if got := a.audited(); got != what+" channel=wk corp_id=wwLapsed customer=wm from=192.0.2.1:1234 reason=a phone call" {
			t.Errorf("audited: %s", got)
		}
	}
	state("opened", a.call("POST", "/v1/windows/open", oneWindow), "open")
	audited("window opened")
	if left := a.replied("wwLapsed", "wk", "wm", 2); left != 3 {
		t.Errorf("%d replies left", left)
	}
	a.advance(time.Second)
	state("closed", a.call("POST", "/v1/windows/close", oneWindow), "shut")
	audited("window closed")
	if left := a.replied("wwLapsed", "wk", "wm", 1); left > 0 {
		t.Errorf("closed, and %d replies left", left)
	}
	a.wrote("wwLapsed", "wk", "wm", -time.Hour)
	state("an older message becomes known", a.call("GET", "/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm", ""), "shut")
	a.advance(time.Second)
	a.wrote("wwLapsed", "wk", "wm", 0)
	state("the customer writes", a.call("GET", "/v1/windows?corp_id=wwLapsed&channel=wk&customer=wm", ""), "open")
	if left := a.replied("wwLapsed", "wk", "wm", 1); left != 4 {
		t.Errorf("%d replies left after a new message", left)
	}
}

func TestChangesOfOneWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"an unknown corp":  {`{"corp_id":"wwNobody","channel":"wk","customer":"wm"}`, 400, "unknown_corp: corp_id is not in accounts; nothing was recorded"},
		"no corp":          {`{"channel":"wk","customer":"wm"}`, 400, "unknown_corp: corp_id is not in accounts; nothing was recorded"},
		"no customer":      {`{"corp_id":"wwLapsed","channel":"wk"}`, 400, "bad_customer: customer must have 1 to 128 bytes, channel at most as many; nothing was recorded"},
		"a long channel":   {`{"corp_id":"wwLapsed","customer":"wm","channel":"` + strings.Repeat("x", 129) + `"}`, 400, "bad_customer: customer must have 1 to 128 bytes, channel at most as many; nothing was recorded"},
		"a long reason":    {`{"corp_id":"wwLapsed","customer":"wm","reason":"` + strings.Repeat("长", 501) + `"}`, 400, "bad_reason: reason must have at most 500 characters; nothing was changed"},
		"an unknown field": {`{"corp_id":"wwLapsed","customer":"wm","at":"now"}`, 400, `bad_json: the body cannot be read: there is no member "at"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, "")
			for _, change := range []string{"open", "close"} {
				r := a.call("POST", "/v1/windows/"+change, c.body)
				if code, message := r.failure(t); r.Code != c.status || code+": "+message != c.want {
					t.Errorf("%s: HTTP %d %s", change, r.Code, r.body)
				}
			}
			if n := len(a.list("").Windows) + a.audit.Len(); n != 0 {
				t.Errorf("%d traces of refused changes", n)
			}
		})
	}
}

func TestCloseWithoutAWindow(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	r := a.call("POST", "/v1/windows/close", oneWindow)
	if code, _ := r.failure(t); r.Code != http.StatusNotFound || code != "no_window" {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	if n := len(a.list("").Windows); n != 0 {
		t.Errorf("closing made %d windows", n)
	}
}

// TestChangesOfABrokenWindow changes a key that holds another value: opening overwrites it, closing
// names the key.
func TestChangesOfABrokenWindow(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.spoil("wwLapsed", "wk", "wm")
	r := a.call("POST", "/v1/windows/close", oneWindow)
	if code, message := r.failure(t); r.Code != http.StatusConflict || code != "broken" || !strings.Contains(message, "holds no window: delete it") {
		t.Errorf("close: HTTP %d %s", r.Code, r.body)
	}
	if a.audit.Len() != 0 {
		t.Errorf("audited: %s", a.audited())
	}
	if list := a.list(""); list.Windows[0].State != "broken" {
		t.Errorf("%+v", list)
	}
	if r := a.call("POST", "/v1/windows/open", oneWindow); r.Code != http.StatusOK || !strings.Contains(r.body, `"state":"open"`) {
		t.Errorf("open: HTTP %d %s", r.Code, r.body)
	}
}

// TestBackfill follows one backfill: the gateway gives its time, and once the channels are read to
// their end their records are complete.
func TestBackfill(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.since(-time.Hour)
	a.want(a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed"}`), 200, `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z"}`)
	if a.audit.Len() != 0 {
		t.Errorf("asking for the time is audited: %s", a.audited())
	}
	a.advance(time.Hour)
	a.want(a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wkA","wkB"]}`), 200,
		`{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wkA","wkB"]}`)
	if got := a.audited(); got != "backfilled began=2026-11-22 12:00:00 +0000 UTC channels=2 corp_id=wwLapsed from=192.0.2.1:1234 missed=0" {
		t.Errorf("audited: %s", got)
	}
	for channel, message := range map[string]string{
		"wkA": "no message of this customer on this channel is on record within the window's length",
		"wkC": "no message of this customer on this channel is on record, but records are complete only since 2026-11-22T11:00:00.000Z",
	} {
		r := a.call("GET", "/v1/windows?corp_id=wwLapsed&customer=wm&channel="+channel, "")
		if _, got := r.failure(t); got != message {
			t.Errorf("%s: %s", channel, got)
		}
	}
}

// TestBackfillOfSomeChannels reads one of two known channels: the other one is named, and stays as
// it is, and so does the corp.
func TestBackfillOfSomeChannels(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.since(-time.Hour)
	a.gateway.channels = []string{"wkA", "wkB"}
	corp := func(want string) {
		t.Helper()
		if r := a.call("GET", "/v1/windows?corp_id=wwLapsed", ""); !strings.Contains(r.body, want) {
			t.Errorf("%s, want %s", r.body, want)
		}
	}
	const began = `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z",`
	a.want(a.call("POST", "/v1/backfill", began+`"channels":["wkA"]}`), 200, began+`"channels":["wkA"],"unseen":["wkB"]}`)
	corp(`"incomplete":true`)
	a.want(a.call("POST", "/v1/backfill", began+`"channels":["wkB"]}`), 200, began+`"channels":["wkB"]}`)
	corp(`"incomplete":false`)
}

// TestReplays shows what the gateways have completed by themselves.
func TestReplays(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.want(a.call("GET", "/v1/backfills?corp_id=wwNobody", ""), 404, `{"error":{"code":"no_account","message":"the configuration has no account with this corp_id"}}`)
	a.want(a.call("GET", "/v1/backfills?corp_id=wwLapsed", ""), 404,
		`{"error":{"code":"no_secret","message":"the account has no secrets.kf_file, so the gateway does not complete its records by itself"}}`)
	if r := a.call("GET", "/readyz", ""); strings.Contains(r.body, "replays") {
		t.Errorf("readiness without secrets: %s", r.body)
	}
	a.gateway.replays = map[string]backfill.Status{"wwLapsed": {
		CorpID: "wwLapsed", State: backfill.Running, Complete: 1, Channels: 2, Messages: 7, LastCall: start,
		Secrets: []backfill.SecretStatus{{Number: 1, Channels: 2}, {Number: 2, Errcode: 40001, Error: "why", Retry: start}},
		List:    []backfill.ChannelStatus{{Channel: "wkA", State: backfill.Complete, Began: start}, {Channel: "wkB", State: backfill.Waiting}},
	}}
	a.want(a.call("GET", "/v1/backfills?corp_id=wwLapsed", ""), 200, `{"corp_id":"wwLapsed","state":"running","channels_complete":1,"channels_seen":2,"messages":7,"unreadable":0,"last_call":"2026-11-22T12:00:00Z",`+
		`"secrets":[{"number":1,"channels_seen":2},{"number":2,"channels_seen":0,"errcode":40001,"error":"why","retry":"2026-11-22T12:00:00Z"}],`+
		`"channels":[{"channel":"wkA","state":"complete","began":"2026-11-22T12:00:00Z"},{"channel":"wkB","state":"waiting"}]}`)
	if r := a.call("GET", "/readyz", ""); !strings.Contains(r.body, `"replays":{"running":1,"secrets_refused":2}`) {
		t.Errorf("readiness: %s", r.body)
	}
}

// TestReplayList pages over the accounts with secrets, by name.
func TestReplayList(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.want(a.call("GET", "/v1/backfills", ""), 200, `{"backfills":[],"total":0,"as_of":"2026-11-22T12:00:00.000Z"}`)
	a.gateway.replays = map[string]backfill.Status{}
	accounts := a.gateway.gate.Config.Accounts
	for i := range accounts {
		accounts[i].Secrets.Kf = []config.Secret{"s"}
		a.gateway.replays[accounts[i].CorpID] = backfill.Status{
			CorpID: accounts[i].CorpID, State: backfill.Failed, Channels: i, LastCall: start, List: []backfill.ChannelStatus{},
			Secrets: []backfill.SecretStatus{{Number: 1, Errcode: 40001, Error: "=why"}, {Number: 2, Error: "more"}},
		}
	}
	seen, query := map[string]bool{}, "?limit=1"
	for range accounts {
		r := a.call("GET", "/v1/backfills"+query, "")
		var list admin.BackfillList
		if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.Code != 200 || len(list.Backfills) != 1 || *list.Total != len(accounts) || seen[list.Backfills[0].CorpID] {
			t.Fatalf("HTTP %d %s %v", r.Code, r.body, err)
		}
		seen[list.Backfills[0].CorpID], query = true, "?limit=1&cursor="+list.Next
	}
	if !strings.HasSuffix(query, "cursor=") {
		t.Errorf("there is a page after the last: %s", query)
	}
	csv := a.call("GET", "/v1/backfills?format=csv&corp_id="+accounts[0].CorpID, "")
	if want := "corp_id,state,channels_complete,channels_seen,messages,unreadable,last_call,secrets_refused,error\n" +
		accounts[0].CorpID + ",failed,0,0,0,0,2026-11-22T12:00:00.000Z,2,'=why\n"; csv.body != want {
		t.Errorf("%s\nwant %s", csv.body, want)
	}
	for _, bad := range []string{"limit=0", "sort=state", "state=failed", "cursor=x", "format=xml"} {
		if r := a.call("GET", "/v1/backfills?"+bad, ""); r.Code != 400 {
			t.Errorf("%s: HTTP %d %s", bad, r.Code, r.body)
		}
	}
}

// TestBackfillWithLosses loses messages of a channel while the backfill runs: it proves nothing
// about that channel.
func TestBackfillWithLosses(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	lose := func(channel string) {
		if _, err := a.admin.Windows.RecordGaps(t.Context(), window.Loss{Corp: "wwLapsed", Channel: channel, Messages: true}); err != nil {
			t.Fatal(err)
		}
	}
	a.advance(time.Minute)
	lose("wkA")
	a.advance(time.Minute)
	a.want(a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wkA","wkB"]}`), 200,
		`{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wkB"],"missed":["wkA"]}`)
	if got := a.audited(); !strings.Contains(got, "channels=1 ") || !strings.HasSuffix(got, " missed=1") {
		t.Errorf("audited: %s", got)
	}
	before := a.audit.Len()
	a.want(a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wkA"]}`), 409,
		`{"error":{"code":"gap","message":"messages passed unrecorded while the backfill ran, as the gateway's log says: begin again"}}`)
	if a.audit.Len() != before {
		t.Errorf("a useless backfill is audited: %s", a.audited())
	}
}

func TestBackfillIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	const late = "bad_time: kf/sync_msg reaches back 72h0m0s, so a backfill must end within 24h0m0s: begin again"
	const channels = "bad_channels: name the 1 to 10000 channels (open_kfid) that the backfill read to their end"
	for name, c := range map[string]struct{ began, channels, want string }{
		"at once":                {"2026-11-22T12:00:00Z", `["wk"]`, ""},
		"from the future":        {"2026-11-22T12:00:00.001Z", `["wk"]`, late},
		"a day long":             {"2026-11-21T12:00:00Z", `["wk"]`, ""},
		"longer than a day":      {"2026-11-21T11:59:59.999Z", `["wk"]`, late},
		"no channels":            {"2026-11-22T12:00:00Z", `[]`, channels},
		"a channel without id":   {"2026-11-22T12:00:00Z", `["wk",""]`, channels},
		"a channel's longest id": {"2026-11-22T12:00:00Z", `["` + strings.Repeat("x", 128) + `"]`, ""},
		"a longer one":           {"2026-11-22T12:00:00Z", `["` + strings.Repeat("x", 129) + `"]`, channels},
		"too many channels":      {"2026-11-22T12:00:00Z", `[` + strings.Repeat(`"wk",`, 10_000) + `"wk"]`, channels},
	} {
		r := a.call("POST", "/v1/backfill", fmt.Sprintf(`{"corp_id":"wwLapsed","began":%q,"channels":%s}`, c.began, c.channels))
		if c.want == "" {
			if r.Code != http.StatusOK {
				t.Errorf("%s: HTTP %d %s", name, r.Code, r.body)
			}
			continue
		}
		if code, message := r.failure(t); r.Code != http.StatusBadRequest || code+": "+message != c.want {
			t.Errorf("%s: HTTP %d %s", name, r.Code, r.body)
		}
	}
	r := a.call("POST", "/v1/backfill", `{"corp_id":"wwNobody"}`)
	if code, _ := r.failure(t); r.Code != http.StatusBadRequest || code != "unknown_corp" {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

// TestBackfillNeedsTheBacklog has windows as long as kf/sync_msg reaches back: no backfill can
// prove anything.
func TestBackfillNeedsTheBacklog(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "window: { length: 96h }\n")
	r := a.call("POST", "/v1/backfill", `{"corp_id":"wwLapsed","began":"2026-11-22T12:00:00Z","channels":["wk"]}`)
	if code, message := r.failure(t); code != "bad_time" || !strings.Contains(message, "must end within 0s") {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	done := admin.Reloaded{Config: "aaaa", Done: true, Changed: []string{"accounts", "policy.rules"}}
	warned := done
	warned.Warnings = []string{"301 -> 1 accounts"}
	held := admin.Reloaded{Config: "bbbb", Changed: []string{}, Held: &admin.Held{
		Reason: "accounts_removed", Why: "301 -> 1 accounts: 300 would be removed", Removed: 300, Before: 301, After: 1, Names: []string{"A", "B"}, Confirm: "held-01",
	}}
	for name, c := range map[string]struct {
		ifMatch string
		answer  admin.Reloaded
		err     error
		hash    string // that the gateway is asked for
		status  int
		body    string
	}{
		"any":            {"", done, nil, "", 200, `{"config":"aaaa","reloaded":true,"changed":["accounts","policy.rules"]}`},
		"with warnings":  {"", warned, nil, "", 200, `{"config":"aaaa","reloaded":true,"changed":["accounts","policy.rules"],"warnings":["301 -> 1 accounts"]}`},
		"one hash":       {`"0123"`, done, nil, "0123", 200, `{"config":"aaaa","reloaded":true,"changed":["accounts","policy.rules"]}`},
		"without quotes": {`0123`, done, nil, "0123", 200, `{"config":"aaaa","reloaded":true,"changed":["accounts","policy.rules"]}`},
		"another hash": {`"0123"`, admin.Reloaded{Config: "bbbb"}, fmt.Errorf("reload: %w", admin.ErrOtherVersion), "0123", 412,
			`{"error":{"code":"changed","message":"another configuration is in force: bbbb"}}`},
		"another held one": {`"held-00"`, admin.Reloaded{Config: "bbbb"}, admin.ErrNotHeld, "held-00", 412,
			`{"error":{"code":"changed","message":"the files, or the configuration in force, have changed since the reload was held: reload without If-Match, and see what it would do now"}}`},
		"held": {"", held, nil, "", 409,
			`{"error":{"code":"held","message":"301 -> 1 accounts: 300 would be removed\nthe previous configuration stays in force until the accounts are back, or the reload is confirmed: replygate reload --confirm held-01, or this tag as If-Match"},` +
				`"config":"bbbb","reloaded":false,"changed":[],"held":{"reason":"accounts_removed","why":"301 -> 1 accounts: 300 would be removed","removed":300,"accounts_before":301,"accounts_after":1,"names":["A","B"],"confirm":"held-01","held_already":false}}`},
		"mistakes": {"", admin.Reloaded{Config: "bbbb"}, errors.New("c.yaml:3:1: accounts is empty: list one"), "", 422,
			`{"error":{"code":"bad_config","message":"c.yaml:3:1: accounts is empty: list one\nthe previous configuration stays in force"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, "")
			a.gateway.reload = func() (admin.Reloaded, error) { return c.answer, c.err }
			var headers []string
			if c.ifMatch != "" {
				headers = []string{"If-Match: " + c.ifMatch}
			}
			r := a.call("POST", "/v1/reload", "{}", headers...)
			a.want(r, c.status, c.body)
			if !slices.Equal(a.gateway.asked, []string{c.hash}) {
				t.Errorf("asked for %q", a.gateway.asked)
			}
			tags := map[int]string{200: `"aaaa"`, 409: `"held-01"`}
			if tag := r.Header().Get("ETag"); tag != tags[c.status] {
				t.Errorf("ETag %q", tag)
			}
			want := map[int]string{
				200: "configuration reloaded changed=[accounts policy.rules] from=192.0.2.1:1234",
				409: "reload held from=192.0.2.1:1234 why=301 -> 1 accounts: 300 would be removed",
			}[c.status]
			if got := a.audited(); got != want {
				t.Errorf("audited: %s", got)
			}
		})
	}
}

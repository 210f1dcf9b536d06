package wecomtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

const send = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text","text":{"content":"x"}}`

func TestReplyRule(t *testing.T) {
	p := start(t)
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerEnters("ww1", "wk1", "wmA") // enters, and writes nothing
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	for range 5 {
		p.expect(0, "/cgi-bin/kf/send_msg", send)
	}
	p.expect(95001, "/cgi-bin/kf/send_msg", send)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello?")
	p.SetState("ww1", "wk1", "wmA", 3)
	p.expect(95018, "/cgi-bin/kf/send_msg", send)
	p.SetState("ww1", "wk1", "wmA", 1)
	p.clock.Advance(48*time.Hour - time.Millisecond)
	p.token = p.fetch()
	p.expect(0, "/cgi-bin/kf/send_msg", send)
	p.clock.Advance(time.Millisecond)
	p.expect(95002, "/cgi-bin/kf/send_msg", send)
	p.expect(95000, "/cgi-bin/kf/send_msg", strings.Replace(send, "wk1", "wk2", 1))
	p.expect(47001, "/cgi-bin/kf/send_msg", "{")
}

func TestSyncPagesAndReplays(t *testing.T) {
	p := start(t)
	p.CustomerWroteAt("ww1", "wk1", "wmOld", "long ago", p.clock.Now().Add(-73*time.Hour))
	for i := range 5 {
		p.CustomerWrites("ww1", "wk1", fmt.Sprintf("wm%d", i), "hello")
	}
	cursor, seen := "", 0
	for {
		a := p.expect(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"open_kfid":"wk1","cursor":%q,"limit":2}`, cursor))
		seen += len(a["msg_list"].([]any))
		cursor = a["next_cursor"].(string)
		if a["has_more"].(float64) == 0 {
			break
		}
	}
	if seen != 5 {
		t.Errorf("%d messages, want the 5 of the last three days", seen)
	}
	if a := p.expect(0, "/cgi-bin/kf/sync_msg", fmt.Sprintf(`{"cursor":%q}`, cursor)); len(a["msg_list"].([]any)) != 0 {
		t.Errorf("after the end: %v", a)
	}
	if a := p.expect(0, "/cgi-bin/kf/sync_msg", `{}`); len(a["msg_list"].([]any)) != 5 {
		t.Errorf("without a cursor: %v", a)
	}
}

// WeCom parses a body in order, stops at what it cannot parse, and acts on what came before.
func TestSloppyBodies(t *testing.T) {
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	const head = `{"touser":"wmA","open_kfid":"wk1","msgtype":"text"`
	for _, c := range []struct {
		name, body string
		errcode    int
		warned     bool
	}{
		{"a BOM", "\ufeff" + send, 0, false},
		{"a cut surrogate", head + `,"text":{"content":"\ud83d"}}`, 0, false},
		{"a cut character", head + ",\"text\":{\"content\":\"\xe4\xbd\"}}", 0, false},
		{"a raw newline after the recipient", head + ",\"text\":{\"content\":\"a\nb\"}}", 0, true},
		{"a raw newline before the recipient", `{"text":{"content":"` + "\n" + `"},"touser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 47001, true},
		{"no end", head, 0, true},
		{"a wrong type at the end", head + `,"msgid":7}`, 0, true},
		{"a wrong type before the channel", `{"touser":"wmA","msgid":7,"open_kfid":"wk1","msgtype":"text"}`, 95000, true},
		{"another case", `{"toUser":"wmA","open_kfid":"wk1","msgtype":"text"}`, 40096, false},
		{"a form", "touser=wmA&open_kfid=wk1", 47001, false},
	} {
		p.CustomerWrites("ww1", "wk1", "wmA", "hello") // five replies again
		a := p.expect(c.errcode, "/cgi-bin/kf/send_msg", c.body)
		if warned := strings.HasPrefix(a["errmsg"].(string), "Warning: wrong json format. "); warned != c.warned {
			t.Errorf("%s: %v", c.name, a)
		}
	}
}

func TestCustomerDetails(t *testing.T) {
	p := start(t)
	details := func(id string) (int, any) {
		a, _ := p.get("/cgi-bin/externalcontact/get?access_token="+p.token+"&external_userid="+id, "")
		contact, _ := a["external_contact"].(map[string]any)
		return int(a["errcode"].(float64)), contact["external_userid"]
	}
	for id, want := range map[string]int{"wmA": 0, "woB": 0, "": 41035, "zhangsan": 40096} {
		if code, got := details(id); code != want || code == 0 && got != id {
			t.Errorf("%q: errcode %d, %v; want %d", id, code, got, want)
		}
	}
}

// list returns the items of one kf/sync_msg answer, by msgid, with the cursor and has_more.
func (p *platform) list(body string) (ids []string, cursor string, more bool) {
	p.Helper()
	a := p.expect(0, "/cgi-bin/kf/sync_msg", body)
	for _, it := range a["msg_list"].([]any) {
		ids = append(ids, it.(map[string]any)["msgid"].(string))
	}
	return ids, a["next_cursor"].(string), a["has_more"].(float64) == 1
}

func TestAccountList(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s2")
	a := p.expect(0, "/cgi-bin/kf/account/list", `{"offset":0,"limit":100}`)
	list := a["account_list"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["open_kfid"] != "wk1" {
		t.Errorf("%v", a)
	}
	p.token = p.Issue("ww2")
	if a := p.expect(0, "/cgi-bin/kf/account/list", `{}`); len(a["account_list"].([]any)) != 0 {
		t.Errorf("a corp without accounts: %v", a)
	}
}

// A page has the requested number of items, at most 1,000.
func TestSyncLimits(t *testing.T) {
	t.Parallel()
	p := start(t)
	for range 1002 {
		p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	}
	for _, test := range []struct {
		body string
		n    int
		more bool
	}{
		{`{}`, 1000, true},
		{`{"limit":0}`, 1000, true},
		{`{"limit":-1}`, 1000, true},
		{`{"limit":1}`, 1, true},
		{`{"limit":999}`, 999, true},
		{`{"limit":1000}`, 1000, true},
		{`{"limit":100000}`, 1000, true},
		{`{"cursor":"1001"}`, 1, false},
		{`{"cursor":"1002"}`, 0, false},
		{`{"cursor":"5000"}`, 0, false},
		{`{"cursor":"","limit":2}`, 2, true},
		{`{"cursor":"not one of ours","limit":2}`, 2, true},
	} {
		if ids, _, more := p.list(test.body); len(ids) != test.n || more != test.more {
			t.Errorf("%s: %d items, more %v; want %d, %v", test.body, len(ids), more, test.n, test.more)
		}
	}
}

// A cursor continues after its page, also with newer items, and can be used again.
func TestSyncCursors(t *testing.T) {
	t.Parallel()
	p := start(t)
	var want []string
	for range 3 {
		want = append(want, p.CustomerWrites("ww1", "wk1", "wmA", "hello"))
	}
	first, cursor, more := p.list(`{"limit":2}`)
	if !slices.Equal(first, want[:2]) || !more {
		t.Fatalf("first %q, more %v", first, more)
	}
	want = append(want, p.CustomerWrites("ww1", "wk1", "wmB", "later"))
	for range 2 {
		rest, end, more := p.list(fmt.Sprintf(`{"cursor":%q}`, cursor))
		if !slices.Equal(rest, want[2:]) || more || end == cursor {
			t.Errorf("then %q, cursor %s, more %v", rest, end, more)
		}
	}
	if all, _, _ := p.list(`{}`); !slices.Equal(all, want) {
		t.Errorf("from the beginning %q, want %q", all, want)
	}
}

// Items older than three days are not listed.
func TestSyncHistory(t *testing.T) {
	t.Parallel()
	p := start(t)
	oldest := p.CustomerWroteAt("ww1", "wk1", "wmA", "a", p.clock.Now().Add(-72*time.Hour))
	p.CustomerWroteAt("ww1", "wk1", "wmA", "b", p.clock.Now().Add(-72*time.Hour-time.Second))
	if ids, _, _ := p.list(`{}`); !slices.Equal(ids, []string{oldest}) {
		t.Errorf("%q", ids)
	}
	p.clock.Advance(time.Second)
	if ids, cursor, more := p.list(`{}`); len(ids) != 0 || more || cursor != "2" {
		t.Errorf("a second later: %q, cursor %s, more %v", ids, cursor, more)
	}
}

// With a channel, only its messages and events are listed.
func TestSyncChannels(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s", "wkA", "wkB")
	p.AddCorp("ww3", "s", "wkC")
	p.token = p.Issue("ww2")
	a := p.CustomerWrites("ww2", "wkA", "wm1", "hello")
	p.CustomerEnters("ww2", "wkB", "wm1")
	b := p.CustomerWrites("ww2", "wkB", "wm1", "hello")
	p.CustomerWrites("ww3", "wkC", "wm1", "of another corp")
	if ids, _, _ := p.list(`{"open_kfid":"wkA"}`); !slices.Equal(ids, []string{a}) {
		t.Errorf("of the first: %q", ids)
	}
	if ids, _, _ := p.list(`{"open_kfid":"wkB"}`); len(ids) != 2 || ids[1] != b {
		t.Errorf("of the second: %q, want an event and %s", ids, b)
	}
	if ids, _, _ := p.list(`{}`); len(ids) != 3 {
		t.Errorf("of both: %q", ids)
	}
	p.expect(95000, "/cgi-bin/kf/sync_msg", `{"open_kfid":"wkC"}`)
	p.expect(44002, "/cgi-bin/kf/sync_msg", "")
	p.expect(47001, "/cgi-bin/kf/sync_msg", "cursor=1")
}

// package wecom parses the simulated events.
func TestEvents(t *testing.T) {
	t.Parallel()
	p := start(t)
	at := p.clock.Now()
	welcome := p.CustomerEnters("ww1", "wk1", "wmA")
	taken := p.SessionChanges("ww1", "wk1", "wmA", 1)
	ended := p.SessionChanges("ww1", "wk1", "wmA", 3)
	p.DeliveryFails("ww1", "wk1", "wmA", 6)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	_, body := p.raw("POST", "/cgi-bin/kf/sync_msg?access_token="+p.token, nil, strings.NewReader(`{}`))
	page, err := wecom.ReadPage(bytes.NewReader(body))
	if len(page.Replies) != 1 || !page.Replies[0].Back || page.Replies[0].ID == "" {
		t.Errorf("replies: %+v", page.Replies)
	}
	page.Replies = nil
	want := wecom.Page{
		Messages: []wecom.Message{{Channel: "wk1", Customer: "wmA", At: at}},
		Codes: []wecom.Code{
			{Text: welcome, Kind: wecom.EnterSession, Channel: "wk1", Customer: "wmA", At: at},
			{Text: taken, Kind: wecom.SessionTaken, Channel: "wk1", Customer: "wmA", At: at},
			{Text: ended, Kind: wecom.SessionEnded, Channel: "wk1", Customer: "wmA", At: at},
		},
		Failures: []wecom.Failure{{Channel: "wk1", Customer: "wmA", Type: wecom.FailedCount, At: at}},
		Next:     "5",
	}
	if err != nil || !reflect.DeepEqual(page, want) {
		t.Errorf("%+v, %v\nwant %+v", page, err, want)
	}
}

// The errcodes of rejected replies, in the order of the checks.
func TestReplyErrors(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	for body, want := range map[string]int{
		`{"touser":"wmA","open_kfid":"wk1","msgtype":"text"}`: 0,
		`{"touser":"wmA","open_kfid":"wk2","msgtype":"text"}`: 95000,
		`{"touser":"","open_kfid":"wk2"}`:                     95000,
		`{"open_kfid":"wk1","msgtype":"text"}`:                40096,
		`{"touser":"wmA","open_kfid":"wk1"}`:                  40058,
		`{"touser":"wmB","open_kfid":"wk1","msgtype":"text"}`: 95002,
		`{"touser":"wma","open_kfid":"wk1","msgtype":"text"}`: 95002,
		``:   44002,
		`[]`: 47001,
	} {
		if got := int(p.post("/cgi-bin/kf/send_msg", body)["errcode"].(float64)); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	if a := p.expect(0, "/cgi-bin/kf/send_msg", strings.Replace(send, "{", `{"msgid":"mine",`, 1)); a["msgid"] != "mine" {
		t.Errorf("the bot's own msgid: %v", a)
	}
	a, b := p.expect(0, "/cgi-bin/kf/send_msg", send), p.expect(0, "/cgi-bin/kf/send_msg", send)
	if a["msgid"] == b["msgid"] || a["msgid"] == "" {
		t.Errorf("msgids %v and %v", a["msgid"], b["msgid"])
	}
}

// post makes a POST also with an empty body.
func (p *platform) post(path, body string) (a map[string]any) {
	p.Helper()
	_, data := p.raw("POST", path+"?access_token="+p.token, nil, strings.NewReader(body))
	if err := json.Unmarshal(data, &a); err != nil {
		p.Fatalf("%s: %v", data, err)
	}
	return a
}

// Each customer of each channel may get five replies within 48 hours of the last message.
func TestReplyCount(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s", "wkA", "wkB")
	p.token = p.Issue("ww2")
	reply := func(channel, customer string, want int) {
		t.Helper()
		p.expect(want, "/cgi-bin/kf/send_msg", fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text"}`, customer, channel))
	}
	for _, channel := range []string{"wkA", "wkB"} {
		for _, customer := range []string{"wm1", "wm2"} {
			p.CustomerWrites("ww2", channel, customer, "hello")
		}
	}
	for range 5 {
		reply("wkA", "wm1", 0)
	}
	reply("wkA", "wm1", 95001)
	reply("wkA", "wm1", 95001)
	reply("wkA", "wm2", 0)
	reply("wkB", "wm1", 0)
	p.clock.Advance(time.Hour)
	p.CustomerWroteAt("ww2", "wkA", "wm1", "late", p.clock.Now().Add(-2*time.Hour)) // older than the last one
	reply("wkA", "wm1", 95001)
	p.CustomerWrites("ww2", "wkA", "wm1", "again")
	reply("wkA", "wm1", 0)
	p.clock.Advance(48*time.Hour - time.Millisecond)
	p.token = p.Issue("ww2")
	reply("wkA", "wm1", 0)
	p.clock.Advance(time.Millisecond)
	reply("wkA", "wm1", 95002)
}

// A bot may reply in session states 0 and 1. Transitions to 2, 3 and 4 issue a code.
func TestSessionStates(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	const who = `"open_kfid":"wk1","external_userid":"wmA"`
	for state, want := range map[int]struct {
		reply int
		code  bool
	}{0: {0, false}, 1: {0, false}, 2: {95018, true}, 3: {95018, true}, 4: {95018, true}} {
		a := p.expect(0, "/cgi-bin/kf/service_state/trans", fmt.Sprintf(`{%s,"service_state":%d}`, who, state))
		if _, code := a["msg_code"].(string); code != want.code {
			t.Errorf("state %d: %v", state, a)
		}
		if a := p.expect(0, "/cgi-bin/kf/service_state/get", `{`+who+`}`); a["service_state"].(float64) != float64(state) {
			t.Errorf("state %d: %v", state, a)
		}
		p.expect(want.reply, "/cgi-bin/kf/send_msg", send)
	}
	p.SetState("ww1", "wk1", "wmA", 4)
	p.CustomerWrites("ww1", "wk1", "wmA", "again") // a new session
	p.expect(0, "/cgi-bin/kf/send_msg", send)
	p.SetState("ww1", "wk1", "wmA", 3)
	p.CustomerWrites("ww1", "wk1", "wmA", "to the servicer")
	p.expect(95018, "/cgi-bin/kf/send_msg", send)
	p.expect(47001, "/cgi-bin/kf/service_state/trans", "x")
	p.expect(47001, "/cgi-bin/kf/service_state/get", "x")
}

// A one-time code works once, for its own corp, until it expires.
func TestOneTimeCodes(t *testing.T) {
	t.Parallel()
	const short, long = 20 * time.Second, 48 * time.Hour
	trans := func(state int) func(p *platform) string {
		return func(p *platform) string {
			a := p.expect(0, "/cgi-bin/kf/service_state/trans", fmt.Sprintf(`{"open_kfid":"wk1","external_userid":"wmA","service_state":%d}`, state))
			return a["msg_code"].(string)
		}
	}
	for name, test := range map[string]struct {
		give func(p *platform) string
		life time.Duration
	}{
		"entered":     {func(p *platform) string { return p.CustomerEnters("ww1", "wk1", "wmA") }, short},
		"taken":       {func(p *platform) string { return p.SessionChanges("ww1", "wk1", "wmA", 1) }, long},
		"ended":       {func(p *platform) string { return p.SessionChanges("ww1", "wk1", "wmA", 3) }, short},
		"to queue":    {trans(2), long},
		"to servicer": {trans(3), long},
		"to end":      {trans(4), short},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.AddCorp("ww2", "s2", "wk2")
			use := func(code string, want int) {
				t.Helper()
				p.expect(want, "/cgi-bin/kf/send_msg_on_event", fmt.Sprintf(`{"code":%q,"msgtype":"text"}`, code))
			}
			inTime, tooLate := test.give(p), test.give(p)
			if inTime == tooLate {
				t.Fatal("the same code twice")
			}
			own := p.token
			p.token = p.Issue("ww2")
			use(inTime, 40058) // of another corp, which does not use it up
			p.token = own
			use("made-up", 40058)
			p.clock.Advance(test.life - time.Millisecond)
			p.token = p.Issue("ww1")
			use(inTime, 0)
			use(inTime, 40058)
			p.clock.Advance(time.Millisecond)
			use(tooLate, 40058)
		})
	}
}

// Files are returned as uploaded.
func TestMedia(t *testing.T) {
	t.Parallel()
	p := start(t)
	data := []byte("GIF89a\x00\xff\r\n--x")
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("media", "a.gif")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(data)
	_ = w.Close()
	header := http.Header{"Content-Type": {w.FormDataContentType()}}
	_, body := p.raw("POST", "/cgi-bin/media/upload?type=image&access_token="+p.token, header, bytes.NewReader(form.Bytes()))
	var a struct {
		Type string `json:"type"`
		ID   string `json:"media_id"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Type != "image" || a.ID == "" {
		t.Fatalf("%s, %v", body, err)
	}
	p.AddMedia("MINE", []byte("mine"))
	for id, want := range map[string]string{a.ID: string(data), "MINE": "mine"} {
		resp, got := p.raw("GET", "/cgi-bin/media/get?access_token="+p.token+"&media_id="+id, nil, nil)
		if string(got) != want || resp.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %q, %v", id, got, resp.Header)
		}
	}
	if got := p.code("/cgi-bin/media/get?access_token=" + p.token + "&media_id=x"); got != 40058 {
		t.Errorf("an unknown file: %d", got)
	}
	for _, types := range []string{"", "application/json", "multipart/form-data", "multipart/form-data; boundary=other"} {
		_, body := p.raw("POST", "/cgi-bin/media/upload?access_token="+p.token, http.Header{"Content-Type": {types}}, bytes.NewReader(form.Bytes()))
		if !bytes.Contains(body, []byte(`"errcode":40058`)) {
			t.Errorf("%q: %s", types, body)
		}
	}
}

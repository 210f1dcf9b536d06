package wecom_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"replygate/wecom"
)

// item returns a customer's message with more members at its end.
func item(customer, more string) string {
	return `{"msgid":"m","open_kfid":"wk","external_userid":"` + customer + `","send_time":1700000000,"origin":3,"msgtype":"text"` + more + `}`
}

// Pages are parsed as leniently as clients parse them. A broken item does not affect the others.
func TestReadPage(t *testing.T) {
	message, other := item("wm", ""), item("wm2", "")
	text := func(raw string) string { return item("wm2", `,"text":{"content":"`+raw+`"}`) }
	list := func(items ...string) string { return `{"errcode":0,"msg_list":[` + strings.Join(items, ",") + `]}` }
	both := []string{"wm", "wm2"}
	one := both[:1]
	for name, test := range map[string]struct {
		body       string
		customers  []string
		unreadable int
		bad        bool
	}{
		"a message":                {`{"errcode":0,"next_cursor":"c","has_more":0,"msg_list":[` + message + `]}`, one, 0, false},
		"a tapped menu item":       {list(item("wm", `,"text":{"content":"hi","menu_id":"1"}`)), one, 0, false},
		"a kind of tomorrow":       {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"hologram"}`), one, 0, false},
		"more to come, but empty":  {`{"errcode":0,"has_more":1,"msg_list":[]}`, nil, 0, false},
		"no list":                  {`{"errcode":0,"has_more":0}`, nil, 0, false},
		"a null list":              {`{"errcode":0,"msg_list":null}`, nil, 0, false},
		"an error":                 {`{"errcode":95007,"errmsg":"invalid msg token"}`, nil, 0, false},
		"an event":                 {list(`{"send_time":1700000000,"origin":4,"msgtype":"event","event":{"event_type":"enter_session","open_kfid":"wk","external_userid":"wm"}}`), nil, 0, false},
		"a servicer's message":     {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":5,"servicer_userid":"z"}`), nil, 0, false},
		"no origin":                {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1700000000}`), nil, 0, false},
		"odd items":                {list(`null,1,"x",[],{}`, message), one, 0, false},
		"something after the page": {list(message) + `x`, one, 0, false},
		"a page after the page":    {list(message) + list(other), one, 0, false},
		"a name twice":             {list(item("wm", `,"x":1,"x":2`)), one, 0, false},
		"a list twice":             {`{"msg_list":[` + message + `],"msg_list":[` + other + `]}`, both, 0, false},
		"a byte order mark":        {"\xEF\xBB\xBF" + list(message), one, 0, false},
		"blanks and controls":      {"\x00 " + list(" "+message+"\n", "\t\x1b"+other) + "\r\n\x00", both, 0, false},
		"names in escapes":         {`{"msg\u005flist":[` + strings.ReplaceAll(message, "origin", `orig\u0069n`) + `]}`, one, 0, false},
		"a message that is deep":   {list(item("wm", `,"x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)), other), both, 0, false},

		"numbers in quotes":      {list(`{"open_kfid":"wk","external_userid":"wm","send_time":"1700000000","origin":"3"}`), one, 0, false},
		"numbers with fractions": {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1700000000.0,"origin":3.0}`), one, 0, false},
		"numbers with exponents": {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1.7e9,"origin":0.3e1}`), one, 0, false},
		"both":                   {list(`{"open_kfid":"wk","external_userid":"wm","send_time":" 1.7E+9","origin":"3.00"}`), one, 0, false},
		"errcode in quotes":      {`{"errcode":"0","msg_list":[` + message + `]}`, one, 0, false},
		"errcode with fraction":  {`{"errcode":0.0,"msg_list":[` + message + `]}`, one, 0, false},
		"errcode null":           {`{"errcode":null,"msg_list":[` + message + `]}`, one, 0, false},

		"NUL in a text":                {list(text("a\x00b"), message), both, 0, false},
		"tab in a text":                {list(message, text("a\tb")), both, 0, false},
		"line feed in a text":          {list(message, text("a\nb")), both, 0, false},
		"ESC in a text":                {list(message, text("\x1b[1m")), both, 0, false},
		"every control in a text":      {list(message, text("\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\r\x0e\x0f\x10\x1f\x7f")), both, 0, false},
		"controls beside escapes":      {list(message, text("\\\\\x01\\\"\x02\\u0041\x03")), both, 0, false},
		"bad UTF-8 in a text":          {list(message, text("\xff\xe4\xbd")), both, 0, false},
		"GBK in a text":                {list(message, text("\xc4\xe3\xba\xc3")), both, 0, false},
		"half a surrogate":             {list(message, text(`\ud83d`)), both, 0, false},
		"the other half":               {list(message, text(`\ude00 x`)), both, 0, false},
		"a surrogate cut by a control": {list(message, text("\\ud83d\x01")), both, 0, false},
		"braces in a text":             {list(text(`},{\"msgid\":\"x\",]}`), message), both, 0, false},
		"an item like one in a text":   {list(text(`\\\"},{\"origin\":3,\"external_userid\":\"wmX\"`), message), both, 0, false},

		"no customer":               {list(`{"open_kfid":"wk","send_time":1700000000,"origin":3}`, message), one, 1, false},
		"no time":                   {list(`{"open_kfid":"wk","external_userid":"wm","origin":3}`), nil, 1, false},
		"no channel":                {list(`{"external_userid":"wm","send_time":1700000000,"origin":3}`), nil, 1, false},
		"a time that is none":       {list(`{"open_kfid":"wk","external_userid":"wm","send_time":"soon","origin":3}`, message), one, 1, false},
		"the time 0":                {list(`{"open_kfid":"wk","external_userid":"wm","send_time":0,"origin":3}`, message), one, 1, false},
		"a time beyond all":         {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1e30,"origin":3}`, message), one, 1, false},
		"a time that Go reads":      {list(`{"open_kfid":"wk","external_userid":"wm","send_time":"0x6553f100","origin":3}`, message), one, 1, false},
		"a customer that is none":   {list(`{"open_kfid":"wk","external_userid":7,"send_time":1700000000,"origin":3}`, message), one, 1, false},
		"too long an id":            {list(item(strings.Repeat("x", 129), ""), message), one, 1, false},
		"control in a customer":     {list(item("wm\x00", ""), message), one, 1, false},
		"bad UTF-8 in a customer":   {list(item("wm\xff", ""), message), one, 1, false},
		"an origin that is none":    {list(`{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":"three"}`, message), one, 1, false},
		"a servicer without ids":    {list(`{"origin":5}`, message), one, 0, false},
		"broken after the facts":    {list(item("wm2", `,"text":{"content":tru}`), message), one, 1, false},
		"broken before the facts":   {list(`{"x":tru,"open_kfid":"wk","external_userid":"wm2","send_time":1700000000,"origin":3}`, message), one, 1, false},
		"a servicer's, broken":      {list(`{"origin":5,"x":tru}`, message), one, 0, false},
		"a bad escape":              {list(text(`\x41`), message), one, 1, false},
		"a cut escape":              {list(text(`\ud8`), message), one, 1, false},
		"a comma too many":          {list(`{"origin":3,,}`, message), one, 1, false},
		"no colon":                  {list(`{"origin" 3}`, message), one, 1, false},
		"a literal that is none":    {list(`nul`, message), one, 1, false},
		"an item in other quotes":   {list(`{'origin':3}`, message), one, 1, false},
		"a quote in a text":         {list(message, text(`5" wide`), item("wm2", "")), both, 1, false},
		"quotes in a text":          {list(message, text(`so "wide" it is`), item("wm2", "")), both, 1, false},
		"a text that does not end":  {list(`{"msgid":"m","origin":3,"text":"abc}`, message, other), both, 1, false},
		"an object that does not":   {list(`{"msgid":"m","origin":3,"text":{"content":"a"}`, message, other), both, 1, false},
		"an array that does not":    {list(`{"msgid":"m","origin":3,"x":[1,2}`, message, other), both, 1, false},
		"an item that is cut":       {list(`{"msgid":"m","origin":3,"x":`, message, other), both, 1, false},
		"an item that ends twice":   {list(`{"msgid":"m","x":{}},"origin":3}`, message, other), both, 1, false},
		"broken, in another order":  {list(`{"external_userid":"w","text":{"content":"5" wide"},"origin":3}`, `{"external_userid":"wm","open_kfid":"wk","origin":3,"send_time":1700000000}`), one, 1, false},
		"broken, with blanks":       {list(text(`5" wide`)+"\n", "\n { \"msgid\" : \"m\", "+message[1:]), one, 1, false},
		"broken, and the last":      {list(message, text(`5" wide`)), one, 1, true},
		"broken, no next":           {list(text(`5" wide`), `{"x":1,`+message[1:]), nil, 1, true},
		"cut short":                 {`{"errcode":0,"msg_list":[` + message, one, 0, true},
		"cut in an item":            {`{"errcode":0,"msg_list":[` + message + `,{"origin":3,"external`, one, 1, true},
		"no JSON":                   {`<html>`, nil, 0, true},
		"nothing":                   {``, nil, 0, true},
		"a list that is none":       {`{"msg_list":{"a":1}}`, nil, 0, true},
		"a text that is no list":    {`{"msg_list":"[]"}`, nil, 0, true},
		"an array":                  {`[` + message + `]`, nil, 0, true},
		"broken before the list":    {`{"errmsg":"a"b","msg_list":[` + message + `]}`, nil, 0, true},
		"broken after the list":     {`{"msg_list":[` + message + `],"errmsg":"a"b"}`, one, 0, true},
		"an errcode that is none":   {`{"errcode":"x","msg_list":[` + message + `]}`, nil, 0, true},
		"a failure with messages":   {`{"errcode":-1,"msg_list":[` + message + `]}`, nil, 0, false},
		"a failure, in quotes":      {`{"msg_list":[` + message + `],"errcode":"45009"}`, nil, 0, false},
		"a failure, as a fraction":  {`{"msg_list":[` + message + `],"errcode":4.5009e4}`, nil, 0, false},
		"a failure that breaks off": {`{"errcode":45009,"errmsg":"api fr`, nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.body), iotest.OneByteReader(strings.NewReader(test.body)), iotest.DataErrReader(strings.NewReader(test.body))} {
				p, err := wecom.ReadPage(r)
				var customers []string
				for _, m := range p.Messages {
					customers = append(customers, m.Customer)
					if m != (wecom.Message{Channel: "wk", Customer: m.Customer, At: time.Unix(1700000000, 0)}) {
						t.Errorf("message = %+v", m)
					}
				}
				slices.Sort(customers)
				if (err != nil) != test.bad || !slices.Equal(customers, test.customers) || len(p.Unreadable) != test.unreadable {
					t.Fatalf("%q, unreadable: %+v, %v", customers, p.Unreadable, err)
				}
			}
		})
	}
}

// The report about an unreadable item has what could be read of it.
func TestUnreadableItems(t *testing.T) {
	at := time.Unix(1700000000, 0)
	event := func(members string) string {
		return `{"msgid":"m","send_time":1700000000,"origin":4,"event":{"open_kfid":"wk","external_userid":"wm",` + members + `}}`
	}
	for item, want := range map[string]*wecom.Unreadable{
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"origin":3}`:                                               {ID: "m", Channel: "wk", At: at, Message: true},
		`{"msgid":"m","open_kfid":"wk","external_userid":"wm","origin":3}`:                                               {ID: "m", Channel: "wk", Message: true},
		`{"msgid":5,"open_kfid":5,"external_userid":"wm","send_time":1700000000,"origin":"3.0"}`:                         {At: at, Message: true},
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"origin":3,"text":{"content":"\u12"}}`:                     {ID: "m", Channel: "wk", At: at, Message: true},
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"text":{"content":"\u12"},"origin":5}`:                     {ID: "m", Channel: "wk", At: at, Message: true, Code: true},
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"origin":[]}`:                                              {ID: "m", Channel: "wk", At: at, Message: true, Code: true},
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"origin":5,"x":nil}`:                                       nil,
		`{"msgid":"m","send_time":1700000000,"origin":4,"x":nil}`:                                                        {ID: "m", At: at, Code: true},
		event(`"event_type":"enter_session","welcome_code":"W","x":nil`):                                                 {ID: "m", Channel: "wk", At: at, Code: true},
		event(`"event_type":"enter_session","welcome_code":7`):                                                           {ID: "m", Channel: "wk", At: at, Code: true},
		event(`"event_type":"enter_session","welcome_code":""`):                                                          nil,
		event(`"event_type":"enter_session","welcome_code":"W","external_userid":null`):                                  {ID: "m", Channel: "wk", At: at, Code: true},
		event(`"event_type":"session_status_change","change_type":"?","msg_code":"C"`):                                   {ID: "m", Channel: "wk", At: at, Code: true},
		event(`"event_type":"session_status_change","change_type":2,"msg_code":"C"`):                                     nil,
		event(`"event_type":"msg_send_fail","fail_type":"?"`):                                                            nil,
		`{"origin":4,"event":{"event_type":"enter_session","open_kfid":"wk","external_userid":"wm","welcome_code":"W"}}`: {Channel: "wk", Code: true},
	} {
		p, err := wecom.ReadPage(strings.NewReader(`{"msg_list":[` + item + `,{"msgid":"n"}]}`))
		switch {
		case err != nil || len(p.Messages)+len(p.Codes)+len(p.Failures) > 0:
			t.Errorf("%s: %+v, %v", item, p, err)
		case want == nil && len(p.Unreadable) == 0:
		case want == nil || len(p.Unreadable) != 1 || p.Unreadable[0] != *want:
			t.Errorf("%s: %+v, want %+v", item, p.Unreadable, want)
		}
	}
}

// The cursor and has_more in their variants.
func TestReadPageCursor(t *testing.T) {
	for body, want := range map[string]wecom.Page{
		`{"errcode":0,"next_cursor":"c","has_more":1,"msg_list":[]}`:       {Next: "c", More: true},
		`{"errcode":0,"next_cursor":"c","has_more":"1","msg_list":null}`:   {Next: "c", More: true},
		`{"next_cursor":"c\u0031","has_more":1.0}`:                         {Next: "c1", More: true},
		`{"next_cursor":"c","has_more":true}`:                              {Next: "c", More: true},
		`{"next_cursor":"c","has_more":0.0,"msg_list":[]}`:                 {Next: "c"},
		`{"next_cursor":null,"has_more":null,"msg_list":[]}`:               {},
		`{"errcode":45009,"errmsg":"api freq","has_more":1,"msg_list":[]}`: {Errcode: 45009},
	} {
		if got, err := wecom.ReadPage(strings.NewReader(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// Parsing a broken page takes linear time.
func TestReadPageIsLinear(t *testing.T) {
	const size = 2 << 20
	for name, part := range map[string]string{
		"objects that do not end": `,{"msgid":"m","x":[`, "quotes": `,{"msgid":"m" x`, "brackets": "[", "names": `,{"`, "commas and blanks": ",    ",
		"backslashes": `\\`, "quotes in quotes": `,{"msgid":"\"`, "escapes": `"\"`, "numbers": `{"origin":1,`,
	} {
		body := `{"msg_list":[{"msgid":"m","x":[` + strings.Repeat(part, size/len(part))
		began := time.Now()
		if _, err := wecom.ReadPage(strings.NewReader(body)); err == nil {
			t.Errorf("%s: it is read", name)
		}
		if took := time.Since(began); took > 20*time.Second { // usually 0.03 s; quadratic time would take many minutes
			t.Errorf("%s: %s for %d bytes", name, took, size)
		}
	}
}

// Events give one-time codes and delivery failures.
func TestReadPageEvents(t *testing.T) {
	event := func(body string) string {
		return `{"msg_list":[{"msgid":"m","send_time":1700000000,"origin":4,"msgtype":"event","event":{"open_kfid":"wk","external_userid":"wm",` + body + `}}]}`
	}
	at := time.Unix(1700000000, 0)
	back := []wecom.Reply{{Channel: "wk", Customer: "wm", At: at, ID: "x", Back: true}}
	for body, want := range map[string]wecom.Page{
		`"event_type":"enter_session","scene":"1","welcome_code":"W"`:                    {Codes: []wecom.Code{{Text: "W", Kind: wecom.EnterSession, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"enter_session","scene":"1"`:                                       {},
		`"event_type":"session_status_change","change_type":1,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionTaken, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"session_status_change","change_type":2,"msg_code":"C"`:            {},
		`"event_type":"session_status_change","change_type":3,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionEnded, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":4`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 4, At: at}}, Replies: back},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":6`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 6, At: at}}, Replies: back},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":10`:                   {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 10, At: at}}, Replies: back},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":5`:                    {Replies: back},
		`"event_type":"servicer_recall_msg","servicer_userid":"z","recall_msgid":"x"`:    {Replies: back},
		`"event_type":"servicer_recall_msg","servicer_userid":"z"`:                       {},
		`"event_type":"user_recall_msg","recall_msgid":"x"`:                              {},
		`"event_type":"reject_customer_msg_switch_change","reject_switch":1`:             {},
		`"event_type":"enter_session","welcome_code":"` + strings.Repeat("W", 513) + `"`: {},
	} {
		if got, err := wecom.ReadPage(strings.NewReader(event(body))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

// An oversized item is dropped and reported; the others are read.
func TestReadPageWithALongItem(t *testing.T) {
	good := `{"msgid":"m","open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"text"}`
	for name, long := range map[string]string{
		"a text":   `{"msgid":"n","origin":3,"text":"` + strings.Repeat("x", 4<<20) + `"}`,
		"a string": `"` + strings.Repeat("x", 4<<20) + `"`,
		"blanks":   `{"msgid":"n",` + strings.Repeat(" ", 4<<20) + `"origin":3}`,
	} {
		page, err := wecom.ReadPage(strings.NewReader(`{"errcode":0,"msg_list":[` + good + `,` + long + `,` + good + `],"has_more":1}`))
		if err != nil || len(page.Messages) != 2 || len(page.Unreadable) != 1 || !page.More {
			t.Errorf("%s: %d messages, %d unreadable, %v", name, len(page.Messages), len(page.Unreadable), err)
		}
	}
}

// A stream that is aborted at any byte keeps the messages before it.
func TestReadPageOfAnAbortedStream(t *testing.T) {
	t.Parallel()
	page := `{"errcode":0,"next_cursor":"c","msg_list":[` + item("wmA", "") + `,` + item("wmB", "") + `],"has_more":1}`
	for n := range len(page) + 1 {
		p, err := wecom.ReadPage(io.MultiReader(strings.NewReader(page[:n]), iotest.ErrReader(errors.New("reset"))))
		if (err == nil) != (n == len(page)) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		want := strings.Count(page[:n], `"msgtype":"text"}`)
		if len(p.Messages) != want || len(p.Unreadable) > 1 || err != nil && !errors.Is(err, wecom.ErrUnreadable) {
			t.Fatalf("after %d bytes: %d messages, %+v, %v; want %d messages", n, len(p.Messages), p.Unreadable, err, want)
		}
	}
}

// The number of reported items is limited.
func TestReadPageIsBounded(t *testing.T) {
	t.Parallel()
	for n, complete := range map[int]bool{1000: true, 1001: false, 20_000: false} {
		p, err := wecom.ReadPage(strings.NewReader(`{"msg_list":[` + strings.Repeat(`{"origin":3},`, n) + item("wmA", "") + `]}`))
		if (err == nil) != complete || len(p.Unreadable) != min(n, 1001) || (len(p.Messages) == 1) != complete {
			t.Errorf("%d broken items: %d kept, %d messages, %v", n, len(p.Unreadable), len(p.Messages), err)
		}
	}
}

// Broken items of servicers are only counted: no window depends on them.
func TestReadPageCountsSkippedItems(t *testing.T) {
	t.Parallel()
	broken := `{"msgid":"m","origin":5,"x":tru}`
	p, err := wecom.ReadPage(strings.NewReader(`{"msg_list":[` + strings.Join([]string{broken, item("wmA", ""), broken, `{"origin":7,"y":nul}`}, ",") + `]}`))
	if err != nil || p.Skipped != 3 || len(p.Messages) != 1 || len(p.Unreadable) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// The longest page of WeCom is read completely and in order.
func TestReadPageOfAThousandItems(t *testing.T) {
	t.Parallel()
	var items []string
	for i := range 1000 {
		items = append(items, item(fmt.Sprintf("wm%d", i), `,"text":{"content":"`+strings.Repeat("你", 100)+`"}`))
	}
	p, err := wecom.ReadPage(iotest.HalfReader(strings.NewReader(`{"errcode":0,"errmsg":"ok","next_cursor":"c","has_more":0,"msg_list":[` + strings.Join(items, ",") + `]}`)))
	if err != nil || len(p.Messages) != 1000 || p.Next != "c" || p.More {
		t.Fatalf("%d messages, next %q, %v", len(p.Messages), p.Next, err)
	}
	for i, m := range p.Messages {
		if m.Customer != fmt.Sprintf("wm%d", i) {
			t.Fatalf("message %d belongs to %s", i, m.Customer)
		}
	}
}

// Servicers' messages are replies. One that does not tell whom it answers has no customer.
func TestReadPageReplies(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for item, want := range map[string][]wecom.Reply{
		`{"msgid":"m","open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":5,"servicer_userid":"z","msgtype":"text"}`: {{Channel: "wk", Customer: "wm", At: at, ID: "m"}},
		`{"msgid":"m","open_kfid":"wk","external_userid":"wm","origin":5}`:                                                               {{Channel: "wk", ID: "m"}},
		`{"msgid":"m","open_kfid":"wk","send_time":1700000000,"origin":5}`:                                                               {{Channel: "wk", At: at, ID: "m"}},
		`{"msgid":"m","external_userid":"wm","send_time":1700000000,"origin":5}`:                                                         {{At: at, ID: "m"}},
		`{"msgid":"m","open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":6}`:                                        nil,
	} {
		if page, err := wecom.ReadPage(strings.NewReader(`{"msg_list":[` + item + `]}`)); err != nil || !reflect.DeepEqual(page.Replies, want) {
			t.Errorf("%s: %+v, %v", item, page.Replies, err)
		}
	}
}

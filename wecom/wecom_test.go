package wecom_test

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"replygate/wecom"
)

// cases reads a table of testdata: lines of tab-separated columns, # begins a remark.
func cases(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s:%d: %d columns, want %d", name, i+1, len(row), columns)
		}
		all = append(all, row)
	}
	return all
}

func TestCatalogue(t *testing.T) {
	if n := len(wecom.Endpoints()); n != 955 {
		t.Errorf("%d endpoints, want 955", n)
	}
	for _, e := range wecom.Endpoints() {
		if r := wecom.ReadPath([]byte(e.Path)); r.Endpoint != e || r.Path != e.Path {
			t.Errorf("%s is read as %+v", e.Path, r)
		}
	}
	if n := len(wecom.Capabilities()); n != 43+1 {
		t.Errorf("%d capabilities", n)
	}
}

func TestReadPath(t *testing.T) {
	for _, c := range cases(t, "wecom/paths.tsv", 2) {
		path, want := c[0], c[1]
		r := wecom.ReadPath([]byte(path))
		lenient, odd := strings.CutPrefix(want, "odd:")
		if r.Ambiguous() != odd {
			t.Errorf("%s: odd is %v", path, r.Ambiguous())
			continue
		}
		if !odd {
			if string(r.Endpoint.Capability) != want {
				t.Errorf("%s: %s, want %s", path, r.Endpoint.Capability, want)
			}
			continue
		}
		if r.Path != path {
			t.Errorf("%s: an odd path changed to %s", path, r.Path)
		}
		if !slices.ContainsFunc(r.Readings, func(e *wecom.Endpoint) bool { return string(e.Capability) == lenient }) {
			t.Errorf("%s: no reading is %s", path, lenient)
		}
	}
}

func TestReadTokens(t *testing.T) {
	for _, c := range cases(t, "wecom/tokens.tsv", 2) {
		var all []string
		for _, token := range wecom.ReadTokens(nil, []byte(c[0])) {
			if token == "" {
				token = "-"
			}
			all = append(all, strings.NewReplacer("\x00", "%00", "%00", "%2500", " ", "%20", "\n", "%0a").Replace(token))
		}
		if got := strings.Join(all, " "); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

// read writes facts as the tables have them.
func read(f wecom.Facts) string {
	var parts []string
	add := func(name string, value any, there bool) {
		if there {
			parts = append(parts, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add("channel", f.Channel, f.Channel != "")
	add("customers", f.Customers, f.Customers != nil)
	add("groups", f.Groups, f.Groups != nil)
	add("code", f.Code, f.Code != "")
	add("msgtype", f.MsgType, f.MsgType != "")
	add("also", f.Also, f.Also != "")
	if f.Implicit {
		parts = append(parts, "implicit")
	}
	return strings.Join(parts, " ")
}

func TestReadFacts(t *testing.T) {
	for _, c := range cases(t, "wecom/bodies.tsv", 3) {
		f, err := wecom.Lookup(c[0]).ReadFacts(nil, []byte(c[1]))
		checkRead(t, c[0]+" "+c[1], f, err, c[2])
	}
}

// sloppyBodies are bodies as bots send them that a table of text cannot hold, with what is read, or
// ! and a part of the error.
var sloppyBodies = []struct{ name, path, body, want string }{
	// What no rule reads goes on as it came.
	{"half of a surrogate pair in the text", replyPath, `{"touser":"wmA","open_kfid":"wkA","msgtype":"text","text":{"content":"a\ud83d"}}`, "channel=wkA customers=[wmA] msgtype=text"},
	{"a low surrogate alone", replyPath, `{"touser":"wmA","text":{"content":"\ude00\ude00"}}`, "customers=[wmA]"},
	{"UTF-8 that is cut", replyPath, "{\"touser\":\"wmA\",\"text\":{\"content\":\"\xe4\xbd\"}}", "customers=[wmA]"},
	{"GBK in the text", replyPath, "{\"text\":{\"content\":\"\xc4\xe3\xba\xc3\"},\"touser\":\"wmA\"}", "customers=[wmA]"},
	{"a raw tab and line feed", replyPath, "{\"touser\":\"wmA\",\"text\":{\"content\":\"a\tb\nc\r\"}}", "customers=[wmA]"},
	{"a raw escape and NUL", replyPath, "{\"touser\":\"wmA\",\"text\":{\"content\":\"a\x1bb\x00c\"}}", "customers=[wmA]"},
	{"an escaped NUL", replyPath, `{"touser":"wmA","text":{"content":"a\u0000"}}`, "customers=[wmA]"},
	{"a byte order mark", replyPath, "\xef\xbb\xbf{\"touser\":\"wmA\"}", "customers=[wmA]"},
	{"a name twice in the text", replyPath, `{"touser":"wmA","text":{"content":"a","content":"b"}}`, "customers=[wmA]"},
	{"a name twice that nobody reads", replyPath, `{"touser":"wmA","text":{"content":"a"},"text":{"content":"b"}}`, "customers=[wmA]"},
	{"an odd name that nobody reads", replyPath, "{\"touser\":\"wmA\",\"x\xff \t\":1}", "customers=[wmA]"},
	{"sloppy before the recipient", replyPath, "{\"text\":{\"content\":\"\xff\n\"},\"msgtype\":\"text\",\"open_kfid\":\"wkA\",\"touser\":\"wmA\"}", "channel=wkA customers=[wmA] msgtype=text"},

	// Names and values that are read stand there plainly.
	{"a name with NUL", replyPath, `{"touser\u0000":"wmA"}`, "!a variant of"},
	{"a name with raw NUL", replyPath, "{\"touser\x00z\":\"wmA\"}", "!a variant of"},
	{"a second name with NUL", replyPath, `{"touser":"wmA","touser\u0000x":"wmB"}`, "!a variant of"},
	{"a name with a blank", replyPath, `{"touser ":"wmA"}`, "!a variant of"},
	{"a name with a tab", replyPath, "{\"\ttouser\":\"wmA\"}", "!a variant of"},
	{"a name with a wide blank", replyPath, "{\"touser\u3000\":\"wmA\"}", "!a variant of"},
	{"a name with a zero-width blank", replyPath, "{\"touser\u200b\":\"wmA\"}", "!a variant of"},
	{"a name in capitals with a blank", replyPath, `{" OPEN_KFID":"wkA"}`, "!a variant of"},
	{"the Kelvin sign in a name", replyPath, "{\"touser\":\"wmA\",\"open_\u212afid\":\"wkB\"}", "!a variant of"},
	{"a kind with NUL", replyPath, `{"touser":"wmA","msgtype":"business_card\u0000"}`, "!msgtype holds"},
	{"a kind with a blank", replyPath, `{"touser":"wmA","msgtype":"ca_link "}`, "!msgtype holds"},
	{"a customer with a blank", replyPath, `{"touser":" wmA"}`, "!touser holds"},
	{"a customer with a line feed", replyPath, `{"touser":"wmA\n"}`, "!touser holds"},
	{"a customer with a raw control byte", replyPath, "{\"touser\":\"wm\x01\"}", "!touser holds"},
	{"a customer with a no-break blank", replyPath, "{\"touser\":\"wmA\u00a0\"}", "!touser holds"},
	{"a customer that is not UTF-8", replyPath, "{\"touser\":\"wm\xff\"}", "!probably GBK"},
	{"a customer with half a pair", replyPath, `{"touser":"wm\ud800"}`, "!surrogate"},
	{"a channel with NUL", replyPath, `{"touser":"wmA","open_kfid":"wkA\u0000"}`, "!open_kfid holds"},
	{"a code with a blank", eventPath, `{"code":"C "}`, "!code holds"},
	{"a code with NUL", eventPath, `{"code":"C\u0000D"}`, "!code holds"},
	{"a customer of a list with a blank", massPath, `{"external_userid":["a","b "]}`, "!external_userid holds"},
	{"an inner name with a blank", "/cgi-bin/kf/send", `{"receiver":{"id":"wmA","id ":"wmB"}}`, "!a variant of"},

	// Where nobody named means somebody else, nothing that a reader could stop at comes first.
	{"sloppy before the customers", massPath, "{\"text\":{\"content\":\"a\nb\"},\"external_userid\":[\"a\"]}", "!name the recipients first"},
	{"a cut pair before the customers", massPath, `{"text":{"content":"\ud83d"},"external_userid":["a"]}`, "!name the recipients first"},
	{"a byte order mark before the customers", massPath, "\xef\xbb\xbf{\"external_userid\":[\"a\"]}", "!name the recipients first"},
	{"an unchecked member before the customers", massPath, `{"attachments":[],"external_userid":["a"]}`, "!name the recipients first"},
	{"null before the customers", massPath, `{"chat_id_list":null,"external_userid":["a"]}`, "!name the recipients first"},
	{"a sender of another type", massPath, `{"sender":["z"],"external_userid":["a"]}`, "!name the recipients first"},
	{"a text of another type", massPath, `{"text":"x","external_userid":["a"]}`, "!name the recipients first"},
	{"checked members before the customers", massPath, `{"allow_select":true,"chat_type":"single","sender":"z","text":{"content":"你\n"},"external_userid":["a"]}`, "customers=[a]"},
	{"sloppy after the customers", massPath, "{\"external_userid\":[\"a\"],\"text\":{\"content\":\"a\nb\"}}", "customers=[a]"},
	{"the kind of chat after a sloppy part", massPath, "{\"external_userid\":[\"a\"],\"text\":{\"content\":\"a\nb\"},\"chat_type\":\"group\"}", "!name the recipients first"},
	{"everybody after an unchecked member", "/cgi-bin/externalcontact/message/send", `{"to_external_user":["a"],"agentid":1,"toall":1}`, "!name the recipients first"},

	// What is not JSON, with the cause in words.
	{"GBK that breaks the JSON", replyPath, "{\"text\":{\"content\":\"\xc5\\\"},\"touser\":\"wmA\"}", "!probably GBK"},
	{"UTF-16", replyPath, "{\x00\"\x00t\x00o\x00u\x00s\x00e\x00r\x00", "!UTF-16"},
	{"gzip", replyPath, "\x1f\x8b\x08\x00", "!compressed"},
	{"UTF-16 with its mark", replyPath, "\xff\xfe{\x00\"\x00", "!UTF-16"},
	{"NUL after the object", replyPath, "{\"touser\":\"wmA\"}\x00", "!something follows"},
	{"too deep", replyPath, `{"touser":"wmA","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "!nests deeper"},
	{"a long id", replyPath, `{"touser":"` + strings.Repeat("w", 129) + `"}`, "!longer than the 128 bytes"},
	{"an escape that JSON lacks", replyPath, `{"touser":"wmA","text":{"content":"\x41"}}`, "!escape"},
	{"a cut escape", replyPath, `{"touser":"wmA","text":{"content":"\u12"}}`, "!escape"},
}

const (
	replyPath = "/cgi-bin/kf/send_msg"
	eventPath = "/cgi-bin/kf/send_msg_on_event"
	massPath  = "/cgi-bin/externalcontact/add_msg_template"
)

func TestReadFactsOfSloppyBodies(t *testing.T) {
	for _, c := range sloppyBodies {
		f, err := wecom.Lookup(c.path).ReadFacts(nil, []byte(c.body))
		checkRead(t, c.name, f, err, c.want)
		if err != nil && strings.Contains(err.Error(), "wmA") {
			t.Errorf("%s: the error quotes the call: %v", c.name, err)
		}
	}
}

// checkRead compares what was read with what a table wants: facts, or ! and a part of the error.
func checkRead(t *testing.T, name string, f wecom.Facts, err error, want string) {
	t.Helper()
	part, bad := strings.CutPrefix(want, "!")
	switch {
	case bad && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("%s: read as %q, error %v, want an error with %q", name, read(f), err, part)
	case !bad && (err != nil || read(f) != want):
		t.Errorf("%s: read as %q, error %v; want %q", name, read(f), err, want)
	}
}

// A body that can be read as a form, with the types that declare one.
func TestCheckForm(t *testing.T) {
	for _, c := range cases(t, "wecom/forms.tsv", 4) {
		e, body := wecom.Lookup(c[0]), []byte(strings.ReplaceAll(c[2], `\n`, "\n"))
		f, err := e.ReadFacts(nil, body)
		if err != nil {
			err = wecom.ExplainForm(c[1], body, err)
		} else {
			err = e.CheckForm(c[1], body)
		}
		checkRead(t, c[1]+" "+c[2], f, err, c[3])
	}
}

func TestReadFactsOfAQuery(t *testing.T) {
	get := wecom.Lookup("/cgi-bin/externalcontact/get")
	f, err := get.ReadFacts([]byte("access_token=T&external_userid=wm%41"), nil)
	if err != nil || read(f) != "customers=[wmA]" {
		t.Errorf("%q, %v", read(f), err)
	}
	for _, query := range []string{"external_userid=a&external_userid=b", "external_userid=a%00b", "external_userid=+a", "external_userid=a%0a", "external_userid=%2561", "external_userid=%ff"} {
		if f, err := get.ReadFacts([]byte(query), nil); err == nil {
			t.Errorf("%s is read as %q", query, read(f))
		}
	}
}

// item is a customer's message on a page, with more members after those that matter.
func item(customer, more string) string {
	return `{"msgid":"m","open_kfid":"wk","external_userid":"` + customer + `","send_time":1700000000,"origin":3,"msgtype":"text"` + more + `}`
}

// A page is read as leniently as clients read it; what cannot be read loses no more than it must.
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

// What is lost with an item that cannot be read, as far as the item tells.
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

// Where the page goes on.
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

// Reading costs time in proportion to a page, however it is broken.
func TestReadPageIsLinear(t *testing.T) {
	const size = 8 << 20
	for name, part := range map[string]string{
		"objects that do not end": `,{"msgid":"m","x":[`, "quotes": `,{"msgid":"m" x`, "brackets": "[", "names": `,{"`, "commas and blanks": ",    ",
		"backslashes": `\\`, "quotes in quotes": `,{"msgid":"\"`, "escapes": `"\"`, "numbers": `{"origin":1,`,
	} {
		body := `{"msg_list":[{"msgid":"m","x":[` + strings.Repeat(part, size/len(part))
		began := time.Now()
		if _, err := wecom.ReadPage(strings.NewReader(body)); err == nil {
			t.Errorf("%s: it is read", name)
		}
		if took := time.Since(began); took > 20*time.Second { // some 0.1 s; what is not linear takes hours
			t.Errorf("%s: %s for %d bytes", name, took, size)
		}
	}
}

// WeCom's other answers are read as leniently: errcodes, tokens, codes.
func TestOtherAnswersAreReadLeniently(t *testing.T) {
	for body, want := range map[string]int{
		`{"errcode":"95002","errmsg":"x"}`: 95002, `{"errcode":95002.0}`: 95002, `{"errmsg":"ok"}`: 0, `{"errcode":"0"}`: 0, `{"errcode":0.0}`: 0,
		"\xEF\xBB\xBF{\"errcode\":95001}": 95001, "{\"errmsg\":\"a\x00\tb\\\x01\",\"errcode\":95001}": 95001, `{"errcode":95002}x`: 95002,
		`{"errcode":1,"errcode":95002}`: 95002, "{\"errmsg\":\"\xff\",\"errcode\":-1}": -1, `{"errcode":null}`: 0,
	} {
		if strings.Contains(body, "\\\x01") { // no client reads such an escape
			want = -2
		}
		got, err := wecom.ReadErrcode([]byte(body))
		if err != nil {
			got = -2
		}
		if got != want {
			t.Errorf("%q: %d, %v", body, got, err)
		}
	}
	for _, body := range []string{``, `x`, `[]`, `{"errcode":95002`, `{"errcode":"many"}`, `{"errcode":1.5}`, `{"errcode":{}}`} {
		if got, err := wecom.ReadErrcode([]byte(body)); err == nil {
			t.Errorf("%q: %d", body, got)
		}
	}
	for _, answer := range []string{
		`{"errcode":"0","access_token":"T","expires_in":"7200"}`, `{"errcode":0.0,"access_token":"T","expires_in":7.2e3}`,
		"\xEF\xBB\xBF{\"errcode\":0,\"errmsg\":\"o\x00k\",\"access_token\":\"T\",\"expires_in\":7200}\x00",
	} {
		if g, found := wecom.ReadGrant(wecom.PathGetToken, wecom.Sent{Query: []byte("corpid=ww1")}, []byte(answer)); !found || g != (wecom.Grant{Corp: "ww1", Token: "T", Life: 2 * time.Hour}) {
			t.Errorf("%q: %+v, %v", answer, g, found)
		}
	}
	request := []byte(`{"open_kfid":"wk","external_userid":"wm","service_state":3}`)
	if c, found, _ := wecom.ReadTransition(wecom.Sent{Body: request, HasBody: true}, []byte("{\"errcode\":\"0\",\"errmsg\":\"\x1b\",\"msg_code\":\"C\"}"), time.Unix(1, 0)); !found || c.Text != "C" {
		t.Errorf("%+v, %v", c, found)
	}
}

func TestReadGrant(t *testing.T) {
	const answer = `{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":7200}`
	for _, test := range []struct{ path, query, request, answer, corp string }{
		{wecom.PathGetToken, "corpid=ww1&corpsecret=s", "", answer, "ww1"},
		{wecom.PathGetToken, "corpid=ww1", "", `{"access_token":"T","expires_in":7200}`, "ww1"},
		{wecom.PathGetToken, "corpid=ww1&corpid=ww2", "", answer, ""},
		{wecom.PathGetToken, "corpid=ww1&CorpID=ww2", "", answer, ""},
		{wecom.PathGetToken, "", "", answer, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":40001,"access_token":"T","expires_in":7200}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":"","expires_in":7200}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":"T","expires_in":0}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":1}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `<html>`, ""},
		{wecom.PathCorpToken, "suite_access_token=S", `{"auth_corpid":"ww1","permanent_code":"P"}`, answer, "ww1"},
		{wecom.PathCorpToken, "", `{"auth_corpid":"ww1","auth_corpid":"ww2"}`, answer, ""},
		{wecom.PathCorpToken, "", `{"auth_corpid":"ww1","Auth_CorpID":"ww2"}`, answer, ""},
		{wecom.PathCorpToken, "", `{"auth_corpid":1}`, answer, ""},
		{wecom.PathCorpToken, "", ``, answer, ""},
		{wecom.PathDownstreamToken, "access_token=U", `{"corpid":"ww9","business_type":1,"agentid":7}`, answer, "ww9"},
		{wecom.PathPermanentCode, "", `{"auth_code":"A"}`, `{"access_token":"T","expires_in":7200,"permanent_code":"P","auth_corp_info":{"corpid":"ww3","corp_name":"n"}}`, "ww3"},
		{wecom.PathPermanentCodeV2, "", `{"auth_code":"A"}`, `{"permanent_code":"P","auth_corp_info":{"corpid":"ww3"}}`, ""},
		{wecom.PathRegisterInfo, "", `{"register_code":"R"}`, `{"corpid":"ww4","contact_sync":{"access_token":"T","expires_in":7200}}`, "ww4"},
		{wecom.PathRegisterInfo, "", `{"register_code":"R"}`, `{"corpid":"ww4","access_token":"T","expires_in":7200}`, ""},
	} {
		want := wecom.Grant{Corp: test.corp, Token: "T", Life: 2 * time.Hour}
		got, found := wecom.ReadGrant(test.path, wecom.Sent{Query: []byte(test.query), Body: []byte(test.request), HasBody: test.request != ""}, []byte(test.answer))
		if found != (test.corp != "") || found && got != want {
			t.Errorf("%s?%s %s: %+v, %v", test.path, test.query, test.request, got, found)
		}
	}
}

// What a call teaches, as far as it has one reading.
func TestTeaching(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for _, c := range cases(t, "wecom/teaching.tsv", 5) {
		call := wecom.Sent{Query: []byte(c[1]), Body: []byte(c[2]), HasBody: c[2] != ""}
		for line := range strings.SplitSeq(c[3], "|") {
			switch name, value, _ := strings.Cut(line, ": "); name {
			case "Content-Type":
				call.Types = strings.TrimPrefix(call.Types+","+value, ",")
			case "Content-Encoding":
				call.Encodings = value
			}
		}
		got := "-"
		if c[0] == wecom.PathStateTrans {
			if code, found, _ := wecom.ReadTransition(call, []byte(`{"errcode":0,"msg_code":"C"}`), at); found {
				got = code.Channel + "/" + code.Customer
			}
		} else if g, found := wecom.ReadGrant(c[0], call, []byte(`{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":7200}`)); found {
			got = g.Corp
		}
		if got != c[4] {
			t.Errorf("%s?%s %s %s: %s, want %s", c[0], c[1], c[2], c[3], got, c[4])
		}
	}
}

// A body that was sent and is not known teaches as little as one that says something else.
func TestUnknownBodyTeachesNothing(t *testing.T) {
	answer := []byte(`{"errcode":0,"access_token":"T","expires_in":7200}`)
	for _, path := range []string{wecom.PathGetToken, wecom.PathCorpToken, wecom.PathDownstreamToken} {
		if g, found := wecom.ReadGrant(path, wecom.Sent{Query: []byte("corpid=ww1"), HasBody: true}, answer); found {
			t.Errorf("%s: %+v", path, g)
		}
	}
}

func TestReadChannel(t *testing.T) {
	for body, want := range map[string]string{
		`{"open_kfid":"wk1"}`:                              "wk1",
		`{"cursor":"c","open_kfid":"wk1","limit":1000}`:    "wk1",
		`{"open_kfid":"wk1","Open_KfID":"wk2"}`:            "",
		`{"open_kfid":"wk1","open_kfid":"wk2"}`:            "",
		`{"open_kfid":"wk1\u0000"}`:                        "",
		`{"open_kfid":"` + strings.Repeat("w", 129) + `"}`: "",
		`{"cursor":"c"}`:                                   "",
		`{}`:                                               "",
		``:                                                 "",
	} {
		if got := wecom.ReadChannel(wecom.Sent{Body: []byte(body), HasBody: true}); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// The prefix that names a corp is one in just its own spelling; what some server could take for one
// of the gateway's own prefixes is known for it in any spelling.
func TestOwnPaths(t *testing.T) {
	for _, c := range cases(t, "wecom/own.tsv", 4) {
		corp, rest := wecom.CutCorp([]byte(c[0]))
		if string(corp) != c[1] || string(rest) != c[2] {
			t.Errorf("%s: corp %q, rest %q, want %q, %q", c[0], corp, rest, c[1], c[2])
		}
		if own := fmt.Sprint(wecom.IsOwn([]byte(c[2]))); own != c[3] {
			t.Errorf("%s: IsOwn(%s) is %s, want %s", c[0], c[2], own, c[3])
		}
	}
}

// What events give: codes with whom they stand for, and replies that were not delivered.
func TestReadPageEvents(t *testing.T) {
	event := func(body string) string {
		return `{"msg_list":[{"msgid":"m","send_time":1700000000,"origin":4,"msgtype":"event","event":{"open_kfid":"wk","external_userid":"wm",` + body + `}}]}`
	}
	at := time.Unix(1700000000, 0)
	for body, want := range map[string]wecom.Page{
		`"event_type":"enter_session","scene":"1","welcome_code":"W"`:                    {Codes: []wecom.Code{{Text: "W", Kind: wecom.EnterSession, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"enter_session","scene":"1"`:                                       {},
		`"event_type":"session_status_change","change_type":1,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionTaken, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"session_status_change","change_type":2,"msg_code":"C"`:            {},
		`"event_type":"session_status_change","change_type":3,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionEnded, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":4`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 4, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":6`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 6, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":10`:                   {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 10, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":5`:                    {},
		`"event_type":"user_recall_msg","recall_msgid":"x"`:                              {},
		`"event_type":"reject_customer_msg_switch_change","reject_switch":1`:             {},
		`"event_type":"enter_session","welcome_code":"` + strings.Repeat("W", 513) + `"`: {},
	} {
		if got, err := wecom.ReadPage(strings.NewReader(event(body))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestReadTransition(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for _, test := range []struct {
		request, answer string
		kind            wecom.CodeKind
		lost            bool
	}{
		{`{"open_kfid":"wk","external_userid":"wm","service_state":2}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToQueue, false},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3,"servicer_userid":"z"}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToServicer, false},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":4}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToEnd, false},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":1}`, `{"errcode":0,"msg_code":"C"}`, "", true},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3}`, `{"errcode":0}`, "", false},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3}`, `{"errcode":95016,"msg_code":"C"}`, "", false},
		{`{"open_kfid":"wk","external_userid":"wm","external_userid":"wx","service_state":3}`, `{"errcode":0,"msg_code":"C"}`, "", true},
		{``, `{"errcode":0,"msg_code":"C"}`, "", true},
		{`{}`, `<html>`, "", true},
	} {
		c, found, lost := wecom.ReadTransition(wecom.Sent{Body: []byte(test.request), HasBody: true}, []byte(test.answer), at)
		want := wecom.Code{Text: "C", Kind: test.kind, Channel: "wk", Customer: "wm", At: at}
		if lost != test.lost || found != (test.kind != "") || found && c != want {
			t.Errorf("%s: %+v, %v", test.request, c, found)
		}
	}
}

func TestRefusalIsJSON(t *testing.T) {
	got := string(wecom.Refusal{Errcode: 95002, Errmsg: "a \"quoted\" text\n\xff", Verdict: "refuse", Rule: "r", Reason: "window_closed", DecisionID: "id"}.AppendJSON(nil))
	want := `{"errcode":95002,"errmsg":"a \"quoted\" text\n�","replygate":{"verdict":"refuse","rule":"r","reason":"window_closed","decision_id":"id"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkReadFacts(b *testing.B) {
	send := wecom.Lookup("/cgi-bin/kf/send_msg")
	for name, size := range map[string]int{"400B": 300, "64KiB": 64 << 10} {
		body := []byte(`{"touser":"wmHdKzDAAA","open_kfid":"wkAJ2GCAAA","msgtype":"text","text":{"content":"` + strings.Repeat("x", size) + `"}}`)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := send.ReadFacts(nil, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An item that is longer than any of WeCom's loses itself alone, and is not kept in memory.
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

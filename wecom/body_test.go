package wecom_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"replygate/wecom"
)

// read formats facts in the notation of the tables.
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

// sloppyBodies are malformed bodies of real bots with bytes that a text table cannot hold. want is
// in the notation of read, or ! and a part of the error.
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

// checkRead compares facts with want: the notation of read, or ! and a part of the error.
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

// The limits of lengths, numbers and nesting are exact.
func TestReadFactsBounds(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("w", wecom.MaxID)
	list := func(n int) string { return `["a"` + strings.Repeat(`,"a"`, n-1) + `]` }
	for _, test := range []struct{ name, path, body, want string }{
		{"the longest id", replyPath, `{"touser":"` + id + `"}`, "customers=[" + id + "]"},
		{"a longer id", replyPath, `{"touser":"` + id + `w"}`, "!touser is longer than the 128 bytes"},
		{"a longer channel", replyPath, `{"open_kfid":"` + id + `w"}`, "!open_kfid is longer than the 128 bytes"},
		{"a longer msgtype", replyPath, `{"msgtype":"` + id + `w"}`, "!msgtype is longer than the 128 bytes"},
		{"a longer inner id", "/cgi-bin/kf/send", `{"receiver":{"id":"` + id + `w"}}`, "!receiver.id is longer"},
		{"a longer group", massPath, `{"chat_id_list":["` + id + `w"]}`, "!chat_id_list is longer"},
		{"bytes count, not characters", replyPath, `{"touser":"` + strings.Repeat("微", 43) + `"}`, "!longer"},
		{"a code may be longer", eventPath, `{"code":"` + id + id + `"}`, "code=" + id + id},
		{"an empty id is none", replyPath, `{"touser":""}`, ""},
		{"empty ids are none", massPath, `{"external_userid":["","a",""]}`, "customers=[a]"},
		{"the longest list", massPath, `{"external_userid":` + list(10_000) + `}`, "customers=[" + strings.TrimSpace(strings.Repeat("a ", 10_000)) + "]"},
		{"a longer list", massPath, `{"external_userid":` + list(10_001) + `}`, "!more than 10000 recipients"},
		{"two lists together", massPath, `{"external_userid":` + list(5_000) + `,"chat_id_list":` + list(5_001) + `}`, "!more than 10000 recipients"},
		{"the deepest", replyPath, `{"touser":"a","x":` + nested(63) + `}`, "customers=[a]"},
		{"deeper", replyPath, `{"touser":"a","x":` + nested(64) + `}`, "!nests deeper than 64 levels"},
	} {
		f, err := wecom.Lookup(test.path).ReadFacts(nil, []byte(test.body))
		checkRead(t, test.name, f, err, test.want)
	}
}

// Some calls reach customers that they do not name, or have a second capability.
func TestReadFactsOfImplicitRecipients(t *testing.T) {
	t.Parallel()
	const school, kf = "/cgi-bin/externalcontact/message/send", "/cgi-bin/kf/send"
	for _, test := range []struct{ path, body, want string }{
		{massPath, `{"text":{"content":"x"}}`, "implicit"},
		{massPath, `{"external_userid":[]}`, "implicit"},
		{massPath, `{"external_userid":["a"],"chat_type":"single"}`, "customers=[a]"},
		{massPath, `{"external_userid":["a"],"chat_type":""}`, "customers=[a]"},
		{massPath, `{"external_userid":["a"],"chat_type":"group"}`, "customers=[a] implicit"},
		{massPath, `{"chat_id_list":["g"],"chat_type":"group"}`, "groups=[g]"},
		{massPath, `{"chat_type":"group"}`, "implicit"},
		{massPath, `{"external_userid":["a"],"chat_id_list":["g"],"chat_type":"group"}`, "customers=[a] groups=[g] implicit"},
		{school, `{"to_external_user":["a"]}`, "customers=[a]"},
		{school, `{"to_external_user":["a"],"toall":0}`, "customers=[a]"},
		{school, `{"to_external_user":["a"],"toall":"0"}`, "customers=[a]"},
		{school, `{"to_external_user":["a"],"toall":false}`, "customers=[a]"},
		{school, `{"to_external_user":["a"],"toall":1}`, "customers=[a] implicit"},
		{school, `{"to_external_user":["a"],"toall":true}`, "customers=[a] implicit"},
		{school, `{"to_external_user":["a"],"toall":"x"}`, "customers=[a] implicit"},
		{school, `{"to_external_user":["a"],"toall":0.0}`, "customers=[a] implicit"}, // not surely zero to everybody
		{school, `{"to_external_user":["a"],"to_party":["1"]}`, "customers=[a] implicit"},
		{school, `{"to_party":[""]}`, ""},
		{kf, `{"receiver":{"id":"a","type":"userid"}}`, "customers=[a]"},
		{kf, `{"receiver":{"id":"a","type":"openid"}}`, "customers=[a] implicit"},
		{"/cgi-bin/externalcontact/transfer_customer", `{"external_userid":["a"]}`, "customers=[a]"},
		{"/cgi-bin/externalcontact/transfer_customer", `{"external_userid":["a"],"transfer_success_msg":""}`, "customers=[a]"},
		{"/cgi-bin/externalcontact/transfer_customer", `{"external_userid":["a"],"transfer_success_msg":"hi"}`, "customers=[a] also=mass_message"},
		{"/cgi-bin/externalcontact/transfer_customer", `{"external_userid":["a"],"transfer_success_msg":7}`, "customers=[a] also=mass_message"},
		{"/cgi-bin/externalcontact/transfer_customer", `{"external_userid":["a"],"transfer_success_msg":null}`, "customers=[a]"},
		{"/cgi-bin/externalcontact/list", ``, "implicit"},
		{"/cgi-bin/user/get", `not read at all`, ""},
	} {
		f, err := wecom.Lookup(test.path).ReadFacts(nil, []byte(test.body))
		checkRead(t, test.path+" "+test.body, f, err, test.want)
	}
}

// Lenient is set for calls that can be trimmed if their body is not strictly valid JSON.
func TestReadFactsLenient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path, body string
		want       bool
	}{
		{massPath, `{"external_userid":["a"],"text":{"content":"x"}}`, false},
		{massPath, "{\"external_userid\":[\"a\"],\"text\":{\"content\":\"a\nb\"}}", true},
		{massPath, `{"external_userid":["a"],"text":{"content":"\ud83d"}}`, true},
		{massPath, `{"external_userid":["a"],"x":1,"x":2}`, true},
		{replyPath, "{\"touser\":\"a\",\"text\":{\"content\":\"a\nb\"}}", false}, // never rewritten
	} {
		f, err := wecom.Lookup(test.path).ReadFacts(nil, []byte(test.body))
		if err != nil || f.Lenient != test.want {
			t.Errorf("%q: Lenient = %v, %v", test.body, f.Lenient, err)
		}
	}
}

// Facts share no memory with the body, which proxies reuse, or with other calls.
func TestReadFactsConcurrently(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 300 {
				customer, channel := fmt.Sprintf("wm%d-%d", i, n), fmt.Sprintf("wk%d-%d", i, n)
				body := fmt.Appendf(nil, `{"touser":%q,"open_kfid":%q,"msgtype":"text"}`, customer, channel)
				f, err := wecom.Lookup(replyPath).ReadFacts(nil, body)
				for j := range body {
					body[j] = 'X'
				}
				if err != nil || f.Channel != channel || len(f.Customers) != 1 || f.Customers[0] != customer || f.MsgType != "text" {
					t.Errorf("%s in %s: %+v, %v", customer, channel, f, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// The error texts are part of the answers to callers.
func TestReadFactsErrors(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                               "the body is empty; it must be a JSON object",
		`[]`:                             "the body is not a JSON object",
		`7`:                              "the body is not a JSON object",
		`{"touser":"a"`:                  "the JSON of the body is cut short",
		`{"touser":'a'}`:                 "the body is not valid JSON: a value is not one of JSON's: a string in double quotes, a number, true, false or null",
		`{touser:"a"}`:                   "the body is not valid JSON: a name is not a string in double quotes",
		`{"touser":"a",}`:                "the body is not valid JSON: a comma, a colon or a bracket is missing or misplaced",
		`{"touser":"\a"}`:                "the body is not valid JSON: a string holds an escape that JSON does not have",
		`{"touser":"a"} x`:               "something follows the JSON object in the body",
		`{"touser":7}`:                   "touser must be a string",
		`{"touser":["a"]}`:               "touser must be a string",
		`{"touser":"a","touser":"a"}`:    "touser occurs twice in the body",
		`{"TOUSER":"a"}`:                 "a name in the body is a variant of touser, by letter case, escapes, blanks or control characters",
		"{\"touser\":\"a\xff\"}":         "touser is not UTF-8, probably GBK; send UTF-8",
		`{"touser":"a\ud83d"}`:           "touser holds half of a surrogate pair, or a character that was replaced for being broken",
		`{"touser":"a b"}`:               "touser holds a blank or a control character",
		"\xff\xfe{\x00":                  "the body is UTF-16; send UTF-8",
		"\x00{":                          "the body is UTF-16; send UTF-8",
		"\x1f\x8b\x08":                   "the body is compressed; send it as plain JSON",
		"{\"x\":\"\xc5\\\",\"touser\":1": "the text is not UTF-8, probably GBK, and cannot be read as JSON; send UTF-8",
	} {
		if _, err := wecom.Lookup(replyPath).ReadFacts(nil, []byte(body)); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", body, err, want)
		}
	}
	for _, test := range []struct{ query, want string }{
		{"external_userid=a&external_userid=b", "the query can be read as carrying external_userid twice"},
		{"external_userid=%2561", "external_userid in the query is escaped twice"},
		{"external_userid=a%20", "external_userid in the query holds a blank or a control character"},
		{"external_userid=" + strings.Repeat("w", 129), "external_userid is longer than the 128 bytes of any WeCom id"},
	} {
		if _, err := wecom.Lookup("/cgi-bin/externalcontact/get").ReadFacts([]byte(test.query), nil); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.query, err, test.want)
		}
	}
}

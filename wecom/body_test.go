package wecom_test

import (
	"fmt"
	"strings"
	"testing"

	"replygate/wecom"
)

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

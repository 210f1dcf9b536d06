package wecom_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

func TestReadEnvelope(t *testing.T) {
	for body, want := range map[string]string{
		`<xml><ToUserName><![CDATA[ww]]></ToUserName><AgentID></AgentID><Encrypt><![CDATA[abc=]]></Encrypt></xml>`: "abc=",
		"\n<xml><Encrypt>abc=</Encrypt></xml>\n":                  "abc=",
		`{"encrypt":"abc="}`:                                      "abc=",
		`{"ToUserName":"ww","Encrypt":"abc=","AgentID":"1"}`:      "abc=",
		`{"tousername":"ww","encrypt":"abc=","agentid":1}`:        "abc=",
		`<?xml version="1.0"?><xml><Encrypt>abc=</Encrypt></xml>`: "abc=",
		"":                               "",
		"abc=":                           "",
		`<xml></xml>`:                    "",
		`<xml><Encrypt></Encrypt></xml>`: "",
		`<xml><Encrypt>a</Encrypt><Encrypt>a</Encrypt></xml>`:                  "",
		`<xml><a><Encrypt>abc=</Encrypt></a></xml>`:                            "",
		`<xml><Encrypt>abc=</Encrypt>`:                                         "",
		`<xml><Encrypt>abc=</Encrypt></xml><xml/>`:                             "",
		`<xml><Encrypt>abc=</encrypt></xml>`:                                   "",
		`<!DOCTYPE xml [<!ENTITY e "abc=">]><xml><Encrypt>&e;</Encrypt></xml>`: "",
		`<xml><Encrypt>&e;</Encrypt></xml>`:                                    "",
		`<xml>` + strings.Repeat("<a>", 100) + `</xml>`:                        "",
		`{"encrypt":"a","Encrypt":"a"}`:                                        "",
		`{"encrypt":"a","encrypt":"a"}`:                                        "",
		`{"encrypt":1}{}`:                                                      "",
		`{"encrypt":["a"]}`:                                                    "",
		`[{"encrypt":"a"}]`:                                                    "",
	} {
		if got, err := wecom.ReadEnvelope([]byte(body)); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
}

// Samples of each documented format with their corp, customer and time.
func TestReadCallback(t *testing.T) {
	at := time.Unix(1348831860, 0)
	for plain, want := range map[string]wecom.Callback{
		`<xml><ToUserName>ww1</ToUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>kf_msg_or_event</Event><Token>ENC</Token><OpenKfId>wk1</OpenKfId></xml>`: {
			Kind: "kf_msg_or_event", Corp: "ww1", Channel: "wk1", At: at},
		`<xml><ToUserName><![CDATA[ww1]]></ToUserName><FromUserName>sys</FromUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>add_external_contact</ChangeType><UserID>zhang</UserID><ExternalUserID>wmA</ExternalUserID><WelcomeCode>W1</WelcomeCode></xml>`: {
			Kind: "change_external_contact.add_external_contact", Corp: "ww1", Customer: "wmA", Member: "zhang", WelcomeCode: "W1", At: at},
		`<xml><SuiteId>ww4</SuiteId><AuthCorpId>ww2</AuthCorpId><InfoType>customer_acquisition</InfoType><TimeStamp>1348831860</TimeStamp><ChangeType>customer_start_chat</ChangeType><UserID>zhang</UserID><ExternalUserID>wmB</ExternalUserID></xml>`: {
			Kind: "customer_acquisition.customer_start_chat", Corp: "ww2", Customer: "wmB", Member: "zhang", At: at, ThirdParty: true},
		`<xml><SuiteId>ww4</SuiteId><InfoType>suite_ticket</InfoType><TimeStamp>1348831860</TimeStamp><SuiteTicket>T</SuiteTicket></xml>`: {
			Kind: "suite_ticket", At: at, ThirdParty: true},
		`<xml><ToUserName>ww1</ToUserName><FromUserName>zhang</FromUserName><CreateTime>1348831860</CreateTime><MsgType>text</MsgType><Content>a &lt; b</Content></xml>`: {
			Kind: "message.text", Corp: "ww1", At: at},
		`{"msgid":"1","aibotid":"A","chattype":"group","from":{"userid":"U"},"msgtype":"text","text":{"content":"hi"}}`:              {Kind: "robot.text"},
		`{"msgid":"1","aibotid":"A","create_time":1348831860,"msgtype":"event","event":{"eventtype":"enter_chat"}}`:                  {Kind: "robot.event.enter_chat", At: at},
		`{"ToUserName":"ww1","CreateTime":1348831860,"MsgType":"event","Event":"change_external_chat","ChangeType":"update"}`:        {Kind: "change_external_chat.update", Corp: "ww1", Group: &wecom.GroupChange{}, At: at},
		`<xml><ToUserName>ww1</ToUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>brand_new</Event></xml>`: {Kind: "brand_new", Corp: "ww1", At: at},
	} {
		if got, err := wecom.ReadCallback([]byte(plain)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", plain, got, err, want)
		}
	}
	for _, plain := range []string{
		"", "hello", "<xml/>", `{"a":1}`, `<xml><MsgType>event</MsgType></xml>`, `<xml><Event>a</Event><Event>b</Event><MsgType>event</MsgType></xml>`,
		`<xml><MsgType>event</MsgType><Event>change_external_contact</Event><ExternalUserID>` + strings.Repeat("w", 129) + `</ExternalUserID></xml>`,
	} {
		if got, err := wecom.ReadCallback([]byte(plain)); err == nil {
			t.Errorf("%s is read as %+v", plain, got)
		}
	}
}

// Each change of a contact and of a customer group, in the envelopes of internal apps and of third
// parties.
func TestReadContactCallbacks(t *testing.T) {
	t.Parallel()
	for _, c := range cases(t, "wecom/contact_callbacks.tsv", 2) {
		got, err := wecom.ReadCallback([]byte(c[0]))
		if c[1] == "!" {
			if !errors.Is(err, wecom.ErrCallback) || got != (wecom.Callback{}) {
				t.Errorf("%s: %+v, %v", c[0], got, err)
			}
			continue
		}
		var want wecom.Callback
		if err := json.Unmarshal([]byte(c[1]), &want); err != nil {
			t.Fatalf("%s: %v", c[1], err)
		}
		if got.At = got.At.UTC(); err != nil || !reflect.DeepEqual(got, want) {
			read, _ := json.Marshal(got)
			t.Errorf("%s: %v\n got %s\nwant %s", c[0], err, read, c[1])
		}
	}
}

// A list of more ids than a group has members is an error, in either format.
func TestLongMemChangeLists(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{500: true, 2000: true, 2001: false} {
		items := strings.Repeat("<Item>wmA</Item>", n)
		for _, text := range []string{
			`<xml><MsgType>event</MsgType><Event>change_external_chat</Event><ChangeType>update</ChangeType><MemChangeList>` + items + `</MemChangeList></xml>`,
			`{"MsgType":"event","Event":"change_external_chat","ChangeType":"update","MemChangeList":{"Item":["wmA"` + strings.Repeat(`,"wmA"`, n-1) + `]}}`,
		} {
			if c, err := wecom.ReadCallback([]byte(text)); (err == nil) != ok || ok && len(c.Group.Members) != n {
				t.Errorf("%d members: %+v, %v", n, c, err)
			}
		}
	}
}

// Only customers' messages open a window.
func TestMessageKinds(t *testing.T) {
	want := []string{"customer_acquisition.customer_start_chat", "customer_acquisition.message_from_customer", "kf_message"}
	if got := wecom.MessageKinds(); !slices.Equal(got, want) {
		t.Errorf("messages are %v", got)
	}
}

func TestReadSigned(t *testing.T) {
	t.Parallel()
	const query = "msg_signature=5c45ff5e&timestamp=1403610513&nonce=380320359"
	base := wecom.Signed{Signature: "5c45ff5e", Timestamp: "1403610513", Nonce: "380320359"}
	withEcho := base
	withEcho.Echo = "a+b/c=="
	for text, want := range map[string]wecom.Signed{
		query: base,
		"nonce=380320359&msg_signature=5c45ff5e&x=1&timestamp=1403610513": base,
		query + "&echostr=a%2Bb%2Fc%3D%3D":                                withEcho,
		query + "&echostr=a+b/c==":                                        withEcho, // base64 that the client did not escape
		query + "&echostr=a%20b/c==":                                      withEcho,
		"":                                                                {},
	} {
		if got, err := wecom.ReadSigned([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, more := range []string{"&nonce=1", "&timestamp=1403610513", "&MSG_SIGNATURE=0", "&non%63e=1", "&x=1;echostr=2", "&timestamp[]=1", ";nonce=1"} {
		if got, err := wecom.ReadSigned([]byte(query + more)); !errors.Is(err, wecom.ErrCallback) || got != (wecom.Signed{}) {
			t.Errorf("%s: %+v, %v", more, got, err)
		}
	}
}

// The kinds with an effect on the record of a customer, and some without.
func TestCallbackEffects(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]wecom.Says{
		"customer_acquisition.customer_start_chat":          wecom.SaysMessage,
		"customer_acquisition.message_from_customer":        wecom.SaysMessage,
		"change_external_contact.add_external_contact":      wecom.SaysAdded,
		"change_external_contact.add_half_external_contact": wecom.SaysAdded,
		"change_external_contact.del_external_contact":      wecom.SaysDeleted,
		"change_external_contact.del_follow_user":           wecom.SaysDeleted,
		"change_external_contact.edit_external_contact":     "",
		"kf_msg_or_event": "",
		"message.text":    "",
		"suite_ticket":    "",
	} {
		c := wecom.Callback{Kind: kind}
		if c.Says() != want || !c.Known() {
			t.Errorf("%s: %q, known %v; want %q", kind, c.Says(), c.Known(), want)
		}
	}
	for _, kind := range []string{"", "brand_new", "kf_message", "Message.text", "change_external_contact"} {
		c := wecom.Callback{Kind: kind}
		if c.Says() != "" || c.Known() {
			t.Errorf("%s: %q, known %v", kind, c.Says(), c.Known())
		}
	}
}

// event returns an event about a contact with more elements.
func event(more string) string {
	return `<xml><MsgType>event</MsgType><Event>change_external_contact</Event>` + more + `</xml>`
}

// customer is the id that is read, or ! for ErrCallback.
func TestReadCallbackXML(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("w", wecom.MaxID)
	for name, test := range map[string]struct{ more, customer string }{
		"text":                     {`<ExternalUserID>wmA</ExternalUserID>`, "wmA"},
		"a section":                {`<ExternalUserID><![CDATA[wmA]]></ExternalUserID>`, "wmA"},
		"text and sections":        {`<ExternalUserID>w<![CDATA[m]]>A</ExternalUserID>`, "wmA"},
		"a section with brackets":  {`<ExternalUserID><![CDATA[<a>&amp;]]></ExternalUserID>`, "<a>&amp;"},
		"an entity of XML":         {`<ExternalUserID>a&lt;b&#65;</ExternalUserID>`, "a<bA"},
		"a comment inside":         {`<ExternalUserID>wm<!-- x -->A</ExternalUserID>`, "wmA"},
		"an attribute":             {`<ExternalUserID a="b">wmA</ExternalUserID>`, "wmA"},
		"an empty element":         {`<ExternalUserID/>`, ""},
		"blanks are kept":          {`<ExternalUserID> wmA </ExternalUserID>`, " wmA "},
		"deeper":                   {`<a><ExternalUserID>wmA</ExternalUserID></a>`, ""},
		"elements inside":          {`<ExternalUserID>w<b>x</b>A</ExternalUserID>`, "A"},
		"another name twice":       {`<a>1</a><a>2</a><ExternalUserID>wmA</ExternalUserID>`, "wmA"},
		"other letter case":        {`<externaluserid>wmB</externaluserid><ExternalUserID>wmA</ExternalUserID>`, "wmA"},
		"the longest id":           {`<ExternalUserID>` + long + `</ExternalUserID>`, long},
		"longer than any id":       {`<ExternalUserID>` + long + `w</ExternalUserID>`, "!"},
		"twice":                    {`<ExternalUserID>wmA</ExternalUserID><ExternalUserID>wmA</ExternalUserID>`, "!"},
		"twice, once empty":        {`<ExternalUserID/><ExternalUserID>wmA</ExternalUserID>`, "!"},
		"an entity of its own":     {`<ExternalUserID>&wm;</ExternalUserID>`, "!"},
		"a name space":             {`<x:ExternalUserID>wmA</x:ExternalUserID>`, "!"},
		"ended by another name":    {`<ExternalUserID>wmA</ExternalUserId>`, "!"},
		"a section without an end": {`<ExternalUserID><![CDATA[wmA</ExternalUserID>`, "!"},
		"ended too early":          {`</xml>`, "!"},
		"the deepest":              {strings.Repeat("<a>", 15) + strings.Repeat("</a>", 15), ""},
		"deeper than the deepest":  {strings.Repeat("<a>", 16) + strings.Repeat("</a>", 16), "!"},
		"the longest code":         {`<WelcomeCode>` + strings.Repeat("c", wecom.MaxCode) + `</WelcomeCode>`, ""},
		"longer than any code":     {`<WelcomeCode>` + strings.Repeat("c", wecom.MaxCode+1) + `</WelcomeCode>`, "!"},
		"a document type":          {`<!DOCTYPE x>`, "!"},
		"an instruction":           {`<?php x ?>`, ""},
		"a control character":      {"<ExternalUserID>wm\x01</ExternalUserID>", "!"},
		"not UTF-8":                {"<ExternalUserID>wm\xff</ExternalUserID>", "!"},
	} {
		c, err := wecom.ReadCallback([]byte(event(test.more)))
		if test.customer == "!" {
			if !errors.Is(err, wecom.ErrCallback) || c != (wecom.Callback{}) {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		} else if err != nil || c.Customer != test.customer {
			t.Errorf("%s: %q, %v; want %q", name, c.Customer, err, test.customer)
		}
	}
}

// Times outside 1970 to 2242 count as absent.
func TestCallbackTimes(t *testing.T) {
	t.Parallel()
	for element, unix := range map[string]int64{
		"<CreateTime>1700000000</CreateTime>": 1700000000, "<TimeStamp>1700000000</TimeStamp>": 1700000000, "<CreateTime>1</CreateTime>": 1,
		"<CreateTime>8589934591</CreateTime>": 8589934591, "<CreateTime>8589934592</CreateTime>": 0, "<CreateTime>0</CreateTime>": 0, "<CreateTime>-5</CreateTime>": 0,
		"<CreateTime>soon</CreateTime>": 0, "<CreateTime>1.7e9</CreateTime>": 0, "<CreateTime> 1700000000</CreateTime>": 0, "": 0,
	} {
		c, err := wecom.ReadCallback([]byte(event(element)))
		want := time.Time{}
		if unix > 0 {
			want = time.Unix(unix, 0)
		}
		if err != nil || !c.At.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", element, c.At, err, want)
		}
	}
}

func TestReadCallbackJSON(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]string{
		`{"msgtype":"text"}`:   "robot.text",
		` {"msgtype":"text"} `: "robot.text",
		`{"msgtype":"event","event":{"eventtype":"enter_chat","x":[1]}}`: "robot.event.enter_chat",
		`{"msgtype":"text","from":{"msgtype":"event"}}`:                  "robot.text",
		`{"MsgType":"text"}`:                          "message.text",
		`{"MsgType":"event","Event":"enter_agent"}`:   "enter_agent",
		`{"InfoType":"suite_ticket"}`:                 "suite_ticket",
		`{"msgtype":"t\u0065xt"}`:                     "robot.text",
		`{"msgtype":5}`:                               "robot.5",
		`{"msgtype":"text","create_time":1700000000}`: "robot.text",
		`{"msgtype":true}`:                            "",
		`{"msgtype":"event"}`:                         "",
		`{"msgtype":"event","event":{}}`:              "",
		`{"msgtype":"event","event":"enter_chat"}`:    "",
		`{"msgtype":"event","event":{"eventtype":1}}`: "",
		`{"msgtype":"text","msgtype":"image"}`:        "",
		`{"msgtype":"text","x":1,"x":2}`:              "", // any name that occurs twice
		`{"msgtype":"text"}{}`:                        "",
		`{"msgtype":"text"`:                           "",
		`{"msgtype":"text","x":` + nested(65) + `}`:   "",
		`{"msgtype":"text","x":` + nested(60) + `}`:   "robot.text",
		"{\"msgtype\":\"\xff\"}":                      "",
		`["msgtype"]`:                                 "",
		`null`:                                        "",
	} {
		c, err := wecom.ReadCallback([]byte(text))
		if c.Kind != kind || errors.Is(err, wecom.ErrCallback) != (kind == "") {
			t.Errorf("%s: %q, %v; want %q", text, c.Kind, err, kind)
		}
	}
}

// nested returns an array of n levels.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

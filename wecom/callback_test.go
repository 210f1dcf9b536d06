package wecom_test

import (
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

// Every kind that the platform documents is read with its corp, customer and time.
func TestReadCallback(t *testing.T) {
	at := time.Unix(1348831860, 0)
	for plain, want := range map[string]wecom.Callback{
		`<xml><ToUserName>ww1</ToUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>kf_msg_or_event</Event><Token>ENC</Token><OpenKfId>wk1</OpenKfId></xml>`: {
			Kind: "kf_msg_or_event", Corp: "ww1", Channel: "wk1", At: at},
		`<xml><ToUserName><![CDATA[ww1]]></ToUserName><FromUserName>sys</FromUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>change_external_contact</Event><ChangeType>add_external_contact</ChangeType><UserID>zhang</UserID><ExternalUserID>wmA</ExternalUserID><WelcomeCode>W1</WelcomeCode></xml>`: {
			Kind: "change_external_contact.add_external_contact", Corp: "ww1", Customer: "wmA", WelcomeCode: "W1", At: at},
		`<xml><SuiteId>ww4</SuiteId><AuthCorpId>ww2</AuthCorpId><InfoType>customer_acquisition</InfoType><TimeStamp>1348831860</TimeStamp><ChangeType>customer_start_chat</ChangeType><UserID>zhang</UserID><ExternalUserID>wmB</ExternalUserID></xml>`: {
			Kind: "customer_acquisition.customer_start_chat", Corp: "ww2", Customer: "wmB", At: at, ThirdParty: true},
		`<xml><SuiteId>ww4</SuiteId><InfoType>suite_ticket</InfoType><TimeStamp>1348831860</TimeStamp><SuiteTicket>T</SuiteTicket></xml>`: {
			Kind: "suite_ticket", At: at, ThirdParty: true},
		`<xml><ToUserName>ww1</ToUserName><FromUserName>zhang</FromUserName><CreateTime>1348831860</CreateTime><MsgType>text</MsgType><Content>a &lt; b</Content></xml>`: {
			Kind: "message.text", Corp: "ww1", At: at},
		`{"msgid":"1","aibotid":"A","chattype":"group","from":{"userid":"U"},"msgtype":"text","text":{"content":"hi"}}`:              {Kind: "robot.text"},
		`{"msgid":"1","aibotid":"A","create_time":1348831860,"msgtype":"event","event":{"eventtype":"enter_chat"}}`:                  {Kind: "robot.event.enter_chat", At: at},
		`{"ToUserName":"ww1","CreateTime":1348831860,"MsgType":"event","Event":"change_external_chat","ChangeType":"update"}`:        {Kind: "change_external_chat.update", Corp: "ww1", At: at},
		`<xml><ToUserName>ww1</ToUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType><Event>brand_new</Event></xml>`: {Kind: "brand_new", Corp: "ww1", At: at},
	} {
		if got, err := wecom.ReadCallback([]byte(plain)); err != nil || got != want {
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

// What opens a window is a customer's own message and nothing else.
func TestMessageKinds(t *testing.T) {
	want := []string{"customer_acquisition.customer_start_chat", "customer_acquisition.message_from_customer", "kf_message"}
	if got := wecom.MessageKinds(); !slices.Equal(got, want) {
		t.Errorf("messages are %v", got)
	}
}

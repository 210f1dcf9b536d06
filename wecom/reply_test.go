package wecom_test

import (
	"testing"

	"replygate/wecom"
)

// TestReadRecipient reads whom a reply answers from the beginning of its body.
func TestReadRecipient(t *testing.T) {
	for body, want := range map[string]struct {
		path, channel, customer string
		ok                      bool
	}{
		`{"touser":"wm","open_kfid":"wk","msgtype":"text"}`:         {wecom.PathSendMsg, "wk", "wm", true},
		`{"touser":"wm","open_kfid":"wk","text":{"content":"cut of`: {wecom.PathSendMsg, "wk", "wm", true},
		"\xef\xbb\xbf{\"touser\":\"wm\",\n\"open_kfid\":\"wk\"}":    {wecom.PathSendMsg, "wk", "wm", true},
		`{"touser":"wm","text":{"content":"cut of`:                  {wecom.PathSendMsg, "", "wm", false},
		`{"touser":"wm","touser":"wm2","open_kfid":"wk"}`:           {wecom.PathSendMsg, "wk", "wm", false},
		`{"open_kfid":"wk"}`: {wecom.PathSendMsg, "wk", "", false},
		`touser=wm`:          {wecom.PathSendMsg, "", "", false},
		``:                   {wecom.PathSendMsg, "", "", false},
		`{"receiver":{"type":"userid","id":"wm"},"msgtype":"text"}`: {wecom.PathSendLegacy, "", "wm", true},
		`{"receiver":"wm"}`: {wecom.PathSendLegacy, "", "", false},
	} {
		channel, customer, ok := wecom.ReadRecipient(want.path, []byte(body))
		if channel != want.channel || customer != want.customer || ok != want.ok {
			t.Errorf("%s: %q %q %v", body, channel, customer, ok)
		}
	}
}

// TestReadMessageID reads whether WeCom took a reply.
func TestReadMessageID(t *testing.T) {
	for answer, want := range map[string]struct {
		id    string
		taken bool
	}{
		`{"errcode":0,"errmsg":"ok","msgid":"M"}`:                     {"M", true},
		`{"errcode":0,"errmsg":"ok"}`:                                 {"", true},
		`{"errcode":95018,"errmsg":"x"}`:                              {"", false},
		`{"errcode":"0","msgid":"M"}`:                                 {"M", true},
		`{"errcode":0,"errmsg":"ok","msgid":"a\u0062c"}`:              {"abc", true},
		`{"errcode":0,"errmsg":"ok","msgid":"a","errcode":95018}`:     {"a", false},
		`{"errcode":0,"errmsg":"ok","msgid":"a","more":{"b":"c\"}"}}`: {"a", true},
		`{"errcode":0,"errmsg":"ok","msgid":"a" }`:                    {"a", true},
		`{"errcode":0,"errmsg":"ok","msgid":""}`:                      {"", true},
		`{"errcode":0,"errmsg":"ok","msgid":"a"}`:                     {"a", true},
		`busy`: {"", false},
	} {
		if id, taken := wecom.ReadMessageID([]byte(answer)); id != want.id || taken != want.taken {
			t.Errorf("%s: %q %v", answer, id, taken)
		}
	}
}

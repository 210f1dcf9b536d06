package wecom_test

import (
	"testing"
	"time"

	"replygate/wecom"
)

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

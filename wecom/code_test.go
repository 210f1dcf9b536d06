package wecom_test

import (
	"strings"
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

// Codes live 20 seconds, or 48 hours if a servicer takes over (DOC 95122).
func TestCodeLife(t *testing.T) {
	t.Parallel()
	for kind, want := range map[wecom.CodeKind]time.Duration{
		wecom.EnterSession: 20 * time.Second, wecom.SessionEnded: 20 * time.Second, wecom.ToEnd: 20 * time.Second, wecom.CustomerAdded: 20 * time.Second,
		wecom.SessionTaken: 48 * time.Hour, wecom.ToQueue: 48 * time.Hour, wecom.ToServicer: 48 * time.Hour, "a kind to come": 20 * time.Second,
	} {
		if got := kind.Life(); got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
}

// Limits of lengths, ambiguous calls, and unusual answers.
func TestTransitionBounds(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0)
	const call, answer = `{"open_kfid":"wk","external_userid":"wm","service_state":3}`, `{"errcode":0,"msg_code":"C"}`
	id := strings.Repeat("w", wecom.MaxID)
	code := strings.Repeat("c", wecom.MaxCode)
	for _, test := range []struct {
		name, call, answer string
		found, lost        bool
	}{
		{"as documented", call, answer, true, false},
		{"no errcode", call, `{"msg_code":"C"}`, true, false},
		{"a number in quotes", call, `{"errcode":"0","msg_code":"C"}`, true, false},
		{"an errcode that is none", call, `{"errcode":"x","msg_code":"C"}`, true, false}, // the code may work
		{"a failure", call, `{"errcode":95018,"msg_code":"C"}`, false, false},
		{"no code", call, `{"errcode":0,"msg_code":""}`, false, false},
		{"a null code", call, `{"errcode":0,"msg_code":null}`, false, false},
		{"a code that is no string", call, `{"errcode":0,"msg_code":7}`, false, true},
		{"the longest code", call, `{"msg_code":"` + code + `"}`, true, false},
		{"a longer code", call, `{"msg_code":"` + code + `c"}`, false, true},
		{"the longest ids", `{"open_kfid":"` + id + `","external_userid":"` + id + `","service_state":3}`, answer, true, false},
		{"a longer channel", `{"open_kfid":"` + id + `w","external_userid":"wm","service_state":3}`, answer, false, true},
		{"a longer customer", `{"open_kfid":"wk","external_userid":"` + id + `w","service_state":3}`, answer, false, true},
		{"no customer", `{"open_kfid":"wk","service_state":3}`, answer, false, true},
		{"a state in quotes", `{"open_kfid":"wk","external_userid":"wm","service_state":"3"}`, answer, false, true},
		{"a state as a fraction", `{"open_kfid":"wk","external_userid":"wm","service_state":3.0}`, answer, false, true},
		{"a state to come", `{"open_kfid":"wk","external_userid":"wm","service_state":5}`, answer, false, true},
		{"a variant of a name", `{"open_kfid":"wk","external_userid":"wm","service_state":3,"Service_State":4}`, answer, false, true},
		{"an answer that is cut", call, `{"errcode":0,"msg_code":"C"`, false, true},
		{"no answer", call, ``, false, true},
	} {
		c, found, lost := wecom.ReadTransition(wecom.Sent{Body: []byte(test.call), HasBody: true}, []byte(test.answer), at)
		if found != test.found || lost != test.lost {
			t.Errorf("%s: found %v, lost %v", test.name, found, lost)
		}
		if found && (c.Kind != wecom.ToServicer || !c.At.Equal(at) || c.Text == "") || !found && c != (wecom.Code{}) {
			t.Errorf("%s: %+v", test.name, c)
		}
	}
}

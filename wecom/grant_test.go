package wecom_test

import (
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

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

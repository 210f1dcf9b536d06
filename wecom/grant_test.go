package wecom_test

import (
	"encoding/json"
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

// The corp or customer that an answer is attributed to depends on the call having one reading.
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

// A call whose body was too long to be kept is ambiguous.
func TestUnknownBodyTeachesNothing(t *testing.T) {
	answer := []byte(`{"errcode":0,"access_token":"T","expires_in":7200}`)
	for _, path := range []string{wecom.PathGetToken, wecom.PathCorpToken, wecom.PathDownstreamToken} {
		if g, found := wecom.ReadGrant(path, wecom.Sent{Query: []byte("corpid=ww1"), HasBody: true}, answer); found {
			t.Errorf("%s: %+v", path, g)
		}
	}
}

// The life of a token is limited to a day; a token without a life is not used.
func TestGrantLife(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		`7200`: 2 * time.Hour, `"7200"`: 2 * time.Hour, `7.2e3`: 2 * time.Hour, `1`: time.Second, `86400`: 24 * time.Hour, `86401`: 24 * time.Hour, `9e15`: 24 * time.Hour,
		`0`: 0, `-1`: 0, `0.5`: 0, `"soon"`: 0, `null`: 0, `true`: 0, `[7200]`: 0, `1e400`: 0,
	} {
		g, found := wecom.ReadGrant(wecom.PathGetToken, wecom.Sent{Query: []byte("corpid=ww1")}, []byte(`{"errcode":0,"access_token":"T","expires_in":`+text+`}`))
		if found != (want > 0) || found && g.Life != want {
			t.Errorf("%s: %v, found %v; want %v", text, g.Life, found, want)
		}
	}
}

// A corp id is 1 to 64 letters, digits, '_' and '-', and only some paths issue tokens.
func TestGrantCorps(t *testing.T) {
	t.Parallel()
	for corp, good := range map[string]bool{
		"ww1": true, "wpA-_9": true, strings.Repeat("w", 64): true,
		"": false, strings.Repeat("w", 65): false, "ww1%20": false, "ww.1": false, "ww/1": false, "%E4%BD%A0": false, "ww1%0A": false,
	} {
		_, found := wecom.ReadGrant(wecom.PathGetToken, wecom.Sent{Query: []byte("corpid=" + corp)}, []byte(`{"access_token":"T","expires_in":7200}`))
		if found != good {
			t.Errorf("%q: found %v", corp, found)
		}
	}
	for _, path := range []string{"/cgi-bin/service/get_provider_token", "/cgi-bin/service/get_suite_token", replyPath, ""} {
		call := wecom.Sent{Query: []byte("corpid=ww1"), Body: []byte(`{"corpid":"ww1","auth_corpid":"ww1"}`), HasBody: true}
		if g, found := wecom.ReadGrant(path, call, []byte(`{"access_token":"T","expires_in":7200,"corpid":"ww1"}`)); found {
			t.Errorf("%s issues %+v", path, g)
		}
	}
}

// A token is not attributed if some server could read the body of the call differently.
func TestAmbiguousTokenCalls(t *testing.T) {
	t.Parallel()
	answer := []byte(`{"access_token":"T","expires_in":7200}`)
	const form = "application/x-www-form-urlencoded"
	for _, test := range []struct {
		types, encodings, body string
		good                   bool
	}{
		{"", "", `{"corpid":"ww1"}`, true},
		{"application/json; charset=utf-8", "", `{"corpid":"ww1"}`, true},
		{form, "", `{"corpid":"ww1"}`, true},
		{form, "", `{"corpid":"ww1","x":"&corpid=ww1&"}`, false},
		{form, "", `{"corpid":"ww1","x":";CORPID=ww2;"}`, false},
		{form, "", `{"corpid":"ww1","x":"corpid"}`, true},
		{"multipart/form-data", "", `{"corpid":"ww1"}`, false},
		{"", "gzip", `{"corpid":"ww1"}`, false},
		{"", "identity", `{"corpid":"ww1"}`, false}, // no client sends it: a server may treat it in any way
		{"", "", `{"corpid":"ww1"} `, true},
		{"", "", `{"corpid":"ww1"}{}`, false},
		{"", "", `{"corpid":"ww1","x":"\ud83d"}`, false},
		{"", "", "{\"corpid\":\"ww1\",\"x\":\"\xff\"}", false},
		{"", "", "{\"corpid\":\"ww1\",\"x\":\"\x01\"}", false},
		{"", "", "\xef\xbb\xbf{\"corpid\":\"ww1\"}", false},
		{"", "", `{"corpid":"ww1","x":{"y":1,"y":2}}`, false},
		{"", "", `{"corpid":"ww1","corpid ":"ww2"}`, false},
		{"", "", `{"corpid":"ww1","corp\u0069d":"ww2"}`, false},
		{"", "", `{"corpid":"ww\u0031"}`, false},
		{"", "", `{"corpid":["ww1"]}`, false},
		{"", "", `{"x":{"corpid":"ww1"}}`, false},
		{"", "", `{"corpid":"ww1","x":` + nested(63) + `}`, true},
		{"", "", `{"corpid":"ww1","x":` + nested(64) + `}`, false},
		{"", "", `{"corpid":"ww1","x":` + nested(20_000) + `}`, false},
	} {
		call := wecom.Sent{Body: []byte(test.body), HasBody: true, Types: test.types, Encodings: test.encodings}
		if g, found := wecom.ReadGrant(wecom.PathDownstreamToken, call, answer); found != test.good || found && g.Corp != "ww1" {
			t.Errorf("%s %s %.60s: %+v, %v", test.types, test.encodings, test.body, g, found)
		}
	}
}

// FuzzTokenCalls compares the corp of a token with the one that encoding/json reads in the call,
// for which the last of two names counts, in any letter case.
func FuzzTokenCalls(f *testing.F) {
	for _, c := range cases(f, "wecom/teaching.tsv", 5) {
		f.Add([]byte(c[2]))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g, found := wecom.ReadGrant(wecom.PathDownstreamToken, wecom.Sent{Body: body, HasBody: true}, []byte(`{"access_token":"T","expires_in":7200}`))
		var lenient struct{ CorpID string }
		if found && (json.Unmarshal(body, &lenient) != nil || lenient.CorpID != g.Corp) {
			t.Fatalf("%q: attributed to %s, encoding/json reads %q", body, g.Corp, lenient.CorpID)
		}
	})
}

package wecom_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// Errcodes, tokens and codes are parsed as leniently as pages.
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

// Every failure of ReadAnswer is ErrUnreadable.
func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":"Li"}`: "Li",
		"\xEF\xBB\xBF {\"name\":\"Li\"} trailing": "Li",
		"{\"x\":\"\x00\xff\",\"name\":\"Li\"}":    "Li",
		`{"name":"Wu","name":"Li"}`:               "Li",
		`{}`:                                      "",
		`{"Name":"Li"}`:                           "", // names have one letter case
		`{"name":7}`:                              "!",
		`{"name":"Li"`:                            "!",
		`[{"name":"Li"}]`:                         "!",
		`"Li"`:                                    "!",
		`<xml>`:                                   "!",
		``:                                        "!",
	} {
		var a struct {
			Name string `json:"name"`
		}
		err := wecom.ReadAnswer([]byte(body), &a)
		if want == "!" {
			if !errors.Is(err, wecom.ErrUnreadable) {
				t.Errorf("%q: %v", body, err)
			}
		} else if err != nil || a.Name != want {
			t.Errorf("%q: %q, %v; want %q", body, a.Name, err, want)
		}
	}
}

// A plain success is recognised without a decoder and without an allocation, unless it is cut
// short.
func TestReadErrcodeOfSuccess(t *testing.T) {
	body := []byte(`{"errcode":0,"errmsg":"ok","msgid":"m"}`)
	if n := testing.AllocsPerRun(100, func() { _, _ = wecom.ReadErrcode(body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for body, want := range map[string]bool{
		`{"errcode":0,"errmsg":"ok"}`: true, `{"errcode":0}`: true, `{"errcode":0,"errmsg":"o`: false, `{"errcode":0,`: false, `{"errcode":0`: false,
	} {
		if code, err := wecom.ReadErrcode([]byte(body)); (err == nil) != want || code != 0 {
			t.Errorf("%s: %d, %v", body, code, err)
		}
	}
}

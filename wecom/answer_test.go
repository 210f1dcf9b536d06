package wecom_test

import (
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// WeCom's other answers are read as leniently: errcodes, tokens, codes.
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

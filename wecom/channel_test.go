package wecom_test

import (
	"strings"
	"testing"

	"replygate/wecom"
)

func TestReadChannel(t *testing.T) {
	for body, want := range map[string]string{
		`{"open_kfid":"wk1"}`:                              "wk1",
		`{"cursor":"c","open_kfid":"wk1","limit":1000}`:    "wk1",
		`{"open_kfid":"wk1","Open_KfID":"wk2"}`:            "",
		`{"open_kfid":"wk1","open_kfid":"wk2"}`:            "",
		`{"open_kfid":"wk1\u0000"}`:                        "",
		`{"open_kfid":"` + strings.Repeat("w", 129) + `"}`: "",
		`{"cursor":"c"}`:                                   "",
		`{}`:                                               "",
		``:                                                 "",
	} {
		if got := wecom.ReadChannel(wecom.Sent{Body: []byte(body), HasBody: true}); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

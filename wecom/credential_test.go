package wecom_test

import (
	"strings"
	"testing"

	"replygate/wecom"
)

func TestReadTokens(t *testing.T) {
	for _, c := range cases(t, "wecom/tokens.tsv", 2) {
		var all []string
		for _, token := range wecom.ReadTokens(nil, []byte(c[0])) {
			if token == "" {
				token = "-"
			}
			all = append(all, strings.NewReplacer("\x00", "%00", "%00", "%2500", " ", "%20", "\n", "%0a").Replace(token))
		}
		if got := strings.Join(all, " "); got != c[1] {
			t.Errorf("%s: %s, want %s", c[0], got, c[1])
		}
	}
}

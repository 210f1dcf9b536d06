package wecom_test

import (
	"fmt"
	"testing"

	"replygate/wecom"
)

// The prefix that names a corp is one in just its own spelling; what some server could take for one
// of the gateway's own prefixes is known for it in any spelling.
func TestOwnPaths(t *testing.T) {
	for _, c := range cases(t, "wecom/own.tsv", 4) {
		corp, rest := wecom.CutCorp([]byte(c[0]))
		if string(corp) != c[1] || string(rest) != c[2] {
			t.Errorf("%s: corp %q, rest %q, want %q, %q", c[0], corp, rest, c[1], c[2])
		}
		if own := fmt.Sprint(wecom.IsOwn([]byte(c[2]))); own != c[3] {
			t.Errorf("%s: IsOwn(%s) is %s, want %s", c[0], c[2], own, c[3])
		}
	}
}

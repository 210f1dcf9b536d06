package wecom_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"replygate/wecom"
)

// CutCorp accepts the prefix in exactly one form; IsOwn recognises every encoded variant.
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

// For random paths, prefix, corp and rest make the path again, and the corp has the form of an id.
func TestCutCorpLosesNothing(t *testing.T) {
	t.Parallel()
	pieces := []string{"/corp/", "/corp", "/", "ww1", "w-_W9", "%2f", "..", ";x", " ", "cgi-bin", "kf/send_msg", "é", "\x00", strings.Repeat("w", 64)}
	random := rand.New(rand.NewPCG(5, 6))
	cut := 0
	for range 20_000 {
		var b strings.Builder
		if random.IntN(2) == 0 {
			b.WriteString(wecom.PrefixCorp)
		}
		for range random.IntN(6) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		path := b.String()
		corp, rest := wecom.CutCorp([]byte(path))
		if corp == nil {
			if string(rest) != path {
				t.Fatalf("%q: rest %q", path, rest)
			}
			continue
		}
		cut++
		if wecom.PrefixCorp+string(corp)+string(rest) != path || rest[0] != '/' || len(corp) > 64 || strings.ContainsAny(string(corp), "/%.; \x00é") {
			t.Fatalf("%q: corp %q, rest %q", path, corp, rest)
		}
		if !wecom.IsOwn([]byte(path)) {
			t.Fatalf("%q has a prefix of the gateway and IsOwn is false", path)
		}
	}
	if cut < 500 {
		t.Errorf("only %d paths had a corp", cut)
	}
}

// No path of the catalogue is below the reserved prefixes.
func TestCatalogueIsNotOwn(t *testing.T) {
	t.Parallel()
	for _, e := range wecom.Endpoints() {
		if wecom.IsOwn([]byte(e.Path)) || wecom.IsOwn([]byte(strings.ToUpper(e.Path)+"/")) {
			t.Errorf("%s is the gateway's", e.Path)
		}
	}
}

package wecom_test

import (
	"bytes"
	"fmt"
	"slices"
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

// The tokens are stored in the slice of the caller.
func TestReadTokensReusesItsSlice(t *testing.T) {
	t.Parallel()
	var room [wecom.MaxTokens + 1]string
	got := wecom.ReadTokens(room[:0], []byte("access_token=A&access_token=B"))
	if !slices.Equal(got, []string{"A", "B"}) || room[0] != "A" || room[1] != "B" {
		t.Errorf("%q, in a slice of %q", got, room)
	}
	if got := wecom.ReadTokens(room[:0], []byte("debug=1")); len(got) != 0 {
		t.Errorf("no token: %q", got)
	}
}

// ReadTokens returns at most MaxTokens+1 tokens, which is enough to reject a query.
func TestReadTokensIsBounded(t *testing.T) {
	t.Parallel()
	for n := range 50 {
		var query strings.Builder
		for i := range n {
			fmt.Fprintf(&query, "&access_token=T%d", i)
		}
		if got := wecom.ReadTokens(nil, []byte(query.String())); len(got) != min(n, wecom.MaxTokens+1) {
			t.Errorf("%d tokens: %d returned", n, len(got))
		}
		again := strings.Repeat("&access_token=T", n)
		if got := wecom.ReadTokens(nil, []byte(again)); len(got) != min(n, 1) {
			t.Errorf("the same token %d times: %q", n, got)
		}
	}
}

// Tokens share no memory with the query, which proxies reuse.
func TestReadTokensCopies(t *testing.T) {
	t.Parallel()
	query := []byte("access_token=abc&Access_Token=d%65f")
	before := bytes.Clone(query)
	tokens := wecom.ReadTokens(nil, query)
	if !bytes.Equal(query, before) {
		t.Errorf("the query became %s", query)
	}
	for i := range query {
		query[i] = 'X'
	}
	if !slices.Equal(tokens, []string{"abc", "def"}) {
		t.Errorf("tokens became %q", tokens)
	}
}

// Calls of providers, devices and robots carry another credential than an access token.
func TestHasOtherCredential(t *testing.T) {
	for query, want := range map[string]bool{
		"":                            false,
		"debug=1":                     false,
		"access_token=T":              false,
		"suite_access_token=S":        true,
		"provider_access_token=P":     true,
		"debug=1&device_access_token": true,
		"model_access_token=M":        true,
		"key=K":                       true,
		"response_code=R":             true,
		"monkey=K":                    false,
		"Key=K":                       false,
	} {
		if got := wecom.HasOtherCredential([]byte(query)); got != want {
			t.Errorf("%s: %v", query, got)
		}
	}
}

package config_test

import (
	"strings"
	"testing"

	"replygate/config"
)

// expand replaces short names in a test's file by values that are long: KEY is an EncodingAESKey,
// C64 a corp id of 64 bytes, H253 a host name of 253 bytes, K128 a channel of 128 bytes.
func expand(text string) string {
	return strings.NewReplacer(
		"KEY", strings.Repeat("k", 43),
		"C64", strings.Repeat("c", 64), "C65", strings.Repeat("c", 65),
		"H253", strings.Repeat("h", 253), "H254", strings.Repeat("h", 254),
		"K128", strings.Repeat("k", 128), "K129", strings.Repeat("k", 129),
	).Replace(text)
}

// parseError returns what Parse reports of a file, "" for nothing.
func parseError(file string) string {
	if _, err := config.Parse("f", []byte(file)); err != nil {
		return err.Error()
	}
	return ""
}

// fileCase is a file, and what Parse reports of it: "" if it is accepted.
type fileCase struct{ file, want string }

// run checks each case with lines before its file, usually an account.
func run(t *testing.T, before string, cases []fileCase) {
	t.Helper()
	for _, c := range cases {
		if got, want := parseError(before+expand(c.file)), expand(c.want); got != want {
			t.Errorf("%s\n got %s\nwant %s", c.file, got, want)
		}
	}
}

const oneAccount = "accounts: [{ corp_id: ww1 }]\n"

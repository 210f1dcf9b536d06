package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"replygate/config"
)

// A file that a configuration names must be a regular one, since each reload reads it again, and
// that of a secret has at most 64 KB. A pipe without a writer is not waited for.
func TestNamedFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(large, make([]byte, 64<<10+1), 0o600)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"accounts_file: " + pipe:                  "f:1:16: accounts_file: read " + pipe + ": it is no regular file: ",
		"redis: { password_file: " + pipe + " }":  "f:1:25: redis.password_file: read " + pipe + ": it is no regular file: ",
		"redis: { password_file: " + large + " }": "f:1:25: redis.password_file: read " + large + ": it is larger than 64KB: ",
	} {
		_, err := config.Parse("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, want := range map[string]string{pipe: "config: read " + pipe + ": it is no regular file", dir: "config: read " + dir + ": is a directory"} {
		if _, err := config.ReadAgain(name); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The files that a configuration names are known, also while it has mistakes.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	list := in("list.yaml")
	if err := os.WriteFile(list, []byte("- { corp_id: ww1, secrets: { contact_file: "+in("c")+" } }\n- { corp_id: }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, want string }{
		{"accounts: [{ corp_id: ww1 }]\n", "[]"},
		{"accounts_file: a.csv\n", "[{accounts_file a.csv}]"},
		{"accounts_file: a.csv\nacounts: 7\nwindow: { length: 0 }\n", "[{accounts_file a.csv}]"},
		{"listen: { tls: { cert_file: c, key_file: k } }\nupstream: { ca_file: u }\nredis: { ca_file: r }\ntraces: { ca_file: t }\n",
			"[{listen.tls.cert_file c} {listen.tls.key_file k} {upstream.ca_file u} {redis.ca_file r} {traces.ca_file t}]"},
		{"redis: { password_file: " + in("p") + " }\ncallbacks:\n  - { path: /a, token_file: " + in("t") + " }\n",
			"[{redis.password_file " + in("p") + "} {callbacks[0].token_file " + in("t") + "}]"},
		{"accounts_file: [a.csv\n", "[]"},
		{"accounts_file: " + list + "\nacounts: 7\n", "[{accounts_file " + list + "} {accounts[0].secrets.contact_file " + in("c") + "}]"},
		{"", "[]"},
	} {
		if got := fmt.Sprint(config.FilesIn("f", []byte(test.text))); got != test.want {
			t.Errorf("%s: %s, want %s", test.text, got, test.want)
		}
	}
	t.Setenv("REPLYGATE_ACCOUNTS_FILE", "env.csv")
	if got := fmt.Sprint(config.FilesIn("f", []byte("accounts_file: a.csv\n"))); got != "[{accounts_file env.csv}]" {
		t.Error(got)
	}
}

package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"replygate/config"
)

// The secrets of a kf_file, one a line, and its mistakes, which quote none.
func TestKfSecrets(t *testing.T) {
	t.Parallel()
	const remedy = ": take the secret of an app that may call WeChat Customer Service from WeCom's console"
	const odd = "a secret of secrets.kf has a blank or a character that WeCom's secrets never have" + remedy + "; a file has one a line, and nothing else"
	for _, c := range []struct {
		name, file string // "": the list is in the configuration
		list       string
		want       []string
		mistake    string // FILE is the kf_file, CONF the configuration
	}{
		{"one", "s-one\n", "", []string{"s-one"}, ""},
		{"several, as Windows writes them", "\ufeffs-one\r\n\r\n  s-two \r\ns-three", "", []string{"s-one", "s-two", "s-three"}, ""},
		{"in the configuration", "", "[s-one, s-two]", []string{"s-one", "s-two"}, ""},
		{"no secret", "\n  \n", "", nil, "CONF:3:23: accounts[0].secrets.kf_file has no secret: write one a line into the file, or leave the key out"},
		{"two in a line", "s-one\ns-two s-three\n", "", nil, "FILE:2:1: " + odd},
		{"a comment", "# of the app\ns-one\n", "", nil, "FILE:1:1: " + odd},
		{"not ASCII", "s-one\n\ns-密\n", "", nil, "FILE:3:1: " + odd},
		{"twice", "s-one\ns-two\n\ns-one\n", "", nil, "FILE:4:1: a secret of secrets.kf is given twice: keep one"},
		{"empty in the configuration", "", `[s-one, ""]`, nil, "CONF:3:26: a secret of secrets.kf is empty" + remedy},
		{"an empty list", "", "[]", nil, "CONF:3:18: accounts[0].secrets.kf is an empty list: write something into it, or leave the key out; in a match an absent list means any"},
		{"both", "s-one", "[s-two], kf_file: FILE", nil, "CONF:3:27: accounts[0].secrets.kf and accounts[0].secrets.kf_file are both given: the other is in line 3; keep one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file, conf := filepath.Join(dir, "kf"), filepath.Join(dir, "c.yaml")
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			secrets := "kf: " + strings.ReplaceAll(c.list, "FILE", "kf")
			if c.list == "" {
				secrets = "kf_file: kf"
			}
			got, err := config.Parse(conf, []byte("accounts:\n- corp_id: ww1\n  secrets: { "+secrets+" }\n"))
			if c.mistake != "" {
				want := strings.NewReplacer("FILE", file, "CONF", conf).Replace(c.mistake)
				if err == nil || err.Error() != want {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, s := range got.Accounts[0].Secrets.Kf {
				texts = append(texts, s.Reveal())
			}
			if !slices.Equal(texts, c.want) {
				t.Errorf("got %q, want %q", texts, c.want)
			}
			for _, s := range got.Settings() {
				if strings.HasPrefix(s.Key, "accounts[0].secrets") && (s.Value != "set" || !s.Secret) {
					t.Errorf("the setting %s shows %v", s.Key, s.Value)
				}
			}
		})
	}
}

// A file with one secret may begin with a byte order mark and end with a line break. It has nothing
// else that WeCom's secrets never have.
func TestContactSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"s-one":           "s-one",
		"\ufeffs-one\r\n": "s-one",
		"s-one \n":        "",
		"s\u00a0one":      "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "contact"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte("accounts: [{ corp_id: ww1, secrets: { contact_file: contact } }]\n"))
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "secrets.contact has a blank")):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err != nil || got.Accounts[0].Secrets.Contact.Reveal() != want):
			t.Errorf("%q: %v", text, err)
		}
	}
}

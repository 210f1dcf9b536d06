package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	textunicode "golang.org/x/text/encoding/unicode"

	"replygate/config"
)

// encodings are those in which a file is read.
var encodings = map[string]encoding.Encoding{
	"UTF-8":                        encoding.Nop,
	"UTF-8 with a byte order mark": textunicode.UTF8BOM,
	"UTF-16, little-endian":        textunicode.UTF16(textunicode.LittleEndian, textunicode.UseBOM),
	"UTF-16, big-endian":           textunicode.UTF16(textunicode.BigEndian, textunicode.UseBOM),
	"GBK":                          simplifiedchinese.GBK,
	"GB18030":                      simplifiedchinese.GB18030,
}

func encode(t testing.TB, e encoding.Encoding, text string) []byte {
	t.Helper()
	data, err := e.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A configuration means the same in each encoding and with each kind of line end, and its mistakes
// are at the same place.
func TestEncodingsOfAConfiguration(t *testing.T) {
	t.Parallel()
	const good = "accounts:\n  - { corp_id: ww1, name: 北京喆公司, entity: 甲 }\n  - corp_id: ww2\n    name: 上海（分公司）\n"
	const bad = good + "log: { decisions: 日志, level: 信息 }\n"
	for name, e := range encodings {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			c, err := config.Parse("f", encode(t, e, strings.ReplaceAll(good, "\n", end)))
			if err != nil || len(c.Accounts) != 2 || c.Accounts[0].Name != "北京喆公司" || c.Accounts[1].Name != "上海（分公司）" || c.Accounts[1].At.Line != 3 {
				t.Errorf("%s %q: %+v, %v", name, end, c, err)
			}
			_, err = config.Parse("f", encode(t, e, strings.ReplaceAll(bad, "\n", end)))
			if want := `f:5:30: log.level cannot be "信息": known are debug, info, warn, error`; err == nil || err.Error() != want {
				t.Errorf("%s %q: %v", name, end, err)
			}
		}
	}
}

// A CSV means the same in each encoding, with each separator and each kind of line end.
func TestEncodingsOfACSV(t *testing.T) {
	t.Parallel()
	const text = "corp_id,name,hosts\nww2,\"北京,公司\",two.internal\n,,\nww3,上海；公司,\n"
	for name, e := range encodings {
		for _, end := range []string{"\n", "\r\n", "\r"} {
			for _, comma := range []string{",", ";", "\t"} {
				content := strings.NewReplacer("\n", end, "北京,公司", "北京,公司", ",", comma).Replace(text)
				c, mistakes := parseWithFile(t, "more.csv", string(encode(t, e, content)))
				if mistakes != "" || len(c.Accounts) != 3 || c.Accounts[1].Name != "北京,公司" || c.Accounts[1].Hosts[0] != "two.internal" ||
					c.Accounts[2].Name != "上海；公司" || c.Accounts[2].At.Line != 4 {
					t.Errorf("%s %q %q: %+v, %s", name, end, comma, c, mistakes)
				}
			}
		}
	}
}

// The names of companies are read in GBK whatever characters they have, if most are common.
func TestNamesInGBK(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"北京公司", "李喆", "镕基科技有限公司", "“上海”（分）公司", "深圳—Acme", "中"} {
		text := "accounts: [{ corp_id: ww1, name: '" + name + "', entity: 有限公司 }]\n"
		c, err := config.Parse("f", encode(t, simplifiedchinese.GBK, text))
		if err != nil || c.Accounts[0].Name != name {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// An accounts file, a secret's file and the like are relative to the folder of the configuration.
func TestFilesBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"list.csv": "corp_id\nww7\n", "sub/word.txt": "secret\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "replygate.yaml")
	c, err := config.Parse(file, []byte("accounts_file: list.csv\nredis: { mode: single, password_file: sub/word.txt }\njournal: { path: state/journal }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Accounts[0].CorpID != "ww7" || c.Redis.Password.Reveal() != "secret" || c.AccountsFile != filepath.Join(dir, "list.csv") || c.Journal.Path != "state/journal" {
		t.Errorf("%+v", c)
	}
	for key, text := range map[string]string{
		"upstream.ca_file": "upstream: { ca_file: no.pem }",
		"redis.ca_file":    "redis: { mode: single, ca_file: no.pem }",
		"traces.ca_file":   "traces: { ca_file: no.pem }",
		"listen.tls":       "listen: { tls: { cert_file: no.pem, key_file: no.pem } }",
	} {
		_, err := config.Parse(file, []byte("accounts_file: list.csv\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), key+": open "+filepath.Join(dir, "no.pem")+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A file that the gateway writes is no other key's, however the two are written.
func TestSameFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, folder := range []string{"state", "other"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"linked": "state", "state/link": "journal", "state/loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other", "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "other", "there"), filepath.Join(dir, "other", "hard")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		journal, snapshot string
		same              bool
	}{
		{"state/journal", "state/journal", true},
		{"state/journal", "state/../state/journal", true},
		{"state/journal", "linked/journal", true},
		{"state/journal", "state/link", true},
		{"linked/link", "state/journal", true},
		{"other/there", "other/hard", true},
		{"new/journal", "new/./journal", true},
		{"state/journal", "other/journal", false},
		{"state/journal", "state/journal2", false},
		{"state/loop", "state/journal", false},
		{"new/journal", "new/snapshot", false},
	} {
		got := parseError(oneAccount + "journal: { path: '" + filepath.Join(dir) + "/" + c.journal + "' }\nredis: { snapshot: '" + dir + "/" + c.snapshot + "' }\n")
		want := ""
		if c.same {
			want = "f:3:20: redis.snapshot is the same file as journal.path: give it a file of its own: the gateway writes it"
		}
		if got != want {
			t.Errorf("%+v\n got %s\nwant %s", c, got, want)
		}
	}
}

// Variables that Kubernetes and Docker set for a service called replygate are no mistakes.
func TestInjectedVariables(t *testing.T) {
	for _, name := range []string{
		"REPLYGATE_SERVICE_HOST", "REPLYGATE_SERVICE_PORT", "REPLYGATE_SERVICE_PORT_API", "REPLYGATE_PORT", "REPLYGATE_PORT_8080_TCP",
		"REPLYGATE_PORT_8080_TCP_PROTO", "REPLYGATE_PORT_8080_TCP_PORT", "REPLYGATE_PORT_8080_TCP_ADDR", "REPLYGATE_PORT_53_UDP_ADDR",
		"REPLYGATE_ADMIN_SERVICE_HOST", "REPLYGATE_ADMIN_PORT", "REPLYGATE_REDIS_PORT_6379_TCP", "REPLYGATE_REDIS_MASTER_SERVICE_PORT_REDIS",
		"REPLYGATE_NAME", "REPLYGATE_ENV_TZ", "REPLYGATE_CORP_SECRET", "REPLYGATE_OF_MINE",
	} {
		t.Setenv(name, "tcp://10.0.0.1:8080")
	}
	t.Setenv("REPLYGATE_EMPTY", "")
	if got := parseError("accounts: [{ corp_id: ww1, name: '${REPLYGATE_OF_MINE}' }]\n"); got != "" {
		t.Error(got)
	}
	t.Setenv("REPLYGATE_PORT_8080", "x")
	t.Setenv("REPLYGATE_SERVICE_HOSTS", "x")
	const remedy = ": no key has this variable: name it after a key, like REPLYGATE_LISTEN_API for listen.api, or unset it"
	if got, want := parseError(oneAccount), "environment REPLYGATE_OF_MINE"+remedy+"\nenvironment REPLYGATE_PORT_8080"+remedy+"\nenvironment REPLYGATE_SERVICE_HOSTS"+remedy; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// addEncoded adds a text in each encoding to the inputs of a fuzz target.
func addEncoded(f *testing.F, text string) {
	for _, e := range encodings {
		data := encode(f, e, text)
		f.Add(data)
		f.Add(bytes.ReplaceAll(data, []byte("\n"), []byte("\r")))
	}
}

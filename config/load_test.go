package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"replygate/config"
)

// defaults has each scalar key, its default as a file would give it, and another valid value.
var defaults = []struct{ key, value, other string }{
	{"listen.api", "127.0.0.1:8080", "127.0.0.1:1234"},
	{"listen.callback", "127.0.0.1:8081", "127.0.0.1:1234"},
	{"listen.admin", "127.0.0.1:9090", "127.0.0.1:1234"},
	{"listen.tls.cert_file", "", ""}, // valid only with the other one, and as a file
	{"listen.tls.key_file", "", ""},
	{"admin.read_key", "", "a key"},
	{"admin.change_key", "", "a key"},
	{"admin.metrics_key", "", "a key"},
	{"upstream.url", "https://qyapi.weixin.qq.com", "http://127.0.0.1:1234"},
	{"upstream.timeout", "30s", "5s"},
	{"upstream.ca_file", "", ""},
	{"upstream.proxy", "", "http://127.0.0.1:3128"},
	{"redis.mode", "embedded", "single"},
	{"redis.master_name", "", "mymaster"},
	{"redis.username", "", "gateway"},
	{"redis.password", "", "word"},
	{"redis.sentinel_username", "", "gateway"},
	{"redis.sentinel_password", "", "word"},
	{"redis.tls", "false", "true"},
	{"redis.ca_file", "", ""},
	{"redis.db", "0", "3"},
	{"redis.timeout", "300ms", "1s"},
	{"redis.listen", "", "127.0.0.1:6379"},
	{"redis.snapshot", "replygate.snapshot", "other.snapshot"},
	{"redis.prefix", "rg:", "other:"},
	{"journal.path", "replygate.journal", "other.journal"},
	{"journal.max_bytes", "256MB", "1GB"},
	{"window.length", "48h0m0s", "24h"},
	{"window.replies", "5", "3"},
	{"window.observe", "all", "judged"},
	{"accounts_file", "", ""},
	{"unknown_token", "auto", "refuse"},
	{"unlisted_account", "refuse", "pass"},
	{"policy.ruleset", "reply-only-2024", "off"},
	{"policy.mode", "enforce", "shadow"},
	{"policy.unsure_wait", "3s", "0s"},
	{"policy.on_unsure", "busy", "pass"},
	{"policy.cold_start", "pass", "refuse"},
	{"policy.language", "en", "zh"},
	{"meter.every", "6h", "1h"},
	{"metrics.per_account", "0", "100"},
	{"console.enabled", "true", "false"},
	{"console.origin", "", "https://replygate.example.com"},
	{"console.timezone", "Asia/Shanghai", "UTC"},
	{"console.session", "8h", "1h"},
	{"console.index", "waiting", "all"},
	{"traces.endpoint", "", "http://127.0.0.1:4318"},
	{"traces.sample", "1%", "0.1%"},
	{"traces.ca_file", "", ""},
	{"limits.judged_body", "1MB", "2MB"},
	{"limits.streamed_body", "128MB", "1GB"},
	{"limits.read_answer", "64MB", "1MB"},
	{"log.level", "info", "debug"},
	{"log.format", "json", "console"},
	{"log.decisions", "stdout", "decisions.log"},
	{"log.max_size", "100MB", "1MB"},
	{"log.max_files", "10", "0"},
	{"log.ids", "plain", ""}, // hashed is valid only with a key
	{"log.ids_key", "", "a key"},
	{"shutdown.lame_duck", "2s", "1s"},
	{"shutdown.grace", "8s", "9s"},
}

func parse(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := config.Parse("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nested writes the value of a dotted key as YAML.
func nested(key, value string) string {
	parts := strings.Split(key, ".")
	return strings.Join(parts, ": { ") + fmt.Sprintf(": %q", value) + strings.Repeat(" }", len(parts)-1) + "\n"
}

// A file that gives a key its default is the same as one without the key.
func TestDefaults(t *testing.T) {
	t.Parallel()
	plain := parse(t, oneAccount)
	keys := config.Keys()
	for i, d := range defaults {
		if i >= len(keys) || keys[i] != d.key {
			t.Fatalf("key %d of %v is not %s", i, keys, d.key)
		}
		if d.key == "accounts_file" {
			continue // gives a list
		}
		c := parse(t, oneAccount+nested(d.key, d.value))
		if changes := plain.Changes(c); len(changes) > 0 {
			t.Errorf("%s: %s is not the default", d.key, d.value)
		}
	}
	if len(keys) != len(defaults) {
		t.Errorf("no default is known of %v", keys[len(defaults):])
	}
}

// Each key can be set by the file and by the environment, and changes nothing else.
func TestEachKeyIsRead(t *testing.T) {
	plain := parse(t, oneAccount)
	for _, d := range defaults {
		if d.other == "" {
			continue
		}
		if changes := plain.Changes(parse(t, oneAccount+nested(d.key, d.other))); fmt.Sprint(changes) != "["+d.key+"]" {
			t.Errorf("the file's %s changes %v", d.key, changes)
		}
		name := "REPLYGATE_" + strings.ToUpper(strings.ReplaceAll(d.key, ".", "_"))
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, d.other)
			c := parse(t, oneAccount)
			if changes := plain.Changes(c); fmt.Sprint(changes) != "["+d.key+"]" {
				t.Errorf("it changes %v", changes)
			}
			if at := c.Where(d.key); at != (config.Position{Env: name}) {
				t.Errorf("its position is %+v", at)
			}
		})
	}
}

// The environment overrides the file, unless the variable is empty.
func TestEnvironmentOverridesTheFile(t *testing.T) {
	file := oneAccount + "window: { length: 12h, replies: 3 }\npolicy: { cold_start: refuse }\n"
	t.Setenv("REPLYGATE_WINDOW_LENGTH", "24h")
	t.Setenv("REPLYGATE_POLICY_COLD_START", "")
	if got, want := parse(t, file), parse(t, strings.Replace(file, "12h", "24h", 1)); len(got.Changes(want)) > 0 {
		t.Errorf("%v differ", got.Changes(want))
	}
	for value, want := range map[string]string{
		"24":    "environment REPLYGATE_WINDOW_LENGTH: a duration needs a unit: write 24s, 24m or 24h",
		"500ms": "environment REPLYGATE_WINDOW_LENGTH: window.length cannot be 500ms: it must be at least 1s",
		" 24h":  `environment REPLYGATE_WINDOW_LENGTH: " 24h" is not a duration: write one like 500ms, 30s or 48h`,
	} {
		t.Setenv("REPLYGATE_WINDOW_LENGTH", value)
		if got := parseError(file); got != want {
			t.Errorf("%q\n got %s\nwant %s", value, got, want)
		}
	}
}

// The environment's rule set overrides a list in the file too.
func TestEnvironmentOverridesAListOfRuleSets(t *testing.T) {
	file := []byte("accounts: [{ corp_id: ww1 }]\npolicy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00Z }] }\n")
	for env, lists := range map[string]int{"": 2, "grandfathered-2023": 0} {
		t.Setenv("REPLYGATE_POLICY_RULESET", env)
		c, err := config.Parse("f", file)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Policy.Rulesets) != lists || env != "" && c.Policy.Ruleset != env {
			t.Errorf("with %q: %+v", env, c.Policy)
		}
	}
}

// A variable named like a section, as REPLYGATE_LOG, is not a key and does not hide those below it.
func TestVariableNamedLikeASection(t *testing.T) {
	t.Setenv("REPLYGATE_LOG", "x")
	t.Setenv("REPLYGATE_LISTEN_TLS", "x")
	got := parseError("accounts: [{ corp_id: ww1 }]\nlog: { level: trace }\n")
	const want = "environment REPLYGATE_LISTEN_TLS: no key has this variable: it names a section; set one of its keys, like REPLYGATE_LISTEN_TLS_CERT_FILE\n" +
		"environment REPLYGATE_LOG: no key has this variable: it names a section; set one of its keys, like REPLYGATE_LOG_LEVEL\n" +
		`f:2:15: log.level cannot be "trace": known are debug, info, warn, error`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An empty item of a list is reported in its own line.
func TestEmptyListItem(t *testing.T) {
	_, err := config.Parse("f", []byte("accounts:\n  - { corp_id: ww1 }\n  -\n  - ~\n"))
	const want = "f:3:4: accounts[1] has no corp_id: add the id that WeCom shows under My Company, ww…\n" +
		"f:4:5: accounts[2] has no corp_id: add the id that WeCom shows under My Company, ww…"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// The list form of a key and a struct's position have entries in the decoder, but are no keys.
func TestInternalNamesAreNoKeys(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`policy: { 'ruleset[]': [{ ruleset: off }] }`,
			`f:2:11: unknown key policy.ruleset[]: did you mean ruleset?`},
		{`clients: [{ name: a, networks: [10.0.0.0/8], '-at': }]`,
			`f:2:46: unknown key clients[0].-at: if the dash begins a list item, write a blank after it`},
	})
}

// ${NAME} in a value is the variable NAME, in lists too.
func TestReferences(t *testing.T) {
	t.Setenv("TEST_CORP", "wwFromEnv")
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_LENGTH", "24")
	t.Setenv("TEST_NESTED", "${TEST_CORP}")
	const (
		unclosed  = "f:2:19: the ${ is not closed: write the } that belongs to it; a value with ${ of its own must come from a variable or from the file of a secret"
		noDefault = "${TEST_UNSET} cannot have a default: write ${TEST_UNSET}, and set TEST_UNSET where the gateway is started"
	)
	run(t, oneAccount, []fileCase{
		{`unknown_token: ${TEST_CORP}`, `f:2:16: unknown_token cannot be "wwFromEnv": write auto, reauthenticate, refuse or pass, or the corp_id of an account: known are ww1`},
		{`unknown_token: ww${TEST_EMPTY}1`, ""},
		{`window: { length: "${TEST_LENGTH}h" }`, ""},
		{`window: { length: "${TEST_LENGTH}" }`, `f:2:19: a duration needs a unit: write 24s, 24m or 24h`},
		{`unlisted_account: "${TEST_NESTED}"`, `f:2:19: unlisted_account cannot be "${TEST_CORP}": known are refuse, pass`},
		{`unlisted_account: "$TEST_CORP"`, `f:2:19: unlisted_account cannot be "$TEST_CORP": known are refuse, pass`},
		{`unlisted_account: "${TEST_CORP"`, unclosed},
		{`unlisted_account: "${TEST_CORP ${TEST_CORP}"`, unclosed},
		{`unlisted_account: "${TEST_CORP} ${"`, unclosed},
		{`unlisted_account: "$${TEST_EMPTY}{"`, `f:2:19: unlisted_account cannot be "${": known are refuse, pass`},
		{`unlisted_account: "${}"`, `f:2:19: ${} names no environment variable: write its name, like ${NAME}`},
		{`unlisted_account: "${TEST_UNSET:-pass}"`, "f:2:19: " + noDefault},
		{`unlisted_account: "${TEST_UNSET-pass}"`, "f:2:19: " + noDefault},
		{`unlisted_account: "${TEST_UNSET:?text}"`, "f:2:19: " + noDefault},
		{`log: { level: "${TEST_UNSET}" }`,
			`f:2:15: the environment variable TEST_UNSET is not set: set it where the gateway is started`},
		{`log: { level: "${TEST_UNSET}${TEST_UNSET_TOO}" }`,
			"f:2:15: the environment variable TEST_UNSET is not set: set it where the gateway is started\n" +
				"f:2:15: the environment variable TEST_UNSET_TOO is not set: set it where the gateway is started"},
	})
	c := parse(t, "accounts: [{ corp_id: '${TEST_CORP}', hosts: ['a.${TEST_CORP}'], channels: ['wk${TEST_LENGTH}'] }]\n")
	if a := c.Accounts[0]; a.CorpID != "wwFromEnv" || a.Hosts[0] != "a.wwFromEnv" || a.Channels[0] != "wk24" {
		t.Errorf("%+v", a)
	}
}

// A secret's file may end in newlines, which do not belong to the secret.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"from file":         "from file",
		"from file\n":       "from file",
		"from file\r\n\r\n": "from file",
		" from file \n":     " from file ",
		"two\nlines\n":      "two\nlines",
		"${HOME}":           "${HOME}", // not a reference
		"":                  "",
	} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c := parse(t, oneAccount+"redis: { password_file: "+file+" }\n")
		if got := c.Redis.Password.Reveal(); got != want {
			t.Errorf("%q: %q", content, got)
		}
		if at := c.Where("redis.password"); at != (config.Position{Line: 2, Col: 25}) {
			t.Errorf("its position is %+v", at)
		}
	}
}

// In a list too, a secret may come from a file.
func TestSecretFilesInLists(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const rest = ", encoding_aes_key: KEY, receive_ids: [ww1] }]\n"
	c := parse(t, oneAccount+expand("callbacks: [{ path: /a, token_file: "+file+rest))
	if got := c.Callbacks[0].Token.Reveal(); got != "from-file" {
		t.Errorf("%q", got)
	}
	run(t, oneAccount, []fileCase{
		{"callbacks: [{ path: /a, token_file: no/file" + rest,
			"f:2:13: callbacks[0].token is missing: take it from the callback's page in WeCom's console, or name a file as token_file\n" +
				"f:2:37: callbacks[0].token_file: open no/file: no such file or directory: name a file that the gateway can read"},
		{"callbacks: [{ path: /a, token_file: [a]" + rest,
			"f:2:13: callbacks[0].token is missing: take it from the callback's page in WeCom's console, or name a file as token_file\n" +
				"f:2:37: callbacks[0].token_file must be a single value: write it after the colon"},
		{"callbacks: [{ path: /a, token: a, token_file: b" + rest,
			"f:2:35: callbacks[0].token and callbacks[0].token_file are both given: the other is in line 2; keep one"},
	})
}

func TestWhere(t *testing.T) {
	t.Parallel()
	c := parse(t, "# a comment\n\naccounts:\n  - corp_id: ww1\n    hosts: [a, b]\nlog:\n  level: warn\npolicy: { rules: [{ name: a }] }\n")
	for key, want := range map[string]config.Position{
		"accounts":              {Line: 4, Col: 3},
		"accounts[0]":           {Line: 4, Col: 5},
		"accounts[0].corp_id":   {Line: 4, Col: 14},
		"accounts[0].hosts[1]":  {Line: 5, Col: 16},
		"log":                   {Line: 7, Col: 3},
		"log.level":             {Line: 7, Col: 10},
		"policy.rules[0].name":  {Line: 8, Col: 27},
		"log.format":            {},
		"nothing":               {},
		"accounts[1]":           {},
		"policy.rules[0].match": {},
	} {
		if got := c.Where(key); got != want {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
	if name := c.Policy.Rules[0].Name; name != (config.Word{Text: "a", At: config.Position{Line: 8, Col: 27}}) {
		t.Errorf("the rule's name is %+v", name)
	}
	if a := c.Accounts[0]; a.At != (config.Position{Line: 4, Col: 5}) {
		t.Errorf("the account is at %+v", a.At)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if testing.Short() {
		t.Skip("reads 64 MB")
	}
	sized := func(name string, size int64) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("log:"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		sized("small", 4):          "",
		sized("large", 64<<20+1):   "config: read " + filepath.Join(dir, "large") + ": it is larger than 64MB",
		filepath.Join(dir, "none"): "config: open " + filepath.Join(dir, "none") + ": no such file or directory",
		dir:                        "config: read " + dir + ": is a directory",
	} {
		data, err := config.Read(path)
		if at := new(fs.PathError); err != nil && (!errors.As(err, &at) || at.Path != path) {
			t.Errorf("%v does not tell which file it is about", err)
		}
		switch {
		case err == nil && want != "", err != nil && err.Error() != want:
			t.Errorf("%s: %v, want %s", path, err, want)
		case err == nil && string(data[:4]) != "log:":
			t.Errorf("%s: %q", path, data[:4])
		}
	}
}

// The hash is that of the content that was parsed, with mistakes too, though the file has another
// one a moment later.
func TestLoadHashesWhatItParses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, list := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "a.csv")
	replace := func(name, text string) {
		if err := errors.Join(os.WriteFile(name+".new", []byte(text), 0o600), os.Rename(name+".new", name)); err != nil {
			t.Error(err)
		}
	}
	const text = "accounts_file: a.csv\n"
	lists := []string{"corp_id\nwwOne\n", "corp_id\nwwOne\nwwTwo\n", "corp_id\n"}
	replace(file, text)
	replace(list, lists[0])
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				replace(list, lists[i%len(lists)])
			}
		}
	}()
	seen := map[int]bool{}
	for range 1000 {
		c, hash, err := config.Load(file)
		n := 2 // which of the lists it is
		if err == nil {
			n = len(c.Accounts) - 1
		}
		seen[n] = true
		if want := config.Hash([]byte(text), []byte(lists[n])); hash != want {
			t.Errorf("list %d has the hash %s, want %s: %v", n, hash, want, err)
			break
		}
	}
	close(stop)
	<-ended
	if len(seen) < 2 {
		t.Error("the list did not change")
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, hash, err := config.Load(file); hash != "" || err == nil {
		t.Errorf("without the list: %q %v", hash, err)
	}
	replace(file, "accounts: [{ corp_id: ww1 }]\n")
	if _, hash, err := config.Load(file); hash != config.Hash([]byte("accounts: [{ corp_id: ww1 }]\n"), nil) || err != nil {
		t.Errorf("without accounts_file: %q %v", hash, err)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	type item struct {
		Name  config.Word `yaml:"name"`
		Count *int        `yaml:"count"`
		Flags []bool      `yaml:"flags"`
		Inner *struct {
			Size config.Size `yaml:"size"`
		} `yaml:"inner"`
		At config.Position `yaml:"-"`
	}
	for _, c := range []struct{ file, want, err string }{
		{"", "", "f:1:1: the file must be a list: write [a, b], or one item per line after a dash"},
		{"[]", "", "f:1:1: the file is an empty list: write something into it, or leave the key out; in a match an absent list means any"},
		{"- { name: a }", "[a@1:11 at 1:3]", ""},
		{"- name: a\n  count: 3\n  flags: [true, false]\n  inner: { size: 2KB }\n- name: b", "[a@1:9 count 3 flags [true false] size 2KB at 1:3 b@5:9 at 5:3]", ""},
		{"- { nam: a }", "", "f:1:5: unknown key [0].nam: did you mean name?"},
		{"- { count: x }\n- { flags: [1] }", "", "f:1:12: \"x\" is not a whole number: write only digits\nf:2:13: \"1\" is neither true nor false: write one of the two"},
		{"- {", "", "f:1:3: this is not YAML: the { is not closed: write the } that belongs to it"},
		{"a: b", "", "f:1:1: the file must be a list: write [a, b], or one item per line after a dash"},
	} {
		var items []item
		if err := config.Decode("f", []byte(c.file), &items); err != nil || c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s\n got %v\nwant %s", c.file, err, c.err)
			}
			continue
		}
		var all []string
		for _, i := range items {
			s := fmt.Sprintf("%s@%d:%d", i.Name.Text, i.Name.At.Line, i.Name.At.Col)
			if i.Count != nil {
				s += fmt.Sprint(" count ", *i.Count)
			}
			if i.Flags != nil {
				s += fmt.Sprint(" flags ", i.Flags)
			}
			if i.Inner != nil {
				s += fmt.Sprint(" size ", i.Inner.Size)
			}
			all = append(all, s+fmt.Sprintf(" at %d:%d", i.At.Line, i.At.Col))
		}
		if got := fmt.Sprint(all); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.file, got, c.want)
		}
	}
}

func TestParseRuleSet(t *testing.T) {
	t.Parallel()
	set, err := config.ParseRuleSet("f", []byte("opens: [text, image]\nrules:\n  - { name: a, when: 'account.lapsed', percent: 10, from: 2026-12-01T00:00:00+08:00, refusal: { errcode: 7, errmsg: no } }\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rules[0]
	if len(set.Opens) != 2 || set.Opens[1].Text != "image" || r.When.Text != "account.lapsed" || *r.Percent != 10 ||
		r.From.UTC().Hour() != 16 || r.Refusal.Errcode != 7 || r.Refusal.Errmsg != "no" || r.At.Line != 3 {
		t.Errorf("%+v", set)
	}
	if _, err := config.ParseRuleSet("f", []byte("rule: []\n")); err == nil || err.Error() != "f:1:1: unknown key rule: did you mean rules?" {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	addEncoded(f, "accounts:\n  - { corp_id: ww1, name: 北京公司 }\nlog：\n  level: “info”\n")
	addEncoded(f, "accounts: [{ corp_id: ww1, subscription: { expires_at: 2026年10月1日 } }]\n")
	files, _ := filepath.Glob("../testdata/config/bad/*/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}

// A value of the wrong kind is reported with what its key takes.
func TestShapes(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`log: { level: [info] }`, `f:2:15: log.level must be a single value: write it after the colon`},
		{`log: { level: { a: b } }`, `f:2:15: log.level must be a single value: write it after the colon`},
		{`log: { level: }`,
			`f:2:15: log.level has no value: write one after the colon, or leave the key out for its default`},
		{`log: { level: ~ }`,
			`f:2:15: log.level has no value: write one after the colon, or leave the key out for its default`},
		{`log: info`, `f:2:6: log must be a mapping: write its keys below it, indented, each as key: value`},
		{`log: [info]`, `f:2:6: log must be a mapping: write its keys below it, indented, each as key: value`},
		{`log:`, ""},
		{`log: {}`, ""},
		{`log: ~`, ""},
		{`redis: { addrs: '127.0.0.1:6379' }`,
			`f:2:17: redis.addrs must be a list: write [a, b], or one item per line after a dash`},
		{`redis: { addrs: [] }`,
			`f:2:17: redis.addrs is an empty list: write something into it, or leave the key out; in a match an absent list means any`},
		{`admin: { peers: [] }`, ""},
		{`events: { robots: [{ name: duty, key: k, types: [], accounts: [] }] }`, ""},
		{`events: { webhooks: [{ name: crm, url: 'https://crm.example.com/', secrets: [whsec_cmVwbHlnYXRlLXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE=], types: [], accounts: [] }] }`, ""},
		{`redis: { addrs: [[a]] }`, `f:2:18: redis.addrs[0] must be a single value: write it after the colon`},
		{`redis: { addrs: [~] }`,
			`f:2:18: redis.addrs[0] has no value: write one after the colon, or leave the key out for its default`},
		{`redis: { tls: yes }`, `f:2:15: "yes" is neither true nor false: write one of the two`},
		{`redis: { tls: True }`, `f:2:15: "True" is neither true nor false: write one of the two`},
		{`redis: { tls: true }`, ""},
		{`redis: { tls: 'false' }`, ""},
		{`redis: { db: 1.0 }`, `f:2:14: "1.0" is not a whole number: write only digits`},
		{`redis: { db: 01 }`, `f:2:14: "01" is not a whole number: write only digits`},
		{`redis: { db: 0x1 }`, `f:2:14: "0x1" is not a whole number: write only digits`},
		{`redis: { db: +1 }`, `f:2:14: "+1" is not a whole number: write only digits`},
		{`redis: { db: 1_000 }`, `f:2:14: "1_000" is not a whole number: write only digits`},
		{`redis: { db: 99999999999999999999 }`,
			`f:2:14: "99999999999999999999" is not a whole number: write only digits`},
		{`window: { replies: '3' }`, ""},
		{`policy: { rules: [{ name: a, percent: 10, action: refuse, match: {} }] }`, ""},
		{`policy: { rules: [{ name: a, percent: ten }] }`,
			`f:2:39: "ten" is not a whole number: write only digits`},
		{`policy: { rules: [{ name: a, from: tomorrow }] }`,
			`f:2:36: "tomorrow" is not an instant: write one with its zone, like 2026-10-01T00:00:00+08:00`},
		{`policy: { rules: [{ name: a, match: { standings: lapsed } }] }`,
			`f:2:50: policy.rules[0].match.standings must be a list: write [a, b], or one item per line after a dash`},
		{`policy: { rules: [{ name: a, match: { standings: [] } }] }`,
			`f:2:50: policy.rules[0].match.standings is an empty list: write something into it, or leave the key out; in a match an absent list means any`},
		{`policy: { rules: [{ name: a, refusal: { errcode: x } }] }`,
			`f:2:50: "x" is not a whole number: write only digits`},
		{`policy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00Z }] }`, ""},
		{`policy: { ruleset: [{ ruleset: off, until: 2026-12-01T00:00:00Z }] }`,
			`f:2:37: unknown key policy.ruleset[0].until: known are from, ruleset`},
		{`policy: { ruleset: { ruleset: off } }`,
			`f:2:20: policy.ruleset must be a single value: write it after the colon`},
	})
}

// Keys that do not exist, or are given more than once.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`lisen: { api: '127.0.0.1:80' }`, `f:2:1: unknown key lisen: did you mean listen?`},
		{`listen: { apii: '127.0.0.1:80' }`, `f:2:11: unknown key listen.apii: did you mean api?`},
		{`listen.api: 127.0.0.1:80`, `f:2:1: unknown key listen.api: write api below listen, indented`},
		{`redis.password: x`, `f:2:1: unknown key redis.password: write password below redis, indented`},
		{`nothing.at.all: x`,
			`f:2:1: unknown key nothing.at.all: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window`},
		{`LOG: { level: info }`, `f:2:1: unknown key LOG: did you mean log?`},
		{`upstream: { path: / }`, `f:2:13: unknown key upstream.path: known are ca_file, proxy, timeout, url`},
		{`redis: { password_fil: x }`, `f:2:10: unknown key redis.password_fil: did you mean password_file?`},
		{`redis: { addrs_file: x }`,
			`f:2:10: unknown key redis.addrs_file: known are addrs, ca_file, db, listen, master_name, mode, password, prefix, sentinel_password, sentinel_username, snapshot, timeout, tls, username`},
		{`policy: { rules: [{ name: a, capabilty: kf_reply }] }`,
			`f:2:30: unknown key policy.rules[0].capabilty: known are action, from, match, mode, name, partial, percent, refusal, until, when`},
		{`policy: { rules: [{ name: a, match: { capabilty: [kf_reply] } }] }`,
			`f:2:39: unknown key policy.rules[0].match.capabilty: did you mean capabilities?`},
		{`where: x`,
			`f:2:1: unknown key where: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window`},
		{`clients: [{ name: a, networks: [10.0.0.0/8], at: x }]`,
			`f:2:46: unknown key clients[0].at: known are contains, header, name, networks`},
		{`1: x`,
			`f:2:1: unknown key 1: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window`},
		{`log: { level: info, level: warn }`,
			`f:2:21: log.level is given twice: it is already in line 2; keep one`},
		{"log: { level: info }\nredis: { db: 1 }\nlog: { level: warn }",
			`f:4:1: log is given twice: it is already in line 2; keep one`},
		{`accounts: [{ corp_id: ww2 }]`, `f:2:1: accounts is given twice: it is already in line 1; keep one`},
		{"a: 1\nb: 2\nlog: { c: 3, level: 4 }",
			"f:2:1: unknown key a: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window\n" +
				"f:3:1: unknown key b: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window\n" +
				"f:4:8: unknown key log.c: known are decisions, format, ids, ids_key, level, max_files, max_size\n" +
				`f:4:21: log.level cannot be "4": known are debug, info, warn, error`},
		{`redis: { password: a, password_file: b }`,
			`f:2:23: redis.password and redis.password_file are both given: the other is in line 2; keep one`},
		{`redis: { password_file: b, password: a }`,
			"f:2:25: redis.password_file: open b: no such file or directory: name a file that the gateway can read\n" +
				`f:2:28: redis.password and redis.password_file are both given: the other is in line 2; keep one`},
		{`redis: { password_file: b, password_file: c }`,
			"f:2:25: redis.password_file: open b: no such file or directory: name a file that the gateway can read\n" +
				`f:2:28: redis.password_file is given twice: it is already in line 2; keep one`},
	})
}

// Files that are not one YAML document, and those that only look odd.
func TestSyntax(t *testing.T) {
	t.Parallel()
	run(t, "", []fileCase{
		{``, `f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]`},
		{"# only a comment\n", `f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]`},
		{`~`, `f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]`},
		{"accounts: [{ corp_id: ww1 }\n",
			`f:1:11: this is not YAML: the [ is not closed: write the ] that belongs to it`},
		{"accounts:\n\t- corp_id: ww1\n",
			`f:2:1: this is not YAML: a tab indents this line: indent with blanks: YAML takes no tabs there`},
		{"accounts: 'ww1\n",
			`f:1:11: this is not YAML: the quote ' is not closed: write it again at the end of the value`},
		{"accounts: *nobody\n",
			`f:1:11: this is not YAML: there is no anchor &nobody: define it above, or put the value in quotes if its * belongs to it`},
		{"accounts:\n  - corp_id: ww1\n name: a\n",
			`f:3:2: this is not YAML: this line does not belong to a list or mapping above it: begin it in the same column as the lines that it belongs with`},
		{"a: b: c\n",
			`f:1:5: this is not YAML: a second colon in one value: put a value that contains a colon and a blank in quotes`},
		{"- corp_id: ww1\n",
			"f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]\n" +
				`f:1:1: the file must be a mapping: write its keys below it, indented, each as key: value`},
		{`ww1`,
			"f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]\n" +
				`f:1:1: the file must be a mapping: write its keys below it, indented, each as key: value`},
		{"accounts: [{ corp_id: ww1 }]\n---\nlog: { level: info }\n",
			`f:2:1: a second document: keep one; remove the line ---`},
		{"---\naccounts: [{ corp_id: ww1 }]\n...\n", ""},
		{"\ufeffaccounts: [{ corp_id: ww1 }]\n", ""},
		{"accounts: [{ corp_id: ww1 }]\r\nlog: { level: trace }\r\n",
			`f:2:15: log.level cannot be "trace": known are debug, info, warn, error`},
		{"accounts: &a [*a]\n",
			"f:1:11: accounts[0] must be a mapping: write its keys below it, indented, each as key: value\n" +
				`f:1:11: accounts[0] has no corp_id: add the id that WeCom shows under My Company, ww…`},
		{"<<: { accounts: [] }\n",
			"f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]\n" +
				`f:1:1: unknown key <<: known are accounts, accounts_file, admin, callbacks, clients, console, events, journal, limits, listen, log, meter, metrics, policy, redis, shutdown, traces, unknown_token, unlisted_account, upstream, window`},
		{"accounts: [{ corp_id: ww1, subscription: &s { expires_at: 2026-10-01T00:00:00Z } }, { corp_id: ww2, subscription: *s }]\n", ""},
		{"accounts: [{ corp_id: ww1, name: &n 5x }]\nredis: { db: *n }\n",
			`f:1:34: "5x" is not a whole number: write only digits`},
	})
}

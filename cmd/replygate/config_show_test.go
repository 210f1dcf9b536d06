package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
)

// config show tells of every setting where it comes from, and of secrets only whether they are set.
func TestConfigShow(t *testing.T) {
	t.Setenv("REPLYGATE_WINDOW_REPLIES", "4")
	t.Setenv("REPLYGATE_ADMIN_READ_KEY", "environment-secret")
	accounts := file(t, "accounts.yaml", "- { corp_id: ww2, name: 深圳, subscription: none }\n")
	c := file(t, "c.yaml", `listen:
  api: 127.0.0.1:18080
admin: { change_key: file-secret-123 }
accounts_file: `+accounts+`
accounts: [{ corp_id: ww1, hosts: [a.example, b.example] }]
window: { length: 47h30m, replies: 3 }
policy:
  rules: [{ name: r, match: { capabilities: [media] }, action: pass }]
`)
	code, out, errs := cli(t, "config", "show", "--candidate", c)
	for _, want := range []string{
		`KEY +VALUE +FROM`, `listen.api +127.0.0.1:18080 +` + c + `:2`, `listen.admin +127.0.0.1:9090 +default`, `admin.change_key +set +` + c + `:3`,
		`admin.read_key +set +\$REPLYGATE_ADMIN_READ_KEY`, `admin.metrics_key +unset +default`, `window.length +47h30m +` + c + `:6`, `window.replies +4 +\$REPLYGATE_WINDOW_REPLIES`,
		`redis.addrs\[0\] +127.0.0.1:6379 +default`, `accounts\[0\].hosts\[1\] +b.example +` + c + `:5`, `accounts\[1\].name +深圳 +` + accounts + `:1`, `accounts\[1\].subscription +none +` + accounts + `:1`,
		`policy.rules\[0\].match.capabilities\[0\] +media +` + c + `:8`, `upstream.ca_file +"" +default`, `upstream.proxy +unset +default`, `journal.max_bytes +256MB +default`,
	} {
		if code != exitGood || !regexp.MustCompile(`(?m)^`+want+`$`).MatchString(out) {
			t.Errorf("exit %d: no %q in\n%s%s", code, want, out, errs)
		}
	}
	for _, key := range config.Keys() {
		if !strings.Contains(out, "\n"+key+" ") {
			t.Errorf("%s is missing", key)
		}
	}
	code, asJSON, errs := cli(t, "config", "show", "--candidate", c, "--json")
	var list admin.SettingList
	if err := json.Unmarshal([]byte(asJSON), &list); err != nil || code != exitGood || list.File != c || len(list.Settings) < 40 {
		t.Errorf("exit %d %v %s%s", code, err, asJSON, errs)
	}
	for _, text := range []string{out, asJSON} {
		if strings.Contains(text, "environment-secret") || strings.Contains(text, "file-secret-123") {
			t.Errorf("a secret is shown:\n%s", text)
		}
	}
}

// A list of many items is cut in the table, and whole as JSON.
func TestConfigShowLongList(t *testing.T) {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i := range 130 {
		fmt.Fprintf(&text, "  - { corp_id: ww%d }\n", i)
	}
	c := file(t, "c.yaml", text.String())
	_, out, _ := cli(t, "config", "show", "--candidate", c)
	if n := strings.Count(out, ".corp_id"); n != maxItems || strings.Count(out, "accounts[…]  ") != 1 {
		t.Errorf("%d items\n%s", n, out)
	}
	if _, out, _ = cli(t, "config", "show", "--candidate", c, "--json"); strings.Count(out, ".corp_id") != 130 {
		t.Error(out)
	}
}

// A running gateway tells its own settings, after a reload the new ones.
func TestConfigShowOfAGateway(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Admin.ReadKey = "read-key-123456" })
	api := r.gateway.control.Addr().String()
	if code, _, errs := cli(t, "config", "show", "--admin", api); code != exitBad || !strings.Contains(errs, "REPLYGATE_ADMIN_READ_KEY") {
		t.Errorf("exit %d %s", code, errs)
	}
	t.Setenv("REPLYGATE_ADMIN_READ_KEY", "read-key-123456")
	for _, address := range []string{api, "http://" + api, "http://" + api + "/"} {
		code, out, errs := cli(t, "config", "show", "--admin", address)
		if code != exitGood || !strings.Contains(out, "upstream.url") || strings.Contains(out, "read-key-123456") {
			t.Errorf("exit %d %s%s", code, out, errs)
		}
	}
}

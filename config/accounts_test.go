package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"replygate/config"
)

// parseWithFile parses a configuration of the account ww1 with an accounts_file of the given name
// and content. In the mistakes, FILE is the path of that file.
func parseWithFile(t *testing.T, name, content string) (c *config.Config, mistakes string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1, hosts: [one.internal], channels: [wkOne] }]\naccounts_file: "+path+"\n"))
	if err != nil {
		return nil, strings.ReplaceAll(err.Error(), path, "FILE")
	}
	return c, ""
}

// describe lists what an account has, without what it lacks.
func describe(a config.Account) string {
	s := a.CorpID
	if a.Name != "" || a.Entity != "" {
		s += fmt.Sprintf(" %q of %q", a.Name, a.Entity)
	}
	switch {
	case a.Subscription == nil:
	case bool(a.Subscription.Never):
		s += " without a subscription"
	default:
		s += fmt.Sprintf(" until %s +%s", a.Subscription.ExpiresAt.Format(time.RFC3339), a.Subscription.Grace)
	}
	if a.Contacts != nil {
		s += fmt.Sprintf(" free %d", a.Contacts.Free)
		if a.Contacts.Total != nil {
			s += fmt.Sprintf(" of %d", *a.Contacts.Total)
		}
		if a.Contacts.Purchased != nil {
			s += fmt.Sprintf(" purchased %d", *a.Contacts.Purchased)
		}
		if !a.Contacts.CountedAt.IsZero() {
			s += " counted at " + a.Contacts.CountedAt.Format(time.RFC3339)
		}
	}
	if a.Hosts != nil || a.Channels != nil {
		s += fmt.Sprint(" ", a.Hosts, a.Channels)
	}
	if a.Secrets.Contact != "" {
		s += " secret " + a.Secrets.Contact.Reveal()
	}
	return s + fmt.Sprintf(" in line %d", a.At.Line)
}

// Accounts of both kinds of files come after those of the configuration.
func TestAccountsFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"more.yaml", "- { corp_id: ww2 }\n", []string{"ww2 in line 1"}},
		{"more.yaml", "accounts:\n- { corp_id: ww2 }\n", []string{"ww2 in line 2"}},
		{"more.yml", "# a comment\n---\n- corp_id: ww2\n  name: Acme\n- corp_id: ww3\n", []string{`ww2 "Acme" of "" in line 3`, "ww3 in line 5"}},
		{"more.yaml", "- { corp_id: ww2, contacts: {} }\n", []string{"ww2 free 2000 in line 1"}},
		{"more.yaml", "- { corp_id: ww2, hosts: [two.internal, zwei.internal], channels: [wkTwo, wkone] }\n",
			[]string{"ww2 [two.internal zwei.internal] [wkTwo wkone] in line 1"}},
		{"more.csv", "corp_id\nww2\nww3\n", []string{"ww2 in line 2", "ww3 in line 3"}},
		{"more.CSV", "corp_id\r\nww2\r\n", []string{"ww2 in line 2"}},
		{"more.csv", "\ufeffcorp_id,name\nww2,Acme\n", []string{`ww2 "Acme" of "" in line 2`}},
		{"more.csv", "entity, corp_id ,name\n\"Acme, Ltd\", ww2 , Acme East \n", []string{`ww2 "Acme East" of "Acme, Ltd" in line 2`}},
		{"more.csv", "corp_id,expires_at,grace\nww2,2026-10-01T00:00:00+08:00,24h\nww3,2026-10-01T00:00:00Z,\nww4,,\n",
			[]string{"ww2 until 2026-10-01T00:00:00+08:00 +24h0m0s in line 2", "ww3 until 2026-10-01T00:00:00Z +0s in line 3", "ww4 in line 4"}},
		{"more.csv", "corp_id,contacts_free,contacts_total\nww2,5000,4321\nww3,,7\nww4,0,\nww5,,\n",
			[]string{"ww2 free 5000 of 4321 in line 2", "ww3 free 2000 of 7 in line 3", "ww4 free 0 in line 4", "ww5 in line 5"}},
		{"more.yaml", "- { corp_id: ww2, subscription: none, contacts: { purchased: 5000, total: 5, counted_at: 2026-10-01T00:00:00Z }, secrets: { contact: s3 } }\n",
			[]string{"ww2 without a subscription free 2000 of 5 purchased 5000 counted at 2026-10-01T00:00:00Z secret s3 in line 1"}},
		{"more.csv", "corp_id,contacts_purchased,contacts_total,contacts_counted_at,subscription\nww2,5000,5,2026-10-01T00:00:00Z,none\nww3,,,,\n",
			[]string{"ww2 without a subscription free 2000 of 5 purchased 5000 counted at 2026-10-01T00:00:00Z in line 2", "ww3 in line 3"}},
		{"more.csv", "corp_id,channels,hosts\nww2,wkTwo wkone,  two.internal  zwei.internal \nww3,,\n",
			[]string{"ww2 [two.internal zwei.internal] [wkTwo wkone] in line 2", "ww3 in line 3"}},
		{"more.csv", "corp_id,name\n\nww2,\"two\nlines\"\nww3,a\n", []string{`ww2 "two\nlines" of "" in line 3`, `ww3 "a" of "" in line 5`}},
	} {
		got, mistakes := parseWithFile(t, c.name, c.content)
		if mistakes != "" {
			t.Errorf("%s: %s", c.content, mistakes)
			continue
		}
		var all []string
		for _, a := range got.Accounts[1:] {
			all = append(all, describe(a))
			if filepath.Base(a.At.File) != c.name {
				t.Errorf("%s: an account is in %s", c.content, a.At.File)
			}
		}
		if fmt.Sprint(all) != fmt.Sprint(c.want) {
			t.Errorf("%s\n got %q\nwant %q", c.content, all, c.want)
		}
	}
}

func TestAccountsFileMistakes(t *testing.T) {
	t.Parallel()
	const noAccount = "FILE:1:1: accounts_file lists no account: write it again with its accounts, or leave accounts_file out"
	for _, c := range []struct{ name, content, want string }{
		{"a.yaml", "", noAccount},
		{"a.yaml", "# none today\n", noAccount},
		{"a.yaml", "[]\n", noAccount},
		{"a.yaml", "accounts:\n", noAccount},
		{"a.yaml", "accounts: []\n", noAccount},
		{"a.yaml", "~\n", noAccount},
		{"a.csv", "corp_id,name,expires_at\n", noAccount},
		{"a.csv", "\ufeffcorp_id,name", noAccount},
		{"a.csv", "corp_id\n\n\r\n\n", noAccount},
		{"a.csv", "corp_id,name\n,\n", noAccount},
		{"a.yaml", "corp_id: ww2\n", "FILE:1:1: accounts_file must be a list of accounts: write one per line after a dash: - { corp_id: ww… }"},
		{"a.yaml", "accounts: []\nlog: {}\n", "FILE:1:1: accounts_file must be a list of accounts: write one per line after a dash: - { corp_id: ww… }"},
		{"a.yaml", "- {\n", "FILE:1:3: this is not YAML: the { is not closed: write the } that belongs to it"},
		{"a.yaml", "[]\n---\n[]\n", "FILE:2:1: a second document: keep one; remove the line ---"},
		{"a.yaml", "- { corp: ww2 }\n", "FILE:1:3: accounts[1] has no corp_id: add the id that WeCom shows under My Company, ww…\n" +
			"FILE:1:5: unknown key accounts[1].corp: did you mean corp_id?"},
		{"a.yaml", "- ww2\n", "FILE:1:3: accounts[1] must be a mapping: write its keys below it, indented, each as key: value\n" +
			"FILE:1:3: accounts[1] has no corp_id: add the id that WeCom shows under My Company, ww…"},
		{"a.yaml", "- { corp_id: ww1 }\n", "FILE:1:14: corp_id ww1 is given twice: it is already in line 1; keep one"},
		{"a.yaml", "- { corp_id: ww2 }\n- { corp_id: ww2 }\n", "FILE:2:14: corp_id ww2 is given twice: it is already in line 1 of FILE; keep one"},
		{"a.yaml", "- { corp_id: ww2, hosts: [one.internal] }\n", "FILE:1:27: host one.internal is given twice: it is already in line 1; only one account can have it"},
		{"a.yaml", "- { corp_id: ww2, contacts: { total: x } }\n", `FILE:1:38: "x" is not a whole number: write only digits`},
		{"a.yaml", "- { corp_id: ww2, subscription: {} }\n", "FILE:1:33: subscription has no expires_at: give its end, like expires_at: 2026-10-01T00:00:00+08:00, or write subscription: none for an account that never had one"},
		{"a.csv", "", "FILE:1:1: accounts_file is empty: begin it with a header line: corp_id,name,entity,expires_at"},
		{"a.csv", "ww2,Acme\n", `FILE:1:1: unknown column "ww2": known are corp_id, name, entity, subscription, expires_at, grace, contacts_free, contacts_purchased, contacts_total, contacts_counted_at, hosts, channels` + "\n" +
			`FILE:1:5: unknown column "Acme": known are corp_id, name, entity, subscription, expires_at, grace, contacts_free, contacts_purchased, contacts_total, contacts_counted_at, hosts, channels`},
		{"a.csv", "corp_id,nmae\nww2,x\n", `FILE:1:9: unknown column "nmae": did you mean name?`},
		{"a.csv", "corp_id,name,corp_id\nww2,x,ww3\n", "FILE:1:14: column corp_id is given twice: keep one"},
		{"a.csv", "name\nAcme\n", "FILE:2:1: accounts[1] has no corp_id: add the id that WeCom shows under My Company, ww…"},
		{"a.csv", "corp_id,name\nww2\nww3,x,y\nww4,x\n", "FILE:2:1: a row of 1 cells under a header of 2: give every row a cell for each column\n" +
			"FILE:3:1: a row of 3 cells under a header of 2: put a cell that contains a comma in quotes"},
		{"a.csv", "corp_id,name\nww2,\"x\nww3,y\n", `FILE:2:5: this is not CSV: the quote of this cell is not closed: write " at the end of the cell; write "" for a quote within it`},
		{"a.csv", "corp_id,name\nww2, \"Acme\"\n", `FILE:2:6: this is not CSV: a blank before the quote: take the blank out: a quote begins directly after the separator`},
		{"a.csv", "corp_id,expires_at,grace\nww2,2026-10-01,1d\n", `FILE:2:5: "2026-10-01" is not an instant: write 2026-10-01T00:00:00+08:00, the beginning of that day in China` + "\n" +
			`FILE:2:16: "1d" is not a duration: write one like 500ms, 30s or 48h`},
		{"a.csv", "corp_id,grace\nww2,24h\n", "FILE:2:1: subscription has no expires_at: give its end, like expires_at: 2026-10-01T00:00:00+08:00, or write subscription: none for an account that never had one"},
		{"a.csv", "corp_id,contacts_free\nww2,-1\n", "FILE:2:1: a number of contacts is negative: write 0 or more"},
		{"a.csv", "corp_id\nww2\nww1\nww2\n", "FILE:3:1: corp_id ww1 is given twice: it is already in line 1; keep one\n" +
			"FILE:4:1: corp_id ww2 is given twice: it is already in line 2 of FILE; keep one"},
		{"a.csv", "corp_id,hosts\nww2,a http://b a\n", `FILE:2:5: "http://b" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal` + "\n" +
			"FILE:2:5: host a is given twice: it is already in line 2 of FILE; only one account can have it"},
	} {
		if _, got := parseWithFile(t, c.name, c.content); got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, c.content, got, c.want)
		}
	}
}

// Without accounts of its own, a configuration may have those of a file alone.
func TestAccountsOfAFileAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "all.csv")
	if err := os.WriteFile(file, []byte("corp_id\nww7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := parse(t, "accounts_file: "+file+"\nunknown_token: ww7\n")
	if len(c.Accounts) != 1 || c.Accounts[0].CorpID != "ww7" {
		t.Errorf("%+v", c.Accounts)
	}
	run(t, "", []fileCase{
		{"accounts_file: no/file.csv", "f:1:16: accounts_file: open no/file.csv: no such file or directory: name a YAML or CSV file that the gateway can read"},
		{"accounts_file: .", "f:1:16: accounts_file: read .: is a directory: name a YAML or CSV file that the gateway can read"},
		{"accounts_file: ''", "f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]"},
	})
}

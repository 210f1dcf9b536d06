package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom"
)

// golden prepares a rig for the golden lists: one customer wrote, and one file is there.
func (r *rig) golden() {
	r.Helper()
	r.platform.AddMedia("MEDIA-GOLDEN", bytes.Repeat([]byte{0, 1, 2, 255}, 50_000))
	r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
	if a := r.sync(); a.Errcode != 0 {
		r.Fatalf("sync_msg: %s", a.body)
	}
	r.platform.Forget()
}

// The list of what a lapsed account must not reach, and of what it must.
func TestGoldenLapsed(t *testing.T) {
	eachStore(t, nil, func(r *rig) {
		r.golden()
		for _, c := range lines(r.T, "golden/refused.tsv", 3) {
			a := r.call(c[0], c[1], c[2])
			if n := len(r.platform.Calls()); n != 0 {
				r.Fatalf("LEAK: %s %s %s reached WeCom", c[0], c[1], c[2])
			}
			if a.StatusCode != 200 || a.Errcode == 0 || a.Gate.Verdict != "refuse" || a.Gate.DecisionID == "" || !strings.Contains(a.Errmsg, "id="+a.Gate.DecisionID) {
				r.Errorf("%s %s %s: HTTP %d %s", c[0], c[1], c[2], a.StatusCode, a.body)
			}
			if a.Header.Get("Error-Code") == "" || a.Header.Get("Replygate-Reason") != a.Gate.Reason {
				r.Errorf("%s %s: headers %v", c[0], c[1], a.Header)
			}
		}
		for _, c := range lines(r.T, "golden/passed.tsv", 3) {
			r.reaches(c[0], c[1], c[2])
		}
	})
}

// reaches wants that a call arrives once, byte for byte.
func (r *rig) reaches(method, target, body string) answer {
	r.Helper()
	r.platform.Forget()
	a := r.call(method, target, body, "Content-Type: application/json", "X-Odd-Header: a  b")
	calls := r.platform.Calls()
	if len(calls) != 1 {
		r.Errorf("%s %s %s: reached WeCom %d times: %s", method, target, body, len(calls), a.body)
		return a
	}
	c := calls[0]
	path, query, _ := strings.Cut(target, "?")
	if query != "" {
		query += "&"
	}
	if judged := a.Header.Get("Replygate-Verdict") != ""; judged {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if c.Method != method || c.Path != path || c.Query != query+"access_token="+r.token || string(c.Body) != body {
		r.Errorf("%s %s %s: arrived as %s %s ?%s %s", method, target, body, c.Method, c.Path, c.Query, c.Body)
	}
	if c.Header.Get("X-Odd-Header") != "a  b" || c.Header.Get("User-Agent") != "golden" || c.Header.Get("Content-Type") != "application/json" {
		r.Errorf("%s %s: headers arrived as %v", method, target, c.Header)
	}
	if a.StatusCode != 200 {
		r.Errorf("%s %s: HTTP %d %s", method, target, a.StatusCode, a.body)
	}
	return a
}

// For an account that is not lapsed everything passes, also with Redis stopped once its token is
// known.
func TestGoldenInGoodStanding(t *testing.T) {
	total := 12
	for name, change := range map[string]func(*config.Account, time.Time){
		"active": func(a *config.Account, now time.Time) { a.Subscription.ExpiresAt = now.Add(time.Hour) },
		"grace":  func(a *config.Account, _ time.Time) { a.Subscription.Grace = 2 * time.Hour },
		"free":   func(a *config.Account, _ time.Time) { a.Contacts = &config.Contacts{Free: 2000, Total: &total} },
	} {
		t.Run(name, func(t *testing.T) {
			server := storetest.Start(t)
			c := server.Config()
			c.Timeout = 300 * time.Millisecond
			r := newRig(t, c, func(c *config.Config) {
				change(&c.Accounts[0], c.Accounts[0].Subscription.ExpiresAt.Add(time.Hour))
			})
			r.golden()
			for _, stopped := range []bool{false, true} {
				if stopped {
					server.Down()
				}
				for _, list := range []string{"golden/refused.tsv", "golden/passed.tsv"} {
					for _, c := range lines(t, list, 3) {
						r.reaches(c[0], c[1], c[2])
					}
				}
			}
		})
	}
}

// The gateway's standing follows the clock without a restart.
func TestStandingFlipsAtTheSecond(t *testing.T) {
	var expires time.Time
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		expires = c.Accounts[0].Subscription.ExpiresAt.Add(2 * time.Hour)
		c.Accounts[0].Subscription.ExpiresAt = expires
	})
	detail := "/cgi-bin/externalcontact/get?external_userid=wmA"
	r.clock.Set(expires.Add(-time.Millisecond))
	if a := r.call("GET", detail, ""); a.Errcode != 0 {
		t.Fatalf("before the end: %s", a.body)
	}
	r.clock.Set(expires)
	if a := r.call("GET", detail, ""); a.Errcode != 48002 || a.Gate.Reason != "rule_refuse" || a.Gate.Rule != "no-customer-details" {
		t.Fatalf("at the end: %s", a.body)
	}
}

// The rule of 2023: what adds customers is refused, everything else reaches WeCom.
func TestGoldenGrandfathered(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Policy.Ruleset = "grandfathered-2023" })
	r.golden()
	adding := map[wecom.Capability]bool{"add_customer": true, "customer_acquisition": true, "group_join_way": true, wecom.UncataloguedCustomer: true}
	refused := 0
	for _, list := range []string{"golden/refused.tsv", "golden/passed.tsv"} {
		for _, c := range lines(t, list, 3) {
			path, _, _ := strings.Cut(c[1], "?")
			route := wecom.ReadPath([]byte(path))
			switch {
			case route.Ambiguous():
			case adding[route.Endpoint.Capability], strings.Contains(c[2], "business_card"), strings.Contains(c[2], "ca_link"):
				r.platform.Forget()
				if a := r.call(c[0], c[1], c[2]); a.Gate.Verdict != "refuse" || len(r.platform.Calls()) != 0 {
					t.Errorf("%s %s %s: %s", c[0], c[1], c[2], a.body)
				}
				refused++
			default:
				r.reaches(c[0], c[1], c[2])
			}
		}
	}
	if refused < 10 {
		t.Errorf("only %d calls add customers", refused)
	}
}

// What a caller is comes from its headers and its connection, not from what it says of its address.
func TestClients(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Clients = []config.Client{
			{Name: "pc", Header: "User-Agent", Contains: "WindowsWechat"},
			{Name: "elsewhere", Networks: []string{"10.1.0.0/16"}},
			{Name: "here", Networks: []string{"127.0.0.0/8"}},
		}
		rule := func(client, action string) config.Rule {
			return config.Rule{Name: config.Word{Text: client + "-" + action}, Action: config.Word{Text: action},
				Match: config.Match{Clients: []config.Word{{Text: client}}, Capabilities: []config.Word{{Text: "customer_details"}}}}
		}
		c.Policy.Rules = []config.Rule{rule("pc", "pass"), rule("elsewhere", "pass")}
	})
	const details = "/cgi-bin/externalcontact/get?external_userid=wmA"
	if a := r.call("GET", details, "", "X-Forwarded-For: 10.1.2.3"); a.Gate.Rule != "no-customer-details" {
		t.Errorf("a caller that names another address: %s", a.body)
	}
	target := details + "&access_token=" + r.token
	a := raw(t, r.gateway.api.Addr().String(), "GET "+target+" HTTP/1.1\r\nHost: g\r\nUser-Agent: Mozilla WindowsWechat/4\r\n\r\n")
	if a.Errcode != 0 || a.Gate.Rule != "" {
		t.Errorf("the PC client: %s", a.body)
	}
}

func TestRulesets(t *testing.T) {
	code, out, errs := cli(t, "rulesets", "list")
	for _, line := range []string{"grandfathered-2023  the earlier rule", "off                 nothing is refused", "reply-only-2024     a company that has not renewed may only reply"} {
		if code != exitGood || !strings.Contains(out, line) {
			t.Errorf("exit %d: %q is missing: %s%s", code, line, out, errs)
		}
	}
	if code, out, _ := cli(t, "rulesets", "show", "grandfathered-2023"); code != exitGood || !strings.Contains(out, "name: no-adding-customers") {
		t.Errorf("exit %d %s", code, out)
	}
	if code, _, errs := cli(t, "rulesets", "show", "grandfathered-2032"); code != exitBad || !strings.Contains(errs, "did you mean") {
		t.Errorf("exit %d %s", code, errs)
	}
}

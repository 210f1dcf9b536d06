package policy_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// adding reports whether a capability adds customers.
func adding(c wecom.Capability) bool {
	return slices.Contains([]wecom.Capability{"add_customer", "customer_acquisition", "group_join_way"}, c)
}

// fullVerdicts reads testdata/full.tsv: the verdict for each path and second capability.
func fullVerdicts(t *testing.T) map[[2]string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/full.tsv")
	if err != nil {
		t.Fatal(err)
	}
	all := map[[2]string]string{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case strings.HasPrefix(line, "#"):
		case len(cells) != 3:
			t.Fatalf("%q has not three cells", line)
		default:
			all[[2]string{cells[0], cells[1]}] = cells[2]
		}
	}
	return all
}

// Of every endpoint that can add customers the file says whether a full account may call it, in
// both rule sets; all other endpoints pass unread.
func TestFullAccounts(t *testing.T) {
	verdicts := fullVerdicts(t)
	for _, set := range []string{"reply-only-2024", "grandfathered-2023"} {
		e := must(t, "ruleset: "+set, "")
		who := policy.Subject{CorpID: "ww1", Standing: account.Full}
		seen := 0
		for _, ep := range slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds()) {
			if !slices.ContainsFunc(append(ep.Also(), ep.Capability), adding) {
				if e.Inspections(who, ep, now).Overall != policy.InspectNone {
					t.Errorf("%s: %s is judged", set, ep.Path)
				}
				continue
			}
			for _, also := range append(ep.Also(), "") {
				want, listed := verdicts[[2]string{ep.Path, string(also)}]
				if !listed {
					t.Errorf("testdata/full.tsv does not list %s %s", ep.Path, also)
				}
				seen++
				d := decide(e, policy.Call{Who: who, Endpoint: ep, Facts: wecom.Facts{Also: also}, At: now}, window.Answer{})
				if d.Verdict.String() != want || d.Go != (want == "pass") {
					t.Errorf("%s: %s %s: %s by %s, want %s", set, ep.Path, also, d.Verdict, d.Rule, want)
				}
			}
		}
		if seen != len(verdicts) {
			t.Errorf("testdata/full.tsv has %d rows, the catalogue %d", len(verdicts), seen)
		}
	}
}

// The refusal of a full account names its number of contacts and its limit.
func TestFullRefusal(t *testing.T) {
	purchased, total := 10000, 10001
	const ownRules = `
    - { name: own, match: { capabilities: [customer_tags] }, action: refuse }
    - { name: also-active, match: { capabilities: [mass_message], standings: [active, full] }, action: refuse }
`
	zero, grace := time.Time{}, now.Add(-time.Hour)
	for _, test := range []struct {
		name, language string
		a              config.Account
		want           string
	}{
		{"purchased", "en", config.Account{Contacts: &config.Contacts{Free: 2000, Purchased: &purchased, Total: &total}},
			"the account has 10001 contacts and its limit is 10000 (contacts.purchased), so this interface (add_customer: create a contact me QR code / button), which adds customers"},
		{"in grace", "zh", config.Account{Subscription: &config.Subscription{ExpiresAt: grace, Grace: 2 * time.Hour}, Contacts: &config.Contacts{Free: 2000, Purchased: &purchased, Total: &total}},
			"该企业已有 10001 个外部联系人，达到上限 10000（contacts.purchased）"},
		{"never subscribed", "en", config.Account{Subscription: &config.Subscription{ExpiresAt: zero, Never: true}, Contacts: &config.Contacts{Free: 2000, Total: &total}},
			"the account has 10001 contacts and its limit is 2000 (contacts.free)"},
	} {
		test.a.CorpID = "ww1"
		a := account.NewBook([]config.Account{test.a}).Find("ww1")
		e := must(t, "language: "+test.language, ownRules)
		who := policy.Subject{CorpID: "ww1", Standing: a.Standing(now), Account: a}
		c := policy.Call{Who: who, Endpoint: wecom.Lookup("/cgi-bin/externalcontact/add_contact_way"), At: now}
		if d := decide(e, c); d.Errcode != wecom.CodeNoPermission || d.Rule != "full-adds-no-customers" || !strings.HasPrefix(d.Errmsg, test.want) {
			t.Errorf("%s: %+v", test.name, d)
		}
		// A rule that is not about full accounts alone does not blame the number of contacts.
		for rule, path := range map[string]string{"own": "mark_tag", "also-active": "add_msg_template"} {
			c.Endpoint = wecom.Lookup("/cgi-bin/externalcontact/" + path)
			if d := decide(e, c); d.Rule != rule || strings.Contains(d.Errmsg, "10001") {
				t.Errorf("%s: %+v", test.name, d)
			}
		}
	}
}

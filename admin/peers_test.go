package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"replygate/admin"
)

// servedAt serves an API at an address besides that of served.
func (a *api) servedAt(address string) {
	a.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		a.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: a.handler}}
	server.Start()
	a.Cleanup(server.Close)
}

// All gateways can have the same list, of addresses or of one name for all of them: each answer
// counts every gateway once.
func TestOneListOfPeersForAll(t *testing.T) {
	t.Parallel()
	a, b := newAPI(t, keys), newAPI(t, keys)
	one, other := a.served(), b.served()
	_, port, _ := net.SplitHostPort(other)
	b.servedAt("127.0.0.2:" + port)
	names := map[string][]string{"ip4 gateways": {"127.0.0.2", "127.0.0.1"}, "ip6 six": {"::1"}}
	for _, of := range []*api{a, b} {
		of.remember(decided(0, idOf(0, slices.Index([]*api{a, b}, of)), refusedReply))
		of.admin.Lookup = func(_ context.Context, network, host string) (all []netip.Addr, err error) {
			for _, ip := range names[network+" "+host] {
				all = append(all, netip.MustParseAddr(ip))
			}
			if all == nil {
				err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return all, err
		}
	}
	for name, test := range map[string]struct {
		peers    []string
		ofA, ofB []string // the other gateways as each of the two sees them
	}{
		"none":             {},
		"addresses":        {[]string{one, other}, []string{other}, []string{one}},
		"itself alone":     {[]string{one}, nil, []string{one}},
		"a name":           {[]string{"gateways:" + port}, []string{other}, nil},
		"a name, and more": {[]string{other, "gateways:" + port, one}, []string{other}, []string{one}},
		"a wrong name":     {[]string{"nobody:" + port, one}, []string{"nobody:" + port + " its name cannot be resolved"}, []string{"nobody:" + port + " its name cannot be resolved", one}},
		"a name of IPv6":   {[]string{"six:1"}, []string{"six:1 no connection"}, []string{"six:1 no connection"}},
	} {
		for of, want := range map[*api][]string{a: test.ofA, b: test.ofB} {
			of.admin.Keys.Peers = test.peers
			var got []string
			rows := 1
			for _, g := range get[admin.Health](of, "/v1/health", withReadKey).Gateways[1:] {
				if got = append(got, strings.TrimSpace(g.ID+" "+g.Error)); g.Error == "" {
					rows++
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the others are %q, want %q", name, got, want)
			}
			if list := of.decisions("", withReadKey); len(list.Decisions) != rows {
				t.Errorf("%s: %d decisions are listed, want %d", name, len(list.Decisions), rows)
			}
		}
	}
}

// The numbers of rules are those of all gateways, of which some may have other rules.
func TestRulesOfSeveralGateways(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "policy:\n  rules:\n    - { name: strict, mode: shadow, match: { capabilities: [kf_reply] }, action: refuse }\n"+keys)
	for i := range 4 {
		a.remember(decided(i, idOf(i, 1), wouldRefuse))
	}
	mine := get[admin.RuleList](a, "/v1/rules", withReadKey)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/v1/rules?peer=1" || r.Header.Get("Authorization") != "Bearer "+readKey {
			t.Errorf("asked for %s", r.URL)
		}
		list := admin.RuleList{Since: "2027-01-01T00:00:00.000Z", Rules: []admin.RuleRow{
			{Name: "strict", From: "own", Mode: "enforce", Action: "refuse", Matched: 1000},
			{Name: "strict", From: "own", Mode: "shadow", Action: "refuse", Matched: 7, Decided: 6, Differs: 5, Refuses: 3, Passes: 2, Last: "2027-01-02T00:00:00.000Z",
				Examples: []string{idOf(9, 2), idOf(8, 2), idOf(2, 2)}, Shadow: &admin.RuleShadow{CorpID: []admin.Facet{{Value: "wwLapsed", Count: 6}, {Value: "wwGrace", Count: 9}}}},
		}}
		_ = json.NewEncoder(w).Encode(list)
	}))
	defer other.Close()
	a.admin.Keys.Peers = []string{strings.TrimPrefix(other.URL, "http://"), "127.0.0.1:1"}
	list := get[admin.RuleList](a, "/v1/rules?corp_id=wwLapsed", withReadKey)
	if len(list.Rules) != 0 || len(list.Partial) != 1 {
		t.Errorf("the rules that name an account: %+v", list)
	}
	list = get[admin.RuleList](a, "/v1/rules", withReadKey)
	r := list.Rules[0]
	if r.Matched != 7 || r.Decided != 6 || r.Differs != 5 || r.Refuses != 3 || r.Passes != 2 || r.Last != "2027-01-02T00:00:00.000Z" || list.Since != "2027-01-01T00:00:00.000Z" {
		t.Errorf("%+v", list)
	}
	if want := []string{idOf(9, 2), idOf(8, 2), idOf(3, 1), idOf(2, 2), idOf(2, 1)}; !slices.Equal(r.Examples, want) || fmt.Sprint(r.Shadow.CorpID) != "[{wwLapsed 10} {wwGrace 9}]" {
		t.Errorf("examples %v, %+v", r.Examples, r.Shadow)
	}
	if len(list.Partial) != 1 || list.Partial[0].Gateway != "127.0.0.1:1" || len(list.Rules) != len(mine.Rules) {
		t.Errorf("%d rules, missing %+v", len(list.Rules), list.Partial)
	}
	if own := get[admin.RuleList](a, "/v1/rules?peer=1", withReadKey); own.Rules[0].Matched != 0 || len(own.Partial) != 0 {
		t.Errorf("asked by another gateway: %+v", own)
	}
}

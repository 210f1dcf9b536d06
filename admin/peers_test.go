package admin_test

import (
	"context"
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

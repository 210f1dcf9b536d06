package gate_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const clients = `accounts: [{ corp_id: wwA }]
clients:
  - { name: office, networks: [10.0.0.0/8, "fd00::/8"] }
  - { name: pc, header: User-Agent, contains: WindowsWechat }
  - { name: lab, header: X-Lab, contains: yes, networks: [192.168.1.0/24] }
  - { name: phone, header: User-Agent, contains: MicroMessenger }
`

// headers is what a request says; a header that is not in it is absent.
type headers map[string]string

func (h headers) contains(header, text string) (does, known bool) {
	return strings.Contains(h[header], text), true
}

func TestFindClient(t *testing.T) {
	cs := newGate(t, clients).Clients
	for _, test := range []struct {
		addr string
		h    headers
		want string
	}{
		{"203.0.113.1", nil, "unknown"},
		{"10.1.2.3", nil, "office"},
		{"11.0.0.0", nil, "unknown"},
		{"fd00::1", nil, "office"},
		{"::ffff:10.1.2.3", nil, "office"}, // an IPv4 address on an IPv6 socket
		{"203.0.113.1", headers{"User-Agent": "Mozilla WindowsWechat"}, "pc"},
		{"10.1.2.3", headers{"User-Agent": "WindowsWechat"}, "office"}, // the first that matches
		{"203.0.113.1", headers{"User-Agent": "WindowsWechat MicroMessenger"}, "pc"},
		{"203.0.113.1", headers{"User-Agent": "MicroMessenger"}, "phone"},
		{"203.0.113.1", headers{"User-Agent": "windowswechat"}, "unknown"},
		{"192.168.1.5", headers{"X-Lab": "yes"}, "lab"},
		{"192.168.2.5", headers{"X-Lab": "yes"}, "unknown"}, // both must match
		{"192.168.1.5", headers{"X-Lab": "no"}, "unknown"},
	} {
		name, known := cs.Find(netip.MustParseAddr(test.addr), test.h.contains)
		if name != test.want || !known {
			t.Errorf("%s %v: %q, known %v, want %s", test.addr, test.h, name, known, test.want)
		}
	}
}

// A header that is not known leaves the client unknown only if the result depends on it.
func TestFindClientWithUnknownHeader(t *testing.T) {
	cs := newGate(t, clients).Clients
	var asked []string
	unread := func(header, _ string) (does, known bool) {
		asked = append(asked, header)
		return false, false
	}
	if name, known := cs.Find(netip.MustParseAddr("10.1.2.3"), unread); name != "office" || !known || asked != nil {
		t.Errorf("by its network: %q, %v, asked for %v", name, known, asked)
	}
	if name, known := cs.Find(netip.MustParseAddr("203.0.113.1"), unread); name != "" || known {
		t.Errorf("by a header: %q, %v", name, known)
	}
	if !slices.Equal(asked, []string{"User-Agent"}) {
		t.Errorf("asked for %v", asked)
	}
	none := newGate(t, "accounts: [{ corp_id: wwA }]\n").Clients
	if name, known := none.Find(netip.Addr{}, unread); name != "unknown" || !known {
		t.Errorf("without clients: %q, %v", name, known)
	}
}

func TestClientNames(t *testing.T) {
	if got, want := newGate(t, clients).Clients.Names(), []string{"unknown", "office", "pc", "lab", "phone"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A rule for a client only matches calls of that client.
func TestJudgeByClient(t *testing.T) {
	g := newGate(t, clients+"policy: { rules: [{ name: no-pc, match: { clients: [pc], capabilities: [media] }, action: refuse }] }\n")
	for client, want := range map[string]string{"pc": "no-pc", "phone": "in-good-standing", "unknown": "in-good-standing", "": "in-good-standing"} {
		in := details("wwA")
		in.Client, in.Path = client, []byte("/cgi-bin/media/upload")
		if j, _, _ := g.Judge(t.Context(), in, &memory{}); j.Decision.Rule != want {
			t.Errorf("%q: rule %s, want %s", client, j.Decision.Rule, want)
		}
	}
}

package proxy

import (
	"net/netip"
	"strings"

	"replygate/config"
)

// Clients tell what a caller is.
type Clients []client

type client struct {
	name     string
	header   string
	contains string
	networks []netip.Prefix
}

// NewClients prepares the clients of a configuration that was checked.
func NewClients(clients []config.Client) Clients {
	var all Clients
	for _, c := range clients {
		one := client{name: c.Name, header: c.Header, contains: c.Contains}
		for _, n := range c.Networks {
			if p, err := netip.ParsePrefix(n); err == nil {
				one.networks = append(one.networks, p)
			}
		}
		all = append(all, one)
	}
	return all
}

// client returns what the caller is, as far as a rule asks. What a client says of itself in X-Forwarded-For
// counts for nothing: its address is that of its connection.
func (x *exchange) client() string {
	if !x.Engine.AsksClients() {
		return ""
	}
	addr, _ := netip.AddrFromSlice(x.rc.RemoteIP())
	addr = addr.Unmap()
	for i := range x.Clients {
		if c := &x.Clients[i]; c.fits(string(x.rc.Request.Header.Peek(c.header)), addr) {
			return c.name
		}
	}
	return config.UnknownClient
}

func (c *client) fits(header string, addr netip.Addr) bool {
	if c.header != "" && !strings.Contains(header, c.contains) {
		return false
	}
	for _, n := range c.networks {
		if n.Contains(addr) {
			return true
		}
	}
	return len(c.networks) == 0
}

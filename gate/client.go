package gate

import (
	"net/netip"
	"strings"

	"replygate/config"
)

// Clients tell what a caller is, by the first description that it meets.
type Clients []client

type client struct {
	name     string
	header   string
	contains string
	networks []netip.Prefix
}

// newClients prepares the clients of a configuration that was checked.
func newClients(clients []config.Client) Clients {
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

// Find returns what a caller is, by its address and headers; known is false if that depends on a header
// that is not known.
func (cs Clients) Find(addr netip.Addr, header func(name string) (value string, known bool)) (name string, known bool) {
	addr = addr.Unmap()
	for i := range cs {
		c := &cs[i]
		if !c.hasNetwork(addr) {
			continue
		}
		if c.header != "" {
			value, known := header(c.header)
			if !known {
				return "", false
			}
			if !strings.Contains(value, c.contains) {
				continue
			}
		}
		return c.name, true
	}
	return config.UnknownClient, true
}

// Names are all that a caller can be.
func (cs Clients) Names() []string {
	names := []string{config.UnknownClient}
	for i := range cs {
		names = append(names, cs[i].name)
	}
	return names
}

func (c *client) hasNetwork(addr netip.Addr) bool {
	for _, n := range c.networks {
		if n.Contains(addr) {
			return true
		}
	}
	return len(c.networks) == 0
}

package gate

import (
	"net/netip"

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

// MaxAgent is how many bytes of a User-Agent a decision record holds.
const MaxAgent = 200

// Find returns what a caller is, by its address and by what its headers contain; known is false if
// that depends on a header of which it is not known.
func (cs Clients) Find(addr netip.Addr, contains func(header, text string) (does, known bool)) (name string, known bool) {
	addr = addr.Unmap()
	for i := range cs {
		c := &cs[i]
		if !c.hasNetwork(addr) {
			continue
		}
		if c.header != "" {
			does, known := contains(c.header, c.contains)
			if !known {
				return "", false
			}
			if !does {
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

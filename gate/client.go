package gate

import (
	"net/netip"

	"replygate/config"
)

// Clients is the list of configured clients; the first that matches a caller names it.
type Clients []client

type client struct {
	name     string
	header   string
	contains string
	networks []netip.Prefix
}

// newClients compiles the clients of a validated configuration.
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

// MaxAgent is the maximum length of a User-Agent in a decision record, in bytes.
const MaxAgent = 200

// Find returns the name of a caller's client by its address and headers, or config.UnknownClient.
// contains reports whether a header contains a text, and whether that is known. Find returns known
// false if the result depends on a header that is not.
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

// Names returns all values that Find can return, config.UnknownClient first.
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

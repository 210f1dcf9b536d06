package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"replygate/admin"
	"replygate/config"
)

// client calls the admin API of a running gateway.
type client struct {
	base string
	key  config.Secret
}

// clientFlags adds the flags that say where the gateway is, and returns what makes the client of them.
func clientFlags(f *flag.FlagSet) func() (client, error) {
	address := f.String("admin", "", "the gateway's admin `URL` (default http://127.0.0.1:9090, or that of -c)")
	file := f.String("c", "", "take address and key from this configuration `FILE`")
	return func() (client, error) {
		c := client{base: "http://127.0.0.1:9090", key: config.Secret(os.Getenv("REPLYGATE_ADMIN_READ_KEY"))}
		if *file != "" {
			set, err := load(*file)
			if err != nil {
				return client{}, err
			}
			c = client{base: "http://" + reachable(set.config.Listen.Admin), key: set.config.Admin.ReadKey}
		}
		if *address != "" {
			c.base = strings.TrimSuffix(*address, "/")
		}
		return c, nil
	}
}

// reachable turns an address to listen on into one to call.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// get reads one resource into v.
func (c client) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("%w: --admin: %w", errUsage, err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no gateway answers at %s: is it running, and is this its listen.admin?", c.base)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("the gateway's answer broke off: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var f admin.Failure
		if json.Unmarshal(body, &f) != nil || f.Error.Message == "" {
			return fmt.Errorf("the gateway answered HTTP %d", resp.StatusCode)
		}
		return fmt.Errorf("%s (%s)", f.Error.Message, f.Error.Code)
	}
	return json.Unmarshal(body, v)
}

// printJSON prints v as one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

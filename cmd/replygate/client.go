package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/admin"
	"replygate/config"
)

// client calls the admin API of a running gateway.
type client struct {
	base   string
	read   config.Secret // the keys
	change config.Secret
	api    string // the base URL of the api listener
}

// clientFlags adds the flags that say where the gateway is, and returns what makes the client of
// them.
func clientFlags(cmd *cobra.Command) func() (client, error) {
	address := cmd.Flags().String("admin", "", "the gateway's admin `URL` (default http://127.0.0.1:9090, or that of -c)")
	file := cmd.Flags().StringP("config", "c", "", "take addresses and keys from this configuration `FILE`")
	yamlFile(cmd, "config")
	return func() (client, error) {
		c := client{
			base: "http://127.0.0.1:9090", api: "http://127.0.0.1:8080",
			read:   config.Secret(os.Getenv("REPLYGATE_ADMIN_READ_KEY")),
			change: config.Secret(os.Getenv("REPLYGATE_ADMIN_CHANGE_KEY")),
		}
		if *file != "" {
			set, err := load(*file)
			if err != nil {
				return client{}, err
			}
			scheme := "http://"
			if set.Config.Listen.TLS.CertFile != "" {
				scheme = "https://"
			}
			c = client{
				base: "http://" + reachable(set.Config.Listen.Admin), api: scheme + reachable(set.Config.Listen.API),
				read: set.Config.Admin.ReadKey, change: set.Config.Admin.ChangeKey,
			}
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

// apiError is what the admin API answered instead.
type apiError struct{ code, message string }

func (e apiError) Error() string { return e.message + " (" + e.code + ")" }

// get reads one resource into v.
func (c client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.call(ctx, http.MethodGet, path+"?"+query.Encode(), c.read, nil, v)
}

// post sends a change and reads its answer into v.
func (c client) post(ctx context.Context, path string, change, v any) error {
	return c.send(ctx, path, c.change, change, v)
}

// ask sends a question, which changes nothing, and reads its answer into v.
func (c client) ask(ctx context.Context, path string, question, v any) error {
	return c.send(ctx, path, c.read, question, v)
}

func (c client) send(ctx context.Context, path string, key config.Secret, in, v any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path, key, body, v)
}

func (c client) call(ctx context.Context, method, path string, key config.Secret, body []byte, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: --admin: %w", errUsage, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no gateway answers at %s: is it running, and is this its listen.admin?", c.base)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("the gateway's answer broke off: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var f admin.Failure
		if json.Unmarshal(answer, &f) != nil || f.Error.Message == "" {
			return fmt.Errorf("the gateway answered HTTP %d", resp.StatusCode)
		}
		return apiError{f.Error.Code, f.Error.Message}
	}
	return json.Unmarshal(answer, v)
}

// printJSON prints v as one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

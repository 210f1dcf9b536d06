package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	address := cmd.Flags().String("admin", "", "the gateway's admin listener, `HOST:PORT` or a URL (default 127.0.0.1:9090, or that of -c)")
	file := cmd.Flags().StringP("config", "c", "", "take addresses and keys from this configuration `FILE`")
	yamlFile(cmd, "config")
	withValues(cmd, "admin")
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
		if *address == "" {
			return c, nil
		}
		base, err := baseURL("admin", *address)
		c.base = base
		return c, err
	}
}

// baseURL reads the address of a listener from a flag: HOST:PORT, or a URL.
func baseURL(flag, text string) (string, error) {
	scheme, rest, given := strings.Cut(text, "://")
	if !given {
		scheme, rest = "http", text
	}
	host, path, _ := strings.Cut(rest, "/")
	_, port, _ := net.SplitHostPort(host)
	u, err := url.Parse(scheme + "://" + reachable(host) + "/" + path)
	if err != nil || u.Hostname() == "" || port == "" && !given || scheme != "http" && scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%w: --%s %q is no address: write HOST:PORT, like 127.0.0.1:9090, or a URL", errUsage, flag, text)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
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

// maxAdminAnswer bounds an answer of the admin API, in bytes.
const maxAdminAnswer = 16 << 20

// get reads one resource into v. A query is made of a command's flags: one that the gateway rejects
// is wrong usage.
func (c client) get(ctx context.Context, path string, query url.Values, v any) error {
	err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), c.read, nil, v)
	if bad := (apiError{}); errors.As(err, &bad) && bad.code == "bad_query" {
		return fmt.Errorf("%w: %s", errUsage, bad.message)
	}
	return err
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
	status, answer, err := c.do(ctx, method, path, key, http.Header{}, body)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return failure(status, answer)
	}
	return unreadable(json.Unmarshal(answer, v))
}

// do sends a request and returns the status and the body of the answer.
func (c client) do(ctx context.Context, method, path string, key config.Secret, header http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: --admin: %w", errUsage, err)
	}
	req.Header = header
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no gateway answers at %s: is it running, and is this its listen.admin?", c.base)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the gateway's answer broke off: %w", err)
	case len(answer) > maxAdminAnswer:
		return 0, nil, fmt.Errorf("the gateway's answer is larger than %d MiB", maxAdminAnswer>>20)
	}
	return resp.StatusCode, answer, nil
}

// failure is the error of an answer that is not 200.
func failure(status int, answer []byte) error {
	var f admin.Failure
	switch {
	case json.Unmarshal(answer, &f) != nil || f.Error.Message == "":
		return fmt.Errorf("the gateway answered HTTP %d: is this its listen.admin?", status)
	case status == http.StatusUnauthorized:
		return errors.New("the gateway wants a key: name its configuration with -c, or set REPLYGATE_ADMIN_READ_KEY, and REPLYGATE_ADMIN_CHANGE_KEY for changes (unauthorized)")
	}
	return apiError{f.Error.Code, f.Error.Message}
}

// unreadable is the error of an answer that is not as expected.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return errors.New("the gateway's answer cannot be read: is it of another version than this program?")
}

// printJSON prints v as one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // people read it too
	return e.Encode(v)
}

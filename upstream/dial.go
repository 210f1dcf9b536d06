package upstream

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"replygate/config"
)

// dial connects to an address, directly or through an egress proxy.
type dial func(ctx context.Context, address string) (net.Conn, error)

// newDial connects through the proxy of the configuration if there is one; the URL was checked.
func newDial(proxy config.Secret) (dial, error) {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	direct := func(ctx context.Context, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}
	if proxy == "" {
		return direct, nil
	}
	u, err := url.Parse(proxy.Reveal())
	if err != nil {
		return nil, errors.New("upstream.proxy is not a URL") // the error would quote its password
	}
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := direct(ctx, u.Host)
		if err != nil {
			return nil, fmt.Errorf("upstream.proxy: %w", err)
		}
		if err := tunnel(ctx, conn, u.User, address); err != nil {
			conn.Close()
			return nil, fmt.Errorf("upstream.proxy: %w", err)
		}
		return conn, nil
	}, nil
}

// tunnel asks a proxy for a connection to an address (RFC 9110, section 9.3.6).
func tunnel(ctx context.Context, conn net.Conn, user *url.Userinfo, address string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{"User-Agent": {""}}}
	if user != nil {
		password, _ := user.Password()
		r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := r.Write(conn); err != nil {
		return err
	}
	br := bufio.NewReaderSize(conn, 4<<10)
	resp, err := http.ReadResponse(br, r)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answers %d to CONNECT", resp.StatusCode)
	case br.Buffered() > 0:
		return errors.New("it sends bytes that nobody asked for")
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}

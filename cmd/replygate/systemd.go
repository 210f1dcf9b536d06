package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// notifyTimeout bounds a message to the service manager: one that hangs must not hold up a reload.
const notifyTimeout = time.Second

// notify tells the service manager the gateway's state, by the protocol of sd_notify(3). Without
// NOTIFY_SOCKET there is none to tell.
func (g *gateway) notify(state ...string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(notifyTimeout)) // a socket that takes none fails at the write
		_, err = io.WriteString(conn, strings.Join(state, "\n"))
	}
	if err != nil {
		g.limited.Warn("the service manager cannot be told the gateway's state: see NOTIFY_SOCKET", zap.Strings("state", state), zap.Error(err))
	}
}

// runNotifications tells the service manager that the gateway serves, and until ctx ends that it is
// alive.
func (g *gateway) runNotifications(ctx context.Context) {
	g.notifyReady()
	if interval := watchdogInterval(); interval > 0 {
		g.done.Go(func() { g.watchdog(ctx, interval, func() error { return g.alive(interval / 3) }) })
	}
}

// notifyReady tells the service manager that the gateway serves, and what is wrong with its
// configuration.
func (g *gateway) notifyReady() {
	status := fmt.Sprintf("serving %d accounts", len(g.accounts().All()))
	if problems := g.problems(); len(problems) > 0 {
		status += "; " + strings.Join(problems, "; ")
	}
	g.notify("READY=1", "STATUS="+strings.ReplaceAll(status, "\n", " "))
}

// notifyReloading tells the service manager that a reload begins; notifyReady tells its end.
func (g *gateway) notifyReloading() {
	g.notify("RELOADING=1", "MONOTONIC_USEC="+monotonicMicroseconds())
}

// watchdogInterval returns within which time the service manager expects to hear that this process
// is alive, 0 if it does not watch it.
func watchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	microseconds, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || microseconds <= 0 {
		return 0
	}
	return time.Duration(microseconds) * time.Microsecond
}

// watchdog tells the service manager, three times in each interval, that the gateway is alive. It
// does so only after a look that proves it.
func (g *gateway) watchdog(ctx context.Context, interval time.Duration, alive func() error) {
	tick := time.NewTicker(max(interval/3, time.Millisecond))
	defer tick.Stop()
	for {
		if err := alive(); err == nil {
			g.notify("WATCHDOG=1")
		} else {
			g.limited.Error("the gateway does not answer itself: the service manager restarts it unless that ends", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive calls the gateway's own listeners, and takes the locks that calls need: if one of them is
// never released, it does not return, and the service manager hears nothing. It does not ask Redis
// or WeCom, which no restart mends. Listeners close during a stop, which has limits of its own.
func (g *gateway) alive(timeout time.Duration) error {
	if g.draining.Load() {
		return nil
	}
	g.windows.Status()
	g.version()
	scheme := "http://"
	if g.Config.Listen.TLS.CertFile != "" {
		scheme = "https://"
	}
	return errors.Join(
		answers(scheme+g.api.Addr().String()+"/replygate/healthz", timeout),
		answers("http://"+g.control.Addr().String()+"/healthz", timeout))
}

// answers calls a listener of this process. Any answer shows that it is alive, and so does a
// shortage of file descriptors or a rejected connection: only silence or a closed port does not.
func answers(url string, timeout time.Duration) error {
	c := http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // it is this process, and nothing secret is sent
	}}
	resp, err := c.Get(url)
	if err == nil {
		return resp.Body.Close()
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

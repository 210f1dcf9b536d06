package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"replygate/wecom/wecomtest"
)

// The company that demo and simulate play.
const (
	simCorp     = "ww0123456789abcdef"
	simSecret   = "demo-secret"
	simChannel  = "wkDemoChannel"
	simCustomer = "wmDemoCustomer"
)

// simulation says what the simulated WeCom knows.
type simulation struct{ address, corp, secret, channel string }

// simulateCommand returns the command that runs the simulated WeCom alone.
func simulateCommand(s streams) *cobra.Command {
	var o simulation
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Run the simulated WeCom alone, for bot authors",
		Long: `Runs a simulated WeCom with one corp and one kf account. It enforces WeCom's own limits of
replies, and tells with which call a customer writes.`,
		Example: "  replygate simulate --listen 127.0.0.1:8090",
		Args:    takes(0, 0),
		RunE:    func(c *cobra.Command, _ []string) error { return simulate(c.Context(), o, s) },
	}
	f := c.Flags()
	f.StringVar(&o.address, "listen", "127.0.0.1:8090", "the `ADDRESS` to listen on")
	f.StringVar(&o.corp, "corp", simCorp, "the corp `ID` that it knows")
	f.StringVar(&o.secret, "secret", simSecret, "that corp's app `SECRET`")
	f.StringVar(&o.channel, "channel", simChannel, "that corp's kf account, an `OPEN_KFID`")
	return c
}

// simulate runs the simulated WeCom alone.
func simulate(ctx context.Context, o simulation, s streams) error {
	ln, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	clock := wecomtest.NewClock()
	platform := wecomtest.New(clock.Now)
	platform.AddCorp(o.corp, o.secret, o.channel)
	fmt.Fprintf(s.out, "simulated WeCom at http://%s: corpid=%s corpsecret=%s open_kfid=%s\n", ln.Addr(), o.corp, o.secret, o.channel)
	fmt.Fprintf(s.out, "a customer writes:\n  %s\n", curlWrites(ln.Addr().String(), o.corp, o.channel))
	return serveHTTP(ctx, ln, platform.Control(clock))
}

func curlWrites(address, corp, channel string) string {
	return fmt.Sprintf(`curl -s http://%s/simulator/customer-writes -d '{"corp_id":"%s","channel":"%s","customer":"%s","text":"hello"}'`,
		address, corp, channel, simCustomer)
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return server.Shutdown(stop)
}

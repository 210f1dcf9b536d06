package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"replygate/wecom/wecomtest"
)

// The company that demo and simulate play.
const (
	simCorp     = "ww0123456789abcdef"
	simSecret   = "demo-secret"
	simChannel  = "wkDemoChannel"
	simCustomer = "wmDemoCustomer"
)

// simulate runs the simulated WeCom alone.
func simulate(ctx context.Context, args []string, s streams) error {
	f := flags("simulate", s)
	address := f.String("listen", "127.0.0.1:8090", "the `ADDRESS` to listen on")
	corp := f.String("corp", simCorp, "the corp `ID` that it knows")
	secret := f.String("secret", simSecret, "that corp's app `SECRET`")
	channel := f.String("channel", simChannel, "that corp's kf account, an open_kfid")
	if _, err := parse(f, args, 0, 0); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	clock := wecomtest.NewClock()
	platform := wecomtest.New(clock.Now)
	platform.AddCorp(*corp, *secret, *channel)
	fmt.Fprintf(s.out, "simulated WeCom at http://%s: corpid=%s corpsecret=%s open_kfid=%s\n", ln.Addr(), *corp, *secret, *channel)
	fmt.Fprintf(s.out, "a customer writes:\n  %s\n", curlWrites(ln.Addr().String(), *corp, *channel))
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

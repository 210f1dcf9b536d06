package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// serve runs the gateway until it is told to stop.
func serve(ctx context.Context, args []string, s streams) error {
	f := flags("serve", s)
	file := f.String("c", "replygate.yaml", "the configuration `FILE`")
	if _, err := parse(f, args, 0, 0); err != nil {
		return err
	}
	set, err := load(*file)
	if err != nil {
		return err
	}
	g, err := build(ctx, set, time.Now, s)
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				_, _ = g.reload("") // it says by itself what is wrong
			}
		}
	}()
	return g.serve(ctx)
}

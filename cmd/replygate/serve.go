package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// serveCommand returns the command that runs the gateway.
func serveCommand(s streams) *cobra.Command {
	var file string
	var yes bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until it is told to stop (SIGTERM, Ctrl-C). It reads its configuration again
when the file changes, and on SIGHUP.

If many accounts are gone since its last run, it does not start until --yes confirms that.`,
		Example: "  replygate serve -c replygate.yaml",
		Args:    takes(0, 0),
		RunE:    func(c *cobra.Command, _ []string) error { return serve(c.Context(), file, yes, s) },
	}
	configFlag(c, &file, "the configuration `FILE`")
	c.Flags().BoolVar(&yes, "yes", false, "start although many accounts, or the only one, are gone since the last run")
	return c
}

// serve runs the gateway until it is told to stop. yes confirms a start that would be held.
func serve(ctx context.Context, file string, yes bool, s streams) error {
	set, err := load(file)
	if err != nil {
		return err
	}
	if !yes {
		if err := holdStart(set, time.Now()); err != nil {
			return err
		}
	}
	g, err := build(ctx, set, time.Now, s)
	if err != nil {
		return err
	}
	g.hangups = make(chan os.Signal, 1)
	signal.Notify(g.hangups, syscall.SIGHUP)
	defer signal.Stop(g.hangups)
	return g.serve(ctx)
}

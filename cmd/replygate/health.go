package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

// healthCommand returns the command that asks a running gateway whether it serves.
func healthCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Whether a running gateway serves",
		Example: "  replygate health --admin http://127.0.0.1:9090",
		Args:    takes(0, 0),
	}
	connect := clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		return health(cmd.Context(), c, s)
	}
	return cmd
}

// health asks a running gateway whether it serves, as the HEALTHCHECK of the image does. By default
// it reads no configuration: a file with a mistake does not stop a gateway that runs.
func health(ctx context.Context, c client, s streams) error {
	var ready struct {
		Redis    string   `json:"redis"`
		History  string   `json:"history"`
		Config   string   `json:"config"`
		Problems []string `json:"config_problems"`
		Replays  struct {
			Refused int `json:"secrets_refused"`
		} `json:"replays"`
	}
	if err := c.get(ctx, "/readyz", url.Values{}, &ready); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "the gateway at %s serves: redis %s, history %s, configuration %s in force\n", c.base, ready.Redis, ready.History, ready.Config)
	for _, problem := range ready.Problems {
		fmt.Fprintln(s.out, "warning: "+printable(problem))
	}
	if n := ready.Replays.Refused; n > 0 {
		fmt.Fprintf(s.out, "warning: WeCom refuses %s of secrets.kf: replygate windows backfill CORP --status says why\n", count(n, "secret"))
	}
	return nil
}

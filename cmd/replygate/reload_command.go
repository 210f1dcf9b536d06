package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// reloadCommand returns the command that lets a running gateway read its configuration again.
func reloadCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Let a running gateway read its configuration again",
		Long: `Lets a running gateway read its configuration again, at once instead of when it notices that the
file has changed. A reload that would remove many accounts is held, and nothing changes, until it
is confirmed: --confirm with the tag that is printed confirms exactly what was shown. --yes confirms
what the gateway held before the command, and nothing else. The exit code is 1 if the configuration
has mistakes or the reload is held.`,
		Example:           "  replygate reload -c replygate.yaml\n  replygate reload --confirm held-1a2b3c4d5e6f7a8b\n  replygate reload --yes",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	confirm := c.Flags().String("confirm", "", "carry out the held reload of this `TAG`, if it is still the same")
	yes := c.Flags().Bool("yes", false, "carry out the reload that the gateway holds already, if it is still the same")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	withValues(c, "confirm")
	c.RunE = func(c *cobra.Command, _ []string) error {
		confirming := c.Flags().Changed("confirm")
		switch {
		case confirming && *yes:
			return fmt.Errorf("%w: give --confirm or --yes, not both", errUsage)
		case confirming && !strings.HasPrefix(*confirm, confirmPrefix):
			return fmt.Errorf("%w: --confirm %q is not the tag of a held reload, like %s1a2b3c4d5e6f7a8b", errUsage, *confirm, confirmPrefix)
		}
		gateway, err := connect()
		if err != nil {
			return err
		}
		answer, err := gateway.reload(c.Context(), *confirm, *yes)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(s.out, answer)
		} else {
			printReload(s, answer)
		}
		if answer.Held != nil {
			what := "the reload is held, and nothing has changed"
			if *yes {
				what = "this is not what the gateway held before, so --yes does not confirm it, and nothing has changed"
			}
			err = errors.Join(err, fmt.Errorf("%s: look at the accounts, then write replygate reload --confirm %s", what, printable(answer.Held.Confirm)))
		}
		return err
	}
	return c
}

// reload asks for a reload, or confirms the held one of a tag. With yes it confirms one that was
// held already: of another one nobody has been told.
func (c client) reload(ctx context.Context, confirm string, yes bool) (admin.Reloaded, error) {
	answer, err := c.reloadIf(ctx, confirm)
	if err != nil || !yes || answer.Held == nil || !answer.Held.Already {
		return answer, err
	}
	return c.reloadIf(ctx, answer.Held.Confirm)
}

// reloadIf asks for a reload, with a confirmation unless it is "".
func (c client) reloadIf(ctx context.Context, confirm string) (answer admin.Reloaded, err error) {
	header := http.Header{}
	if confirm != "" {
		header.Set("If-Match", `"`+confirm+`"`)
	}
	status, body, err := c.do(ctx, http.MethodPost, "/v1/reload", c.change, header, []byte("{}"))
	if err != nil {
		return answer, err
	}
	err = json.Unmarshal(body, &answer)
	if err == nil && answer.Held != nil { // whatever its status is
		return answer, nil
	}
	if status != http.StatusOK {
		return answer, failure(status, body)
	}
	return answer, unreadable(err)
}

func printReload(s streams, a admin.Reloaded) {
	if a.Held != nil {
		fmt.Fprintln(s.err, "held: "+printable(a.Held.Why)) // with the numbers and the first names
		return
	}
	for _, w := range a.Warnings {
		fmt.Fprintln(s.err, "warning: "+printable(w))
	}
	if len(a.Changed) == 0 {
		fmt.Fprintln(s.out, "reloaded: nothing changed")
		return
	}
	fmt.Fprintln(s.out, "reloaded: "+strings.Join(a.Changed, ", "))
}

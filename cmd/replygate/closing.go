package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/account"
	"replygate/admin"
)

// closingCommand returns the command that lists the chats that close unanswered.
func closingCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:               "closing",
		Short:             "List the chats that close unanswered, the most urgent first",
		Example:           "  replygate closing --within 1h\n  replygate closing --corp ww0123456789abcdef --json",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	limit := c.Flags().Int("limit", 100, "at most `N`")
	flags := map[string]*string{
		"within":   c.Flags().String("within", "", "only those that close within this `TIME`, like 1h"),
		"corp_id":  c.Flags().String("corp", "", "only of the account with this `CORP` id"),
		"channel":  c.Flags().String("channel", "", "only of this `CHANNEL` (open_kfid)"),
		"standing": c.Flags().String("standing", "", "only of accounts with this `STANDING`"),
		"by":       c.Flags().String("by", "", "`WHO` has not answered: any, or servicer: a bot may have"),
	}
	oneOf(c, "standing", words(account.Standings())...)
	oneOf(c, "by", "any", "servicer")
	withValues(c, "within", "corp", "channel")
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := url.Values{}
		for name, value := range flags {
			if *value != "" {
				query.Set(name, *value)
			}
		}
		if *limit < 1 {
			return fmt.Errorf("%w: --limit must be 1 or more", errUsage)
		}
		return showClosing(c.Context(), connect, query, *limit, *asJSON, s)
	}
	return c
}

// showClosing shows the pages of the list, at most so many chats.
func showClosing(ctx context.Context, connect func() (client, error), query url.Values, most int, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var list admin.ClosingList
	var rows []admin.Waiting
	for {
		query.Set("limit", strconv.Itoa(min(200, most-len(rows))))
		list = admin.ClosingList{}
		if err := c.get(ctx, "/v1/closing", query, &list); err != nil {
			return err
		}
		if rows = append(rows, list.Waiting...); list.Next == "" || len(rows) >= most {
			break
		}
		query.Set("cursor", list.Next)
	}
	if list.Waiting = rows; asJSON {
		return printJSON(s.out, list)
	}
	return printClosing(s, list)
}

func printClosing(s streams, list admin.ClosingList) error {
	var t table
	t.row("CLOSES", "IN", "CORP", "ACCOUNT", "STANDING", "CHANNEL", "CUSTOMER", "LAST MESSAGE", "ANSWERED", "AFTERWARDS")
	now, err := time.Parse(time.RFC3339Nano, list.AsOf)
	if err != nil {
		return unreadable(err)
	}
	for _, w := range list.Waiting {
		closes, _ := time.Parse(time.RFC3339Nano, w.Closes)
		answered, after := "no", "unreachable until they write"
		if w.AnsweredByBot {
			answered = "by a bot"
		}
		if w.ReachableAfter {
			after = "reachable"
		}
		t.row(local(w.Closes), closes.Sub(now).Round(time.Minute).String(), w.CorpID, orDash(w.Account), w.Standing, orDash(w.Channel), w.Customer, local(w.Last), answered, after)
	}
	if err := t.print(s.out); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "waiting: %d within 1 h, %d within 6 h, %d within 24 h, %d in all\n", list.Counts["1h"], list.Counts["6h"], list.Counts["24h"], list.Counts["all"])
	for _, u := range list.Untold {
		on := "on all channels"
		if len(u.Channels) > 0 {
			on = "on " + strings.Join(u.Channels, ", ")
		}
		fmt.Fprintf(s.err, "%s: it cannot be told who is answered %s (%s)\n", u.CorpID, on, u.Why)
	}
	if list.Incomplete {
		fmt.Fprintf(s.err, "records reach back to %s only: who is missing here may wait all the same\n", local(list.Since))
	}
	if list.Next != "" {
		fmt.Fprintln(s.err, "there are more: use --limit, --within or --corp")
	}
	return nil
}

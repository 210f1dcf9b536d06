package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"replygate/admin"
	"replygate/config"
)

// windowsCommand returns the commands that show and change the reply windows of a running gateway.
func windowsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "windows",
		Short:   "The reply windows of a running gateway",
		Example: "  replygate windows list ww0123456789abcdef",
	}, windowsListCommand(s), windowsShowCommand(s),
		windowsChangeCommand(s, "open", "Open a window, as if the customer had written now"),
		windowsChangeCommand(s, "close", "Close a window until the customer writes again"),
		backfillCommand(s))
}

// ofWindow describes the words that name a window.
func ofWindow() map[string]string {
	return arguments("CORP", "the account's corp id", "CHANNEL", "the kf account (open_kfid), - for none", "CUSTOMER", "the customer's external_userid")
}

func windowsListCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:               "list [CORP]",
		Short:             "List reply windows",
		Annotations:       arguments("CORP", "the corp id of one account; default: all"),
		Example:           "  replygate windows list ww0123456789abcdef --limit 20",
		Args:              takes(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	limit := c.Flags().Int("limit", 100, "at most `N`")
	all := c.Flags().Bool("all", false, "every window, also of answered chats: scans Redis, in no order")
	channel := c.Flags().String("channel", "", "only of this `CHANNEL` (open_kfid)")
	state := c.Flags().String("state", "", "only those in this `STATE`")
	oneOf(c, "state", "open", "full", "shut", "closed", "broken")
	withValues(c, "channel")
	c.RunE = func(c *cobra.Command, given []string) error {
		query := url.Values{}
		if len(given) > 0 {
			query.Set("corp_id", given[0])
		}
		if *channel != "" {
			query.Set("channel", *channel)
		}
		if *state != "" {
			query.Set("state", *state)
		}
		most := *limit
		if *all {
			query.Set("scan", "1")
			if !c.Flags().Changed("limit") {
				most = 0
			}
		}
		return listWindows(c.Context(), connect, query, most, *asJSON, s)
	}
	return c
}

// listWindows shows the pages of a list, at most so many windows; 0: all.
func listWindows(ctx context.Context, connect func() (client, error), query url.Values, most int, asJSON bool, s streams) error {
	if most < 0 {
		return fmt.Errorf("%w: --limit must be 1 or more", errUsage)
	}
	c, err := connect()
	if err != nil {
		return err
	}
	list := admin.WindowList{Windows: []admin.Window{}}
	for {
		page := 1000
		if most > 0 {
			page = min(page, most-len(list.Windows))
		}
		query.Set("limit", strconv.Itoa(page))
		var some admin.WindowList
		if err := c.get(ctx, "/v1/windows", query, &some); err != nil {
			return err
		}
		some.Windows = append(list.Windows, some.Windows...)
		if list = some; list.Next == "" || most > 0 && len(list.Windows) >= most {
			return printWindows(s, list, asJSON)
		}
		query.Set("cursor", list.Next)
	}
}

func windowsShowCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:               "show CORP CHANNEL CUSTOMER",
		Short:             "Show one reply window",
		Annotations:       ofWindow(),
		Example:           "  replygate windows show ww0123456789abcdef wkDemoChannel wmDemoCustomer",
		Args:              takes(3, 3),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		query := url.Values{"corp_id": {given[0]}, "channel": {noDash(given[1])}, "customer": {given[2]}}
		return showWindows(c.Context(), connect, query, *asJSON, s)
	}
	return c
}

func showWindows(ctx context.Context, connect func() (client, error), query url.Values, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var list admin.WindowList
	if err := c.get(ctx, "/v1/windows", query, &list); err != nil {
		return err
	}
	return printWindows(s, list, asJSON)
}

// windowsChangeCommand returns windows open or windows close.
func windowsChangeCommand(s streams, verb, short string) *cobra.Command {
	c := &cobra.Command{
		Use:               verb + " CORP CHANNEL CUSTOMER",
		Short:             short,
		Annotations:       ofWindow(),
		Example:           "  replygate windows " + verb + " ww0123456789abcdef wkDemoChannel wmDemoCustomer --reason 'a phone call'",
		Args:              takes(3, 3),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	reason := c.Flags().String("reason", "", "why, for the audit `RECORD`")
	c.RunE = func(c *cobra.Command, given []string) error {
		gateway, err := connect()
		if err != nil {
			return err
		}
		change := admin.WindowChange{CorpID: given[0], Channel: noDash(given[1]), Customer: given[2], Reason: *reason}
		var list admin.WindowList
		if err := gateway.post(c.Context(), "/v1/windows/"+verb, change, &list); err != nil {
			return err
		}
		return printWindows(s, list, *asJSON)
	}
	return c
}

// noDash reads back what orDash writes.
func noDash(word string) string {
	if word == "-" {
		return ""
	}
	return word
}

func printWindows(s streams, list admin.WindowList, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, list)
	}
	var t table
	t.row("CORP", "CHANNEL", "CUSTOMER", "STATE", "LAST MESSAGE", "CLOSES", "REPLIES LEFT")
	for _, w := range list.Windows {
		left := "not counted"
		if w.State == "broken" {
			left = "-"
		}
		if w.Left != nil {
			left = strconv.Itoa(*w.Left)
		}
		t.row(w.CorpID, orDash(w.Channel), w.Customer, w.State, local(w.Last), local(w.Closes), left)
	}
	if err := t.print(s.out); err != nil {
		return err
	}
	if slices.ContainsFunc(list.Windows, func(w admin.Window) bool { return w.State == "broken" }) {
		fmt.Fprintln(s.err, "broken: the key in Redis holds something else than a window; delete it, or wait for the customer's next message")
	}
	if list.Incomplete {
		fmt.Fprintf(s.err, "records reach back to %s only: who is missing here may have written before\n", local(list.Since))
	}
	if list.More {
		fmt.Fprintln(s.err, "there are more: use --limit, or name a corp")
	}
	if list.Index == config.IndexWaiting {
		fmt.Fprintln(s.err, "only chats that wait for an answer are listed: --all lists every window")
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// local writes an instant of the API in the zone of whoever reads it.
func local(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339Nano, rfc3339)
	if err != nil {
		return orDash(rfc3339)
	}
	return localTime(t)
}

// localTime writes an instant in the zone of whoever reads it.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700") }

package main

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// accountsCalendarCommand returns the command that shows on which days subscriptions end.
func accountsCalendarCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "calendar",
		Short: "Show on which days subscriptions end and accounts stop",
		Long: `Show on which days subscriptions end and accounts stop, three months from today by default.

An account stops when its grace period ends. One that is free then, with fewer contacts than its allowance, does not stop.`,
		Example:           "  replygate accounts calendar\n  replygate accounts calendar --from 2026-12-01 --to 2027-03-31",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	flags := map[string]*string{
		"from": c.Flags().String("from", "", "the first `DATE` (default today)"),
		"to":   c.Flags().String("to", "", "the last `DATE`"),
	}
	withValues(c, "from", "to")
	c.RunE = func(c *cobra.Command, _ []string) error {
		gateway, err := connect()
		if err != nil {
			return err
		}
		return showCalendar(c, gateway, filters(flags), *asJSON, s)
	}
	return c
}

func showCalendar(c *cobra.Command, gateway client, query url.Values, asJSON bool, s streams) error {
	var calendar admin.Calendar
	if err := gateway.get(c.Context(), "/v1/calendar", query, &calendar); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, calendar)
	}
	var t table
	t.row("DATE ("+calendar.Timezone+")", "SUBSCRIPTIONS THAT END", "ACCOUNTS THAT STOP")
	for _, d := range calendar.Days {
		t.row(d.Date, strconv.Itoa(d.Ends), strconv.Itoa(d.Stops))
	}
	return t.print(s.out)
}

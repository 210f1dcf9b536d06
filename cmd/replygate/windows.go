package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"replygate/admin"
)

// windows shows and changes the reply windows of a running gateway.
func windows(ctx context.Context, args []string, s streams) error {
	verb, args := verbOf(args)
	switch verb {
	case "list", "show":
		return showWindows(ctx, verb, args, s)
	case "open", "close":
		return changeWindow(ctx, verb, args, s)
	case "backfill":
		return backfillWindows(ctx, args, s)
	}
	return fmt.Errorf("%w: write list, show, open, close or backfill after windows", errUsage)
}

// showWindows is windows list [CORP] and windows show CORP CHANNEL CUSTOMER.
func showWindows(ctx context.Context, verb string, args []string, s streams) error {
	f := flags("windows "+verb, s)
	connect := clientFlags(f)
	asJSON := f.Bool("json", false, "print JSON")
	limit := f.Int("limit", 100, "list: at most this many")
	query := url.Values{}
	if verb == "list" {
		words, err := parse(f, args, 0, 1)
		if err != nil {
			return err
		}
		query.Set("limit", strconv.Itoa(*limit))
		query.Set("corp_id", strings.Join(words, ""))
	} else {
		words, err := parse(f, args, 3, 3)
		if err != nil {
			return fmt.Errorf("%w (write: replygate windows show CORP CHANNEL CUSTOMER)", err)
		}
		query = url.Values{"corp_id": {words[0]}, "channel": {noDash(words[1])}, "customer": {words[2]}}
	}
	c, err := connect()
	if err != nil {
		return err
	}
	var list admin.WindowList
	if err := c.get(ctx, "/v1/windows", query, &list); err != nil {
		return err
	}
	return printWindows(s, list, *asJSON)
}

// changeWindow is windows open and windows close CORP CHANNEL CUSTOMER.
func changeWindow(ctx context.Context, verb string, args []string, s streams) error {
	f := flags("windows "+verb, s)
	connect := clientFlags(f)
	asJSON := f.Bool("json", false, "print JSON")
	reason := f.String("reason", "", "why, for the audit `RECORD`")
	words, err := parse(f, args, 3, 3)
	if err != nil {
		return fmt.Errorf("%w (write: replygate windows %s CORP CHANNEL CUSTOMER, with - for no channel)", err, verb)
	}
	c, err := connect()
	if err != nil {
		return err
	}
	change := admin.WindowChange{CorpID: words[0], Channel: noDash(words[1]), Customer: words[2], Reason: *reason}
	var list admin.WindowList
	if err := c.post(ctx, "/v1/windows/"+verb, change, &list); err != nil {
		return err
	}
	return printWindows(s, list, *asJSON)
}

// noDash reads back what orDash writes.
func noDash(word string) string {
	if word == "-" {
		return ""
	}
	return word
}

// verbOf splits off the verb, the first of the arguments.
func verbOf(args []string) (string, []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

func printWindows(s streams, list admin.WindowList, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, list)
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CORP\tCHANNEL\tCUSTOMER\tSTATE\tLAST MESSAGE\tCLOSES\tREPLIES LEFT")
	for _, w := range list.Windows {
		left := "not counted"
		if w.State == "broken" {
			left = "-"
		}
		if w.Left != nil {
			left = strconv.Itoa(*w.Left)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", w.CorpID, orDash(w.Channel), w.Customer, w.State, local(w.Last), local(w.Closes), left)
	}
	if err := t.Flush(); err != nil {
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
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

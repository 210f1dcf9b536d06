package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/account"
	"replygate/admin"
)

// contactsCommand returns the commands about the numbers of contacts.
func contactsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "contacts",
		Short:   "How many external contacts the accounts of a running gateway have",
		Example: "  replygate contacts list",
	}, contactsListCommand(s), contactsCountCommand(s))
}

// contactsListOptions are the flags of contacts list.
type contactsListOptions struct {
	sort, kind, entity, corp, standing string
	limit, history                     int
	json                               bool
}

func contactsListCommand(s streams) *cobra.Command {
	var o contactsListOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List the numbers of contacts, the limits, and when they are reached",
		Long: `Lists for each account how many external contacts it has, what limits it, how many are left,
and when the limit is reached at the pace of the last 30 days. An estimate is a count that
callbacks moved since; only counts change a standing.`,
		Example:           "  replygate contacts list --sort=-used\n  replygate contacts list --kind purchased --history 30 --json",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	f := c.Flags()
	f.StringVar(&o.sort, "sort", "-used", "order by `KEY`: used (the part of the limit), total or name; a dash before it: largest first")
	f.StringVar(&o.kind, "kind", "", "only accounts with this `LIMIT`: free or purchased")
	f.StringVar(&o.entity, "entity", "", "only the accounts of this `ENTITY`")
	f.StringVar(&o.corp, "corp", "", "only this account, by its corp `ID`")
	f.StringVar(&o.standing, "standing", "", "only accounts of this `STANDING`")
	f.IntVar(&o.limit, "limit", 0, "at most `N` accounts (default all)")
	f.IntVar(&o.history, "history", 0, "with the counts of the last `N` days (--json)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	withValues(c, "entity", "corp", "limit", "history")
	oneOf(c, "sort", "-used", "used", "-total", "total", "name", "-name")
	oneOf(c, "kind", "free", "purchased")
	oneOf(c, "standing", words(account.Standings())...)
	c.RunE = func(c *cobra.Command, _ []string) error { return listContacts(c.Context(), connect, o, s) }
	return c
}

// listContacts prints the rows of all pages, or of as many as were asked for.
func listContacts(ctx context.Context, connect func() (client, error), o contactsListOptions, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	query := url.Values{"sort": {o.sort}, "kind": {o.kind}, "entity": {o.entity}, "corp_id": {o.corp}, "standing": {o.standing}, "limit": {"200"}}
	if o.history > 0 {
		query.Set("history", strconv.Itoa(o.history))
	}
	var list admin.ContactsList
	for more := true; more; {
		var page admin.ContactsList
		if err := c.get(ctx, "/v1/contacts", query, &page); err != nil {
			return err
		}
		page.Contacts = append(list.Contacts, page.Contacts...)
		list, more = page, page.Next != "" && (o.limit <= 0 || len(page.Contacts) < o.limit)
		query.Set("cursor", page.Next)
	}
	list.Next = ""
	if o.limit > 0 && len(list.Contacts) > o.limit {
		list.Contacts = list.Contacts[:o.limit]
	}
	if o.json {
		return printJSON(s.out, list)
	}
	return printContacts(s, list)
}

func printContacts(s streams, list admin.ContactsList) error {
	var t table
	t.row("CORP", "NAME", "ENTITY", "STANDING", "CONTACTS", "LIMIT", "LEFT", "PACE", "FULL ON", "COUNTED")
	for _, c := range list.Contacts {
		limit, left, pace := "-", "-", "-"
		if c.Limit != nil {
			limit = fmt.Sprintf("%d %s", *c.Limit, c.LimitKind)
		}
		if c.Left != nil {
			left = strconv.Itoa(*c.Left)
		}
		if c.Pace != nil {
			pace = c.Pace.String()
		}
		t.row(c.CorpID, orDash(c.Name), orDash(c.Entity), c.Standing, number(c.Total, c.Exact), limit, left, pace, orDash(c.FullOn), countedAt(c))
	}
	if err := t.print(s.out); err != nil {
		return err
	}
	for _, c := range list.Contacts {
		if c.Problem != nil {
			fmt.Fprintf(s.err, "%s: %s\n", c.CorpID, strings.ReplaceAll(c.Problem.String(), "--corp CORP", "--corp "+c.CorpID))
		}
	}
	return nil
}

// countedAt says when the number of a row was counted, and by what.
func countedAt(c admin.Contacts) string {
	n := c.ContactNumber
	if c.Counted != nil {
		n = admin.ContactNumber(*c.Counted)
	}
	if n.Source == "" {
		return "-"
	}
	if n.AsOf == "" {
		return n.Source
	}
	return local(n.AsOf) + " " + n.Source
}

func contactsCountCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "count",
		Short: "Count the contacts of an account now",
		Long: `Has the gateway count the contacts of an account with secrets.contact now, by a walk over
externalcontact/contact_list, and waits for the end. Fails if it cannot, and says why and what
to do.`,
		Example:           "  replygate contacts count --corp ww0123456789abcdef -c replygate.yaml",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	corp := c.Flags().String("corp", "", "the account's corp `ID`")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	withValues(c, "corp")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *corp == "" {
			return fmt.Errorf("%w: --corp is missing", errUsage)
		}
		return countContacts(c.Context(), connect, *corp, *asJSON, s)
	}
	return c
}

// countContacts asks the gateway to count an account, and waits for the end.
func countContacts(ctx context.Context, connect func() (client, error), corp string, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var done admin.ContactCount
	if err := c.post(ctx, "/v1/contacts/count", map[string]string{"corp_id": corp}, &done); err != nil {
		return err
	}
	bar := newProgress(s.err)
	for done.State == "running" {
		bar.show(done.People, max(done.Before, done.People+1), fmt.Sprintf("%d contacts so far, %s", done.People, count(done.Pages, "page")))
		if err := sleep(ctx, countPoll); err != nil {
			return err
		}
		if err := c.get(ctx, "/v1/contacts/count", url.Values{"corp_id": {corp}}, &done); err != nil {
			return err
		}
	}
	bar.end()
	if asJSON {
		if err := printJSON(s.out, done); err != nil {
			return err
		}
	}
	if done.Problem != nil {
		return errors.New(corp + ": " + done.Problem.String())
	}
	if !asJSON {
		fmt.Fprintf(s.out, "%s has %s, counted %s\n", corp, count(*done.Total, "contact"), local(done.AsOf))
	}
	return nil
}

// countPoll is how often the gateway is asked how far it is.
const countPoll = 300 * time.Millisecond

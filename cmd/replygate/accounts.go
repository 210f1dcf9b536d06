package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"replygate/account"
	"replygate/admin"
)

// accountsCommand returns the commands that show the accounts of a running gateway.
func accountsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "accounts",
		Short:   "The accounts of a running gateway and how they stand",
		Example: "  replygate accounts list",
	}, accountsListCommand(s), accountsShowCommand(s), accountsCalendarCommand(s))
}

func accountsListCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the accounts and how they stand, those that stop next first",
		Example: `  replygate accounts list
  replygate accounts list --within 30d
  replygate accounts list --standing full --sort -contacts_used --json`,
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	flags := map[string]*string{
		"q":        c.Flags().StringP("query", "q", "", "only those whose name, entity or corp id has this `TEXT`"),
		"standing": c.Flags().String("standing", "", "only those with this `STANDING`: active, grace, lapsed, free or full"),
		"entity":   c.Flags().String("entity", "", "only those of this legal `ENTITY`"),
		"within":   c.Flags().String("within", "", "only those that stop within this `TIME`, like 30d or 12h"),
		"sort":     c.Flags().String("sort", "", "the `ORDER`: stops, -contacts_used, -waiting, -refused_7d or name (default stops)"),
	}
	oneOf(c, "standing", words(account.Standings())...)
	oneOf(c, "sort", "stops", "-contacts_used", "-waiting", "-refused_7d", "name")
	withValues(c, "query", "entity", "within")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return listAccounts(c.Context(), connect, filters(flags), *asJSON, s)
	}
	return c
}

func listAccounts(ctx context.Context, connect func() (client, error), query url.Values, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	whole := admin.AccountList{Accounts: []admin.Account{}}
	if err := pages(ctx, c, "/v1/accounts", query, func(page admin.AccountList) admin.ListEnd {
		whole.Accounts = append(whole.Accounts, page.Accounts...)
		whole.Total, whole.AsOf = page.Total, page.AsOf
		return page.ListEnd
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, whole)
	}
	var t table
	t.row("CORP", "NAME", "ENTITY", "STANDING", "DAYS LEFT", "EXPIRES", "LAPSES", "CONTACTS")
	for _, a := range whole.Accounts {
		t.row(a.CorpID, orDash(a.Name), orDash(a.Entity), a.Standing, daysLeft(a), local(a.Expires), local(a.Lapses), contactsOf(a))
	}
	return t.print(s.out)
}

func accountsShowCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:               "show CORP",
		Short:             "Show one account, how it stands, and what stops when it lapses",
		Annotations:       arguments("CORP", "the account's corp id"),
		Example:           "  replygate accounts show ww0123456789abcdef",
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		gateway, err := connect()
		if err != nil {
			return err
		}
		var a admin.OneAccount
		if err := gateway.get(c.Context(), "/v1/accounts/"+url.PathEscape(given[0]), url.Values{}, &a); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(s.out, a)
		}
		return printAccount(s, a.Account)
	}
	return c
}

func printAccount(s streams, a admin.Account) error {
	var t table
	t.row("corp", a.CorpID)
	t.row("name", orDash(a.Name))
	t.row("entity", orDash(a.Entity))
	t.row("standing", a.Standing)
	t.row("expires", local(a.Expires))
	t.row("lapses", local(a.Lapses))
	t.row("days left", daysLeft(a))
	t.row("stops then", orDash(strings.Join(a.Stops, ", ")))
	t.row("contacts", contactsOf(a))
	if a.CountedAt != "" {
		t.row("counted", local(a.CountedAt))
	}
	for _, n := range []struct {
		name  string
		value *int
	}{{"chats waiting", a.Waiting}, {"calls in 7 days", a.Calls7d}, {"refused in 7 days", a.Refused7d}} {
		if n.value != nil {
			t.row(n.name, strconv.Itoa(*n.value))
		}
	}
	return t.print(s.out)
}

// daysLeft says how long an account has until it lapses, and if nothing stops then.
func daysLeft(a admin.Account) string {
	switch {
	case a.DaysLeft == nil:
		return "-"
	case a.LapsesTo == string(account.Free):
		return fmt.Sprintf("%d, then free", *a.DaysLeft)
	case *a.DaysLeft == 0:
		return "less than 1"
	}
	return strconv.Itoa(*a.DaysLeft)
}

// contactsOf says how many contacts an account has, of how many.
func contactsOf(a admin.Account) string {
	if a.Total == nil {
		return "-"
	}
	text := strconv.Itoa(*a.Total)
	if a.Exact != nil && !*a.Exact {
		text = "about " + text
	}
	if a.Limit == nil {
		return text
	}
	return fmt.Sprintf("%s of %d %s", text, *a.Limit, a.LimitKind)
}

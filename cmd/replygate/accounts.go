package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// accountsCommand returns the commands that show the accounts of a running gateway.
func accountsCommand(s streams) *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the accounts and how they stand",
		Example: "  replygate accounts list\n  replygate accounts list --admin http://10.1.0.11:9090 --json",
		Args:    takes(0, 0),
	}
	show := &cobra.Command{
		Use:         "show CORP",
		Short:       "Show one account and how it stands",
		Annotations: arguments("CORP", "the account's corp id"),
		Example:     "  replygate accounts show ww0123456789abcdef",
		Args:        takes(1, 1),
	}
	for _, c := range []*cobra.Command{list, show} {
		connect := clientFlags(c)
		asJSON := c.Flags().Bool("json", false, "print JSON")
		c.ValidArgsFunction = cobra.NoFileCompletions
		c.RunE = func(c *cobra.Command, given []string) error {
			query := url.Values{}
			if len(given) > 0 {
				query.Set("corp_id", given[0])
			}
			return showAccounts(c.Context(), connect, query, *asJSON, s)
		}
	}
	return asGroup(&cobra.Command{
		Use:     "accounts",
		Short:   "The accounts of a running gateway and how they stand",
		Example: "  replygate accounts list",
	}, list, show)
}

func showAccounts(ctx context.Context, connect func() (client, error), query url.Values, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var list admin.AccountList
	if err := c.get(ctx, "/v1/accounts", query, &list); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, list)
	}
	var t table
	t.row("CORP", "NAME", "ENTITY", "STANDING", "EXPIRES", "LAPSES", "CONTACTS")
	for _, a := range list.Accounts {
		contacts := "-"
		if a.Total != nil {
			contacts = fmt.Sprintf("%d of %d free", *a.Total, *a.Free)
		}
		t.row(a.CorpID, orDash(a.Name), orDash(a.Entity), a.Standing, local(a.Expires), local(a.Lapses), contacts)
	}
	return t.print(s.out)
}

package main

import (
	"context"
	"fmt"
	"net/url"
	"text/tabwriter"

	"replygate/admin"
)

// accounts shows the accounts of a running gateway and how they stand.
func accounts(ctx context.Context, args []string, s streams) error {
	verb, args := verbOf(args)
	f := flags("accounts "+verb, s)
	connect := clientFlags(f)
	asJSON := f.Bool("json", false, "print JSON")
	query := url.Values{}
	switch verb {
	case "list":
		if _, err := parse(f, args, 0, 0); err != nil {
			return err
		}
	case "show": // accounts show CORP
		words, err := parse(f, args, 1, 1)
		if err != nil {
			return fmt.Errorf("%w (write: replygate accounts show CORP)", err)
		}
		query.Set("corp_id", words[0])
	default:
		return fmt.Errorf("%w: write list or show after accounts", errUsage)
	}
	c, err := connect()
	if err != nil {
		return err
	}
	var list admin.AccountList
	if err := c.get(ctx, "/v1/accounts", query, &list); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(s.out, list)
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CORP\tNAME\tENTITY\tSTANDING\tEXPIRES\tLAPSES\tCONTACTS")
	for _, a := range list.Accounts {
		contacts := "-"
		if a.Total != nil {
			contacts = fmt.Sprintf("%d of %d free", *a.Total, *a.Free)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.CorpID, orDash(a.Name), orDash(a.Entity), a.Standing, local(a.Expires), local(a.Lapses), contacts)
	}
	return t.Flush()
}

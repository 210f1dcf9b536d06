package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// entitiesCommand returns the commands that report about legal entities with several accounts.
func entitiesCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show the contacts of each legal entity's accounts, and what moved between them",
		Long: `Show how many contacts the accounts of each legal entity have, their sum, and what moved between them in 30 days.

A move is two numbers: one account lost at least a tenth of its contacts, and another gained about as many. A sum is an
upper bound: a person who is a contact of two accounts counts twice. Nothing is refused because of it.`,
		Annotations:       arguments("NAME", "the entity, as accounts have it; default: all"),
		Example:           "  replygate entities show\n  replygate entities show acme --json",
		Args:              takes(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		gateway, err := connect()
		if err != nil {
			return err
		}
		if len(given) > 0 {
			return showEntity(c.Context(), gateway, given[0], *asJSON, s)
		}
		return showEntities(c.Context(), gateway, *asJSON, s)
	}
	return asGroup(&cobra.Command{
		Use:     "entities",
		Short:   "The legal entities of a running gateway's accounts, and their contacts",
		Example: "  replygate entities show",
	}, c)
}

func showEntity(ctx context.Context, c client, name string, asJSON bool, s streams) error {
	var e admin.OneEntity
	if err := c.get(ctx, "/v1/entities/"+url.PathEscape(name), url.Values{}, &e); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, e)
	}
	return printEntities(s, []admin.Entity{e.Entity})
}

func showEntities(ctx context.Context, c client, asJSON bool, s streams) error {
	whole := admin.EntityList{Entities: []admin.Entity{}}
	if err := pages(ctx, c, "/v1/entities", url.Values{}, func(page admin.EntityList) admin.ListEnd {
		whole.Entities = append(whole.Entities, page.Entities...)
		whole.Total, whole.AsOf = page.Total, page.AsOf
		return page.ListEnd
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, whole)
	}
	return printEntities(s, whole.Entities)
}

// printEntities prints a table of accounts with a sum for each entity, then the moves.
func printEntities(s streams, entities []admin.Entity) error {
	var t table
	t.row("ENTITY", "CORP", "NAME", "STANDING", "CONTACTS", "LIMIT", "30 DAYS")
	for _, e := range entities {
		for _, a := range e.Accounts {
			limit := "-"
			if a.Limit != nil {
				limit = fmt.Sprintf("%d %s", *a.Limit, a.LimitKind)
			}
			t.row(e.Name, a.CorpID, orDash(a.Name), a.Standing, number(a.Total, a.Exact), limit, change(a.Change))
		}
		t.row(e.Name, "sum", "-", "-", sumOf(e), "-", change(e.Change))
	}
	if err := t.print(s.out); err != nil {
		return err
	}
	for _, e := range entities {
		for _, m := range e.Moves {
			if _, err := fmt.Fprintln(s.out, printable(moveText(e, m))); err != nil {
				return err
			}
		}
	}
	return nil
}

// number writes a number of contacts; nil is not known.
func number(n *int, exact bool) string {
	switch {
	case n == nil:
		return "-"
	case exact:
		return strconv.Itoa(*n)
	}
	return "about " + strconv.Itoa(*n)
}

func change(n *int) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%+d", *n)
}

// sumOf labels an entity's sum.
func sumOf(e admin.Entity) string {
	text := number(&e.Total, e.Exact)
	if e.UpperBound {
		text = "at most " + text
	}
	if e.Unknown > 0 {
		text += fmt.Sprintf(", without %d unknown", e.Unknown)
	}
	return text
}

// moveText says what moved, as two numbers.
func moveText(e admin.Entity, m admin.Shift) string {
	text := fmt.Sprintf("%s: in %d days %s lost %d contacts and %s gained %d", e.Name, m.Days, m.From, m.Lost, m.To, m.Gained)
	if m.Lapses != "" {
		text += fmt.Sprintf("; %s lapses at %s", m.From, local(m.Lapses))
	}
	return text
}

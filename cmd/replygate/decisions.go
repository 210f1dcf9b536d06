package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// decisionsCommand returns the commands that show past decisions of a running gateway.
func decisionsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "decisions",
		Short:   "Past decisions of a running gateway",
		Example: "  replygate decisions show 1a21fee66cf4c3e1",
	}, decisionsShowCommand(s))
}

func decisionsShowCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show the record of one decision, and the rules that were tried",
		Long: `Shows the record of one decision, and how the rules in force judge its call, by the facts of then
and by those of now. The gateway looks among its newest decisions, in the file of log.decisions with
those rotated from it, and asks the other gateways of admin.peers.`,
		Annotations:       arguments("ID", "the id of the decision, from the answer (decision_id, id=…) or from Replygate-Decision-Id"),
		Example:           "  replygate decisions show 1a21fee66cf4c3e1",
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	var language string
	languageFlag(c, &language)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := checkLanguage(language); err != nil {
			return err
		}
		gateway, err := connect()
		if err != nil {
			return err
		}
		var found admin.FoundDecision
		if err := gateway.get(c.Context(), "/v1/decisions/"+url.PathEscape(given[0]), url.Values{"language": {language}}, &found); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(s.out, found)
		}
		return printDecision(s.out, found)
	}
	return c
}

// printDecision prints a record member by member, then the rules.
func printDecision(w io.Writer, found admin.FoundDecision) error {
	record, err := members(found.Decision)
	if err != nil {
		return unreadable(err)
	}
	fmt.Fprintf(w, "found in %s", found.Source)
	if found.Gateway != "" {
		fmt.Fprintf(w, " of %s", found.Gateway)
	}
	fmt.Fprint(w, "\n\n")
	var t table
	for _, m := range record {
		if !slices.Contains([]string{"level", "time", "msg"}, m.name) { // of the line
			t.row(m.name, m.text())
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	if found.Undecided != "" {
		fmt.Fprintf(w, "\nthe rules in force cannot judge this call once more: %s\n", found.Undecided)
		return nil
	}
	fmt.Fprintln(w, "\nby the rules in force:")
	if err := printRules(w, found.Explain.Explanation); err != nil {
		return err
	}
	if now := found.Now; now != nil {
		fmt.Fprintf(w, "\nthe same call now: %s  %s, rule %s\n", now.Verdict, now.Reason, orDash(now.Rule))
	}
	return nil
}

// member is one member of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// text is the value for people: a string without quotes, an instant in their zone.
func (m member) text() string {
	var s string
	if json.Unmarshal(m.value, &s) == nil {
		return local(s)
	}
	return string(m.value)
}

// members lists the members of a JSON object in their order.
func members(object []byte) (all []member, err error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil { // {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: fmt.Sprint(name)}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"replygate/policy"
)

// rulesetsCommand returns the commands that show the rule sets that ship with the gateway.
func rulesetsCommand(s streams) *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the rule sets that ship with the gateway",
		Example: "  replygate rulesets list",
		Args:    takes(0, 0),
		RunE:    func(*cobra.Command, []string) error { return listRulesets(s) },
	}
	show := &cobra.Command{
		Use:         "show NAME",
		Short:       "Print a rule set, to be copied and changed",
		Annotations: arguments("NAME", "one of those that rulesets list names"),
		Example:     "  replygate rulesets show reply-only-2024",
		Args:        takes(1, 1),
		ValidArgs:   policy.RuleSets(),
		RunE: func(_ *cobra.Command, given []string) error {
			data, err := policy.RuleSet(given[0])
			if err != nil {
				return err
			}
			_, err = s.out.Write(data)
			return err
		},
	}
	return asGroup(&cobra.Command{
		Use:     "rulesets",
		Short:   "The rule sets that ship with the gateway, to be copied",
		Example: "  replygate rulesets list",
	}, list, show)
}

func listRulesets(s streams) error {
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, name := range policy.RuleSets() {
		data, err := policy.RuleSet(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\n", name, about(name, string(data)))
	}
	return t.Flush()
}

// about is the first sentence of a rule set's head, without its name.
func about(name, text string) string {
	var head []string
	for line := range strings.Lines(text) {
		comment, isComment := strings.CutPrefix(line, "# ")
		if !isComment {
			break
		}
		head = append(head, strings.TrimSpace(comment))
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.Join(head, " "), name+": "), ". ")
	return strings.TrimSuffix(first, ".")
}

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"replygate/policy"
)

// shippedRuleset is a rule set as rulesets --json prints it.
type shippedRuleset struct {
	Name  string `json:"name"`
	About string `json:"about"`
	YAML  string `json:"yaml,omitempty"` // show only
}

// rulesetsCommand returns the commands that show the rule sets that ship with the gateway.
func rulesetsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "rulesets",
		Short:   "The rule sets that ship with the gateway, to be copied",
		Example: "  replygate rulesets list",
	}, rulesetsListCommand(s), rulesetsShowCommand(s))
}

func rulesetsListCommand(s streams) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the rule sets that ship with the gateway",
		Example: "  replygate rulesets list",
		Args:    takes(0, 0),
		RunE:    func(*cobra.Command, []string) error { return listRulesets(s, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func rulesetsShowCommand(s streams) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:         "show NAME",
		Short:       "Print a rule set, to be copied and changed",
		Annotations: arguments("NAME", strings.Join(policy.RuleSets(), ", ")),
		Example:     "  replygate rulesets show reply-only-2024 > rules.yaml",
		Args:        takes(1, 1),
		ValidArgs:   policy.RuleSets(),
		RunE: func(_ *cobra.Command, given []string) error {
			data, err := policy.RuleSet(given[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(s.out, shippedRuleset{given[0], about(given[0], string(data)), string(data)})
			}
			_, err = s.out.Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the file as a string")
	return c
}

func listRulesets(s streams, asJSON bool) error {
	var t table
	var list []shippedRuleset
	for _, name := range policy.RuleSets() {
		data, err := policy.RuleSet(name)
		if err != nil {
			return err
		}
		list = append(list, shippedRuleset{Name: name, About: about(name, string(data))})
		t.row(name, about(name, string(data)))
	}
	if asJSON {
		return printJSON(s.out, map[string]any{"rulesets": list})
	}
	return t.print(s.out)
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

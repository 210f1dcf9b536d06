package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"replygate/policy"
)

// rulesets lists the rule sets that ship with the gateway, or prints one, to be copied and changed.
func rulesets(_ context.Context, args []string, s streams) error {
	verb, args := verbOf(args)
	f := flags("rulesets "+verb, s)
	switch verb {
	case "list":
		if _, err := parse(f, args, 0, 0); err != nil {
			return err
		}
		t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		for _, name := range policy.RuleSets() {
			data, err := policy.RuleSet(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(t, "%s\t%s\n", name, about(name, string(data)))
		}
		return t.Flush()
	case "show": // rulesets show NAME
		words, err := parse(f, args, 1, 1)
		if err != nil {
			return fmt.Errorf("%w (write: replygate rulesets show NAME)", err)
		}
		data, err := policy.RuleSet(words[0])
		if err != nil {
			return err
		}
		_, err = s.out.Write(data)
		return err
	}
	return fmt.Errorf("%w: write list or show after rulesets", errUsage)
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

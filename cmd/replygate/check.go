package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/config"
	"replygate/store"
)

// checkResult is what check --json prints.
type checkResult struct {
	OK       bool            `json:"ok"`
	Accounts int             `json:"accounts"`
	Mistakes []checkMistake  `json:"mistakes"`
	Warnings []checkMistake  `json:"warnings"` // legal, and surely unmeant
	Live     []store.Finding `json:"live,omitempty"`
}

type checkMistake struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Col    int    `json:"col"`
	Env    string `json:"env,omitempty"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
	Key    string `json:"key,omitempty"`   // of a warning: the dotted key
	Opens  int    `json:"opens,omitempty"` // of a warning: the interfaces that the setting opens
	Of     int    `json:"of,omitempty"`    // of those that the rule set refuses to lapsed accounts
}

// checkOptions are the flags of check.
type checkOptions struct {
	file                       string
	live, strict, json, schema bool
}

// checkCommand returns the command that finds every mistake in a configuration.
func checkCommand(s streams) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in a configuration, and what its Redis lacks",
		Long: `Finds every mistake in a configuration, with its line, column and remedy, and warns of what is
valid but surely not meant. The exit code is 1 if there is a mistake.`,
		Example: `  replygate check -c replygate.yaml
  replygate check -c replygate.yaml --live
  replygate check --schema > replygate.schema.json`,
		Args: takes(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return check(c.Context(), o, s) },
	}
	configFlag(c, &o.file, "the configuration `FILE`")
	f := c.Flags()
	f.BoolVar(&o.live, "live", false, "also ask the Redis of the configuration for all that the gateway needs")
	f.BoolVar(&o.strict, "strict", false, "fail if there are warnings")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	f.BoolVar(&o.schema, "schema", false, "print the JSON Schema of the file, for editors")
	return c
}

// check finds every mistake in a configuration, what is surely unmeant in it, and with --live what
// its Redis lacks. With --schema it prints the JSON Schema of the file instead.
func check(ctx context.Context, o checkOptions, s streams) error {
	if o.schema {
		return printJSON(s.out, configSchema())
	}
	set, err := load(o.file)
	var found []store.Finding
	if err == nil && o.live {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second+20*set.Config.Redis.Timeout)
		defer cancel()
		found, err = store.Inspect(ctx, set.Config.Redis, time.Now)
	}
	var warned warnings
	if err == nil {
		warned = append(set.lint(time.Now()), set.heldWarning(time.Now())...)
	}
	if err == nil && o.strict {
		err = warned.err()
	}
	if o.json {
		return checkJSON(set, warned, found, err, s)
	}
	if err != nil {
		return err
	}
	for _, w := range warned {
		fmt.Fprintln(s.err, text(w))
	}
	fmt.Fprintf(s.out, "%s: good: %s, rule set %s, %s of your own\n",
		o.file, count(len(set.Accounts.All()), "account"), ruleSetsOf(set.Config), count(len(set.Config.Policy.Rules), "rule"))
	for _, l := range found {
		switch {
		case !l.OK:
			fmt.Fprintf(s.err, "redis: %s: %s: %s\n", l.Name, l.Says, l.Remedy)
		case l.Remedy != "":
			fmt.Fprintf(s.err, "warning: redis: %s: %s: %s\n", l.Name, l.Says, l.Remedy)
		default:
			fmt.Fprintf(s.out, "redis: %s: good: %s\n", l.Name, l.Says)
		}
	}
	return lacking(found)
}

// ruleSetsOf names the rule sets of a configuration, in the order in which they apply.
func ruleSetsOf(c *config.Config) string {
	if len(c.Policy.Rulesets) == 0 {
		return c.Policy.Ruleset
	}
	var names []string
	for _, r := range c.Policy.Rulesets {
		names = append(names, r.Ruleset.Text)
	}
	return strings.Join(names, ", then ")
}

// lacking is the error of findings that are not good.
func lacking(found []store.Finding) error {
	for _, l := range found {
		if !l.OK {
			return errors.New("this Redis lacks what the gateway needs")
		}
	}
	return nil
}

func listed(mistakes config.Mistakes) []checkMistake {
	all := make([]checkMistake, len(mistakes))
	for i, m := range mistakes {
		all[i] = checkMistake{File: cmp.Or(m.At.File, m.File), Line: m.At.Line, Col: m.At.Col, Env: m.At.Env, What: m.What, Remedy: m.Remedy}
	}
	return all
}

func checkJSON(set settings, warned warnings, found []store.Finding, err error, s streams) error {
	r := checkResult{OK: err == nil && lacking(found) == nil, Mistakes: []checkMistake{}, Warnings: warned.listed(), Live: found}
	var mistakes config.Mistakes
	switch {
	case err == nil:
		r.Accounts = len(set.Accounts.All())
	case len(warned) > 0: // --strict
		r.Accounts = len(set.Accounts.All())
		r.Mistakes, r.Warnings = r.Warnings, r.Mistakes
	case errors.As(err, &mistakes):
		r.Mistakes = listed(mistakes)
	default:
		r.Mistakes = append(r.Mistakes, checkMistake{What: err.Error()})
	}
	if printed := printJSON(s.out, r); printed != nil {
		return printed
	}
	if err != nil {
		return errors.New("the configuration has mistakes")
	}
	return lacking(found)
}

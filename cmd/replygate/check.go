package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"replygate/config"
)

// checkResult is what check --json prints.
type checkResult struct {
	OK       bool           `json:"ok"`
	Accounts int            `json:"accounts"`
	Mistakes []checkFinding `json:"mistakes"`
}

type checkFinding struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Col    int    `json:"col"`
	Env    string `json:"env,omitempty"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// check finds every mistake in a configuration.
func check(_ context.Context, args []string, s streams) error {
	f := flags("check", s)
	file := f.String("c", "replygate.yaml", "the configuration `FILE`")
	asJSON := f.Bool("json", false, "print the result as JSON")
	if _, err := parse(f, args, 0, 0); err != nil {
		return err
	}
	set, err := load(*file)
	if *asJSON {
		return checkJSON(set, err, s)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: good: %d accounts, rule set %s, %d rules of your own\n",
		*file, len(set.book.All()), set.config.Policy.Ruleset, len(set.config.Policy.Rules))
	return nil
}

func checkJSON(set settings, err error, s streams) error {
	r := checkResult{OK: err == nil, Mistakes: []checkFinding{}}
	var mistakes config.Mistakes
	switch {
	case err == nil:
		r.Accounts = len(set.book.All())
	case errors.As(err, &mistakes):
		for _, m := range mistakes {
			r.Mistakes = append(r.Mistakes, checkFinding{m.File, m.At.Line, m.At.Col, m.At.Env, m.What, m.Remedy})
		}
	default:
		r.Mistakes = append(r.Mistakes, checkFinding{What: err.Error()})
	}
	if printed := json.NewEncoder(s.out).Encode(r); printed != nil {
		return printed
	}
	if err != nil {
		return errors.New("the configuration has mistakes")
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"replygate/config"
	"replygate/gate"
	"replygate/ruletest"
)

// testOptions are the flags of test.
type testOptions struct {
	file, junit, least string
	cover, json        bool
}

// testCommand returns the command that runs rule tests.
func testCommand(s streams) *cobra.Command {
	var o testOptions
	c := &cobra.Command{
		Use:         "test CASES…",
		Short:       "Run rule tests: cases with a clock, and what is to become of their calls",
		Long:        "Runs rule tests against a configuration. The exit code is 1 if a case fails.",
		Annotations: arguments("CASES…", "YAML files of cases, or folders of such files"),
		Example: `  replygate test -c replygate.yaml cases.yaml
  replygate test -c replygate.yaml --cover --junit junit.xml tests/`,
		Args: takes(1, 1000),
		RunE: func(c *cobra.Command, cases []string) error { return testRules(c.Context(), o, cases, s) },
	}
	configFlag(c, &o.file, "the configuration `FILE`")
	f := c.Flags()
	f.StringVar(&o.junit, "junit", "", "also write a JUnit report to this `FILE`")
	f.BoolVar(&o.cover, "cover", false, "tell which rules no case met")
	f.StringVar(&o.least, "cover-min", "", "fail if fewer than this `PERCENT` of the rules are met")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return c
}

// testRules runs rule tests against a configuration.
func testRules(ctx context.Context, o testOptions, files []string, s streams) error {
	percent, err := percentOf(o.least)
	if err != nil {
		return err
	}
	set, err := load(o.file)
	if err != nil {
		return err
	}
	results, err := runCases(ctx, set, files)
	if err != nil {
		return err
	}
	if o.junit != "" {
		if err := toFile(o.junit, func(w io.Writer) error { return ruletest.WriteJUnit(w, results) }); err != nil {
			return err
		}
	}
	rules := set.Engine.Rules()
	t := testResult{Cases: len(results), Rules: len(rules), Failures: []testFailure{}, Unmet: ruletest.Coverage(rules, results)}
	for i := range results {
		if !results[i].Good() {
			t.Failed++
			t.Failures = append(t.Failures, failuresOf(&results[i])...)
		}
	}
	covered := 100 * (t.Rules - len(t.Unmet)) / max(t.Rules, 1)
	if o.json {
		if err := printJSON(s.out, t); err != nil {
			return err
		}
	} else {
		ruletest.Print(s.out, results)
		if o.cover || o.least != "" {
			fmt.Fprintf(s.out, "%d %% of %s met", covered, count(t.Rules, "rule"))
			if len(t.Unmet) > 0 {
				fmt.Fprintf(s.out, "; no case meets %s", strings.Join(t.Unmet, ", "))
			}
			fmt.Fprintln(s.out)
		}
		fmt.Fprintf(s.out, "%d passed, %d failed\n", t.Cases-t.Failed, t.Failed)
	}
	switch {
	case t.Failed > 0:
		return fmt.Errorf("%d of %s failed", t.Failed, count(t.Cases, "case"))
	case covered < percent:
		return fmt.Errorf("%d %% of the rules are met, fewer than %d %%", covered, percent)
	}
	return nil
}

// testResult is what test --json prints.
type testResult struct {
	Cases    int           `json:"cases"`
	Failed   int           `json:"failed"`
	Failures []testFailure `json:"failures"`
	Rules    int           `json:"rules"`
	Unmet    []string      `json:"unmet"` // rules that no case met
}

// testFailure is one call whose decision is not the expected one, or a case that could not be run.
type testFailure struct {
	Case  string   `json:"case"`
	File  string   `json:"file"`
	Line  int      `json:"line"`
	Col   int      `json:"col"`
	Error string   `json:"error,omitempty"` // the case could not be run to its end
	Diff  []string `json:"diff,omitempty"`  // "- " what the case wants, "+ " what came
}

func failuresOf(r *ruletest.Result) (all []testFailure) {
	at := func(p config.Position) testFailure {
		return testFailure{Case: r.Case.Name.Text, File: r.File, Line: p.Line, Col: p.Col}
	}
	if r.Err != nil {
		f := at(r.Case.At)
		f.Error = r.Err.Error()
		all = append(all, f)
	}
	for _, failed := range r.Failures {
		f := at(failed.At)
		f.Diff = failed.Lines
		all = append(all, f)
	}
	return all
}

func percentOf(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil || n < 0 || n > 100 {
		return 0, fmt.Errorf("%w: --cover-min %q is not a percentage like 80", errUsage, text)
	}
	return n, nil
}

// runCases runs the cases of files, and of the .yaml files in folders.
func runCases(ctx context.Context, set settings, words []string) ([]ruletest.Result, error) {
	runner := ruletest.Runner{Gate: set.Gate, Load: func(path string) (gate.Gate, error) {
		set, err := load(path)
		return set.Gate, err
	}}
	files, err := caseFiles(words)
	if err != nil {
		return nil, err
	}
	var results []ruletest.Result
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		cases, err := ruletest.Parse(file, data)
		if err != nil {
			return nil, err
		}
		for i := range cases {
			results = append(results, runner.Run(ctx, file, &cases[i]))
		}
	}
	if len(results) == 0 {
		return nil, errors.New("there are no cases in these files: a test that tests nothing is no good test")
	}
	return results, nil
}

func caseFiles(words []string) (files []string, err error) {
	for _, w := range words {
		info, err := os.Stat(w)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, w)
			continue
		}
		inside, err := filepath.Glob(filepath.Join(w, "*.yaml"))
		if err != nil {
			return nil, err
		}
		files = append(files, inside...)
	}
	return files, nil
}

// toFile writes a file.
func toFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

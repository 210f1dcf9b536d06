package ruletest

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Print writes the failed cases: for each failed step its position, then the differences.
func Print(w io.Writer, results []Result) {
	for _, r := range results {
		for _, line := range r.lines() {
			fmt.Fprintln(w, line)
		}
	}
}

// lines describes the failures of a case.
func (r *Result) lines() (all []string) {
	if r.Err != nil {
		all = append(all, fmt.Sprintf("%s: %v", r.Case.Name.Text, r.Err))
	}
	for _, f := range r.Failures {
		all = append(all, fmt.Sprintf("%s:%d:%d: %s", r.File, f.At.Line, f.At.Col, r.Case.Name.Text))
		for _, l := range f.Lines {
			all = append(all, "    "+l)
		}
	}
	return all
}

// Coverage returns the rules that decided no call of any case, in their order.
func Coverage(rules []string, results []Result) (unused []string) {
	return slices.DeleteFunc(slices.Clone(rules), func(rule string) bool {
		return slices.ContainsFunc(results, func(r Result) bool { return r.Rules[rule] })
	})
}

// JUnit XML, as CI servers read it.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the results as JUnit XML, with one suite for each file.
func WriteJUnit(w io.Writer, results []Result) error {
	var all junitSuites
	seconds := map[string]float64{}
	for i := range results {
		r := &results[i]
		if len(all.Suites) == 0 || all.Suites[len(all.Suites)-1].Name != r.File {
			all.Suites = append(all.Suites, junitSuite{Name: r.File})
		}
		s := &all.Suites[len(all.Suites)-1]
		c := junitCase{Name: r.Case.Name.Text, Class: r.File, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		seconds[r.File] += r.Took.Seconds()
		s.Time = fmt.Sprintf("%.3f", seconds[r.File])
		s.Tests++
		all.Tests++
		if !r.Good() {
			lines := r.lines()
			c.Failure = &junitFailure{Message: lines[0], Text: strings.Join(lines, "\n")}
			s.Failures++
			all.Failures++
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	return e.Encode(all)
}

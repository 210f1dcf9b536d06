package ruletest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/ruletest"
)

// results come from two files: a case that passes, one with two failures, one that was not run to
// its end, and one whose name and text need escapes in XML.
func results() []ruletest.Result {
	named := func(name string) *ruletest.Case { return &ruletest.Case{Name: config.Word{Text: name}} }
	failed := func(line int, lines ...string) ruletest.Failure {
		return ruletest.Failure{At: config.Position{Line: line, Col: 7}, Lines: lines}
	}
	return []ruletest.Result{
		{File: "a.yaml", Case: named("good"), Took: 1500 * time.Microsecond, Rules: map[string]bool{"first": true}},
		{File: "a.yaml", Case: named("bad"), Took: 20 * time.Millisecond, Rules: map[string]bool{"third": true}, Failures: []ruletest.Failure{
			failed(4, "- verdict: pass", "+ verdict: refuse"), failed(9, "- errcode: 0", "+ errcode: 48002"),
		}},
		{File: "b.yaml", Case: named("stopped"), Took: time.Second, Err: errors.New(`b.yaml:3:7: there is no account "ww9"`)},
		{File: "b.yaml", Case: named("<&>"), Failures: []ruletest.Failure{failed(7, "- errmsg: a < b", "+ errmsg: a & b")}},
	}
}

func TestGood(t *testing.T) {
	t.Parallel()
	for i, want := range []bool{true, false, false, false} {
		if r := results()[i]; r.Good() != want {
			t.Errorf("%s: %v", r.Case.Name.Text, r.Good())
		}
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	ruletest.Print(&out, results())
	const want = `a.yaml:4:7: bad
    - verdict: pass
    + verdict: refuse
a.yaml:9:7: bad
    - errcode: 0
    + errcode: 48002
stopped: b.yaml:3:7: there is no account "ww9"
b.yaml:7:7: <&>
    - errmsg: a < b
    + errmsg: a & b
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if ruletest.Print(&out, results()[:1]); out.Len() != 0 {
		t.Errorf("cases that pass: %s", out.String())
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	rules := []string{"first", "second", "third"}
	for _, c := range []struct {
		results []ruletest.Result
		want    []string
	}{
		{results(), []string{"second"}},
		{results()[:1], []string{"second", "third"}},
		{nil, rules},
	} {
		if got := ruletest.Coverage(rules, c.results); !slices.Equal(got, c.want) {
			t.Errorf("%d results: %v, want %v", len(c.results), got, c.want)
		}
	}
	if !slices.Equal(rules, []string{"first", "second", "third"}) {
		t.Errorf("the caller's rules are changed: %v", rules)
	}
	if got := ruletest.Coverage(nil, results()); len(got) != 0 {
		t.Errorf("no rules: %v", got)
	}
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="3">
  <testsuite name="a.yaml" tests="2" failures="1" time="0.022">
    <testcase name="good" classname="a.yaml" time="0.002"></testcase>
    <testcase name="bad" classname="a.yaml" time="0.020">
      <failure message="a.yaml:4:7: bad">a.yaml:4:7: bad&#xA;    - verdict: pass&#xA;    + verdict: refuse&#xA;a.yaml:9:7: bad&#xA;    - errcode: 0&#xA;    + errcode: 48002</failure>
    </testcase>
  </testsuite>
  <testsuite name="b.yaml" tests="2" failures="2" time="1.000">
    <testcase name="stopped" classname="b.yaml" time="1.000">
      <failure message="stopped: b.yaml:3:7: there is no account &#34;ww9&#34;">stopped: b.yaml:3:7: there is no account &#34;ww9&#34;</failure>
    </testcase>
    <testcase name="&lt;&amp;&gt;" classname="b.yaml" time="0.000">
      <failure message="b.yaml:7:7: &lt;&amp;&gt;">b.yaml:7:7: &lt;&amp;&gt;&#xA;    - errmsg: a &lt; b&#xA;    + errmsg: a &amp; b</failure>
    </testcase>
  </testsuite>
</testsuites>`
	var out strings.Builder
	if err := ruletest.WriteJUnit(&out, results()); err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	out.Reset()
	if err := ruletest.WriteJUnit(&out, nil); err != nil || !strings.HasSuffix(out.String(), `<testsuites tests="0" failures="0"></testsuites>`) {
		t.Errorf("no results: %v, %s", err, out.String())
	}
}

// fullDisk takes some bytes and then no more.
type fullDisk struct{ left int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.left)
	if d.left -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestJUnitOnAFullDisk fails wherever the disk is full: half a report is never taken for a whole
// one.
func TestJUnitOnAFullDisk(t *testing.T) {
	t.Parallel()
	var whole strings.Builder
	if err := ruletest.WriteJUnit(&whole, results()); err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 10, 100, whole.Len() - 1} {
		if err := ruletest.WriteJUnit(&fullDisk{room}, results()); !errors.Is(err, errFull) {
			t.Errorf("room for %d of %d bytes: %v", room, whole.Len(), err)
		}
	}
	if err := ruletest.WriteJUnit(&fullDisk{whole.Len()}, results()); err != nil {
		t.Error(fmt.Errorf("room for all: %w", err))
	}
}

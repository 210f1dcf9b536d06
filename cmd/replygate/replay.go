package main

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/replay"
)

// replayOptions are the flags of replay.
type replayOptions struct {
	file, threshold string
	json            bool
}

// replayCommand returns the command that judges past calls once more.
func replayCommand(s streams) *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:         "replay LOG…",
		Short:       "Tell what a configuration would have decided over past decision logs",
		Long:        "Judges every record of past decision logs once more, and reports which calls would have ended otherwise.",
		Annotations: arguments("LOG…", "files of log.decisions, also packed (.gz), or - for standard input"),
		Example: `  replygate replay -c candidate.yaml decisions.log
  replygate replay -c candidate.yaml --threshold 0.5% decisions*.log`,
		Args: takes(1, 1000),
		RunE: func(_ *cobra.Command, files []string) error { return replayLogs(o, files, s) },
	}
	configFlag(c, &o.file, "the candidate `FILE`")
	f := c.Flags()
	f.StringVar(&o.threshold, "threshold", "", "fail if more calls than this would tip over: a `NUMBER`, or a percentage like 0.5%")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	return c
}

// replayLogs tells what a configuration would have decided over past records.
func replayLogs(o replayOptions, files []string, s streams) error {
	limit, err := limitOf(o.threshold)
	if err != nil {
		return err
	}
	set, err := load(o.file)
	if err != nil {
		return err
	}
	logs, err := openAll(files)
	if err != nil {
		return err
	}
	defer logs.Close()
	bar := newProgress(s.err)
	report, err := replay.Run(&set.Gate, logs, func(int64) {
		bar.show(int(logs.read>>10), int(logs.size>>10), fmt.Sprintf("%d MB of %d", logs.read>>20, logs.size>>20))
	})
	bar.end()
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(s.out, report)
	} else {
		err = printReport(s.out, report)
	}
	switch {
	case err != nil:
		return err
	case report.Calls == 0:
		return errors.New("these logs hold no record that could be judged once more: name files of log.decisions, or the gateway's standard output")
	case limit.passedBy(report.Changed(), report.Calls):
		return fmt.Errorf("%d of %s would tip over, more than %s", report.Changed(), count(report.Calls, "call"), o.threshold)
	}
	return nil
}

// limit is a number of calls, or a share of them.
type limit struct {
	set     bool
	percent bool
	value   float64
}

func limitOf(text string) (limit, error) {
	if text == "" {
		return limit{}, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0) { // NaN is no limit
		return limit{}, fmt.Errorf("%w: --threshold %q is neither a number nor a percentage", errUsage, text)
	}
	return limit{true, percent, v}, nil
}

func (l limit) passedBy(n, of int) bool {
	if l.percent {
		return float64(n)*100 > l.value*float64(of)
	}
	return l.set && float64(n) > l.value
}

// logFiles reads several files one after another and decompresses those that end in .gz.
type logFiles struct {
	io.Reader
	files      []io.Closer
	size, read int64 // in all, packed as they are
}

// openAll opens files; - is standard input.
func openAll(names []string) (*logFiles, error) {
	l := &logFiles{}
	var readers []io.Reader
	for _, name := range names {
		if name == "-" {
			readers = append(readers, os.Stdin)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.files = append(l.files, f)
		if info, err := f.Stat(); err == nil {
			l.size += info.Size()
		}
		var r io.Reader = counting{f, &l.read}
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(r); err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", name, err), l.Close())
			}
		}
		readers = append(readers, r, strings.NewReader("\n")) // the last line of a file may lack its end
	}
	l.Reader = io.MultiReader(readers...)
	return l, nil
}

// Close closes the files.
func (l *logFiles) Close() (err error) {
	for _, f := range l.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

type counting struct {
	io.Reader
	n *int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// maxRows bounds the rows of one table of a report for people.
const maxRows = 20

func printReport(w io.Writer, r *replay.Report) error {
	fmt.Fprintf(w, "%s judged once more: %d as before, %d newly refused, %d newly unsure, %d newly passed\n", count(r.Calls, "call"), r.Same, r.Refused, r.Unsure, r.Passed)
	for _, why := range slices.Sorted(maps.Keys(r.Undecided)) {
		fmt.Fprintf(w, "%s undecided: %s\n", count(r.Undecided[why], "call"), why)
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(w, "%s could not be read\n", count(r.Unreadable, "line"))
	}
	for _, by := range []struct {
		head string
		tips map[string]replay.Tips
	}{{"ACCOUNT", r.ByAccount}, {"CAPABILITY", r.ByAbility}, {"RULE", r.ByRule}, {"HOUR", inLocalTime(r.ByHour)}} {
		if err := printTips(w, by.head, by.tips); err != nil {
			return err
		}
	}
	if len(r.Examples) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var t table
	t.row("EXAMPLE", "AT", "CORP", "ENDPOINT", "WAS", "BECOMES")
	for _, e := range r.Examples {
		t.row(orDash(e.ID), localTime(e.At), e.CorpID, e.Endpoint, e.Was.Verdict+" "+e.Was.Reason, e.Becomes.Verdict+" "+e.Becomes.Reason)
	}
	return t.print(w)
}

// printTips prints the calls whose outcome changes, those with the most first.
func printTips(w io.Writer, head string, tips map[string]replay.Tips) error {
	if len(tips) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var t table
	t.row(head, "NEWLY NOT SENT", "NEWLY PASSED")
	keys := slices.SortedFunc(maps.Keys(tips), func(a, b string) int {
		x, y := tips[a], tips[b]
		return cmp.Or(cmp.Compare(y.Refused+y.Passed, x.Refused+x.Passed), cmp.Compare(a, b))
	})
	for _, k := range keys[:min(len(keys), maxRows)] {
		t.row(orDash(k), strconv.Itoa(tips[k].Refused), strconv.Itoa(tips[k].Passed))
	}
	if more := len(keys) - maxRows; more > 0 {
		t.row(fmt.Sprintf("… %d more", more))
	}
	return t.print(w)
}

// inLocalTime names hours in the zone of whoever reads them.
func inLocalTime(byHour map[string]replay.Tips) map[string]replay.Tips {
	out := map[string]replay.Tips{}
	for hour, tips := range byHour {
		if at, err := time.Parse("2006-01-02T15:04Z07:00", hour); err == nil {
			hour = localTime(at)
		}
		out[hour] = tips
	}
	return out
}

package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"replygate/gate"
	"replygate/policy"
)

// Report counts what a configuration would have decided about past calls.
type Report struct {
	Calls      int             `json:"calls"`       // records that were decided again
	Same       int             `json:"same"`        // of these, forwarded or not as before
	Refused    int             `json:"refused"`     // newly
	Unsure     int             `json:"unsure"`      // newly, so not sent
	Passed     int             `json:"passed"`      // newly
	Undecided  map[string]int  `json:"undecided"`   // :: what the record lacks -> count
	OtherLines int             `json:"other_lines"` // not records of calls
	Unreadable int             `json:"unreadable"`  // not JSON, damaged, or longer than 1 MiB
	ByAccount  map[string]Tips `json:"by_account"`
	ByAbility  map[string]Tips `json:"by_capability"`
	ByRule     map[string]Tips `json:"by_rule"` // the rule that decides now
	ByHour     map[string]Tips `json:"by_hour"` // UTC
	Examples   []Example       `json:"examples"`
}

// Tips counts calls whose outcome changes.
type Tips struct {
	Refused int `json:"refused"` // including unsure calls that are not sent
	Passed  int `json:"passed"`
}

// Example is one call whose outcome changes.
type Example struct {
	ID       string    `json:"id"` // of the decision; "" for a call that was not judged
	At       time.Time `json:"at"`
	CorpID   string    `json:"corp_id"`
	Endpoint string    `json:"endpoint"`
	Was      Outcome   `json:"was"`
	Becomes  Outcome   `json:"becomes"`
}

// Outcome is a verdict with the rule and the reason.
type Outcome struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
}

const (
	maxLine     = 1 << 20
	maxExamples = 10
	batchBytes  = 256 << 10
)

// Judge decides the call of one record under a configuration. The error says what the record lacks,
// or that the line is no record of a call.
func Judge(g *gate.Gate, line []byte) (Outcome, error) {
	rec, err := readRecord(line)
	if err != nil {
		return Outcome{}, err
	}
	d, err := rec.judge(g)
	return Outcome{d.Verdict.String(), d.Rule, string(d.Reason)}, err
}

// Changed returns the number of calls whose outcome changes.
func (r *Report) Changed() int { return r.Refused + r.Unsure + r.Passed }

// Run decides the records of logs under a configuration, on all CPUs. It calls read from time to
// time with the number of bytes read so far. Memory use does not depend on the size of the logs. If
// reading fails, the report covers what was read until then.
func Run(g *gate.Gate, logs io.Reader, read func(bytes int64)) (*Report, error) {
	batches := make(chan []byte, 2*runtime.GOMAXPROCS(0))
	parts := make([]*Report, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for i := range parts {
		parts[i] = NewReport()
		workers.Go(func() {
			for b := range batches {
				parts[i].judgeAll(g, b)
			}
		})
	}
	long, err := split(logs, batches, read)
	close(batches)
	workers.Wait()
	all := NewReport()
	all.Unreadable = long
	for _, p := range parts {
		all.add(p)
	}
	slices.SortFunc(all.Examples, func(a, b Example) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	all.Examples = all.Examples[:min(len(all.Examples), maxExamples)]
	return all, err
}

// NewReport returns an empty report, for records that are added one by one.
func NewReport() *Report {
	return &Report{
		Undecided: map[string]int{}, ByAccount: map[string]Tips{}, ByAbility: map[string]Tips{}, ByRule: map[string]Tips{}, ByHour: map[string]Tips{},
		Examples: []Example{},
	}
}

// Add decides the call of one record under a configuration, and counts the outcome.
func (r *Report) Add(g *gate.Gate, line []byte) { r.judgeAll(g, line) }

// split sends logs in batches of whole lines, and returns the number of lines longer than maxLine,
// which it skips.
func split(logs io.Reader, batches chan<- []byte, read func(int64)) (long int, err error) {
	br := bufio.NewReaderSize(logs, maxLine)
	batch := make([]byte, 0, batchBytes)
	var total int64
	skipping := false
	for {
		line, err := br.ReadSlice('\n')
		total += int64(len(line))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !skipping {
				long++
			}
			skipping = true
			continue
		case skipping:
			skipping = false // end of a long line
		default:
			batch = append(batch, line...)
		}
		if len(batch) >= batchBytes || err != nil {
			if len(batch) > 0 {
				batches <- batch
			}
			batch = make([]byte, 0, batchBytes+maxLine/8)
			read(total)
		}
		if errors.Is(err, io.EOF) {
			return long, nil
		}
		if err != nil {
			return long, err
		}
	}
}

// judgeAll decides the records of a batch of whole lines.
func (r *Report) judgeAll(g *gate.Gate, batch []byte) {
	for line := range bytes.Lines(batch) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		rec, err := readRecord(line)
		switch {
		case errors.Is(err, errNoRecord):
			r.OtherLines++
		case err != nil:
			r.Unreadable++
		default:
			r.judge(g, &rec)
		}
	}
}

func (r *Report) judge(g *gate.Gate, rec *record) {
	d, err := rec.judge(g)
	if err != nil {
		r.Undecided[err.Error()]++
		return
	}
	r.Calls++
	tip := Tips{}
	switch {
	case rec.Forwarded == d.Go:
		r.Same++
		return
	case d.Go:
		r.Passed++
		tip.Passed = 1
	case d.Verdict == policy.Unsure:
		r.Unsure++
		tip.Refused = 1
	default:
		r.Refused++
		tip.Refused = 1
	}
	hour := rec.At.UTC().Format("2006-01-02T15:00Z")
	for _, by := range []struct {
		tips map[string]Tips
		key  string
	}{{r.ByAccount, rec.CorpID}, {r.ByAbility, string(d.Capability)}, {r.ByRule, d.Rule}, {r.ByHour, hour}} {
		by.tips[by.key] = by.tips[by.key].plus(tip)
	}
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, Example{
			ID: rec.ID, At: rec.At, CorpID: rec.CorpID, Endpoint: rec.Endpoint,
			Was: Outcome{rec.Verdict, rec.Rule, rec.Reason}, Becomes: Outcome{d.Verdict.String(), d.Rule, string(d.Reason)},
		})
	}
}

func (t Tips) plus(other Tips) Tips {
	return Tips{t.Refused + other.Refused, t.Passed + other.Passed}
}

// add adds the counts of another report to r.
func (r *Report) add(p *Report) {
	r.Calls += p.Calls
	r.Same += p.Same
	r.Refused += p.Refused
	r.Unsure += p.Unsure
	r.Passed += p.Passed
	r.OtherLines += p.OtherLines
	r.Unreadable += p.Unreadable
	for why, n := range p.Undecided {
		r.Undecided[why] += n
	}
	for _, by := range []struct{ to, from map[string]Tips }{{r.ByAccount, p.ByAccount}, {r.ByAbility, p.ByAbility}, {r.ByRule, p.ByRule}, {r.ByHour, p.ByHour}} {
		for key, t := range by.from {
			by.to[key] = by.to[key].plus(t)
		}
	}
	r.Examples = append(r.Examples, p.Examples...)
}

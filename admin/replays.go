package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/record"
	"replygate/replay"
)

// Replay is what a candidate configuration would have decided about past calls: the answer of GET
// /v1/replays/ID.
type Replay struct {
	ID      string `json:"id"`
	State   string `json:"state"` // running, done or failed
	Error   string `json:"error,omitempty"`
	Began   string `json:"began"`
	Ended   string `json:"ended,omitempty"`
	Gateway string `json:"gateway"` // whose decisions these are
	Source  string `json:"source"`  // files, or memory: the newest decisions, with one in a hundred of the passes
	From    string `json:"from"`    // the earliest record that was read; "" if there was none
	More    bool   `json:"more"`    // earlier records were left unread
	Records int    `json:"records"` // read

	Same      int            `json:"same"` // forwarded or not as before
	Refused   int            `json:"newly_refused"`
	Unsure    int            `json:"newly_unsure"` // so not sent
	Passed    int            `json:"newly_passed"`
	Undecided int            `json:"undecided"`
	Why       map[string]int `json:"undecided_why"` // :: what the record lacks -> count

	By       []ReplayCount    `json:"by"` // by account, by rule, by capability and by hour; the most first
	Examples []replay.Example `json:"examples"`
}

// ReplayCount counts the calls of one account, rule, capability or hour whose outcome changes.
type ReplayCount struct {
	CorpID     string `json:"corp_id,omitempty"`
	Account    string `json:"account,omitempty"`
	Rule       string `json:"rule,omitempty"` // that decides by the candidate
	Capability string `json:"capability,omitempty"`
	Hour       string `json:"hour,omitempty"` // UTC
	Refused    int    `json:"newly_refused"`  // or unsure, so not sent
	Passed     int    `json:"newly_passed"`
}

// The states of a replay.
const (
	ReplayRunning = "running"
	ReplayDone    = "done"
	ReplayFailed  = "failed"
)

const (
	replayTime    = 10 * time.Second // of one core
	replayRecords = 1_000_000
	keptReplays   = 20
	maxCounts     = 50 // accounts, rules, capabilities and hours each

	// readAgain is how far before the end of one reading of the files the next one begins. Lines are
	// that much out of order at most.
	readAgain = time.Second
)

// candidateName is the file's name in the mistakes of a candidate.
const candidateName = "candidate"

// replays are the jobs of this process.
type replays struct {
	mu   sync.Mutex
	all  []*Replay // the oldest first
	stop context.Context
}

// startReplay answers POST /v1/replays.
func (a *Admin) startReplay(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains([]string{"application/yaml", "application/x-yaml", "text/yaml", "application/json"}, kind) {
		fail(w, http.StatusUnsupportedMediaType, "not_yaml", "send the candidate as Content-Type: application/yaml")
		return
	}
	candidate, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			fail(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("send at most %d bytes", maxBody))
			return
		}
		fail(w, http.StatusBadRequest, "bad_body", "the body could not be read to its end")
		return
	}
	if kind == "application/json" {
		var in struct{ Candidate *string }
		if json.Unmarshal(candidate, &in) == nil && in.Candidate != nil {
			candidate = []byte(*in.Candidate)
		}
	}
	if len(bytes.TrimSpace(candidate)) == 0 { // it would be read as the defaults
		fail(w, http.StatusUnprocessableEntity, "bad_config", "the candidate is empty: send a configuration")
		return
	}
	job, err := a.newReplay(candidate)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Location", "/v1/replays/"+job)
	reply(w, http.StatusAccepted, map[string]string{"id": job})
}

// newReplay begins to judge past calls once more by a candidate, and returns the id of the job. One
// runs at a time.
func (a *Admin) newReplay(candidate []byte) (id string, err error) {
	inForce := a.Gateway.Gate().Config
	c, err := config.ParseCandidate(candidateName, candidate, inForce)
	if err != nil {
		return "", noResult{http.StatusUnprocessableEntity, "bad_config", err.Error()}
	}
	g, err := gate.New(candidateName, c)
	if err != nil {
		return "", noResult{http.StatusUnprocessableEntity, "bad_config", err.Error()}
	}
	job := &Replay{ID: record.NewID(a.Now()), State: ReplayRunning, Why: map[string]int{}, By: []ReplayCount{}, Examples: []replay.Example{}, Began: stamp(a.Now()), Gateway: a.Gateway.Address(), Source: "files"}
	if inForce.Log.Decisions == "stdout" {
		job.Source = "memory"
	}
	a.replays.mu.Lock()
	defer a.replays.mu.Unlock()
	if n := len(a.replays.all); n > 0 && a.replays.all[n-1].State == ReplayRunning {
		return "", noResult{http.StatusTooManyRequests, "too_many", "another replay is running; try again soon"}
	}
	a.replays.all = append(a.replays.all, job)
	if n := len(a.replays.all); n > keptReplays {
		a.replays.all = slices.Clone(a.replays.all[n-keptReplays:])
	}
	ctx, cancel := context.WithTimeout(a.replays.until(), replayTime)
	go func() {
		defer cancel()
		a.runReplay(ctx, job, &g)
	}()
	return job.ID, nil
}

// runReplay carries out a job.
func (a *Admin) runReplay(ctx context.Context, job *Replay, g *gate.Gate) {
	run := replayRun{gate: g, report: replay.NewReport(), ctx: ctx, left: replayRecords, seen: map[string]bool{}}
	err := a.readForReplay(&run, job.Source)
	a.replays.mu.Lock()
	defer a.replays.mu.Unlock()
	job.State, job.Ended, job.More, job.Records = ReplayDone, stamp(a.Now()), run.more, replayRecords-run.left
	if run.earliest != "" {
		job.From = run.earliest[:keyTime]
	}
	job.report(run.report, g)
	if err != nil {
		job.State, job.Error = ReplayFailed, "the log cannot be read: "+err.Error()
	}
}

// report takes the numbers of a finished report over.
func (job *Replay) report(r *replay.Report, g *gate.Gate) {
	job.Same, job.Refused, job.Unsure, job.Passed, job.Why, job.Examples = r.Same, r.Refused, r.Unsure, r.Passed, r.Undecided, r.Examples
	for _, n := range r.Undecided {
		job.Undecided += n
	}
	counts := func(tips map[string]replay.Tips, name func(c *ReplayCount, key string)) {
		all := make([]ReplayCount, 0, len(tips))
		for key, t := range tips {
			c := ReplayCount{Refused: t.Refused, Passed: t.Passed}
			name(&c, key)
			all = append(all, c)
		}
		slices.SortFunc(all, func(x, y ReplayCount) int {
			return cmp.Or(cmp.Compare(y.Refused+y.Passed, x.Refused+x.Passed), cmp.Compare(x.CorpID+x.Rule+x.Capability+x.Hour, y.CorpID+y.Rule+y.Capability+y.Hour))
		})
		job.By = append(job.By, all[:min(len(all), maxCounts)]...)
	}
	counts(r.ByAccount, func(c *ReplayCount, key string) {
		c.CorpID = key
		if acc := g.Accounts.Find(key); acc != nil {
			c.Account = acc.Name
		}
	})
	counts(r.ByRule, func(c *ReplayCount, key string) { c.Rule = key })
	counts(r.ByAbility, func(c *ReplayCount, key string) { c.Capability = key })
	counts(r.ByHour, func(c *ReplayCount, key string) { c.Hour = key })
}

// replayRun judges records, about the newest first: those of one moment are in any order.
type replayRun struct {
	ctx      context.Context
	gate     *gate.Gate
	report   *replay.Report
	left     int             // records that may still be read
	earliest string          // the smallest key of a record that was read
	known    string          // all records from this key on were read; "" in the first reading
	seen     map[string]bool // keys before known that were read
	more     bool            // a bound was met
}

// add judges a record, and reports whether more may follow.
func (r *replayRun) add(line []byte) bool {
	key := keyOf(line)
	if len(key) < keyTime || r.known != "" && key >= r.known || r.seen[key] {
		return true
	}
	if r.left == 0 || r.ctx.Err() != nil {
		r.more = true
		return false
	}
	r.left--
	r.seen[key] = true
	if r.earliest == "" || key < r.earliest {
		r.earliest = key
	}
	r.report.Add(r.gate, line)
	return true
}

// resume prepares for another reading, which begins a little after the earliest record. It returns
// the time of that record.
func (r *replayRun) resume() (time.Time, error) {
	r.known = shifted(r.earliest, readAgain)
	maps.DeleteFunc(r.seen, func(key string, _ bool) bool { return key >= r.known })
	return time.Parse(time.RFC3339Nano, r.earliest[:keyTime])
}

// readForReplay reads the records of a replay. It takes the files up again and again, so that other
// searches of them get their turns.
func (a *Admin) readForReplay(run *replayRun, source string) error {
	if source == "memory" {
		lines, _ := a.Gateway.NewestDecisions()
		for _, line := range slices.Backward(lines) {
			if !run.add(line) {
				return nil
			}
		}
		return nil
	}
	for until := a.Now().Add(time.Hour); ; {
		before := run.earliest
		more, _, err := a.Gateway.OlderDecisions(run.ctx, until, run.add)
		switch {
		case run.ctx.Err() != nil:
			run.more = true
			return nil
		case err != nil, !more, run.more:
			return err
		case run.earliest == before: // one line is longer than what may be read at once
			run.more = true
			return nil
		}
		if until, err = run.resume(); err != nil {
			return err
		}
	}
}

// until returns a context that ends when the server stops.
func (r *replays) until() context.Context {
	if r.stop == nil {
		return context.Background()
	}
	return r.stop
}

// replay answers GET /v1/replays/ID.
func (a *Admin) replay(w http.ResponseWriter, r *http.Request) {
	if _, err := checkedValues(r); err != nil {
		failQuery(w, err)
		return
	}
	job, found := a.replays.find(r.PathValue("id"))
	if !found {
		fail(w, http.StatusNotFound, "no_replay", "this gateway has no replay of this id: it keeps its newest ones until it stops")
		return
	}
	reply(w, http.StatusOK, job)
}

// find returns a job as it is at the moment.
func (r *replays) find(id string) (job Replay, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, job := range r.all {
		if job.ID == id {
			return *job, true
		}
	}
	return job, false
}

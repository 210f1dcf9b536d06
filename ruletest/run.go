package ruletest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/gate"
	"replygate/store"
	"replygate/wecom"
	"replygate/window"
)

// Result is the outcome of one case.
type Result struct {
	File     string
	Case     *Case
	Took     time.Duration
	Failures []Failure
	Err      error           // the case could not be run to the end
	Rules    map[string]bool // that decided a call, or would have in shadow
}

// Good reports whether the case passed.
func (r *Result) Good() bool { return r.Err == nil && len(r.Failures) == 0 }

// Failure is one call whose decision is not the expected one.
type Failure struct {
	At    config.Position // of the step
	Lines []string        // of a diff: "- want", "+ got"
}

// Runner runs cases. Load compiles the configuration at a path, for steps that reload.
type Runner struct {
	Gate gate.Gate
	Load func(path string) (gate.Gate, error)
}

// Run runs one case. Its store uses a temporary directory, which Run removes.
func (r Runner) Run(ctx context.Context, file string, c *Case) (result Result) {
	began := time.Now()
	result = Result{File: file, Case: c, Rules: map[string]bool{}}
	defer func() { result.Took = time.Since(began) }()
	x, err := r.begin(ctx, c)
	if err != nil {
		result.Err = err
		return result
	}
	defer func() {
		if err := x.end(); err != nil && result.Err == nil {
			result.Err = err
		}
	}()
	for i := range c.Steps {
		s := &c.Steps[i]
		f, err := x.step(ctx, s)
		if err != nil {
			result.Err = fmt.Errorf("%s:%d:%d: %w", file, s.Position.Line, s.Position.Col, err)
			return result
		}
		if f != nil {
			result.Failures = append(result.Failures, *f)
		}
	}
	result.Rules = x.matched
	return result
}

// execution is the state of a running case.
type execution struct {
	Runner
	*Case
	gate    gate.Gate
	clock   clock
	dir     string
	store   *store.Client
	windows *window.Store
	down    bool
	matched map[string]bool // rules
}

// clock is the time of a case. Steps move it, and a goroutine of the store reads it.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time   { return *c.at.Load() }
func (c *clock) set(at time.Time) { c.at.Store(&at) }

func (r Runner) begin(ctx context.Context, c *Case) (x *execution, err error) {
	x = &execution{Runner: r, Case: c, gate: r.Gate, matched: map[string]bool{}}
	x.clock.set(c.Start)
	if len(c.Accounts) > 0 {
		if err := x.useAccounts(c.Accounts); err != nil {
			return nil, err
		}
	}
	if x.dir, err = os.MkdirTemp("", "replygate-test-"); err != nil {
		return nil, err
	}
	redis, journal := config.Default().Redis, config.Default().Journal
	redis.Snapshot, journal.Path = filepath.Join(x.dir, "snapshot"), filepath.Join(x.dir, "journal")
	if x.store, err = store.Open(ctx, redis, journal, x.clock.now, zap.NewNop()); err != nil {
		os.RemoveAll(x.dir)
		return nil, err
	}
	w := x.gate.Config.Window
	x.windows = window.NewEmbedded(x.store.UniversalClient, x.store, window.Settings{
		Prefix: redis.Prefix, Length: w.Length, Replies: w.Replies, Timeout: x.store.Timeout, Now: x.clock.now,
	})
	if c.History.Text != "incomplete" {
		if err := x.store.Set(ctx, redis.Prefix+"since", c.Start.Add(-2*w.Length).UnixMilli(), 0).Err(); err != nil {
			return nil, errors.Join(err, x.end())
		}
	}
	return x, nil
}

func (x *execution) end() error {
	err := x.store.Close()
	if gone := os.RemoveAll(x.dir); err == nil {
		err = gone
	}
	return err
}

// useAccounts compiles the configuration with other accounts.
func (x *execution) useAccounts(accounts []config.Account) error {
	c := *x.gate.Config
	c.Accounts = accounts
	g, err := gate.New("accounts of "+x.Name.Text, &c)
	if err != nil {
		return err
	}
	x.gate = g
	return nil
}

// changeAccount compiles the configuration with one account changed.
func (x *execution) changeAccount(corp string, change func(*config.Account)) error {
	accounts := slices.Clone(x.gate.Config.Accounts)
	i := slices.IndexFunc(accounts, func(a config.Account) bool { return a.CorpID == corp })
	if i < 0 {
		return fmt.Errorf("there is no account %q", corp)
	}
	change(&accounts[i])
	return x.useAccounts(accounts)
}

// corp returns the default corp: that of the first account.
func (x *execution) corp() string {
	if all := x.gate.Accounts.All(); len(all) > 0 {
		return all[0].CorpID
	}
	return ""
}

// step executes one step. A failure is a call whose decision is not the expected one.
func (x *execution) step(ctx context.Context, s *Step) (*Failure, error) {
	at, err := s.instant(x.Start, x.clock.now())
	if err != nil {
		return nil, err
	}
	x.moveTo(at)
	switch {
	case s.Inbound != nil:
		_, err = x.windows.Record(ctx, []window.Fact{{Key: s.Inbound.key(x.corp()), At: at}})
	case s.Enters != nil:
		k := (&Inbound{s.Enters.CorpID, s.Enters.Channel, s.Enters.Customer}).key(x.corp())
		code := window.Code{Key: k, Kind: string(wecom.EnterSession), Deadline: at.Add(wecom.EnterSession.Life())}
		err = x.windows.LearnCodes(ctx, []window.LearntCode{{Code: code, Text: s.Enters.Code}})
	case s.Lapses.Text != "":
		err = x.changeAccount(s.Lapses.Text, func(a *config.Account) {
			a.Subscription = &config.Subscription{ExpiresAt: at}
		})
	case s.Renews.Text != "":
		err = x.changeAccount(s.Renews.Text, func(a *config.Account) { a.Subscription = nil })
	case s.Reload.Text != "":
		x.gate, err = x.Load(s.Reload.Text)
	case s.Redis.Text != "":
		x.down = s.Redis.Text == "down"
	case s.Call != nil:
		for range times(s) {
			if f, err := x.call(ctx, s); f != nil || err != nil {
				return f, err
			}
		}
	}
	return nil, err
}

// moveTo moves the clock and removes expired keys. As in Redis, a key still exists in the
// millisecond in which it expires.
func (x *execution) moveTo(at time.Time) {
	x.clock.set(at.Add(-time.Millisecond))
	x.store.Embedded.Tick()
	x.clock.set(at)
}

func times(s *Step) int {
	if s.Times == nil {
		return 1
	}
	return *s.Times
}

// call decides a call and compares the decision.
func (x *execution) call(ctx context.Context, s *Step) (*Failure, error) {
	path, query, _ := strings.Cut(s.Call.Path, "?")
	in := gate.Call{
		Corp: cmp.Or(s.Call.CorpID, x.corp()), Client: s.Call.Client, Path: []byte(path), Query: []byte(query),
		ContentType: cmp.Or(s.Call.ContentType, "application/json"), Body: []byte(s.Call.Body), At: x.clock.now(),
	}
	if in.Client == "" && x.gate.Engine.UsesClients() {
		in.Client = config.UnknownClient
	}
	var source gate.Store = x.windows
	if x.down {
		source = unavailable{}
	}
	j, _, _ := x.gate.Judge(ctx, in, source)
	if !j.Decision.Go {
		if err := x.release(ctx, &j); err != nil {
			return nil, err
		}
	}
	if j.Decision.Rule != "" {
		x.matched[j.Decision.Rule] = true
	}
	if j.Shadow != nil && j.Shadow.Rule != "" {
		x.matched[j.Shadow.Rule] = true
	}
	if lines := s.Want.diff(j); len(lines) > 0 {
		return &Failure{At: s.Position, Lines: lines}, nil
	}
	return nil, nil
}

// release gives back the reservations and the code of a call that is not forwarded.
func (x *execution) release(ctx context.Context, j *gate.Judgement) error {
	if err := x.windows.RestoreCode(ctx, j.Evidence.Code); err != nil {
		return err
	}
	for i, k := range j.Keys {
		if a := j.Evidence.Windows[i]; a.Reserved() {
			if err := x.windows.Settle(ctx, k, a, window.Rejected); err != nil {
				return err
			}
		}
	}
	return nil
}

// diff returns the differences between a judgement and w, as pairs of "- want" and "+ got".
func (w *Want) diff(j gate.Judgement) (lines []string) {
	d := j.Decision
	differs := func(key, want, got string) {
		if want != "" && want != got {
			lines = append(lines, "- "+key+": "+want, "+ "+key+": "+got)
		}
	}
	differs("verdict", w.Verdict.Text, d.Verdict.String())
	differs("rule", w.Rule.Text, d.Rule)
	differs("reason", w.Reason.Text, string(d.Reason))
	differs("forwarded", w.Forwarded.Text, strconv.FormatBool(d.Go))
	if w.Errcode != nil {
		code := d.Errcode
		if d.Go {
			code = 0
		}
		differs("errcode", strconv.Itoa(*w.Errcode), strconv.Itoa(code))
	}
	if w.Errmsg.Text != "" && !strings.Contains(d.Errmsg, w.Errmsg.Text) {
		differs("errmsg", w.Errmsg.Text, d.Errmsg)
	}
	if w.Left != nil {
		differs("replies_left", strconv.Itoa(*w.Left), strconv.Itoa(d.Left))
	}
	shadow := "none"
	if j.Shadow != nil {
		shadow = j.Shadow.Verdict.String()
	}
	differs("shadow", w.Shadow.Text, shadow)
	return lines
}

// unavailable is a Redis that does not answer.
type unavailable struct{}

func (unavailable) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i := range answers {
		answers[i] = window.Answer{State: window.Unavailable, Left: -1}
	}
	return answers
}

func (unavailable) Reserve(context.Context, window.Key) window.Answer {
	return window.Answer{State: window.Unavailable, Left: -1}
}

func (unavailable) ConsumeCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{State: window.CodeUnavailable}
}

func (unavailable) PeekCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{State: window.CodeUnavailable}
}

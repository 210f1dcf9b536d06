package ruletest

import (
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

// Result is what came of one case.
type Result struct {
	File     string
	Case     *Case
	Took     time.Duration
	Failures []Failure
	Err      error           // the case could not be run to its end
	Rules    map[string]bool // that decided a call, or would have from the shadow
}

// Good tells whether the case came out as it should.
func (r *Result) Good() bool { return r.Err == nil && len(r.Failures) == 0 }

// Failure is one call that came to something else.
type Failure struct {
	At    config.Position // of the step
	Lines []string        // of a diff: "- want", "+ got"
}

// Runner runs cases. Load compiles the configuration at a path, for steps that reload.
type Runner struct {
	Gate gate.Gate
	Load func(path string) (gate.Gate, error)
}

// Run runs one case. Its store lives in a folder that is gone afterwards.
func (r Runner) Run(ctx context.Context, file string, c *Case) (result Result) {
	began := time.Now()
	result = Result{File: file, Case: c, Rules: map[string]bool{}}
	defer func() { result.Took = time.Since(began) }()
	play, err := r.begin(ctx, c)
	if err != nil {
		result.Err = err
		return result
	}
	defer func() {
		if err := play.end(); err != nil && result.Err == nil {
			result.Err = err
		}
	}()
	for i := range c.Steps {
		s := &c.Steps[i]
		f, err := play.step(ctx, s)
		if err != nil {
			result.Err = fmt.Errorf("%s:%d:%d: %w", file, s.Position.Line, s.Position.Col, err)
			return result
		}
		if f != nil {
			result.Failures = append(result.Failures, *f)
		}
	}
	result.Rules = play.met
	return result
}

// play is a case on its stage.
type play struct {
	Runner
	*Case
	gate    gate.Gate
	clock   clock
	dir     string
	store   *store.Client
	windows *window.Store
	down    bool
	met     map[string]bool // rules
}

// clock stands still until a step moves it. The store reads it from a goroutine of its own.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time   { return *c.at.Load() }
func (c *clock) set(at time.Time) { c.at.Store(&at) }

func (r Runner) begin(ctx context.Context, c *Case) (p *play, err error) {
	p = &play{Runner: r, Case: c, gate: r.Gate, met: map[string]bool{}}
	p.clock.set(c.Start)
	if len(c.Accounts) > 0 {
		if err := p.useAccounts(c.Accounts); err != nil {
			return nil, err
		}
	}
	if p.dir, err = os.MkdirTemp("", "replygate-test-"); err != nil {
		return nil, err
	}
	redis, journal := config.Default().Redis, config.Default().Journal
	redis.Snapshot, journal.Path = filepath.Join(p.dir, "snapshot"), filepath.Join(p.dir, "journal")
	if p.store, err = store.Open(ctx, redis, journal, p.clock.now, zap.NewNop()); err != nil {
		os.RemoveAll(p.dir)
		return nil, err
	}
	w := p.gate.Config.Window
	p.windows = window.NewStore(p.store.UniversalClient, window.Settings{
		Prefix: redis.Prefix, Length: w.Length, Replies: w.Replies, Timeout: p.store.Timeout, Now: p.clock.now,
	})
	if c.History.Text != "incomplete" {
		if err := p.store.Set(ctx, redis.Prefix+"since", c.Start.Add(-2*w.Length).UnixMilli(), 0).Err(); err != nil {
			return nil, errors.Join(err, p.end())
		}
	}
	return p, nil
}

func (p *play) end() error {
	err := p.store.Close()
	if gone := os.RemoveAll(p.dir); err == nil {
		err = gone
	}
	return err
}

// useAccounts compiles the configuration anew, for other accounts.
func (p *play) useAccounts(accounts []config.Account) error {
	c := *p.gate.Config
	c.Accounts = accounts
	g, err := gate.New("accounts of "+p.Name.Text, &c)
	if err != nil {
		return err
	}
	p.gate = g
	return nil
}

// changeAccount replaces one account.
func (p *play) changeAccount(corp string, change func(*config.Account)) error {
	accounts := slices.Clone(p.gate.Config.Accounts)
	i := slices.IndexFunc(accounts, func(a config.Account) bool { return a.CorpID == corp })
	if i < 0 {
		return fmt.Errorf("there is no account %q", corp)
	}
	change(&accounts[i])
	return p.useAccounts(accounts)
}

// corp is the corp of those that do not say.
func (p *play) corp() string {
	if all := p.gate.Accounts.All(); len(all) > 0 {
		return all[0].CorpID
	}
	return ""
}

// step lets one step happen. A failure is a call that came to something else than it should.
func (p *play) step(ctx context.Context, s *Step) (*Failure, error) {
	at, err := s.instant(p.Start, p.clock.now())
	if err != nil {
		return nil, err
	}
	p.moveTo(at)
	switch {
	case s.Inbound != nil:
		_, err = p.windows.Record(ctx, []window.Fact{{Key: s.Inbound.key(p.corp()), At: at}})
	case s.Enters != nil:
		k := (&Inbound{s.Enters.CorpID, s.Enters.Channel, s.Enters.Customer}).key(p.corp())
		code := window.Code{Key: k, Kind: string(wecom.EnterSession), Deadline: at.Add(wecom.EnterSession.Life())}
		err = p.windows.LearnCodes(ctx, []window.LearntCode{{Code: code, Text: s.Enters.Code}})
	case s.Lapses.Text != "":
		err = p.changeAccount(s.Lapses.Text, func(a *config.Account) {
			a.Subscription = &config.Subscription{ExpiresAt: at}
		})
	case s.Renews.Text != "":
		err = p.changeAccount(s.Renews.Text, func(a *config.Account) { a.Subscription = nil })
	case s.Reload.Text != "":
		p.gate, err = p.Load(s.Reload.Text)
	case s.Redis.Text != "":
		p.down = s.Redis.Text == "down"
	case s.Call != nil:
		for range times(s) {
			if f, err := p.call(ctx, s); f != nil || err != nil {
				return f, err
			}
		}
	}
	return nil, err
}

// moveTo moves the clock, and drops what has expired by then: as in Redis, a key is still there in
// the very millisecond in which it expires.
func (p *play) moveTo(at time.Time) {
	p.clock.set(at.Add(-time.Millisecond))
	p.store.Embedded.Tick()
	p.clock.set(at)
}

func times(s *Step) int {
	if s.Times == nil {
		return 1
	}
	return *s.Times
}

// call makes a call and compares what became of it.
func (p *play) call(ctx context.Context, s *Step) (*Failure, error) {
	path, query, _ := strings.Cut(s.Call.Path, "?")
	in := gate.Call{
		Corp: orElse(s.Call.CorpID, p.corp()), Client: s.Call.Client, Path: []byte(path), Query: []byte(query),
		ContentType: orElse(s.Call.ContentType, "application/json"), Body: []byte(s.Call.Body), At: p.clock.now(),
	}
	if in.Client == "" && p.gate.Engine.UsesClients() {
		in.Client = config.UnknownClient
	}
	var asked gate.Store = p.windows
	if p.down {
		asked = away{}
	}
	j, _, _ := p.gate.Judge(ctx, in, asked)
	if !j.Decision.Go {
		if err := p.giveBack(ctx, &j); err != nil {
			return nil, err
		}
	}
	if j.Decision.Rule != "" {
		p.met[j.Decision.Rule] = true
	}
	if j.Shadow != nil && j.Shadow.Rule != "" {
		p.met[j.Shadow.Rule] = true
	}
	if lines := s.Want.diff(j); len(lines) > 0 {
		return &Failure{At: s.Position, Lines: lines}, nil
	}
	return nil, nil
}

// giveBack returns what the judgement of a call took that does not go on: reservations and its
// code.
func (p *play) giveBack(ctx context.Context, j *gate.Judgement) error {
	if err := p.windows.RestoreCode(ctx, j.Evidence.Code); err != nil {
		return err
	}
	for i, k := range j.Keys {
		if a := j.Evidence.Windows[i]; a.Reserved() {
			if err := p.windows.Settle(ctx, k, a, window.Rejected); err != nil {
				return err
			}
		}
	}
	return nil
}

// diff compares a judgement with what is wanted of it.
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

// away is a Redis that does not answer.
type away struct{}

func (away) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i := range answers {
		answers[i] = window.Answer{State: window.Unavailable, Left: -1}
	}
	return answers
}

func (away) Reserve(context.Context, window.Key) window.Answer {
	return window.Answer{State: window.Unavailable, Left: -1}
}

func (away) ConsumeCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{State: window.CodeUnavailable}
}

func (away) PeekCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{State: window.CodeUnavailable}
}

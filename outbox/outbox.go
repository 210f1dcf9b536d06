// Package outbox delivers events to the webhooks and robots of the configuration. How far each of
// them has come is in Redis, beside the log, so that any gateway goes on where another one ended.
//
// It does not find events, and it does not call a URL that is not in the configuration.
package outbox

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/events"
	"replygate/record"
)

// Outbox delivers events. It is safe for concurrent use.
type Outbox struct {
	Log     *events.Log
	Redis   redis.UniversalClient
	Prefix  string
	Timeout time.Duration // of one command
	Now     func() time.Time
	Errors  *record.RateLimited

	Sinks    func() config.Events  // in force
	Zone     func() *time.Location // of times in digests
	Link     func() string         // to the console, for digests; "": none
	WeCom    WeCom                 // for robots
	Patience time.Duration         // for the answer of a webhook or robot; 0: 15 s
	CAs      *x509.CertPool        // that webhooks are trusted by; nil: the system's

	once           sync.Once
	plain, secured *http.Transport

	mu     sync.Mutex
	counts map[string]*Counts
	status []Status
}

// WeCom calls WeCom. Its errors do not quote the query, which has the key of the robot.
type WeCom interface {
	Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error)
}

// Counts are what this gateway did for one webhook or robot since it started.
type Counts struct {
	Delivered int64
	Failed    int64            // attempts
	GivenUp   map[string]int64 // events, by cause
}

// The causes for which an event is given up.
const (
	Exhausted = "exhausted" // every attempt of the schedule failed
	Outdated  = "outdated"  // the chat has closed meanwhile
	Full      = "full"      // more events wait than may
	Gone      = "gone"      // the log no longer has it
)

// Causes returns all causes.
func Causes() []string { return []string{Exhausted, Outdated, Full, Gone} }

// The kinds of sinks.
const (
	KindWebhook = "webhook"
	KindRobot   = "robot"
)

// Status tells how the deliveries to one webhook or robot are.
type Status struct {
	Name     string
	Kind     string
	Due      int       // events that are not delivered yet
	Oldest   time.Time // when the oldest of them was logged; zero: none
	Failing  time.Time // since when no delivery succeeded; zero: the last one did
	Disabled string    // why nothing is sent any more
	Error    string    // of the last attempt, if it failed
}

const (
	passEvery   = 250 * time.Millisecond
	statusEvery = 5 * time.Second
	keptFor     = 7 * 24 * time.Hour // the state of a sink, as events are
	touchEvery  = time.Hour
	readAtOnce  = 500         // entries of the log
	maxReads    = 20          // batches before anything is sent
	clockSlack  = time.Second // by how much the clock of the log may lag
	lastMoment  = time.Second // for what is under way when the gateway stops
)

// Errors of Test and Resend.
var (
	ErrUnknown  = errors.New("the configuration in force has no such webhook")
	ErrDisabled = errors.New("the webhook is disabled: a test that succeeds enables it again")
	ErrTooSoon  = errors.New("a message was sent within the last seconds: a robot may send 20 a minute")
)

// runner delivers to one sink until its context ends.
type runner struct {
	config any
	cancel context.CancelFunc
	done   chan struct{}
}

// Run delivers until ctx ends. One gateway at a time runs it; two would deliver some events twice,
// and lose none.
func (o *Outbox) Run(ctx context.Context) {
	running := map[string]*runner{}
	stop := func(name string) {
		running[name].cancel()
		<-running[name].done
		delete(running, name)
	}
	defer func() {
		for name := range running {
			stop(name)
		}
	}()
	tick := time.NewTicker(passEvery)
	defer tick.Stop()
	for {
		wanted := o.wanted()
		for name, r := range running {
			if !reflect.DeepEqual(wanted[name], r.config) {
				stop(name)
			}
		}
		for name, c := range wanted {
			if running[name] == nil {
				running[name] = o.begin(ctx, name, c)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wanted returns the configuration of each sink by its name.
func (o *Outbox) wanted() map[string]any {
	all := map[string]any{}
	sinks := o.Sinks()
	for _, w := range sinks.Webhooks {
		all[w.Name] = w
	}
	for _, r := range sinks.Robots {
		all[r.Name] = r
	}
	return all
}

// begin delivers to a sink in a goroutine of its own, so that one that hangs holds up no other.
func (o *Outbox) begin(ctx context.Context, name string, c any) *runner {
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{config: c, cancel: cancel, done: make(chan struct{})}
	var pass func(context.Context) error
	switch c := c.(type) {
	case config.Webhook:
		pass = newWebhook(o, c).pass
	case config.Robot:
		pass = newRobot(o, c).pass
	}
	go func() {
		defer close(r.done)
		tick := time.NewTicker(passEvery)
		defer tick.Stop()
		var touched time.Time
		for {
			if err := pass(ctx); err != nil && ctx.Err() == nil {
				o.Errors.Warn("delivery of events failed: retrying", zap.String("to", name), zap.Error(err))
			}
			if now := time.Now(); now.Sub(touched) > touchEvery {
				touched = now
				o.touch(ctx, name)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return r
}

// lasting returns a context for an attempt. It ends a moment after ctx: what is under way when the
// gateway stops can succeed, and the next gateway need not send it again.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	lasts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, func() { time.AfterFunc(lastMoment, cancel) })
	return lasts, func() { unlink(); cancel() }
}

// webhook returns the webhook of a name.
func (o *Outbox) webhook(name string) (config.Webhook, bool) {
	all := o.Sinks().Webhooks
	i := slices.IndexFunc(all, func(w config.Webhook) bool { return w.Name == name })
	if i < 0 {
		return config.Webhook{}, false
	}
	return all[i], true
}

// robot returns the robot of a name.
func (o *Outbox) robot(name string) (config.Robot, bool) {
	all := o.Sinks().Robots
	i := slices.IndexFunc(all, func(r config.Robot) bool { return r.Name == name })
	if i < 0 {
		return config.Robot{}, false
	}
	return all[i], true
}

// Tested is what came of a test.
type Tested struct {
	OK      bool
	Status  int // of HTTP; 0: no answer
	Error   string
	Took    time.Duration
	Enabled bool // it was disabled before
}

// Test sends one message to a webhook or robot. One that is disabled is enabled again if it takes
// the message.
func (o *Outbox) Test(ctx context.Context, name string) (t Tested, err error) {
	began := time.Now()
	var r outcome
	if w, found := o.webhook(name); found {
		now := o.Now()
		e := events.Event{Type: events.Test, At: now, Key: []string{name, strconv.FormatInt(now.UnixNano(), 10)}, Data: map[string]string{"name": name}}
		body, err := e.Encode()
		if err != nil {
			return t, err
		}
		r = newWebhook(o, w).send(ctx, e.ID(), body)
	} else if c, found := o.robot(name); found {
		free, err := o.reserve(ctx, name)
		switch {
		case err != nil:
			return t, err
		case !free:
			return t, ErrTooSoon
		}
		r = newRobot(o, c).send(ctx, testText[c.Language])
	} else {
		return t, ErrUnknown
	}
	t = Tested{OK: r.ok, Status: r.status, Error: r.why, Took: time.Since(began)}
	if !r.ok {
		return t, nil
	}
	s, err := o.read(ctx, name)
	if err != nil {
		return t, err
	}
	t.Enabled = s.disabled != ""
	return t, o.clear(ctx, name)
}

// Resend has a webhook get the events again that were logged since an instant, and returns how
// many. more is true if there are more than may wait.
func (o *Outbox) Resend(ctx context.Context, name string, since time.Time) (n int, more bool, err error) {
	w, found := o.webhook(name)
	if !found {
		return 0, false, ErrUnknown
	}
	s, err := o.read(ctx, name)
	switch {
	case err != nil:
		return 0, false, err
	case s.disabled != "":
		return 0, false, ErrDisabled
	}
	waiting, err := o.waiting(ctx, name)
	if err != nil {
		return 0, false, err
	}
	has := map[string]bool{}
	for _, p := range waiting {
		has[p.position] = true
	}
	match := filterOf(w.Types, w.Accounts)
	after := fmt.Sprintf("%d-0", max(since.Add(-clockSlack).UnixMilli(), 0))
	for {
		entries, err := o.Log.Read(ctx, after, readAtOnce)
		if err != nil {
			return n, false, err
		}
		var some []pending
		for _, e := range entries {
			after = e.Position
			if events.Before(s.position, e.Position) { // it comes anyway
				break
			}
			if !match.Matches(&e) || has[e.Position] {
				continue
			}
			if len(has) >= maxDue {
				more = true
				break
			}
			has[e.Position] = true
			some = append(some, pending{position: e.Position, kind: e.Type})
		}
		if err := o.enqueue(ctx, name, some); err != nil {
			return n, more, err
		}
		n += len(some)
		if more || len(entries) < readAtOnce || events.Before(s.position, after) {
			return n, more, nil
		}
	}
}

// filterOf returns what a sink gets.
func filterOf(types, accounts []string) events.Filter {
	f := events.Filter{}
	if len(types) > 0 {
		f.Types = types
	}
	if len(accounts) > 0 {
		f.Corps = accounts
	}
	return f
}

// targetOf identifies where a sink sends to, without telling it.
func targetOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// count changes what was counted for a sink.
func (o *Outbox) count(name string, change func(c *Counts)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]*Counts{}
	}
	if o.counts[name] == nil {
		o.counts[name] = &Counts{GivenUp: map[string]int64{}}
	}
	change(o.counts[name])
}

func (o *Outbox) giveUp(name, why string, n int) {
	o.count(name, func(c *Counts) { c.GivenUp[why] += int64(n) })
}

// Counted returns what this gateway did for a sink.
func (o *Outbox) Counted(name string) (c Counts) {
	o.count(name, func(known *Counts) {
		c = *known
		c.GivenUp = map[string]int64{}
		for why, n := range known.GivenUp {
			c.GivenUp[why] = n
		}
	})
	return c
}

// Status returns how the deliveries are, in the order of the configuration. It answers from memory.
func (o *Outbox) Status() []Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.status)
}

// Watch reads how the deliveries are, whichever gateway makes them, until ctx ends.
func (o *Outbox) Watch(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		if all, err := o.readStatus(ctx); err == nil { // else what was read before stays
			o.mu.Lock()
			o.status = all
			o.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (o *Outbox) readStatus(ctx context.Context) (all []Status, err error) {
	sinks := o.Sinks()
	add := func(name, kind string, match events.Filter) error {
		s, err := o.read(ctx, name)
		if err != nil {
			return err
		}
		status := Status{Name: name, Kind: kind, Failing: s.failing, Disabled: s.disabled, Error: s.failure}
		oldest := ""
		note := func(position string) {
			if status.Due++; oldest == "" || events.Before(position, oldest) {
				oldest = position
			}
		}
		if kind == KindWebhook {
			waiting, err := o.waiting(ctx, name)
			if err != nil {
				return err
			}
			for _, p := range waiting {
				note(p.position)
			}
		}
		if s.position != "" {
			rest, err := o.Log.Read(ctx, s.position, readAtOnce)
			if err != nil {
				return err
			}
			for _, e := range rest {
				if match.Matches(&e) {
					note(e.Position)
				}
			}
		}
		if oldest != "" {
			status.Oldest = loggedAt(oldest)
		}
		all = append(all, status)
		return nil
	}
	for _, w := range sinks.Webhooks {
		if err := add(w.Name, KindWebhook, filterOf(w.Types, w.Accounts)); err != nil {
			return nil, err
		}
	}
	for _, r := range sinks.Robots {
		if err := add(r.Name, KindRobot, filterOf(r.Types, r.Accounts)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// loggedAt returns when the event at a position was logged, by the clock of Redis.
func loggedAt(position string) time.Time {
	text, _, _ := strings.Cut(position, "-")
	ms, _ := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms)
}

package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/record"
	"replygate/store"
	"replygate/wecom"
	"replygate/window"
)

const (
	leaderTerm = 15 * time.Second
	lookEvery  = 5 * time.Second
	recheck    = 5 * time.Minute // how often a corp is looked at that seems to need nothing
	relist     = time.Hour       // how long a list of channels is good for
	maxAtOnce  = 8               // corps whose channels are replayed at the same time
	maxResume  = 12 * time.Hour  // an older replay of a channel begins anew
	lookChunk  = 500             // corps in one round trip

	retryRefused = 10 * time.Minute // after WeCom refused a secret
	retryFailed  = time.Minute      // after any other failure, doubled each time for a channel
	maxRetry     = time.Hour
)

// Account is a corp with the secrets that can pull messages of its channels.
type Account struct {
	Corp    string
	Secrets []config.Secret
}

// Replayer completes the records of accounts with secrets by itself: where a channel that a secret
// can see has a gap, it pulls what kf/sync_msg has of the channel and ends the gap. Of all gateways
// on one Redis, one does so at a time.
type Replayer struct {
	Windows *window.Store
	Redis   redis.UniversalClient
	Prefix  string
	Timeout time.Duration // of one command to Redis
	Budget  *Budget
	Log     *record.RateLimited

	// Accounts returns the configured accounts that have secrets.
	Accounts func() []Account
	// Connect returns what calls WeCom directly, until ctx ends.
	Connect func(ctx context.Context) (Calls, error)
	// Record records a page of a channel as if a bot had pulled it.
	Record func(ctx context.Context, corp, channel string, answer []byte)
	// Learn stores that channels are a corp's. Channels returns those that are known to be.
	Learn    func(ctx context.Context, corp string, channels []string)
	Channels func(ctx context.Context, corp string) ([]string, error)

	// Now and Sleep are the clock. Sleep returns early, with an error, if its context ends.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error

	wakeOnce sync.Once
	woken    chan struct{}
	counts   replayCounts
}

// Run replays whenever this gateway is the leader, until ctx ends. Without secrets it does not ask
// Redis.
func (r *Replayer) Run(ctx context.Context) {
	if r.Windows.Length >= window.Backlog {
		return // three days prove nothing about such windows
	}
	for len(r.Accounts()) == 0 {
		select {
		case <-ctx.Done():
			return
		case <-r.wake(): // by a reload
		}
	}
	r.watch()
	store.NewLeader(r.Redis, r.Prefix+"leader:replay", leaderTerm).Run(ctx, r.lead)
}

// watch has the calls of bots counted, also while another gateway is the leader.
func (r *Replayer) watch() {
	var corps []string
	for _, a := range r.Accounts() {
		corps = append(corps, a.Corp)
	}
	r.Budget.Watch(corps)
}

// Wake has the accounts looked at now: the configuration was reloaded.
func (r *Replayer) Wake() {
	r.watch()
	select {
	case r.wake() <- struct{}{}:
	default:
	}
}

func (r *Replayer) wake() chan struct{} {
	r.wakeOnce.Do(func() { r.woken = make(chan struct{}, 1) })
	return r.woken
}

// lead looks for gaps and replays, until ctx ends or no account has a secret.
func (r *Replayer) lead(ctx context.Context) {
	l := &leader{Replayer: r, ctx: ctx, corps: map[string]*corp{}, room: make(chan struct{}, maxAtOnce)}
	defer r.counts.keepUseless(nil) // the next leader tells
	defer l.replays.Wait()
	calls, err := r.Connect(ctx)
	if err != nil {
		r.Log.Error("records cannot complete themselves: the gateway cannot call WeCom by itself", zap.Error(err))
		return
	}
	l.calls = calls
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		accounts := r.Accounts()
		if len(accounts) == 0 {
			return
		}
		l.look(accounts)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake():
		}
	}
}

// leader is the work of this gateway while it is the leader.
type leader struct {
	*Replayer
	ctx     context.Context
	calls   Calls
	room    chan struct{}
	replays sync.WaitGroup

	mu    sync.Mutex
	corps map[string]*corp
}

// corp is what the leader knows of one corp.
type corp struct {
	busy    bool
	secrets []string  // ids of the secrets with which it was last looked at
	gap     time.Time // the newest gap then
	next    time.Time // when to look again, if nothing changes
	state   *state    // nil: not read yet
}

// look begins the replays of corps that have a new gap or other secrets, or whose time has come.
func (l *leader) look(accounts []Account) {
	names, ids := make([]string, len(accounts)), map[string]bool{}
	for i, a := range accounts {
		names[i] = a.Corp
		for _, id := range secretIDs(a.Corp, a.Secrets) {
			ids[id] = true
		}
	}
	l.counts.keepUseless(ids)
	for chunk := range slices.Chunk(accounts, lookChunk) {
		gaps, err := l.Windows.LastGaps(l.ctx, names[:len(chunk)])
		names = names[len(chunk):]
		if err != nil {
			return // Redis is away: the next look
		}
		for i, a := range chunk {
			if c := l.begin(a, gaps[i]); c != nil {
				l.replays.Go(func() { l.visit(a, c) })
			}
		}
	}
}

// begin returns a corp that must be visited, and marks it as busy; nil: not now.
func (l *leader) begin(a Account, gap time.Time) *corp {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.corps[a.Corp]
	if c == nil {
		c = &corp{}
		l.corps[a.Corp] = c
	}
	ids := secretIDs(a.Corp, a.Secrets)
	changed := !c.gap.Equal(gap) || !slices.Equal(c.secrets, ids)
	if c.busy || !changed && l.Now().Before(c.next) {
		return nil
	}
	c.busy, c.gap, c.secrets = true, gap, ids
	return c
}

// visit replays what a corp needs, once there is room for it.
func (l *leader) visit(a Account, c *corp) {
	next := l.Now().Add(retryFailed)
	select {
	case l.room <- struct{}{}:
		next = l.replayCorp(a, c)
		<-l.room
	case <-l.ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.busy, c.next = false, next
}

// replayCorp replays the channels of a corp that have a gap, with one secret after the other. It
// returns when to look at the corp again.
func (l *leader) replayCorp(a Account, c *corp) (next time.Time) {
	next = l.Now().Add(retryFailed)
	defer l.Log.Recover("BUG: a replay of kf/sync_msg panicked")
	if c.state == nil {
		s, err := l.load(l.ctx, a.Corp)
		if err != nil {
			return next
		}
		c.state = s
		if l.Now().Sub(s.Called) < time.Minute { // by another gateway
			l.Budget.spent(a.Corp, s.Called)
		}
	}
	c.state.use(c.secrets)
	for _, s := range c.state.Secrets {
		l.counts.setUseless(s.ID, s.Error != "") // as the leader before found
	}
	run := &run{leader: l, state: c.state, gap: c.gap, next: l.Now().Add(recheck), began: l.Now()}
	for i, secret := range a.Secrets {
		run.withSecret(c.state.Secrets[i], i+1, secret)
	}
	run.finish()
	return run.next
}

// run is one visit to a corp.
type run struct {
	*leader
	state    *state
	puller   Puller // of the secret at hand
	gap      time.Time
	next     time.Time // when to visit again
	began    time.Time
	pulled   int // channels
	ended    int // gaps of channels
	messages int
}

// later has the corp visited again at some time.
func (r *run) later(at time.Time) {
	if at.Before(r.next) {
		r.next = at
	}
}

// withSecret replays the channels that a secret can see.
func (r *run) withSecret(s *secretState, number int, secret config.Secret) {
	if r.Now().Before(s.Retry) {
		r.later(s.Retry)
		return
	}
	err := r.replaySecret(s, secret)
	if r.ctx.Err() != nil || err == nil && s.Error == "" {
		return
	}
	r.report(s, number, err)
	_ = r.save(r.ctx, r.state) // else the next one does it
}

// report notes whether a secret works, and logs it when that changes.
func (r *run) report(s *secretState, number int, err error) {
	fields := []zap.Field{zap.String("corp_id", r.state.Corp), zap.Int("secret", number)}
	if err == nil {
		s.Code, s.Error, s.Retry = 0, "", time.Time{}
		r.counts.setUseless(s.ID, false)
		r.Log.Unlimited.Info("a secret of secrets.kf works again", fields...)
		return
	}
	var refused *Error
	if !errors.As(err, &refused) {
		s.Retry = r.Now().Add(retryFailed)
		r.later(s.Retry)
		if errors.Is(err, errNoBudget) {
			return
		}
		r.counts.failed.Add(1)
		r.Log.Warn("a replay was interrupted, and goes on in a minute", append(fields, zap.Error(err))...)
		return
	}
	r.counts.refused.Add(1)
	r.counts.setUseless(s.ID, true)
	s.Retry = r.Now().Add(retryRefused)
	r.later(s.Retry)
	if s.Code == refused.Code {
		return
	}
	s.Code, s.Error = refused.Code, fmt.Sprintf("%s answers errcode %d: %s", refused.Path, refused.Code, remedy(refused.Code))
	r.Log.Unlimited.Warn("WeCom refuses a secret of secrets.kf, so the gaps of its channels stay: "+remedy(refused.Code),
		append(fields, zap.String("path", refused.Path), zap.Int("errcode", refused.Code), zap.String("errmsg", refused.Text))...)
}

// remedy tells what to do about an errcode.
func remedy(code int) string {
	switch code {
	case 40001, 40013, 40091, 42001, 40014:
		return "the secret is wrong, or was reset; take it again from the app's page in WeCom's console, then reload"
	case 60020:
		return "WeCom does not trust the address that the gateway calls from; add it to the app's trusted addresses in WeCom's console, or set upstream.proxy"
	case 48002, 48007, 60011, 60030, 301002:
		return "the app may not use WeChat Customer Service; allow it in WeCom's console, on the page of WeChat Customer Service, and assign it its accounts"
	case wecom.CodeRateLimited:
		return "other programs use up what WeCom allows; let them pull with the token of the callback"
	}
	return "see the list of errcodes in WeCom's documentation"
}

// replaySecret replays the channels with a gap that a secret can see.
func (r *run) replaySecret(s *secretState, secret config.Secret) error {
	counted := Progress{Corp: r.state.Corp}
	messages, unreadable := r.state.Messages, r.state.Unreadable
	r.puller = Puller{
		Progress: &counted, Calls: r.calls, Secret: secret, Now: r.Now, Sleep: r.Sleep, Wait: r.waitForBudget,
		Record: func(ctx context.Context, channel string, answer []byte) {
			r.Record(context.WithoutCancel(ctx), r.state.Corp, channel, answer)
		},
		Limited: func() { r.Budget.limitedNow(r.state.Corp) },
		Save: func() error {
			r.state.Messages, r.state.Unreadable = messages+counted.Messages, unreadable+counted.Unreadable
			return r.save(r.ctx, r.state)
		},
	}
	defer func() { r.messages += counted.Messages; r.counts.messages.Add(int64(counted.Messages)) }()
	if err := r.list(s); err != nil {
		return err
	}
	due, err := r.due(s)
	if err != nil || len(due) == 0 {
		return err
	}
	r.Log.Unlimited.Info("replaying kf/sync_msg to complete the records of channels",
		zap.String("corp_id", r.state.Corp), zap.Int("channels", len(due)), zap.Time("gap", r.gap))
	r.counts.running.Add(1)
	defer r.counts.running.Add(-1)
	for _, c := range due {
		if err := r.replayChannel(c); err != nil {
			return err
		}
	}
	return nil
}

// due returns the channels with a gap that a secret can see, without those that wait after a
// failure.
func (r *run) due(s *secretState) (all []*replayChannel, err error) {
	open, err := r.Windows.Repairable(r.ctx, r.state.Corp, s.names())
	gaps := set(open)
	for _, c := range s.Channels {
		switch {
		case !gaps[c.Channel.Channel]:
		case r.Now().Before(c.Retry):
			r.later(c.Retry)
		default:
			all = append(all, c)
		}
	}
	return all, err
}

// list lists the channels that a secret can see, if the last list is older than the newest gap and
// not quite new.
func (r *run) list(s *secretState) error {
	now := r.Now()
	if r.gap.Before(now.Add(-r.Windows.Length)) || now.Sub(s.Listed) < relist {
		return nil // what there is to list has no gap, or is known
	}
	if err := r.token(); err != nil {
		return err
	}
	names, err := r.puller.listChannels(r.ctx)
	if err != nil {
		return err
	}
	s.list(names, now)
	r.Learn(r.ctx, r.state.Corp, names)
	return r.save(r.ctx, r.state)
}

// token fetches a token of the secret at hand, unless there is one.
func (r *run) token() error {
	if r.puller.token != "" {
		return nil
	}
	return r.puller.fetchToken(r.ctx)
}

// replayChannel pulls the rest of a channel and ends its gap. An error means that the secret, WeCom
// or Redis cannot be used at the moment.
func (r *run) replayChannel(c *replayChannel) error {
	if c.Done || r.Now().Sub(c.Began) > maxResume {
		c.restart()
	}
	if err := r.token(); err != nil {
		return err
	}
	r.Windows.BeginBackfill()
	err := r.puller.pullChannel(r.ctx, &c.Channel)
	var refused *Error
	switch {
	case errors.As(err, &refused) && !ofSecret(refused.Code), errors.Is(err, errRepeated): // this channel alone, as after it was deleted
		r.Log.Warn("WeCom does not give the messages of a channel, so its gap stays",
			zap.String("corp_id", r.state.Corp), zap.String("channel", c.Channel.Channel), zap.Error(err))
		c.restart()
		r.failed(c, &r.counts.failed)
		return r.save(r.ctx, r.state)
	case err != nil:
		return err
	}
	r.pulled++
	if err := r.endGap(c); err != nil {
		return err
	}
	return r.save(r.ctx, r.state)
}

// endGap ends the gap of a channel whose last page was pulled, unless something was missed.
func (r *run) endGap(c *replayChannel) error {
	name := c.Channel.Channel
	if c.Broken {
		r.Log.Warn("WeCom gave a page that cannot be read to its end, so the gap of its channel stays", zap.String("corp_id", r.state.Corp), zap.String("channel", name))
		r.failed(c, &r.counts.unreadable)
		return nil
	}
	missed, err := r.Windows.Backfilled(r.ctx, r.state.Corp, []string{name}, c.Began)
	if err != nil {
		return err
	}
	if len(missed) > 0 { // the log has said why
		c.restart()
		r.failed(c, &r.counts.missed)
		return nil
	}
	c.Tries, c.Retry = 0, time.Time{}
	r.ended++
	r.counts.complete.Add(1)
	return nil
}

// failed has a channel replayed again, later with every failure.
func (r *run) failed(c *replayChannel, count counter) {
	count.Add(1)
	c.Retry = r.Now().Add(min(retryFailed<<min(c.Tries, 6), maxRetry))
	c.Tries++
	r.later(c.Retry)
}

// restart has the replay of a channel begin anew.
func (c *replayChannel) restart() {
	c.Channel = Channel{Channel: c.Channel.Channel}
}

// ofSecret reports whether an errcode is about the token, the app or the rate, not about a channel.
func ofSecret(code int) bool {
	switch code {
	case 40001, 40013, 40014, 42001, 60020, 48002, 48007, 60011, 60030, 301002, wecom.CodeRateLimited, wecom.CodeBusy:
		return true
	}
	return false
}

// errNoBudget means that a corp's bots use up its calls, so its replay goes on later.
var errNoBudget = errors.New("the bots of the corp leave no calls for a replay")

// maxBudgetWait is how long a replay waits for a call before it gives its place to another corp's:
// longer than a busy minute of bots counts.
const maxBudgetWait = peakKept + time.Minute

// waitForBudget returns when a page may be pulled, and notes that it is.
func (r *run) waitForBudget(ctx context.Context) error {
	for began := r.Now(); r.Now().Sub(began) < maxBudgetWait; {
		wait := r.Budget.take(r.state.Corp)
		if wait == 0 {
			r.state.Called = r.Now()
			r.counts.calls.Add(1)
			return nil
		}
		if err := r.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return errNoBudget
}

// finish ends the gap of the whole corp as far as its known channels are complete, and tells what
// was done.
func (r *run) finish() {
	if r.ctx.Err() != nil || r.gap.Before(r.Now().Add(-r.Windows.Length)) {
		return
	}
	known, err := r.Channels(r.ctx, r.state.Corp)
	all := slices.Concat(known, r.state.names())
	if err == nil {
		err = r.Windows.CompleteCorp(r.ctx, r.state.Corp, all)
	}
	if r.pulled == 0 {
		return
	}
	var incomplete []string
	if err == nil {
		incomplete, err = r.Windows.Incomplete(r.ctx, r.state.Corp, all)
	}
	slices.Sort(incomplete)
	r.Log.Unlimited.Info("a replay of kf/sync_msg is over",
		zap.String("corp_id", r.state.Corp), zap.Int("channels", r.pulled), zap.Int("complete", r.ended), zap.Int("messages", r.messages),
		zap.Strings("incomplete", slices.Compact(incomplete)), zap.Duration("took", r.Now().Sub(r.began)), zap.Error(err))
}

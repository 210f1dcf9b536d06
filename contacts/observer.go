package contacts

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/record"
	"replygate/wecom"
)

const (
	// MaxAnswer bounds an answer of contact_list that is read: 10,000 rows have 3 MB.
	MaxAnswer = 4 << 20

	maxQueued      = 4096     // observations
	maxQueuedBytes = 32 << 20 // of answers among them

	// maxAhead is how far ahead of the clock a callback may be, as the time of a message.
	maxAhead = 5 * time.Minute
)

// The labels of observations.
const (
	FromPages     = "contact_list"
	FromCallbacks = "callback"

	Observed       = "observed"        // taken in
	Counted        = "counted"         // it completed a count
	Dropped        = "dropped"         // the queue was full, or Redis did not take it
	Unattributed   = "unattributed"    // whose it is cannot be told for certain
	UnreadablePage = "unreadable"      // it may hide a person
	NotListed      = "not_in_accounts" // its corp is no account
)

// Sighting is an answer of contact_list that a bot received.
type Sighting struct {
	Token  string // the access token's hash
	Corp   string // that calls with unknown tokens belong to, by the configuration alone; else ""
	Cursor string // of the call
	Answer []byte
	At     time.Time
}

// Observer takes in what calls and callbacks tell of contacts, and follows what all gateways know.
// Page and Callback never wait: they queue for Run, and drop what does not fit. It is safe for
// concurrent use.
type Observer struct {
	Store    *Store
	Counts   *account.Counts
	Accounts func() *account.Book                                                // in force
	OwnerOf  func(ctx context.Context, tokenHash string) (string, account.Owner) // the corp of a token
	Tally    func(source, result string)                                         // counts an observation
	Log      *record.RateLimited

	walks  Walks
	queue  chan observation
	queued atomic.Int64 // bytes of answers in queue

	mu      sync.Mutex
	states  map[string]State
	read    time.Time        // when states were read
	unsaved map[string]Count // that Redis did not take
}

// observation is a page, or moves of a corp.
type observation struct {
	page  *Sighting
	corp  string
	moves []Move
}

// Init makes o ready for use, and returns it.
func (o *Observer) Init() *Observer {
	o.queue, o.states, o.unsaved = make(chan observation, maxQueued), map[string]State{}, map[string]Count{}
	return o
}

// Page takes in an answer of contact_list. The caller must not change its bytes any more.
func (o *Observer) Page(s Sighting) {
	size := int64(len(s.Answer))
	if o.queued.Add(size) > maxQueuedBytes || !o.enqueue(observation{page: &s}) {
		o.queued.Add(-size)
		o.Tally(FromPages, Dropped)
	}
}

// Callback takes in a verified callback of a corp that arrived at now.
func (o *Observer) Callback(corp string, c Callback, now time.Time) {
	moves := c.Moves()
	switch {
	case len(moves) == 0:
	case o.Accounts().Find(corp) == nil:
		o.Tally(FromCallbacks, NotListed)
	case c.At.IsZero(), c.At.After(now.Add(maxAhead)), !o.enqueue(observation{corp: corp, moves: moves}):
		o.Tally(FromCallbacks, Dropped)
	}
}

func (o *Observer) enqueue(x observation) bool {
	select {
	case o.queue <- x:
		return true
	default:
		return false
	}
}

// Run carries out what is queued until ctx ends.
func (o *Observer) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-o.queue:
			if x.page != nil {
				o.Tally(FromPages, o.observePage(ctx, x.page))
				o.queued.Add(-int64(len(x.page.Answer)))
			} else {
				o.Tally(FromCallbacks, o.observeMoves(ctx, x.corp, x.moves))
			}
		}
	}
}

// observePage feeds a page to the walk that it belongs to.
func (o *Observer) observePage(ctx context.Context, s *Sighting) (result string) {
	answer, err := wecom.ReadContactPage(bytes.NewReader(s.Answer))
	switch {
	case err != nil:
		return UnreadablePage
	case answer.Errcode != wecom.CodeOK:
		return Observed
	}
	corp, owner := o.OwnerOf(ctx, s.Token)
	if owner == account.Unknown {
		corp = s.Corp
	}
	switch {
	case owner == account.Unreachable:
		return Dropped
	case corp == "":
		return Unattributed
	case o.Accounts().Find(corp) == nil:
		return NotListed
	}
	if count, done := o.walks.Feed(corp, s.Token, pageOf(s.Cursor, answer), s.At); done {
		o.Finished(ctx, corp, count)
		return Counted
	}
	return Observed
}

// pageOf converts an answer of contact_list to a call with a cursor.
func pageOf(cursor string, answer wecom.ContactPage) Page {
	page := Page{Cursor: cursor, Next: answer.Next, Rows: make([]Row, len(answer.Rows))}
	for i, r := range answer.Rows {
		page.Rows[i] = Row{TmpOpenID: r.TmpOpenID, Customer: r.IsCustomer}
	}
	return page
}

func (o *Observer) observeMoves(ctx context.Context, corp string, moves []Move) (result string) {
	for _, v := range moves {
		if err := o.Store.Move(ctx, corp, v); err != nil {
			o.Log.Warn("a callback about contacts is lost: the estimate misses it until the next count", zap.String("corp_id", corp), zap.Error(err))
			return Dropped
		}
	}
	return Observed
}

// Finished takes in a finished count of an account. One that Redis does not take counts in this
// process at once, and is stored once Redis is back.
func (o *Observer) Finished(ctx context.Context, corp string, c Count) {
	o.Counts.Set(corp, c.Count)
	if !o.put(ctx, corp, c) {
		o.mu.Lock()
		if o.unsaved[corp].AsOf.Before(c.AsOf) {
			o.unsaved[corp] = c
		}
		o.mu.Unlock()
	}
	o.reread(ctx, corp)
}

func (o *Observer) put(ctx context.Context, corp string, c Count) bool {
	_, err := o.Store.Put(ctx, corp, c)
	if err != nil {
		o.Log.Warn("a count of contacts is known to this gateway alone until redis takes it", zap.String("corp_id", corp), zap.Error(err))
	}
	return err == nil
}

// Failed takes in that an attempt to count an account gave no count.
func (o *Observer) Failed(ctx context.Context, corp string, f Failure) {
	if err := o.Store.Fail(ctx, corp, f); err != nil {
		o.Log.Warn("why an account could not be counted is known to this gateway alone: redis did not take it", zap.String("corp_id", corp), zap.Error(err))
	}
	o.mu.Lock()
	state := o.states[corp]
	state.Failure = f
	o.states[corp] = state
	o.mu.Unlock()
}

// reread reads the state of one account.
func (o *Observer) reread(ctx context.Context, corp string) {
	if states, err := o.Store.Read(ctx, []string{corp}); err == nil {
		o.mu.Lock()
		maps.Copy(o.states, states)
		o.mu.Unlock()
	}
}

// Refresh reads the counts that all gateways share, at now.
func (o *Observer) Refresh(ctx context.Context, now time.Time) error {
	states, err := o.Store.Read(ctx, o.Accounts().CorpIDs())
	if err != nil {
		return err
	}
	for corp, s := range states {
		if !s.AsOf.IsZero() && s.Source == account.Metered {
			o.Counts.Set(corp, s.Count.Count)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states, o.read = states, now
	return nil
}

// Save stores the counts that Redis lacks: those that it did not take before, and newer ones by
// hand. One by hand whose time is in the future waits for it.
func (o *Observer) Save(ctx context.Context, now time.Time) {
	o.mu.Lock()
	pending := o.unsaved
	o.unsaved = map[string]Count{}
	o.mu.Unlock()
	for corp, c := range pending {
		o.Finished(ctx, corp, c)
	}
	for _, a := range o.Accounts().All() {
		n, known := a.Counted()
		if !known || n.Source != account.ByHand || n.AsOf.IsZero() || n.AsOf.After(now) || !o.State(a.CorpID).AsOf.Before(n.AsOf.Truncate(time.Millisecond)) {
			continue
		}
		if !o.put(ctx, a.CorpID, Count{Count: n}) {
			return // the next call tries again
		}
		o.reread(ctx, a.CorpID)
	}
}

// State returns what was stored of an account when it was read last; the zero State if nothing.
func (o *Observer) State(corp string) State {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.states[corp]
}

// States returns State of all accounts, and when they were read; zero: not yet.
func (o *Observer) States() (all map[string]State, asOf time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.states), o.read
}

package proxy

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/calls"
	"replygate/gate"
	"replygate/http1"
	"replygate/wecom"
	"replygate/window"
)

// Observer looks at the replies that WeCom took, to tell which customers wait for an answer. It
// does so after a call is answered: no call waits for it. Run must run.
type Observer struct {
	gw      *Gateway
	queue   chan *observation
	full    chan struct{} // the queue has a batch
	dropped atomic.Int64

	mu   sync.Mutex
	lost map[string]lostReply // by token
	all  time.Time            // replies of any account may be lost until then; zero: none
}

const (
	observedBody   = 8 << 10 // of a body
	observedHead   = 4 << 10 // a body after a longer head is not looked at for its form
	observedAnswer = 2 << 10 // a longer answer is none of a reply
	observedQueue  = 4096
	observedBatch  = 64                    // as much as Redis records without delaying others for a millisecond
	observedAtOnce = 4                     // batches on their way to Redis
	observeDelay   = 10 * time.Millisecond // replies collect this long, so that one exchange with Redis serves them all
	observeRetry   = 200 * time.Millisecond
	observeStop    = 2 * time.Second // for what is left at shutdown
	maxLost        = 1000
	markEvery      = 10 * time.Second
)

// lostReply is a reply that was not looked at.
type lostReply struct {
	claims
	at time.Time
}

// claims are what the head of a call says about its corp.
type claims struct {
	corp               string // if it is known already
	tokens             []string
	pathCorp, hostCorp string
}

// observation is a reply with WeCom's answer. Its texts are copies.
type observation struct {
	claims
	path     string
	query    []byte
	body     []byte // the beginning
	head     []byte // the lines of the header; nil: the body is not whole, or nobody asks for its form
	answer   []byte
	encoding string // of the answer
	at       time.Time
	judged   window.Key // the window that a judgement found the reply to be for; zero: query and body have to be read
	call     calls.Call // as it was counted, but for its corp; zero: a judgement told its window
	space    []byte     // that the texts are in
}

var observations = sync.Pool{New: func() any { return new(observation) }}

// NewObserver returns the observer of a gateway, which must not serve yet.
func NewObserver(g *Gateway) *Observer {
	return &Observer{gw: g, queue: make(chan *observation, observedQueue), full: make(chan struct{}, 1), lost: map[string]lostReply{}}
}

// Dropped returns how many replies were not looked at, since too many came at once.
func (o *Observer) Dropped() int64 { return o.dropped.Load() }

// answersCustomer reports whether the call answers a customer, or may do so by one reading of its
// path, and somebody looks at that.
func (x *apiRequest) answersCustomer() bool {
	return x.gw.Observer != nil && wecom.AnswersCustomer(x.head.Route) != "" && (x.decision != nil || x.gate.ObservesAll())
}

// observe hands a reply that was answered to the observer. It copies and looks at nothing.
func (x *apiRequest) observe() {
	if !x.answersCustomer() || x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	if x.rc.Response.IsBodyStream() || len(x.rc.Response.Body()) > observedAnswer {
		return // no reply has such an answer
	}
	body, whole := x.out.Body, len(x.out.Body) <= observedBody
	if streamed := x.upload(); streamed != nil {
		body, whole = streamed.kept, streamed.read <= observedBody && streamed.whole() != nil
	}
	o := observations.Get().(*observation)
	o.fill(x, body[:min(len(body), observedBody)], whole)
	select {
	case x.gw.Observer.queue <- o:
		x.gw.Observer.tellFull()
	default:
		x.gw.Observer.drop(o)
	}
}

// tellFull wakes the one that collects a batch, if there is one.
func (o *Observer) tellFull() {
	if len(o.queue) < observedBatch {
		return
	}
	select {
	case o.full <- struct{}{}:
	default:
	}
}

// fill copies what is needed of a call. whole tells that the body is no more than that.
func (o *observation) fill(x *apiRequest, body []byte, whole bool) {
	counted := x.gw.Calls != nil && x.decision == nil && !x.head.Route.Ambiguous()
	query, answer, head := x.query, x.rc.Response.Body(), x.rc.Request.Header.RawHeaders()
	judged := x.judgedKey()
	if judged.Customer != "" { // all is known but WeCom's answer
		query, body = nil, nil
	}
	if !counted || !whole || len(head) > observedHead {
		head = nil
	}
	space := append(append(append(append(o.space[:0], query...), body...), answer...), head...)
	n, m, end := len(query), len(query)+len(body), len(query)+len(body)+len(answer)
	*o = observation{
		path: wecom.AnswersCustomer(x.head.Route), at: x.gw.Now(), encoding: string(x.rc.Response.Header.ContentEncoding()), judged: judged,
		query: space[:n], body: space[n:m], answer: space[m:end], head: space[end:], space: space,
	}
	if counted {
		o.call = calls.Call{Path: x.head.Route.Endpoint.Path, Client: x.countedClient()}
	}
	if x.by != gate.ByNone {
		o.corp = x.corp
		return
	}
	if len(x.prefix) > 0 {
		if a := x.gate.Accounts.Find(string(x.prefix)); a != nil {
			o.pathCorp = a.CorpID
		}
	}
	if a := x.gate.Accounts.OfHost(x.rc.Request.Header.Host()); a != nil {
		o.hostCorp = a.CorpID
	}
}

// judgedKey returns the window that a judgement found a reply to be for, if it names all of it.
func (x *apiRequest) judgedKey() (k window.Key) {
	if len(x.judged.Keys) == 1 && x.by != gate.ByNone && x.judged.Keys[0].Channel != "" {
		return x.judged.Keys[0]
	}
	return k
}

// drop notes a reply for which the queue has no room.
func (o *Observer) drop(one *observation) {
	o.dropped.Add(1)
	c, at := one.claims, one.at
	c.tokens = wecom.ReadTokens(nil, one.query)
	observations.Put(one)
	o.lose(lostReply{c, at})
}

// lose keeps lost replies until their accounts are marked, of those with one token the newest.
func (o *Observer) lose(all ...lostReply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range all {
		key := one.corp
		if key == "" && len(one.tokens) > 0 {
			key = " " + one.tokens[0]
		}
		before, known := o.lost[key]
		switch {
		case !known && len(o.lost) >= maxLost:
			o.all = later(o.all, one.at)
		case !known || before.at.Before(one.at):
			o.lost[key] = one
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Run looks at replies until ctx ends, and then at those that are left.
func (o *Observer) Run(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	var recording sync.WaitGroup
	room := make(chan struct{}, observedAtOnce)
	for {
		select {
		case <-ctx.Done():
			recording.Wait()
			o.finish()
			return
		case <-tick.C:
			o.markUnobserved()
		case one := <-o.queue:
			o.collect(ctx)
			batch := o.batch(one)
			room <- struct{}{}
			recording.Go(func() {
				o.record(ctx, batch)
				<-room
			})
		}
		o.markLost(ctx, false)
	}
}

// collect lets more replies come, until there is a batch of them.
func (o *Observer) collect(ctx context.Context) {
	select { // of an earlier batch
	case <-o.full:
	default:
	}
	if len(o.queue) >= observedBatch-1 {
		return
	}
	select {
	case <-time.After(observeDelay):
	case <-o.full:
	case <-ctx.Done():
	}
}

// batch returns a reply with those that came since.
func (o *Observer) batch(first *observation) []*observation {
	all := []*observation{first}
	for len(all) < observedBatch {
		select {
		case one := <-o.queue:
			all = append(all, one)
		default:
			return all
		}
	}
	return all
}

// record records replies. It tries again until Redis has them, or ctx ends.
func (o *Observer) record(ctx context.Context, batch []*observation) {
	defer func(all []*observation) {
		for _, one := range all {
			observations.Put(one)
		}
	}(batch)
	begun := context.WithoutCancel(ctx) // what is begun is finished; each step has its own deadline
	for {
		replies, uncounted, left := o.read(begun, batch)
		open, err := o.gw.Windows.RecordReplies(begun, replies)
		if err != nil {
			o.gw.Log.Warn("replies are not recorded yet, so their customers are listed as waiting", zap.Error(err))
			left = batch
		} else {
			o.count(begun, uncounted, open)
		}
		if len(left) == 0 {
			break
		}
		batch = left
		select {
		case <-ctx.Done():
			o.spill(batch)
			return
		case <-time.After(observeRetry):
		}
	}
}

// spill keeps in the journal what Redis does not take while the gateway stops.
func (o *Observer) spill(batch []*observation) {
	ctx, cancel := context.WithTimeout(context.Background(), observeStop/4)
	defer cancel()
	replies, _, _ := o.read(ctx, batch)
	if err := o.gw.Windows.SpillReplies(replies); err != nil {
		o.gw.Log.Warn("replies are lost: the journal did not take them", zap.Error(err))
	}
}

// finish looks at what is left.
func (o *Observer) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), observeStop)
	defer cancel()
	for {
		select {
		case one := <-o.queue:
			o.record(ctx, o.batch(one))
		default:
			o.markLost(ctx, true)
			return
		}
	}
}

// uncounted is a reply of which a rehearsal does not know yet what would become of it.
type uncounted struct {
	key       window.Key
	call      calls.Call
	at        time.Time
	ambiguous bool // its body would be refused, whatever its window
}

// count counts for rehearsals which replies of accounts that are not judged have an ambiguous body,
// and which had an open window. It asks for those that are not among the open ones. What cannot be
// told at once stays unobserved there.
func (o *Observer) count(ctx context.Context, all []uncounted, open map[window.Key]bool) {
	all = slices.DeleteFunc(all, func(one uncounted) bool {
		switch {
		case one.ambiguous:
			o.gw.Calls.Note(one.at, one.call, calls.Ambiguous)
		case open[one.key]:
			o.gw.Calls.Note(one.at, one.call, calls.Inside)
		default:
			return false
		}
		return true
	})
	if len(all) == 0 {
		return
	}
	keys := make([]window.Key, len(all))
	for i, one := range all {
		keys[i] = one.key
	}
	for i, a := range o.gw.Windows.Peek(ctx, keys...) {
		switch a.State {
		case window.Open, window.Cached, window.Exhausted:
			o.gw.Calls.Note(all[i].at, all[i].call, calls.Inside)
		case window.Closed, window.ClosedByPlatform:
			o.gw.Calls.Note(all[i].at, all[i].call, calls.Outside)
		}
	}
}

// recipient returns whom a reply is for, if it is named, and whether the body would be refused if
// the call were judged. A body that a judgement would accept is read once.
func (o *observation) recipient() (channel, customer string, named, ambiguous bool) {
	if o.judged.Customer != "" {
		return o.judged.Channel, o.judged.Customer, true, false
	}
	if len(o.head) > 0 {
		types, encodings := http1.ContentHeaders(o.head)
		facts, err := gate.ReadFacts(wecom.Lookup(o.path), o.query, types, encodings, o.body)
		if err == nil && facts.Channel != "" && len(facts.Customers) == 1 {
			return facts.Channel, facts.Customers[0], true, false
		}
		ambiguous = err != nil
	}
	channel, customer, named = wecom.ReadRecipient(o.path, o.body)
	return channel, customer, named, ambiguous
}

// read returns the replies that WeCom took, those of them that are to be counted, and those whose
// corp Redis could not be asked for.
func (o *Observer) read(ctx context.Context, batch []*observation) (replies []window.Reply, toCount []uncounted, left []*observation) {
	for _, one := range batch {
		reply, count, away := o.readOne(ctx, one)
		if away {
			left = append(left, one)
		}
		if reply != nil {
			replies = append(replies, *reply)
		}
		if count != nil {
			toCount = append(toCount, *count)
		}
	}
	return replies, toCount, left
}

// readOne is read for one reply. A panic ends its observation alone.
func (o *Observer) readOne(ctx context.Context, one *observation) (reply *window.Reply, count *uncounted, away bool) {
	defer func() {
		if p := recover(); p != nil {
			o.gw.Log.Panicked("BUG: the observation of a reply panicked", p)
			o.untold(one.corp, window.AllChannels, one.at, window.UntoldUnread)
		}
	}()
	id, taken := wecom.ReadMessageID(one.plainAnswer())
	if !taken {
		return nil, nil, false
	}
	channel, customer, named, bad := one.recipient()
	if one.corp == "" && len(one.tokens) == 0 {
		one.tokens = wecom.ReadTokens(nil, one.query)
	}
	corp, away := o.corpOf(ctx, one.claims, channel)
	if away {
		return nil, nil, true
	}
	k := window.Key{Corp: corp, Channel: channel, Customer: customer}
	if corp != "" && one.call.Path != "" && (bad || named) {
		one.call.Corp = corp
		count = &uncounted{k, one.call, one.at, bad}
	}
	switch {
	case named && corp != "":
		reply = &window.Reply{Key: k, Kind: window.ByBot, At: one.at, ID: id}
	case !named:
		o.untold(corp, cmp.Or(channel, window.AllChannels), one.at, window.UntoldUnread)
	}
	return reply, count, false
}

// plainAnswer is the answer without its encoding, nil if that is not known.
func (o *observation) plainAnswer() []byte {
	if o.encoding == "" {
		return o.answer
	}
	return readSmall(inflated(bytes.NewReader(o.answer), o.encoding))
}

// corpOf returns the account that a call belongs to, "" if it is none. away means that Redis could
// not be asked.
func (o *Observer) corpOf(ctx context.Context, c claims, channel string) (corp string, away bool) {
	if c.corp == "" {
		x := apiRequest{request: request{gw: o.gw, ctx: ctx}}
		x.use(o.gw.Current())
		x.tokens, x.pathCorp, x.hostCorp = c.tokens, c.pathCorp, c.hostCorp
		var later *window.Unattributed
		if c.corp, later = x.corpOfClaims([]string{channel}); later != nil {
			return "", true
		}
	}
	if o.gw.Current().Gate.Accounts.Find(c.corp) == nil {
		return "", false
	}
	return c.corp, false
}

// untold marks a channel of a corp, or all accounts if the corp is not known.
func (o *Observer) untold(corp, channel string, at time.Time, why string) {
	if corp != "" {
		o.gw.Windows.MarkUntold(corp, channel, at, why)
		return
	}
	for _, corp := range o.gw.Current().Gate.Accounts.CorpIDs() {
		o.gw.Windows.MarkUntold(corp, window.AllChannels, at, why)
	}
}

// markLost marks the accounts of replies that were dropped. A reply whose account Redis cannot be
// asked for is kept, unless this is the last time: then it may be any account's.
func (o *Observer) markLost(ctx context.Context, last bool) {
	defer o.gw.Log.Recover("BUG: the marking of dropped replies panicked")
	o.mu.Lock()
	lost, all := o.lost, o.all
	if len(lost) == 0 && all.IsZero() {
		o.mu.Unlock()
		return
	}
	o.lost, o.all = map[string]lostReply{}, time.Time{}
	o.mu.Unlock()
	if !all.IsZero() {
		o.untold("", "", all, window.UntoldDropped)
	}
	var kept []lostReply
	for _, one := range lost {
		if len(kept) > 0 && one.corp == "" { // Redis was away a moment ago
			kept = append(kept, one)
			continue
		}
		corp, away := o.corpOf(ctx, one.claims, "")
		if away && !last {
			kept = append(kept, one)
			continue
		}
		o.untold(corp, window.AllChannels, one.at, window.UntoldDropped)
	}
	o.lose(kept...)
}

// markUnobserved marks the accounts whose replies nobody looks at.
func (o *Observer) markUnobserved() {
	g := &o.gw.Current().Gate
	if g.ObservesAll() {
		return
	}
	now := o.gw.Now()
	for _, corp := range o.gw.Windows.WaitingCorps() {
		if !g.Observes(corp, now) {
			o.gw.Windows.MarkUntold(corp, window.AllChannels, now, window.UntoldNotObserved)
		}
	}
}

// repliesOf gives the replies of a page their corp.
func repliesOf(corp string, replies []wecom.Reply) (all []window.Reply) {
	for _, r := range replies {
		if r.Customer == "" {
			continue
		}
		kind := window.ByServicer
		if r.Back {
			kind = window.TakenBack
		}
		all = append(all, window.Reply{Key: window.Key{Corp: corp, Channel: r.Channel, Customer: r.Customer}, Kind: kind, At: r.At, ID: r.ID})
	}
	return all
}

// unreadReplies marks the channels of replies of a page that do not tell whom they answer.
func (x *apiRequest) unreadReplies(replies []wecom.Reply) {
	for _, r := range replies {
		if r.Customer != "" {
			continue
		}
		at := r.At
		if at.IsZero() {
			at = x.at
		}
		x.gw.Windows.MarkUntold(x.corp, cmp.Or(r.Channel, window.AllChannels), at, window.UntoldUnread)
	}
}

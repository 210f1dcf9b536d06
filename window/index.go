package window

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The list of the waiting chats of a corp, rg:waiting:{CORP}, is a hint: it is written after the
// windows, without waiting for it. Readers must check the windows themselves (waiting.go), and a
// slow walk restores what it lacks (walk.go).

// index holds the changes of the lists that are not in Redis yet.
type index struct {
	wake     chan struct{} // something is pending
	flushing sync.Mutex    // held while changes are written

	mu sync.Mutex
	indexChanges
	replied map[channelOf]int64 // when a reply on the channel was last written, unix ms
}

// indexChanges are what is to be written to the lists and the marks.
type indexChanges struct {
	chats    map[Key]chat
	messages map[channelOf]int   // new messages
	replies  map[channelOf]int64 // the newest reply of any kind, unix ms
	untold   map[channelOf]untoldMark
	lost     bool // chats were dropped: the lists must be walked
}

// chat is what a write has found out about a window.
type chat struct {
	last    int64
	waiting bool
}

type channelOf struct{ corp, channel string }

const (
	maxPending   = 100_000 // chats, and channels
	allChannels  = "*"     // the field of a mark that concerns all channels; no encoded id has it
	replyNoted   = 10 * time.Minute
	waitingCorps = "waiting-corps"
)

func (s *Store) waitingKey(corp string) string {
	return s.Prefix + "waiting:{" + string(appendEncoded(nil, corp)) + "}"
}

func (s *Store) recentKey(corp string) string {
	return s.Prefix + "recent:{" + string(appendEncoded(nil, corp)) + "}"
}

// member is the member of a window in the lists of its corp.
func (k Key) member() string {
	return string(appendEncoded(append(appendEncoded(nil, k.Channel), ':'), k.Customer))
}

// parseMember is the inverse of member.
func parseMember(corp, member string) (Key, bool) {
	channel, customer, _ := strings.Cut(member, ":")
	k, ok := parseIDs([]string{"", channel, customer})
	k.Corp = corp
	return k, ok
}

// note takes from the answers of the scripts which chats wait now.
func (x *index) note(all []write, now time.Time) {
	var changed bool
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range all {
		w := &all[i]
		if w.script == recordScript {
			changed = x.recorded(w) || changed
		}
		for n, r := range w.recorded() {
			a := w.replies[n]
			of := channelOf{a.of.Corp, a.of.Channel}
			changed = x.reply(of, a.entries, now) || changed
			switch {
			case !r.found:
				x.missing(of, a.entries)
			case r.changed:
				x.chat(a.of, chat{r.last, r.waiting})
				changed = true
			}
		}
	}
	if changed {
		signal(x.wake)
	}
}

// recorded notes a message, and reports whether it is a new one.
func (x *index) recorded(w *write) bool {
	state, _ := w.cmd.(*redis.Cmd).Int64()
	if state == 0 {
		return false
	}
	k := w.of
	last, _ := strconv.ParseInt(w.args[0].(string), 10, 64)
	x.chat(k, chat{last, state == 1})
	x.message(channelOf{k.Corp, k.Channel})
	return true
}

// chat adds a chat. The caller must hold the lock, as for the functions below.
func (x *index) chat(k Key, c chat) {
	if old, found := x.chats[k]; found && old.last > c.last {
		return
	} else if !found && len(x.chats) >= maxPending {
		x.lost = true
		return
	}
	put(&x.chats, k, c)
}

func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

func (x *index) message(of channelOf) {
	if len(x.messages) < maxPending {
		put(&x.messages, of, x.messages[of]+1)
	}
}

// reply notes that replies on a channel are seen, every ten minutes.
func (x *index) reply(of channelOf, entries string, now time.Time) (noted bool) {
	at := now.UnixMilli()
	known := x.replied[of]
	if entries[0] == byte(TakenBack) || at-known < replyNoted.Milliseconds() || known == 0 && len(x.replied) >= maxPending {
		return false
	}
	put(&x.replied, of, at)
	put(&x.replies, of, at)
	return true
}

// missing notes a bot's reply to a customer without a window: WeCom took it, so the customer wrote,
// and the gateway has not seen it.
func (x *index) missing(of channelOf, entries string) {
	for entry := range strings.FieldsSeq(entries) {
		if entry[0] == byte(ByBot) {
			at, _ := strconv.ParseInt(entry[1:1+timeDigits], 10, 64)
			x.mark(of, untoldMark{at, UntoldBypassed})
		}
	}
}

func (x *index) mark(of channelOf, m untoldMark) {
	if m.at <= x.untold[of].at || len(x.untold) >= maxPending && x.untold[of].at == 0 {
		return
	}
	put(&x.untold, of, m)
	signal(x.wake)
}

// take removes and returns what is pending.
func (x *index) take() indexChanges {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.indexChanges
	x.indexChanges = indexChanges{}
	return c
}

// restore puts changes back that could not be written.
func (x *index) restore(c indexChanges) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for k, one := range c.chats {
		if _, newer := x.chats[k]; !newer {
			x.chat(k, one)
		}
	}
	for of, n := range c.messages {
		if len(x.messages) < maxPending {
			put(&x.messages, of, x.messages[of]+n)
		}
	}
	for of, at := range c.replies {
		put(&x.replies, of, max(at, x.replies[of]))
	}
	for of, m := range c.untold {
		x.mark(of, m)
	}
	x.lost = x.lost || c.lost
}

// flushTogether is how many changes are written at once, so that a slow link takes them within the
// timeout of a command.
const flushTogether = 500

// divide divides changes into parts of so many.
func (c indexChanges) divide(size int) []indexChanges {
	all, n := []indexChanges{{lost: c.lost}}, 0
	part := func() *indexChanges {
		if n++; n > size {
			all, n = append(all, indexChanges{}), 1
		}
		return &all[len(all)-1]
	}
	for k, one := range c.chats {
		put(&part().chats, k, one)
	}
	for of, n := range c.messages {
		put(&part().messages, of, n)
	}
	for of, at := range c.replies {
		put(&part().replies, of, at)
	}
	for of, m := range c.untold {
		put(&part().untold, of, m)
	}
	return all
}

// flush writes what is pending to Redis. What fails is written again, which is harmless but for the
// counts of messages, which need not be exact.
func (s *Store) flush(ctx context.Context) (err error) {
	s.index.flushing.Lock() // what another goroutine took is written then
	defer s.index.flushing.Unlock()
	c := s.index.take()
	if len(c.chats)+len(c.messages)+len(c.replies)+len(c.untold) == 0 && !c.lost {
		return nil
	}
	for _, part := range c.divide(flushTogether) {
		err = errors.Join(err, s.flushPart(ctx, part))
	}
	s.sums.expect(c)
	return err
}

// flushPart writes changes, and puts those back that fail: a node of a Cluster that is away does
// not keep the others from theirs.
func (s *Store) flushPart(ctx context.Context, c indexChanges) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.Timeout+flushTogether*time.Millisecond)
	defer cancel()
	answered, left, err := s.writeLists(ctx, c)
	if failure := s.unlist(ctx, answered); failure != nil {
		for _, k := range answered {
			put(&left.chats, k, c.chats[k])
		}
		err = errors.Join(err, failure)
	}
	if failure := s.writeMarks(ctx, c.untold); failure != nil {
		left.untold, err = c.untold, errors.Join(err, failure)
	}
	s.index.restore(left)
	return err
}

// writeLists adds waiting chats to the lists, and returns the others. left are the changes that
// failed.
func (s *Store) writeLists(ctx context.Context, c indexChanges) (answered []Key, left indexChanges, err error) {
	p := s.rdb.Pipeline()
	sent := map[string][]redis.Cmder{} // :: corp -> its commands
	queue := func(corp string, cmds ...redis.Cmder) { sent[corp] = append(sent[corp], cmds...) }
	waiting, recent := map[string][]redis.Z{}, map[string][]redis.Z{}
	for k, one := range c.chats {
		z := redis.Z{Score: float64(one.last), Member: k.member()}
		if one.waiting {
			waiting[k.Corp] = append(waiting[k.Corp], z)
		}
		if s.IndexAll {
			recent[k.Corp] = append(recent[k.Corp], z)
		}
	}
	for corp, all := range waiting {
		queue(corp, p.ZAddGT(ctx, s.waitingKey(corp), all...), p.SAdd(ctx, s.Prefix+waitingCorps, corp))
	}
	for corp, all := range recent {
		queue(corp, p.ZAddGT(ctx, s.recentKey(corp), all...), p.SAdd(ctx, s.Prefix+waitingCorps, corp))
	}
	s.writeChannels(ctx, p, c, queue)
	var walk redis.Cmder
	if c.lost {
		walk = p.Set(ctx, s.walkKey(), s.Now().UnixMilli(), s.Length)
	}
	if p.Len() > 0 {
		_, err = p.Exec(ctx)
	}
	ok := func(corp string) bool { return !slices.ContainsFunc(sent[corp], failed) }
	for k, one := range c.chats {
		if !one.waiting && ok(k.Corp) {
			answered = append(answered, k)
		}
	}
	if err != nil {
		left = c.without(ok)
		left.lost = c.lost && failed(walk)
	}
	return answered, left, err
}

// without returns the changes of the lists of corps that done is not true of.
func (c indexChanges) without(done func(corp string) bool) (left indexChanges) {
	for k, one := range c.chats {
		if !done(k.Corp) {
			put(&left.chats, k, one)
		}
	}
	for of, n := range c.messages {
		if !done(of.corp) {
			put(&left.messages, of, n)
		}
	}
	for of, at := range c.replies {
		if !done(of.corp) {
			put(&left.replies, of, at)
		}
	}
	return left
}

// unlist removes chats from the list of the waiting ones. A customer may write at the same moment,
// so it looks at the windows afterwards and puts those back that wait again.
func (s *Store) unlist(ctx context.Context, chats []Key) error {
	if len(chats) == 0 {
		return nil
	}
	byCorp := map[string][]any{}
	for _, k := range chats {
		byCorp[k.Corp] = append(byCorp[k.Corp], k.member())
	}
	p := s.rdb.Pipeline()
	removed := make([]*redis.IntCmd, 0, len(byCorp))
	for corp, members := range byCorp {
		removed = append(removed, p.ZRem(ctx, s.waitingKey(corp), members...))
	}
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	some := false
	for _, n := range removed {
		some = some || n.Val() > 0
	}
	if !some {
		return nil
	}
	entries, err := s.readWindows(ctx, chats)
	if err != nil {
		return err
	}
	p = s.rdb.Pipeline()
	for _, e := range entries {
		if e.waits(false) {
			p.ZAddGT(ctx, s.waitingKey(e.Key.Corp), redis.Z{Score: float64(e.Window.Last), Member: e.Key.member()})
		}
	}
	if p.Len() == 0 {
		return nil
	}
	_, err = p.Exec(ctx)
	return err
}

// waits reports whether a chat waits for an answer in an open window.
func (e Entry) waits(byServicer bool) bool {
	return !e.Broken && (e.State == Open || e.State == Exhausted) && e.Window.Waiting(byServicer)
}

// runFlush writes the lists until ctx ends, and then what is left.
func (s *Store) runFlush(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*s.Timeout)
			defer cancel()
			_ = s.flush(last) // the next leader walks the windows
			return
		case <-s.index.wake:
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("the list of waiting chats is not in redis yet", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				signal(s.index.wake)
			}
		}
	}
}

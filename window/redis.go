package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// ahead is how far the platform's clock may be ahead of ours before a fact is not believed.
const ahead = 5 * time.Minute

// Settings are what the reply window is.
type Settings struct {
	Prefix  string
	Length  time.Duration
	Replies int // per customer message; 0: not counted
	Timeout time.Duration
	Now     func() time.Time

	Together bool            // replies of the same moment ask together
	Journal  *store.Journal  // for what Redis does not take; nil where the store keeps one itself
	Gateway  string          // names this gateway among those on the same Redis, with Journal
	Doubtful func() bool     // Redis was away within the last seconds; nil: never
	Renewed  <-chan struct{} // Redis has another master, or is back
	Log      *zap.Logger     // nil: nothing is said
}

// Store keeps windows in Redis, in the layout of docs/redis.md.
type Store struct {
	rdb redis.UniversalClient
	Settings
	memory  *memory
	recent  recentFacts
	witness witness
	peers   peers
	kick    chan struct{} // the journal has something
	gap     atomic.Bool   // facts were lost and rg:since does not say so yet

	ofWindows, ofSince complaints

	lastSince atomic.Pointer[sinceRead]
	deadlines deadlines
	asks      asker
}

// NewStore keeps windows in rdb.
func NewStore(rdb redis.UniversalClient, s Settings) *Store {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	kept := &Store{rdb: rdb, Settings: s, memory: newMemory(), kick: make(chan struct{}, 1), deadlines: deadlines{timeout: s.Timeout}}
	kept.asks = kept.newAsker()
	kept.recent.dropped = s.Now() // what a gateway before this one recorded
	kept.witness = newWitness(rdb, s.Prefix, s.Gateway)
	return kept
}

// Fact is that a customer wrote.
type Fact struct {
	Key Key
	At  time.Time // by the platform's clock
}

// Tally is what became of facts.
type Tally struct {
	Recorded int // in Redis now, or in the journal, whether or not they moved a window
	Expired  int // too old to open one
	Ahead    int // too far ahead of our clock to be believed
}

// Answer is what a window says about one reply.
type Answer struct {
	State State
	Last  time.Time // of the customer's last message; zero if unknown
	Left  int       // replies left after this one; -1 if unknown or not counted
	stamp int64     // of the reservation, 0: none
}

// Closes is when the window closes by itself; zero if there is none on record.
func (a Answer) Closes(length time.Duration) time.Time {
	if a.Last.IsZero() {
		return time.Time{}
	}
	return a.Last.Add(length)
}

// Reserved tells whether a reply is counted that Settle must confirm or take back.
func (a Answer) Reserved() bool { return a.stamp != 0 }

// The scripts do what the functions of window.go do. KEYS[1] is the window's key.
//
// They do nothing to a key that holds no window. count leaves in n how many replies count from the time `from` on, and in kept those, in order.
const luaCount = `
local function count(sent, from)
  local kept, n = {}, 0
  for t in string.gmatch(sent or '', '%d+') do
    if tonumber(t) >= from then n = n + 1; kept[n] = t end
  end
  return kept, n
end
local function has(kept, stamp)
  for _, t in ipairs(kept) do if t == stamp then return true end end
  return false
end
local function write(kept)
  if #kept == 0 then redis.call('HDEL', KEYS[1], 'sent') return end
  table.sort(kept)
  redis.call('HSET', KEYS[1], 'sent', table.concat(kept, ','))
end
local function text(n) return string.format('%.0f', n) end
local function fill(kept, stamp, replies)
  local n = 0
  for _, t in ipairs(kept) do if tonumber(t) >= stamp then n = n + 1 end end
  while n < replies do
    while has(kept, text(stamp)) do stamp = stamp + 1 end
    n = n + 1
    kept[#kept + 1] = text(stamp)
  end
  write(kept)
end
local h = redis.pcall('HMGET', KEYS[1], 'last', 'sent', 'shut')
if h.err then
  if string.find(h.err, 'WRONGTYPE', 1, true) then return 0 end
  return h
end
local last, sent, shut = tonumber(h[1] or nil), h[2] or '', tonumber(h[3] or nil)
local from = last and (last - last % 1000 + 1000)
`

var (
	// record: ARGV at, at + length. What is no window gives way. Makes no functions either.
	recordScript = redis.NewScript(`
local at = tonumber(ARGV[1])
local h = redis.pcall('HMGET', KEYS[1], 'last', 'sent')
if h.err then
  if not string.find(h.err, 'WRONGTYPE', 1, true) then return h end
  redis.call('DEL', KEYS[1])
  h = {}
end
local last = tonumber(h[1] or nil)
if last and last >= at then return 0 end
redis.call('HSET', KEYS[1], 'last', ARGV[1])
if h[2] then
  local kept, n, from = {}, 0, at - at % 1000 + 1000
  for t in string.gmatch(h[2], '%d+') do
    if tonumber(t) >= from then n = n + 1; kept[n] = t end
  end
  if n == 0 then redis.call('HDEL', KEYS[1], 'sent') else redis.call('HSET', KEYS[1], 'sent', table.concat(kept, ',')) end
end
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1`)

	// reserve: KEYS windows, ARGV now, length, replies. Returns state, last, stamp, left of each; the state of a key
	// that holds no window is -2: it must not spoil the others. It is by far the most frequent, so it makes no functions, and does not take a list of
	// replies apart that all count, have 13 digits, and are before this one.
	reserveScript = redis.NewScript(`
local now, length, replies = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local out = {}
for i = 1, #KEYS do
  local h = redis.pcall('HMGET', KEYS[i], 'last', 'sent', 'shut')
  local state, last, stamp, left = -1, 0, 0, 0
  if h.err or h[1] and not tonumber(h[1]) then
    state = -2
  elseif h[1] then
    last = tonumber(h[1])
    if now - last >= length then
      state = 0
    elseif h[3] and (tonumber(h[3]) or 0) >= last then
      state = 1
    else
      local from, at, text, sent, n = last - last % 1000 + 1000, now, ARGV[1], h[2], 0
      if at < from then at, text = from, string.format('%.0f', from) end
      if not sent then
        sent = text
      elseif #sent % 14 == 13 and (tonumber(string.sub(sent, 1, 13)) or 0) >= from and (tonumber(string.sub(sent, -13)) or at) < at then
        n = (#sent + 1) / 14
        sent = sent .. ',' .. text
      else
        local kept, taken = {}, {}
        for t in string.gmatch(sent, '%d+') do
          if tonumber(t) >= from then n = n + 1; kept[n] = t; taken[t] = true end
        end
        while taken[text] do at = at + 1; text = string.format('%.0f', at) end
        kept[n + 1] = text
        table.sort(kept)
        sent = table.concat(kept, ',')
      end
      if n >= replies then
        state = 2
      else
        redis.call('HSET', KEYS[i], 'sent', sent)
        state, stamp, left = 3, at, replies - n - 1
      end
    end
  end
  local o = 4 * i
  out[o - 3], out[o - 2], out[o - 1], out[o] = state, last, stamp, left
end
return out`)

	// release: ARGV stamp.
	releaseScript = redis.NewScript(luaCount + `
if not last then return 0 end
local kept, out = count(sent, 0), {}
for _, t in ipairs(kept) do if t ~= ARGV[1] then out[#out + 1] = t end end
write(out)
return 1`)

	// use up: ARGV last, stamp, replies.
	useUpScript = redis.NewScript(luaCount + `
if last ~= tonumber(ARGV[1]) then return 0 end
fill(count(sent, from), math.max(tonumber(ARGV[2]), from), tonumber(ARGV[3]))
return 1`)

	// correct: ARGV the latest last that the word is about, replies (0: shut instead).
	correctScript = redis.NewScript(luaCount + `
if not last or last > tonumber(ARGV[1]) then return 0 end
local replies = tonumber(ARGV[2])
if replies == 0 then
  if shut and shut >= last then return 0 end
  redis.call('HSET', KEYS[1], 'shut', text(last))
  return 1
end
fill(count(sent, from), from, replies)
return 1`)
	// close: ARGV last.
	closeScript = redis.NewScript(luaCount + `
if not last or (shut and shut >= tonumber(ARGV[1])) then return 0 end
redis.call('HSET', KEYS[1], 'shut', ARGV[1])
return 1`)
)

// Record notes that customers wrote, in any order and any number of times: in Redis, or if that does not
// take it, in the journal. If it fails some facts may be recorded and some not; recording all of them again
// is right.
func (s *Store) Record(ctx context.Context, facts []Fact) (Tally, error) {
	var t Tally
	now := s.Now()
	latest := make(map[Key]int64, len(facts))
	for _, f := range facts {
		switch at := f.At.UnixMilli(); {
		case f.At.After(now.Add(ahead)):
			t.Ahead++
		case !now.Before(f.At.Add(s.Length)):
			t.Expired++
		default:
			t.Recorded++
			latest[f.Key] = max(latest[f.Key], at)
		}
	}
	if len(latest) == 0 {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(latest))*time.Millisecond)
	defer cancel()
	if err := s.recordStubbornly(ctx, latest); err != nil {
		if err := s.keepForLater(latest, nil, err); err != nil {
			return Tally{}, fmt.Errorf("window: record: %w", err)
		}
		return t, nil
	}
	if s.Journal != nil {
		s.recent.note(now, latest, nil)
	}
	return t, nil
}

// recordStubbornly is record, and once more if a connection broke: recording twice is right, and a fact in the
// journal is unknown to other gateways for a moment. A Redis that is away is not asked again.
func (s *Store) recordStubbornly(ctx context.Context, latest map[Key]int64) error {
	err := s.record(ctx, latest)
	for range 4 {
		if err == nil || errors.Is(err, store.ErrAway) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		err = s.record(ctx, latest)
	}
	return err
}

// record sends the facts in one pipeline, and once more if Redis did not know the script yet.
func (s *Store) record(ctx context.Context, latest map[Key]int64) error {
	send := func(run func(p redis.Pipeliner, key, at, expires string)) error {
		p := s.rdb.Pipeline()
		for k, at := range latest {
			run(p, k.spell(s.Prefix), strconv.FormatInt(at, 10), strconv.FormatInt(at+s.Length.Milliseconds(), 10))
		}
		_, err := p.Exec(ctx)
		return err
	}
	err := send(func(p redis.Pipeliner, key, at, expires string) {
		recordScript.EvalSha(ctx, p, []string{key}, at, expires)
	})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = send(func(p redis.Pipeliner, key, at, expires string) {
			recordScript.Eval(ctx, p, []string{key}, at, expires)
		})
	}
	return err
}

// Reserve asks for the window and counts one reply in it, in one step. It never fails: an answer that
// Redis does not give is a State. A reservation must be given to Settle.
func (s *Store) Reserve(ctx context.Context, k Key) Answer {
	now := s.Now().UnixMilli()
	var space [192]byte
	spelt := k.append(space[:0], s.Prefix)
	if s.Replies == 0 {
		if last, fresh := s.memory.open(spelt, now, s.Length); fresh {
			return Answer{State: Open, Last: time.UnixMilli(last), Left: -1}
		}
	}
	key := string(spelt)
	ctx, cancel := s.deadlines.within(ctx)
	defer cancel()
	said, err := s.asks.Do(ctx, key)
	if err = errors.Join(err, said.err); err != nil {
		s.complain(k, err, now)
		return s.remembered(key, now)
	}
	a := said.Answer
	if a.State == Closed { // nothing, or nothing that is not over: Redis has only not dropped it yet
		s.memory.forget(key)
		return s.doubted(s.nothing(ctx, k.Corp).after(a.Last))
	}
	s.note(key, a, now)
	return s.doubted(s.proven(ctx, k.Corp, key, a))
}

// Peek asks for windows without counting a reply, all in one round trip.
func (s *Store) Peek(ctx context.Context, keys ...Key) []Answer {
	now := s.Now().UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(keys))*time.Millisecond)
	defer cancel()
	spelt := make([]string, len(keys))
	for i, k := range keys {
		spelt[i] = k.spell(s.Prefix)
	}
	answers := make([]Answer, len(keys))
	missing := map[string]Answer{} // by corp: what it means that nothing is on record
	for i, a := range s.look(ctx, spelt, now) {
		corp := keys[i].Corp
		switch {
		case a.err != nil:
			s.complain(keys[i], a.err, now)
			answers[i] = s.remembered(spelt[i], now)
		case a.State == Closed:
			s.memory.forget(spelt[i])
			if _, known := missing[corp]; !known {
				missing[corp] = s.nothing(ctx, corp)
			}
			answers[i] = s.doubted(missing[corp].after(a.Last))
		default:
			s.note(spelt[i], a.Answer, now)
			answers[i] = s.doubted(s.proven(ctx, corp, spelt[i], a.Answer))
		}
	}
	return answers
}

// read returns the window on record, the zero Window if there is none.
func (s *Store) read(ctx context.Context, key string) (Window, error) {
	h, err := s.rdb.HMGet(ctx, key, "last", "sent", "shut").Result()
	return parseWindow(key, h, err)
}

// ErrNoWindow is a key of a window that holds something else.
var ErrNoWindow = errors.New("holds no window: delete it")

func noWindow(key string) error { return fmt.Errorf("window: %s %w", key, ErrNoWindow) }

// complaints are lines that tell the operator of one thing, at most once a minute.
type complaints struct{ last atomic.Int64 } // unix ms

func (c *complaints) due(now int64) bool {
	last := c.last.Load()
	return now-last >= time.Minute.Milliseconds() && c.last.CompareAndSwap(last, now)
}

// complain tells the operator of a key that holds no window. The line does not say whose, since ids may have to stay
// out of logs.
func (s *Store) complain(k Key, err error, now int64) {
	if !errors.Is(err, ErrNoWindow) || !s.ofWindows.due(now) {
		return
	}
	s.Log.Warn("redis holds something else where a customer's window should be, so replies to that customer cannot be judged: replygate windows list shows it as broken, delete it",
		zap.String("corp_id", k.Corp), zap.String("channel", k.Channel))
}

// parseWindow is the window of an answer to HMGET last sent shut.
func parseWindow(key string, h []any, err error) (Window, error) {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return Window{}, noWindow(key)
	}
	if err != nil {
		return Window{}, fmt.Errorf("window: read: %w", err)
	}
	var texts [3]string
	for i := range min(len(h), 3) {
		texts[i], _ = h[i].(string)
	}
	var w Window
	if w.Last, err = strconv.ParseInt(texts[0], 10, 64); err != nil && texts[0] != "" {
		return Window{}, noWindow(key)
	}
	if texts[2] != "" {
		w.Shut, _ = strconv.ParseInt(texts[2], 10, 64)
	}
	if texts[1] == "" {
		return w, nil
	}
	for t := range strings.SplitSeq(texts[1], ",") {
		if n, err := strconv.ParseInt(t, 10, 64); err == nil && n >= counts(w.Last) {
			w.Sent = append(w.Sent, n)
		}
	}
	return w, nil
}

// note remembers an open window, and forgets one that is not.
func (s *Store) note(key string, a Answer, now int64) {
	if a.State == Open || a.State == Full {
		s.memory.put(key, a.Last.UnixMilli(), now)
		return
	}
	s.memory.forget(key)
}

// remembered is the answer while Redis is away.
func (s *Store) remembered(key string, now int64) Answer {
	if last, found := s.memory.find(key, now, s.Length); found {
		return Answer{State: Remembered, Last: time.UnixMilli(last), Left: -1}
	}
	return Answer{State: Unavailable, Left: -1}
}

// nothing is the answer for a customer without a record: closed if records reach back far enough.
func (s *Store) nothing(ctx context.Context, corp string) Answer {
	if s.completeForAll() {
		return Answer{State: Closed}
	}
	complete, _, err := s.Complete(ctx, corp)
	switch {
	case err != nil:
		return Answer{State: Unavailable, Left: -1}
	case !complete:
		return Answer{State: Incomplete, Left: -1}
	}
	return Answer{State: Closed}
}

// proven is an answer of Full only as far as it holds: where a message of the customer may have been missed, the
// replies that went before that count for nothing.
func (s *Store) proven(ctx context.Context, corp, key string, a Answer) Answer {
	if a.State != Full || s.completeForAll() {
		return a
	}
	since, err := s.Since(ctx, corp)
	if err == nil && !since.After(a.Last) {
		return a
	}
	var w Window
	if err == nil {
		w, err = s.read(ctx, key)
	}
	switch {
	case err != nil:
		return Answer{State: Unavailable, Last: a.Last, Left: -1}
	case w.sentFrom(counts(since.UnixMilli())) >= s.Replies:
		return a
	}
	return Answer{State: Incomplete, Last: a.Last, Left: -1}
}

// after is an answer of nothing for a customer whose last message on record is too long ago; zero: there is none.
func (a Answer) after(last time.Time) Answer {
	a.Last = last
	return a
}

// answer is what a window says about a reply that is not counted.
func (w Window) answer(now int64, length time.Duration, replies int) Answer {
	a := Answer{State: w.Judge(now, length, replies), Left: w.Left(replies)}
	if w.Last > 0 {
		a.Last = time.UnixMilli(w.Last)
	}
	return a
}

// Outcome is what WeCom said of a reply.
type Outcome uint8

// The outcomes of a reply.
const (
	Sent     Outcome = iota // taken, or perhaps taken: the reply counts
	NotTaken                // certainly not taken: the reservation is given back
	UsedUp                  // 95001: the reply counts, and so do all others
	Closing                 // 95002: not taken, and the window is shut
)

// Settle does what WeCom's answer says to a reserved reply of k.
func (s *Store) Settle(ctx context.Context, k Key, a Answer, o Outcome) error {
	key := k.spell(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	last, stamp := a.Last.UnixMilli(), a.stamp
	if o == UsedUp && stamp == 0 { // it went on uncounted
		stamp = s.Now().UnixMilli()
	}
	var err error
	if stamp != 0 && (o == NotTaken || o == Closing) {
		err = releaseScript.Run(ctx, s.rdb, []string{key}, stamp).Err()
	}
	if o == UsedUp && s.Replies > 0 && !a.Last.IsZero() {
		err = useUpScript.Run(ctx, s.rdb, []string{key}, last, stamp, s.Replies).Err()
	}
	if o == Closing && !a.Last.IsZero() {
		s.memory.forget(key)
		err = errors.Join(err, closeScript.Run(ctx, s.rdb, []string{key}, last).Err())
	}
	if err != nil {
		return fmt.Errorf("window: settle: %w", err)
	}
	return nil
}

// lateBy is how long before an event the reply may have gone out that the event tells of. A message that
// the customer wrote within it may be newer than the reply, so the event says nothing of its window.
const lateBy = time.Minute

// Correct does what WeCom says later, in an event of the time given, of a reply of k that it had taken:
// UsedUp or Closing.
func (s *Store) Correct(ctx context.Context, k Key, at time.Time, o Outcome) error {
	replies := 0
	if o == UsedUp {
		if replies = s.Replies; replies == 0 {
			return nil // not counted
		}
	}
	key := k.spell(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	s.memory.forget(key)
	if err := correctScript.Run(ctx, s.rdb, []string{key}, at.Add(-lateBy).UnixMilli(), replies).Err(); err != nil {
		return fmt.Errorf("window: correct: %w", err)
	}
	return nil
}

// Close shuts the window of k as it stands, until the customer writes again. found is false if nothing
// is on record.
func (s *Store) Close(ctx context.Context, k Key) (found bool, err error) {
	key := k.spell(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	s.memory.forget(key)
	w, err := s.read(ctx, key)
	if err != nil || w.Last == 0 {
		return false, err
	}
	if err := closeScript.Run(ctx, s.rdb, []string{key}, w.Last).Err(); err != nil {
		return true, fmt.Errorf("window: close: %w", err)
	}
	return true, nil
}

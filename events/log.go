package events

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/window"
)

const (
	// MaxEvents is about how many events the log keeps, MaxEmbedded in the embedded store, whose
	// snapshot has them all.
	MaxEvents   = 100_000
	MaxEmbedded = 10_000

	keptFor    = 7 * 24 * time.Hour // an event
	seenFor    = 72 * time.Hour     // its id
	maxAppends = 100                // events in one script
)

// Log is the log of events in Redis; docs/redis.md has the layout. It is safe for concurrent use.
// Each call to Redis ends after the store's timeout.
type Log struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration
	most    int
	now     func() time.Time

	// Logged is called for each event that this gateway logged, if it is set.
	Logged func(kind string)
	// LeftOut is called, if it is set, for an event that cannot be logged, such as one that is too
	// long. It is left out, so that the others are not held up.
	LeftOut func(err error)
}

// NewLog returns a log with keys prefix+"{events}…" in rdb that keeps about most events.
func NewLog(rdb redis.UniversalClient, prefix string, timeout time.Duration, most int, now func() time.Time) *Log {
	return &Log{rdb: rdb, prefix: prefix, timeout: timeout, most: most, now: now}
}

// All keys have one tag, so that one script can change them together on a Cluster.
func (l *Log) logKey() string   { return l.prefix + "{events}" }
func (l *Log) seenKey() string  { return l.prefix + "{events}:seen" }
func (l *Log) knownKey() string { return l.prefix + "{events}:known" }
func (l *Log) openKey() string  { return l.prefix + "{events}:closing" }
func (l *Log) askedKey() string { return l.prefix + "{events}:asked" }

//go:embed append.lua
var appendText string

var appendScript = redis.NewScript(appendText)

// Result is what became of an event.
type Result int

// The results of Append.
const (
	Other    Result = -1 // something else is known than the event expects: it is not logged
	Known    Result = 0  // it is in the log already
	Appended Result = 1
)

// Append logs events in their order, each once. On an error some may be logged; appending them
// again is harmless.
func (l *Log) Append(ctx context.Context, all ...Event) (results []Result, err error) {
	for some := range slices.Chunk(all, maxAppends) {
		found, err := l.appendSome(ctx, some)
		if err != nil {
			return results, fmt.Errorf("events: append: %w", err)
		}
		results = append(results, found...)
	}
	return results, nil
}

func (l *Log) appendSome(ctx context.Context, some []Event) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	now := l.now()
	args := []any{
		l.most, strconv.FormatInt(now.Add(-keptFor).UnixMilli(), 10), now.Add(-seenFor).UnixMilli(),
		seenFor.Milliseconds(), keptFor.Milliseconds(),
	}
	ids := make([]string, len(some))
	for i := range some {
		e := &some[i]
		id, text := l.encode(e)
		ids[i] = id
		seen := now
		if e.Type == DecisionRefused { // by the hundred thousand: their ids must not stay
			seen = now.Add(refusedSeen - seenFor)
		}
		args = append(args, id, e.Type, e.Corp, text, e.Field, e.Was, e.Value, seen.UnixMilli())
	}
	answers, err := appendScript.Run(ctx, l.rdb, []string{l.logKey(), l.seenKey(), l.knownKey()}, args...).Int64Slice()
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(answers))
	for i, a := range answers {
		results[i] = Result(a)
		if results[i] == Appended && ids[i] != "" && l.Logged != nil {
			l.Logged(some[i].Type)
		}
	}
	return results, nil
}

// encode returns the id and the JSON of an event, "" if there is nothing to log.
func (l *Log) encode(e *Event) (id string, text []byte) {
	if e.Type == "" {
		return "", nil
	}
	text, err := e.Encode()
	if err != nil {
		if l.LeftOut != nil {
			l.LeftOut(err)
		}
		return "", nil
	}
	return e.ID(), text
}

// Entry is an event in the log.
type Entry struct {
	Position string // in the log, like 1795959000123-0
	Type     string
	Corp     string
	JSON     []byte
}

// Read returns up to n entries after a position; "" is the beginning.
func (l *Log) Read(ctx context.Context, after string, n int) (entries []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	found, err := l.rdb.XRangeN(ctx, l.logKey(), from, "+", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("events: read: %w", err)
	}
	for _, m := range found {
		entries = append(entries, entryOf(m))
	}
	return entries, nil
}

func entryOf(m redis.XMessage) Entry {
	text := func(field string) string { s, _ := m.Values[field].(string); return s }
	return Entry{Position: m.ID, Type: text("type"), Corp: text("corp"), JSON: []byte(text("event"))}
}

// Get returns the entries at positions, without those that are no longer in the log.
func (l *Log) Get(ctx context.Context, positions []string) (entries []Entry, err error) {
	if len(positions) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	p := l.rdb.Pipeline()
	var found []*redis.XMessageSliceCmd
	for _, at := range positions {
		found = append(found, p.XRangeN(ctx, l.logKey(), at, at, 1))
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("events: get: %w", err)
	}
	for _, f := range found {
		for _, m := range f.Val() {
			entries = append(entries, entryOf(m))
		}
	}
	return entries, nil
}

// Bounds returns the positions of the oldest and the newest entry, "" of an empty log.
func (l *Log) Bounds(ctx context.Context) (oldest, newest string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	p := l.rdb.Pipeline()
	first, last := p.XRangeN(ctx, l.logKey(), "-", "+", 1), p.XRevRangeN(ctx, l.logKey(), "+", "-", 1)
	if _, err := p.Exec(ctx); err != nil {
		return "", "", fmt.Errorf("events: bounds: %w", err)
	}
	if len(first.Val()) == 1 && len(last.Val()) == 1 {
		return first.Val()[0].ID, last.Val()[0].ID, nil
	}
	return "", "", nil
}

// known returns what is known of facts that last, by field.
func (l *Log) known(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*l.timeout)
	defer cancel()
	fields, err := l.rdb.HGetAll(ctx, l.knownKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("events: what is known: %w", err)
	}
	return fields, nil
}

// forget removes fields of what is known.
func (l *Log) forget(ctx context.Context, fields []string) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if err := l.rdb.HDel(ctx, l.knownKey(), fields...).Err(); err != nil {
		return fmt.Errorf("events: forget: %w", err)
	}
	return nil
}

// askForRefused has all gateways log refused calls for a while.
func (l *Log) askForRefused(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.rdb.Set(ctx, l.askedKey(), 1, askedFor).Err()
}

// refusedAreAsked reports whether a listener of any gateway wants to hear of refused calls.
func (l *Log) refusedAreAsked(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	n, err := l.rdb.Exists(ctx, l.askedKey()).Result()
	return n > 0, err
}

// openChats returns the chats that were about to close unanswered.
func (l *Log) openChats(ctx context.Context) (all []chat, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*l.timeout)
	defer cancel()
	found, err := l.rdb.ZRangeWithScores(ctx, l.openKey(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("events: chats that close: %w", err)
	}
	for _, z := range found {
		var names [3]string
		if member, _ := z.Member.(string); json.Unmarshal([]byte(member), &names) == nil {
			all = append(all, chat{key: window.Key{Corp: names[0], Channel: names[1], Customer: names[2]}, last: int64(z.Score)})
		}
	}
	return all, nil
}

// keepOpenChats stores chats that are about to close, and removes others.
func (l *Log) keepOpenChats(ctx context.Context, add, remove []chat) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*l.timeout)
	defer cancel()
	p := l.rdb.Pipeline()
	for _, c := range add {
		p.ZAdd(ctx, l.openKey(), redis.Z{Score: float64(c.last), Member: c.member()})
	}
	for _, c := range remove {
		p.ZRem(ctx, l.openKey(), c.member())
	}
	p.PExpire(ctx, l.openKey(), keptFor)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("events: chats that close: %w", err)
	}
	return nil
}

var position = regexp.MustCompile(`^[0-9]{1,19}(-[0-9]{1,19})?$`)

// IsPosition reports whether a text can be a position in the log.
func IsPosition(text string) bool { return position.MatchString(text) }

// Before reports whether position a is before b. "" is before all others.
func Before(a, b string) bool {
	x, y := parsePosition(a), parsePosition(b)
	return x[0] < y[0] || x[0] == y[0] && x[1] < y[1]
}

func parsePosition(text string) (at [2]uint64) {
	ms, n, _ := strings.Cut(text, "-")
	at[0], _ = strconv.ParseUint(ms, 10, 64)
	at[1], _ = strconv.ParseUint(n, 10, 64)
	return at
}

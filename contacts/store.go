package contacts

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/account"
)

const (
	historyDays = 400
	keptFor     = historyDays * 24 * time.Hour

	// maxMoved bounds the people whose moves are remembered between two exact counts of an account.
	maxMoved = 5000

	// readChunk is how many accounts one pipeline reads.
	readChunk = 500
)

// zone is that of the days in the history: WeCom's.
var zone = time.FixedZone("UTC+8", 8*3600)

// Store keeps counts in Redis, shared by all gateways; docs/redis.md has the layout. It is safe for
// concurrent use. Each call to Redis ends after the store's timeout.
type Store struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration
}

// NewStore returns a Store with keys prefix+"contacts:…" in rdb.
func NewStore(rdb redis.UniversalClient, prefix string, timeout time.Duration) *Store {
	return &Store{rdb: rdb, prefix: prefix, timeout: timeout}
}

// State is what is stored of an account.
type State struct {
	Count             // AsOf is zero if there is none
	Moved   int       // by how much callbacks move the count
	MovedAt time.Time // of the newest such callback; zero: none
	Partial bool      // more people moved than are remembered
	Failure Failure   // of the newest attempt to count, unless a count followed
}

// Number is a number of contacts as it is shown.
type Number struct {
	Total  int
	AsOf   time.Time
	Source account.Source
	Exact  bool // else an estimate, which changes no standing
}

// Number returns the estimate if callbacks moved the count, else the count itself.
func (s State) Number() Number {
	if s.MovedAt.IsZero() {
		return Number{Total: s.Total, AsOf: s.AsOf, Source: s.Source, Exact: true}
	}
	return Number{Total: max(s.Total+s.Moved, 0), AsOf: s.MovedAt, Source: account.Callbacks}
}

// NumberOf returns the number to show for an account: the estimate if callbacks moved the count
// that decides about it, else that count. s is what is stored of it; known is false if there is no
// count.
func NumberOf(a *account.Account, s State) (n Number, known bool) {
	c, known := a.Counted()
	if known && !s.AsOf.IsZero() && s.AsOf.Equal(c.AsOf) && s.Total == c.Total {
		return s.Number(), true
	}
	return Number{Total: c.Total, AsOf: c.AsOf, Source: c.Source, Exact: known}, known
}

// Day is the last exact count of a day.
type Day struct {
	Date  string // like 2026-11-30, in UTC+8
	Total int
}

//go:embed put.lua
var putText string

//go:embed move.lua
var moveText string

var putScript, moveScript = redis.NewScript(putText), redis.NewScript(moveText)

// Put stores an exact count and ends the estimate since the one before. It reports whether the
// count was stored: an older one than the stored is not.
func (s *Store) Put(ctx context.Context, corp string, c Count) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	n, err := putScript.Run(ctx, s.rdb, []string{s.countKey(corp), s.movesKey(corp), s.historyKey(corp)},
		c.AsOf.UnixMilli(), c.Total, c.Customers, string(c.Source), DayOf(c.AsOf), DayOf(c.AsOf.Add(-keptFor)), int(keptFor.Seconds())).Int()
	if err != nil {
		return false, fmt.Errorf("contacts: store the count of %s: %w", corp, err)
	}
	return n == 1, nil
}

// Move moves the estimate of an account. A move that is known already, or that is not newer than
// the exact count, changes nothing; nor does one of an account that was never counted.
func (s *Store) Move(ctx context.Context, corp string, v Move) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		done, err := s.tryMove(ctx, corp, v)
		if err != nil {
			return fmt.Errorf("contacts: move the estimate of %s: %w", corp, err)
		}
		if done {
			return nil
		}
	}
}

// tryMove is Move. It reports false if another gateway changed the same person or the count at the
// same time.
func (s *Store) tryMove(ctx context.Context, corp string, v Move) (bool, error) {
	who := hashed(v.Customer)
	p := s.rdb.Pipeline()
	count := p.HGet(ctx, s.countKey(corp), "as_of")
	known := p.HGet(ctx, s.movesKey(corp), who)
	size := p.HLen(ctx, s.movesKey(corp))
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	asOf, err := strconv.ParseInt(count.Val(), 10, 64)
	switch {
	case errors.Is(count.Err(), redis.Nil):
		return true, nil
	case err != nil:
		return false, err
	case v.At.UnixMilli() > asOf && known.Val() == "" && size.Val() >= maxMoved:
		return true, s.rdb.HSet(ctx, s.countKey(corp), "partial", 1).Err()
	}
	after, delta := apply(known.Val(), asOf, v)
	if after == known.Val() {
		return true, nil
	}
	n, err := moveScript.Run(ctx, s.rdb, []string{s.countKey(corp), s.movesKey(corp)},
		asOf, who, known.Val(), after, delta, v.At.UnixMilli(), int(keptFor.Seconds())).Int()
	return n == 1, err
}

// Fail stores that an attempt to count an account gave no count. The next count removes it.
func (s *Store) Fail(ctx context.Context, corp string, f Failure) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	p := s.rdb.Pipeline()
	p.HSet(ctx, s.countKey(corp), "failed", f.encode(), "failed_at", f.At.UnixMilli())
	p.Expire(ctx, s.countKey(corp), keptFor)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("contacts: store why %s has no count: %w", corp, err)
	}
	return nil
}

// Read returns what is stored of accounts; those that nobody tried to count are not in the result.
func (s *Store) Read(ctx context.Context, corps []string) (map[string]State, error) {
	all := make(map[string]State, len(corps))
	for chunk := range slices.Chunk(corps, readChunk) {
		if err := s.readChunk(ctx, chunk, all); err != nil {
			return nil, fmt.Errorf("contacts: read counts: %w", err)
		}
	}
	return all, nil
}

func (s *Store) readChunk(ctx context.Context, corps []string, all map[string]State) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	p := s.rdb.Pipeline()
	found := make([]*redis.MapStringStringCmd, len(corps))
	for i, corp := range corps {
		found[i] = p.HGetAll(ctx, s.countKey(corp))
	}
	if _, err := p.Exec(ctx); err != nil {
		return err
	}
	for i, corp := range corps {
		if state, ok := parseState(found[i].Val()); ok {
			all[corp] = state
		}
	}
	return nil
}

// parseState reads the hash of a count. It reports false if there is none, or if it is broken.
func parseState(fields map[string]string) (State, bool) {
	number := func(field string) (int64, error) { return strconv.ParseInt(fields[field], 10, 64) }
	failure := parseFailure(fields["failed"], fields["failed_at"])
	asOf, err1 := number("as_of")
	total, err2 := number("total")
	if err1 != nil || err2 != nil {
		return State{Failure: failure}, failure != Failure{}
	}
	customers, _ := number("customers")
	moved, _ := number("moved")
	state := State{
		Count:   Count{Count: account.Count{Total: int(total), AsOf: time.UnixMilli(asOf), Source: account.Source(fields["source"])}, Customers: int(customers)},
		Moved:   int(moved),
		Partial: fields["partial"] != "",
		Failure: failure,
	}
	if at, err := number("moved_at"); err == nil {
		state.MovedAt = time.UnixMilli(at)
	}
	return state, true
}

// Histories returns the days on which accounts were counted, oldest first, at most 400 of each, in
// one exchange with Redis.
func (s *Store) Histories(ctx context.Context, corps []string) (map[string][]Day, error) {
	if len(corps) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	p := s.rdb.Pipeline()
	found := make([]*redis.MapStringStringCmd, len(corps))
	for i, corp := range corps {
		found[i] = p.HGetAll(ctx, s.historyKey(corp))
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("contacts: read the histories of %s: %w", some(corps), err)
	}
	all := make(map[string][]Day, len(corps))
	for i, corp := range corps {
		all[corp] = parseHistory(found[i].Val())
	}
	return all, nil
}

// some names the first of several corps.
func some(corps []string) string {
	if len(corps) > 1 {
		return fmt.Sprintf("%s and %d others", corps[0], len(corps)-1)
	}
	return corps[0]
}

func parseHistory(fields map[string]string) (all []Day) {
	for date, text := range fields {
		if total, err := strconv.Atoi(text); err == nil {
			all = append(all, Day{Date: date, Total: total})
		}
	}
	slices.SortFunc(all, func(a, b Day) int { return strings.Compare(a.Date, b.Date) })
	return all
}

// DayOf returns the day of an instant as the history has it.
func DayOf(t time.Time) string { return t.In(zone).Format(time.DateOnly) }

// The whole corp is the hash tag, so that one script may use all keys of an account.
func (s *Store) historyKey(corp string) string { return s.prefix + "contacts:{" + corp + "}" }
func (s *Store) countKey(corp string) string   { return s.historyKey(corp) + ":count" }
func (s *Store) movesKey(corp string) string   { return s.historyKey(corp) + ":moves" }

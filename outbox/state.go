package outbox

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/events"
)

// All keys have the tag of the log, so that one script can change them together on a Cluster.
func (o *Outbox) stateKey(name string) string { return o.Prefix + "{events}:at:" + name }
func (o *Outbox) dueKey(name string) string   { return o.Prefix + "{events}:due:" + name }
func (o *Outbox) slotKey(name string) string  { return o.Prefix + "{events}:slot:" + name }

// The fields of a sink's state.
const (
	fieldPosition = "position" // events of the log up to here are taken over, or in a digest that was sent
	fieldTarget   = "target"   // which URL, or which robot, the other fields tell of
	fieldFailing  = "failing"  // since when no delivery succeeded, unix ms
	fieldUntil    = "until"    // nothing is sent before, unix ms
	fieldSlowed   = "slowed"   // how often in a row that was so
	fieldDisabled = "disabled" // why nothing is sent any more
	fieldError    = "error"    // of the last attempt, if it failed
)

// state is how far the deliveries to a sink have come.
type state struct {
	position string
	target   string
	failing  time.Time
	until    time.Time
	slowed   int
	disabled string
	failure  string
}

// read returns the state of a sink; of a new one it is zero.
func (o *Outbox) read(ctx context.Context, name string) (s state, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	fields, err := o.Redis.HGetAll(ctx, o.stateKey(name)).Result()
	if err != nil {
		return s, fmt.Errorf("outbox: %w", err)
	}
	instant := func(field string) (at time.Time) {
		if ms, err := strconv.ParseInt(fields[field], 10, 64); err == nil {
			at = time.UnixMilli(ms)
		}
		return at
	}
	s = state{
		position: fields[fieldPosition], target: fields[fieldTarget], failing: instant(fieldFailing), until: instant(fieldUntil),
		disabled: fields[fieldDisabled], failure: fields[fieldError],
	}
	s.slowed, _ = strconv.Atoi(fields[fieldSlowed])
	return s, nil
}

// open returns the state of a sink that delivers to a target. A new one begins with what is logged
// from now on. What was learnt of another target is forgotten.
func (o *Outbox) open(ctx context.Context, name, target string) (s state, err error) {
	if s, err = o.read(ctx, name); err != nil {
		return s, err
	}
	if s.position == "" {
		_, newest, err := o.Log.Bounds(ctx)
		if err != nil {
			return s, err
		}
		s.position = cmp.Or(newest, "0-0")
		if _, err := o.take(ctx, name, "", s.position, nil); err != nil {
			return s, err
		}
	}
	if s.target == target {
		return s, nil
	}
	if s.target != "" {
		if err := o.clear(ctx, name); err != nil {
			return s, err
		}
	}
	if err := o.set(ctx, name, fieldTarget, target); err != nil {
		return s, err
	}
	return state{position: s.position, target: target}, nil
}

// set changes fields of a sink's state.
func (o *Outbox) set(ctx context.Context, name string, fields ...any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	if err := o.Redis.HSet(ctx, o.stateKey(name), fields...).Err(); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// clear notes that a delivery succeeded.
func (o *Outbox) clear(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	if err := o.Redis.HDel(ctx, o.stateKey(name), fieldFailing, fieldUntil, fieldSlowed, fieldDisabled, fieldError).Err(); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// touch keeps the state of a sink for another while.
func (o *Outbox) touch(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	p := o.Redis.Pipeline()
	p.PExpire(ctx, o.stateKey(name), keptFor)
	p.PExpire(ctx, o.dueKey(name), keptFor)
	_, _ = p.Exec(ctx) // tried again in an hour
}

// reserve takes the right to send one message to a robot. By Redis, since two gateways that both
// believe to lead share the robot's limit.
func (o *Outbox) reserve(ctx context.Context, name string) (free bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	err = o.Redis.SetArgs(ctx, o.slotKey(name), "1", redis.SetArgs{Mode: "NX", TTL: robotSpacing}).Err()
	if err == redis.Nil {
		return false, nil
	}
	return err == nil, err
}

//go:embed take.lua
var takeText string

var takeScript = redis.NewScript(takeText)

// take moves the position of a sink and has events wait for their delivery. moved is false if the
// position is no longer where the caller read it.
func (o *Outbox) take(ctx context.Context, name, from, to string, some []pending) (moved bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	args := []any{from, to, o.Now().UnixMilli(), keptFor.Milliseconds()}
	for _, p := range some {
		args = append(args, p.member())
	}
	n, err := takeScript.Run(ctx, o.Redis, []string{o.stateKey(name), o.dueKey(name)}, args...).Int()
	if err != nil {
		return false, fmt.Errorf("outbox: %w", err)
	}
	return n == 1, nil
}

// pending is an event that waits for its delivery.
type pending struct {
	position string // in the log
	attempt  int    // how many were made
	kind     string // its type
}

func (p pending) member() string { return fmt.Sprintf("%s %d %s", p.position, p.attempt, p.kind) }

func parsePending(member string) (p pending, ok bool) {
	parts := strings.SplitN(member, " ", 3)
	if len(parts) != 3 || !events.IsPosition(parts[0]) {
		return p, false
	}
	n, err := strconv.Atoi(parts[1])
	return pending{position: parts[0], attempt: n, kind: parts[2]}, err == nil
}

func parseAll(members []string) (all []pending) {
	for _, m := range members {
		if p, ok := parsePending(m); ok {
			all = append(all, p)
		}
	}
	return all
}

// waiting returns all events that wait for a webhook.
func (o *Outbox) waiting(ctx context.Context, name string) ([]pending, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*o.Timeout)
	defer cancel()
	members, err := o.Redis.ZRange(ctx, o.dueKey(name), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return parseAll(members), nil
}

// due returns up to n events whose time has come, the earliest first.
func (o *Outbox) due(ctx context.Context, name string, n int) ([]pending, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	members, err := o.Redis.ZRangeByScore(ctx, o.dueKey(name), &redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(o.Now().UnixMilli(), 10), Count: int64(n)}).Result()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return parseAll(members), nil
}

// enqueue has events be delivered now.
func (o *Outbox) enqueue(ctx context.Context, name string, some []pending) error {
	if len(some) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	at := float64(o.Now().UnixMilli())
	p := o.Redis.TxPipeline()
	for _, one := range some {
		p.ZAddNX(ctx, o.dueKey(name), redis.Z{Score: at, Member: one.member()})
	}
	p.PExpire(ctx, o.dueKey(name), keptFor)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// remove ends the waiting of events.
func (o *Outbox) remove(ctx context.Context, name string, some ...pending) error {
	if len(some) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	members := make([]any, len(some))
	for i, p := range some {
		members[i] = p.member()
	}
	if err := o.Redis.ZRem(ctx, o.dueKey(name), members...).Err(); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// failed notes an attempt that failed. If there is a next one the event waits for it. at is the
// present.
func (o *Outbox) failed(ctx context.Context, name string, p pending, at, next time.Time, last bool, fields map[string]any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	tx := o.Redis.TxPipeline()
	tx.ZRem(ctx, o.dueKey(name), p.member())
	if !last {
		again := p
		again.attempt++
		tx.ZAdd(ctx, o.dueKey(name), redis.Z{Score: float64(next.UnixMilli()), Member: again.member()})
		tx.PExpire(ctx, o.dueKey(name), keptFor)
	}
	tx.HSetNX(ctx, o.stateKey(name), fieldFailing, at.UnixMilli())
	tx.HSet(ctx, o.stateKey(name), fields)
	if _, err := tx.Exec(ctx); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// limit keeps at most maxDue events waiting: the oldest announcements of chats go first, then the
// oldest others. It returns how many went.
func (o *Outbox) limit(ctx context.Context, name string) (n int, err error) {
	within, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	size, err := o.Redis.ZCard(within, o.dueKey(name)).Result()
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	if size <= maxDue {
		return 0, nil
	}
	all, err := o.waiting(ctx, name)
	if err != nil {
		return 0, err
	}
	excess := len(all) - maxDue
	if excess <= 0 {
		return 0, nil
	}
	ofChats := func(p pending) int {
		if strings.HasPrefix(p.kind, "window.") {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b pending) int {
		if c := cmp.Compare(ofChats(a), ofChats(b)); c != 0 {
			return c
		}
		switch {
		case events.Before(a.position, b.position):
			return -1
		case events.Before(b.position, a.position):
			return 1
		}
		return 0
	})
	return excess, o.remove(ctx, name, all[:excess]...)
}

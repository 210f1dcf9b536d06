package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

const (
	flushEvery = 10 * time.Second
	keptFor    = 35 * 24 * time.Hour // a key after its last write
	finalTime  = 5 * time.Second     // for the write at shutdown
	chunk      = 500                 // commands in one pipeline
)

// Run writes the counts every ten seconds and keeps the activity current, until ctx ends. Then it
// writes a last time.
func (c *Counters) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		if n%refreshEvery == 0 {
			_ = c.Refresh(ctx) // the activity stays as it was
		}
		select {
		case <-tick.C:
			_ = c.Flush(ctx) // what was not written is tried again
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.Background(), finalTime)
	defer cancel()
	_ = c.Flush(last)
}

// increment is one HINCRBY.
type increment struct {
	key, field string
	by         int64
	name       name // whose counts it writes
	kind       int  // its place in Counts
	state      state
}

// state is what became of an increment.
type state uint8

const (
	kept    state = iota // Redis certainly did not carry it out
	written              // Redis carried it out
	lost                 // Redis may have carried it out, or refused it for good
)

// Flush writes to Redis what was counted since the last write. What Redis certainly did not count
// is kept for the next one. What it may have counted, since the connection broke off, is not
// written again: a call is rather missing than there twice.
func (c *Counters) Flush(ctx context.Context) error {
	c.flushing.Lock()
	defer c.flushing.Unlock()
	if err := c.ping(ctx, c.rdb); err != nil { // then nothing need be moved
		return fmt.Errorf("calls: count: %w", err)
	}
	all := c.increments(c.take())
	err := c.writeAll(ctx, all)
	for _, w := range all {
		switch w.state {
		case kept:
			var counts Counts
			*counts.number(w.kind) = w.by
			c.put(w.name, counts)
		case written:
			c.addSum(w)
		case lost:
			c.noteLost(w)
		}
	}
	if err = errors.Join(err, c.flushSums(ctx)); err != nil {
		return fmt.Errorf("calls: count: %w", err)
	}
	return nil
}

func (c *Counters) noteLost(w increment) {
	if w.kind == 0 {
		c.lost.Add(w.by)
	}
}

// addSum adds a written increment to the sum of its corp and day, which is written next: so no call
// is in a sum twice.
func (c *Counters) addSum(w increment) {
	if w.kind < sumKinds {
		day := name{Call: Call{Corp: w.name.Corp}, day: w.name.day}
		sum := c.sums[day]
		*sum.number(w.kind) += w.by
		c.sums[day] = sum
	}
}

// sumKinds are how many of the numbers of Counts have sums: those of all calls and of refused ones.
const sumKinds = 2

// flushSums writes the sums of the days, and keeps those that Redis did not take.
func (c *Counters) flushSums(ctx context.Context) error {
	all := make([]increment, 0, len(c.sums))
	for day, sum := range c.sums {
		for i := range sumKinds {
			if by := *sum.number(i); by != 0 {
				all = append(all, increment{key: c.sumKey(day.day), field: day.Corp + ending(i), by: by, name: day, kind: i})
			}
		}
	}
	clear(c.sums)
	err := c.writeAll(ctx, all)
	for _, w := range all {
		if w.state == kept {
			c.addSum(w)
		}
	}
	return err
}

// increments returns what must be written of counts, the fields of each key together.
func (c *Counters) increments(counts map[name]*Counts) []increment {
	all := make([]increment, 0, len(counts))
	for n, numbers := range counts {
		key, field := c.key(n.Corp, n.day), field(n)
		for i := range len(kinds) + 1 {
			if by := *numbers.number(i); by != 0 {
				all = append(all, increment{key: key, field: field + ending(i), by: by, name: n, kind: i})
			}
		}
	}
	slices.SortFunc(all, func(a, b increment) int { return strings.Compare(a.key, b.key) })
	return all
}

// writeAll writes increments in chunks, up to the first that Redis does not take.
func (c *Counters) writeAll(ctx context.Context, all []increment) error {
	for part := range slices.Chunk(all, chunk) {
		if err := c.write(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (c *Counters) ping(ctx context.Context, node redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return node.Ping(ctx).Err()
}

// write sends increments, by node in a Cluster: its client would send them again after a broken
// connection.
func (c *Counters) write(ctx context.Context, part []increment) error {
	routes := map[redis.UniversalClient][]*increment{}
	for i := range part {
		node, err := c.nodeOf(ctx, part[i].key)
		if err != nil {
			return err
		}
		routes[node] = append(routes[node], &part[i])
	}
	var failed error
	for node, writes := range routes {
		// A connection that broke long ago fails here, where nothing is lost by it.
		err := c.ping(ctx, node)
		if err == nil {
			err = c.send(ctx, node, writes)
		}
		failed = errors.Join(failed, err)
	}
	if cluster, ok := c.rdb.(*redis.ClusterClient); ok && failed != nil {
		cluster.ReloadState(ctx) // the client of one node does not follow redirects
	}
	return failed
}

func (c *Counters) nodeOf(ctx context.Context, key string) (redis.UniversalClient, error) {
	if cluster, ok := c.rdb.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return c.rdb, nil
}

// send sends increments in one pipeline, and notes what became of each.
func (c *Counters) send(ctx context.Context, node redis.UniversalClient, writes []*increment) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p := node.Pipeline()
	cmds := make([]*redis.IntCmd, len(writes))
	for i, w := range writes {
		cmds[i] = p.HIncrBy(ctx, w.key, w.field, w.by)
		if i+1 == len(writes) || writes[i+1].key != w.key {
			p.Expire(ctx, w.key, keptFor)
		}
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for i, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil:
			writes[i].state = written
		case notSent(err):
			failed = err
		default:
			writes[i].state = lost
			if store.Classify(err).Has(store.Outage) {
				failed = err
			}
		}
	}
	return failed
}

// notSent reports whether Redis certainly did not carry out a command, and may do so later.
func notSent(err error) bool {
	var dial *net.OpError
	class := store.Classify(err)
	return errors.Is(err, store.ErrAway) || errors.Is(err, redis.ErrPoolTimeout) ||
		errors.As(err, &dial) && dial.Op == "dial" ||
		class.Has(store.Rejected) && (class.Has(store.Outage) || class.Has(store.Redirect))
}

// Line is what was counted of one kind of call within some days.
type Line struct {
	Path, Client string
	Counts
}

// readChunk is how many hashes one pipeline reads.
const readChunk = 400

// Read returns what all gateways counted of each corp on the last days, today included, in no
// order. A gateway's newest counts are missing for up to ten seconds; those of this one are
// written first.
func (c *Counters) Read(ctx context.Context, days int, corps ...string) (map[string][]Line, error) {
	if err := c.Flush(ctx); err != nil {
		return nil, err
	}
	today := dayOf(c.now())
	weeks, dates := map[string]int{}, map[string]bool{} // each week once, with a day of it
	for day := today - days + 1; day <= today; day++ {
		weeks[week(day)] = day
		dates[dateOf(day)] = true
	}
	type hash struct {
		corp string
		cmd  *redis.MapStringStringCmd
		day  int
	}
	var hashes []hash
	for _, corp := range corps {
		for _, day := range weeks {
			hashes = append(hashes, hash{corp: corp, day: day})
		}
	}
	all := make(map[string][]Line, len(corps))
	sums := map[Call]Counts{}
	for part := range slices.Chunk(hashes, readChunk) {
		err := c.pipelined(ctx, func(ctx context.Context, p redis.Pipeliner) {
			for i := range part {
				part[i].cmd = p.HGetAll(ctx, c.key(part[i].corp, part[i].day))
			}
		})
		if err != nil {
			return nil, fmt.Errorf("calls: read the counts: %w", err)
		}
		for _, h := range part { // a key of another type has no fields
			for text, number := range h.cmd.Val() {
				by, err := strconv.ParseInt(number, 10, 64)
				date, call, kind, ok := parseField(text)
				if err == nil && ok && dates[date] {
					call.Corp = h.corp
					counts := sums[call]
					*counts.number(kind) += by
					sums[call] = counts
				}
			}
		}
	}
	for call, counts := range sums {
		all[call.Corp] = append(all[call.Corp], Line{Path: call.Path, Client: call.Client, Counts: counts})
	}
	return all, nil
}

// pipelined sends commands in one pipeline, within the timeout. It fails if Redis does not answer.
func (c *Counters) pipelined(ctx context.Context, queue func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p := c.rdb.Pipeline()
	queue(ctx, p)
	cmds, _ := p.Exec(ctx)
	for _, cmd := range cmds {
		if class := store.Classify(cmd.Err()); cmd.Err() != nil && (class.Has(store.Outage) || !class.Has(store.Rejected)) {
			return cmd.Err()
		}
	}
	return nil
}

// key is the hash of a corp and the week of a day. The corp is the hash tag, as in other keys of an
// account.
func (c *Counters) key(corp string, day int) string {
	return c.prefix + "calls:{" + corp + "}:" + week(day)
}

// sumKey is the hash with the sums of a day by corp.
func (c *Counters) sumKey(day int) string { return c.prefix + "calls-sum:" + dateOf(day) }

// week returns the ISO week of a day, like 2026-W48.
func week(day int) string {
	year, week := start(day).ISOWeek()
	return fmt.Sprintf("%d-W%02d", year, week)
}

func dateOf(day int) string { return start(day).Format(time.DateOnly) }

// Client names are the operator's: a colon must not end one early.
var (
	escape   = strings.NewReplacer("%", "%25", ":", "%3A")
	unescape = strings.NewReplacer("%25", "%", "%3A", ":")
)

// field is day:path:client of a name.
func field(n name) string {
	return dateOf(n.day) + ":" + n.Path + ":" + escape.Replace(n.Client)
}

// ending is what follows the field for the i-th number of Counts.
func ending(i int) string {
	if i == 0 {
		return ""
	}
	return ":" + kinds[i-1].field
}

// parseField reads a field with its ending. It reports false for one that no gateway writes.
func parseField(text string) (date string, call Call, kind int, ok bool) {
	date, rest, _ := strings.Cut(text, ":")
	path, rest, ok := strings.Cut(rest, ":")
	client, ending, ends := strings.Cut(rest, ":")
	for i := range kinds {
		if ends && kinds[i].field == ending {
			kind = i + 1
		}
	}
	return date, Call{Path: path, Client: unescape.Replace(client)}, kind, ok && ends == (kind > 0)
}

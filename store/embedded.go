package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/config"
)

// Embedded is a Redis inside the process, for a gateway without a server. Its state is kept in a
// snapshot file, and changes since the snapshot in the journal.
type Embedded struct {
	mini     *miniredis.Miniredis
	snapshot string
	prefix   string
	journal  *Journal
	now      func() time.Time
	log      *zap.Logger

	mu   sync.Mutex   // serializes ticks and snapshots
	last atomic.Int64 // the store's own clock, unix ms, from which times to live count

	saving sync.Mutex // orders appends, so that the last record of a key is its newest state
	missed int        // changes that the journal did not take; guarded by saving

	stop chan struct{}
	done chan struct{}
}

const (
	tickEvery     = time.Second
	snapshotEvery = time.Minute
)

// openEmbedded restores the state and starts the store. intact means that the journal holds every
// change since the snapshot.
func openEmbedded(c config.Redis, j *Journal, intact bool, now func() time.Time, log *zap.Logger) (*Embedded, error) {
	e := &Embedded{
		mini: miniredis.NewMiniRedis(), snapshot: c.Snapshot, prefix: c.Prefix, journal: j, now: now, log: log,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	e.last.Store(now().UnixMilli())
	e.mini.SetTime(e.clock())
	if err := e.restore(intact); err != nil {
		return nil, err
	}
	if err := e.Save(); err != nil { // fail now if it cannot be written
		return nil, err
	}
	if c.Listen != "" {
		if err := e.mini.StartAddr(c.Listen); err != nil {
			return nil, fmt.Errorf("redis.listen: %w", err)
		}
	}
	go e.run()
	return e, nil
}

// dial returns an in-process connection to the store.
func (e *Embedded) dial() (net.Conn, error) {
	c, err := e.mini.Dial()
	if err != nil {
		return nil, err
	}
	return newPipe(c), nil
}

// Addr returns the address of redis.listen, "" if nothing listens.
func (e *Embedded) Addr() string {
	if e.mini.Server() == nil || e.mini.Server().Addr() == nil {
		return ""
	}
	return e.mini.Addr()
}

// run moves the store's clock, syncs the journal and writes snapshots until Close. A tick costs
// time in proportion to the keys, so its interval grows with its cost. Expiry only frees memory:
// windows are judged by the times in them.
func (e *Embedded) run() {
	defer close(e.done)
	wait, saved := tickEvery, e.now()
	var told time.Time
	for {
		select {
		case <-e.stop:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		e.Tick()
		wait = max(tickEvery, 50*time.Since(began))
		if err := e.journal.Sync(); err != nil && e.now().Sub(told) >= snapshotEvery {
			told = e.now()
			e.log.Error("changes are not on the disk", zap.Error(err))
		}
		if e.now().Sub(saved) >= snapshotEvery {
			saved = e.now()
			if err := e.Save(); err != nil {
				e.log.Error("the snapshot cannot be written; trying again in a minute", zap.Error(err))
			}
		}
	}
}

// Tick sets the store's clock to the gateway's, and expires keys.
func (e *Embedded) Tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.UnixMilli(e.now().UnixMilli()) // whole ms: lost fractions would add up
	if elapsed := now.Sub(e.clock()); elapsed > 0 {
		e.mini.SetTime(now)
		e.mini.FastForward(elapsed)
		e.last.Store(now.UnixMilli())
	}
}

// clock returns the store's own time.
func (e *Embedded) clock() time.Time { return time.UnixMilli(e.last.Load()) }

// Close writes a last snapshot and stops the store.
func (e *Embedded) Close() error {
	close(e.stop)
	<-e.done
	err := e.Save()
	e.mini.Close()
	return err
}

// snapshotFile is the state on disk; times are absolute, in unix milliseconds.
type snapshotFile struct {
	Version int        `json:"version"`
	Keys    []savedKey `json:"keys"`
}

// savedKey is a key in the snapshot or the journal. Without a value it means that the key is
// deleted.
type savedKey struct {
	Key     string            `json:"key"`
	String  string            `json:"string,omitempty"`
	Hash    map[string]string `json:"hash,omitempty"`
	Expires int64             `json:"expires,omitempty"`

	// Of the log of events alone.
	SortedSet map[string]float64      `json:"sorted_set,omitempty"`
	Stream    []miniredis.StreamEntry `json:"stream,omitempty"`
}

// Save writes a snapshot and drops the journal's records before it.
func (e *Embedded) Save() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := snapshotFile{Version: 1, Keys: []savedKey{}}
	e.saving.Lock() // a change that is not in the journal yet gets an offset after covered
	covered, missed := e.journal.End(), e.missed
	e.saving.Unlock()
	for _, key := range e.mini.Keys() { // a key that changes meanwhile is also in the journal
		if k, there := e.read(key); there {
			s.Keys = append(s.Keys, k)
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	if err := ReplaceFile(e.snapshot, data); err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	e.saving.Lock()
	if e.missed == missed { // the snapshot has what the journal did not take
		e.journal.MarkComplete()
	}
	e.saving.Unlock()
	return e.journal.Drop(covered)
}

// miss notes in the journal that it did not take a change. The next snapshot has it, but a crash
// before that loses it.
func (e *Embedded) miss() error {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.missed++
	return e.journal.MarkIncomplete()
}

// read returns the current state of a key. there is false if it does not exist.
func (e *Embedded) read(key string) (k savedKey, there bool) {
	k.Key = key
	switch e.mini.Type(key) {
	case "string":
		k.String, _ = e.mini.Get(key)
	case "hash":
		fields, _ := e.mini.HKeys(key)
		k.Hash = make(map[string]string, len(fields))
		for _, f := range fields {
			k.Hash[f] = e.mini.HGet(key, f)
		}
	case "zset":
		if !e.ofEvents(key) {
			return k, false
		}
		k.SortedSet = e.readSortedSet(key)
	case "stream":
		k.Stream, _ = e.mini.Stream(key)
	default:
		return k, false
	}
	if ttl := e.mini.TTL(key); ttl > 0 {
		k.Expires = e.clock().Add(ttl).UnixMilli()
	}
	return k, true
}

// readSortedSet copies a sorted set member by member: miniredis' SortedSet returns the map that
// commands write to. A score is a time: 0 means that the member was removed meanwhile.
func (e *Embedded) readSortedSet(key string) map[string]float64 {
	members, _ := e.mini.ZMembers(key)
	scores, _ := e.mini.ZMScore(key, members...)
	set := make(map[string]float64, len(members))
	for i, score := range scores {
		if score != 0 {
			set[members[i]] = score
		}
	}
	return set
}

// ofEvents reports whether a key belongs to the log of events.
func (e *Embedded) ofEvents(key string) bool { return strings.HasPrefix(key, e.prefix+"{events}") }

// inSnapshotOnly reports whether the journal leaves a key out, because it is large and made again
// after a crash: the log of events, with the same ids, and the sums over all corps.
func (e *Embedded) inSnapshotOnly(key string) bool {
	return e.ofEvents(key) || strings.HasPrefix(key, e.prefix+"waiting-sum")
}

// append writes the current state of keys to the journal.
func (e *Embedded) append(keys []string) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	slices.Sort(keys)
	keys = slices.Compact(keys)
	records := make([][]byte, 0, len(keys))
	for _, key := range keys {
		if e.inSnapshotOnly(key) {
			continue
		}
		k, _ := e.read(key)
		data, err := json.Marshal(k)
		if err != nil {
			return fmt.Errorf("redis.snapshot: %w", err)
		}
		records = append(records, append([]byte{recordKey}, data...))
	}
	if len(records) == 0 {
		return nil
	}
	return e.journal.Append(records...)
}

// recordKey is the first byte of a journal record that holds a key of the embedded store.
const recordKey = 'K'

// journaling is a hook that appends every change to the journal before it is acknowledged. Changes
// of a pipeline, as of customers' messages, are synced to the disk then; others within a second.
type journaling struct{ e *Embedded }

// DialHook changes nothing.
func (journaling) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook appends the changes of one command. It ignores an error of the journal, so that
// replies go on: at worst a crash forgets that one was sent, and WeCom counts too.
func (h journaling) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if keys := changed(cmd); len(keys) > 0 {
			_ = h.e.append(keys)
		}
		return err
	}
}

// ProcessPipelineHook appends and syncs the changes of a pipeline. If the journal fails, so do the
// commands that changed something.
func (h journaling) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		var keys []string
		var changing []redis.Cmder
		for _, cmd := range cmds {
			if of := changed(cmd); len(of) > 0 {
				keys, changing = append(keys, of...), append(changing, cmd)
			}
		}
		if len(keys) == 0 {
			return err
		}
		lost := errors.Join(h.e.append(keys), h.e.journal.Sync())
		if lost == nil {
			return err
		}
		lost = errors.Join(lost, h.e.miss())
		for _, cmd := range changing { // go-redis gives an error that a hook returns to no command
			cmd.SetErr(lost)
		}
		return errors.Join(err, lost)
	}
}

// changed returns the keys that a command may have changed: none if it failed. redis.Nil is the
// answer of a script that returns nothing.
func changed(cmd redis.Cmder) []string {
	if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return nil
	}
	args := cmd.Args()
	text := func(i int) string {
		if i < len(args) {
			return fmt.Sprint(args[i])
		}
		return ""
	}
	switch cmd.Name() {
	case "evalsha", "eval":
		n, _ := strconv.Atoi(text(2))
		keys := make([]string, 0, n)
		for i := range n {
			keys = append(keys, text(3+i))
		}
		return keys
	case "set", "setnx", "del", "hset", "pexpireat":
		return []string{text(1)}
	}
	return nil
}

// restore reads the snapshot and the changes in the journal. Without an intact journal it deletes
// rg:since, so that history begins anew: messages may be lost.
func (e *Embedded) restore(intact bool) error {
	data, err := os.ReadFile(e.snapshot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	s := snapshotFile{Version: 1}
	if err == nil {
		if err := json.Unmarshal(data, &s); err != nil || s.Version != 1 {
			return fmt.Errorf("redis.snapshot: %s is not a snapshot of this version: move it away to start without it", e.snapshot)
		}
	}
	for _, k := range s.Keys {
		e.restoreKey(k)
	}
	for at := e.journal.Start(); at < e.journal.End(); {
		records, next, err := e.journal.Read(at, 10_000)
		if err != nil {
			return err
		}
		for _, r := range records {
			var k savedKey
			if r[0] != recordKey || json.Unmarshal(r[1:], &k) != nil {
				return fmt.Errorf("journal.path: %s holds facts that a Redis has not taken yet: start once with the redis.mode it was written in, or move it away", e.journal.path)
			}
			e.restoreKey(k)
		}
		at = next
	}
	if !intact {
		e.mini.Del(e.prefix + "since")
	}
	return nil
}

// restoreKey sets a key to a saved state, or deletes it if it has no value or has expired.
func (e *Embedded) restoreKey(k savedKey) {
	e.mini.Del(k.Key)
	left := time.UnixMilli(k.Expires).Sub(e.clock())
	if k.Expires != 0 && left <= 0 {
		return
	}
	if k.Hash == nil && k.String != "" {
		_ = e.mini.Set(k.Key, k.String)
	}
	for f, v := range k.Hash {
		e.mini.HSet(k.Key, f, v)
	}
	for member, score := range k.SortedSet {
		_, _ = e.mini.ZAdd(k.Key, score, member)
	}
	for _, entry := range k.Stream {
		_, _ = e.mini.XAdd(k.Key, entry.ID, entry.Values)
	}
	if k.Expires != 0 && e.mini.Exists(k.Key) {
		e.mini.SetTTL(k.Key, left)
	}
}

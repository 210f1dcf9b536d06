package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"replygate/config"
)

// Embedded is a Redis inside the process, for a gateway without one. Its state outlives the process
// in a snapshot, and in the journal what changed since.
type Embedded struct {
	mini     *miniredis.Miniredis
	snapshot string
	prefix   string
	journal  *Journal
	now      func() time.Time

	mu   sync.Mutex   // one tick or snapshot at a time
	last atomic.Int64 // the store's own time, unix ms: times to live count from it

	saving sync.Mutex // the journal's last word on a key is the newest

	stop chan struct{}
	done chan struct{}
}

const (
	tickEvery     = time.Second
	snapshotEvery = time.Minute
)

// openEmbedded restores the state. intact tells that the journal holds everything since the
// snapshot.
func openEmbedded(c config.Redis, j *Journal, intact bool, now func() time.Time) (*Embedded, error) {
	e := &Embedded{
		mini: miniredis.NewMiniRedis(), snapshot: c.Snapshot, prefix: c.Prefix, journal: j, now: now,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	e.last.Store(now().UnixMilli())
	e.mini.SetTime(e.clock())
	if err := e.restore(intact); err != nil {
		return nil, err
	}
	if err := e.Save(); err != nil { // finds out now whether it can be written
		return nil, err
	}
	if c.Listen != "" {
		if err := e.mini.StartAddr(c.Listen); err != nil {
			return nil, fmt.Errorf("redis.listen: %w", err)
		}
	}
	go e.drive()
	return e, nil
}

// dial connects to the store without a listener.
func (e *Embedded) dial() (net.Conn, error) {
	c, err := e.mini.Dial()
	if err != nil {
		return nil, err
	}
	return newPipe(c), nil
}

// Addr is where redis-cli reaches the embedded Redis; "" if nothing listens.
func (e *Embedded) Addr() string {
	if e.mini.Server() == nil || e.mini.Server().Addr() == nil {
		return ""
	}
	return e.mini.Addr()
}

// drive moves the store's clock and writes snapshots. A tick costs time in proportion to the keys,
// so its interval follows its cost. Expiry only frees memory: windows are judged by the times in
// them.
func (e *Embedded) drive() {
	defer close(e.done)
	wait, saved := tickEvery, e.now()
	for {
		select {
		case <-e.stop:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		e.Tick()
		wait = max(tickEvery, 50*time.Since(began))
		_ = e.journal.Sync() // the next one says so too
		if e.now().Sub(saved) >= snapshotEvery {
			saved = e.now()
			_ = e.Save() // tried again in a minute; a stop reports its own failure
		}
	}
}

// Tick lets the store's clock catch up with the gateway's.
func (e *Embedded) Tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.UnixMilli(e.now().UnixMilli()) // whole milliseconds: parts of them would add up
	if elapsed := now.Sub(e.clock()); elapsed > 0 {
		e.mini.SetTime(now)
		e.mini.FastForward(elapsed)
		e.last.Store(now.UnixMilli())
	}
}

// clock is the store's own time.
func (e *Embedded) clock() time.Time { return time.UnixMilli(e.last.Load()) }

// Close writes a last snapshot and ends the store.
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

// savedKey is a key as the snapshot and the journal hold it; without a value it is gone.

type savedKey struct {
	Key     string            `json:"key"`
	String  string            `json:"string,omitempty"`
	Hash    map[string]string `json:"hash,omitempty"`
	Expires int64             `json:"expires,omitempty"`
}

// Save writes a snapshot and forgets what the journal held before it.
func (e *Embedded) Save() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := snapshotFile{Version: 1, Keys: []savedKey{}}
	e.saving.Lock() // a change that is not in the journal yet comes behind covered
	covered := e.journal.End()
	e.saving.Unlock()
	for _, key := range e.mini.Keys() { // a key that changes meanwhile is in the journal as it is then
		if k, there := e.read(key); there {
			s.Keys = append(s.Keys, k)
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	if err := replaceFile(e.snapshot, data); err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	return e.journal.Drop(covered)
}

// read returns a key as it is now.
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
	default:
		return k, false
	}
	if ttl := e.mini.TTL(key); ttl > 0 {
		k.Expires = e.clock().Add(ttl).UnixMilli()
	}
	return k, true
}

// append puts keys into the journal as they are now.
func (e *Embedded) append(keys []string) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	records := make([][]byte, 0, len(keys))
	for _, key := range keys {
		k, _ := e.read(key)
		data, err := json.Marshal(k)
		if err != nil {
			return fmt.Errorf("redis.snapshot: %w", err)
		}
		records = append(records, append([]byte{recordKey}, data...))
	}
	return e.journal.Append(records...)
}

// recordKey begins a record of the journal that holds a key of the embedded store.
const recordKey = 'K'

// journaling has every change of a key kept in the journal before it is acknowledged. Changes that
// come in a pipeline, as customers' messages do, are on the disk then; others within a second.
type journaling struct{ e *Embedded }

// DialHook changes nothing.
func (journaling) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook keeps what one command changed. A journal that takes nothing does not keep replies
// back: at worst a crash forgets that one was sent, and WeCom counts too.
func (h journaling) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if keys := changed(cmd); err == nil && len(keys) > 0 {
			_ = h.e.append(keys)
		}
		return err
	}
}

// ProcessPipelineHook keeps what the commands of a pipeline changed.
func (h journaling) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		var keys []string
		for _, cmd := range cmds {
			if cmd.Err() == nil {
				keys = append(keys, changed(cmd)...)
			}
		}
		if len(keys) == 0 {
			return err
		}
		return errors.Join(err, h.e.append(keys), h.e.journal.Sync())
	}
}

// changed lists the keys that a command may have changed.
func changed(cmd redis.Cmder) []string {
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

// replaceFile writes data so that after a crash the file holds the old bytes or the new, never a
// mix.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// restore reads the snapshot, and from the journal what changed since. If something is missing
// between the two, or in the journal, records begin anew: what is not there may have been lost.
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
		records, next, err := e.journal.Read(at)
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
	if k.Expires != 0 && e.mini.Exists(k.Key) {
		e.mini.SetTTL(k.Key, left)
	}
}

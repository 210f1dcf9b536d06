package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json"

	"replygate/config"
)

// Embedded is a Redis inside the process, for a gateway without one. Its state outlives a restart in a
// snapshot; what came after the last one is lost with the process.
type Embedded struct {
	mini     *miniredis.Miniredis
	snapshot string
	prefix   string
	now      func() time.Time

	mu   sync.Mutex // one tick or snapshot at a time
	last time.Time

	stop chan struct{}
	done chan struct{}
}

const (
	tickEvery     = time.Second
	snapshotEvery = time.Minute
)

func openEmbedded(c config.Redis, now func() time.Time) (*Embedded, error) {
	e := &Embedded{
		mini: miniredis.NewMiniRedis(), snapshot: c.Snapshot, prefix: c.Prefix, now: now, last: now(),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	e.mini.SetTime(e.last)
	if err := e.restore(); err != nil {
		return nil, err
	}
	if err := e.save(false); err != nil { // finds out now whether it can be written
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

// drive moves the store's clock and writes snapshots. A tick costs time in proportion to the keys, so
// its interval follows its cost. Expiry only frees memory: windows are judged by the times in them.
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
		if e.now().Sub(saved) >= snapshotEvery {
			saved = e.now()
			_ = e.save(false) // tried again in a minute; a stop reports its own failure
		}
	}
}

// Tick lets the store's clock catch up with the gateway's.
func (e *Embedded) Tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if elapsed := now.Sub(e.last); elapsed > 0 {
		e.mini.SetTime(now)
		e.mini.FastForward(elapsed)
		e.last = now
	}
}

// Close writes a last snapshot and ends the store.
func (e *Embedded) Close() error {
	close(e.stop)
	<-e.done
	err := e.save(true)
	e.mini.Close()
	return err
}

// snapshotFile is the state on disk; times are absolute, in unix milliseconds.
type snapshotFile struct {
	Version int        `json:"version"`
	Clean   bool       `json:"clean"` // written by an orderly stop: nothing came after it
	Keys    []savedKey `json:"keys"`
}

type savedKey struct {
	Key     string            `json:"key"`
	String  string            `json:"string,omitempty"`
	Hash    map[string]string `json:"hash,omitempty"`
	Expires int64             `json:"expires,omitempty"`
}

func (e *Embedded) save(clean bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := snapshotFile{Version: 1, Clean: clean, Keys: []savedKey{}}
	for _, key := range e.mini.Keys() {
		k := savedKey{Key: key}
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
			continue
		}
		if ttl := e.mini.TTL(key); ttl > 0 {
			k.Expires = e.last.Add(ttl).UnixMilli()
		}
		s.Keys = append(s.Keys, k)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	if err := replaceFile(e.snapshot, data); err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	return nil
}

// replaceFile writes data so that after a crash the file holds the old bytes or the new, never a mix.
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

func (e *Embedded) restore() error {
	data, err := os.ReadFile(e.snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("redis.snapshot: %w", err)
	}
	var s snapshotFile
	if err := json.Unmarshal(data, &s); err != nil || s.Version != 1 {
		return fmt.Errorf("redis.snapshot: %s is not a snapshot of this version: move it away to start without it", e.snapshot)
	}
	for _, k := range s.Keys {
		if !s.Clean && k.Key == e.prefix+"since" {
			continue // what came between the snapshot and the crash is lost: records start anew
		}
		e.restoreKey(k)
	}
	return nil
}

func (e *Embedded) restoreKey(k savedKey) {
	left := time.UnixMilli(k.Expires).Sub(e.last)
	if k.Expires != 0 && left <= 0 {
		return
	}
	if k.Hash == nil {
		_ = e.mini.Set(k.Key, k.String)
	}
	for f, v := range k.Hash {
		e.mini.HSet(k.Key, f, v)
	}
	if k.Expires != 0 {
		e.mini.SetTTL(k.Key, left)
	}
}

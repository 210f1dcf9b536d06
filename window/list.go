package window

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Entry is one window as an operator sees it.
type Entry struct {
	Key    Key
	Window Window
	State  State
	Closes time.Time
	Left   int // -1: not counted
}

// Show returns the window of k; found is false if nothing is on record.
func (s *Store) Show(ctx context.Context, k Key) (e Entry, found bool, err error) {
	w, err := s.read(ctx, k.spell(s.Prefix))
	if err != nil || w.Last == 0 {
		return Entry{}, false, err
	}
	return s.entry(k, w), true, nil
}

func (s *Store) entry(k Key, w Window) Entry {
	return Entry{
		Key: k, Window: w, State: w.Judge(s.Now().UnixMilli(), s.Length, s.Replies),
		Closes: time.UnixMilli(w.Last).Add(s.Length), Left: w.Left(s.Replies),
	}
}

// List returns up to limit windows of a corp, or of all if corp is "", in no order. more tells that
// there are others. It scans every master, in steps, so that Redis goes on serving.
func (s *Store) List(ctx context.Context, corp string, limit int) (all []Entry, more bool, err error) {
	pattern := s.Prefix + "window:{*"
	if corp != "" {
		pattern = s.Prefix + "window:{" + string(appendID(nil, corp)) + ":*"
	}
	var mu sync.Mutex
	scan := func(ctx context.Context, c *redis.Client) error {
		it := c.Scan(ctx, 0, pattern, 500).Iterator()
		for it.Next(ctx) {
			k, ok := parseKey(s.Prefix, it.Val())
			if !ok {
				continue
			}
			mu.Lock()
			full := len(all) >= limit
			more = more || full
			mu.Unlock()
			if full {
				return nil
			}
			w, err := s.read(ctx, it.Val())
			if err != nil {
				return err
			}
			if w.Last != 0 {
				mu.Lock()
				all = append(all, s.entry(k, w))
				mu.Unlock()
			}
		}
		return it.Err()
	}
	switch c := s.rdb.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, scan)
	case *redis.Client:
		err = scan(ctx, c)
	default:
		err = fmt.Errorf("cannot scan a %T", c)
	}
	if err != nil {
		return nil, false, fmt.Errorf("window: list: %w", err)
	}
	return all, more, nil
}

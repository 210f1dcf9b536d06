package window

import (
	"context"
	"errors"
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
	Left   int  // replies left; -1: not counted
	Broken bool // the key holds no window
}

// Show returns the window of k. found is false if there is no record.
func (s *Store) Show(ctx context.Context, k Key) (e Entry, found bool, err error) {
	e, err = s.entry(ctx, k)
	return e, e.Broken || e.Window.Last != 0, err
}

func (s *Store) entry(ctx context.Context, k Key) (Entry, error) {
	w, err := s.read(ctx, k.redisKey(s.Prefix))
	switch {
	case errors.Is(err, ErrNoWindow):
		return Entry{Key: k, Left: -1, Broken: true}, nil
	case err != nil:
		return Entry{}, err
	}
	return Entry{
		Key: k, Window: w, State: w.Judge(s.Now().UnixMilli(), s.Length, s.Replies),
		Closes: time.UnixMilli(w.Last).Add(s.Length), Left: w.Left(s.Replies),
	}, nil
}

// List returns up to limit windows of a corp, or of all corps if corp is "", in no order. more
// reports that there are others. It scans every primary in steps, so Redis stays responsive.
func (s *Store) List(ctx context.Context, corp string, limit int) (all []Entry, more bool, err error) {
	pattern := s.Prefix + "window:{*"
	if corp != "" {
		pattern = s.Prefix + "window:{" + string(appendEncoded(nil, corp)) + ":*"
	}
	var scans []nodeScan
	switch c := s.rdb.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			one, err := s.scanNode(ctx, c, pattern, limit)
			mu.Lock()
			defer mu.Unlock()
			scans = append(scans, one)
			return err
		})
	case *redis.Client:
		var one nodeScan
		one, err = s.scanNode(ctx, c, pattern, limit)
		scans = []nodeScan{one}
	default:
		err = fmt.Errorf("cannot scan a %T", c)
	}
	if err != nil {
		return nil, false, fmt.Errorf("window: list: %w", err)
	}
	for _, one := range scans {
		all, more = append(all, one.entries...), more || one.more
	}
	if len(all) > limit {
		all, more = all[:limit], true
	}
	return all, more, nil
}

// nodeScan is what one primary has of a listing.
type nodeScan struct {
	entries []Entry
	more    bool // it has others
}

// scanNode scans one primary for up to limit windows.
func (s *Store) scanNode(ctx context.Context, c *redis.Client, pattern string, limit int) (found nodeScan, err error) {
	it := c.Scan(ctx, 0, pattern, 500).Iterator()
	for it.Next(ctx) {
		k, ok := parseKey(s.Prefix, it.Val())
		if !ok {
			continue
		}
		if len(found.entries) >= limit {
			found.more = true
			return found, nil
		}
		e, err := s.entry(ctx, k)
		if err != nil {
			return found, err
		}
		if e.Broken || e.Window.Last != 0 {
			found.entries = append(found.entries, e)
		}
	}
	return found, it.Err()
}

package window

import (
	"context"
	"errors"
	"fmt"
	"time"
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
	return s.entryOf(k, w, err)
}

// entryOf returns the entry of a window that was read, or its error.
func (s *Store) entryOf(k Key, w Window, err error) (Entry, error) {
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

// Scan returns some windows of a corp, or of all corps if corp is "", in no order. It goes on from
// where an earlier call ended: next is "" at the end. A window may come twice. It scans in steps,
// so Redis stays responsive.
func (s *Store) Scan(ctx context.Context, corp, from string, limit int) (entries []Entry, next string, err error) {
	nodes, err := s.primaries(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("window: scan: %w", err)
	}
	var node int
	var cursor uint64
	if from != "" {
		if _, err := fmt.Sscanf(from, "%d.%d", &node, &cursor); err != nil || node < 0 || node >= len(nodes) {
			return nil, "", ErrBadPlace
		}
	}
	for node < len(nodes) && len(entries) < limit {
		some, after, err := s.scanStep(ctx, nodes[node], corp, cursor)
		if err != nil {
			return nil, "", fmt.Errorf("window: scan: %w", err)
		}
		entries = append(entries, some...)
		if cursor = after; cursor == 0 {
			node++
		}
	}
	if node < len(nodes) {
		next = fmt.Sprintf("%d.%d", node, cursor)
	}
	return entries, next, nil
}

// ErrBadPlace means that Scan did not return the place from which it is to go on.
var ErrBadPlace = errors.New("window: no scan ended there")

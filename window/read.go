package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// read returns the window at a key, the zero Window if there is none.
func (s *Store) read(ctx context.Context, key string) (Window, error) {
	h, err := s.rdb.HMGet(ctx, key, windowFields...).Result()
	return parseWindow(key, h, err)
}

// windowFields are the fields of a window, in the order that parseWindow expects. A reply needs the
// first three alone.
var windowFields = []string{"last", "sent", "shut", "answered", "served", "answers"}

// readWindows reads windows with all fields, in one round trip.
func (s *Store) readWindows(ctx context.Context, keys []Key) ([]Entry, error) {
	p := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(keys))
	for i, k := range keys {
		cmds[i] = p.HMGet(ctx, k.redisKey(s.Prefix), windowFields...)
	}
	if len(keys) > 0 {
		_, _ = p.Exec(ctx) // each command has its own error
	}
	entries := make([]Entry, len(keys))
	for i, cmd := range cmds {
		h, err := cmd.Result()
		w, err := parseWindow(keys[i].redisKey(s.Prefix), h, err)
		if entries[i], err = s.entryOf(keys[i], w, err); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// readAll reads windows in one round trip.
func (s *Store) readAll(ctx context.Context, keys []string, now int64) []result {
	p := s.rdb.Pipeline()
	read := make([]*redis.SliceCmd, len(keys))
	for i, key := range keys {
		read[i] = p.HMGet(ctx, key, "last", "sent", "shut")
	}
	_, _ = p.Exec(ctx) // each command has its own error
	answers := make([]result, len(keys))
	for i, cmd := range read {
		h, err := cmd.Result()
		w, err := parseWindow(keys[i], h, err)
		answers[i] = result{w.answer(now, s.Length, s.Replies), err}
	}
	return answers
}

// ErrNoWindow is returned for a window's key that holds something else.
var ErrNoWindow = errors.New("holds no window: delete it")

func errNotAWindow(key string) error { return fmt.Errorf("window: %s %w", key, ErrNoWindow) }

// warnBroken logs that a window's key holds something else. The customer's id is left out, since
// ids may have to stay out of logs.
func (s *Store) warnBroken(k Key, err error) {
	if !errors.Is(err, ErrNoWindow) {
		return
	}
	s.Log.Warn("redis holds something else where a customer's window should be, so replies to that customer cannot be judged: replygate windows list --all shows it as broken, delete it",
		zap.String("corp_id", k.Corp), zap.String("channel", k.Channel))
}

// parseWindow parses the reply to HMGET of windowFields, or of the first three.
func parseWindow(key string, h []any, err error) (Window, error) {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return Window{}, errNotAWindow(key)
	}
	if err != nil {
		return Window{}, fmt.Errorf("window: read: %w", err)
	}
	var texts [6]string
	for i := range min(len(h), len(texts)) {
		texts[i], _ = h[i].(string)
	}
	var w Window
	if w.Last, err = strconv.ParseInt(texts[0], 10, 64); err != nil && texts[0] != "" {
		return Window{}, errNotAWindow(key)
	}
	if texts[2] != "" {
		w.Shut, _ = strconv.ParseInt(texts[2], 10, 64)
	}
	w.Answered, _ = strconv.ParseInt(texts[3], 10, 64)
	w.Served, _ = strconv.ParseInt(texts[4], 10, 64)
	if texts[1] == "" {
		return w, nil
	}
	for t := range strings.SplitSeq(texts[1], ",") {
		if n, err := strconv.ParseInt(t, 10, 64); err == nil && n >= counts(w.Last) {
			w.Sent = append(w.Sent, n)
		}
	}
	if len(h) > 3 && texts[3] == "" && texts[5] == "" && len(w.Sent) > 0 { // its outcome is unknown: it may have been taken
		w.unsettled = w.Sent[len(w.Sent)-1]
	}
	return w, nil
}

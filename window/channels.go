package window

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Channel is what the records tell about one channel of a corp.
type Channel struct {
	ID       string
	Since    time.Time // the history has no gap after this time
	Complete bool      // so that a missing window means that the customer did not write
	Messages int64     // in the last week
	Replied  time.Time // the newest reply in the last week; zero: none was seen
	Untold   string    // why it cannot be told whether its chats are answered; "": it can be
	Waiting  int       // chats that wait for an answer
}

// Channels returns what is known about the channels of a corp: those of the last week, and others
// that the caller names. It only reads times, like HistorySince.
func (s *Store) Channels(ctx context.Context, corp string, others ...string) ([]Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.Timeout)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		return nil, fmt.Errorf("window: channels: %w", err)
	}
	p := s.rdb.Pipeline()
	marks, fields := p.HGetAll(ctx, s.untoldKey(corp)), p.HGetAll(ctx, s.channelsKey(corp))
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("window: channels: %w", err)
	}
	t := parseCoverage(marks.Val(), fields.Val(), s.Now(), s.Length)
	ids := slices.DeleteFunc(slices.Concat(t.known, others), func(id string) bool { return id == "" })
	slices.Sort(ids)
	ids = slices.Compact(ids)
	ids = ids[:min(len(ids), maxChannelsOf)]
	scopes := make([]scope, len(ids))
	for i, id := range ids {
		scopes[i] = s.ofMessages(Key{Corp: corp, Channel: id})
	}
	all := make([]Channel, len(ids))
	for i, h := range s.readHistories(ctx, scopes...) {
		if h.err != nil {
			return nil, fmt.Errorf("window: channels: %w", h.err)
		}
		id := ids[i]
		all[i] = Channel{ID: id, Since: h.since, Complete: s.proves(h), Untold: later(t.all, t.channels[id]).why}
	}
	countWeek(all, fields.Val(), s.Now())
	return all, s.countByChannel(ctx, corp, t, all)
}

// countByChannel counts the waiting chats of each channel, as far as it can be told.
func (s *Store) countByChannel(ctx context.Context, corp string, t *coverage, all []Channel) error {
	counts := map[string]int{}
	err := s.eachWaiting(ctx, corp, t, s.Now(), func(k Key, _ int64) { counts[k.Channel]++ })
	for i := range all {
		all[i].Waiting = counts[all[i].ID]
	}
	return err
}

// countWeek sets what the fields of channelsKey have of the last week.
func countWeek(all []Channel, fields map[string]string, now time.Time) {
	for field, value := range fields {
		id, what, _ := strings.Cut(field, "|")
		channel, ok := unescapeID(id)
		n, err := strconv.ParseInt(value, 10, 64)
		i := slices.IndexFunc(all, func(c Channel) bool { return c.ID == channel })
		if !ok || err != nil || i < 0 {
			continue
		}
		if what == repliedField[1:] {
			all[i].Replied = time.UnixMilli(n)
		} else if on, err := strconv.ParseInt(what, 10, 64); err == nil && on > day(now)-unrepliedDays {
			all[i].Messages += n
		}
	}
}

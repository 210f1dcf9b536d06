package window

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Why it cannot be told whether chats are answered. Such chats are never listed as waiting.
const (
	UntoldDropped     = "dropped"      // replies passed and were not looked at, or could not be recorded
	UntoldUnread      = "unread"       // the beginning of a reply's body does not name channel and customer
	UntoldBypassed    = "bypassed"     // messages bypass the gateway
	UntoldNoReplies   = "no_replies"   // many messages and no reply of any kind: replies bypass the gateway
	UntoldNotObserved = "not_observed" // window.observe: judged, and the account is not judged
	UntoldGap         = "gap"          // messages passed unrecorded or were lost, and with them perhaps replies
)

// AllChannels marks all channels of a corp.
const AllChannels = allChannels

// untoldMark is an instant: it cannot be told whether chats whose last message is older are
// answered.
type untoldMark struct {
	at  int64 // unix ms
	why string
}

// always is the mark of channels of which nothing can be told.
const always = math.MaxInt64

// A channel whose bots send their replies past the gateway: it has so many messages in so many
// days, and no reply.
const (
	unrepliedMessages = 20
	unrepliedDays     = 7
)

// MarkUntold notes that it cannot be told whether chats of a channel with an older last message are
// answered. It does not wait for Redis.
func (s *Store) MarkUntold(corp, channel string, at time.Time, why string) {
	if corp == "" {
		return
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.mark(channelOf{corp, channel}, untoldMark{at.UnixMilli(), why})
}

// untoldBy marks the channels of losses: a servicer's message may be among what was lost. A new
// account has lost nothing that it had, and an item without a time comes again and again.
func (s *Store) untoldBy(losses []Loss) {
	for _, l := range losses {
		at := time.UnixMilli(l.Noted)
		if l.Item != nil {
			at = l.Item.At
		}
		if l.Messages && l.Reason != gapNewAccount && !at.IsZero() {
			s.MarkUntold(l.Corp, cmp.Or(l.Channel, AllChannels), at, UntoldGap)
		}
	}
}

// untoldAll marks all accounts, after a loss of unknown extent: replies may be lost too. Those that
// this gateway does not know yet are marked once their names have been read.
func (s *Store) untoldAll() {
	at := s.Now()
	s.gaps.mu.Lock()
	corps := slices.Clone(s.gaps.listed)
	s.gaps.mu.Unlock()
	s.sums.mu.Lock()
	corps = append(corps, s.sums.names...)
	s.sums.lost = at
	s.sums.mu.Unlock()
	for _, corp := range corps {
		s.MarkUntold(corp, AllChannels, at, UntoldGap)
	}
}

func (s *Store) untoldKey(corp string) string {
	return s.Prefix + "untold:{" + string(appendEncoded(nil, corp)) + "}"
}

// channelsKey is the key of what is known about a corp's channels. Its fields are an encoded
// channel, "|" and "replied" (unix ms) or a day since 1970 (messages on it, UTC).
func (s *Store) channelsKey(corp string) string {
	return s.Prefix + "channels:{" + string(appendEncoded(nil, corp)) + "}"
}

const repliedField = "|replied"

func day(t time.Time) int64 { return t.Unix() / 86400 }

// writeChannels queues what is new about channels.
func (s *Store) writeChannels(ctx context.Context, p redis.Pipeliner, c indexChanges, queue func(corp string, cmds ...redis.Cmder)) {
	const kept = (unrepliedDays + 1) * 24 * time.Hour
	touched := map[string]bool{}
	for of, n := range c.messages {
		queue(of.corp, p.HIncrBy(ctx, s.channelsKey(of.corp), fmt.Sprintf("%s|%d", appendEncoded(nil, of.channel), day(s.Now())), int64(n)))
		touched[of.corp] = true
	}
	for of, at := range c.replies {
		queue(of.corp, p.HSet(ctx, s.channelsKey(of.corp), string(appendEncoded(nil, of.channel))+repliedField, at))
		touched[of.corp] = true
	}
	for corp := range touched {
		p.Expire(ctx, s.channelsKey(corp), kept)
	}
}

// markField is this gateway's field of a mark. Each gateway has its own, so that none lowers
// another's.
func (s *Store) markField(channel string) string {
	id := allChannels
	if channel != allChannels {
		id = string(appendEncoded(nil, channel))
	}
	return id + "|" + s.gateway
}

// writeMarks raises marks in Redis.
func (s *Store) writeMarks(ctx context.Context, marks map[channelOf]untoldMark) error {
	if len(marks) == 0 {
		return nil
	}
	p := s.rdb.Pipeline()
	old := make(map[channelOf]*redis.StringCmd, len(marks))
	for of := range marks {
		old[of] = p.HGet(ctx, s.untoldKey(of.corp), s.markField(of.channel))
	}
	_, _ = p.Exec(ctx) // an absent mark is an error too, and the writes fail as well
	p = s.rdb.Pipeline()
	for of, m := range marks {
		if was, _ := parseMark(old[of].Val()); was.at < m.at {
			p.SAdd(ctx, s.Prefix+waitingCorps, of.corp)
			p.HSet(ctx, s.untoldKey(of.corp), s.markField(of.channel), fmt.Sprintf("%d:%s", m.at, m.why))
			p.PExpire(ctx, s.untoldKey(of.corp), s.Length)
		}
	}
	if p.Len() == 0 {
		return nil
	}
	_, err := p.Exec(ctx)
	return err
}

// parseMark parses the value of a mark.
func parseMark(value string) (m untoldMark, ok bool) {
	text, why, _ := strings.Cut(value, ":")
	at, err := strconv.ParseInt(text, 10, 64)
	return untoldMark{at, why}, err == nil
}

// coverage is from when on a corp's chats are known to be answered or not.
type coverage struct {
	all      untoldMark
	channels map[string]untoldMark // by channel
	known    []string              // channels with messages or replies in the last week
	stale    []string              // fields of days that no longer count
}

// covers reports whether it is known whether a chat is answered, by its last message.
func (t *coverage) covers(k Key, last int64) bool {
	return last >= t.all.at && last >= t.channels[k.Channel].at
}

// uniform reports whether one mark holds for all channels.
func (t *coverage) uniform() bool { return len(t.channels) == 0 }

// complete reports whether all chats are covered.
func (t *coverage) complete() bool { return t.all.at == 0 && t.uniform() }

// readCoverage reads the coverage of corps, in one round trip.
func (s *Store) readCoverage(ctx context.Context, corps []string) (map[string]*coverage, error) {
	p := s.rdb.Pipeline()
	marks, channels := make([]*redis.MapStringStringCmd, len(corps)), make([]*redis.MapStringStringCmd, len(corps))
	for i, corp := range corps {
		marks[i], channels[i] = p.HGetAll(ctx, s.untoldKey(corp)), p.HGetAll(ctx, s.channelsKey(corp))
	}
	if len(corps) > 0 {
		if _, err := p.Exec(ctx); err != nil {
			return nil, fmt.Errorf("window: what can be told: %w", err)
		}
	}
	all := make(map[string]*coverage, len(corps))
	for i, corp := range corps {
		all[corp] = parseCoverage(marks[i].Val(), channels[i].Val(), s.Now(), s.Length)
	}
	return all, nil
}

func parseCoverage(marks, channels map[string]string, now time.Time, length time.Duration) *coverage {
	t := &coverage{channels: map[string]untoldMark{}}
	for field, value := range marks {
		m, ok := parseMark(value)
		if !ok || m.at <= now.Add(-length).UnixMilli() {
			continue
		}
		id, _, _ := strings.Cut(field, "|")
		if channel, ok := unescapeID(id); id == allChannels {
			t.all = later(t.all, m)
		} else if ok {
			t.channels[channel] = later(t.channels[channel], m)
		}
	}
	messages, replied := map[string]int64{}, map[string]bool{}
	for field, value := range channels {
		id, what, _ := strings.Cut(field, "|")
		channel, ok := unescapeID(id)
		n, err := strconv.ParseInt(value, 10, 64)
		if !ok || err != nil {
			continue
		}
		if _, known := messages[channel]; !known {
			messages[channel] = 0
			t.known = append(t.known, channel)
		}
		if what == repliedField[1:] {
			replied[channel] = n > now.AddDate(0, 0, -unrepliedDays).UnixMilli()
		} else if on, err := strconv.ParseInt(what, 10, 64); err != nil || on <= day(now)-unrepliedDays {
			t.stale = append(t.stale, field)
		} else {
			messages[channel] += n
		}
	}
	for channel, n := range messages {
		if n >= unrepliedMessages && !replied[channel] {
			t.channels[channel] = untoldMark{always, UntoldNoReplies}
		}
	}
	return t
}

func later(a, b untoldMark) untoldMark {
	if b.at > a.at {
		return b
	}
	return a
}

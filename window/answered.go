package window

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// ReplyKind is who sent a reply, or that one was taken back.
type ReplyKind byte

// The kinds of replies, as answer.lua knows them.
const (
	ByBot      ReplyKind = 'b' // WeCom took a reply that was sent by API
	ByServicer ReplyKind = 's' // a servicer wrote in the client
	TakenBack  ReplyKind = 't' // WeCom did not deliver it, or the servicer recalled it
)

// Reply is a message to a customer, or the news that one was taken back.
type Reply struct {
	Key  Key
	Kind ReplyKind
	At   time.Time // a servicer's by the platform's clock; a bot's when WeCom's answer came
	ID   string    // msgid, "" if unknown: then it cannot be taken back
}

// entry returns the argument of answer.lua for a reply.
func (r Reply) entry() string {
	var space [32]byte
	b := fmt.Appendf(space[:0], "%c%013d", r.Kind, r.At.UnixMilli())
	if r.ID != "" {
		h := sha256.Sum256([]byte(r.ID))
		b = base64.RawURLEncoding.AppendEncode(b, h[:5])
		b = b[:1+13+6]
	}
	return string(b)
}

// keptEntries is how many entries of a kind matter: one more than answer.lua keeps, since it also
// notes that there were more.
const keptEntries = 4

// newestEntries returns the newest entries of each kind, without repetitions.
func newestEntries(entries []string) []string {
	slices.Sort(entries)
	entries = slices.Compact(entries)
	kept := entries[:0]
	for i, e := range entries {
		if after := i + keptEntries; after >= len(entries) || entries[after][0] != e[0] {
			kept = append(kept, e)
		}
	}
	return kept
}

// answersOf returns the replies to each customer that may still matter: older ones than a window
// answer nobody.
func (s *Store) answersOf(replies []Reply) map[Key][]string {
	if len(replies) == 0 {
		return nil
	}
	now := s.Now()
	all := make(map[Key][]string, len(replies))
	for _, r := range replies {
		if r.At.After(now.Add(maxAhead)) {
			r.At = now
		}
		if now.Before(r.At.Add(s.Length)) {
			all[r.Key] = append(all[r.Key], r.entry())
		}
	}
	for k, entries := range all {
		all[k] = newestEntries(entries)
	}
	return all
}

// RecordReplies stores replies in the windows that they answer, and returns those of the windows
// that were surely open. Order and repetition do not matter. It goes to the journal only if that
// holds something already: a reply must not cost this gateway its leases. After an error the caller
// tries again, or reports them lost.
func (s *Store) RecordReplies(ctx context.Context, replies []Reply) (open map[Key]bool, err error) {
	b := newBacklog()
	b.answers = s.answersOf(replies)
	s.dropKnown(&b.writes)
	sent, err := s.writeAnswers(ctx, b.answers)
	now := s.Now().UnixMilli()
	open = make(map[Key]bool, len(sent))
	for i := range sent {
		for n, a := range sent[i].answers() {
			w := Window{Last: a.last, Shut: a.shut}
			open[sent[i].of[n]] = w.Judge(now, s.Length, 0) == Open
		}
	}
	return open, err
}

// writeAnswers returns what was sent to Redis, nothing if that went to the journal.
func (s *Store) writeAnswers(ctx context.Context, answers map[Key][]string) ([]write, error) {
	if len(answers) == 0 {
		return nil, nil
	}
	b := newBacklog()
	b.answers = answers
	s.waitSettled()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(answers))*time.Millisecond)
	defer cancel()
	sent, _, err := s.writeWithRetry(ctx, b.writes)
	if err != nil && !s.embedded() && !s.journal.Empty() {
		err = s.spillAnswers(b)
	}
	if err != nil {
		return nil, fmt.Errorf("window: record replies: %w", err)
	}
	return sent, nil
}

// answerState is what answer.lua says of a window.
type answerState struct {
	last, shut int64 // last is 0 if there is no window
	waiting    bool
	changed    bool // perhaps: the customer waited before
}

// answers returns what answer.lua said of each window, nothing for another write.
func (w *write) answers() []answerState {
	if w.script != answerScript {
		return nil
	}
	r, _ := w.cmd.(*redis.Cmd).Int64Slice()
	if len(r) != 3*len(w.keys) {
		return nil
	}
	all := make([]answerState, len(w.keys))
	for i := range all {
		last, state, shut := r[3*i], r[3*i+1], r[3*i+2]
		all[i] = answerState{last: last, shut: shut, waiting: state == 1, changed: state != 3}
	}
	return all
}

// SpillReplies writes replies to the journal, for a gateway that stops while Redis is away.
func (s *Store) SpillReplies(replies []Reply) error {
	if s.embedded() {
		return nil // its Redis ends with it
	}
	b := newBacklog()
	b.answers = s.answersOf(replies)
	return s.spillAnswers(b)
}

func (s *Store) spillAnswers(b backlog) error {
	records, err := b.encode()
	if err == nil && len(records) > 0 {
		err = s.journal.Append(records...)
	}
	if err != nil {
		return fmt.Errorf("window: spill replies: %w", err)
	}
	return s.journal.Sync()
}

// loseAnswers marks the channels of replies that could not be recorded.
func (s *Store) loseAnswers(answers map[Key][]string) {
	for k := range answers {
		s.MarkUntold(k.Corp, k.Channel, s.Now(), UntoldDropped)
	}
}

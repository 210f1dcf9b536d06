package window

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// answer is what is to be recorded of replies to one customer.
type answer struct {
	of      Key
	entries string // as answer.lua takes them: one for each reply, with blanks between them
}

// entry returns the entry of a reply in answer.lua.
func (r Reply) entry() string {
	var space [32]byte
	b := appendTime(append(space[:0], byte(r.Kind)), r.At)
	if r.ID != "" {
		h := sha256.Sum256([]byte(r.ID))
		b = base64.RawURLEncoding.AppendEncode(b, h[:5])[:len(b)+idLetters]
	}
	return string(b)
}

const (
	timeDigits = 13 // of a time in an entry, unix ms
	idLetters  = 6  // of the hash of an id
)

// appendTime appends a time in unix ms, with timeDigits.
func appendTime(b []byte, at time.Time) []byte {
	ms := at.UnixMilli()
	for least := int64(1e12); ms < least && least > 1; least /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, ms, 10)
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

// merged returns one answer for each customer, with the entries that may still matter.
func merged(answers []answer) []answer {
	byKey := make(map[Key][]string, len(answers))
	for _, a := range answers {
		byKey[a.of] = append(byKey[a.of], strings.Fields(a.entries)...)
	}
	all := make([]answer, 0, len(byKey))
	for k, entries := range byKey {
		all = append(all, answer{k, strings.Join(newestEntries(entries), " ")})
	}
	return all
}

// answersOf returns what is to be recorded of replies. Older ones than a window answer nobody.
// Those of pages are merged, since a page has many to one customer; those of bots come one by one.
func (s *Store) answersOf(replies []Reply) []answer {
	if len(replies) == 0 {
		return nil
	}
	now := s.Now()
	sent := make([]answer, 0, len(replies))
	var paged []answer
	for _, r := range replies {
		if r.At.After(now.Add(maxAhead)) {
			r.At = now
		}
		switch {
		case !now.Before(r.At.Add(s.Length)):
		case r.Kind == ByBot:
			sent = append(sent, answer{r.Key, r.entry()})
		default:
			paged = append(paged, answer{r.Key, r.entry()})
		}
	}
	return append(sent, merged(paged)...)
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
	open = make(map[Key]bool, len(b.answers))
	for i := range sent {
		for n, state := range sent[i].recorded() {
			open[sent[i].replies[n].of] = state.open
		}
	}
	return open, err
}

// writeAnswers returns what was sent to Redis, nothing if that went to the journal.
func (s *Store) writeAnswers(ctx context.Context, answers []answer) ([]write, error) {
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

// recorded is what answer.lua says of a window.
type recorded struct {
	found   bool
	open    bool
	changed bool  // whether it waits, perhaps
	waiting bool  // if it has changed
	last    int64 // if it has changed
}

// recorded returns what answer.lua said of each window, nothing for another write.
func (w *write) recorded() []recorded {
	if w.script != answerScript {
		return nil
	}
	out, _ := w.cmd.(*redis.Cmd).Slice()
	if len(out) == 0 {
		return nil
	}
	states, _ := out[0].(string)
	if len(states) != len(w.keys) {
		return nil
	}
	all, lasts := make([]recorded, len(states)), out[1:]
	for i := range all {
		r := &all[i]
		r.found, r.open = states[i] != '-', 'A' <= states[i] && states[i] <= 'Z'
		kind := states[i] | ' ' // in lower case
		if r.changed, r.waiting = kind == 'w' || kind == 'a', kind == 'w'; r.changed && len(lasts) > 0 {
			r.last, _ = lasts[0].(int64)
			lasts = lasts[1:]
		}
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
func (s *Store) loseAnswers(answers []answer) {
	for _, a := range answers {
		s.MarkUntold(a.of.Corp, a.of.Channel, s.Now(), UntoldDropped)
	}
}

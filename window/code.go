package window

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Code is whom a one-time code of WeCom stands for, and until when.
type Code struct {
	Key      Key
	Kind     string    // what gave it out, as package wecom names it
	Deadline time.Time // from then on WeCom takes it no more
}

// keepCode is how long a code stays on record. It is the longest life of any, so that one that
// comes again in a replayed page is known to be used, or past its deadline.
const keepCode = 48 * time.Hour

// LearntCode is a code as it became known.
type LearntCode struct {
	Code
	Text string
}

// CodeState is what is known of a code.
type CodeState uint8

// The states of a code. The zero CodeState lets nothing through.
const (
	CodeUnknown     CodeState = iota // it was never seen, or belongs to another corp
	CodeUsed                         // a message went out with it already
	CodeTaken                        // it was fresh, and is marked as used now
	CodeUnavailable                  // Redis is away
	CodeIncomplete                   // it was never seen, but may have been missed: records have a gap
)

var codeStateNames = [...]string{"unknown", "used", "fresh", "unavailable", "incomplete"}

// String returns the state's word, as records have it.
func (s CodeState) String() string { return codeStateNames[s] }

// ReadCodeState returns the state with a word; ok is false if there is none.
func ReadCodeState(word string) (s CodeState, ok bool) {
	i := slices.Index(codeStateNames[:], word)
	return CodeState(max(i, 0)), i >= 0
}

// CodeAnswer is what is known of a code.
type CodeAnswer struct {
	State CodeState
	Code  Code // unless unknown or unavailable
	key   string
}

// LearnCodes notes whom codes stand for. What is known already stays, so that a replay frees no
// used code. What Redis does not take is kept in the journal.
func (s *Store) LearnCodes(ctx context.Context, codes []LearntCode) error {
	if len(codes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := s.learn(ctx, codes); err != nil {
		return s.spill(nil, codes, err)
	}
	if !s.embedded() {
		s.recent.add(s.Now(), nil, codes)
	}
	return nil
}

func (s *Store) learn(ctx context.Context, codes []LearntCode) error {
	p := s.rdb.Pipeline()
	for _, c := range codes {
		p.SetNX(ctx, s.codeKey(c.Text), c.encode(), keepCode)
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: learn codes: %w", err)
	}
	return nil
}

// Asked tells whether the answer is one at all, rather than the zero CodeAnswer.
func (a CodeAnswer) Asked() bool { return a.State != CodeUnknown || a.key != "" }

// PeekCode is ConsumeCode without marking the code as used: CodeTaken says that it would be.
func (s *Store) PeekCode(ctx context.Context, corp, code string) CodeAnswer {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	key := s.codeKey(code)
	record, err := s.rdb.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return CodeAnswer{State: CodeUnavailable, key: key}
	}
	record, used := strings.CutSuffix(record, ":used")
	c, ok := parseCode(record)
	switch {
	case !ok:
		return s.missingCode(ctx, corp, key)
	case c.Key.Corp != corp:
		return CodeAnswer{State: CodeUnknown, key: key}
	case used:
		return CodeAnswer{State: CodeUsed, Code: c, key: key}
	}
	return CodeAnswer{State: CodeTaken, Code: c, key: key}
}

// CorpOfCode returns the corp that a code was given out for, "" if it is not on record. An error
// says that Redis did not answer, or may lack the code.
func (s *Store) CorpOfCode(ctx context.Context, code string) (corp string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	record, err := s.rdb.Get(ctx, s.codeKey(code)).Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return "", fmt.Errorf("window: corp of code: %w", err)
	}
	c, ok := parseCode(strings.TrimSuffix(record, ":used"))
	if !ok && s.degraded() {
		return "", errors.New("window: corp of code: redis may lack codes that were learnt")
	}
	return c.Key.Corp, nil
}

// ConsumeCode asks whom a code of the corp stands for and marks it as used, in one step. It never
// fails: an answer that Redis does not give is a CodeState. One in the state CodeTaken is given to
// RestoreCode if WeCom certainly did not take the message.
func (s *Store) ConsumeCode(ctx context.Context, corp, code string) CodeAnswer {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	key := s.codeKey(code)
	r, err := consumeCodeScript.Run(ctx, s.rdb, []string{key}, string(appendEncoded(nil, corp))+":", s.scriptDeadline(ctx, s.nodeOf(ctx, key))).Slice()
	if err != nil || len(r) != 2 {
		return CodeAnswer{State: CodeUnavailable, key: key}
	}
	state, _ := r[0].(int64)
	record, _ := r[1].(string)
	c, ok := parseCode(record)
	switch {
	case !ok:
		return s.missingCode(ctx, corp, key)
	case c.Key.Corp != corp:
		return CodeAnswer{State: CodeUnknown, key: key}
	}
	return CodeAnswer{State: CodeState(state), Code: c, key: key}
}

// missingCode is the answer for a code that is not on record: unknown only if records are complete.
func (s *Store) missingCode(ctx context.Context, corp, key string) CodeAnswer {
	h := s.history(ctx, s.ofCodes(corp))
	switch {
	case h.err != nil, s.degraded():
		return CodeAnswer{State: CodeUnavailable, key: key}
	case !s.proves(h):
		return CodeAnswer{State: CodeIncomplete, key: key}
	}
	return CodeAnswer{State: CodeUnknown, key: key}
}

// nodeOf is the address of the node of a Cluster that has a key, "" elsewhere.
func (s *Store) nodeOf(ctx context.Context, key string) string {
	if c, ok := s.rdb.(*redis.ClusterClient); ok {
		if node, err := c.MasterForKey(ctx, key); err == nil {
			return node.Options().Addr
		}
	}
	return ""
}

// RestoreCode makes a taken code fresh again.
func (s *Store) RestoreCode(ctx context.Context, a CodeAnswer) error {
	if a.State != CodeTaken {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := restoreCodeScript.Run(ctx, s.rdb, []string{a.key}).Err(); err != nil {
		return fmt.Errorf("window: give back code: %w", err)
	}
	return nil
}

// codeKey names a code in Redis by its hash: a code is as good as a message.
func (s *Store) codeKey(code string) string {
	h := sha256.Sum256([]byte(code))
	return s.Prefix + "code:" + hex.EncodeToString(h[:])
}

// redisKey is what stands in Redis of a code: corp:channel:customer:kind:deadline, the deadline in
// unix ms.
func (c Code) encode() string {
	b := c.Key.appendIDs(nil)
	b = append(append(b, ':'), c.Kind...)
	return string(strconv.AppendInt(append(b, ':'), c.Deadline.UnixMilli(), 10))
}

func parseCode(s string) (Code, bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 5 {
		return Code{}, false
	}
	k, ok := parseIDs(parts[:3])
	deadline, err := strconv.ParseInt(parts[4], 10, 64)
	return Code{Key: k, Kind: parts[3], Deadline: time.UnixMilli(deadline)}, ok && err == nil
}

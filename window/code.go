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
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// Code is the customer that a one-time code of WeCom belongs to, and its deadline.
type Code struct {
	Key      Key
	Kind     string    // the event that carried it, as package wecom names it
	Deadline time.Time // from then on WeCom rejects it
}

// keepCode is how long a code stays in Redis: the longest life of any code, so that a code in a
// replayed page is found as used, or is past its deadline.
const keepCode = 48 * time.Hour

// LearntCode is a code with its text, as an event carries it.
type LearntCode struct {
	Code
	Text string
}

// CodeState is what Redis has about a code.
type CodeState uint8

// The states of a code. The zero CodeState lets nothing through.
const (
	CodeUnknown     CodeState = iota // never seen, or of another corp
	CodeUsed                         // a message was sent with it before
	CodeTaken                        // it was fresh, and is marked as used now
	CodeUnavailable                  // Redis does not answer
	CodeIncomplete                   // never seen, but the corp's history has a gap
)

var codeStateNames = [...]string{"unknown", "used", "fresh", "unavailable", "incomplete"}

// String returns the state's name in decision records.
func (s CodeState) String() string { return codeStateNames[s] }

// ReadCodeState is the inverse of String. ok is false for an unknown name.
func ReadCodeState(name string) (s CodeState, ok bool) {
	i := slices.Index(codeStateNames[:], name)
	return CodeState(max(i, 0)), i >= 0
}

// CodeAnswer is the result of a look at a code.
type CodeAnswer struct {
	State CodeState
	Code  Code // zero if the code is not on record
	key   string
}

// LearnCodes stores codes. It does not change codes that are stored already, so a replayed event
// does not free a used one. If Redis fails, the codes go to the journal.
func (s *Store) LearnCodes(ctx context.Context, codes []LearntCode) error {
	if len(codes) == 0 {
		return nil
	}
	b := newBacklog()
	b.codes = codes
	if err := s.commit(ctx, b); err != nil {
		return fmt.Errorf("window: learn codes: %w", err)
	}
	return nil
}

// Asked reports whether a code was looked up: it is false for the zero CodeAnswer.
func (a CodeAnswer) Asked() bool { return a.State != CodeUnknown || a.key != "" }

// PeekCode is ConsumeCode without a change of state: CodeTaken means that the code is fresh.
func (s *Store) PeekCode(ctx context.Context, corp, code string) CodeAnswer {
	asking, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	key := s.codeKey(code)
	record, err := s.rdb.Get(asking, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return CodeAnswer{State: CodeUnavailable, key: key}
	}
	return s.codeAnswer(ctx, corp, key, record)
}

// codeAnswer is the answer for a code's record, "" if there is none.
func (s *Store) codeAnswer(ctx context.Context, corp, key, record string) CodeAnswer {
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

// CorpOfCode returns the corp that a code belongs to, "" if it is not on record. It fails if Redis
// does not answer, or may lack the code.
func (s *Store) CorpOfCode(ctx context.Context, code string) (corp string, err error) {
	p := s.prover(ctx, question{code: s.codeKey(code)})
	c, ok := parseCode(strings.TrimSuffix(p.code, ":used"))
	switch {
	case ok:
		return c.Key.Corp, nil
	case p.err != nil:
		return "", fmt.Errorf("window: corp of code: %w", p.err)
	case p.cause != "":
		return "", errors.New("window: corp of code: redis may lack codes that were learnt")
	}
	return "", nil
}

// ConsumeCode looks up a code of the corp and marks it as used, in one atomic step. A failure is
// the state CodeUnavailable. If WeCom certainly rejects the message, pass an answer in the state
// CodeTaken to RestoreCode.
func (s *Store) ConsumeCode(ctx context.Context, corp, code string) CodeAnswer {
	asking, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	key := s.codeKey(code)
	r, err := s.consume(asking, corp, key).Slice()
	if err != nil || len(r) != 2 {
		if !errors.Is(err, store.ErrAway) && !store.Classify(err).Has(store.Rejected) {
			s.unanswered.add(key)
		}
		return CodeAnswer{State: CodeUnavailable, key: key}
	}
	state, _ := r[0].(int64)
	if lost := s.unanswered.remove(key); lost && CodeState(state) == CodeUsed {
		state = int64(CodeTaken)
	}
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

// consume runs consume_code.lua. In a Cluster it asks the node's own client, which never repeats a
// command that may have been done, unless the node redirected it and so did nothing.
func (s *Store) consume(ctx context.Context, corp, key string) *redis.Cmd {
	of := string(appendEncoded(nil, corp)) + ":"
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return consumeCodeScript.Run(ctx, s.rdb, []string{key}, of, s.scriptDeadline(ctx, ""))
	}
	node, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return redis.NewCmdResult(nil, err)
	}
	cmd := consumeCodeScript.Run(ctx, node, []string{key}, of, s.scriptDeadline(ctx, node.Options().Addr))
	if store.Classify(cmd.Err()).Has(store.Redirect) {
		return consumeCodeScript.Run(ctx, s.rdb, []string{key}, of, neverLate) // another node has another clock
	}
	return cmd
}

// unanswered holds the codes that Redis may have marked as used for this gateway without an answer.
// Nothing was sent with them, so the next attempt may use them: WeCom rejects one that another
// gateway has used meanwhile.
type unanswered struct {
	mu   sync.Mutex
	keys map[string]bool
}

const maxUnanswered = 10_000

func (u *unanswered) add(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.keys) >= maxUnanswered { // of an outage long ago
		clear(u.keys)
	}
	put(&u.keys, key, true)
}

// remove reports whether the key was there.
func (u *unanswered) remove(key string) (found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	found = u.keys[key]
	delete(u.keys, key)
	return found
}

// missingCode is the answer for a code that is not on record: unknown only if that can be proven.
func (s *Store) missingCode(ctx context.Context, corp, key string) CodeAnswer {
	p := s.prover(ctx, question{code: key, scope: s.ofCodes(corp)})
	switch {
	case p.err != nil, p.cause != "", p.code != "":
		return CodeAnswer{State: CodeUnavailable, key: key}
	case !s.proves(p.history):
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

// RestoreCode makes a code fresh again that ConsumeCode marked as used. It does nothing in any
// state but CodeTaken.
func (s *Store) RestoreCode(ctx context.Context, a CodeAnswer) error {
	if a.State != CodeTaken {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := restoreCodeScript.Run(ctx, s.rdb, []string{a.key}).Err(); err != nil {
		return fmt.Errorf("window: restore code: %w", err)
	}
	return nil
}

// codeKey is the key of a code. It has the hash alone, since the code itself lets anyone send a
// message.
func (s *Store) codeKey(code string) string {
	h := sha256.Sum256([]byte(code))
	return s.Prefix + "code:" + hex.EncodeToString(h[:])
}

// encode returns the record of a code: corp:channel:customer:kind:deadline, the deadline in unix
// ms.
func (c Code) encode() string {
	b := c.Key.appendIDs(nil)
	b = append(append(b, ':'), c.Kind...)
	return string(strconv.AppendInt(append(b, ':'), c.Deadline.UnixMilli(), 10))
}

// parseCode is the inverse of encode.
func parseCode(s string) (Code, bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 5 {
		return Code{}, false
	}
	k, ok := parseIDs(parts[:3])
	deadline, err := strconv.ParseInt(parts[4], 10, 64)
	return Code{Key: k, Kind: parts[3], Deadline: time.UnixMilli(deadline)}, ok && err == nil
}

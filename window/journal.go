package window

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
)

// The records of the journal: a customer's message, and a one-time code.
const (
	recordMessage = 'M' // unix ms in eight bytes, then corp:channel:customer as in a key
	recordCode    = 'C' // the code, a NUL, then what stands in Redis of it
)

// encodeRecords are facts that Redis does not take, as the journal holds them.
func encodeRecords(facts map[Key]int64, codes []LearntCode) [][]byte {
	records := make([][]byte, 0, len(facts)+len(codes))
	for k, at := range facts {
		b := binary.BigEndian.AppendUint64([]byte{recordMessage}, uint64(at))
		records = append(records, k.appendIDs(b))
	}
	for _, c := range codes {
		b := append(append([]byte{recordCode}, c.Text...), 0)
		records = append(records, append(b, c.encode()...))
	}
	return records
}

// readRecord reads a record of the journal back.
func readRecord(r []byte, facts map[Key]int64, codes *[]LearntCode) error {
	switch {
	case r[0] == recordMessage && len(r) > 9:
		k, ok := parseIDs(strings.Split(string(r[9:]), ":"))
		if !ok {
			break
		}
		facts[k] = max(facts[k], int64(binary.BigEndian.Uint64(r[1:9])))
		return nil
	case r[0] == recordCode:
		text, spelt, _ := bytes.Cut(r[1:], []byte{0})
		c, ok := parseCode(string(spelt))
		if !ok {
			break
		}
		*codes = append(*codes, LearntCode{Code: c, Text: string(text)})
		return nil
	}
	return errors.New("window: the journal holds a record of another kind: it was written with redis.mode embedded; start once in that mode, or move it away")
}

// spill keeps facts that Redis did not take. It returns once they are on the disk, and no
// other gateway refuses for want of them.
func (s *Store) spill(facts map[Key]int64, codes []LearntCode, because error) error {
	if s.embedded() {
		return because
	}
	if err := s.journal.Append(encodeRecords(facts, codes)...); err != nil {
		return errors.Join(because, err)
	}
	if err := s.journal.Sync(); err != nil {
		return errors.Join(because, err)
	}
	select {
	case s.wake <- struct{}{}:
	default: // Keep looks anyway
	}
	s.waitLeaseExpired()
	return nil
}

// downgrade tells whether Redis may lack facts that are acknowledged: they are in the journal of this
// gateway, or perhaps of another one, or a failover may have lost them.
func (s *Store) degraded() bool {
	return !s.embedded() && (!s.journal.Empty() || s.members.degraded()) || s.health.Degraded()
}

// downgrade is an answer that a message which Redis lacks could turn: what would be refused is not
// known. A window that WeCom or an operator shut is not Unproven, since WeCom does not enforce what
// an operator said: nothing may go there on doubt.
func (s *Store) downgrade(a Answer) Answer {
	to := Unproven
	switch a.State {
	case ClosedByPlatform:
		to = Unavailable
	case Closed, Exhausted:
	default:
		return a
	}
	if !s.degraded() {
		return a
	}
	return Answer{State: to, Last: a.Last, Left: -1}
}

// Run brings Redis what it lacks until ctx ends: what the journal holds, gaps that it did not
// take, and, after a failover or when it has gone back, what was recorded in the last minute
// before, which it may not have.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	rewrite := false
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.health.Recovered():
			rewrite = true
		case <-s.wake:
		case <-tick.C:
		}
		if !s.embedded() && (rewrite || time.Since(looked) >= checkpointEvery) {
			looked = time.Now()
			rewrite = s.detectRollback(ctx) || rewrite
		}
		if err := s.writePending(ctx); err != nil && ctx.Err() == nil {
			s.Log.Debug("gaps wait", zap.Error(err))
		}
		if rewrite {
			facts, codes := s.recent.all()
			if err := s.write(ctx, facts, codes); err == nil {
				rewrite = false
				s.Log.Info("redis is back, or has another master: the last minute's facts were written again", zap.Int("messages", len(facts)), zap.Int("codes", len(codes)))
			}
		}
		if s.embedded() || s.journal.Empty() {
			continue
		}
		n, err := s.drain(ctx)
		if n > 0 {
			s.Log.Info("facts of the journal are in redis now", zap.Int("count", n))
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Debug("the journal waits", zap.Error(err))
		}
	}
}

// CheckJournal tells whether the journal, if there is one, holds nothing but facts: another kind
// would never get to Redis, and leave everything in doubt.
func (s *Store) CheckJournal() error {
	if s.embedded() {
		return nil
	}
	for at := s.journal.Start(); at < s.journal.End(); {
		records, next, err := s.journal.Read(at)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := readRecord(r, map[Key]int64{}, &[]LearntCode{}); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// drain writes the journal's facts to Redis and forgets them.
func (s *Store) drain(ctx context.Context) (n int, err error) {
	for at := s.journal.Start(); at < s.journal.End(); {
		records, next, err := s.journal.Read(at)
		if err != nil {
			return n, err
		}
		facts, codes := map[Key]int64{}, []LearntCode(nil)
		for _, r := range records {
			if err := readRecord(r, facts, &codes); err != nil {
				return n, err
			}
		}
		if err := s.write(ctx, facts, codes); err != nil {
			return n, err
		}
		if err := s.journal.Drop(next); err != nil {
			return n, err
		}
		n += len(records)
		at = s.journal.Start()
	}
	return n, nil
}

// write writes facts that may be known already.
func (s *Store) write(ctx context.Context, facts map[Key]int64, codes []LearntCode) error {
	ctx, cancel := context.WithTimeout(ctx, 10*s.Timeout+time.Duration(len(facts))*time.Millisecond)
	defer cancel()
	if err := s.record(ctx, facts); err != nil {
		return fmt.Errorf("window: write again: %w", err)
	}
	return s.learn(ctx, codes)
}

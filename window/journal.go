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

// The kinds of journal records, by first byte.
const (
	recordMessage = 'M' // unix ms in eight bytes, big-endian, then corp:channel:customer as in a key
	recordCode    = 'C' // the code, a NUL byte, then the code's record in Redis
)

// encodeRecords encodes messages and codes as journal records.
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

// readRecord decodes a journal record into facts or codes.
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
		text, record, _ := bytes.Cut(r[1:], []byte{0})
		c, ok := parseCode(string(record))
		if !ok {
			break
		}
		*codes = append(*codes, LearntCode{Code: c, Text: string(text)})
		return nil
	}
	return errors.New("window: the journal holds a record of another kind: it was written with redis.mode embedded; start once in that mode, or move it away")
}

// spill appends writes that Redis rejected with cause to the journal. It returns nil after the
// fsync and after this gateway's lease has expired, so that no other gateway can refuse because of
// them.
func (s *Store) spill(facts map[Key]int64, codes []LearntCode, cause error) error {
	if s.embedded() {
		return cause
	}
	if err := s.journal.Append(encodeRecords(facts, codes)...); err != nil {
		return errors.Join(cause, err)
	}
	if err := s.journal.Sync(); err != nil {
		return errors.Join(cause, err)
	}
	select {
	case s.wake <- struct{}{}:
	default: // Run is awake already
	}
	s.waitLeaseExpired()
	return nil
}

// degraded reports whether Redis may lack acknowledged writes: the journal of this gateway or of
// another one may hold them, or a failover may have lost them.
func (s *Store) degraded() bool {
	return !s.embedded() && (!s.journal.Empty() || s.members.degraded()) || s.health.Degraded()
}

// downgrade replaces an answer that would refuse a reply while Redis may lack a newer message. A
// window that WeCom or an operator shut becomes Unavailable and not Unproven, since WeCom does not
// enforce an operator's order and an unproven reply may be sent.
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

// Run writes to Redis what it lacks, until ctx ends: the journal's records, gaps that failed, and,
// after a failover or a rollback, the writes of the last minute.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	rewrite := false
	var checked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.health.Recovered():
			rewrite = true
		case <-s.wake:
		case <-tick.C:
		}
		if !s.embedded() && (rewrite || time.Since(checked) >= checkpointEvery) {
			checked = time.Now()
			rewrite = s.detectRollback(ctx) || rewrite
		}
		if err := s.writePending(ctx); err != nil && ctx.Err() == nil {
			s.Log.Debug("gaps are not in redis yet", zap.Error(err))
		}
		if rewrite {
			facts, codes := s.recent.all()
			if err := s.write(ctx, facts, codes); err == nil {
				rewrite = false
				s.Log.Info("redis is back, or has another master: the writes of the last minute are repeated", zap.Int("messages", len(facts)), zap.Int("codes", len(codes)))
			}
		}
		if s.embedded() || s.journal.Empty() {
			continue
		}
		n, err := s.drain(ctx)
		if n > 0 {
			s.Log.Info("records of the journal are in redis now", zap.Int("count", n))
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Debug("the journal is not in redis yet", zap.Error(err))
		}
	}
}

// CheckJournal fails if the journal holds a record that Run cannot write to Redis. With such a
// record the gateway would stay degraded for ever. An embedded Store has no journal to check.
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

// drain writes the journal's records to Redis and drops them. n counts those that are written.
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

// write writes messages and codes to Redis, which may have some of them already.
func (s *Store) write(ctx context.Context, facts map[Key]int64, codes []LearntCode) error {
	ctx, cancel := context.WithTimeout(ctx, 10*s.Timeout+time.Duration(len(facts))*time.Millisecond)
	defer cancel()
	if err := s.record(ctx, facts); err != nil {
		return fmt.Errorf("window: write again: %w", err)
	}
	return s.learn(ctx, codes)
}

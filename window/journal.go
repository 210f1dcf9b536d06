package window

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// The kinds of journal records, by first byte.
const (
	recordMessage = 'M' // unix ms in eight bytes, big-endian, then corp:channel:customer as in a key
	recordCode    = 'C' // the code, a NUL byte, then the code's record in Redis
	recordLoss    = 'L' // a Loss in JSON
	recordPage    = 'P' // a page in JSON
	recordAnswers = 'A' // corp:channel:customer, then a blank and an entry for each reply
)

// backlog is what the journal holds, or a part of it.
type backlog struct {
	writes
	losses []Loss
	pages  []page
}

func newBacklog() backlog { return backlog{writes: newGeneration(0).writes} }

// encode encodes a backlog as journal records. Marks have none: they are made of losses.
func (b backlog) encode() ([][]byte, error) {
	records := make([][]byte, 0, len(b.facts)+len(b.codes)+len(b.losses))
	for k, at := range b.facts {
		r := binary.BigEndian.AppendUint64([]byte{recordMessage}, uint64(at))
		records = append(records, k.appendIDs(r))
	}
	for _, a := range b.answers {
		r := append(a.of.appendIDs([]byte{recordAnswers}), ' ')
		records = append(records, append(r, a.entries...))
	}
	for _, c := range b.codes {
		r := append(append([]byte{recordCode}, c.Text...), 0)
		records = append(records, append(r, c.encode()...))
	}
	for _, l := range b.losses {
		text, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		records = append(records, append([]byte{recordLoss}, text...))
	}
	for _, p := range b.pages {
		all, err := p.encode()
		if err != nil {
			return nil, err
		}
		records = append(records, all...)
	}
	return records, nil
}

// decode adds a journal record to b.
func (b *backlog) decode(r []byte) error {
	switch {
	case r[0] == recordMessage && len(r) > 9:
		k, ok := parseIDs(strings.Split(string(r[9:]), ":"))
		if !ok {
			break
		}
		b.facts[k] = max(b.facts[k], int64(binary.BigEndian.Uint64(r[1:9])))
		return nil
	case r[0] == recordAnswers:
		ids, entries, _ := strings.Cut(string(r[1:]), " ")
		k, ok := parseIDs(strings.Split(ids, ":"))
		if !ok || entries == "" {
			break
		}
		b.answers = append(b.answers, answer{k, entries})
		return nil
	case r[0] == recordCode:
		text, record, _ := bytes.Cut(r[1:], []byte{0})
		c, ok := parseCode(string(record))
		if !ok {
			break
		}
		b.codes = append(b.codes, LearntCode{Code: c, Text: string(text)})
		return nil
	case r[0] == recordLoss:
		var l Loss
		if json.Unmarshal(r[1:], &l) != nil {
			break
		}
		b.losses = append(b.losses, l)
		return nil
	case r[0] == recordPage:
		p, ok := parsePage(r[1:])
		if !ok {
			break
		}
		b.pages = append(b.pages, p)
		return nil
	}
	return errors.New("window: the journal holds a record of another kind: it was written with redis.mode embedded; start once in that mode, or move it away")
}

// ErrNotMember is returned if what is in the journal may not be acknowledged: the other gateways do
// not wait for this one, since it never held a lease, or held none for too long.
var ErrNotMember = errors.New("this gateway has held no lease for too long: nothing is acknowledged before redis is back")

// maxAbsence is how long after its last lease a gateway acknowledges into its journal, unless half
// a window's length is shorter. Within it the others treat the history as incomplete.
const maxAbsence = 24 * time.Hour

// spill appends to the journal what Redis rejected with cause. It returns nil after the fsync and
// after this gateway's leases have expired, so that no other gateway can refuse because of it. With
// ErrNotMember it is in the journal too, but another gateway may.
func (s *Store) spill(b backlog, cause error) error {
	if s.embedded() {
		return cause
	}
	records, err := b.encode()
	if err == nil {
		err = s.journal.Append(records...)
	}
	if err == nil {
		err = s.journal.Sync()
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	signal(s.wake)
	if !s.member() {
		return errors.Join(cause, ErrNotMember)
	}
	// No renewal begins before the journal is empty again, so this instant does not move meanwhile.
	time.Sleep(time.Until(s.leases.expiry()))
	return nil
}

// member reports whether the other gateways wait for this one.
func (s *Store) member() bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	at := s.leases.heldAt()
	if len(s.leases.partitions) == 0 { // Redis has not been there since the start
		at = s.journal.Stamped()
	}
	return !at.IsZero() && s.Now().Sub(at) <= s.absence()
}

// absence is how long a gateway acknowledges into its journal without a lease.
func (s *Store) absence() time.Duration { return min(maxAbsence, s.Length/2) }

// expiry is when the last lease of this gateway has surely expired, if none is renewed any more.
func (l *leases) expiry() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.began.Add(leaseGone)
	for i, p := range l.partitions {
		if i == 0 || p.lease.expires.After(last) {
			last = p.lease.expires
		}
	}
	return last
}

// clean reports whether everything that this gateway has acknowledged was written to Redis.
func (s *Store) clean() bool { return s.journal.Empty() && !s.gaps.pending.Load() }

// signal wakes the one that waits for c, unless it is awake already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run holds the leases and writes to Redis what it lacks, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	var holders sync.WaitGroup
	defer holders.Wait()
	var held []*partition
	release := func() {}
	defer func() { release() }()
	for ctx.Err() == nil {
		if all := s.partitioned(); len(all) != len(held) {
			release()
			holders.Wait()
			holding, stop := context.WithCancel(ctx)
			held, release = all, stop
			for _, p := range all {
				holders.Go(func() { s.keepLease(holding, p) })
			}
		}
		if err := s.writePending(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("gaps are not in redis yet", zap.Error(err))
		}
		if !s.embedded() {
			s.drain(ctx)
			s.report()
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// CheckJournal fails if the journal holds a record that Run cannot write to Redis. With such a
// record the gateway would stay degraded for ever. If the journal is damaged, a record of that loss
// replaces what cannot be read; if gaps of an earlier process are missing in it, Run marks one. An
// embedded Store has no journal to check.
func (s *Store) CheckJournal() error {
	if s.embedded() {
		return nil
	}
	if s.journal.Damaged() {
		b := newBacklog()
		b.losses = []Loss{{All: true, Reason: gapDamaged, Noted: s.Now().UnixMilli()}}
		records, err := b.encode()
		if err = errors.Join(err, s.journal.Append(records...), s.journal.Sync()); err != nil {
			return err
		}
	}
	if s.journal.Incomplete() {
		if err := s.keepLosses([]Loss{{All: true, Reason: gapUnsaved, Noted: s.Now().UnixMilli()}}); err != nil {
			return err
		}
	}
	for at := s.journal.Start(); at < s.journal.End(); {
		records, next, err := s.journal.Read(at, maxChunk)
		if err != nil {
			return err
		}
		for _, b := 0, newBacklog(); len(records) > 0; records = records[1:] {
			if err := b.decode(records[0]); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// chunk is how much is written at once, so that a slow link gets it within the timeout of a
// command.
type chunk struct{ shrink atomic.Int32 }

const maxChunk = 256

// size is the number of keys or records.
func (c *chunk) size() int { return maxChunk >> c.shrink.Load() }

// done halves the size after a failure and doubles it after a success.
func (c *chunk) done(err error) error {
	switch n := c.shrink.Load(); {
	case err == nil && n > 0:
		c.shrink.CompareAndSwap(n, n-1)
	case err != nil && maxChunk>>n > 1:
		c.shrink.CompareAndSwap(n, n+1)
	}
	return err
}

// dropAfter is how much of the journal is written to Redis at least before it is dropped from the
// file. It is also at least as much as the rest, since that has to be copied.
const dropAfter = 1 << 20

// drain writes the journal's records to Redis and drops them, in chunks.
func (s *Store) drain(ctx context.Context) {
	n, at, inParts := 0, s.journal.Start(), true
	for s.journal.End() > at && ctx.Err() == nil {
		records, next, err := s.journal.Read(at, s.chunk.size())
		if err == nil {
			err = s.chunk.done(s.restore(ctx, records))
		}
		switch written := next - s.journal.Start(); {
		case err != nil:
		case next == s.journal.End():
			err = s.journal.Drop(next)
			next = s.journal.Start()
		case inParts && written >= max(dropAfter, s.journal.End()-next):
			if dropped := s.journal.Drop(next); dropped == nil {
				next = s.journal.Start()
			} else { // no space for a copy of the rest, perhaps: the whole journal is dropped at its end
				s.drainFailed(ctx, dropped)
				inParts = false
			}
		}
		if err != nil {
			s.drainFailed(ctx, errors.Join(err, s.journal.Drop(at)))
			break
		}
		n, at = n+len(records), next
		s.counts.drained.Add(int64(len(records)))
		s.report()
		s.Log.Info("the journal is being written to redis", zap.Int64("bytes_left", s.journal.End()-at))
	}
	if n > 0 && s.journal.Empty() {
		s.Log.Unlimited.Info("records of the journal are in redis now", zap.Int("count", n))
		s.renewAll()
	}
}

// drainFailed counts and logs an error.
func (s *Store) drainFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.counts.drainErrors.Add(1)
	s.Log.Warn("the journal cannot be written to redis yet", zap.Error(err))
}

// restore writes records of the journal to Redis, which may have some of them already.
func (s *Store) restore(ctx context.Context, records [][]byte) error {
	b := newBacklog()
	for _, r := range records {
		if err := b.decode(r); err != nil {
			return err
		}
	}
	for _, p := range b.pages {
		if err := s.attribute(ctx, &b, p); err != nil {
			return err
		}
	}
	if _, _, err := s.write(ctx, b.writes); err != nil {
		return fmt.Errorf("window: write the journal: %w", err)
	}
	if len(b.losses) == 0 {
		return nil
	}
	_, err := s.writeGaps(ctx, b.losses)
	return err
}

// renewAll makes the partitions exchange at once.
func (s *Store) renewAll() {
	for _, p := range s.partitioned() {
		signal(p.wake)
	}
}

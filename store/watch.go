package store

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// doubtFor is how long after an outage Redis may lack facts that were acknowledged: gateways write
// what their journals hold, and after a failover the last minute again, within a second or two.
const doubtFor = 5 * time.Second

// Doubtful tells whether Redis was away within the last seconds, even for one command.
func (s *Store) Doubtful() bool {
	at := s.trouble.Load()
	return at != 0 && time.Since(time.UnixMilli(at)) < doubtFor
}

// Answers tells whether Redis answered when it was asked last, by any command of this process.
func (s *Store) Answers() bool { return !s.silent.Load() }

func (s *Store) commandFailed() {
	s.inTrouble()
	s.silent.Store(true)
}

func (s *Store) commandAnswered() {
	if s.silent.Load() { // hardly ever: so many commands need not share a line of the cache for writing
		s.silent.Store(false)
	}
}

func (s *Store) inTrouble() { s.trouble.Store(time.Now().UnixMilli()) }

// Renewed says that Redis is back, or has another master than before: what it acknowledged last may
// be lost.
func (s *Store) Renewed() <-chan struct{} { return s.renewed }

// Skew is how far Redis's clock is ahead of the gateway's.
func (s *Store) Skew() time.Duration { return time.Duration(s.skew.Load()) * time.Millisecond }

// maxSkew is the difference of clocks from which on the log says so.
const maxSkew = time.Second

// watch asks Redis every second and says each change of its state once.
func (s *Store) watch(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, 2*time.Second)
		s.probe(probe)
		if s.up.Load() {
			s.lookAtMasters(probe)
			s.measureSkew(probe)
		}
		cancel()
	}
}

// probe finds out whether Redis serves.
func (s *Store) probe(ctx context.Context) {
	var err error
	if s.up.Load() {
		err = s.ping(ctx)
	} else {
		err = s.check(ctx)
	}
	if ctx.Err() == context.Canceled {
		return
	}
	if err == nil && !s.up.Load() {
		s.renew()
	}
	if was := s.up.Swap(err == nil); was && err != nil {
		s.log.Error("redis is away", zap.Error(err))
	} else if !was && err == nil {
		s.log.Info("redis is back")
		s.warnOfDisk(ctx)
	}
}

// renew notes that Redis may have lost what it acknowledged last.
func (s *Store) renew() {
	s.inTrouble()
	select {
	case s.renewed <- struct{}{}:
	default: // it is said already
	}
}

// measureSkew reads Redis's clocks, and says once that one differs from ours.
func (s *Store) measureSkew(ctx context.Context) {
	if s.Embedded != nil {
		return
	}
	skew, err := s.readClocks(ctx)
	if err != nil {
		return
	}
	was := s.Skew().Abs() >= maxSkew
	if s.skew.Store(skew.Milliseconds()); skew.Abs() >= maxSkew && !was {
		s.log.Error("redis's clock and this machine's differ: set both by NTP", zap.Duration("ahead", skew))
	}
}

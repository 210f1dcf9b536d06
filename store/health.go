package store

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// degradedFor is how long after an outage Redis may lack facts that were acknowledged: gateways write
// what their journals hold, and after a failover the last minute again, within a second or two.
const degradedFor = 5 * time.Second

// Degraded tells whether Redis was away within the last seconds, even for one command.
func (s *Client) Degraded() bool {
	at := s.lastFailure.Load()
	return at != 0 && time.Since(time.UnixMilli(at)) < degradedFor
}

// Answers tells whether Redis answered when it was asked last, by any command of this process.
func (s *Client) Answers() bool { return !s.unanswered.Load() }

func (s *Client) commandFailed() {
	s.markFailure()
	s.unanswered.Store(true)
}

func (s *Client) commandAnswered() {
	if s.unanswered.Load() { // hardly ever: so many commands need not share a line of the cache for writing
		s.unanswered.Store(false)
	}
}

func (s *Client) markFailure() { s.lastFailure.Store(time.Now().UnixMilli()) }

// Recovered says that Redis is back, or has another master than before: what it acknowledged last may
// be lost.
func (s *Client) Recovered() <-chan struct{} { return s.recovered }

// Skew is how far Redis's clock is ahead of the gateway's.
func (s *Client) Skew() time.Duration { return time.Duration(s.skew.Load()) * time.Millisecond }

// maxSkew is the difference of clocks from which on the log says so.
const maxSkew = time.Second

// watch asks Redis every second and says each change of its state once.
func (s *Client) watch(ctx context.Context) {
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
			s.checkPrimaries(probe)
			s.measureSkew(probe)
		}
		cancel()
	}
}

// probe finds out whether Redis serves.
func (s *Client) probe(ctx context.Context) {
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
		s.signalRecovered()
	}
	if was := s.up.Swap(err == nil); was && err != nil {
		s.log.Error("redis is away", zap.Error(err))
	} else if !was && err == nil {
		s.log.Info("redis is back")
		s.warnIfNotDurable(ctx)
	}
}

// signalRecovered notes that Redis may have lost what it acknowledged last.
func (s *Client) signalRecovered() {
	s.markFailure()
	select {
	case s.recovered <- struct{}{}:
	default: // it is said already
	}
}

// measureSkew reads Redis's clocks, and says once that one differs from ours.
func (s *Client) measureSkew(ctx context.Context) {
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

package store

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// degradedFor is how long after an outage Redis may lack acknowledged writes. Gateways drain their
// journals, and after a failover repeat the writes of the last minute, within a second or two.
const degradedFor = 5 * time.Second

// Degraded reports whether Redis failed within degradedFor, even for a single command.
func (s *Client) Degraded() bool {
	at := s.lastFailure.Load()
	return at != 0 && time.Since(time.UnixMilli(at)) < degradedFor
}

// Answers reports whether Redis answered the last command of this process.
func (s *Client) Answers() bool { return !s.unanswered.Load() }

func (s *Client) commandFailed() {
	s.markFailure()
	s.unanswered.Store(true)
}

func (s *Client) commandAnswered() {
	if s.unanswered.Load() { // rare, so that concurrent commands do not contend for writing a cache line
		s.unanswered.Store(false)
	}
}

func (s *Client) markFailure() { s.lastFailure.Store(time.Now().UnixMilli()) }

// Recovered receives a value when Redis is back or has another primary, so that its most recent
// writes may be lost. The channel has room for one value.
func (s *Client) Recovered() <-chan struct{} { return s.recovered }

// Skew returns how far Redis's clock is ahead of the gateway's.
func (s *Client) Skew() time.Duration { return time.Duration(s.skew.Load()) * time.Millisecond }

// maxSkew is the difference of clocks from which it is an error.
const maxSkew = time.Second

// watch probes Redis every second, and logs each change of its state once, until ctx ends.
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

// probe updates whether Redis is up. After an outage it repeats the whole check.
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

// signalRecovered reports that Redis may have lost its most recent writes.
func (s *Client) signalRecovered() {
	s.markFailure()
	select {
	case s.recovered <- struct{}{}:
	default: // a value is waiting already
	}
}

// measureSkew reads Redis's clocks, and logs once if one differs from ours by maxSkew.
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

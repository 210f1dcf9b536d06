package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// Answers reports whether Redis answered the last command of this process.
func (s *Client) Answers() bool { return !s.unanswered.Load() }

func (s *Client) commandFailed() { s.unanswered.Store(true) }

func (s *Client) commandAnswered() {
	if s.unanswered.Load() { // rare, so that concurrent commands do not contend for writing a cache line
		s.unanswered.Store(false)
	}
}

// Checked reports whether Redis has passed the check that the start makes.
func (s *Client) Checked() bool { return s.checked.Load() }

// Skew returns how far Redis's clock is ahead of the gateway's.
func (s *Client) Skew() time.Duration { return time.Duration(s.skew.Load()) * time.Millisecond }

// PingTime returns how long Redis took to answer the last probe, which is sent every second.
func (s *Client) PingTime() time.Duration { return time.Duration(s.pingTime.Load()) }

// UpSince returns since when Redis is up, or away; zero: since the start.
func (s *Client) UpSince() time.Time {
	if at := s.changed.Load(); at != 0 {
		return time.UnixMilli(at)
	}
	return time.Time{}
}

// maxSkew is the difference of clocks from which it is an error.
const maxSkew = time.Second

// watch probes Redis every second, and logs each change of its state once, until ctx ends.
func (s *Client) watch(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, max(2*time.Second, 10*s.Timeout))
		s.probe(probe)
		if s.up.Load() {
			s.measureSkew(probe)
			if n%stateEvery == 0 {
				s.readState(probe)
			}
		}
		cancel()
	}
}

// warm opens connections to a distant primary that has few, or whose circuit is not closed: a
// command that has to open one itself needs three round trips, which can exceed its timeout.
func (s *Client) warm(ctx context.Context, c redis.UniversalClient, roundTrip time.Duration) {
	b, guarded := s.breakers.Load(s.nodeName(c))
	if !guarded || roundTrip < s.Timeout/4 {
		return
	}
	if b.(breaker).State() == gobreaker.StateClosed && c.PoolStats().TotalConns >= minConnections {
		return
	}
	var all sync.WaitGroup
	for range 2 * minConnections { // other commands need some while these pings take theirs
		all.Go(func() { c.Ping(ctx) })
	}
	all.Wait()
}

// minConnections is more than the coalesced requests of a busy gateway take at once.
const minConnections = 16

// probe updates whether Redis is up. After an outage it repeats the whole check until that
// succeeds. A Redis that answers but is unusable is up: its commands have errors of their own.
func (s *Client) probe(ctx context.Context) {
	took, err := s.ping(ctx)
	if err == nil {
		s.pingTime.Store(int64(took))
		err = s.checkAgain(ctx)
	}
	if ctx.Err() == context.Canceled {
		return
	}
	was := s.up.Swap(err == nil)
	if was != (err == nil) {
		s.changed.Store(s.now().UnixMilli())
	}
	if err != nil {
		s.sound = false
	}
	if was && err != nil {
		s.log.Error("redis is away", zap.Error(err))
	} else if !was && err == nil {
		s.log.Info("redis is back")
		s.warnIfNotDurable(ctx)
	}
}

// checkAgain checks a Redis that has been away, and logs once why it is unusable. An error is an
// outage.
func (s *Client) checkAgain(ctx context.Context) error {
	if s.sound {
		return nil
	}
	err := s.check(ctx)
	if err != nil && !errors.Is(err, ErrUnusable) {
		return err
	}
	if s.sound = err == nil; s.sound {
		s.unusable = ""
	} else if text := err.Error(); text != s.unusable {
		s.unusable = text
		s.log.Error("redis has come back as one that cannot serve: replies may be unsure until that is mended", zap.Error(err))
	}
	return nil
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

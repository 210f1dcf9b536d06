package window

import (
	"context"
	"time"
)

// BeginBackfill has pages written to Redis from now on whatever this gateway remembers to be there:
// a backfill restores what Redis lost, also if nobody noticed.
func (s *Store) BeginBackfill() { s.forgetKnown() }

// histories returns the history of each channel of a corp.
func (s *Store) histories(ctx context.Context, corp string, channels []string) ([]history, error) {
	all := make([]question, len(channels))
	for i, c := range channels {
		all[i].scope = s.ofMessages(Key{Corp: corp, Channel: c})
	}
	return s.ask(ctx, all)
}

// ask returns the histories of scopes.
func (s *Store) ask(ctx context.Context, all []question) ([]history, error) {
	if len(all) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(all))*time.Millisecond)
	defer cancel()
	found := make([]history, len(all))
	for i, p := range s.prove(ctx, all...) {
		if found[i] = p.history; p.err != nil {
			return nil, p.err
		}
	}
	return found, nil
}

// Incomplete returns those of a corp's channels whose history is not complete.
func (s *Store) Incomplete(ctx context.Context, corp string, channels []string) (incomplete []string, err error) {
	all, err := s.histories(ctx, corp, channels)
	for i, h := range all {
		if !s.proves(h) {
			incomplete = append(incomplete, channels[i])
		}
	}
	return incomplete, err
}

// Repairable returns those of a corp's channels whose history is incomplete, and that a backfill
// which begins now makes more complete: no backfill began after their gaps, and these are not in
// the future.
func (s *Store) Repairable(ctx context.Context, corp string, channels []string) (repairable []string, err error) {
	all, err := s.histories(ctx, corp, channels)
	for i, h := range all {
		if !s.proves(h) && !h.backfilled && !h.since.After(s.Now()) {
			repairable = append(repairable, channels[i])
		}
	}
	return repairable, err
}

// LastGaps returns the newest gap of each corp or one of its channels, or rg:since if that is
// later. It does not have the gaps of channels that were marked while their corp was unknown.
func (s *Store) LastGaps(ctx context.Context, corps []string) ([]time.Time, error) {
	all := make([]question, len(corps))
	for i, corp := range corps {
		all[i].scope = s.ofCodes(corp)
	}
	found, err := s.ask(ctx, all)
	times := make([]time.Time, len(found))
	for i, h := range found {
		times[i] = h.since
	}
	return times, err
}

// CompleteCorp stores since when the history of all channels of a corp is complete. One that no
// backfill could see counts with its own history.
func (s *Store) CompleteCorp(ctx context.Context, corp string, channels []string) error {
	whole := backfilled{began: s.Now().UnixMilli()} // later gaps count again
	all, err := s.histories(ctx, corp, channels)
	if err != nil || len(all) == 0 {
		return err
	}
	for _, h := range all {
		whole.since = max(whole.since, h.since.UnixMilli())
	}
	return s.endGaps(ctx, map[string]backfilled{corp: whole})
}

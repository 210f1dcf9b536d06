package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/window"
)

// stateKept is how long a corp's state is kept, longer than kf/sync_msg reaches back.
const stateKept = 96 * time.Hour

// state is how far the replay of one corp has come. It is in Redis, so that another gateway can go
// on with it.
type state struct {
	Corp       string         `json:"corp_id"`
	Called     time.Time      `json:"called,omitzero"` // the last call of kf/sync_msg
	Messages   int            `json:"messages"`        // of customers
	Unreadable int            `json:"unreadable"`      // items that may be messages
	Secrets    []*secretState `json:"secrets"`
}

// secretState is what is known of one secret.
type secretState struct {
	ID       string           `json:"id"`              // the beginning of a hash of corp and secret
	Listed   time.Time        `json:"listed,omitzero"` // when its channels were listed
	Retry    time.Time        `json:"retry,omitzero"`  // after a failure: not before
	Code     int              `json:"errcode,omitempty"`
	Error    string           `json:"error,omitempty"`
	Channels []*replayChannel `json:"channels,omitempty"` // that it can see
}

// replayChannel is the replay of one channel.
type replayChannel struct {
	Channel
	Tries int       `json:"tries,omitempty"`
	Retry time.Time `json:"retry,omitzero"` // after a replay that ended no gap: not before
}

// secretID identifies a secret in Redis without telling it.
func secretID(corp string, s config.Secret) string {
	h := sha256.Sum256([]byte(corp + "\x00" + s.Reveal()))
	return hex.EncodeToString(h[:8])
}

func secretIDs(corp string, secrets []config.Secret) []string {
	all := make([]string, len(secrets))
	for i, s := range secrets {
		all[i] = secretID(corp, s)
	}
	return all
}

// use keeps what is known of the secrets that are configured, in their order.
func (s *state) use(ids []string) {
	all := make([]*secretState, len(ids))
	for i, id := range ids {
		all[i] = &secretState{ID: id}
		for _, known := range s.Secrets {
			if known.ID == id {
				all[i] = known
			}
		}
	}
	s.Secrets = all
}

// list sets the channels that a secret can see. Those that it saw before keep their progress.
func (s *secretState) list(names []string, now time.Time) {
	known := make(map[string]*replayChannel, len(s.Channels))
	for _, c := range s.Channels {
		known[c.Channel.Channel] = c
	}
	s.Channels, s.Listed = make([]*replayChannel, len(names)), now
	for i, name := range names {
		if s.Channels[i] = known[name]; s.Channels[i] == nil {
			s.Channels[i] = &replayChannel{Channel: Channel{Channel: name}}
		}
	}
}

// names returns the channels that a secret can see.
func (s *secretState) names() []string {
	all := make([]string, len(s.Channels))
	for i, c := range s.Channels {
		all[i] = c.Channel.Channel
	}
	return all
}

// names returns the channels that any secret can see.
func (s *state) names() (all []string) {
	seen := map[string]bool{}
	for _, one := range s.Secrets {
		for _, name := range one.names() {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all
}

func (r *Replayer) stateKey(corp string) string {
	return r.Prefix + "replay:" + window.EscapeID(corp)
}

// load reads the state of a corp, an empty one if there is none.
func (r *Replayer) load(ctx context.Context, corp string) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	text, err := r.Redis.Get(ctx, r.stateKey(corp)).Bytes()
	s := &state{}
	switch {
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"):
	case err != nil:
		return nil, fmt.Errorf("backfill: state: %w", err)
	case json.Unmarshal(text, s) != nil: // it begins anew
		s = &state{}
	}
	s.Corp = corp
	return s, nil
}

// save writes the state of a corp.
func (r *Replayer) save(ctx context.Context, s *state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.Redis.Set(ctx, r.stateKey(s.Corp), text, stateKept).Err(); err != nil {
		return fmt.Errorf("backfill: state: %w", err)
	}
	return nil
}

package backfill

import (
	"context"
	"slices"
	"time"

	"replygate/config"
)

// Status is how far the replay of a corp has come, as any gateway can tell.
type Status struct {
	CorpID     string          `json:"corp_id"`
	State      string          `json:"state"` // none, running, waiting, complete, incomplete or failed
	Complete   int             `json:"channels_complete"`
	Channels   int             `json:"channels_seen"` // by the secrets
	Messages   int             `json:"messages"`      // of customers, in the pages replayed
	Unreadable int             `json:"unreadable"`    // items that may be messages
	LastCall   time.Time       `json:"last_call,omitzero"`
	Secrets    []SecretStatus  `json:"secrets"`
	List       []ChannelStatus `json:"channels"`
}

// SecretStatus is what WeCom made of one secret.
type SecretStatus struct {
	Number   int       `json:"number"` // from 1, in the order of the configuration
	Channels int       `json:"channels_seen"`
	Errcode  int       `json:"errcode,omitempty"`
	Error    string    `json:"error,omitempty"` // with the remedy
	Retry    time.Time `json:"retry,omitzero"`
}

// ChannelStatus is the replay of one channel: waiting, running, complete or incomplete.
type ChannelStatus struct {
	Channel string    `json:"channel"`
	State   string    `json:"state"`
	Began   time.Time `json:"began,omitzero"`
}

// The states of replays.
const (
	None       = "none"       // no channel was listed: there was no gap yet
	Running    = "running"    // pages were pulled within the last two minutes
	Waiting    = "waiting"    // a gap remains that a replay can end
	Complete   = "complete"   // no channel has a gap
	Incomplete = "incomplete" // the gaps that remain end by time alone, as those of unreadable items
	Failed     = "failed"     // WeCom refuses a secret
)

// Status returns how far the replay of a corp has come with the secrets that are configured.
func (r *Replayer) Status(ctx context.Context, corp string, secrets []config.Secret) (Status, error) {
	s, err := r.load(ctx, corp)
	if err != nil {
		return Status{}, err
	}
	s.use(secretIDs(corp, secrets))
	out := Status{
		CorpID: corp, Messages: s.Messages, Unreadable: s.Unreadable, LastCall: s.Called,
		Secrets: make([]SecretStatus, len(s.Secrets)), List: []ChannelStatus{},
	}
	for i, one := range s.Secrets {
		out.Secrets[i] = SecretStatus{Number: i + 1, Channels: len(one.Channels), Errcode: one.Code, Error: one.Error, Retry: one.Retry}
	}
	if err := r.listStatus(ctx, s, &out); err != nil {
		return Status{}, err
	}
	out.State = r.stateOf(&out)
	return out, nil
}

// listStatus adds each channel of a corp once.
func (r *Replayer) listStatus(ctx context.Context, s *state, out *Status) error {
	names := s.names()
	repairable, err := r.Windows.Repairable(ctx, s.Corp, names)
	if err != nil {
		return err
	}
	incomplete, err := r.Windows.Incomplete(ctx, s.Corp, names)
	if err != nil {
		return err
	}
	open, gaps, newest := set(repairable), set(incomplete), s.newest()
	for _, name := range names {
		one := ChannelStatus{Channel: name, State: Complete, Began: newest[name].Began}
		switch {
		case !gaps[name]:
			out.Complete++
		case !open[name]:
			one.State = Incomplete
		case !one.Began.IsZero() && !newest[name].Done:
			one.State = Running
		default:
			one.State = Waiting
		}
		out.List = append(out.List, one)
	}
	out.Channels = len(out.List)
	return nil
}

// newest returns the newest replay of each channel.
func (s *state) newest() map[string]*replayChannel {
	all := map[string]*replayChannel{}
	for _, one := range s.Secrets {
		for _, c := range one.Channels {
			if was := all[c.Channel.Channel]; was == nil || c.Began.After(was.Began) {
				all[c.Channel.Channel] = c
			}
		}
	}
	return all
}

// stateOf sums up what holds for the channels and secrets of a corp.
func (r *Replayer) stateOf(out *Status) string {
	has := func(state string) bool {
		return slices.ContainsFunc(out.List, func(c ChannelStatus) bool { return c.State == state })
	}
	switch {
	case slices.ContainsFunc(out.Secrets, func(s SecretStatus) bool { return s.Error != "" }):
		return Failed
	case len(out.List) == 0:
		return None
	case out.Complete == out.Channels:
		return Complete
	case (has(Running) || has(Waiting)) && r.Now().Sub(out.LastCall) < 2*time.Minute:
		return Running
	case has(Running), has(Waiting):
		return Waiting
	}
	return Incomplete
}

func set(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
}

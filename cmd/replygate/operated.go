package main

import (
	"context"
	"time"

	"replygate/admin"
	"replygate/backfill"
	"replygate/config"
	"replygate/gate"
	"replygate/window"
)

// operated is a gateway as the admin API sees it; see admin.Gateway.
type operated struct{ g *gateway }

func (o operated) Gate() *gate.Gate                   { return o.g.inForce() }
func (o operated) RedisUp() bool                      { return o.g.store.Up() }
func (o operated) Draining() bool                     { return o.g.draining.Load() }
func (o operated) Bypassed() int                      { return o.g.handler.Bypass.Bypassed() }
func (o operated) CountReported(t window.Tally)       { o.g.handler.Metrics.Reported(t) }
func (o operated) Version() (hash string, stale bool) { return o.g.version() }
func (o operated) Problems() []string                 { return o.g.problems() }
func (o operated) ConfigFile() string                 { return o.g.path }

// Channels returns the known channels of a corp.
func (o operated) Channels(ctx context.Context, corp string) ([]string, error) {
	return o.g.channelsOf(ctx, corp)
}

// Replays returns how far the gateway has completed the records of a corp by itself, false if the
// corp has no secret for that.
func (o operated) Replays(ctx context.Context, corp string) (s backfill.Status, configured bool, err error) {
	for _, a := range o.g.inForce().Config.Accounts {
		if a.CorpID == corp && len(a.Secrets.Kf) > 0 {
			s, err = o.g.replays.Status(ctx, corp, a.Secrets.Kf)
			return s, true, err
		}
	}
	return s, false, nil
}

// Replaying returns what this gateway has completed by itself.
func (o operated) Replaying() (c backfill.Counts, configured bool) {
	return o.g.replays.Counts(), len(withKfSecrets(o.g.inForce().Config)) > 0
}

// InForce returns the configuration in force with its hash.
func (o operated) InForce() (c *config.Config, hash string) {
	o.g.mu.Lock()
	defer o.g.mu.Unlock()
	return o.g.inUse.Config, o.g.inUse.hash
}

// Reload reloads, and tells of a held reload whether it was held before.
func (o operated) Reload(ifMatch string) (admin.Reloaded, error) {
	before := o.heldTag()
	done, err := o.g.reload(ifMatch)
	if done.Held != nil {
		done.Held.Already = done.Held.Confirm == before
	}
	return done, err
}

// heldTag returns the tag of the reload that is held, "" if there is none.
func (o operated) heldTag() string {
	o.g.mu.Lock()
	defer o.g.mu.Unlock()
	if o.g.held == nil {
		return ""
	}
	return o.g.held.tag
}

// Decision looks for a record in memory and then in the file of log.decisions.
func (o operated) Decision(ctx context.Context, id string, at time.Time) (line []byte, source string, err error) {
	return o.g.logs.find(ctx, id, at, o.g.Config.Log.Decisions, o.g.Config.Upstream.Timeout)
}

// GateSince returns what calls are judged by, and since when.
func (o operated) GateSince() (*gate.Gate, time.Time) {
	o.g.mu.Lock()
	defer o.g.mu.Unlock()
	return o.g.inForce(), o.g.loaded
}

// Address returns the address of the admin listener.
func (o operated) Address() string { return o.g.control.Addr().String() }

// Self tells of this gateway what the others are told.
func (o operated) Self() admin.GatewayHealth {
	hash, _ := o.g.version()
	return admin.GatewayHealth{Version: buildVersion(), Config: hash, Since: admin.Stamp(o.g.began)}
}

// NewestDecisions returns the decision records in memory.
func (o operated) NewestDecisions() (lines [][]byte, since time.Time) { return o.g.logs.newest() }

// OlderDecisions reads the file of log.decisions and those rotated from it.
func (o operated) OlderDecisions(ctx context.Context, until time.Time, visit func(line []byte) bool) (more bool, packed []string, err error) {
	return o.g.logs.older(ctx, o.g.Config.Log.Decisions, until, visit)
}

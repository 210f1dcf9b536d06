package main

import (
	"time"

	"replygate/admin"
	"replygate/gate"
	"replygate/window"
)

// operated is a gateway as the admin API sees it; see admin.Gateway.
type operated struct{ g *gateway }

func (o operated) Gate() *gate.Gate                              { return o.g.inForce() }
func (o operated) RedisUp() bool                                 { return o.g.store.Up() }
func (o operated) Draining() bool                                { return o.g.draining.Load() }
func (o operated) Bypassed() int                                 { return o.g.handler.Bypass.Bypassed() }
func (o operated) CountReported(t window.Tally)                  { o.g.handler.Metrics.Reported(t) }
func (o operated) Version() (hash string, stale bool)            { return o.g.version() }
func (o operated) Problems() []string                            { return o.g.problems() }
func (o operated) Reload(ifMatch string) (admin.Reloaded, error) { return o.g.reload(ifMatch) }
func (o operated) ConfigFile() string                            { return o.g.path }

// Decision looks for a record in memory and then in the file of log.decisions.
func (o operated) Decision(id string, at time.Time) (line []byte, source string, err error) {
	return o.g.logs.find(id, at, o.g.Config.Log.Decisions, o.g.Config.Upstream.Timeout)
}

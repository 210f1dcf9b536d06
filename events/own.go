package events

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"replygate/record"
)

// Own logs the events that a gateway alone can find: of its store, its clock, its configuration and
// the channels that bypass it. While Redis is away they wait in memory.
type Own struct {
	Log      *Log
	Now      func() time.Time
	Errors   *record.RateLimited
	Began    time.Time
	Gateway  func() string                               // how it is called in events
	Store    func() (up bool, since time.Time)           // zero: since the start
	Skew     func() (whose string, ahead time.Duration)  // "": no clock differs
	Bypassed func(visit func(corp, channel string) bool) // the channels whose messages bypass the gateway

	// Shadow returns what the rules in shadow would have changed since an instant.
	Shadow func(now time.Time) (since time.Time, rules []ShadowRule)

	mu      sync.Mutex
	waiting []Event
	dropped int

	down      string // the key of the outage that was told, "" while Redis is up
	downSince time.Time
	skewed    settling
	bypassed  map[[2]string]time.Time // :: corp and channel -> since when; zero: told
	digested  digest
}

// ShadowRule is a rule in shadow, with the calls that would end otherwise if it were in force.
type ShadowRule struct {
	Name        string   `json:"name"`
	WouldRefuse int64    `json:"would_refuse"`
	WouldPass   int64    `json:"would_pass"`
	Examples    []string `json:"examples"` // ids of decisions
}

// ShadowData is the data of rule.shadow_digest.
type ShadowData struct {
	Gateway string       `json:"gateway"`
	Since   string       `json:"since"`
	Rules   []ShadowRule `json:"rules"`
}

// digest is what was told of rules in shadow.
type digest struct {
	at    time.Time // of the last look
	since time.Time // from when the rules count
	rules map[string]ShadowRule
}

// GatewayData is the data of the events of one gateway.
type GatewayData struct {
	Gateway string   `json:"gateway"`
	CorpID  string   `json:"corp_id,omitempty"`
	Channel string   `json:"channel,omitempty"`
	Since   string   `json:"since,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	Hash    string   `json:"hash,omitempty"` // of a configuration
	Changed []string `json:"changed,omitempty"`
	Error   string   `json:"error,omitempty"`
}

const (
	settledAfter = time.Minute // what changes back before is no event
	maxWaiting   = 1000        // events for which Redis is awaited
	maxError     = 2000        // bytes
	lastAppends  = 2 * time.Second
	digestEvery  = time.Hour
	maxRules     = 50 // in a digest
)

// settling notes since when something is so.
type settling struct {
	what  string
	since time.Time
	told  bool
}

// look reports that something has been so for long enough, once.
func (s *settling) look(what string, now time.Time) bool {
	if s.what != what {
		*s = settling{what: what, since: now}
	}
	if what == "" || s.told || now.Sub(s.since) < settledAfter {
		return false
	}
	s.told = true
	return true
}

// Run looks and logs until ctx ends; then it tries once more to log what waits.
func (o *Own) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	o.bypassed = map[[2]string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAppends)
			defer cancel()
			o.flush(last)
			return
		case <-tick.C:
		}
		now := o.Now()
		o.lookAtStore(now)
		o.lookAtClock(now)
		o.lookAtBypass(now)
		o.lookAtShadow(now)
		o.flush(ctx)
	}
}

// lookAtStore finds an outage of Redis that lasts, and its end.
func (o *Own) lookAtStore(now time.Time) {
	up, since := o.Store()
	if since.IsZero() {
		since = o.Began
	}
	settled := now.Sub(since) >= settledAfter
	switch key := strconv.FormatInt(since.UnixMilli(), 10); {
	case !settled || up == (o.down == ""):
	case !up:
		o.down, o.downSince = key, since
		o.add(StoreDown, since, []string{key}, GatewayData{Since: Stamp(since), Detail: "Redis does not answer this gateway: replies that need it are unsure, other calls go on"})
	default:
		o.add(StoreUp, since, []string{o.down, key}, GatewayData{Since: Stamp(since), Detail: "Redis answers again; it was away since " + Stamp(o.downSince)})
		o.down = ""
	}
}

// lookAtClock finds a clock that differs.
func (o *Own) lookAtClock(now time.Time) {
	whose, ahead := o.Skew()
	if o.skewed.look(whose, now) {
		since := o.skewed.since
		o.add(ClockSkew, since, []string{strconv.FormatInt(since.UnixMilli(), 10)}, GatewayData{
			Since: Stamp(since), Detail: "the clock of " + whose + " is " + ahead.Round(time.Millisecond).String() + " ahead of this machine's: set both by NTP",
		})
	}
}

// lookAtBypass finds channels whose messages bypass the gateway. All gateways may find the same
// one.
func (o *Own) lookAtBypass(now time.Time) {
	found := map[[2]string]time.Time{}
	o.Bypassed(func(corp, channel string) bool {
		k := [2]string{corp, channel}
		since, known := o.bypassed[k]
		if !known {
			since = now
		}
		if known && !since.IsZero() && now.Sub(since) >= settledAfter {
			o.append(Event{Type: ChannelBypassed, At: since, Corp: corp, Key: []string{corp, channel}, Data: GatewayData{
				Gateway: o.Gateway(), CorpID: corp, Channel: channel, Since: Stamp(since),
				Detail: "replies on this channel pass the gateway, but nobody pulls its messages through it: let the bot call kf/sync_msg through it too",
			}})
			since = time.Time{}
		}
		found[k] = since
		return true
	})
	o.bypassed = found
}

// lookAtShadow tells once an hour what the rules in shadow would have changed, if anything.
func (o *Own) lookAtShadow(now time.Time) {
	last := o.digested
	if !last.at.IsZero() && now.Sub(last.at) < digestEvery {
		return
	}
	since, rules := o.Shadow(now)
	o.digested = digest{at: now, since: since, rules: map[string]ShadowRule{}}
	data := ShadowData{Gateway: o.Gateway(), Since: Stamp(latest(last.at, since))}
	for _, r := range rules {
		o.digested.rules[r.Name] = r
		if since.Equal(last.since) { // else a new configuration counts from 0
			r.WouldRefuse -= last.rules[r.Name].WouldRefuse
			r.WouldPass -= last.rules[r.Name].WouldPass
		}
		if r.WouldRefuse+r.WouldPass > 0 && len(data.Rules) < maxRules {
			data.Rules = append(data.Rules, r)
		}
	}
	if !last.at.IsZero() && len(data.Rules) > 0 {
		o.append(Event{Type: ShadowDigest, At: now, Key: []string{data.Gateway, data.Since}, Data: data})
	}
}

// Reloaded logs that a configuration has replaced the one before.
func (o *Own) Reloaded(before, hash string, changed []string) {
	now := o.Now()
	o.add(ConfigReloaded, now, []string{before, hash, strconv.FormatInt(now.UnixMilli(), 10)}, GatewayData{Hash: hash, Changed: changed})
}

// Rejected logs that the configuration's files cannot be used.
func (o *Own) Rejected(hash, text string) {
	now := o.Now()
	if len(text) > maxError {
		end := maxError
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + " …"
	}
	o.add(ConfigRejected, now, []string{hash, strconv.FormatInt(now.UnixMilli(), 10)}, GatewayData{Hash: hash, Error: text})
}

// add has an event of this gateway logged soon.
func (o *Own) add(kind string, at time.Time, key []string, data GatewayData) {
	data.Gateway = o.Gateway()
	o.append(Event{Type: kind, At: at, Key: append([]string{data.Gateway}, key...), Data: data})
}

func (o *Own) append(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) >= maxWaiting {
		o.waiting = slices.Delete(o.waiting, 0, 1)
		o.dropped++
	}
	o.waiting = append(o.waiting, e)
}

// Dropped returns how many events waited for Redis in vain.
func (o *Own) Dropped() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// flush logs what waits.
func (o *Own) flush(ctx context.Context) {
	o.mu.Lock()
	some := slices.Clone(o.waiting[:min(len(o.waiting), maxAppends)])
	o.mu.Unlock()
	if len(some) == 0 {
		return
	}
	if up, _ := o.Store(); !up {
		return
	}
	if _, err := o.Log.Append(ctx, some...); err != nil {
		o.Errors.Warn("events of this gateway wait for Redis", zap.Error(err))
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// Older ones may have been dropped meanwhile: what was logged is known by its id.
	logged := map[string]bool{}
	for i := range some {
		logged[some[i].ID()] = true
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(e Event) bool { return logged[e.ID()] })
}

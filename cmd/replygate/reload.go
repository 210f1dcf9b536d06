package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/gate"
	"replygate/proxy"
)

// reloader is what a gateway remembers of its configuration's files.
type reloader struct {
	reloading sync.Mutex   // one reload at a time, also while it reads files
	list      account.List // as it is in its file; needs reloading, like the next one
	earlier   account.List // that of the run before this one

	mu         sync.Mutex     // of what readiness and metrics read; held for assignments only
	loaded     time.Time      // when inUse was put in force
	inUse      settings       // changes only while reloading is held too
	failed     string         // the hash of files that could not be used, "" while those in force are the newest
	held       *pendingReload // a newer one that waits to be confirmed
	unreadable []brokenFile   // files that the configuration names
	told       toldWarnings
}

// use puts settings in force and returns what check warns of them. The caller must hold reloading
// once the gateway serves.
func (g *gateway) use(s settings) warnings {
	g.logs.setLevel(s.level)
	g.logs.redactor.AddSecrets(s.Config.Secrets()...)
	var before []string // nil at the start
	if g.handler.Current() != nil {
		before = g.accounts().CorpIDs()
	}
	if err := g.windows.ListAccounts(context.Background(), s.Accounts.CorpIDs(), before); err != nil {
		g.limited.Warn("the list of accounts waits for redis: until it is written, no reply is refused because a record is missing", zap.Error(err))
	}
	inForce := before != nil && s.hash == g.inUse.hash
	at := g.handler.Now()
	s.Accounts.UseCounts(g.contacts.counts, s.Config.Meter.Every)
	found := s.lint(at)
	g.handler.Use(&proxy.Settings{Gate: s.Gate, Receivers: s.receivers})
	g.replays.Wake()
	g.mu.Lock()
	g.inUse, g.loaded, g.failed, g.held = s, at, "", nil
	g.told.warnings, g.told.at = found, at
	g.mu.Unlock()
	g.tellPolicy(s, found, at, inForce)
	return found
}

// inForce returns what calls are judged by.
func (g *gateway) inForce() *gate.Gate { return &g.handler.Current().Gate }

// accounts returns the accounts in force.
func (g *gateway) accounts() *account.Book { return g.handler.Current().Gate.Accounts }

// version returns the hash of the configuration in force, and whether there is a newer one that
// could not be used or is held.
func (g *gateway) version() (hash string, stale bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse.hash, g.failed != "" || g.held != nil
}

// problems tells in sentences what keeps the newest files from being in force.
func (g *gateway) problems() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != "" {
		all = append(all, "the configuration could not be reloaded, as the log says: an older one stays in force")
	}
	if g.held != nil {
		all = append(all, fmt.Sprintf("a reload is held (%s accounts): put the accounts back, or confirm it with replygate reload --yes", g.held.change))
	}
	for _, u := range g.unreadable {
		all = append(all, u.String()+": the configuration in force stays")
	}
	return all
}

// reload reads the configuration's files anew, builds everything beside what runs, and swaps it in.
// On any error the old one stays, and while the new one is held. With a hash it does so only while
// the one in force has it, with the tag of a held reload only if it would be held by that tag. It
// returns what is in force then, also with an error.
func (g *gateway) reload(ifMatch string) (admin.Reloaded, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	g.notifyReloading()
	defer g.notifyReady()
	before := admin.Reloaded{Config: g.inUse.hash}
	confirming := strings.HasPrefix(ifMatch, confirmPrefix)
	if ifMatch != "" && !confirming && ifMatch != g.inUse.hash {
		return before, admin.ErrOtherVersion
	}
	if err := config.Rereadable(g.path); err != nil {
		g.limited.Error("the configuration cannot be reloaded: the one before it stays in force", zap.Error(err))
		return before, err
	}
	next, err := load(g.path)
	if err == nil {
		err = g.fitting(next)
	}
	if err != nil {
		g.reloadFailed(next.hash, err)
		return before, err
	}
	tag, change := confirmTag(g.inUse.hash, next), changeOf(g.accounts().Listed(), g.attributedAlone(), next, g.handler.Now())
	switch {
	case confirming && ifMatch != tag:
		return before, admin.ErrNotHeld
	case !confirming && change.Reason() != "":
		before.Changed, before.Held = []string{}, g.hold(next, change, tag)
		return before, nil
	}
	done := admin.Reloaded{Config: next.hash, Done: true, Changed: g.inUse.Config.Changes(next.Config)}
	warned := g.use(next)
	g.reloadedEvent(before.Config, done.Config, done.Changed)
	g.saveListLocked(false)
	if change.Reason() != "" {
		done.Warnings = append(done.Warnings, change.Why())
		g.log.Warn("a held reload is confirmed", append(changeFields(change), zap.String("why", change.Why()))...)
	}
	done.Warnings = append(done.Warnings, warned.texts()...) // logged already
	g.logReload(done, change)
	return done, nil
}

// reloadFailed remembers and logs that the configuration's files, with a hash, cannot be used.
func (g *gateway) reloadFailed(hash string, err error) {
	failed, log := cmp.Or(hash, "unreadable"), g.log.Error
	g.mu.Lock()
	if failed == g.failed { // the same once more, as by POST /v1/reload
		log = g.limited.Error
	} else {
		g.rejectedEvent(failed, err)
	}
	g.failed, g.held = failed, nil
	g.mu.Unlock()
	log("the configuration could not be reloaded: the one before it stays in force", zap.Error(err))
}

// logReload logs what a reload changed; one that changed nothing once a minute.
func (g *gateway) logReload(done admin.Reloaded, c account.Change) {
	log, fields := g.log.Info, []zap.Field{zap.Strings("changed", done.Changed), zap.String("hash", done.Config)}
	if len(done.Changed) == 0 {
		log = g.limited.Info
	}
	if len(c.Removed) > 0 || c.Before != c.After {
		fields = append(fields, changeFields(c)...)
	}
	log("the configuration is reloaded", fields...)
}

// fitting tells whether a running gateway can take a configuration over.
func (g *gateway) fitting(next settings) error {
	changed := g.inUse.Config.Changes(next.Config)
	if keys := config.NeedsRestart(changed); len(keys) > 0 {
		return fmt.Errorf("%s cannot change while the gateway runs: restart it, or put the old value back", strings.Join(keys, ", "))
	}
	if g.callback == nil && slices.Contains(changed, "callbacks") {
		return errors.New("the first of callbacks needs a listener that is not open: restart the gateway")
	}
	return nil
}

package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
)

// pendingReload is a reload that waits to be confirmed.
type pendingReload struct {
	hash   string // of its files
	change account.Change
	tag    string // confirms it
}

// confirmPrefix begins the tags that confirm a held reload; the hash of a configuration has none.
const confirmPrefix = "held-"

// confirmTag identifies the replacement of the configuration in force by another one, with its list
// of accounts.
func confirmTag(inForce string, next settings) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", inForce, next.hash, next.Accounts.CorpIDs())
	return confirmPrefix + hex.EncodeToString(h.Sum(nil)[:8])
}

// changeOf compares a list of accounts with those of the next configuration. alone counts the calls
// that belonged to its only account.
func changeOf(before []account.Listed, alone int64, next settings, now time.Time) account.Change {
	if len(before) != 1 || next.OwnsUnnamed(before[0].CorpID) {
		alone = 0
	}
	return account.Compare(before, next.Accounts.Listed(), now, alone)
}

// changeFields are the log fields of a change of the accounts.
func changeFields(c account.Change) []zap.Field {
	return []zap.Field{zap.String("accounts", c.String()), zap.Int("removed", len(c.Removed)), zap.Strings("names", c.Names())}
}

// startChange compares a configuration with the accounts of the gateway's last run, whose file is
// path. known is false if there are none, or they cannot be read, which build logs.
func startChange(s settings, now time.Time) (c account.Change, path string, known bool) {
	path = account.ListPath(s.Config.Journal.Path)
	last, found, err := account.ReadList(path)
	if err != nil || !found {
		return account.Change{}, path, false
	}
	return changeOf(last.Accounts, last.AttributedAlone(now), s, now), path, true
}

// holdStart returns an error if a start is held.
func holdStart(s settings, now time.Time) error {
	c, path, known := startChange(s, now)
	if !known || c.Reason() == "" {
		return nil
	}
	return fmt.Errorf("%s: the start is held: %s\nThe gateway does not serve until the accounts are back, or the start is confirmed: replygate serve --yes -c %s\n(%s has the accounts of its last run)",
		s.path, c.Why(), s.path, path)
}

// heldWarning is what check says of a configuration that would be held on this machine.
func (s settings) heldWarning(now time.Time) warnings {
	c, _, known := startChange(s, now)
	if !known || c.Reason() == "" {
		return nil
	}
	return warnings{{Key: "accounts", Mistake: config.Mistake{File: s.path, At: cmp.Or(s.Config.Where(config.AccountsFileKey), s.Config.Where("accounts")),
		What:   "a reload or a start with these accounts would be held: " + c.Why(),
		Remedy: "put the accounts back, or confirm it: replygate reload --yes, at a start replygate serve --yes"}}}
}

// hold keeps the configuration in force until the next one is confirmed, and logs it.
func (g *gateway) hold(next settings, c account.Change, tag string) *admin.Held {
	log := g.log.Error
	g.mu.Lock()
	if g.held != nil && g.held.tag == tag { // the same once more, as by POST /v1/reload
		log = g.limited.Error
	}
	g.held, g.failed = &pendingReload{hash: next.hash, change: c, tag: tag}, ""
	g.mu.Unlock()
	log("a reload is held: the configuration before it stays in force until the accounts are back, or replygate reload --yes confirms it",
		append(changeFields(c), zap.Strings("changed", g.inUse.Config.Changes(next.Config)), zap.String("reason", c.Reason()), zap.String("why", c.Why()), zap.String("confirm", tag))...)
	return &admin.Held{Reason: c.Reason(), Why: c.Why(), Removed: len(c.Removed), Before: c.Before, After: c.After, Names: c.Names(), Confirm: tag}
}

// isHeld reports whether a reload is held.
func (g *gateway) isHeld() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held != nil
}

// readList reads the accounts of the last run. A caller that wants them compared did so: a change
// that would be held is confirmed here.
func (g *gateway) readList(now time.Time) {
	last, found, err := account.ReadList(account.ListPath(g.Config.Journal.Path))
	if err != nil {
		g.log.Error("the accounts of the last run cannot be read: this start is not compared with them", zap.Error(err))
	}
	if !found {
		return
	}
	g.list, g.earlier = last, last
	if c := changeOf(last.Accounts, last.AttributedAlone(now), g.settings, now); c.Reason() != "" {
		g.log.Warn("a start that was held is confirmed", append(changeFields(c), zap.String("why", c.Why()))...)
	}
}

// attributedAlone counts the calls of the last day, those of the run before this one included, that
// belonged to the only account because it is the only one.
func (g *gateway) attributedAlone() int64 {
	calls, only := g.handler.AttributedAlone(), g.inForce().OnlyAccount()
	if only != nil && len(g.earlier.Accounts) == 1 && g.earlier.Accounts[0].CorpID == only.CorpID {
		calls += g.earlier.AttributedAlone(g.handler.Now())
	}
	return calls
}

// saveAloneEvery is how often the number of calls that depend on the only account is saved.
const saveAloneEvery = time.Hour

// saveList writes the accounts in force, and the number of calls that depend on there being only
// one, for the next start. A number that is the only news waits until it is due.
func (g *gateway) saveList(stopping bool) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	g.saveListLocked(stopping)
}

// saveListLocked is saveList for a caller that holds reloading.
func (g *gateway) saveListLocked(stopping bool) {
	now, next := g.handler.Now(), account.List{Accounts: g.accounts().Listed()}
	if len(next.Accounts) == 1 {
		next.Alone, next.AloneAt = g.attributedAlone(), now
		if g.handler.AttributedAlone() == 0 {
			next.AloneAt = g.earlier.AloneAt
		}
	}
	news := g.handler.AttributedAlone() > 0 && (stopping || g.list.Alone == 0 || now.Sub(g.list.AloneAt) >= saveAloneEvery)
	if slices.Equal(next.Accounts, g.list.Accounts) && !(news && len(next.Accounts) == 1) {
		return
	}
	if err := next.Write(account.ListPath(g.Config.Journal.Path)); err != nil {
		g.limited.Error("the list of accounts cannot be written beside journal.path: the next start is not compared with it", zap.Error(err))
		return
	}
	g.list = next
}

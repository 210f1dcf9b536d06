package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
)

// warnings are what is legal in a configuration and surely unmeant, in the order of the file.
type warnings []gate.Warning

// lint finds what is surely unmeant at an instant, and what the operator may not have thought of.
func (s settings) lint(at time.Time) warnings {
	found := warnings(s.Warnings(s.path, at))
	for _, m := range s.Engine.Lint(s.path, s.Config, s.Accounts, at) {
		found = append(found, gate.Warning{Mistake: m})
	}
	if len(s.Config.Accounts) > 1 && s.Config.UnknownToken == config.Auto &&
		!slices.ContainsFunc(s.Config.Accounts, func(a config.Account) bool { return len(a.Hosts)+len(a.Channels) > 0 }) {
		found = append(found, gate.Warning{Key: "accounts", Mistake: config.Mistake{File: s.path, At: s.Config.Where("accounts"),
			What:   "no account has hosts or channels, so a bot that fetches its tokens past the gateway is refused where a rule applies, unless it calls /corp/<corp_id>/",
			Remedy: "list hosts (the names by which an account's bots call the gateway) or channels (its open_kfids); if all bots fetch their tokens through the gateway, nothing is to do"}})
	}
	if all := s.Accounts.All(); len(all) > 2 && !slices.ContainsFunc(all, func(a *account.Account) bool { return !a.LapsesAt().IsZero() || a.Standing(at) != account.Active }) {
		found = append(found, gate.Warning{Key: "accounts", Mistake: config.Mistake{File: s.path, At: cmp.Or(s.Config.Where(config.AccountsFileKey), s.Config.Where("accounts")),
			What:   fmt.Sprintf("none of the %d accounts has a subscription, so none ever lapses, and all their calls pass", len(all)),
			Remedy: "give each its expires_at, in a CSV in the column of this name"}})
	}
	slices.SortStableFunc(found, func(a, b gate.Warning) int {
		return cmp.Or(strings.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Col, b.At.Col))
	})
	return found
}

// text is a warning as check prints it and as serve logs it.
func text(w gate.Warning) string {
	w.What = "warning: " + w.What
	return w.Error()
}

// texts returns the warnings as POST /v1/reload has them.
func (ws warnings) texts() (all []string) {
	for _, w := range ws {
		all = append(all, w.Error())
	}
	return all
}

// err returns the warnings as mistakes, for check --strict; nil if there are none.
func (ws warnings) err() error {
	var all config.Mistakes
	for _, w := range ws {
		all = append(all, w.Mistake)
	}
	return all.Err()
}

// listed returns the warnings for check --json.
func (ws warnings) listed() []checkMistake {
	all := make([]checkMistake, len(ws))
	for i, w := range ws {
		all[i] = listed(config.Mistakes{w.Mistake})[0]
		all[i].Key, all[i].Opens, all[i].Of = w.Key, w.Opens, w.Of
	}
	return all
}

// toldWarnings is what a gateway remembers of the warnings of the configuration in force.
type toldWarnings struct {
	warnings
	at     time.Time // when they were found
	logged time.Time
}

// tellPolicy logs by what calls are judged from an instant on, and each warning of check. A
// configuration that is in force already is logged once a minute at most.
func (g *gateway) tellPolicy(s settings, found warnings, at time.Time, inForce bool) {
	g.mu.Lock()
	again := inForce && at.Sub(g.told.logged).Abs() < time.Minute
	if !again {
		g.told.logged = at
	}
	g.mu.Unlock()
	if again {
		return
	}
	for _, w := range found {
		g.log.Warn(text(w), zap.String("setting", w.Key), zap.Int("opens", w.Opens), zap.Int("of", w.Of))
	}
	g.log.Info("calls are judged by this policy", zap.String("mode", s.Config.Policy.Mode), zap.String("ruleset", ruleSetsOf(s.Config)),
		zap.Int("rules", len(s.Config.Policy.Rules)), zap.Int("warnings", len(found)))
}

// countWarnings counts the warnings of the configuration in force. They change with time, as
// accounts lapse, and are found anew once a minute.
func (g *gateway) countWarnings(at time.Time) int {
	g.mu.Lock()
	s, told := g.inUse, g.told
	g.mu.Unlock()
	if at.Sub(told.at).Abs() < time.Minute {
		return len(told.warnings)
	}
	found := s.lint(at)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inUse.Config == s.Config { // still
		g.told.warnings, g.told.at = found, at
	}
	return len(g.told.warnings)
}

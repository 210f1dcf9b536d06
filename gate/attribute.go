package gate

import (
	"strings"
	"sync/atomic"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
)

// By is how the corp of a call was determined.
type By uint8

// The ways to determine the corp of a call, in order of precedence.
const (
	ByNone        By = iota // the corp is not known
	ByToken                 // the token is known
	BySetting               // unknown_token names the corp
	ByOnlyAccount           // exactly one account is configured
	ByPath                  // the path names it: /corp/<corp_id>/cgi-bin/…
	ByHost                  // the Host is one of accounts[].hosts
	ByChannel               // the body names a channel (open_kfid) of the corp
	ByCode                  // the body names a one-time code issued to the corp
	Ways                    // the number of ways
)

var byNames = [Ways]string{"none", "token", "setting", "only_account", "path", "host", "channel", "code"}

// String returns the label used in metrics and logs.
func (b By) String() string { return byNames[b] }

// Signs is the evidence of which corp makes a call with an unknown token. Each corp is one of
// accounts, or "" if there is none.
type Signs struct {
	Path    string // corp in the path's prefix
	Host    string // corp that lists the Host
	Several bool   // calls with this token have named several corps within the token's life
	Body    string // corp that owns the channel or one-time code in the body
	ByBody  By     // ByChannel or ByCode, if Body is set
}

// Attribution is the corp that a call belongs to.
type Attribution struct {
	Corp  string // "" if it stays unknown
	Other string // a second corp that the call names, so that it must be refused; else ""
	By    By
}

// Attribute determines the corp of a call with an unknown token. Path and Host take precedence over
// the body; a contradiction between any two of them is in Attribution.Other.
func (g *Gate) Attribute(s Signs) Attribution {
	if a := g.OnlyAccount(); a != nil {
		return Attribution{Corp: a.CorpID, By: ByOnlyAccount}
	}
	named := Attribution{Corp: s.Path, By: ByPath}
	if s.Path == "" {
		named = Attribution{Corp: s.Host, By: ByHost}
	}
	switch {
	case s.Path != "" && s.Host != "" && s.Path != s.Host:
		named.Other = s.Host
	case s.Several:
		return Attribution{}
	case named.Corp == "" && s.Body != "":
		return Attribution{Corp: s.Body, By: s.ByBody}
	case named.Corp == "":
		return Attribution{}
	case s.Body != "" && s.Body != named.Corp:
		named.Other = s.Body
	}
	return named
}

// OnlyAccount returns the account if exactly one is configured, else nil.
func (g *Gate) OnlyAccount() *account.Account {
	if all := g.Accounts.All(); len(all) == 1 {
		return all[0]
	}
	return nil
}

// OwnsUnnamed reports whether a call with an unknown token that names no account belongs to the
// corp, or passes all the same.
func (g *Gate) OwnsUnnamed(corp string) bool {
	switch g.Config.UnknownToken {
	case config.Auto:
		only := g.OnlyAccount()
		return only != nil && only.CorpID == corp
	case config.Pass, corp:
		return true
	}
	return false
}

// InspectAnyone tells how much of a call must be read that any account may have made. If no account
// needs anything of it, its corp does not matter.
func (g *Gate) InspectAnyone(r wecom.Route, client string, at time.Time) (n policy.Inspections) {
	all := g.distinct.at(g, at)
	if len(all) == 0 {
		return policy.Inspections{Enforced: policy.InspectPath, Overall: policy.InspectPath}
	}
	for _, a := range all {
		if n = n.Stricter(g.Inspect(r, a.CorpID, client, at).Inspections); n.Enforced != policy.InspectNone {
			break
		}
	}
	return n
}

// distinctAccounts remembers one account of each standing and of each group that the rules treat
// alike, so that a call with an unknown token costs the same with ten thousand accounts.
type distinctAccounts struct{ known atomic.Pointer[distinctAt] }

// distinctAt is what holds from an instant until another.
type distinctAt struct {
	from, until time.Time
	accounts    []*account.Account
}

// distinctFor is for how long distinctAccounts holds at most: new counts of contacts, which change
// standings too, are seen that late.
const distinctFor = time.Second

// at returns the distinct accounts at an instant.
func (d *distinctAccounts) at(g *Gate, at time.Time) []*account.Account {
	if known := d.known.Load(); known != nil && !at.Before(known.from) && at.Before(known.until) {
		return known.accounts
	}
	now := &distinctAt{from: at.Add(-distinctFor), until: at.Add(distinctFor)}
	type group struct {
		alike    string
		standing account.Standing
	}
	seen := map[group]bool{}
	for _, a := range g.Accounts.All() {
		for _, change := range a.Instants() {
			now.narrow(at, change)
		}
		if of := (group{g.Engine.Alike(a), a.Standing(at)}); !seen[of] {
			seen[of] = true
			now.accounts = append(now.accounts, a)
		}
	}
	d.known.Store(now)
	return now.accounts
}

// narrow ends what holds at an instant where something changes.
func (d *distinctAt) narrow(at, change time.Time) {
	switch {
	case change.After(at) && change.Before(d.until):
		d.until = change
	case !change.After(at) && change.After(d.from):
		d.from = change
	}
}

// MayNameOwner reports whether the body of a call can name a channel or a one-time code, which
// identify the corp.
func MayNameOwner(r wecom.Route) bool {
	return !r.Ambiguous() && strings.HasPrefix(r.Path, "/cgi-bin/kf/")
}

package gate

import (
	"strings"
	"time"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
)

// By is how the corp of a call was found.
type By uint8

// The ways in which the corp of a call is found, in the order in which they go.
const (
	ByNone        By = iota // it is not known
	ByToken                 // the token is known
	BySetting               // unknown_token says so
	ByOnlyAccount           // exactly one account is configured
	ByPath                  // the call names it: /corp/<corp_id>/cgi-bin/…
	ByHost                  // likewise, by its Host
	ByChannel               // a kf call names a channel that belongs to it
	ByCode                  // a kf call names a one-time code that was given out for it
	Ways                    // how many there are
)

var byNames = [Ways]string{"none", "token", "setting", "only_account", "path", "host", "channel", "code"}

// String returns the word that metrics have.
func (b By) String() string { return byNames[b] }

// Signs are what tells whose a call with an unknown token is. All corps in it are those of
// accounts, "" where there is none.
type Signs struct {
	Path    string // named by the prefix of the path
	Host    string // named by the Host
	Several bool   // calls with this token have named several corps within its life
	Body    string // the owner of the channel or one-time code that the body names
	ByBody  By     // which of the two
}

// Attribution is whose a call is.
type Attribution struct {
	Corp  string // "" if that stays unknown
	Other string // another corp that the call names as well: then it is refused
	By    By
}

// Attribute finds out whose a call with an unknown token is.
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

// JudgedForNobody tells whether a call would pass unread whichever of the accounts made it. Then
// whose it is does not matter, even if its token is unknown.
func (g *Gate) JudgedForNobody(r wecom.Route, client string, at time.Time) bool {
	all := g.Accounts.All()
	for _, a := range all {
		who, _ := g.Subject(a.CorpID, client, at)
		if g.Inspections(Head{Route: r, Who: who, At: at}).Overall != policy.InspectNone {
			return false
		}
	}
	return len(all) > 0
}

// MayNameOwner tells whether the body of a call can name a channel or a one-time code, and so whose
// the call is.
func MayNameOwner(r wecom.Route) bool {
	return !r.Ambiguous() && strings.HasPrefix(r.Path, "/cgi-bin/kf/")
}

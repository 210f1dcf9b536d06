package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
)

// longPast is how long ago a subscription must have ended for its year to be a likely mistake.
const longPast = 365 * 24 * time.Hour

// Lint finds likely mistakes in a configuration that compiled: rules that never match, keys without
// effect, implausible dates. file is the configuration's name in the findings, which are sorted by
// position.
func (p *Engine) Lint(file string, c *config.Config, book *account.Book, now time.Time) config.Mistakes {
	l := linter{file: file, endpoints: slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds()), clients: p.usesClients}
	for i, r := range p.own {
		l.neverMatches(r, book, now)
		l.unreachable(r, p.own[:i])
		l.unknownContacts(r, book)
		l.unknownMsgTypes(r, c.Policy.Rules[i])
	}
	l.entitiesByCase(c.Accounts)
	for _, a := range c.Accounts {
		l.account(a, now)
		l.contacts(a, now)
	}
	l.unused(c)
	_ = l.found.Err() // sorts
	return l.found
}

type linter struct {
	file      string
	endpoints []*wecom.Endpoint
	clients   bool // some rule depends on the caller's client
	found     config.Mistakes
}

func (l *linter) report(at config.Position, what, remedy string) {
	l.found.Add(l.file, at, what, remedy)
}

// calls returns the pairs of endpoint and capability that a rule can match.
func (l *linter) calls(r *Rule) map[string]bool {
	all := map[string]bool{}
	for _, e := range l.endpoints {
		for _, c := range capabilities(e) {
			if r.capabilities.allows(c) && r.matchesEndpoint(e) {
				all[e.Path+" "+string(c)] = true
			}
		}
	}
	return all
}

func (l *linter) neverMatches(r *Rule, book *account.Book, now time.Time) {
	const remedy = "mend its match, or take the rule out"
	hasMsgType := func(e *wecom.Endpoint) bool { return e.SaysMsgType() && r.CanMatch(e) }
	switch {
	case len(l.calls(r)) == 0 && slices.ContainsFunc(l.endpoints, r.namesNeverJudged):
		l.report(r.At, "rule "+r.Name+" can never match: no rule applies to the calls that fetch tokens, nor to those of /cgi-bin/service/", remedy)
	case len(l.calls(r)) == 0:
		l.report(r.At, "rule "+r.Name+" can never match: none of its endpoints has one of its capabilities", remedy)
	case len(r.msgtypes) > 0 && !slices.ContainsFunc(l.endpoints, hasMsgType):
		l.report(r.At, "rule "+r.Name+" can never match: none of its calls has a msgtype", remedy)
	case !slices.ContainsFunc(book.All(), r.CanMatchAccount):
		l.report(r.At, "rule "+r.Name+" can never match: none of its accounts belongs to one of its entities", remedy)
	case !r.until.IsZero() && !now.Before(r.until):
		l.report(r.At, "rule "+r.Name+" can never match any more: it ended on "+r.until.Format(time.RFC3339), "take it out, or give it a later until")
	case r.percent == 0:
		l.report(r.At, "rule "+r.Name+" can never match: its percent is 0", "raise percent, or take the rule out")
	}
}

// unreachable reports a rule if an earlier one matches every call that it can match.
func (l *linter) unreachable(r *Rule, earlier []*Rule) {
	for _, e := range earlier {
		if !r.Shadow && e.Shadow || !covers(e, r) || !includesKeys(l.calls(e), l.calls(r)) {
			continue
		}
		l.report(r.At, "rule "+r.Name+" can never match: rule "+e.Name+" before it takes every call that it is about",
			fmt.Sprintf("put it before the rule in line %d, or narrow that one", e.At.Line))
		return
	}
}

// covers reports whether a matches every call that b matches, of those that both can match by
// endpoint and capability.
func covers(a, b *Rule) bool {
	if a.percent < 100 || a.when.source != "" && a.when.source != b.when.source {
		return false
	}
	sets := includes(a.accounts, b.accounts) && includes(a.entities, b.entities) &&
		includes(a.standings, b.standings) && includes(a.msgtypes, b.msgtypes) && includes(a.clients, b.clients)
	return sets && outlasts(a, b)
}

// outlasts reports whether a is in force whenever b is.
func outlasts(a, b *Rule) bool {
	endsLater := a.until.IsZero() || !b.until.IsZero() && !a.until.Before(b.until)
	return endsLater && !a.from.After(b.from)
}

// includesKeys reports whether every key of b is one of a.
func includesKeys(a, b map[string]bool) bool {
	for k := range b {
		if !a[k] {
			return false
		}
	}
	return true
}

// includes reports whether set a allows every value that b allows.
func includes[T comparable](a, b set[T]) bool {
	if len(a) == 0 {
		return true
	}
	for v := range b {
		if !a.allows(v) {
			return false
		}
	}
	return len(b) > 0
}

// unknownContacts reports a rule that uses contact counts which some of its accounts do not have.
func (l *linter) unknownContacts(r *Rule, book *account.Book) {
	asks := r.when.uses("account.contacts") || r.when.uses("account.contacts_free")
	if !asks || r.when.uses("account.contacts_known") {
		return
	}
	n := 0
	for _, a := range book.All() {
		if _, _, known := a.Contacts(); !known && r.CanMatchAccount(a) {
			n++
		}
	}
	if n > 0 {
		l.report(r.At, fmt.Sprintf("rule %s asks for account.contacts, which %d of its accounts do not have: their calls will be unsure", r.Name, n),
			"give these accounts contacts.total, or write account.contacts_known && before it")
	}
}

func (l *linter) account(a config.Account, now time.Time) {
	if s := a.Subscription; s != nil && !bool(s.Never) && now.Sub(s.ExpiresAt) > longPast {
		l.report(a.At, fmt.Sprintf("the subscription of %s ended on %s, over a year ago", a.CorpID, s.ExpiresAt.Format(time.DateOnly)), "check the year of expires_at")
	}
}

// contacts reports numbers of contacts from which the standing does not follow as one may expect.
func (l *linter) contacts(a config.Account, now time.Time) {
	never := a.Subscription != nil && bool(a.Subscription.Never)
	n := a.Contacts
	if n == nil || n.Total == nil {
		const remedy = "give contacts.total with contacts.counted_at, or secrets.contact, with which the gateway counts them"
		switch {
		case a.Secrets.Contact != "": // the gateway counts them
		case never:
			l.report(a.At, a.CorpID+" has no subscription, and its contacts are not known, so it is active: nothing is refused", remedy)
		case n != nil:
			l.report(a.At, "contacts of "+a.CorpID+" have no total, so the date alone decides", remedy+", or take contacts out")
		}
		return
	}
	switch {
	case !never && n.Purchased == nil && *n.Total > n.Free:
		l.report(a.At, fmt.Sprintf("%s has %d contacts, more than the %d that are free, and no contacts.purchased, so it is never full", a.CorpID, *n.Total, n.Free),
			"give the limit that WeCom's console shows as contacts.purchased")
	case n.CountedAt.After(now):
		l.report(a.At, fmt.Sprintf("the contacts of %s were counted at %s, which is in the future", a.CorpID, n.CountedAt.Format(time.RFC3339)),
			"correct contacts.counted_at")
	}
}

// unused reports keys that have no effect because of another key. A key with its default value is
// not reported.
func (l *linter) unused(c *config.Config) {
	r, d := c.Redis, config.Default()
	embedded, sentinel := r.Mode == config.RedisEmbedded, r.Mode == config.RedisSentinel
	mode := "redis.mode is " + r.Mode
	const setMode = "set redis.mode to the one that you mean, or take it out"
	for _, k := range []struct {
		key, why, remedy string
		unused           bool
	}{
		{"redis.addrs", mode, setMode, embedded && !slices.Equal(r.Addrs, d.Redis.Addrs)},
		{"redis.username", mode, setMode, embedded && r.Username != ""},
		{"redis.password", mode, setMode, embedded && r.Password != ""},
		{"redis.tls", mode, setMode, embedded && r.TLS},
		{"redis.db", mode, setMode, embedded && r.DB != 0},
		{"redis.master_name", mode, setMode, !sentinel && r.MasterName != ""},
		{"redis.sentinel_username", mode, setMode, !sentinel && r.SentinelUsername != ""},
		{"redis.sentinel_password", mode, setMode, !sentinel && r.SentinelPassword != ""},
		{"redis.listen", mode, setMode, !embedded && r.Listen != ""},
		{"redis.snapshot", mode, setMode, !embedded && r.Snapshot != d.Redis.Snapshot},
		{"redis.ca_file", "redis.tls is not on", "write redis.tls: true, or take it out", !r.TLS && r.CAFile != ""},
		{"upstream.ca_file", "upstream.url is plain http", "write https:// in upstream.url, or take it out", strings.HasPrefix(c.Upstream.URL, "http:") && c.Upstream.CAFile != ""},
		{"listen.callback", "there are no callbacks", "write callbacks, or take it out", len(c.Callbacks) == 0 && c.Listen.Callback != d.Listen.Callback},
		{"log.ids_key", "log.ids is plain", "write log.ids: hashed, or take it out", c.Log.IDs == config.Plain && c.Log.IDsKey != ""},
		{"clients", "no rule asks what the caller is", "name them in a rule's match.clients, or take them out", len(c.Clients) > 0 && !l.clients},
	} {
		if k.unused {
			l.report(c.Where(k.key), k.key+" has no effect: "+k.why, k.remedy)
		}
	}
}

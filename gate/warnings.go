package gate

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Warning tells of a legal setting that opens much of what WeCom or the rule set closes, or that
// sends calls in the clear.
type Warning struct {
	config.Mistake
	Key   string // the dotted key, like policy.rules[0].match
	Opens int    // the interfaces that the setting opens; 0 if that is not what it does
	Of    int    // the interfaces that the rule set refuses to lapsed accounts; 0 likewise
}

// Warnings returns what the configuration opens at an instant or later, in no particular order.
// file is the configuration's name in them.
func (g *Gate) Warnings(file string, now time.Time) []Warning {
	s := survey{Gate: g, file: file, now: now, enforcing: g.Enforcing(), callers: g.lapsedCallers()}
	for i := range g.Engine.OwnRules() {
		s.rule(i)
	}
	s.ruleSets()
	s.mode()
	s.unknownToken()
	s.unlistedAccount()
	s.upstream()
	s.windowLength()
	s.windowReplies()
	return s.found
}

// Enforcing returns the gate as it would judge without policy.mode: shadow.
func (g *Gate) Enforcing() *Gate {
	if !g.Engine.Shadow() {
		return g
	}
	c := *g.Config
	c.Policy.Mode = config.Enforce
	other, err := New("", &c)
	if err != nil {
		panic("BUG: a configuration compiled in shadow mode only: " + err.Error())
	}
	return &other
}

// survey collects the warnings of a configuration.
type survey struct {
	*Gate
	file      string
	now       time.Time
	enforcing *Gate // without policy.mode: shadow
	callers   []policy.Subject
	found     []Warning
}

// referenceAt returns the rule set that applies at an instant, or the default one if it refuses
// nothing.
func (s *survey) referenceAt(at time.Time) *reference {
	name := s.Config.Policy.Ruleset
	for i, d := range s.Config.Policy.Rulesets {
		if i == 0 || !at.Before(d.From) {
			name = d.Ruleset.Text
		}
	}
	if r := references[name](); len(r.refused) > 0 {
		return r
	}
	return references[config.Default().Policy.Ruleset]()
}

func (s *survey) warn(key, what, remedy string) {
	s.found = append(s.found, Warning{Key: key, Mistake: config.Mistake{File: s.file, At: s.Config.Where(key), What: what, Remedy: remedy}})
}

// warnOpens adds a warning of a setting that opens n of the interfaces that ref refuses. scope says
// for whom and how long.
func (s *survey) warnOpens(key, setting string, n int, ref *reference, scope, remedy string) {
	if n == 0 {
		return
	}
	s.warn(key, fmt.Sprintf("%s, which opens %d of %d interfaces that %s refuses to lapsed accounts%s", setting, n, len(ref.refused), ref.name, scope), remedy)
	w := &s.found[len(s.found)-1]
	w.Opens, w.Of = n, len(ref.refused)
}

// rule warns of a rule that passes much, now or once it or another rule set applies.
func (s *survey) rule(i int) {
	compiled, r := s.enforcing.Engine.OwnRules()[i], s.Config.Policy.Rules[i]
	if compiled.Action != policy.ActionPass || compiled.Shadow {
		return
	}
	var most map[*wecom.Endpoint]wecom.Capability
	var ref *reference
	var from time.Time
	for _, at := range s.instants(r) {
		then := s.referenceAt(at)
		if opened := s.enforcing.opensByRule(i, then, s.callers, at); len(opened) > len(most) {
			most, ref, from = opened, then, at
		}
	}
	if ref == nil || !isBroad(len(most), ref) || distinct(most) < 2 {
		return
	}
	key := fmt.Sprintf("policy.rules[%d]", i)
	setting := fmt.Sprintf("rule %s (%s) passes %s", r.Name.Text, key, breadth(r))
	if s.Config.Where(key+".match") != (config.Position{}) {
		key += ".match"
	}
	remedy := "name the capabilities or endpoints that it is for, or take it out"
	s.warnOpens(key, setting, len(most), ref, s.scope(i, from), remedy)
}

// instants returns when a rule may open something: as soon as it applies, and with each later rule
// set.
func (s *survey) instants(r config.Rule) []time.Time {
	first := s.now
	if r.From.After(first) {
		first = r.From
	}
	var all []time.Time
	if r.Until.IsZero() || first.Before(r.Until) {
		all = append(all, first)
	}
	for _, d := range s.Config.Policy.Rulesets {
		if d.From.After(first) && (r.Until.IsZero() || d.From.Before(r.Until)) {
			all = append(all, d.From)
		}
	}
	return all
}

// distinct counts different values.
func distinct[K, V comparable](m map[K]V) int {
	seen := map[V]bool{}
	for _, v := range m {
		seen[v] = true
	}
	return len(seen)
}

// breadth describes what a rule passes, by the parts of its match.
func breadth(r config.Rule) string {
	m := r.Match
	switch {
	case len(m.Capabilities)+len(m.Endpoints)+len(m.MsgTypes) > 0:
		return "calls of many interfaces"
	case len(m.Accounts)+len(m.Entities)+len(m.Standings)+len(m.Clients) > 0:
		return "calls of every interface"
	case r.When.Text != "" || r.Percent != nil:
		return "calls of every interface"
	}
	return "every call"
}

// scope tells for whom and how long a rule opens what it opens.
func (s *survey) scope(i int, from time.Time) string {
	r := s.Config.Policy.Rules[i]
	var parts strings.Builder
	if len(r.Match.Accounts)+len(r.Match.Entities) > 0 {
		n := 0
		for _, a := range s.Accounts.All() {
			if s.Engine.OwnRules()[i].CanMatchAccount(a) {
				n++
			}
		}
		fmt.Fprintf(&parts, ", for %d of %d accounts", n, len(s.Accounts.All()))
	}
	if len(r.Match.Clients) > 0 {
		parts.WriteString(", for callers that are " + strings.Join(s.clients(r.Match.Clients), " or "))
	}
	if r.Percent != nil && *r.Percent < 100 {
		fmt.Fprintf(&parts, ", for %d %% of customers", *r.Percent)
	}
	if r.When.Text != "" {
		parts.WriteString(", while its when holds")
	}
	if from.After(s.now) {
		parts.WriteString(", from " + from.Format(time.RFC3339))
	}
	if !r.Until.IsZero() {
		parts.WriteString(", until " + r.Until.Format(time.RFC3339))
	}
	return parts.String()
}

// ruleSets warns of a rule set that refuses nothing. One that ends before any account lapses is
// taken as meant.
func (s *survey) ruleSets() {
	dated := s.Config.Policy.Rulesets
	if len(dated) == 0 {
		s.ruleSet("policy.ruleset", s.Config.Policy.Ruleset, time.Time{}, time.Time{})
	}
	for i, d := range dated {
		var until time.Time
		if i+1 < len(dated) {
			until = dated[i+1].From
		}
		s.ruleSet(fmt.Sprintf("policy.ruleset[%d].ruleset", i), d.Ruleset.Text, d.From, until)
	}
}

func (s *survey) ruleSet(key, name string, from, until time.Time) {
	over := !until.IsZero() && (!s.now.Before(until) || len(s.lapsedBy(until.Add(-1))) == 0)
	if over || len(references[name]().refused) > 0 {
		return
	}
	scope := ""
	if from.After(s.now) {
		scope += ", from " + from.Format(time.RFC3339)
	} else {
		from = s.now
	}
	if !until.IsZero() {
		scope += ", until " + until.Format(time.RFC3339)
	}
	ref := s.referenceAt(from)
	s.warnOpens(key, key+" is "+name, s.enforcing.opens(ref, s.callers, from), ref, scope, "write "+ref.name+", and rules of your own for what may pass")
}

// soon is how long before an account lapses policy.mode: shadow is warned of.
const soon = 30 * 24 * time.Hour

// mode warns of shadow mode while an account is lapsed, or lapses soon.
func (s *survey) mode() {
	lapsing := s.lapsedBy(s.now.Add(soon))
	if !s.Engine.Shadow() || len(lapsing) == 0 {
		return
	}
	who := lapsing[0].CorpID + " lapses on " + lapsing[0].LapsesAt().Format(time.RFC3339)
	switch lapsed := s.lapsedBy(s.now); len(lapsed) {
	case 0:
	case 1:
		who = lapsed[0].CorpID + " has lapsed"
	default:
		who = fmt.Sprintf("%s and %d more have lapsed", lapsed[0].CorpID, len(lapsed)-1)
	}
	ref := s.referenceAt(s.now)
	s.warnOpens("policy.mode", "policy.mode is shadow and "+who, s.opens(ref, s.callers, s.now), ref, "", "write enforce")
}

// lapsedBy returns the accounts that have lapsed at an instant, the one that lapsed
// first at the front.
func (s *survey) lapsedBy(at time.Time) (all []*account.Account) {
	for _, a := range s.Accounts.All() {
		if a.Standing(at) != account.Lapsed {
			continue
		}
		all = append(all, a)
		if a.LapsesAt().Before(all[0].LapsesAt()) {
			all[0], all[len(all)-1] = a, all[0]
		}
	}
	return all
}

// unknownToken warns of passing calls whose account is not known. The proxy judges them as those of
// an active account without an id.
func (s *survey) unknownToken() {
	if s.Config.UnknownToken == config.Pass {
		s.warnOfActive("unknown_token", policy.Subject{Standing: account.Active, Client: s.clients(nil)[0]},
			", for every call whose token was not fetched through the gateway", "write auto: the gateway then finds the account of a token in other ways")
	}
}

// unlistedAccount warns of passing the calls of companies that accounts does not list.
func (s *survey) unlistedAccount() {
	if s.Config.UnlistedAccount != config.Pass {
		return
	}
	who, _ := s.Subject("", s.clients(nil)[0], s.now)
	s.warnOfActive("unlisted_account", who, ", for every company that accounts does not list", "write refuse, and list each company in accounts")
}

// warnOfActive warns of a setting that is pass, so that a caller is judged as an active account.
func (s *survey) warnOfActive(key string, who policy.Subject, scope, remedy string) {
	ref := s.referenceAt(s.now)
	s.warnOpens(key, key+" is pass", s.enforcing.opens(ref, []policy.Subject{who}, s.now), ref, scope, remedy)
}

// upstream warns of calls that go over a network unencrypted.
func (s *survey) upstream() {
	u, err := url.Parse(s.Config.Upstream.URL)
	if err != nil || u.Scheme != "http" || config.Loopback(net.JoinHostPort(u.Hostname(), "80")) {
		return
	}
	s.warn("upstream.url", fmt.Sprintf("upstream.url is plain http to %s: the access tokens and messages of all %d interfaces go there unencrypted", u.Host, len(wecom.Endpoints())),
		"write https://, or name a loopback address")
}

// What WeCom takes: replies within 48 hours of a customer's message, five to each (DOC 94677).
const (
	platformLength  = 48 * time.Hour
	platformReplies = 5
)

// windowLength warns of a window that is open for longer than WeCom takes replies.
func (s *survey) windowLength() {
	length := s.Config.Window.Length
	if length <= platformLength {
		return
	}
	if n := s.enforcing.judgedByWindow(s.referenceAt(s.now), s.callers, s.now, window.Closed); n > 0 {
		s.warn("window.length", fmt.Sprintf("window.length is %s, but WeCom takes replies for %s: %d interfaces pass replies that it refuses with %d",
			hours(length), hours(platformLength), n, wecom.CodeReplyWindow), "write "+hours(platformLength))
	}
}

// windowReplies warns of more replies to a message than WeCom takes. 0 leaves counting to WeCom,
// which is taken as meant.
func (s *survey) windowReplies() {
	replies := s.Config.Window.Replies
	if replies <= platformReplies {
		return
	}
	if n := s.enforcing.judgedByWindow(s.referenceAt(s.now), s.callers, s.now, window.Exhausted); n > 0 {
		s.warn("window.replies", fmt.Sprintf("window.replies is %d, but WeCom takes %d to a message: %d interfaces pass replies that it refuses with %d",
			replies, platformReplies, n, wecom.CodeReplyCount), fmt.Sprint("write ", platformReplies))
	}
}

// hours writes a duration as a configuration does, without zero minutes and seconds.
func hours(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, ok := strings.CutSuffix(text, zero); ok {
			text = short + zero[:1]
		}
	}
	return text
}

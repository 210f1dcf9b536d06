// Package policy decides API calls: it compiles rules and rule sets, finds the rule that matches a
// call, and returns a Decision with its reason and texts.
//
// It does no I/O and knows no HTTP or Redis. Windows and accounts come in as values; a decision
// never blocks and never fails.
package policy

import (
	"embed"
	"fmt"
	"hash/fnv"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
)

// Action is what a rule does with a call. The zero Action refuses.
type Action uint8

// The actions.
const (
	ActionRefuse Action = iota // refuse the call
	ActionReply                // pass if every recipient has an open window
	ActionPass                 // pass the call
)

var actions = map[string]Action{"refuse": ActionRefuse, "reply": ActionReply, "pass": ActionPass}

// Rule is a compiled rule. An empty set matches anything.
type Rule struct {
	Name         string
	Action       Action
	Errcode      int    // of refusal.errcode; 0 is the default errcode of the reason
	Errmsg       string // of refusal.errmsg; "" is the default text of the reason
	accounts     set[string]
	entities     set[string]
	standings    set[account.Standing]
	endpoints    set[string]
	patterns     []string // endpoints in which * matches one path segment
	msgtypes     set[string]
	clients      set[string]
	percent      int // of customers, 0 to 100
	capabilities set[wecom.Capability]
	from         time.Time
	until        time.Time
	when         condition
	order        int  // its index in the phase
	own          bool // the operator's, not a rule set's
	Shadow       bool // decided and counted, but not applied
	Trim         bool // partial: trim, remove recipients without an open window
	At           config.Position
	counts       counts
}

type set[T comparable] map[T]struct{}

func (s set[T]) allows(v T) bool {
	if len(s) == 0 {
		return true
	}
	_, in := s[v]
	return in
}

// Subject is the caller of an API call.
type Subject struct {
	CorpID   string
	Entity   string
	Standing account.Standing
	Client   string           // a name of clients, config.UnknownClient, or "" if no rule uses it
	Account  *account.Account // nil if accounts does not list the corp
}

// matchesEndpoint reports whether the rule can match calls of an endpoint.
func (r *Rule) matchesEndpoint(e *wecom.Endpoint) bool {
	return !(r.own && e.NeverJudged()) && r.namesEndpoint(e)
}

// namesEndpoint reports whether the rule's endpoints include one.
func (r *Rule) namesEndpoint(e *wecom.Endpoint) bool {
	if len(r.patterns) == 0 {
		return r.endpoints.allows(e.Path)
	}
	if _, named := r.endpoints[e.Path]; named {
		return true
	}
	for _, p := range r.patterns {
		if matches, _ := path.Match(p, e.Path); matches {
			return true
		}
	}
	return false
}

// needsBody reports whether the rule's match depends on the body of a call of e.
func (r *Rule) needsBody(e *wecom.Endpoint) bool {
	byType := len(r.msgtypes) > 0 && e.SaysMsgType()
	byWhen := r.when.usesBody && e.Says()
	byCustomer := r.percent < 100 && e.NamesCustomers()
	return byType || byWhen || byCustomer
}

// matchesCaller reports whether a rule is in force and matches the caller. The caller's standing is
// already covered by the table in which the rule was found.
func (r *Rule) matchesCaller(who *Subject, now time.Time) bool {
	return r.inForce(now) && r.accounts.allows(who.CorpID) && r.entities.allows(who.Entity) && r.clients.allows(who.Client)
}

// hasCallConditions reports whether the match also depends on the call itself; see matchesCall.
func (r *Rule) hasCallConditions() bool {
	return len(r.msgtypes) > 0 || r.percent < 100 || r.when.program != nil
}

// matchesCall tests the conditions on the call: message type, percentage of customers, and when. An
// error means that when could not be evaluated.
func (r *Rule) matchesCall(c *Call, capability wecom.Capability) (bool, error) {
	if !r.msgtypes.allows(c.Facts.MsgType) || r.percent < 100 && r.bucket(c) >= r.percent {
		return false, nil
	}
	return r.when.holds(c, capability)
}

// bucket hashes a call to 0..99 by its customer, or by its account if it names no customer or
// several. The rule's name is part of the hash, so that each rule selects other customers.
func (r *Rule) bucket(c *Call) int {
	h := fnv.New64a()
	_, _ = io.WriteString(h, r.Name+"\x00"+c.Who.CorpID)
	if len(c.Facts.Customers) == 1 {
		_, _ = io.WriteString(h, "\x00"+c.Facts.Customers[0])
	}
	x := h.Sum64()
	x ^= x >> 33 // FNV mixes the last bytes into the low bits only
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int(x % 100)
}

// inForce reports whether an instant is within the rule's from (inclusive) and until (exclusive).
func (r *Rule) inForce(now time.Time) bool {
	return !now.Before(r.from) && (r.until.IsZero() || now.Before(r.until))
}

//go:embed rulesets/*.yaml
var ruleSets embed.FS

// RuleSets returns the names of the built-in rule sets, sorted.
func RuleSets() []string {
	entries, err := ruleSets.ReadDir("rulesets")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// RuleSet returns the YAML of a built-in rule set.
func RuleSet(name string) ([]byte, error) {
	data, err := ruleSets.ReadFile("rulesets/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("there is no rule set %q: %s", name, config.DidYouMean(name, RuleSets()))
	}
	return data, nil
}

// compiler compiles the rules of a file and collects their mistakes.
type compiler struct {
	file     string
	accounts *account.Book // nil: rules may name any account
	clients  []string      // that rules may name
	corps    []string      // of accounts; filled by accountNames
	entities []string
	mistakes config.Mistakes
}

func (c *compiler) rules(rules []config.Rule) []*Rule {
	var out []*Rule
	names := map[string]config.Position{}
	for _, r := range rules {
		if r.Name.Text == "" {
			c.mistake(r.At, "a rule has no name", "name it: refusals and records quote the name")
		} else if at, twice := names[r.Name.Text]; twice {
			c.mistake(r.Name.At, "two rules are called "+r.Name.Text, fmt.Sprintf("the other is in line %d; rename one", at.Line))
		}
		names[r.Name.Text] = r.Name.At
		out = append(out, c.rule(r))
	}
	return out
}

func (c *compiler) rule(r config.Rule) *Rule {
	out := &Rule{Name: r.Name.Text, from: r.From, until: r.Until, percent: 100, At: r.At}
	if r.Percent != nil {
		if out.percent = *r.Percent; out.percent < 0 || out.percent > 100 {
			c.mistake(r.At, fmt.Sprintf("percent cannot be %d", out.percent), "write 0 to 100")
		}
	}
	if !r.Until.IsZero() && !r.From.Before(r.Until) {
		c.mistake(r.At, "the rule ends before it begins", "until must be later than from")
	}
	out.capabilities = setOf[wecom.Capability](c, "capability", r.Match.Capabilities, toStrings(wecom.Capabilities()))
	out.standings = setOf[account.Standing](c, "standing", r.Match.Standings, toStrings(account.Standings()))
	out.endpoints, out.patterns = c.endpoints(r.Match.Endpoints)
	out.clients = setOf[string](c, "client", r.Match.Clients, c.clients)
	out.msgtypes = setOf[string](c, "", r.Match.MsgTypes, nil)
	out.accounts, out.entities = c.callers(r.Match)
	out.when = c.when(r.When)
	out.Shadow = c.oneOf("mode", r.Mode, config.Enforce, config.Shadow) == config.Shadow
	out.Trim = c.oneOf("partial", r.Partial, config.Refuse, config.Trim) == config.Trim
	c.action(r, out)
	c.partial(r, out)
	return out
}

// oneOf checks an optional key of a rule against its known values.
func (c *compiler) oneOf(key string, w config.Word, known ...string) string {
	if w != (config.Word{}) && !slices.Contains(known, w.Text) {
		c.mistake(w.At, fmt.Sprintf("%s cannot be %q", key, w.Text), config.DidYouMean(w.Text, known))
	}
	return w.Text
}

// partial checks that a rule with partial has action: reply, and that with partial: trim its
// endpoints can report the recipients that were removed.
func (c *compiler) partial(r config.Rule, out *Rule) {
	const remedy = "write action: reply, or take partial out"
	switch {
	case r.Partial == config.Word{}:
		return
	case out.Action != ActionReply && out.Trim:
		c.mistake(r.Partial.At, "only a rule with action: reply can trim", remedy)
		return
	case out.Action != ActionReply:
		c.mistake(r.Partial.At, "partial has no effect on a rule that does not reply", remedy)
		return
	case !out.Trim:
		return
	}
	for _, e := range wecom.Endpoints() {
		if out.capabilities.allows(e.Capability) && out.matchesEndpoint(e) && e.NamesSeveral() && !e.ReportsRest() {
			c.mistake(r.Partial.At, e.Path+" cannot report whom it did not reach", "name endpoints that can: "+strings.Join(trimmable(), ", "))
			return
		}
	}
}

// trimmable returns the endpoints whose answer can report recipients that were not reached.
func trimmable() (paths []string) {
	for _, e := range wecom.Endpoints() {
		if e.ReportsRest() {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// endpoints compiles paths and patterns. In a pattern * matches one path segment; a pattern must
// match some endpoint of the catalogue.
func (c *compiler) endpoints(list []config.Word) (exact set[string], patterns []string) {
	var plain []config.Word
	for _, w := range list {
		if !strings.Contains(w.Text, "*") {
			plain = append(plain, w)
			continue
		}
		if strings.Contains(w.Text, "**") {
			c.mistake(w.At, fmt.Sprintf("%q has **, which has no meaning of its own", w.Text), "* stands for one name between slashes: write a pattern for each depth, like /cgi-bin/kf/* and /cgi-bin/kf/*/*")
			continue
		}
		matches := func(p string) bool { ok, err := path.Match(w.Text, p); return ok && err == nil }
		if strings.ContainsAny(w.Text, `?[\`) || !slices.ContainsFunc(paths(), matches) {
			c.mistake(w.At, fmt.Sprintf("no endpoint matches %q", w.Text), "write * for one name between slashes, like /cgi-bin/externalcontact/customer_acquisition/*")
		}
		patterns = append(patterns, w.Text)
	}
	return setOf[string](c, "endpoint", plain, paths()), patterns
}

func (c *compiler) callers(m config.Match) (corps, entities set[string]) {
	if c.accounts == nil {
		return setOf[string](c, "", m.Accounts, nil), setOf[string](c, "", m.Entities, nil)
	}
	known, legal := c.accountNames()
	return setOf[string](c, "account", m.Accounts, known), setOf[string](c, "entity", m.Entities, legal)
}

// accountNames returns the corp ids and the distinct entities of the accounts.
func (c *compiler) accountNames() (corps, entities []string) {
	if c.corps == nil {
		seen := map[string]bool{"": true}
		for _, a := range c.accounts.All() {
			c.corps = append(c.corps, a.CorpID)
			if !seen[a.Entity] {
				seen[a.Entity] = true
				c.entities = append(c.entities, a.Entity)
			}
		}
	}
	return c.corps, c.entities
}

func (c *compiler) action(r config.Rule, out *Rule) {
	known := []string{"pass", "refuse", "reply"}
	action, ok := actions[r.Action.Text]
	switch {
	case r.Action.Text == "":
		c.mistake(r.At, "rule "+r.Name.Text+" has no action", "write action: "+strings.Join(known, ", or action: "))
	case !ok:
		c.mistake(r.Action.At, fmt.Sprintf("action cannot be %q", r.Action.Text), config.DidYouMean(r.Action.Text, known))
	}
	out.Action = action
	if r.Refusal == nil {
		return
	}
	out.Errcode, out.Errmsg = r.Refusal.Errcode, r.Refusal.Errmsg
	switch {
	case action == ActionPass && ok:
		c.mistake(r.Refusal.At, "a rule that passes has a refusal", "take it out, or write action: refuse")
	case slices.Contains(forbiddenCodes, out.Errcode):
		c.mistake(r.Refusal.At, fmt.Sprintf("refusal.errcode cannot be %d", out.Errcode),
			"SDKs fetch new tokens or send again on that code; the usual one is 48002")
	case out.Errcode == wecom.CodeOK:
		c.mistake(r.Refusal.At, "refusal.errcode is missing", "write one that callers take for a refusal; the usual one is 48002")
	}
}

// forbiddenCodes are errcodes on which SDKs refresh tokens or send again, or which mean the state
// of a session or a rate limit (package wecom, "Never use").
var forbiddenCodes = []int{-1, 40001, 40014, 42001, 42007, 42009, 45009, 45033, 95018}

func (c *compiler) mistake(at config.Position, what, remedy string) {
	c.mistakes.Add(c.file, at, what, remedy)
}

// setOf compiles a list of a match. Values not in known are mistakes, unless kind is "".
func setOf[T ~string](c *compiler, kind string, list []config.Word, known []string) set[T] {
	if len(list) == 0 {
		return nil
	}
	out := set[T]{}
	for _, w := range list {
		if kind != "" && !slices.Contains(known, w.Text) {
			c.mistake(w.At, fmt.Sprintf("there is no %s %q", kind, w.Text), suggestion(kind, w.Text, known))
		}
		out[T(w.Text)] = struct{}{}
	}
	return out
}

// suggestion returns the remedy for a word that is not in the vocabulary of its kind.
func suggestion(kind, word string, known []string) string {
	near := config.Nearest(word, known)
	switch {
	case len(known) == 0:
		return "the configuration has none"
	case slices.ContainsFunc(near, func(k string) bool { return strings.EqualFold(k, word) }):
		return config.DidYouMean(word, known) + " letter case matters"
	case kind == "endpoint" && slices.Contains(known, path.Join("/cgi-bin", word)):
		return "did you mean " + path.Join("/cgi-bin", word) + "?"
	case kind == "endpoint" && len(near) == 0:
		return "write one as the catalogue has it, like /cgi-bin/kf/send_msg"
	}
	return config.DidYouMean(word, known)
}

func toStrings[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

func paths() []string {
	all := wecom.Endpoints()
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = e.Path
	}
	return out
}

package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"replygate/account"
	"replygate/wecom"
)

// Traced is the result of one rule for a call, and its explanation.
type Traced struct {
	Name    string
	Tried   bool // false if a rule before it decided
	Matched bool
	Why     string
}

// Trace explains for every rule in force, in order, whether it matches a call with a capability.
// Rules after the first enforced match are listed as not tried.
func (p *Engine) Trace(c Call, capability wecom.Capability, chinese bool) []Traced {
	t := explainer{chinese}
	var all []Traced
	decided := ""
	for _, r := range p.at(c.At).rules {
		if decided != "" {
			all = append(all, Traced{Name: r.Name, Why: t.format(whyNotTried, decided)})
			continue
		}
		why, matched := t.explain(r, &c, capability)
		all = append(all, Traced{Name: r.Name, Tried: true, Matched: matched, Why: why})
		if matched && !r.Shadow {
			decided = r.Name
		}
	}
	return all
}

var (
	whyNotTried   = text{"%s decides", "已由 %s 决定"}
	whyMatches    = text{"it matches: %s", "匹配：%s"}
	whyShadow     = text{"it matches, but is in shadow: %s is not applied", "匹配，但处于影子模式：不执行%s"}
	whyCapability = text{"it is about %s, not about %s", "只适用于%s，不适用于%s"}
	whyEndpoint   = text{"it is not about %s", "不适用于 %s"}
	whyStanding   = text{"it is about %s accounts, this one is %s", "只适用于状态为%s的企业，此企业为%s"}
	whyAccount    = text{"it is about other accounts than %s", "不适用于企业 %s"}
	whyEntity     = text{"it is about %s, this account belongs to %s", "只适用于主体%s，此企业属于%s"}
	whyClient     = text{"it is about clients %s, the caller is %s", "只适用于程序 %s，调用方为 %s"}
	whyFrom       = text{"it begins on %s", "自 %s 起生效"}
	whyUntil      = text{"it ended on %s", "已于 %s 失效"}
	whyMsgType    = text{"it is about msgtype %s, the call has %s", "只适用于 msgtype %s，此调用为%s"}
	whyPercent    = text{"it takes %d %%, the call is drawn at %d", "只取 %d%%，此调用落在 %d"}
	whyWhen       = text{"%s does not hold", "条件 %s 不成立"}
	whyUnsure     = text{"it decides, since whether %s holds cannot be told: %s", "由它决定：无法判断条件 %s 是否成立（%s）"}
)

// explainer explains rules in one of two languages.
type explainer struct{ chinese bool }

func (t explainer) format(x text, values ...any) string {
	return x.format(t.chinese, values...)
}

// list writes the words of a set in their order, as write does.
func list[T ~string](t explainer, s set[T], write func(word T) string) string {
	var words []string
	for _, w := range slices.Sorted(maps.Keys(s)) {
		words = append(words, write(w))
	}
	if t.chinese {
		return strings.Join(words, "、")
	}
	return strings.Join(words, ", ")
}

func plain[T ~string](word T) string { return string(word) }

func (t explainer) capability(c wecom.Capability) string { return Titled(c, t.chinese) }

// actionTitles name the actions in Chinese.
var actionTitles = map[Action]string{ActionRefuse: "拒绝", ActionReply: "仅在回复窗口内放行", ActionPass: "放行"}

func (t explainer) action(a Action) string {
	if t.chinese {
		return titled(actionTitles[a], a.String())
	}
	return a.String()
}

func (t explainer) standing(s account.Standing) string { return TitledStanding(s, t.chinese) }

// quote quotes a name that somebody else has given.
func (t explainer) quote(name string) string {
	quoted := strconv.Quote(name)
	if t.chinese {
		return "“" + quoted[1:len(quoted)-1] + "”"
	}
	return quoted
}

// entity writes the name of an entity as a rule has it.
func (t explainer) entity(name string) string {
	if t.chinese {
		return t.quote(name)
	}
	return name
}

func (t explainer) time(at time.Time) string {
	if t.chinese {
		return InBeijing(at)
	}
	return at.Format(time.RFC3339)
}

// explain reports whether a rule matches a call, and why, as matchesCaller and matchesCall decide
// it.
func (t explainer) explain(r *Rule, c *Call, capability wecom.Capability) (why string, matched bool) {
	action := t.action(r.Action)
	switch {
	case !r.capabilities.allows(capability):
		return t.format(whyCapability, list(t, r.capabilities, t.capability), t.capability(capability)), false
	case !r.matchesEndpoint(c.Endpoint):
		return t.format(whyEndpoint, c.Endpoint.Path), false
	case !r.standings.allows(c.Who.Standing):
		return t.format(whyStanding, list(t, r.standings, t.standing), t.standing(c.Who.Standing)), false
	case !r.accounts.allows(c.Who.CorpID):
		return t.format(whyAccount, c.Who.CorpID), false
	case !r.entities.allows(c.Who.Entity):
		return t.format(whyEntity, list(t, r.entities, t.entity), t.quote(c.Who.Entity)), false
	case !r.clients.allows(c.Who.Client):
		return t.format(whyClient, list(t, r.clients, plain), c.Who.Client), false
	case c.At.Before(r.from):
		return t.format(whyFrom, t.time(r.from)), false
	case !r.inForce(c.At):
		return t.format(whyUntil, t.time(r.until)), false
	case !r.msgtypes.allows(c.Facts.MsgType):
		return t.format(whyMsgType, list(t, r.msgtypes, plain), t.quote(c.Facts.MsgType)), false
	case r.percent < 100 && r.bucket(c) >= r.percent:
		return t.format(whyPercent, r.percent, r.bucket(c)), false
	}
	holds, err := r.when.holds(c, capability)
	switch {
	case err != nil:
		return t.format(whyUnsure, r.when.source, err), true
	case !holds:
		return t.format(whyWhen, r.when.source), false
	case r.Shadow:
		return t.format(whyShadow, action), true
	}
	return t.format(whyMatches, action), true
}

// Instants returns when decisions about an account may change by time alone: when rules and rule
// sets begin or end, and when the account's standing changes. The order is unspecified; a is nil
// for an unlisted account.
func (p *Engine) Instants(a *account.Account) []time.Time {
	var all []time.Time
	for i := range p.phases {
		all = append(all, p.phases[i].from)
	}
	for _, r := range p.phases[0].rules {
		all = append(all, r.from, r.until)
	}
	if a != nil {
		all = append(all, a.Instants()...)
	}
	return slices.DeleteFunc(all, time.Time.IsZero)
}

// Rules returns the names of all rules of all phases, in order, each once.
func (p *Engine) Rules() []string {
	var names []string
	for i := range p.phases {
		for _, r := range p.phases[i].rules {
			if !slices.Contains(names, r.Name) {
				names = append(names, r.Name)
			}
		}
	}
	return names
}

// Length returns how long a window is open after the customer's message.
func (p *Engine) Length() time.Duration { return p.length }

// Chinese reports whether refusals are written in Chinese; else they are in English.
func (p *Engine) Chinese() bool { return p.chinese }

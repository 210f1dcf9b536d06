package outbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"replygate/account"
	"replygate/config"
	"replygate/events"
	"replygate/policy"
)

const (
	maxMessage = 4096 // bytes of a markdown message; longer ones are errcode 40058
	maxLines   = 20   // of events
	maxGroups  = 5000 // lines that a digest tells apart; what is beyond is counted
	maxName    = 60   // characters of a name, and twice as many of a detail
)

// digest gathers events for one message, without keeping them: those of one kind about one account
// are one line.
type digest struct {
	total  int
	urgent bool
	groups map[groupKey]*group
	untold int // events beyond maxGroups
}

// groupKey is the kind of an event, with the distance of a chat's close, and whom it is about.
type groupKey struct{ kind, before, whom string }

// group is the events of one line.
type group struct {
	groupKey
	n        int
	earliest time.Time // when the first chat closes
	last     facts
}

// facts are what a line can tell.
type facts struct {
	Account, Entity, Standing string
	CorpID                    string    `json:"corp_id"`
	ClosesAt                  time.Time `json:"closes_at"`
	Before                    string
	ExpiresAt                 string `json:"expires_at"`
	StopsAt                   string `json:"stops_at"`
	DaysLeft                  int    `json:"days_left"`
	From, To                  string
	Total, Limit, Percent     int
	Lost                      int
	Gateway, Detail, Error    string
	Name, Why                 string
	Rules                     []json.RawMessage
	Dropped                   int // refused calls that are no events
}

// add counts an event of the log.
func (d *digest) add(e *events.Entry) {
	var form struct{ Data facts }
	_ = json.Unmarshal(e.JSON, &form) // what cannot be read is counted all the same
	f := form.Data
	n := 1 + f.Dropped
	d.total += n
	d.urgent = d.urgent || f.Before == "15m"
	key := groupKey{e.Type, f.Before, cmp.Or(e.Corp, f.Entity+f.Gateway+f.Name)}
	g := d.groups[key]
	if g == nil {
		if len(d.groups) >= maxGroups {
			d.untold += n
			return
		}
		if d.groups == nil {
			d.groups = map[groupKey]*group{}
		}
		g = &group{groupKey: key}
		d.groups[key] = g
	}
	g.n += n
	g.last = f
	if g.earliest.IsZero() || f.ClosesAt.Before(g.earliest) {
		g.earliest = f.ClosesAt
	}
}

// order is how the kinds follow one another, what cannot wait first.
var order = func() (all [][2]string) {
	for _, before := range []string{"15m", "1h", "4h"} {
		all = append(all, [2]string{events.WindowClosing, before})
	}
	all = append(all, [2]string{events.ClosedUnanswered, ""})
	for _, kind := range []string{events.AccountStopsSoon, events.AccountExpiresSoon, events.StandingChanged, events.ContactsThreshold} {
		all = append(all, [2]string{kind, ""})
	}
	for _, kind := range events.Types() {
		if one := [2]string{kind, ""}; !slices.Contains(all, one) && kind != events.WindowClosing {
			all = append(all, one)
		}
	}
	return all
}()

// text returns the message: for each kind a heading and its lines, cut at a line so that it fits.
func (d *digest) text(language string, zone *time.Location, link string) string {
	w := wordsOf(language)
	var all []*group
	for _, g := range d.groups {
		all = append(all, g)
	}
	place := func(g *group) int {
		i := slices.Index(order, [2]string{g.kind, g.before})
		if i < 0 {
			return len(order)
		}
		return i
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.kind, b.kind), a.earliest.Compare(b.earliest), cmp.Compare(b.n, a.n), cmp.Compare(a.whom, b.whom))
	})
	var out strings.Builder
	told, lines := 0, 0
	// The last line always has its place.
	room := maxMessage - len(w.rest(d.total, link)) - 1
	for i, g := range all {
		part := ""
		if i == 0 || all[i-1].kind != g.kind || all[i-1].before != g.before {
			sum := 0
			for _, other := range all[i:] {
				if other.kind != g.kind || other.before != g.before {
					break
				}
				sum += other.n
			}
			part = "**" + w.heading(g.groupKey, sum) + "**\n"
		}
		part += "> " + w.line(g, zone) + "\n"
		if lines == maxLines || out.Len()+len(part) > room {
			break
		}
		out.WriteString(part)
		told += g.n
		lines++
	}
	return strings.TrimSuffix(out.String()+w.rest(d.total-told, link), "\n")
}

// testText is the message of a test.
var testText = map[string]string{
	config.English: "replygate: this is a test message.",
	config.Chinese: "replygate：这是一条测试消息。",
}

// wording is a language of digests.
type wording struct {
	chinese  bool
	headings map[string]string // :: kind, with the distance of a close -> text with the number
}

var (
	english = wording{headings: map[string]string{
		events.WindowClosing + " 15m": "Chats that close within 15 minutes: %d", events.WindowClosing + " 1h": "Chats that close within 1 hour: %d",
		events.WindowClosing + " 4h": "Chats that close within 4 hours: %d", events.ClosedUnanswered: "Chats closed unanswered: %d",
		events.AccountExpiresSoon: "Subscriptions that end soon: %d", events.AccountStopsSoon: "Accounts that stop soon: %d", events.StandingChanged: "Changes of standing: %d",
		events.ContactsThreshold: "Accounts near their limit of contacts: %d", events.ContactsMoved: "Accounts that lost contacts to another one: %d",
		events.ChannelBypassed: "Channels that bypass the gateway: %d", events.RecordsGap: "Gaps in the records: %d", events.RecordsComplete: "Records are complete again: %d",
		events.StoreDown: "Redis does not answer: %d", events.StoreUp: "Redis answers again: %d", events.ClockSkew: "Clocks differ: %d",
		events.ConfigReloaded: "Configurations reloaded: %d", events.ConfigRejected: "Configurations rejected: %d", events.ShadowDigest: "Digests of rules in shadow: %d",
		events.DecisionRefused: "Calls refused: %d",
		events.WebhookDisabled: "Webhooks and robots disabled: %d",
	}}
	chinese = wording{chinese: true, headings: map[string]string{
		events.WindowClosing + " 15m": "%d 个会话将在 15 分钟内关闭", events.WindowClosing + " 1h": "%d 个会话将在 1 小时内关闭",
		events.WindowClosing + " 4h": "%d 个会话将在 4 小时内关闭", events.ClosedUnanswered: "%d 个会话未回复即已关闭",
		events.AccountExpiresSoon: "%d 个企业的订阅即将到期", events.AccountStopsSoon: "%d 个企业即将停用", events.StandingChanged: "%d 次企业状态变更",
		events.ContactsThreshold: "%d 个企业的联系人接近上限", events.ContactsMoved: "%d 个企业的联系人转移到其他企业",
		events.ChannelBypassed: "%d 个客服账号的消息绕过网关", events.RecordsGap: "消息记录出现 %d 处缺口", events.RecordsComplete: "消息记录恢复完整：%d",
		events.StoreDown: "Redis 无响应：%d", events.StoreUp: "Redis 已恢复：%d", events.ClockSkew: "时钟不一致：%d",
		events.ConfigReloaded: "配置已重新加载：%d", events.ConfigRejected: "配置有误，未生效：%d", events.ShadowDigest: "影子规则摘要：%d",
		events.DecisionRefused: "%d 次调用被拒绝",
		events.WebhookDisabled: "webhook 或机器人已停用：%d",
	}}
)

func wordsOf(language string) *wording {
	if language == config.English {
		return &english
	}
	return &chinese
}

func (w *wording) pick(en, zh string) string {
	if w.chinese {
		return zh
	}
	return en
}

func (w *wording) heading(k groupKey, n int) string {
	pattern, known := w.headings[strings.TrimSpace(k.kind+" "+k.before)]
	if !known {
		return fmt.Sprintf("%s: %d", k.kind, n)
	}
	return fmt.Sprintf(pattern, n)
}

func (w *wording) standing(name string) string {
	return w.pick(name, cmp.Or(policy.StandingInChinese(account.Standing(name)), name))
}

// line tells of the events of a group.
func (w *wording) line(g *group, zone *time.Location) string {
	f := &g.last
	name := short(cmp.Or(f.Account, f.CorpID, f.Entity, f.Gateway, f.Name, "-"), maxName)
	times := ""
	if g.n > 1 {
		times = fmt.Sprintf(" %d", g.n)
	}
	switch g.kind {
	case events.WindowClosing, events.ClosedUnanswered:
		if f.Standing != "" && f.Standing != "active" {
			name += w.pick(" ("+f.Standing+")", "（"+w.standing(f.Standing)+"）")
		}
		at := g.earliest.In(zone).Format("15:04")
		if g.n == 1 {
			return fmt.Sprintf("%s 1 · %s", name, at)
		}
		return fmt.Sprintf("%s %d · %s %s", name, g.n, w.pick("first", "最早"), at)
	case events.AccountExpiresSoon, events.AccountStopsSoon:
		end := f.ExpiresAt
		if g.kind == events.AccountStopsSoon {
			end = f.StopsAt
		}
		if at, err := time.Parse(time.RFC3339, end); err == nil {
			end = at.In(zone).Format("2006-01-02 15:04")
		}
		return fmt.Sprintf("%s · %s · %s", name, fmt.Sprintf(w.pick("days left: %d", "剩 %d 天"), f.DaysLeft), end)
	case events.StandingChanged:
		return fmt.Sprintf("%s%s · %s → %s", name, times, w.standing(f.From), w.standing(f.To))
	case events.ContactsThreshold:
		return fmt.Sprintf("%s · %d / %d (%d%%)", name, f.Total, f.Limit, f.Percent)
	case events.ContactsMoved:
		return fmt.Sprintf("%s · %s → %s · %d", name, short(f.From, maxName), short(f.To, maxName), f.Lost)
	case events.ShadowDigest:
		return fmt.Sprintf("%s · %s", name, fmt.Sprintf(w.pick("rules: %d", "%d 条规则"), len(f.Rules)))
	}
	line := name + times
	detail := cmp.Or(f.Why, f.Error)
	if detail == "" && !w.chinese { // these are in English, and the heading tells it
		detail = f.Detail
	}
	if detail != "" {
		line += " · " + short(detail, 2*maxName)
	}
	return line
}

// rest tells how many events are in no line, and where all are.
func (w *wording) rest(n int, link string) string {
	var parts []string
	if n > 0 {
		parts = append(parts, fmt.Sprintf(w.pick("%d more", "还有 %d 个"), n))
	}
	if link != "" {
		parts = append(parts, "["+w.pick("open", "查看")+"]("+link+")")
	}
	return strings.Join(parts, " · ")
}

// short returns a text on one line, of at most n characters, without what would format it.
func short(text string, n int) string {
	text = strings.Join(strings.Fields(strings.NewReplacer("*", "", "[", "(", "]", ")", "<", "(", ">", ")", "`", "", "#", "").Replace(text)), " ")
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

package rehearsal

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"replygate/account"
	"replygate/policy"
)

// text is a format string in two languages. Both take the same values, in the order of their
// numbers.
type text struct{ en, zh string }

// texts formats texts in one of the languages.
type texts struct{ chinese bool }

func (t texts) format(x text, values ...any) string {
	if t.chinese {
		return fmt.Sprintf(x.zh, values...)
	}
	return fmt.Sprintf(x.en, values...)
}

func (t texts) join(all []string) string {
	if t.chinese {
		return strings.Join(all, "；")
	}
	return strings.Join(all, "; ")
}

var (
	textStops = text{
		"%[1]s, %[2]s of %[3]s's %[4]s would be refused: %[5]s, %[6]s.",
		"%[1]s，%[3]s%[4]s中有 %[2]s 次会被拒绝，涉及 %[5]s和 %[6]s。"}
	textNoneRefused = text{
		"%[1]s, none of %[2]s's %[3]s would be refused.",
		"%[1]s，%[2]s%[3]s都不会被拒绝。"}
	textFree = text{
		"Nothing stops for %[1]s: it has fewer contacts than the free allowance.",
		"%[1]s不会停用：外部联系人少于免费额度。"}
	textNoEnd = text{
		"Nothing stops for %[1]s: no end of its subscription is given.",
		"%[1]s不会停用：没有到期日。"}
	textNotYet = text{
		"Nothing stops for %[1]s on %[2]s: its standing is %[3]s then.",
		"%[1]s在 %[2]s 不会停用：届时状态为“%[4]s”。"}
	textNoTraffic = text{
		"No traffic of %[1]s has come through the gateway yet: point the bots at it first.",
		"%[1]s还没有流量经过网关，先让程序改用网关地址。"}
	textFrom    = text{"From %[1]s", "%[1]s 起"}
	textNow     = text{"As of now", "现在起"}
	textPast    = text{"%[1]s of the past %[2]d days", "过去 %[2]d 天的 %[1]s"}
	textInLogs  = text{"%[1]s in these logs", "在这些日志里的 %[1]s"}
	textCalls   = text{"%[1]s calls", "%[1]s 次调用"}
	textOneCall = text{"%[1]s call", "%[1]s 次调用"}
	textKinds   = text{"%[1]d kinds of interface", "%[1]d 类接口"}
	textOneKind = text{"%[1]d kind of interface", "%[1]d 类接口"}
	textBots    = text{"%[1]d bots", "%[1]d 个程序"}
	textOneBot  = text{"%[1]d bot", "%[1]d 个程序"}
	textDay     = text{"Jan 2, 15:04", "1 月 2 日 15:04"}
	textYear    = text{"Jan 2, 2006, 15:04", "2006 年 1 月 2 日 15:04"}
)

// sentence says a Report in words for a manager.
func (t *Tally) sentence(r *Report, logs bool) string {
	x, standing := t.r.text, t.who.Standing
	name := r.Account
	if name == "" {
		name = r.CorpID
	}
	if x.chinese && name[len(name)-1] < 0x80 {
		name += " "
	}
	unlimited := standing == account.Active || standing == account.Grace
	switch {
	case r.Refused == 0 && standing == account.Free:
		return x.format(textFree, name)
	case r.Refused == 0 && unlimited && t.who.Account.LapsesAt().IsZero():
		return x.format(textNoEnd, name)
	case r.Refused == 0 && unlimited:
		return x.format(textNotYet, name, x.date(t.at, t.r.now), standing, policy.StandingInChinese(standing))
	case r.Calls == 0:
		return x.format(textNoTraffic, name)
	}
	from := x.format(textNow)
	if t.at.After(t.r.now) {
		from = x.format(textFrom, x.date(t.at, t.r.now))
	}
	of := x.format(textPast, x.calls(r.Calls), r.Days)
	if logs {
		of = x.format(textInLogs, x.calls(r.Calls))
	}
	if r.Refused == 0 {
		return x.format(textNoneRefused, from, name, of)
	}
	kinds, bots := map[any]bool{}, map[any]bool{}
	for _, row := range r.By {
		if row.Refused > 0 {
			kinds[row.Capability], bots[row.Client] = true, true
		}
	}
	return x.format(textStops, from, number(r.Refused), name, of, x.count(len(kinds), textOneKind, textKinds), x.count(len(bots), textOneBot, textBots))
}

func (t texts) calls(n int64) string {
	if n == 1 {
		return t.format(textOneCall, number(n))
	}
	return t.format(textCalls, number(n))
}

func (t texts) count(n int, one, several text) string {
	if n == 1 {
		return t.format(one, n)
	}
	return t.format(several, n)
}

// date writes an instant in Zone, with the year if it is not that of now.
func (t texts) date(at, now time.Time) string {
	layout := textDay
	if at.In(Zone).Year() != now.In(Zone).Year() {
		layout = textYear
	}
	if t.chinese {
		return at.In(Zone).Format(layout.zh)
	}
	return at.In(Zone).Format(layout.en)
}

// number writes a number with commas: 21,904.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// ReadAt reads an instant: RFC 3339, or a date, which is its first instant in Zone.
func ReadAt(text string) (time.Time, error) {
	if at, err := time.ParseInLocation(time.DateOnly, text, Zone); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a date like 2026-12-02 nor an instant like 2026-12-02T00:00:00+08:00", text)
	}
	return at, nil
}

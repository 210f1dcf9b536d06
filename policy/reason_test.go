package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

const (
	send    = "/cgi-bin/kf/send_msg"
	onEvent = "/cgi-bin/kf/send_msg_on_event"
	mass    = "/cgi-bin/externalcontact/add_msg_template"
)

// codeOf is a fresh code of an event, with the window of its customer.
func codeOf(kind wecom.CodeKind, deadline time.Time, windows ...window.Answer) policy.Evidence {
	code := window.Code{Kind: string(kind), Deadline: deadline}
	return policy.Evidence{Code: window.CodeAnswer{State: window.CodeTaken, Code: code}, Windows: windows}
}

func codeState(s window.CodeState) policy.Evidence {
	return policy.Evidence{Code: window.CodeAnswer{State: s}}
}

func windows(all ...window.Answer) policy.Evidence { return policy.Evidence{Windows: all} }

// Every reason of a judged call has one verdict, one errcode and one text per language.
func TestReasons(t *testing.T) {
	const (
		replyMass = "    - { name: r, match: { capabilities: [mass_message] }, action: reply }\n"
		fails     = "    - { name: r, when: account.contacts < 5, action: pass }\n"
		ownAnswer = "    - { name: r, match: { capabilities: [kf_reply] }, action: reply, refusal: { errcode: 48006, errmsg: ask Zhang Wei } }\n"
		ownCode   = "    - { name: r, match: { capabilities: [mass_message] }, action: refuse, refusal: { errcode: 48006 } }\n"
		trim      = "    - { name: r, match: { capabilities: [mass_message], endpoints: [" + mass + "] }, action: reply, partial: trim }\n"
	)
	wrote := now.Add(-50 * time.Hour) // 2026-11-20T10:00:00Z
	one, two := wecom.Facts{Customers: []string{"wm1"}}, wecom.Facts{Customers: []string{"wm1", "wm2"}}
	code := wecom.Facts{Code: "c"}
	closed, open := window.Answer{State: window.Closed, Last: wrote}, window.Answer{State: window.Open, Last: now, Left: 2}
	for _, test := range []struct {
		name, more, rules string
		call              policy.Call
		found             policy.Evidence
		verdict           policy.Verdict
		reason            policy.Reason
		errcode           int
		en, zh            string // "" for a call that is forwarded without a text
	}{
		{"a rule passes", "ruleset: off", "", call(mass, one), windows(), policy.Pass, policy.RulePass, 0, "", ""},
		{"a lapsed account", "", "", call(mass, one), windows(), policy.Refuse, policy.RuleRefuse, 48002,
			"the account's subscription has lapsed, and this interface (mass_message: ", "该企业的订阅已失效，不能使用此接口（mass_message：群发给客户和客户群）；请续费，或在客户发来消息后的 48 小时内回复"},
		{"the remedy names the window", "", "", call(mass, one), windows(), policy.Refuse, policy.RuleRefuse, 48002,
			"reply to customers within 48 h of their message", "或在客户发来消息后的 48 小时内回复"},
		{"a rule's own errcode", "", ownCode, call(mass, one), windows(), policy.Refuse, policy.RuleRefuse, 48006, "subscription has lapsed", "订阅已失效"},
		{"a rule's own answer", "", ownAnswer, call(send, one), windows(closed), policy.Refuse, policy.WindowClosed, 48006, "ask Zhang Wei", "ask Zhang Wei"},
		{"unsure keeps its answer", "", ownAnswer, call(send, one), windows(window.Answer{State: window.Unavailable}), policy.Unsure, policy.StoreUnavailable, -1, "try again in a few seconds", "请几秒后重试"},
		{"an open window", "", "", call(send, one), windows(open), policy.Pass, policy.WindowOpen, 0, "", ""},
		{"a cached window", "", "", call(send, one), windows(window.Answer{State: window.Cached, Last: now}), policy.Pass, policy.WindowRemembered, 0, "", ""},
		{"a closed window", "", "", call(send, one), windows(closed), policy.Refuse, policy.WindowClosed, 95002,
			"the customer last wrote at 2026-11-20T10:00:00Z and the window closed at 2026-11-22T10:00:00Z;", "客户最后一条消息的时间是 2026-11-20 18:00:00 北京时间，回复窗口已于 2026-11-22 18:00:00 北京时间 关闭；"},
		{"never wrote", "", "", call(send, one), windows(window.Answer{}), policy.Refuse, policy.WindowClosed, 95002, "the customer has not written within 48 h;", "客户在 48 小时内没有发来消息；"},
		{"closed by WeCom", "", "", call(send, one), windows(window.Answer{State: window.ClosedByPlatform, Last: wrote}), policy.Refuse, policy.WindowShut, 95002,
			"the window of the customer's message of 2026-11-20T10:00:00Z was closed by WeCom or by the operator;", "客户于 2026-11-20 18:00:00 北京时间 发来的消息对应的回复窗口已被企业微信或管理员关闭；"},
		{"replies used up", "", "", call(send, one), windows(window.Answer{State: window.Exhausted, Last: wrote}), policy.Refuse, policy.RepliesUsedUp, 95001,
			"as many replies as WeCom allows were sent since the customer's message of 2026-11-20T10:00:00Z;", "自客户于 2026-11-20 18:00:00 北京时间 发来消息以来，回复条数已达企业微信上限；"},
		{"a gap, kf", "", "", call(send, one), windows(window.Answer{State: window.Incomplete}), policy.Unsure, policy.HistoryIncomplete, 0, "", ""},
		{"a gap, a mass message", "", replyMass, call(mass, one), windows(window.Answer{State: window.Incomplete}), policy.Unsure, policy.HistoryIncomplete, -1,
			"the gateway may have missed a message of the customer: its records have a gap", "网关可能漏掉了该客户的消息：记录有缺口"},
		{"Redis is away", "", "", call(send, one), windows(window.Answer{State: window.Unavailable}), policy.Unsure, policy.StoreUnavailable, -1,
			"the gateway cannot see the customer's window just now: Redis does not answer", "网关暂时无法查询该客户的回复窗口（Redis 无响应"},
		{"no customer", "", "", call(send, wecom.Facts{}), windows(), policy.Refuse, policy.RecipientsMissing, 40058, "the call names no customer;", "此调用没有指明客户；"},
		{"all customers", "", replyMass, call(mass, wecom.Facts{Implicit: true}), windows(), policy.Refuse, policy.RecipientsImplicit, 48002,
			"name each, and only those who wrote within 48 h", "且仅限 48 小时内发来过消息的客户"},
		{"a group", "", replyMass, call(mass, wecom.Facts{Groups: []string{"wr1"}}), windows(), policy.Refuse, policy.RecipientsImplicit, 48002, "the call reaches customers that it does not name", "此调用会触达未逐一列出的客户"},
		{"trimmed", "", trim, call(mass, two), windows(open, closed), policy.Pass, policy.RecipientsTrimmed, 0, "", ""},
		{"an unknown number", "", fails, call(send, one), windows(open), policy.Unsure, policy.WhenFailed, -1, "whether a rule is about this call cannot be told (", "无法判断某条规则是否适用于此调用（"},
		{"a live code", "", "", call(onEvent, code), codeOf(wecom.EnterSession, now.Add(time.Second)), policy.Pass, policy.CodeLive, 0, "", ""},
		{"a code at its deadline", "", "", call(onEvent, code), codeOf(wecom.EnterSession, now, closed), policy.Refuse, policy.CodeExpired, 95002,
			"this code was good until 2026-11-22T12:00:00Z, and the customer's window is not open;", "此 code 的有效期至 2026-11-22 20:00:00 北京时间，且该客户的回复窗口未打开；"},
		{"an expired code, closed by WeCom", "", "", call(onEvent, code), codeOf(wecom.EnterSession, now, window.Answer{State: window.ClosedByPlatform, Last: now}), policy.Refuse, policy.CodeExpired, 95002, "this code was good until", "此 code 的有效期至"},
		{"an expired code, an open window", "", "", call(onEvent, code), codeOf(wecom.EnterSession, now, open), policy.Pass, policy.WindowOpen, 0, "", ""},
		{"an expired code, Redis is away", "", "", call(onEvent, code), codeOf(wecom.EnterSession, now), policy.Unsure, policy.StoreUnavailable, -1, "Redis does not answer", "Redis 无响应"},
		{"another event's code needs the window", "", "", call(onEvent, code), codeOf(wecom.SessionEnded, now.Add(time.Hour), closed), policy.Refuse, policy.WindowClosed, 95002, "the customer last wrote at", "客户最后一条消息的时间是"},
		{"another event's code, open", "", "", call(onEvent, code), codeOf(wecom.SessionEnded, now.Add(time.Hour), open), policy.Pass, policy.WindowOpen, 0, "", ""},
		{"an unknown code", "", "", call(onEvent, code), codeState(window.CodeUnknown), policy.Refuse, policy.CodeUnknown, 95002, "the gateway never saw where this code comes from; ", "网关没有见过此 code 的来源；"},
		{"a used code", "", "", call(onEvent, code), codeState(window.CodeUsed), policy.Refuse, policy.CodeUsed, 95002, "a message went out with this code already;", "此 code 已经用过；"},
		{"a code, a gap", "", "", call(onEvent, code), codeState(window.CodeIncomplete), policy.Unsure, policy.HistoryIncomplete, -1, "but may have missed it", "但可能漏掉了它"},
		{"a code, Redis is away", "", "", call(onEvent, code), codeState(window.CodeUnavailable), policy.Unsure, policy.StoreUnavailable, -1, "Redis does not answer", "Redis 无响应"},
	} {
		for _, language := range []struct{ more, want string }{{"", test.en}, {"language: zh", test.zh}} {
			e := must(t, strings.TrimSpace(test.more+"\n  "+language.more), test.rules)
			d := e.Decide(test.call, e.Match(test.call), test.found)
			if d.Verdict != test.verdict || d.Reason != test.reason || d.Errcode != test.errcode {
				t.Errorf("%s: %s %s %d, want %s %s %d", test.name, d.Verdict, d.Reason, d.Errcode, test.verdict, test.reason, test.errcode)
			}
			if (d.Errmsg == "") != (language.want == "") || !strings.Contains(d.Errmsg, language.want) {
				t.Errorf("%s: errmsg %q, want %q", test.name, d.Errmsg, language.want)
			}
			if d.Verdict == policy.Pass && !d.Go || d.Verdict == policy.Refuse && d.Go {
				t.Errorf("%s: %s, but forwarded is %v", test.name, d.Verdict, d.Go)
			}
		}
	}
}

// An active account that a rule refuses is not told to renew.
func TestRefusalOfActiveAccount(t *testing.T) {
	c := call(mass, wecom.Facts{})
	c.Who.Standing = account.Active
	d := decide(must(t, "", "    - { name: r, match: { capabilities: [mass_message] }, action: refuse }\n"), c)
	if !strings.HasPrefix(d.Errmsg, "a rule refuses this interface (mass_message: ") || d.Errcode != 48002 {
		t.Errorf("%+v", d)
	}
}

// The texts give the configured length of a window, in whole hours if it is one, in Chinese in its
// units.
func TestTextsGiveWindowLength(t *testing.T) {
	for length, want := range map[string][2]string{
		"24h":    {"has not written within 24 h;", "客户在 24 小时内没有"},
		"30m":    {"has not written within 30m0s;", "客户在 30 分钟内没有"},
		"90s":    {"has not written within 1m30s;", "客户在 90 秒内没有"},
		"90m":    {"has not written within 1h30m0s;", "客户在 1 小时 30 分钟内没有"},
		"47h59m": {"has not written within 47h59m0s;", "客户在 47 小时 59 分钟内没有"},
	} {
		for i, language := range []string{"en", "zh"} {
			e := configured(t, "accounts: [{ corp_id: ww1 }]\nwindow: { length: "+length+" }\npolicy: { language: "+language+" }\n")
			d := decide(e, call(send, wecom.Facts{Customers: []string{"wm"}}), window.Answer{})
			if !strings.Contains(d.Errmsg, want[i]) {
				t.Errorf("%s, %s: %q", length, language, d.Errmsg)
			}
		}
	}
}

func TestColdStartRefuseText(t *testing.T) {
	for language, want := range map[string]string{
		"en": "it has not recorded for 48 h without a gap yet; policy.cold_start is refuse",
		"zh": "不间断的记录尚不满 48 小时；policy.cold_start 设为 refuse",
	} {
		e := configured(t, "accounts: [{ corp_id: ww1 }]\npolicy: { cold_start: refuse, language: "+language+" }\n")
		d := decide(e, call(send, wecom.Facts{Customers: []string{"wm"}}), window.Answer{State: window.Incomplete})
		if d.Verdict != policy.Refuse || d.Reason != policy.HistoryIncomplete || d.Errcode != 95002 || !strings.HasSuffix(d.Errmsg, want) {
			t.Errorf("%s: %+v", language, d)
		}
	}
}

// Calls that are rejected before any rule have a verdict, errcode and text too.
func TestReject(t *testing.T) {
	for _, test := range []struct {
		why     policy.Reason
		detail  string
		errcode int
		en, zh  string
	}{
		{policy.MissingToken, "", 41001, "the call has no access_token; put it in the query", "此调用没有 access_token；"},
		{policy.UnlistedAccount, "ww9", 48002, "the gateway does not know this account; add corp ww9 to accounts", "请将 ww9 加入 accounts"},
		{policy.CorpContradiction, "ww1 and ww2", 48002, "the call names two accounts: ww1 and ww2;", "此调用同时指向两个企业：ww1 and ww2；"},
		{policy.AmbiguousCredential, "", 990400, "the query can be read as carrying more than one access_token", "URL 参数中可读出多个 access_token"},
		{policy.AmbiguousPath, "", 40058, "the path can be read as an interface that is not open to the account;", "此路径可被理解为该企业不能使用的接口；"},
		{policy.AmbiguousBody, "touser occurs twice", 40058, "touser occurs twice; nothing was sent", "请求体有歧义或无法读取（touser occurs twice）；"},
		{policy.UnknownToken, "", 48002, "or let the operator list the bot's host name in accounts[].hosts", "或请网关管理员将程序所用的域名加入 accounts[].hosts"},
		{policy.UnknownToken, policy.NamesIgnored, 48002, "nothing was sent, let the bot fetch its tokens through the gateway", "请通过网关获取 access_token"},
		{policy.UnknownToken, policy.NamedSeveral, 48002, "calls with this access_token have named several accounts", "使用此 access_token 的调用曾指向多个企业"},
	} {
		for more, want := range map[string]string{"": test.en, "language: zh": test.zh} {
			d := must(t, more, "").Reject(test.why, wecom.KfReply, test.detail)
			if d.Verdict != policy.Refuse || d.Go || d.Reason != test.why || d.Errcode != test.errcode || d.Capability != wecom.KfReply {
				t.Errorf("%s: %+v", test.why, d)
			}
			if !strings.Contains(d.Errmsg, want) || d.Left != -1 || d.Rule != "" {
				t.Errorf("%s: %+v, want %q", test.why, d, want)
			}
		}
	}
}

// Only the general text for an unknown token suggests hosts and channels: they do not help where
// the setting ignores them.
func TestUnknownTokenRemedies(t *testing.T) {
	e := must(t, "", "")
	if d := e.Reject(policy.UnknownToken, "", policy.NamesIgnored); strings.Contains(d.Errmsg, "hosts") {
		t.Errorf("%q", d.Errmsg)
	}
	d := e.Reauthenticate(wecom.KfReply)
	if d.Verdict != policy.Refuse || d.Reason != policy.UnknownToken || d.Errcode != 42001 || !strings.Contains(d.Errmsg, "fetch a new one through the gateway") {
		t.Errorf("Reauthenticate: %+v", d)
	}
	d = e.OwnerUnavailable(wecom.KfReply)
	if d.Verdict != policy.Unsure || d.Reason != policy.StoreUnavailable || d.Errcode != -1 || !strings.Contains(d.Errmsg, "Redis does not answer") {
		t.Errorf("OwnerUnavailable: %+v", d)
	}
}

// The end of a wait is added to the answer; a client that left gets a verdict of its own.
func TestWaited(t *testing.T) {
	unsure := policy.Decision{Verdict: policy.Unsure, Reason: policy.StoreUnavailable, Rule: "r", Errcode: -1, Errmsg: "away", Left: 4, Transient: true}
	for _, test := range []struct {
		how    policy.WaitOutcome
		en, zh string
	}{
		{policy.WaitStillUnsure, "away; the call waited 3s in vain", "away；该调用已等待 3 秒，仍无法判断"},
		{policy.WaitQueueFull, "away; too many calls are waiting already, so this one was answered at once", "away；等待中的调用过多，本次未等待"},
		{policy.WaitShutdown, "away; the gateway is stopping, so the call waits no longer", "away；网关正在停止，不再等待"},
		{policy.WaitClientGone, "the client closed its connection while the call was waiting, so it was dropped; nothing was sent, send it again",
			"调用等待期间客户端关闭了连接，该调用已放弃；消息未发送，请重新发送"},
		{policy.WaitPassed, "away", "away"},
		{policy.WaitRefused, "away", "away"},
		{"", "away", "away"},
	} {
		for more, want := range map[string]string{"": test.en, "language: zh": test.zh} {
			d := must(t, more, "").Waited(unsure, test.how, 3*time.Second+20*time.Millisecond)
			if d.Errmsg != want || d.Verdict != policy.Unsure || d.Errcode != -1 || d.Rule != "r" {
				t.Errorf("%q: %+v, want %q", test.how, d, want)
			}
		}
	}
	refused := policy.Decision{Verdict: policy.Refuse, Reason: policy.WindowClosed, Errcode: 95002, Left: 4}
	d := must(t, "", "").Waited(refused, policy.WaitClientGone, time.Second)
	if d.Verdict != policy.Unsure || d.Reason != policy.StoreUnavailable || d.Go || d.Errcode != -1 || d.Left != -1 {
		t.Errorf("a client that left: %+v", d)
	}
}

func TestVerdictNames(t *testing.T) {
	for v, want := range map[policy.Verdict]string{policy.Refuse: "refuse", policy.Pass: "pass", policy.Unsure: "unsure", policy.Verdict(9): "refuse"} {
		if v.String() != want {
			t.Errorf("verdict %d is %s", v, v)
		}
	}
}

// If a condition fails, the answer quotes why in one line, without the excerpt of the source.
func TestWhenFailedText(t *testing.T) {
	for _, test := range []struct{ when, want string }{
		{"account.contacts < 5", "cannot be told (invalid operation: an unknown number < int"},
		{"1 % call.groups == 0", "cannot be told (runtime error: integer divide by zero)"},
		{"window.open", "cannot be told (redis cannot be asked for the window just now)"},
	} {
		c := call(send, wecom.Facts{Customers: []string{"wm"}})
		c.Windows = []window.Answer{{State: window.Unavailable}}
		e := must(t, "", "    - { name: r, when: "+test.when+", action: pass }\n")
		m := e.Match(c)
		d := e.Decide(c, m, policy.Evidence{})
		if m.Err == nil || errors.Unwrap(m.Err) != nil || strings.ContainsAny(d.Errmsg, "\n|") || strings.Contains(d.Errmsg, "nil") {
			t.Errorf("%s: %q", test.when, d.Errmsg)
		}
		if !strings.Contains(d.Errmsg, test.want) {
			t.Errorf("%s: %q, want %q", test.when, d.Errmsg, test.want)
		}
	}
}

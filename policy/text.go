package policy

import (
	"fmt"
	"time"
)

// text is a format string in the two languages of policy.language. Both take the same values in the
// same order.
type text struct{ en, zh string }

func (t text) format(chinese bool, values ...any) string {
	if chinese {
		return fmt.Sprintf(t.zh, values...)
	}
	return fmt.Sprintf(t.en, values...)
}

var (
	textNoRule = text{
		"no rule is about this call; the operator must add one",
		"没有规则适用于此调用；请网关管理员补充规则"}
	textLapsed = text{
		"the account's subscription has lapsed, and this interface (%s: %s) is not open to it; renew the subscription, or reply to customers within %s of their message",
		"该企业的订阅已失效，不能使用此接口（%s：%s）；请续费，或在客户发来消息后的%s内回复"}
	textFull = text{
		"the account has %d contacts and its limit is %d (contacts.%s), so this interface (%s: %s), which adds customers, is not open to it; raise the limit in WeCom's console, or remove contacts",
		"该企业已有 %d 个外部联系人，达到上限 %d（contacts.%s），不能使用添加客户的接口（%s：%s）；请在企业微信管理后台提升上限，或删除部分联系人"}
	textRefusedByRule = text{
		"a rule refuses this interface (%s: %s); ask the operator of the gateway",
		"网关规则不允许此接口（%s：%s）；请联系网关管理员"}
	textWhenFailed = text{
		"whether a rule is about this call cannot be told (%s); nothing was sent, try again, or ask the operator to mend its when",
		"无法判断某条规则是否适用于此调用（%s）；消息未发送，请稍后重试，或请网关管理员修改该规则的 when"}
	textImplicit = text{
		"the call reaches customers that it does not name one by one; name each, and only those who wrote within %s",
		"此调用会触达未逐一列出的客户；请逐一列出，且仅限%s内发来过消息的客户"}
	textNoCustomer = text{
		"the call names no customer; give the one it replies to",
		"此调用没有指明客户；请指明所回复的客户"}
	textStoreUnavailable = text{
		"the gateway cannot see the customer's window just now: Redis does not answer, or may lack the newest messages; nothing was sent, try again in a few seconds",
		"网关暂时无法查询该客户的回复窗口（Redis 无响应，或可能缺少最新消息）；消息未发送，请几秒后重试"}
	textIncomplete = text{
		"the gateway may have missed a message of the customer: its records have a gap, or do not reach back far enough; nothing was sent",
		"网关可能漏掉了该客户的消息：记录有缺口，或记录的时间还不够长；消息未发送"}
	textCodeIncomplete = text{
		"the gateway never saw where this code comes from, but may have missed it: its records have a gap, or do not reach back far enough; nothing was sent",
		"网关没有见过此 code 的来源，但可能漏掉了它：记录有缺口，或记录的时间还不够长；消息未发送"}
	textColdStart = text{
		"the gateway may have missed a message of the customer: it has not recorded for %s without a gap yet; policy.cold_start is refuse",
		"网关可能漏掉了该客户的消息：不间断的记录尚不满%s；policy.cold_start 设为 refuse"}
	textExhausted = text{
		"as many replies as WeCom allows were sent since the customer's message of %s; wait for the next message",
		"自客户于 %s 发来消息以来，回复条数已达企业微信上限；请等待客户的下一条消息"}
	textClosedByPlatform = text{
		"the window of the customer's message of %s was closed by WeCom or by the operator; wait for the next message",
		"客户于 %s 发来的消息对应的回复窗口已被企业微信或管理员关闭；请等待客户的下一条消息"}
	textNeverWrote = text{
		"the customer has not written within %s; wait for a message, replies are open for that long after it",
		"客户在%s内没有发来消息；请等待客户的消息，之后可在同样时长内回复"}
	textClosed = text{
		"the customer last wrote at %s and the window closed at %s; wait for the next message",
		"客户最后一条消息的时间是 %s，回复窗口已于 %s 关闭；请等待客户的下一条消息"}
	textCodeUnknown = text{
		"the gateway never saw where this code comes from; codes count only if their event or answer passed through it",
		"网关没有见过此 code 的来源；只有事件或应答经过网关的 code 才有效"}
	textCodeUsed = text{
		"a message went out with this code already; each code is good for one",
		"此 code 已经用过；每个 code 只能发送一条消息"}
	textCodeExpired = text{
		"this code was good until %s, and the customer's window is not open; wait for a message",
		"此 code 的有效期至 %s，且该客户的回复窗口未打开；请等待客户的消息"}
	textMissingToken = text{
		"the call has no access_token; put it in the query",
		"此调用没有 access_token；请放在 URL 参数中"}
	textReauthenticate = text{
		"the gateway does not know whose this access_token is; nothing was sent, fetch a new one through the gateway",
		"网关不知道此 access_token 属于哪个企业；消息未发送，请通过网关重新获取"}
	textTokenUnsure = text{
		"the gateway cannot find out whose this access_token is just now: Redis does not answer; nothing was sent, try again in a few seconds",
		"网关暂时无法查询此 access_token 属于哪个企业（Redis 无响应）；消息未发送，请几秒后重试"}
	textWaited = text{
		"; the call waited %s in vain",
		"；该调用已等待%s，仍无法判断"}
	textQueueFull = text{
		"; too many calls are waiting already, so this one was answered at once",
		"；等待中的调用过多，本次未等待"}
	textShutdown = text{
		"; the gateway is stopping, so the call waits no longer",
		"；网关正在停止，不再等待"}
	textClientGone = text{
		"the client closed its connection while the call was waiting, so it was dropped; nothing was sent, send it again",
		"调用等待期间客户端关闭了连接，该调用已放弃；消息未发送，请重新发送"}
	textUnknownToken = text{
		"the gateway does not know whose this access_token is; nothing was sent, let the bot fetch its tokens through the gateway or call /corp/<corp_id>/cgi-bin/..., or let the operator list the bot's host name in accounts[].hosts or its open_kfid in accounts[].channels",
		"网关不知道此 access_token 属于哪个企业；消息未发送，请通过网关获取 access_token，或使用 /corp/<corp_id>/cgi-bin/… 形式的地址，或请网关管理员将程序所用的域名加入 accounts[].hosts、将 open_kfid 加入 accounts[].channels"}
	textNamesIgnored = text{
		"the gateway does not know whose this access_token is; nothing was sent, let the bot fetch its tokens through the gateway",
		"网关不知道此 access_token 属于哪个企业；消息未发送，请通过网关获取 access_token"}
	textNamedSeveral = text{
		"calls with this access_token have named several accounts, so it counts as nobody's until it expires; nothing was sent, check the path and Host that the bot calls, and let it fetch a new token through the gateway",
		"使用此 access_token 的调用曾指向多个企业，因此在其过期之前不归属任何企业；消息未发送，请检查程序调用的路径和 Host，并通过网关重新获取 access_token"}
	textCorpContradiction = text{
		"the gateway does not know whose this access_token is, and the call names two accounts: %s; check its path, its Host and its open_kfid",
		"网关不知道此 access_token 属于哪个企业，而此调用同时指向两个企业：%s；请检查路径、Host 和 open_kfid"}
	textAmbiguousCredential = text{
		"the query can be read as carrying more than one access_token, and they are not known to belong to one account; send exactly one, written plainly",
		"URL 参数中可读出多个 access_token，且无法确认它们属于同一企业；请只传一个，并按原样书写参数名"}
	textUnlistedAccount = text{
		"the gateway does not know this account; add corp %s to accounts",
		"网关的配置中没有此企业；请将 %s 加入 accounts"}
	textAmbiguousPath = text{
		"the path can be read as an interface that is not open to the account; send it as WeCom documents it",
		"此路径可被理解为该企业不能使用的接口；请按企业微信文档书写路径"}
	textManyReadings  = text{"it has more than one reading", "有多种解读"}
	textAmbiguousBody = text{
		"%s; nothing was sent",
		"请求体有歧义或无法读取（%s）；消息未发送"}
)

// format writes a text in the language of the configuration.
func (p *Engine) format(t text, values ...any) string {
	return t.format(p.chinese, values...)
}

// lengthText writes a duration in hours, like 48 h, or in Go's notation if it is not whole hours.
// In Chinese it begins with the blank that separates it from a word.
func lengthText(d time.Duration, chinese bool) string {
	hours, whole := d/time.Hour, d%time.Hour == 0
	switch {
	case chinese && whole:
		return fmt.Sprintf(" %d 小时", hours)
	case chinese && d%time.Minute != 0:
		return fmt.Sprintf(" %g 秒", d.Seconds())
	case chinese && hours > 0:
		return fmt.Sprintf(" %d 小时 %d 分钟", hours, d%time.Hour/time.Minute)
	case chinese:
		return fmt.Sprintf(" %d 分钟", d/time.Minute)
	case whole:
		return fmt.Sprintf("%d h", hours)
	}
	return d.String()
}

// waitText writes how long a call waited, in the language of the configuration.
func (p *Engine) waitText(d time.Duration) string {
	if p.chinese {
		return fmt.Sprintf(" %g 秒", d.Seconds())
	}
	return d.String()
}

// beijing is the zone of instants in Chinese texts: WeCom's.
var beijing = time.FixedZone("UTC+8", 8*3600)

// InBeijing writes an instant as Chinese texts have it: 2026-11-30 17:20:00 北京时间.
func InBeijing(t time.Time) string { return t.In(beijing).Format("2006-01-02 15:04:05 北京时间") }

// formatTime writes an instant in the language of the configuration.
func (p *Engine) formatTime(t time.Time) string {
	if p.chinese {
		return InBeijing(t)
	}
	return t.UTC().Format(time.RFC3339)
}

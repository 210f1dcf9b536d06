package policy

import (
	"strings"

	"replygate/account"
	"replygate/wecom"
)

// meanings say in plain words what calls of each capability do.
var meanings = map[wecom.Capability]text{
	"add_customer":             {"add customers (contact ways, cards)", "添加客户（联系我、名片）"},
	"address_book":             {"address book", "通讯录"},
	"aibot_reply":              {"replies of intelligent robots", "智能机器人回复"},
	"app_admin":                {"settings of apps", "应用管理"},
	"appchat":                  {"group chats of an app, for members", "应用群聊（成员）"},
	"chatdata":                 {"chat data analysis", "会话数据分析"},
	"contact_count":            {"count contacts", "统计已服务的外部联系人"},
	"contact_rules":            {"sensitive words and product albums", "敏感词与商品图册"},
	"contact_statistics":       {"customer contact statistics", "客户联系统计"},
	"corpgroup":                {"upstream and downstream companies", "上下游企业"},
	"customer_acquisition":     {"customer acquisition links", "获客助手链接"},
	"customer_details":         {"read and remark customers", "获取客户详情、修改备注"},
	"customer_moments":         {"moments for customers", "客户朋友圈"},
	"customer_strategy":        {"rights over customers and tags", "客户与标签的规则组"},
	"customer_tags":            {"customer tags", "客户标签"},
	"external_pay":             {"payments by customers", "对外收款"},
	"group_join_way":           {"invitations to customer groups", "客户群入群方式"},
	"group_management":         {"customer groups", "客户群管理"},
	"internal_message":         {"app messages to members", "应用消息（成员）"},
	"kf_admin":                 {"customer-service settings and sessions", "微信客服管理与会话分配"},
	"kf_customer":              {"profiles of customer-service customers", "微信客服的客户资料"},
	wecom.KfEventReply:         {"welcome and closing messages of customer service", "微信客服的欢迎语与结束语"},
	wecom.KfReply:              {"customer-service replies", "微信客服回复"},
	"kf_statistics":            {"customer-service statistics", "微信客服统计"},
	"kf_sync":                  {"read customers' messages", "读取微信客服消息"},
	"license":                  {"licences of accounts", "账号许可"},
	"linkedcorp_message":       {"messages to linked companies", "互联企业消息"},
	"living":                   {"live streams", "直播"},
	"mail":                     {"e-mail", "邮件"},
	"mass_message":             {"mass messages to customers and groups", "群发给客户和客户群"},
	"media":                    {"files and pictures", "素材"},
	"msgaudit":                 {"message archive", "会话内容存档"},
	"oa":                       {"approval, attendance and other office tools", "审批、打卡等办公接口"},
	"other":                    {"other interfaces", "其他接口"},
	"school":                   {"home-school contacts", "家校沟通"},
	"school_notice":            {"school notices", "学校通知"},
	"succession":               {"hand over customers of members", "客户继承与分配"},
	"thirdparty":               {"interfaces of providers", "服务商接口"},
	"token":                    {"access tokens", "获取凭证"},
	wecom.Uncatalogued:         {"interfaces that the catalogue lacks", "目录中没有的接口"},
	wecom.UncataloguedCustomer: {"customer interfaces that the catalogue lacks", "目录中没有的客户接口"},
	"webhook_robot":            {"group robots", "群机器人"},
	"welcome":                  {"welcome message to a new customer", "新客户欢迎语"},
	"withdraw":                 {"stop tasks that were sent", "停止已下发的任务"},
}

// advices say what to do about calls that are refused. Those of capabilities that are not named
// here are textAdviceRule.
var advices = map[wecom.Capability]text{
	"mass_message":             {"renew, or answer customers one by one within 48 h of their message", "续费，或在客户来信后 48 小时内逐个回复"},
	"welcome":                  {"renew; take the welcome out of the bot, so that it does not fail for each new customer", "续费；或停用程序的欢迎语，避免每位新客户都报错"},
	"group_management":         {"renew; until then members manage their groups in the WeCom client", "续费；在此之前请成员在企业微信客户端管理客户群"},
	"customer_details":         {"renew; export what the bot needs of customers before that day", "续费；并在停用前导出程序需要的客户资料"},
	"customer_tags":            {"renew; export the tags before that day and keep them on your side", "续费；并在停用前导出标签，改存在自己的系统中"},
	"contact_statistics":       {"renew; fetch the statistics before that day", "续费；并在停用前取回统计数据"},
	"add_customer":             {"renew; take down contact ways and cards that lead to the bot", "续费；并撤下由程序生成的“联系我”与名片"},
	"customer_acquisition":     {"renew; pause advertisements that use these links", "续费；并暂停使用这些链接的投放"},
	"group_join_way":           {"renew; take down the invitations to groups", "续费；并撤下入群二维码"},
	"contact_rules":            {"renew; the rules stay as they are until then", "续费；在此之前规则保持不变"},
	"customer_strategy":        {"renew; the rights stay as they are until then", "续费；在此之前规则组保持不变"},
	"customer_moments":         {"renew; publish what is planned before that day", "续费；并在停用前发布已计划的朋友圈"},
	"succession":               {"renew; hand over the customers of leaving members before that day", "续费；并在停用前完成离职成员的客户继承"},
	wecom.UncataloguedCustomer: {"renew; ask the maintainers of the gateway to catalogue this interface", "续费；并请网关维护者将该接口收入目录"},
}

var (
	textAdviceRule = text{
		"the rule %s refuses it: ask the operator of the gateway",
		"被规则 %s 拒绝：请联系网关管理员"}
	textAdviceReply = text{
		"renew, or answer customers sooner: within %s of their message",
		"续费，或更早回复客户：在客户来信后%s内"}
	textAdviceBody = text{
		"mend the bot: %d calls had a body that can be read in two ways, and would be refused with 40058",
		"请修正程序：有 %d 次调用的请求体存在歧义，将以 40058 被拒绝"}
	textAdviceToken = text{
		"let the bot fetch its tokens through the gateway, or call /corp/<corp_id>/cgi-bin/...: calls with tokens that the gateway does not know are refused once the account of the token may be lapsed",
		"请让程序通过网关获取 access_token，或使用 /corp/<corp_id>/cgi-bin/… 形式的地址：只要该企业可能已失效，凭证归属不明的调用会被拒绝"}
	textAdviceVaries = text{
		"some calls may end otherwise: it depends on what they say",
		"部分调用的结果可能不同，取决于其内容"}
)

// Meaning says in plain words what calls of a capability do.
func Meaning(c wecom.Capability, chinese bool) string {
	if t, known := meanings[c]; known {
		return t.format(chinese)
	}
	return string(c)
}

// Titled names a capability: mass_message, or in Chinese 群发给客户和客户群（mass_message）.
func Titled(c wecom.Capability, chinese bool) string {
	if t, known := meanings[c]; known && chinese {
		return titled(t.zh, string(c))
	}
	return string(c)
}

// titled writes a Chinese title with the identifier that other outputs have.
func titled(title, id string) string {
	if inner, has := strings.CutSuffix(title, "）"); has {
		return inner + "；" + id + "）"
	}
	return title + "（" + id + "）"
}

// standings are those of accounts in Chinese.
var standings = map[account.Standing]string{
	account.Active: "有效", account.Grace: "宽限期", account.Lapsed: "已失效", account.Free: "免费额度内", account.Full: "联系人已满",
}

// StandingInChinese names a standing in Chinese.
func StandingInChinese(s account.Standing) string { return standings[s] }

// TitledStanding names a standing: lapsed, or in Chinese 已失效（lapsed）.
func TitledStanding(s account.Standing, chinese bool) string {
	if title, known := standings[s]; known && chinese {
		return titled(title, string(s))
	}
	return string(s)
}

// AdviceRefused says what to do about calls that a rule refuses.
func AdviceRefused(c wecom.Capability, rule string, chinese bool) string {
	if t, known := advices[c]; known {
		return t.format(chinese)
	}
	return textAdviceRule.format(chinese, rule)
}

// AdviceReply says what to do about replies that come after the window has closed.
func (p *Engine) AdviceReply(chinese bool) string {
	return textAdviceReply.format(chinese, lengthText(p.length, chinese))
}

// AdviceBody says what to do about calls with ambiguous bodies.
func AdviceBody(calls int64, chinese bool) string { return textAdviceBody.format(chinese, calls) }

// AdviceToken says what to do about calls whose token the gateway does not know.
func AdviceToken(chinese bool) string { return textAdviceToken.format(chinese) }

// AdviceVaries says that some calls of a bot may end otherwise than most.
func AdviceVaries(chinese bool) string { return textAdviceVaries.format(chinese) }

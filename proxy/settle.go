package proxy

import (
	"cmp"
	"errors"
	"io"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/gate"
	"replygate/wecom"
	"replygate/window"
)

// inspector takes what it needs from an answer before it goes on. It gets an error instead where the
// answer cannot be read. What was sent is in x.out.
type inspector func(x *apiRequest, answer io.Reader, err error)

// inspectorFor returns what reads the answer of a call that the gateway learns from, nil for most.
func (x *apiRequest) inspectorFor() inspector {
	if x.Route.Ambiguous() {
		return nil
	}
	switch x.Route.Path {
	case wecom.PathGetToken, wecom.PathCorpToken, wecom.PathPermanentCode, wecom.PathPermanentCodeV2,
		wecom.PathRegisterInfo, wecom.PathDownstreamToken:
		return (*apiRequest).learnToken
	case wecom.PathSyncMsg:
		return (*apiRequest).recordPage
	case wecom.PathStateTrans:
		return (*apiRequest).learnCode
	}
	return nil
}

// learnToken notes whose the token is that WeCom hands out.
func (x *apiRequest) learnToken(answer io.Reader, err error) {
	if x.rc.Response.StatusCode() != fasthttp.StatusOK || !x.rc.IsGet() && !x.rc.IsPost() {
		return
	}
	g, found := wecom.ReadGrant(x.Route.Path, x.sentCall(), readSmall(answer, err))
	if !found {
		return
	}
	x.corp = g.Corp
	switch err := x.Tokens.Learn(x.ctx, g.Token, g.Corp, g.Life); {
	case errors.Is(err, account.ErrOtherCorp):
		x.contradiction(contradictsLearnt, "WeCom handed a token out for this corp that belongs to another one: it stays the other's", g.Corp)
	case err != nil:
		x.Log.Warn("a token is known to this gateway alone: redis did not take it", zap.String("corp_id", g.Corp), zap.Error(err))
	}
}

// learnCode notes whom the code stands for that a change of a session's state gives out.
func (x *apiRequest) learnCode(answer io.Reader, err error) {
	c, found, lost := wecom.ReadTransition(x.sentCall(), readSmall(answer, err), x.at)
	if !found && !lost || x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	corp := x.corpOfToken([]string{c.Channel})
	if !found || corp == "" {
		x.lost("code", 1, nil, window.Loss{Corp: corp, Codes: true})
		return
	}
	x.learnCodes([]wecom.Code{c})
}

// learnCodes notes whom codes of the call's corp stand for.
func (x *apiRequest) learnCodes(codes []wecom.Code) {
	if err := x.Windows.LearnCodes(x.ctx, codesOf(x.corp, codes)); err != nil {
		x.lost("code", len(codes), err, window.Loss{Corp: x.corp, Codes: true})
	}
}

// codesOf gives codes their corp and their deadline.
func codesOf(corp string, codes []wecom.Code) []window.LearntCode {
	all := make([]window.LearntCode, len(codes))
	for i, c := range codes {
		all[i] = window.LearntCode{Text: c.Text, Code: window.Code{
			Key:      window.Key{Corp: corp, Channel: c.Channel, Customer: c.Customer},
			Kind:     string(c.Kind),
			Deadline: c.At.Add(c.Kind.Life()),
		}}
	}
	return all
}

// recordPage records what a page of kf/sync_msg says about customers. What cannot be recorded marks
// a gap, so that a missing window proves nothing.
func (x *apiRequest) recordPage(answer io.Reader, err error) {
	if x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	var page wecom.Page
	if err == nil { // else it is too long, or in an encoding that nobody asked for
		page, err = wecom.ReadPage(answer)
	}
	if page.Errcode != wecom.CodeOK {
		return
	}
	corp, channel := x.corpOfToken(x.channelsOf(page)), wecom.ReadChannel(x.sentCall())
	switch {
	case err != nil:
		x.missed("unreadable", 1, err, window.Loss{Corp: corp, Channel: channel, Messages: true, Codes: true})
	case x.Accounts.Find(corp) != nil:
		x.Windows.PagePassed(x.ctx, corp)
	}
	if page.Skipped > 0 {
		x.Metrics.inbound("sync_msg", "skipped", page.Skipped)
	}
	x.loseItems(corp, channel, page.Unreadable)
	if corp == "" {
		x.loseUnattributed(channel, &page)
		return
	}
	if x.by == gate.ByToken { // nothing that was attributed by what a call says teaches
		x.learnChannels(corp, itemChannels(page))
	}
	x.Bypass.pageSeen(corp, channel, page)
	x.recordMessages(page.Messages)
	x.learnCodes(page.Codes)
	x.correct(page.Failures)
}

// loseItems marks the gaps of a page's unreadable items.
func (x *apiRequest) loseItems(corp, channel string, items []wecom.Unreadable) {
	losses := make([]window.Loss, len(items))
	for i, it := range items {
		losses[i] = window.Loss{
			Corp: corp, Channel: cmp.Or(channel, it.Channel), Messages: it.Message, Codes: it.Code,
			Item: &window.Item{At: it.At, ID: it.ID},
		}
	}
	x.missed("unreadable", len(items), nil, losses...)
}

// loseUnattributed marks the gaps of a page whose corp is not known. Its channels are.
func (x *apiRequest) loseUnattributed(channel string, page *wecom.Page) {
	losses := lossesOf("", channel, page.Messages)
	if len(page.Codes) > 0 {
		losses = append(losses, window.Loss{Codes: true})
	}
	x.missed("unattributed", len(page.Messages), nil, losses...)
}

// lossesOf returns the losses of unrecorded messages: on the channel that the call names, else on
// theirs.
func lossesOf(corp, channel string, messages []wecom.Message) (losses []window.Loss) {
	seen := map[string]bool{}
	for _, m := range messages {
		if c := cmp.Or(channel, m.Channel); !seen[c] {
			seen[c] = true
			losses = append(losses, window.Loss{Corp: corp, Channel: c, Messages: true})
		}
	}
	return losses
}

// recordMessages notes that customers wrote.
func (x *apiRequest) recordMessages(messages []wecom.Message) {
	if !x.Engine.OpensWindow(wecom.KfMessage, x.at) {
		x.Metrics.inbound("sync_msg", "not_counted", len(messages))
		return
	}
	facts := make([]window.Fact, len(messages))
	for i, m := range messages {
		facts[i] = window.Fact{Key: window.Key{Corp: x.corp, Channel: m.Channel, Customer: m.Customer}, At: m.At}
	}
	tally, err := x.Windows.Record(x.ctx, facts)
	if err != nil {
		x.missed("unrecorded", len(facts), err, lossesOf(x.corp, "", messages)...)
		return
	}
	x.Metrics.tally("sync_msg", tally)
}

// failures says what a reply that WeCom did not deliver means for its window.
var failures = map[int]struct {
	outcome window.Outcome
	label   string
}{
	wecom.FailedWindow:  {window.WindowClosed, "send_failed_window"},
	wecom.FailedCount:   {window.QuotaExhausted, "send_failed_count"},
	wecom.FailedRefused: {window.WindowClosed, "send_failed_refused"},
}

// correct lets WeCom's later word correct the windows of those it is about.
func (x *apiRequest) correct(late []wecom.Failure) {
	for _, f := range late {
		k := window.Key{Corp: x.corp, Channel: f.Channel, Customer: f.Customer}
		what := failures[f.Type]
		x.Metrics.corrected(what.label)
		if err := x.Windows.Correct(x.ctx, k, f.At, what.outcome); err != nil {
			x.Log.Warn("a window could not be corrected by WeCom's later word", zap.String("corp_id", x.corp), zap.Error(err))
			return
		}
	}
}

// missed counts n messages, items or pages that passed unrecorded, and marks their gaps.
func (x *apiRequest) missed(how string, n int, why error, losses ...window.Loss) {
	if n > 0 {
		x.Metrics.inbound("sync_msg", how, n)
	}
	x.lost(how, n, why, losses...)
}

// lost marks the gaps of losses. It logs only gaps that are new or moved: bots pull the same pages
// again and again.
func (x *apiRequest) lost(how string, n int, why error, losses ...window.Loss) {
	if len(losses) == 0 {
		return
	}
	for i := range losses {
		if losses[i].Corp == "" {
			losses[i].Among = x.Accounts.CorpIDs()
		}
	}
	news, err := x.Windows.RecordGaps(x.ctx, losses...)
	if news && (err == nil || x.mayLog("gap", x.at)) {
		x.Log.Warn("customers' messages or codes passed unrecorded: replies without an open window are history_incomplete there until a window's length is over",
			zap.String("how", how), zap.Int("count", n), zap.String("corp_id", losses[0].Corp), zap.String("channel", losses[0].Channel), zap.Error(why))
	}
	if err != nil && x.mayLog("gap in memory", x.at) {
		x.Log.Warn("the gap is noted in this gateway alone: redis did not take it", zap.Error(err))
	}
}

// settleReply does to what was reserved for a reply what WeCom's answer says.
func (x *apiRequest) settleReply(answer io.Reader, err error) {
	x.settle(x.outcome(readSmall(answer, err)))
}

// outcome is what WeCom's answer says of a reply, nil for one that could not be read. Only a
// readable refusal gives a reservation back. The answer also gets the customers whom the call was
// not to reach.
func (x *apiRequest) outcome(answer []byte) window.Outcome {
	code, err := wecom.ReadErrcode(answer)
	if x.rc.Response.StatusCode() != fasthttp.StatusOK || err != nil {
		return window.Sent
	}
	x.Metrics.answered(x.decision, code)
	if rest := x.decision.Rest; len(rest) > 0 {
		x.reportRest(answer, rest)
	}
	switch code {
	case wecom.CodeOK:
		return window.Sent
	case wecom.CodeReplyCount:
		return window.QuotaExhausted
	case wecom.CodeReplyWindow:
		return window.WindowClosed
	}
	return window.Rejected
}

// reportRest adds to WeCom's answer whom the call was not to reach.
func (x *apiRequest) reportRest(answer []byte, rest []string) {
	full, err := x.Route.Endpoint.ReportRest(answer, rest)
	if err != nil {
		x.Log.Warn("a call went on without some of its customers, and the answer could not say so", zap.String("decision_id", x.id), zap.Error(err))
		return
	}
	x.rc.Response.Header.Del("Content-Encoding")
	x.rc.Response.SetBody(full)
}

// readSmall reads an answer that is a few kilobytes long as a rule; of a longer one the beginning.
func readSmall(answer io.Reader, err error) []byte {
	if err != nil {
		return nil
	}
	if m, ok := answer.(*shortBody); ok {
		return m.all
	}
	body, err := io.ReadAll(io.LimitReader(answer, maxReadSmall))
	if err != nil {
		return nil
	}
	return body
}

// maxReadSmall bounds such an answer: get_permanent_code lists the agents of a company.
const maxReadSmall = 1 << 20

// settle does to every reserved reply, and to a taken code, what became of the call.
func (x *apiRequest) settle(o window.Outcome) {
	if o == window.Sent {
		return
	}
	found := &x.judged.Evidence
	if err := x.Windows.RestoreCode(x.ctx, found.Code); err != nil {
		x.Log.Warn("a one-time code could not be given back: it counts as used", zap.Error(err))
	}
	for i, k := range x.judged.Keys {
		if o == window.Rejected && !found.Windows[i].Reserved() {
			continue
		}
		if err := x.Windows.Settle(x.ctx, k, found.Windows[i], o); err != nil {
			x.Log.Warn("a reply could not be settled: at worst one fewer is left", zap.Error(err))
		}
	}
}

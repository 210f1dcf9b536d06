package proxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
	"replygate/trace"
	"replygate/wecom"
	"replygate/window"
)

// inspector takes what it needs from an answer before it goes on. It gets an error instead where
// the answer cannot be read. What was sent is in x.out.
type inspector func(x *apiRequest, answer io.Reader, err error)

// inspectorFor returns what reads the answer of a call that the gateway learns from, nil for most.
func (x *apiRequest) inspectorFor() inspector {
	path := x.head.Route.Path
	if x.head.Route.Ambiguous() { // WeCom may have served it all the same, and what it handed out is gone then
		path = x.head.Route.MayMean(wecom.PathSyncMsg, wecom.PathStateTrans)
	}
	switch path {
	case wecom.PathGetToken, wecom.PathCorpToken, wecom.PathPermanentCode, wecom.PathPermanentCodeV2,
		wecom.PathRegisterInfo, wecom.PathDownstreamToken:
		return (*apiRequest).learnToken
	case wecom.PathSyncMsg:
		return (*apiRequest).recordPage
	case wecom.PathStateTrans:
		return (*apiRequest).learnCode
	case wecom.PathContactList:
		if x.gw.Contacts != nil {
			return (*apiRequest).observeContacts
		}
	}
	return nil
}

// learnToken records the corp of a token that WeCom hands out.
func (x *apiRequest) learnToken(answer io.Reader, err error) {
	if x.rc.Response.StatusCode() != fasthttp.StatusOK || !x.rc.IsGet() && !x.rc.IsPost() {
		return
	}
	g, found := wecom.ReadGrant(x.head.Route.Path, x.sentCall(), readSmall(answer, err))
	if !found {
		return
	}
	if x.head.Route.Path == wecom.PathGetToken {
		g.Corp = x.gate.Accounts.Spelling(g.Corp)
	}
	x.corp = g.Corp
	defer x.trace.Begin(trace.Store).End("")
	switch err := x.gw.Tokens.Learn(x.ctx, g.Token, g.Corp, g.Life); {
	case errors.Is(err, account.ErrOtherCorp):
		x.contradiction(contradictsLearnt, "WeCom handed a token out for this corp that belongs to another one: it stays the other's", g.Corp)
	case err != nil:
		x.gw.Log.Warn("a token is known to this gateway alone until redis takes it", zap.String("corp_id", g.Corp), zap.Error(err))
	}
}

// learnCode records the customer of the one-time code that a change of a session's state returns. A
// call that can be read in two ways teaches nothing, so that its code is lost.
func (x *apiRequest) learnCode(answer io.Reader, err error) {
	c, found, lost := wecom.ReadTransition(x.sentCall(), readSmall(answer, err), x.at)
	if found && x.head.Route.Ambiguous() {
		found, lost = false, true
	}
	if !found && !lost || x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	defer x.trace.Begin(trace.Store).End("")
	corp, away := x.corpOfToken([]string{c.Channel})
	loss, codes := window.Loss{Corp: corp, Codes: true, Reason: "code"}, []wecom.Code{c}
	switch {
	case found && corp != "":
		x.learnCodes(codes)
	case away != nil && found && x.postpone(away, nil, codes):
	case away != nil && !found && x.postpone(away, nil, nil, loss):
	default:
		x.lost("code", 1, nil, loss)
	}
}

// kept reports whether what a page holds is in Redis or in the journal. A page passes although the
// other gateways do not wait for this one's journal: holding it back would help nobody.
func kept(err error) bool { return err == nil || errors.Is(err, window.ErrNotMember) }

// learnCodes records the customers of one-time codes of the call's corp.
func (x *apiRequest) learnCodes(codes []wecom.Code) {
	if err := x.gw.Windows.LearnCodes(x.ctx, codesOf(x.corp, codes)); !kept(err) {
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
	if page.Errcode != wecom.CodeOK && page.Errcode != wecom.CodeRateLimited {
		return
	}
	defer x.trace.Begin(trace.Store).End("")
	corp, away := x.corpOfToken(x.channelsOf(page))
	if x.tellPulled(page.Errcode); page.Errcode != wecom.CodeOK {
		return
	}
	channel := wecom.ReadChannel(x.sentCall())
	if err == nil && x.gate.Accounts.Find(corp) != nil {
		x.gw.Windows.PagePassed(x.ctx, corp)
	}
	if page.Skipped > 0 {
		x.gw.Metrics.inbound("sync_msg", "skipped", page.Skipped)
	}
	unreadable := unreadableLosses(corp, channel, page.Unreadable, err)
	if away != nil {
		away.Replies = repliesOf("", page.Replies)
	}
	if away != nil && x.postpone(away, page.Messages, page.Codes, unreadable...) {
		x.gw.Metrics.inbound("sync_msg", "unreadable", len(unreadable))
		return
	}
	x.missed("unreadable", len(unreadable), err, unreadable...)
	if corp == "" {
		x.loseUnattributed(channel, &page)
		return
	}
	x.gw.Bypass.pageSeen(corp, channel, page)
	x.recordItems(page)
}

// recordItems records the items of a page of the call's corp.
func (x *apiRequest) recordItems(page wecom.Page) {
	if x.by == gate.ByToken { // nothing that was attributed by what a call says teaches
		x.learnChannels(x.corp, itemChannels(page))
	}
	x.recordMessages(page.Messages, page.Replies)
	x.learnCodes(page.Codes)
	x.correct(page.Failures)
}

// tellPulled tells the gateway's own replays that a bot of a known corp pulled a page.
func (x *apiRequest) tellPulled(errcode int) {
	if x.gw.Pulled != nil && x.corp != "" {
		x.gw.Pulled(x.corp, x.at, wecom.HasPullToken(x.sentCall()), errcode == wecom.CodeRateLimited)
	}
}

// RecordPage records a page of kf/sync_msg that the gateway itself pulled, of a channel of a corp.
// It is as good as a page of a bot, but shows nothing of what bots do.
func (g *Gateway) RecordPage(ctx context.Context, corp, channel string, answer []byte) {
	x := &apiRequest{request: request{gw: g, ctx: ctx, at: g.Now()}}
	x.use(g.Current())
	x.corp, x.by = corp, gate.ByToken
	page, err := wecom.ReadPage(bytes.NewReader(answer))
	if page.Errcode != wecom.CodeOK {
		return
	}
	if page.Skipped > 0 {
		g.Metrics.inbound("sync_msg", "skipped", page.Skipped)
	}
	unreadable := unreadableLosses(corp, channel, page.Unreadable, err)
	x.missed("unreadable", len(unreadable), err, unreadable...)
	x.recordItems(page)
}

// LearnChannels records that channels are a corp's, as WeCom listed them for one of its secrets.
func (g *Gateway) LearnChannels(ctx context.Context, corp string, channels []string) {
	v := request{gw: g, ctx: ctx, at: g.Now()}
	v.use(g.Current())
	v.learnChannels(corp, channels)
}

// unreadableLosses returns the losses of a page that cannot be read to its end, for the reason why
// unless that is nil, and of its unreadable items.
func unreadableLosses(corp, channel string, items []wecom.Unreadable, why error) (losses []window.Loss) {
	if why != nil {
		losses = append(losses, window.Loss{Corp: corp, Channel: channel, Messages: true, Codes: true, Reason: "unreadable"})
	}
	for _, it := range items {
		losses = append(losses, window.Loss{
			Corp: corp, Channel: cmp.Or(channel, it.Channel), Messages: it.Message, Codes: it.Code, Reason: "unreadable",
			Item: &window.Item{At: it.At, ID: it.ID},
		})
	}
	return losses
}

// postpone has an answer recorded once Redis can be asked whose it is. It reports false if that
// fails.
func (x *apiRequest) postpone(away *window.Unattributed, messages []wecom.Message, codes []wecom.Code, losses ...window.Loss) bool {
	away.Facts, away.Codes, away.Losses = x.facts(messages), codesOf("", codes), losses
	tally, err := x.gw.Windows.RecordUnattributed(*away)
	if !kept(err) {
		x.gw.Log.Warn("whose a page is cannot be asked later: the journal did not take it", zap.Error(err))
		return false
	}
	x.gw.Metrics.tally("sync_msg", tally)
	return true
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

// facts returns the messages that open windows of the call's corp: all or none.
func (x *apiRequest) facts(messages []wecom.Message) []window.Fact {
	if !x.gate.Engine.OpensWindow(wecom.KfMessage, x.at) {
		x.gw.Metrics.inbound("sync_msg", "not_counted", len(messages))
		return nil
	}
	facts := make([]window.Fact, len(messages))
	for i, m := range messages {
		facts[i] = window.Fact{Key: window.Key{Corp: x.corp, Channel: m.Channel, Customer: m.Customer}, At: m.At}
	}
	return facts
}

// recordMessages records the messages of customers, and who answered them.
func (x *apiRequest) recordMessages(messages []wecom.Message, replies []wecom.Reply) {
	facts := x.facts(messages)
	x.unreadReplies(replies)
	tally, err := x.gw.Windows.RecordPage(x.ctx, facts, repliesOf(x.corp, replies))
	if !kept(err) {
		x.missed("unrecorded", len(facts), err, lossesOf(x.corp, "", messages)...)
		return
	}
	x.gw.Metrics.tally("sync_msg", tally)
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

// correct corrects the windows of customers to whom WeCom did not deliver a reply.
func (x *apiRequest) correct(late []wecom.Failure) {
	all := make([]window.Correction, len(late))
	for i, f := range late {
		what := failures[f.Type]
		x.gw.Metrics.corrected(what.label)
		all[i] = window.Correction{Key: window.Key{Corp: x.corp, Channel: f.Channel, Customer: f.Customer}, At: f.At, Outcome: what.outcome}
	}
	if err := x.gw.Windows.Correct(x.ctx, all...); err != nil {
		x.gw.Log.Warn("a window could not be corrected by WeCom's later word", zap.String("corp_id", x.corp), zap.Error(err))
	}
}

// missed counts n messages, items or pages that passed unrecorded, and marks their gaps.
func (x *apiRequest) missed(how string, n int, why error, losses ...window.Loss) {
	if n > 0 {
		x.gw.Metrics.inbound("sync_msg", how, n)
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
		losses[i].Reason = how
	}
	news, err := x.gw.Windows.RecordGaps(x.ctx, losses...)
	if news {
		x.gw.Log.Warn("customers' messages or codes passed unrecorded: replies without an open window are history_incomplete there until a window's length is over",
			zap.String("how", how), zap.Int("count", n), zap.String("corp_id", losses[0].Corp), zap.String("channel", losses[0].Channel), zap.Error(why))
	}
	if err != nil {
		x.gw.Log.Warn("the gap is noted in this gateway alone: redis did not take it", zap.Error(err))
	}
}

// corpOfToken returns the corp of a call that WeCom has answered, "" if it is unknown: by its
// token, else by what the call says, else by the channels that the answer is about. If Redis could
// not be asked for it, away tells by what it can be found later.
func (x *apiRequest) corpOfToken(channels []string) (corp string, away *window.Unattributed) {
	x.readClaims()
	corp, away = x.corpOfClaims(channels)
	x.countCaller()
	return corp, away
}

// corpOfClaims is corpOfToken for a call of which is known what its head says.
func (x *apiRequest) corpOfClaims(channels []string) (corp string, away *window.Unattributed) {
	known, owner := "", account.Unknown
	if len(x.tokens) == 1 {
		known, owner, _ = x.gw.Tokens.Owner(x.ctx, x.tokens[0])
	} else {
		known, _, _ = x.knownOwner()
	}
	unreachable := owner == account.Unreachable
	named, byChannels := x.namedBySetting(owner), false
	switch {
	case known != "":
		x.corp, x.by = known, gate.ByToken
	case x.gate.Config.UnknownToken == config.Auto:
		var found gate.Attribution
		var gone bool
		found, byChannels, gone = x.attributeAnswer(channels)
		x.corp, x.by, unreachable = found.Corp, found.By, unreachable || gone
	case named != "" && len(x.tokens) <= 1: // of several, knownOwner has told
		x.corp, x.by = named, gate.BySetting
	}
	if x.corp == "" && unreachable && len(x.tokens) == 1 {
		away = &window.Unattributed{Token: account.HashToken(x.tokens[0])}
		if byChannels {
			away.Channels = channels[:min(len(channels), maxChannels)]
		}
	}
	return x.corp, away
}

// attributeAnswer is attribute for a call that passed unread. byChannels reports that the answer's
// channels may tell its corp, unreachable that Redis could not be asked for all of them.
func (x *apiRequest) attributeAnswer(channels []string) (found gate.Attribution, byChannels, unreachable bool) {
	signs := x.signs()
	if byChannels = x.gate.OnlyAccount() == nil && !signs.Several; byChannels {
		signs.ByBody = gate.ByChannel
		signs.Body, unreachable = x.ownerOfChannels(channels)
	}
	found = x.gate.Attribute(signs)
	if found.Other != "" {
		x.contradiction(contradictsItself, "a call names two accounts, and its token is unknown: what WeCom answered is recorded for neither", found.Corp, found.Other)
		return gate.Attribution{}, false, false
	}
	return found, byChannels, unreachable
}

// errUnreachable means that Redis could not be asked whose an answer is.
var errUnreachable = errors.New("redis does not answer")

// CorpOf returns the corp of an answer that was postponed, "" if it is unknown: by the hash of its
// token, else by unknown_token or its channels.
func (g *Gateway) CorpOf(ctx context.Context, tokenHash string, channels []string) (corp string, err error) {
	corp, owner := g.Tokens.OwnerOfHash(ctx, tokenHash)
	unreachable := owner == account.Unreachable
	if owner == account.Unknown {
		v := request{gw: g, ctx: ctx}
		v.use(g.Current())
		if corp = v.namedBySetting(owner); corp == "" {
			corp, unreachable = v.ownerOfChannels(channels)
		}
	}
	if unreachable {
		return "", errUnreachable
	}
	return corp, nil
}

// maxChannels bounds the channels of one page whose owners are looked up.
const maxChannels = 64

// ownerOfChannels returns the one account to which channels belong that were seen with one token,
// "" if none is known to, or if two are. unreachable means that Redis could not be asked for all.
func (v *request) ownerOfChannels(channels []string) (corp string, unreachable bool) {
	for _, channel := range channels[:min(len(channels), maxChannels)] {
		owner, unreachable := v.ownerOfChannel(channel)
		switch {
		case unreachable: // the next one would wait as long
			return corp, true
		case corp == "":
			corp = owner
		case owner != "" && owner != corp:
			v.contradiction(contradictsItself, "one page of messages has channels of two accounts: it is recorded for neither", corp, owner)
			return "", false
		}
	}
	return corp, false
}

// channelsOf are the different channels that a page of kf/sync_msg is about: the one that the call
// names, else those of its items.
func (x *apiRequest) channelsOf(page wecom.Page) (channels []string) {
	if named := wecom.ReadChannel(x.sentCall()); named != "" {
		return []string{named}
	}
	return itemChannels(page)
}

// itemChannels are the different channels of the items of a page.
func itemChannels(page wecom.Page) (channels []string) {
	seen := map[string]bool{"": true}
	add := func(channel string) {
		if !seen[channel] {
			seen[channel] = true
			channels = append(channels, channel)
		}
	}
	for _, m := range page.Messages {
		add(m.Channel)
	}
	for _, c := range page.Codes {
		add(c.Channel)
	}
	for _, f := range page.Failures {
		add(f.Channel)
	}
	return channels
}

// learnChannels records the corp of channels that came with a known token or in a verified
// callback.
func (v *request) learnChannels(corp string, channels []string) {
	if v.gate.Accounts.Find(corp) == nil || len(channels) == 0 {
		return
	}
	others, err := v.gw.Tokens.LearnChannels(v.ctx, corp, channels)
	if err != nil {
		v.gw.Log.Warn("redis did not take whose channels are: it is told with the next page", zap.String("corp_id", corp), zap.Error(err))
	}
	for _, channel := range channels {
		if a := v.gate.Accounts.OfChannel(channel); a != nil && a.CorpID != corp {
			others = append(others, channel)
		}
	}
	if len(others) > 0 {
		v.contradiction(contradictsChannel, "channels of another corp were seen with this corp's token, or in its callback: they stay the other's", corp, others...)
	}
}

// sentCall is the call as it went to WeCom.
func (x *apiRequest) sentCall() wecom.Sent {
	body, streamed := x.out.Body, x.upload()
	if streamed != nil {
		body = streamed.whole()
	}
	return x.sent(body, streamed != nil || len(body) > 0)
}

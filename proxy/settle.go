package proxy

import (
	"io"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/wecom"
	"replygate/window"
)

// readerOf returns what reads the answer of a call that is not judged, nil for most.
func (x *exchange) readerOf() reader {
	if x.route.Odd() {
		return nil
	}
	switch x.route.Path {
	case wecom.PathGetToken:
		return x.learnToken
	case wecom.PathSyncMsg:
		return x.recordPage
	}
	return nil
}

// learnToken notes whose the token is that gettoken hands out.
func (x *exchange) learnToken(answer io.Reader, err error) {
	corp := wecom.ReadCorpID(x.query)
	t, found := wecom.ReadTokenAnswer(small(answer, err))
	if !found || corp == "" || x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	x.corp = corp
	if err := x.Tokens.Learn(x.ctx, t.Value, corp, t.Life); err != nil {
		x.Log.Warn("a token is known to this gateway alone: redis did not take it", zap.String("corp_id", corp), zap.Error(err))
	}
}

// recordPage notes the customers' messages of a page of kf/sync_msg. Where one may have been missed,
// records are incomplete from now on: a missing window then proves nothing.
func (x *exchange) recordPage(answer io.Reader, err error) {
	if x.rc.Response.StatusCode() != fasthttp.StatusOK {
		return
	}
	var page wecom.Page
	if err == nil {
		page, err = wecom.ReadPage(answer)
	}
	if err != nil {
		x.missed("unreadable", 1, err)
		return
	}
	if page.Skipped > 0 {
		x.Metrics.inbound("sync_msg", "skipped", page.Skipped)
	}
	if len(page.Messages) == 0 {
		return
	}
	corp, owner := x.Tokens.Owner(x.ctx, x.token)
	if owner != account.Known {
		if corp = x.Config.UnknownToken; x.Accounts.Find(corp) == nil {
			x.missed("unattributed", len(page.Messages), nil)
			return
		}
	}
	x.corp = corp
	facts := make([]window.Fact, len(page.Messages))
	for i, m := range page.Messages {
		facts[i] = window.Fact{Key: window.Key{Corp: corp, Channel: m.Channel, Customer: m.Customer}, At: m.At}
	}
	tally, err := x.Windows.Record(x.ctx, facts)
	if err != nil {
		x.missed("unrecorded", len(facts), err)
		return
	}
	x.Metrics.tally("sync_msg", tally)
}

// missed notes that customers' messages went by without being recorded.
func (x *exchange) missed(how string, n int, err error) {
	x.Metrics.inbound("sync_msg", how, n)
	x.Log.Warn("customers' messages went by unrecorded: records are incomplete from now on",
		zap.String("how", how), zap.Int("count", n), zap.String("corp_id", x.corp), zap.Error(err))
	if err := x.Windows.MarkGap(x.ctx); err != nil {
		x.Log.Warn("the gap is noted in this gateway alone: redis did not take it", zap.Error(err))
	}
}

// outcome is what WeCom's answer says of a reply. Only a readable refusal gives a reservation back.
func outcome(status int, answer io.Reader, err error) window.Outcome {
	code, err := wecom.ReadErrcode(small(answer, err))
	switch {
	case status != fasthttp.StatusOK || err != nil || code == wecom.CodeOK:
		return window.Sent
	case code == wecom.CodeReplyCount:
		return window.UsedUp
	case code == wecom.CodeReplyWindow:
		return window.Closing
	}
	return window.NotTaken
}

// small reads an answer that is a few hundred bytes long as a rule; of a longer one the beginning.
func small(answer io.Reader, err error) []byte {
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer, smallAnswer))
	if err != nil {
		return nil
	}
	return body
}

// settle does to every reserved reply what became of the call.
func (a asked) settle(o window.Outcome) {
	for i, answer := range a.answers {
		if o == window.Sent || o != window.Closing && !answer.Reserved() {
			continue
		}
		if err := a.x.Windows.Settle(a.x.ctx, a.keys[i], answer, o); err != nil {
			a.x.Log.Warn("a reply could not be settled: at worst one fewer is left", zap.Error(err))
		}
	}
}

package proxy

import (
	"io"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/trace"
	"replygate/wecom"
	"replygate/window"
)

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
	x.gw.Metrics.answered(x.decision, code)
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
	full, err := x.head.Route.Endpoint.ReportRest(answer, rest)
	if err != nil {
		x.gw.Log.Warn("a call went on without some of its customers, and the answer could not say so", zap.String("decision_id", x.id), zap.Error(err))
		return
	}
	x.rc.Response.Header.Del("Content-Encoding")
	x.rc.Response.SetBody(full)
}

// settle does to every reserved reply, and to a taken code, what became of the call.
func (x *apiRequest) settle(o window.Outcome) {
	if o == window.Sent {
		return
	}
	found := &x.judged.Evidence
	asking, asked := x.trace.Begin(trace.Store), found.Code.State == window.CodeTaken
	defer func() { endAsking(asking, asked, false) }()
	if err := x.gw.Windows.RestoreCode(x.ctx, found.Code); err != nil {
		x.gw.Log.Warn("a one-time code could not be given back: it counts as used", zap.Error(err))
	}
	for i, k := range x.judged.Keys {
		if o == window.Rejected && !found.Windows[i].Reserved() {
			continue
		}
		asked = true
		if err := x.gw.Windows.Settle(x.ctx, k, found.Windows[i], o); err != nil {
			x.gw.Log.Warn("a reply could not be settled: at worst one fewer is left", zap.Error(err))
		}
	}
}

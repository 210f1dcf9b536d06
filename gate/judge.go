package gate

import (
	"context"
	"errors"
	"time"

	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// ErrTooLarge says that a body is longer than what a rule may see of one.
var ErrTooLarge = errors.New("the body is larger than limits.judged_body")

// Call is one API call as a whole, by a corp that is known.
type Call struct {
	Corp        string
	Client      string
	Path        []byte // of the request's target, as sent
	Query       []byte
	ContentType string
	Encoding    string // the Content-Encoding
	Body        []byte
	At          time.Time
}

// Judge judges a call from its first byte to its last, as the proxy does with the same call. judged is false for
// one that passes unread.
func (g *Gate) Judge(ctx context.Context, in Call, s Store) (j Judgement, h Head, judged bool) {
	h = Head{Route: wecom.ReadPath(in.Path), At: in.At}
	if g.Free(h.Route) {
		return passed(h), h, false
	}
	var listed bool
	h.Who, listed = g.Subject(in.Corp, in.Client, in.At)
	n := g.Needs(h)
	switch {
	case n.Overall == policy.NeedNothing:
		return passed(h), h, false
	case !listed:
		return g.TurnAway(policy.UnlistedAccount, h.Route, in.Corp), h, true
	case n.Overall == policy.NeedPath:
		return g.ByPath(h), h, true
	case len(in.Body) > int(g.Config.Limits.JudgedBody):
		return g.Ambiguous(h, n, ErrTooLarge), h, true
	}
	facts, err := ReadFacts(h.Route.Endpoint, in.Query, in.ContentType, in.Encoding, in.Body)
	if err != nil {
		return g.Ambiguous(h, n, err), h, true
	}
	return g.ByBody(ctx, h, facts, s), h, true
}

// passed is the judgement of a call that is not judged.
func passed(h Head) Judgement {
	return Judgement{Decision: policy.Decision{Verdict: policy.Pass, Reason: policy.NotJudged, Capability: capabilityOf(h.Route), Go: true, Left: -1}}
}

// Peeking is a store that answers as s would and changes nothing.
func Peeking(s Store) Store { return peeking{s} }

type peeking struct{ Store }

func (p peeking) Reserve(ctx context.Context, k window.Key) window.Answer {
	a := p.Peek(ctx, k)
	if a.State == window.Open && a.Left > 0 {
		a.Left-- // after this reply
	}
	return a
}

func (p peeking) TakeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return p.PeekCode(ctx, corp, code)
}

package gate

import (
	"context"
	"errors"
	"time"

	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// ErrTooLarge reports a body that is longer than limits.judged_body.
var ErrTooLarge = errors.New("the body is larger than limits.judged_body")

// Call is a complete API call of a known corp.
type Call struct {
	Corp        string
	Client      string
	Path        []byte // of the request target, as sent
	Query       []byte
	ContentType string
	Encoding    string // the Content-Encoding
	Body        []byte
	At          time.Time
}

// Judge judges a complete call, with the same result as the proxy. judged is false if the call
// passes unread.
func (g *Gate) Judge(ctx context.Context, in Call, s Store) (j Judgement, h Head, judged bool) {
	return g.JudgeReading(ctx, in, s, g.reader(in))
}

// Reader reads the facts of a call to an endpoint.
type Reader func(*wecom.Endpoint) (wecom.Facts, error)

// reader reads the facts of a complete call.
func (g *Gate) reader(in Call) Reader {
	return func(e *wecom.Endpoint) (wecom.Facts, error) {
		if len(in.Body) > int(g.Config.Limits.JudgedBody) {
			return wecom.Facts{}, ErrTooLarge
		}
		return ReadFacts(e, in.Query, in.ContentType, in.Encoding, in.Body)
	}
}

// JudgeFacts is Judge for a call whose facts are known without its body.
func (g *Gate) JudgeFacts(ctx context.Context, in Call, facts wecom.Facts, s Store) (j Judgement, h Head, judged bool) {
	return g.JudgeReading(ctx, in, s, func(*wecom.Endpoint) (wecom.Facts, error) { return facts, nil })
}

// JudgeReading is Judge with read as the source of the facts. It is called only if a rule needs
// them.
func (g *Gate) JudgeReading(ctx context.Context, in Call, s Store, read Reader) (j Judgement, h Head, judged bool) {
	h = Head{Route: wecom.ReadPath(in.Path), At: in.At}
	n := g.Inspect(h.Route, in.Corp, in.Client, in.At)
	h.Who = n.Who
	if n.Unlisted() {
		return g.Reject(g.Engine.Reject(policy.UnlistedAccount, capabilityOf(h.Route), in.Corp), n.Inspections), h, true
	}
	j, judged = g.judgeHead(ctx, h, n.Inspections, s, read)
	return j, h, judged
}

// judgeHead is JudgeReading for a head that is read and belongs to a known caller.
func (g *Gate) judgeHead(ctx context.Context, h Head, n policy.Inspections, s Store, read func(*wecom.Endpoint) (wecom.Facts, error)) (j Judgement, judged bool) {
	switch n.Overall {
	case policy.InspectNone:
		return g.passed(h), false
	case policy.InspectPath:
		return g.ByPath(h), true
	}
	facts, err := read(h.Route.Endpoint)
	if err != nil {
		return g.Ambiguous(h, n, err), true
	}
	return g.ByBody(ctx, h, facts, s), true
}

// passed is the judgement of a call that passes unread, with the rule that passes it.
func (g *Gate) passed(h Head) Judgement {
	d := policy.Decision{Verdict: policy.Pass, Reason: policy.NotJudged, Capability: capabilityOf(h.Route), Go: true, Left: -1}
	if e := h.Route.Endpoint; e != nil {
		if m := g.Engine.Match(policy.Call{Who: h.Who, Endpoint: e, Facts: e.Bare(), At: h.At}); m.Rule != nil {
			d.Rule = m.Rule.Name
		}
	}
	return Judgement{Decision: d}
}

// Peeking returns a store that answers as s does and changes nothing.
func Peeking(s Store) Store { return readOnly{s} }

type readOnly struct{ Store }

func (p readOnly) Reserve(ctx context.Context, k window.Key) window.Answer {
	a := p.Peek(ctx, k)[0]
	if a.State == window.Open && a.Left > 0 {
		a.Left-- // as Reserve counts this reply
	}
	return a
}

func (p readOnly) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return p.PeekCode(ctx, corp, code)
}

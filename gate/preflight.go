package gate

import (
	"context"
	"fmt"
	"time"

	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Ask is one question of a preflight: may this customer be reached by that endpoint?
type Ask struct {
	Endpoint string `json:"endpoint"` // a path; "" is kf/send_msg
	Channel  string `json:"channel"`
	Customer string `json:"customer"`
	MsgType  string `json:"msgtype"` // "" is text
}

// Outlook is the answer to one Ask.
type Outlook struct {
	Verdict      string `json:"verdict"`
	Rule         string `json:"rule"`
	Reason       string `json:"reason"`
	WindowCloses string `json:"window_closes,omitempty"` // RFC 3339, in milliseconds
	RepliesLeft  *int   `json:"replies_left,omitempty"`  // replies that may still be sent
}

// MaxAsks is the maximum number of asks in one preflight.
const MaxAsks = 1000

// CheckAsks returns an error for the client if the asks of a preflight are too many or malformed.
func CheckAsks(asks []Ask) error {
	if len(asks) == 0 || len(asks) > MaxAsks {
		return fmt.Errorf(`send {"calls":[…]} with 1 to %d calls`, MaxAsks)
	}
	for i, a := range asks {
		if max(len(a.Customer), len(a.Channel)) > wecom.MaxID {
			return fmt.Errorf("calls[%d]: an id has more than %d bytes", i, wecom.MaxID)
		}
		if a.Endpoint != "" && a.Endpoint[0] != '/' {
			return fmt.Errorf("calls[%d]: endpoint must be a path, like %s", i, replyPath)
		}
	}
	return nil
}

// replyPath is the default endpoint of an Ask.
const replyPath = "/cgi-bin/kf/send_msg"

// Preflight judges hypothetical calls to one customer each, in the order of asks, without sending
// or reserving anything. All windows are read in one round trip.
func (g *Gate) Preflight(ctx context.Context, corp, client string, at time.Time, asks []Ask, s Store) []Outlook {
	known := g.prefetch(ctx, corp, asks, s)
	all := make([]Outlook, len(asks))
	for i, a := range asks {
		path := a.Endpoint
		if path == "" {
			path = replyPath
		}
		in := Call{Corp: corp, Client: client, Path: []byte(path), At: at}
		facts := wecom.Facts{Channel: a.Channel, MsgType: a.MsgType}
		if a.Customer != "" {
			facts.Customers = []string{a.Customer}
		}
		if e := wecom.ReadPath(in.Path).Endpoint; e != nil {
			facts = e.Plausible(facts)
		}
		j, _, _ := g.JudgeFacts(ctx, in, facts, known)
		all[i] = outlookOf(j.Decision)
	}
	return all
}

func outlookOf(d policy.Decision) Outlook {
	o := Outlook{Verdict: d.Verdict.String(), Rule: d.Rule, Reason: string(d.Reason)}
	if !d.Closes.IsZero() {
		o.WindowCloses = d.Closes.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	if d.Left >= 0 && d.Capability == wecom.KfReply {
		o.RepliesLeft = &d.Left
	}
	return o
}

// prefetch reads the windows of all asks at once.
func (g *Gate) prefetch(ctx context.Context, corp string, asks []Ask, s Store) prefetchedStore {
	var keys []window.Key
	for _, a := range asks {
		if a.Customer != "" {
			keys = append(keys, window.Key{Corp: corp, Channel: a.Channel, Customer: a.Customer})
		}
	}
	answers := s.Peek(ctx, keys...)
	known := prefetchedStore{Store: s, windows: make(map[window.Key]window.Answer, len(keys))}
	for i, k := range keys {
		known.windows[k] = answers[i]
	}
	return known
}

// prefetchedStore answers windows from those read before; it changes nothing.
type prefetchedStore struct {
	Store
	windows map[window.Key]window.Answer
}

func (p prefetchedStore) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i, k := range keys {
		answers[i] = p.windows[k]
	}
	return answers
}

func (p prefetchedStore) Reserve(_ context.Context, k window.Key) window.Answer { return p.windows[k] }

func (p prefetchedStore) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return p.PeekCode(ctx, corp, code)
}

// Package replay judges past calls once more by another configuration, from the records that the
// gateway leaves: who would newly be refused, or passed.
//
// It asks no Redis and knows no more of a call than its record holds: where a rule would need more,
// the call stays undecided.
package replay

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// record is a line of the gateway's records: a decision, or an access record of a call that was not
// judged.
type record struct {
	Kind       string         `json:"msg"` // decision or request
	ID         string         `json:"id"`
	At         time.Time      `json:"at"`
	Time       string         `json:"time"` // of an access record, as the log writes it
	CorpID     string         `json:"corp_id"`
	Client     string         `json:"client"`     // by the configuration of the time, where a rule of it asked
	Remote     string         `json:"remote"`     // the caller's address; "" in records of earlier builds
	Agent      string         `json:"user_agent"` // its beginning
	Endpoint   string         `json:"endpoint"`
	Path       string         `json:"path"` // of an access record
	Verdict    string         `json:"verdict"`
	Reason     string         `json:"reason"`
	Rule       string         `json:"rule"`
	Forwarded  bool           `json:"forwarded"`
	Wait       string         `json:"wait"`
	Read       bool           `json:"read"`
	MsgType    string         `json:"msgtype"`
	Also       string         `json:"also"`
	Implicit   bool           `json:"implicit"`
	Lenient    bool           `json:"lenient"`
	Groups     int            `json:"groups"`
	Channel    string         `json:"channel"`
	Recipients int            `json:"recipients"`
	Customers  []string       `json:"customers"`
	Windows    []windowRecord `json:"windows"`
	WithCode   bool           `json:"with_code"`
	CodeState  string         `json:"code_state"`
	CodeKind   string         `json:"code_kind"`
	Deadline   int64          `json:"code_deadline"`
	DecisionID string         `json:"decision_id"` // of an access record
	Fault      string         `json:"fault"`       // likewise
}

type windowRecord struct {
	State   string `json:"state"`
	Last    int64  `json:"last"`
	Left    *int   `json:"left"`    // after this call
	Counted *bool  `json:"counted"` // whether this call was counted; nil in records of earlier builds
}

var errNoRecord = errors.New("no record of a call")

// readRecord reads a line. One that is about something else is errNoRecord.
func readRecord(line []byte) (r record, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	switch {
	case r.Kind == "decision" && r.Verdict == "error": // the gateway's own failure, or a call it could not read: nothing was decided
		return r, errNoRecord
	case r.Kind == "decision" && r.Endpoint != "" && !r.At.IsZero():
		return r, nil
	case r.Kind == "request" && r.DecisionID == "" && r.Fault == "" && r.Path != "":
		r.Endpoint, r.Forwarded, r.Verdict, r.Reason = r.Path, true, "pass", string(policy.NotJudged)
		r.At, err = time.Parse("2006-01-02T15:04:05.000Z0700", r.Time)
		return r, err
	}
	return r, errNoRecord
}

var (
	errUnread  = errors.New("the record does not hold what the call says")
	errNobody  = errors.New("the record does not tell whose call it was")
	errOddPath = errors.New("the record does not hold the path as it was sent")
	errClient  = errors.New("the record does not hold the header that tells the client")
	errHashed  = errors.New("the record holds customers' ids hashed, and a rule takes a share of them")
	errDropped = errors.New("the client went away while the call waited, so no rule decided it")
)

// judge judges the call of a record. An error says what the record lacks.
func (r *record) judge(g *gate.Gate) (policy.Decision, error) {
	route := wecom.ReadPath([]byte(r.Endpoint))
	switch {
	case r.Wait == string(policy.WaitClientGone):
		return policy.Decision{}, errDropped
	case route.Ambiguous() || strings.Contains(r.Endpoint, "…") || r.Reason == string(policy.AmbiguousPath):
		return policy.Decision{}, errOddPath
	case r.CorpID == "" && !g.AlwaysPasses(route):
		return policy.Decision{}, errNobody
	case len(r.Customers) == 1 && strings.HasPrefix(r.Customers[0], hashed) && g.Engine.UsesPercent():
		return policy.Decision{}, errHashed
	}
	clients := r.clients(g)
	d, lack := r.judgeAs(g, clients[0])
	for _, client := range clients[1:] { // where nobody knows which it was, they must agree
		if other, err := r.judgeAs(g, client); lack == nil && (err != nil || other.Go != d.Go || other.Rule != d.Rule) {
			return policy.Decision{}, errClient
		}
	}
	return d, lack
}

// hashed begins the ids of records that were written with log.ids: hashed.
const hashed = "h:"

// clients are what the caller may have been by a configuration.
func (r *record) clients(g *gate.Gate) []string {
	switch addr, err := netip.ParseAddr(r.Remote); {
	case !g.Engine.UsesClients():
		return []string{""}
	case err == nil:
		if name, known := g.Clients.Find(addr, r.contains); known {
			return []string{name}
		}
	case slices.Contains(g.Clients.Names(), r.Client): // of an earlier build: what it was by the configuration of the time
		return []string{r.Client}
	}
	return g.Clients.Names()
}

// contains tells whether a header of the call contains a text, as far as the record holds it: of a
// long User-Agent it holds the beginning, and of a secret in it nothing.
func (r *record) contains(header, text string) (does, known bool) {
	if !strings.EqualFold(header, "User-Agent") {
		return false, false
	}
	does = strings.Contains(r.Agent, text)
	return does, does || len(r.Agent) < gate.MaxAgent && !strings.Contains(r.Agent, "***")
}

// judgeAs is judge for a caller that is a client.
func (r *record) judgeAs(g *gate.Gate, client string) (policy.Decision, error) {
	s := &recorded{record: r}
	var lack error
	in := gate.Call{Corp: r.CorpID, Client: client, Path: []byte(r.Endpoint), At: r.At}
	j, _, _ := g.JudgeReading(context.Background(), in, s, func(e *wecom.Endpoint) (wecom.Facts, error) {
		if !r.Read && r.Reason != string(policy.AmbiguousBody) {
			lack = errUnread
		}
		if !r.Read {
			return wecom.Facts{}, errUnread
		}
		return r.facts(), nil
	})
	if lack == nil && s.lacks {
		lack = errUnread
	}
	return j.Decision, lack
}

// facts are what the call says, as far as the record holds it: of many customers the first stand
// for all.
func (r *record) facts() wecom.Facts {
	f := wecom.Facts{Channel: r.Channel, MsgType: r.MsgType, Also: wecom.Capability(r.Also), Implicit: r.Implicit, Lenient: r.Lenient, Customers: r.Customers}
	if n := min(r.Recipients, 10_000); n > len(f.Customers) {
		f.Customers = append(f.Customers[:len(f.Customers):len(f.Customers)], make([]string, n-len(f.Customers))...)
	}
	if r.Groups > 0 {
		f.Groups = make([]string, min(r.Groups, 10_000))
	}
	if r.WithCode {
		f.Code = "recorded"
	}
	return f
}

// recorded is what Redis said at the time.
type recorded struct {
	*record
	lacks bool // more is asked than the record holds
}

func (s *recorded) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	if len(s.Windows) < len(keys) {
		s.lacks = true
	}
	for i := range keys {
		answers[i] = window.Answer{State: window.Unavailable, Left: -1}
		if i < len(s.Windows) {
			answers[i] = s.Windows[i].before(s.Endpoint)
		}
	}
	return answers
}

// before is the window as it was before the call. Earlier builds do not say whether the call was
// counted: they recorded windows of open replies only once they were.
func (w windowRecord) before(endpoint string) window.Answer {
	a := w.answer()
	counted := a.State == window.Open && wecom.Lookup(endpoint).Capability == wecom.KfReply
	if w.Counted != nil {
		counted = *w.Counted
	}
	if counted && a.Left >= 0 {
		a.Left++
	}
	return a
}

func (w windowRecord) answer() window.Answer {
	state, ok := window.ReadState(w.State)
	if !ok {
		state = window.Unavailable
	}
	a := window.Answer{State: state, Left: -1}
	if w.Last > 0 {
		a.Last = time.UnixMilli(w.Last)
	}
	if w.Left != nil {
		a.Left = *w.Left
	}
	return a
}

func (s *recorded) Reserve(ctx context.Context, k window.Key) window.Answer {
	a := s.Peek(ctx, k)[0]
	if a.State == window.Open && a.Left > 0 {
		a.Left--
	}
	return a
}

func (s *recorded) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return s.PeekCode(ctx, corp, code)
}

func (s *recorded) PeekCode(_ context.Context, corp, _ string) window.CodeAnswer {
	state, ok := window.ReadCodeState(s.CodeState)
	if !ok {
		s.lacks = true
		return window.CodeAnswer{State: window.CodeUnavailable}
	}
	c := window.Code{Key: window.Key{Corp: corp}, Kind: s.CodeKind}
	if s.Deadline > 0 {
		c.Deadline = time.UnixMilli(s.Deadline)
	}
	return window.CodeAnswer{State: state, Code: c}
}

// Package replay decides past calls again under another configuration, from the gateway's decision
// and access records, and reports which calls would newly be refused or passed.
//
// It does not read Redis. A call is undecided if a rule needs something that its record does not
// hold.
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

// record is a decision record, or the access record of a call that passed without being judged.
type record struct {
	Kind       string         `json:"msg"` // decision or request
	ID         string         `json:"id"`
	At         time.Time      `json:"at"`
	Time       string         `json:"time"` // of an access record, as the logger writes it
	CorpID     string         `json:"corp_id"`
	Client     string         `json:"client"`     // as configured then, if a rule needed it
	Remote     string         `json:"remote"`     // address; "" in records of earlier builds
	Agent      *string        `json:"user_agent"` // the first gate.MaxAgent bytes; nil in access records
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
	ErrorKind  string         `json:"error_kind"`  // of an access record
	Fault      string         `json:"fault"`       // the same in records of earlier builds
}

type windowRecord struct {
	State   string `json:"state"`
	Last    int64  `json:"last"`
	Left    *int   `json:"left"`    // after the call
	Counted *bool  `json:"counted"` // whether the call was counted; nil in records of earlier builds
}

// Why a line of a log is no record of a call.
var (
	errNoRecord   = errors.New("no record of a call")
	errUnreadable = errors.New("not JSON as the gateway writes it: copy the whole line from log.decisions")
)

// readRecord parses a line of a log. The error is errNoRecord if the line is something else.
func readRecord(line []byte) (r record, err error) {
	if json.Unmarshal(line, &r) != nil {
		return r, errUnreadable
	}
	switch {
	case r.Kind == "decision" && r.Verdict == "error": // the gateway failed before any decision
		return r, errNoRecord
	case r.Kind == "decision" && r.Endpoint != "" && !r.At.IsZero():
		return r, nil
	case r.Kind == "request" && r.DecisionID == "" && r.ErrorKind == "" && r.Fault == "" && r.Path != "":
		r.Endpoint, r.Forwarded, r.Verdict, r.Reason = r.Path, true, "pass", string(policy.NotJudged)
		r.At, err = time.Parse("2006-01-02T15:04:05.000Z0700", r.Time)
		return r, err
	}
	return r, errNoRecord
}

// Why a record cannot be decided again.
var (
	errNoBody     = errors.New("the record does not hold what the call says")
	errNoCorp     = errors.New("the record does not tell whose call it was")
	errNoPath     = errors.New("the record does not hold the path as it was sent")
	errNoHeader   = errors.New("the record does not hold the header that tells the client")
	errHashed     = errors.New("the record holds customers' ids hashed, and a rule takes a share of them")
	errClientGone = errors.New("the client went away while the call waited, so no rule decided it")
)

// judge decides the call of a record under a configuration. The error says what the record lacks.
func (r *record) judge(g *gate.Gate) (policy.Decision, error) {
	route := wecom.ReadPath([]byte(r.Endpoint))
	switch {
	case r.Wait == string(policy.WaitClientGone):
		return policy.Decision{}, errClientGone
	case route.Ambiguous() || strings.Contains(r.Endpoint, "…") || r.Reason == string(policy.AmbiguousPath):
		return policy.Decision{}, errNoPath
	case r.CorpID == "" && !g.AlwaysPasses(route):
		return policy.Decision{}, errNoCorp
	case len(r.Customers) == 1 && strings.HasPrefix(r.Customers[0], hashed) && g.Engine.UsesPercent():
		return policy.Decision{}, errHashed
	}
	clients := r.clients(g)
	d, lack := r.judgeAs(g, clients[0])
	for _, client := range clients[1:] { // if the client is uncertain, all candidates must agree
		if other, err := r.judgeAs(g, client); lack == nil && (err != nil || other.Go != d.Go || other.Rule != d.Rule) {
			return policy.Decision{}, errNoHeader
		}
	}
	return d, lack
}

// hashed is the prefix of customer ids written with log.ids: hashed.
const hashed = "h:"

// clients returns the names that the caller may have under a configuration: one if the record holds
// enough to tell, else all.
func (r *record) clients(g *gate.Gate) []string {
	if !g.Engine.UsesClients() {
		return []string{""}
	}
	if addr, err := netip.ParseAddr(r.Remote); err == nil {
		if name, known := g.Clients.Find(addr, r.contains); known {
			return []string{name}
		}
	}
	if r.Agent == nil && slices.Contains(g.Clients.Names(), r.Client) { // the name is all there is
		return []string{r.Client}
	}
	return g.Clients.Names()
}

// contains reports whether a header of the call contains text, and whether the record proves that.
// A record holds the User-Agent alone: the start of a long one, and *** in place of a secret.
func (r *record) contains(header, text string) (does, known bool) {
	if !strings.EqualFold(header, "User-Agent") || r.Agent == nil {
		return false, false
	}
	does = strings.Contains(*r.Agent, text)
	return does, does || len(*r.Agent) < gate.MaxAgent && !strings.Contains(*r.Agent, "***")
}

// judgeAs decides the call as made by a client.
func (r *record) judgeAs(g *gate.Gate, client string) (policy.Decision, error) {
	s := &recorded{record: r}
	var lack error
	in := gate.Call{Corp: r.CorpID, Client: client, Path: []byte(r.Endpoint), At: r.At}
	j, _, _ := g.JudgeReading(context.Background(), in, s, func(e *wecom.Endpoint) (wecom.Facts, error) {
		if !r.Read && r.Reason != string(policy.AmbiguousBody) {
			lack = errNoBody
		}
		return r.readFacts()
	})
	if lack == nil && s.lacks {
		lack = errNoBody
	}
	return j.Decision, lack
}

// readFacts returns what the call's body said, if it was read.
func (r *record) readFacts() (wecom.Facts, error) {
	if !r.Read {
		return wecom.Facts{}, errNoBody
	}
	return r.facts(), nil
}

// facts rebuilds what the call's body said. The record holds the first customers and the total
// number; the rest are empty ids.
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

// recorded is a gate.Store that answers from a record.
type recorded struct {
	*record
	lacks bool // the gate asked for more than the record holds
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

// before returns the window as it was before the call. Records of earlier builds do not say whether
// the call was counted; in them every reply to an open window was.
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

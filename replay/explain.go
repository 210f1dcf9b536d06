package replay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Explain decides the call of a record again under a configuration, and tells why it is decided so.
// The error says what the record lacks, or that the line is no record of a call.
func Explain(g *gate.Gate, line []byte, chinese bool) (gate.Explanation, error) {
	rec, err := readRecord(line)
	if err != nil {
		return gate.Explanation{}, err
	}
	if _, err := rec.judge(g); err != nil {
		return gate.Explanation{}, err
	}
	in := gate.Call{Corp: rec.CorpID, Client: rec.clients(g)[0], Path: []byte(rec.Endpoint), At: rec.At}
	read := func(*wecom.Endpoint) (wecom.Facts, error) { return rec.readFacts() }
	return g.ExplainReading(context.Background(), in, newByKey(&rec), read, chinese), nil
}

// byKey answers from a record like recorded, also if the windows are asked for one by one.
type byKey struct {
	recorded
	position map[window.Key]int // in the record; 0 for the window of a code
}

func newByKey(rec *record) *byKey {
	s := &byKey{recorded: recorded{record: rec}, position: map[window.Key]int{}}
	f := rec.facts()
	for i, customer := range f.Customers {
		k := window.Key{Corp: rec.CorpID, Channel: f.Channel, Customer: customer}
		if _, twice := s.position[k]; !twice {
			s.position[k] = i
		}
	}
	return s
}

func (s *byKey) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i, k := range keys {
		answers[i] = window.Answer{State: window.Unavailable, Left: -1}
		if at := s.position[k]; at < len(s.Windows) {
			answers[i] = s.Windows[at].before(s.Endpoint)
		}
	}
	return answers
}

func (s *byKey) Reserve(ctx context.Context, k window.Key) window.Answer {
	a := s.Peek(ctx, k)[0]
	if a.State == window.Open && a.Left > 0 {
		a.Left--
	}
	return a
}

// Why the call of a record cannot be judged at another instant.
var (
	errCodeSpent = errors.New("the record does not hold the call's one-time code")
	errShortened = errors.New("the record does not hold all customers of the call")
	errHashedIDs = errors.New("the record holds customers' ids hashed")
)

// JudgeAt decides the call of a record as if it were made at an instant, by what a store says then.
// It changes nothing in the store.
func JudgeAt(ctx context.Context, g *gate.Gate, line []byte, at time.Time, s gate.Store) (policy.Decision, error) {
	rec, err := readRecord(line)
	if err != nil {
		return policy.Decision{}, err
	}
	if _, err := rec.judge(g); err != nil { // it lacks what any instant needs
		return policy.Decision{}, err
	}
	store := &recordedKeys{Store: gate.Peeking(s), lack: rec.lackingKeys()}
	in := gate.Call{Corp: rec.CorpID, Client: rec.clients(g)[0], Path: []byte(rec.Endpoint), At: at}
	var lack error
	j, _, _ := g.JudgeReading(ctx, in, store, func(*wecom.Endpoint) (facts wecom.Facts, err error) {
		facts, lack = rec.readFacts()
		return facts, lack
	})
	if lack == nil && store.asked {
		lack = store.lack
	}
	return j.Decision, lack
}

// lackingKeys tells why the windows and codes of a record's call cannot be looked up, nil if they
// can.
func (r *record) lackingKeys() error {
	switch {
	case r.WithCode:
		return errCodeSpent
	case r.Recipients > len(r.Customers):
		return errShortened
	case slices.ContainsFunc(r.Customers, func(c string) bool { return strings.HasPrefix(c, hashed) }):
		return errHashedIDs
	}
	return nil
}

// recordedKeys notes whether a store was asked although the record lacks what it is asked by.
type recordedKeys struct {
	gate.Store
	lack  error
	asked bool
}

func (s *recordedKeys) Peek(ctx context.Context, keys ...window.Key) []window.Answer {
	if s.asked = true; s.lack == nil {
		return s.Store.Peek(ctx, keys...)
	}
	answers := make([]window.Answer, len(keys))
	for i := range answers {
		answers[i] = window.Answer{State: window.Unavailable, Left: -1}
	}
	return answers
}

func (s *recordedKeys) Reserve(ctx context.Context, k window.Key) window.Answer {
	if s.asked = true; s.lack == nil {
		return s.Store.Reserve(ctx, k)
	}
	return window.Answer{State: window.Unavailable, Left: -1}
}

func (s *recordedKeys) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return s.PeekCode(ctx, corp, code)
}

func (s *recordedKeys) PeekCode(context.Context, string, string) window.CodeAnswer {
	s.asked = true
	return window.CodeAnswer{State: window.CodeUnavailable}
}

package replay

import (
	"context"

	"replygate/gate"
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

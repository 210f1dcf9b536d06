package window

import (
	"context"
	"sync"
	"time"
)

// A gateway whose journal holds facts knows what Redis does not, so the others must not refuse for
// want of a message. It may be unable to tell them: it is Redis that it cannot reach. So each
// gateway says the opposite as long as it is true, that it holds nothing back, and the others
// believe it for a moment only. A gateway that begins to hold something back waits until nobody can
// believe otherwise, before it acknowledges.
const (
	beatEvery   = 100 * time.Millisecond
	beatTimeout = 100 * time.Millisecond
	// believed is how long after its word a gateway is taken to hold nothing back, at most.
	believed = time.Second
	// missed is how long a gateway that vanished without a goodbye is waited for.
	missed = 5 * time.Minute
)

// peers are the gateways on one Redis: PREFIXgateways is a hash of gateway to a number that grows
// with each time it says that it holds nothing back.
type peers struct {
	mu     sync.Mutex
	asked  time.Time       // when the last look that succeeded began
	others map[string]word // as seen then
	word   time.Time       // until when Redis may count what we said
}

// never is the number of a gateway that has said nothing yet, since it began with facts in its
// journal.
const never = "0"

// word is what another gateway said last, and when, at the earliest.
type word struct {
	count string
	said  time.Time
}

// Beat tells the other gateways on this Redis whether this one holds facts back, and listens to
// them, until ctx ends. A gateway that holds nothing back says goodbye.
func (s *Store) Beat(ctx context.Context) {
	if s.Journal == nil {
		return
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		s.beat(ctx)
		select {
		case <-ctx.Done():
			s.goodbye()
			return
		case <-tick.C:
		}
	}
}

// beat says our word, and takes in those of the others.
func (s *Store) beat(ctx context.Context) {
	began := time.Now()
	until := began.Add(beatTimeout)
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	key := s.Prefix + "gateways"
	node := s.nodeOf(ctx, key)
	clean := s.peers.begin(s.Journal.Empty, until)
	args := []any{s.gateway, 0}
	if clean {
		args[1] = 1
	}
	for _, id := range s.peers.vanished(began) {
		args = append(args, id)
	}
	// By a clock that is not known every word is late.
	args = append(args, max(s.awaited(ctx, node), 1))
	saw, err := beatScript.Run(ctx, s.rdb, []string{key}, args...).StringSlice()
	if err == nil {
		s.peers.end(s.gateway, began, saw)
	}
}

// goodbye leaves the gateways, unless facts are left in the journal.
func (s *Store) goodbye() {
	if !s.Journal.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	_ = s.rdb.HDel(ctx, s.Prefix+"gateways", s.gateway).Err() // the others then wait for it in vain, for a while
}

// begin tells whether our word is that we hold nothing back. It is counted until then, or not at
// all; that it was counted earlier does not matter: one before it, whose connection broke, may
// still be on its way.
func (p *peers) begin(empty func() bool, until time.Time) (clean bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if clean = empty(); clean { // asked under the lock: silence may begin right behind it
		p.word = until
	}
	return clean
}

// end takes in what a look saw: each gateway and its number.
func (p *peers) end(own string, began time.Time, saw []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What is new was said behind the look before. If that is long ago, it may be as old.
	news, old := p.asked, began.Add(-believed)
	if news.Before(old) {
		news = old
	}
	p.asked = began
	others := make(map[string]word, len(saw)/2)
	for i := 0; i+1 < len(saw); i += 2 {
		id, w := saw[i], word{count: saw[i+1], said: news}
		if id == own {
			continue
		}
		if before, known := p.others[id]; known && before.count == w.count {
			w = before
		} else if w.count == never {
			w.said = old
		}
		others[id] = w
	}
	p.others = others
}

// vanished are the gateways that nobody waits for any longer.
func (p *peers) vanished(now time.Time) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, w := range p.others {
		if now.Sub(w.said) > missed {
			ids = append(ids, id)
		}
	}
	return ids
}

// doubtful tells whether another gateway may hold facts back.
func (p *peers) doubtful() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.others) > 0 && now.Sub(p.asked) > believed {
		return true
	}
	for _, w := range p.others {
		if age := now.Sub(w.said); age >= believed && age <= missed {
			return true
		}
	}
	return false
}

// silent is when no other gateway can believe any longer that this one holds nothing back.
// Something is in the journal when it is asked for, so no new word begins.
func (p *peers) silent() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.word.Add(believed)
}

// awaitSilence waits until what the journal holds can be acknowledged: the other gateways are in
// doubt.
func (s *Store) awaitSilence() {
	time.Sleep(time.Until(s.peers.silent()))
}

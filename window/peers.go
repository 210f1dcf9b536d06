package window

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// A gateway whose journal holds facts knows what Redis does not, so the others must not refuse for want of a
// message. It may be unable to tell them: it is Redis that it cannot reach. So each gateway says the opposite
// as long as it is true, that it holds nothing back, and the others believe it for a moment only. A gateway
// that begins to hold something back waits until nobody can believe otherwise, before it acknowledges.
const (
	beatEvery   = 100 * time.Millisecond
	beatTimeout = 100 * time.Millisecond
	// believed is how long a gateway is taken to hold nothing back, from the beginning of the look that saw it
	// say so.
	believed = time.Second
	// late is how long after a gateway's last look, by Redis's own clock, its next word still counts.
	late = 500 * time.Millisecond
	// unbelieved is how long after its last word nobody can take a gateway to hold nothing back: a look that saw
	// the word began at most that much later.
	unbelieved = believed + beatEvery + beatTimeout
	// missed is how long a gateway that vanished without a goodbye is waited for.
	missed = 5 * time.Minute
)

// peers are the gateways on one Redis: PREFIXgateways is a hash of gateway to a number that grows with
// each time it says that it holds nothing back.
type peers struct {
	mu     sync.Mutex
	asked  time.Time       // when the last look that succeeded began
	heard  time.Time       // when it ended
	clock  int64           // Redis's time of it, unix ms
	others map[string]word // as seen then
	word   time.Time       // until when Redis may count our last word
}

// never is the number of a gateway that has said nothing yet, since it began with facts in its journal.
const never = "0"

// word is what another gateway said last, and since when it stands.
type word struct {
	count string
	seen  time.Time
}

// Beat tells the other gateways on this Redis whether this one holds facts back, and listens to them, until ctx
// ends. A gateway that holds nothing back says goodbye.
func (s *Store) Beat(ctx context.Context) {
	if s.Journal == nil {
		return
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	s.beat(ctx) // learns Redis's time, without which no word counts
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
	clean, clock := s.peers.begin(s.Journal.Empty)
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	args := []any{s.Gateway, 0, clock, late.Milliseconds()}
	if clean {
		args[1] = 1
	}
	for _, id := range s.peers.vanished(began) {
		args = append(args, id)
	}
	said, err := beatScript.Run(ctx, s.rdb, []string{s.Prefix + "gateways"}, args...).StringSlice()
	s.peers.end(s.Gateway, clean, began, said, err)
}

// goodbye leaves the gateways, unless facts are left in the journal.
func (s *Store) goodbye() {
	if !s.Journal.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	_ = s.rdb.HDel(ctx, s.Prefix+"gateways", s.Gateway).Err() // the others then wait for it in vain, for a while
}

// begin tells whether our word is that we hold nothing back, and Redis's time of our last look.
func (p *peers) begin(empty func() bool) (clean bool, clock int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if clean = empty(); clean { // asked under the lock: silence may begin right behind it
		p.word = p.heard.Add(late)
	}
	return clean, p.clock
}

func (p *peers) end(own string, clean bool, began time.Time, said []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || len(said) == 0 {
		return
	}
	p.heard = time.Now()
	if clean && p.heard.Before(p.word) {
		p.word = p.heard
	}
	p.clock, _ = strconv.ParseInt(said[len(said)-1], 10, 64)
	p.asked = began
	others := make(map[string]word, len(said)/2)
	for i := 0; i+2 < len(said); i += 2 {
		id, w := said[i], word{count: said[i+1], seen: began}
		if id == own {
			continue
		}
		if before, known := p.others[id]; known && before.count == w.count {
			w = before
		} else if w.count == never {
			w.seen = began.Add(-believed)
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
		if now.Sub(w.seen) > missed {
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
		if age := now.Sub(w.seen); age > believed && age <= missed {
			return true
		}
	}
	return false
}

// silence returns how long it takes until no other gateway can believe any longer that this one holds nothing
// back. Something is in the journal when it is called, so no new word begins.
func (p *peers) silence() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.word.Add(unbelieved))
}

// awaitSilence waits until what the journal holds can be acknowledged: the other gateways are in doubt.
func (s *Store) awaitSilence() {
	if wait := s.peers.silence(); wait > 0 {
		time.Sleep(wait)
	}
}

package window

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
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
	others map[string]word // as seen then
	word   time.Time       // when the last word of our own ended, said or failed
	saying bool            // one is under way
}

// word is what another gateway said last, and since when it stands.
type word struct {
	count string
	seen  time.Time
}

// beat: ARGV our id, 1 if we hold nothing back, and gateways to forget. Returns the whole hash.
var beatScript = redis.NewScript(`
if ARGV[2] == '1' then redis.call('HINCRBY', KEYS[1], ARGV[1], 1) else redis.call('HSETNX', KEYS[1], ARGV[1], 0) end
for i = 3, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
return redis.call('HGETALL', KEYS[1])`)

// Beat tells the other gateways on this Redis whether this one holds facts back, and listens to them, until ctx
// ends. A gateway that holds nothing back says goodbye.
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
	clean := s.peers.begin(s.Journal.Empty)
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	args := []any{s.Gateway, 0}
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

// begin tells whether our word is that we hold nothing back.
func (p *peers) begin(empty func() bool) (clean bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saying = empty() // asked under the lock: silence may begin right behind it
	return p.saying
}

func (p *peers) end(own string, clean bool, began time.Time, said []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saying = false; clean && !errors.Is(err, store.ErrAway) { // else it was certainly not said
		p.word = time.Now()
	}
	if err != nil {
		return
	}
	p.asked = began
	others := make(map[string]word, len(said)/2)
	for i := 0; i+1 < len(said); i += 2 {
		id, w := said[i], word{count: said[i+1], seen: began}
		if id == own {
			continue
		}
		if before, known := p.others[id]; known && before.count == w.count {
			w = before
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
	if p.saying {
		return unbelieved + beatTimeout
	}
	return time.Until(p.word.Add(unbelieved))
}

// awaitSilence waits until what the journal holds can be acknowledged: the other gateways are in doubt.
func (s *Store) awaitSilence() {
	if wait := s.peers.silence(); wait > 0 {
		time.Sleep(wait)
	}
}

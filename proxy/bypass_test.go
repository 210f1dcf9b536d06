package proxy

import (
	"fmt"
	"sync"
	"testing"

	"replygate/wecom"
)

// seen is a page of kf/sync_msg with a message on each channel.
func seen(channels ...string) (p wecom.Page) {
	for _, c := range channels {
		p.Messages = append(p.Messages, wecom.Message{Channel: c})
	}
	return p
}

// A channel counts as bypassed once something is replied to on it while its pages do not come
// through the gateway, and no longer once they do.
func TestBypass(t *testing.T) {
	t.Parallel()
	type step struct {
		corp, channel string
		page          *wecom.Page // nil: a reply to a customer of whom nothing is on record
		first         bool        // the reply is worth a line in the log
		bypassed      int         // after it
	}
	empty, ofA, ofBoth, codes := wecom.Page{}, seen("a"), seen("a", "b"), wecom.Page{Codes: []wecom.Code{{Channel: "c"}}}
	for name, steps := range map[string][]step{
		"replies alone":                    {{"ww1", "a", nil, true, 1}, {"ww1", "a", nil, false, 1}, {"ww1", "b", nil, true, 2}, {"ww2", "a", nil, true, 3}},
		"pages, then replies":              {{"ww1", "a", &ofA, false, 0}, {"ww1", "a", nil, false, 0}},
		"replies, then pages":              {{"ww1", "a", nil, true, 1}, {"ww1", "a", &ofA, false, 0}, {"ww1", "a", nil, false, 0}},
		"an empty page of the channel":     {{"ww1", "a", nil, true, 1}, {"ww1", "a", &empty, false, 0}},
		"an empty page of all channels":    {{"ww1", "a", nil, true, 1}, {"ww2", "a", nil, true, 2}, {"ww1", "", &empty, false, 1}, {"ww1", "b", nil, false, 1}},
		"a page of all with messages":      {{"ww1", "b", nil, true, 1}, {"ww1", "", &ofA, false, 1}, {"ww1", "", &ofBoth, false, 0}},
		"a page of codes":                  {{"ww1", "c", nil, true, 1}, {"ww1", "", &codes, false, 0}, {"ww1", "", nil, true, 1}},
		"a page that names one has others": {{"ww1", "b", nil, true, 1}, {"ww1", "a", &ofBoth, false, 0}},
		"another corp's page":              {{"ww1", "a", nil, true, 1}, {"ww2", "a", &ofA, false, 1}},
		"a channel with another's name":    {{"ww1", "a", &ofA, false, 0}, {"ww1", "aa", nil, true, 1}, {"ww1a", "", nil, true, 2}},
	} {
		p := NewBypass()
		for i, s := range steps {
			first := false
			if s.page == nil {
				first = p.replyWithoutPages(s.corp, s.channel)
			} else {
				p.pageSeen(s.corp, s.channel, *s.page)
			}
			if n := p.Bypassed(); first != s.first || n != s.bypassed {
				t.Errorf("%s: step %d: first is %v, %d bypassed; want %+v", name, i, first, n, s)
			}
		}
	}
}

// What is remembered is bounded; channels that are known already are still watched.
func TestBypassIsBounded(t *testing.T) {
	t.Parallel()
	p := NewBypass()
	for i := range maxBypassed {
		if !p.replyWithoutPages("ww1", fmt.Sprint(i)) {
			t.Fatalf("channel %d is not noticed", i)
		}
	}
	if p.replyWithoutPages("ww1", "more") || p.Bypassed() != maxBypassed {
		t.Errorf("%d channels are bypassed, %d may be watched", p.Bypassed(), maxBypassed)
	}
	p.pageSeen("ww1", "7", wecom.Page{})
	p.pageSeen("ww1", "more", seen("and", "more"))
	if n := p.Bypassed(); n != maxBypassed-1 || len(p.seen) != maxBypassed {
		t.Errorf("%d channels are bypassed, %d are watched", n, len(p.seen))
	}
}

// Of replies that come at once, one is the first.
func TestBypassAtOnce(t *testing.T) {
	t.Parallel()
	p := NewBypass()
	var all sync.WaitGroup
	var mu sync.Mutex
	firsts := map[string]int{}
	for i := range 64 {
		all.Go(func() {
			channel := fmt.Sprint("wk", i%4)
			first := p.replyWithoutPages("ww1", channel)
			_ = p.Bypassed()
			mu.Lock()
			defer mu.Unlock()
			if first {
				firsts[channel]++
			}
		})
	}
	all.Wait()
	for i := range 4 {
		if n := firsts[fmt.Sprint("wk", i)]; n != 1 {
			t.Errorf("%d first replies on channel %d", n, i)
		}
	}
}

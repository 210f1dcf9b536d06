package proxy

import (
	"sync"

	"replygate/wecom"
)

// Bypass tells whether the bots pull their messages through the gateway. A bot that replies through
// it and pulls past it has no windows: the operator must hear of that.
type Bypass struct {
	mu   sync.Mutex
	seen map[bypassed]bool // true: pulled through the gateway; false: replied to without
}

type bypassed struct{ corp, channel string }

// maxPulls bounds the channels that are watched.
const maxPulls = 10_000

// NewBypass watches from now on.
func NewBypass() *Bypass { return &Bypass{seen: map[bypassed]bool{}} }

// pageSeen notes a page of kf/sync_msg: of the channel that the call names, or of those in the page.
// An empty page of a call without a channel is of all.
func (p *Bypass) pageSeen(corp, channel string, page wecom.Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if channel != "" || len(page.Messages)+len(page.Codes) == 0 {
		p.put(bypassed{corp, channel})
	}
	for _, m := range page.Messages {
		p.put(bypassed{corp, m.Channel})
	}
	for _, c := range page.Codes {
		p.put(bypassed{corp, c.Channel})
	}
}

func (p *Bypass) put(k bypassed) {
	if _, known := p.seen[k]; known || len(p.seen) < maxPulls {
		p.seen[k] = true
	}
}

// replyWithoutPages notes a reply to a customer of whom nothing is on record, and tells whether it is the
// first of a channel that nobody pulls through the gateway.
func (p *Bypass) replyWithoutPages(corp, channel string) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := bypassed{corp, channel}
	_, known := p.seen[k]
	if known || p.seen[bypassed{corp, ""}] || len(p.seen) >= maxPulls {
		return false
	}
	p.seen[k] = false
	return true
}

// Bypassed returns how many channels get replies through the gateway while their messages are pulled
// past it.
func (p *Bypass) Bypassed() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, pulled := range p.seen {
		if !pulled && !p.seen[bypassed{k.corp, ""}] {
			n++
		}
	}
	return n
}

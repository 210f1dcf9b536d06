package proxy

import (
	"sync"

	"replygate/wecom"
)

// Pulls tells whether the bots pull their messages through the gateway. A bot that replies through
// it and pulls past it has no windows: the operator must hear of that.
type Pulls struct {
	mu   sync.Mutex
	seen map[pull]bool // true: pulled through the gateway; false: replied to without
}

type pull struct{ corp, channel string }

// maxPulls bounds the channels that are watched.
const maxPulls = 10_000

// NewPulls watches from now on.
func NewPulls() *Pulls { return &Pulls{seen: map[pull]bool{}} }

// pulled notes a page of kf/sync_msg: of the channel that the call names, or of those in the page.
// An empty page of a call without a channel is of all.
func (p *Pulls) pulled(corp, channel string, page wecom.Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if channel != "" || len(page.Messages)+len(page.Codes) == 0 {
		p.put(pull{corp, channel})
	}
	for _, m := range page.Messages {
		p.put(pull{corp, m.Channel})
	}
	for _, c := range page.Codes {
		p.put(pull{corp, c.Channel})
	}
}

func (p *Pulls) put(k pull) {
	if _, known := p.seen[k]; known || len(p.seen) < maxPulls {
		p.seen[k] = true
	}
}

// missing notes a reply to a customer of whom nothing is on record, and tells whether it is the
// first of a channel that nobody pulls through the gateway.
func (p *Pulls) missing(corp, channel string) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := pull{corp, channel}
	_, known := p.seen[k]
	if known || p.seen[pull{corp, ""}] || len(p.seen) >= maxPulls {
		return false
	}
	p.seen[k] = false
	return true
}

// Past returns how many channels get replies through the gateway while their messages are pulled
// past it.
func (p *Pulls) Past() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, pulled := range p.seen {
		if !pulled && !p.seen[pull{k.corp, ""}] {
			n++
		}
	}
	return n
}

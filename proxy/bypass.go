package proxy

import (
	"sync"

	"replygate/wecom"
)

// Bypass tracks the channels whose messages bots do not pull through the gateway. A bot that
// replies through the gateway and pulls elsewhere has no windows, so the operator is warned.
type Bypass struct {
	mu   sync.Mutex
	seen map[bypassed]bool // true: messages are pulled through the gateway; false: there are only replies
}

type bypassed struct{ corp, channel string }

// maxBypassed bounds the channels that are tracked.
const maxBypassed = 10_000

// NewBypass watches from now on.
func NewBypass() *Bypass { return &Bypass{seen: map[bypassed]bool{}} }

// pageSeen notes a page of kf/sync_msg: of the channel that the call names, or of those in the
// page. An empty page of a call without a channel is a page of all channels.
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
	if _, known := p.seen[k]; known || len(p.seen) < maxBypassed {
		p.seen[k] = true
	}
}

// replyWithoutPages notes a reply to a customer without a record. first reports whether it is the
// first one on a channel whose messages are not pulled through the gateway.
func (p *Bypass) replyWithoutPages(corp, channel string) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := bypassed{corp, channel}
	_, known := p.seen[k]
	if known || p.seen[bypassed{corp, ""}] || len(p.seen) >= maxBypassed {
		return false
	}
	p.seen[k] = false
	return true
}

// Bypassed returns how many channels get replies through the gateway while their messages are not
// pulled through it.
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

// Channels calls visit with those channels until it returns false.
func (p *Bypass) Channels(visit func(corp, channel string) bool) {
	p.mu.Lock()
	var found []bypassed
	for k, pulled := range p.seen {
		if !pulled && !p.seen[bypassed{k.corp, ""}] {
			found = append(found, k)
		}
	}
	p.mu.Unlock()
	for _, k := range found {
		if !visit(k.corp, k.channel) {
			return
		}
	}
}

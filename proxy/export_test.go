package proxy

import (
	"testing"

	"replygate/config"
)

// NeverYield turns the yielder off until the next Use.
func (g *Gateway) NeverYield() { g.yielder.interval.Store(0) }

// Certificate writes a certificate and its key.
func Certificate(t *testing.T) config.TLS {
	f := newCertFiles(t)
	f.write(pair(t, "gateway.example"))
	return f.TLS
}

// Shrink gives an observer a queue of n places.
func (o *Observer) Shrink(n int) { o.queue = make(chan *observation, n) }

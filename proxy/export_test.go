package proxy

// NeverYield turns the yielder off until the next Use.
func (g *Gateway) NeverYield() { g.yielder.interval.Store(0) }

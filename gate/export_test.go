package gate

import "time"

// Distinct returns how many accounts InspectAnyone looks at.
func (g *Gate) Distinct(at time.Time) int { return len(g.distinct.at(g, at)) }

package calls

// Empty takes all counts out of memory, without their days.
func (c *Counters) Empty() map[Call]Counts {
	all := map[Call]Counts{}
	for n, counts := range c.take() {
		all[n.Call] = all[n.Call].Plus(*counts)
	}
	return all
}

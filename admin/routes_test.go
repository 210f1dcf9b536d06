package admin

// Routes lists the operations of the API as METHOD PATH.
func (a *Admin) Routes() (all []string) {
	for _, r := range a.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

package config

import (
	"reflect"
	"slices"
)

// ParseCandidate reads a configuration that somebody sends to learn what it would decide. What
// decides is taken from data: policy, accounts, clients, window and the like. Listeners, stores,
// logs and keys are those of the configuration in force, and so are the accounts if data has none
// or names a file of them. Neither files nor environment variables are read, so a candidate cannot
// be used to learn what is in them.
func ParseCandidate(file string, data []byte, inForce *Config) (*Config, error) {
	d := newDecoder(file)
	d.isolated = true
	c := Default()
	root, ok := d.document(data)
	if !ok {
		return nil, d.mistakes.Err()
	}
	d.walk(root, reflect.ValueOf(&c).Elem(), "")
	d.fillScalars(&c)
	accounts := c.Accounts
	if c.AccountsFile != "" || len(accounts) == 0 { // those in force were checked when they were read
		known := "ww0000000000000000"
		if slices.ContainsFunc(inForce.Accounts, func(a Account) bool { return a.CorpID == c.UnknownToken }) {
			known = c.UnknownToken
		}
		c.Accounts, accounts = []Account{{CorpID: known}}, inForce.Accounts
	}
	c.AccountsFile, c.Callbacks, c.Events = "", nil, Events{}
	c.Listen, c.Admin, c.Upstream, c.Redis, c.Journal = inForce.Listen, inForce.Admin, inForce.Upstream, inForce.Redis, inForce.Journal
	c.Log, c.Shutdown, c.Meter, c.Traces = inForce.Log, inForce.Shutdown, inForce.Meter, inForce.Traces
	c.where = d.where
	validate(&c, d)
	if err := d.mistakes.Err(); err != nil {
		return nil, err
	}
	c.Accounts = accounts
	return &c, nil
}

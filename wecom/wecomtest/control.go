package wecomtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Clock is a clock that tests can stop and move. It runs until Set stops it.
type Clock struct {
	mu     sync.Mutex
	base   time.Time
	since  time.Time // the machine's time at base
	frozen bool
}

// NewClock returns a running clock with the machine's time.
func NewClock() *Clock { return &Clock{base: time.Now(), since: time.Now()} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return c.base
	}
	return c.base.Add(time.Since(c.since))
}

// Set stops the clock at t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.frozen = t, true
}

// Advance moves the clock forward; it stays stopped or running.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = c.base.Add(d)
}

// Run restarts a stopped clock from its current time.
func (c *Clock) Run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		c.since, c.frozen = time.Now(), false
	}
}

// customerWrites is the body of /simulator/customer-writes.
type customerWrites struct {
	CorpID   string `json:"corp_id"`
	Channel  string `json:"channel"`
	Customer string `json:"customer"`
	Text     string `json:"text"`
}

// Control serves the platform together with endpoints for a person who plays the customer:
//
//	POST /simulator/customer-writes  {"corp_id","channel","customer","text"}: adds a message
//	POST /simulator/contacts         {"corp_id","contacts":1999}: sets the number of contacts
//	POST /simulator/advance          {"by":"47h"}: moves the clock
//	GET  /simulator/calls            lists the calls that reached the platform
//
// A malformed request gets HTTP 400, an unknown corp or channel 404.
func (p *Platform) Control(clock *Clock) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /simulator/customer-writes", func(w http.ResponseWriter, r *http.Request) {
		var in customerWrites
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
			http.Error(w, "send a JSON object with corp_id, channel, customer and text", http.StatusBadRequest)
			return
		}
		if !p.hasChannel(in.CorpID, in.Channel) {
			http.Error(w, fmt.Sprintf("the simulated WeCom has no corp %q with a channel %q", in.CorpID, in.Channel), http.StatusNotFound)
			return
		}
		id := p.CustomerWrites(in.CorpID, in.Channel, in.Customer, in.Text)
		writeJSON(w, map[string]any{"msgid": id, "send_time": clock.Now().Unix()})
	})
	mux.HandleFunc("POST /simulator/contacts", p.setContacts)
	mux.HandleFunc("POST /simulator/advance", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			By string `json:"by"`
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in)
		d, bad := time.ParseDuration(in.By)
		if err != nil || bad != nil || d < 0 {
			http.Error(w, `send {"by":"47h"}`, http.StatusBadRequest)
			return
		}
		clock.Advance(d)
		writeJSON(w, map[string]any{"now": clock.Now().Format(time.RFC3339)})
	})
	mux.HandleFunc("GET /simulator/calls", func(w http.ResponseWriter, _ *http.Request) {
		type seen struct {
			Method string `json:"method"`
			Path   string `json:"path"`
			Corp   string `json:"corp_id,omitempty"`
			Code   int    `json:"errcode"`
			Body   string `json:"body,omitempty"`
		}
		all := []seen{}
		for _, c := range p.Calls() {
			all = append(all, seen{c.Method, c.Path, c.Corp, c.Code, string(c.Body[:min(len(c.Body), 1<<10)])})
		}
		writeJSON(w, all)
	})
	mux.Handle("/cgi-bin/", p)
	return mux
}

func (p *Platform) hasChannel(corpID, channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	return c != nil && slices.Contains(c.accounts, channel)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // fails only if the client has disconnected
}

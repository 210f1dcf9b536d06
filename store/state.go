package store

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// State is what Redis says of itself; of a Cluster, of all its primaries together.
type State struct {
	Mode       string    // redis.mode
	Known      bool      // INFO is allowed and was answered; else only Mode is set
	At         time.Time // when it was read
	Primaries  int
	Role       string // master; any other server than a master cannot take writes
	Memory     int64  // bytes in use
	MaxMemory  int64  // bytes; 0: no limit
	Eviction   string // maxmemory-policy
	AppendOnly bool   // every change is written to the disk
}

// State returns what Redis last said of itself. It is read every ten seconds while Redis answers.
func (s *Client) State() State {
	if at := s.state.Load(); at != nil {
		return *at
	}
	return State{Mode: s.mode}
}

// stateEvery is after how many probes the state is read again.
const stateEvery = 10

// readState asks every primary what it is. Without the right to INFO nothing is known.
func (s *Client) readState(ctx context.Context) {
	if s.Embedded != nil {
		return
	}
	state := State{Mode: s.mode, At: s.now(), Known: true, AppendOnly: true, Eviction: noEviction}
	var mu sync.Mutex
	err := s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
		info, err := c.Info(ctx, "replication", "memory", "persistence").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		state.add(info)
		return nil
	})
	if err != nil {
		if s.up.Load() && Classify(err).Has(Outage) { // the next probe tells
			return
		}
		state = State{Mode: s.mode, At: state.At}
	}
	s.state.Store(&state)
}

// noEviction is the only maxmemory-policy that keeps every window.
const noEviction = "noeviction"

// add adds one primary by its reply to INFO.
func (s *State) add(info string) {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(infoField(info, name), 10, 64)
		return n
	}
	s.Primaries++
	s.Memory, s.MaxMemory = s.Memory+number("used_memory"), s.MaxMemory+number("maxmemory")
	s.AppendOnly = s.AppendOnly && infoField(info, "aof_enabled") == "1"
	if role := infoField(info, "role"); s.Role == "" || role != "master" {
		s.Role = role
	}
	if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != noEviction {
		s.Eviction = policy
	}
}

package storetest

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Mortal is the client of a gateway that loses Redis for good, as if the gateway were killed: what
// it holds there stays, and nothing is given back.
type Mortal struct {
	Died chan struct{} // closed then

	at   func(redis.Cmder) bool
	once sync.Once
}

// NewMortal has a client of a single Redis or of a Sentinel die at a command, which is not sent any
// more; at may be nil.
func NewMortal(rdb redis.UniversalClient, at func(redis.Cmder) bool) *Mortal {
	m := &Mortal{Died: make(chan struct{}), at: at}
	rdb.AddHook(m)
	return m
}

// Die ends the client now.
func (m *Mortal) Die() { m.once.Do(func() { close(m.Died) }) }

// Dead reports whether the client has died.
func (m *Mortal) Dead() bool {
	select {
	case <-m.Died:
		return true
	default:
		return false
	}
}

// pass fails commands once the client is dead.
func (m *Mortal) pass(cmds ...redis.Cmder) error {
	if m.at != nil && !m.Dead() && slices.ContainsFunc(cmds, m.at) {
		m.Die()
	}
	if !m.Dead() {
		return nil
	}
	err := &net.OpError{Op: "read", Err: net.ErrClosed}
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
	return err
}

// DialHook changes nothing.
func (m *Mortal) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook fails a command once the client is dead.
func (m *Mortal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := m.pass(cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook fails a pipeline once the client is dead.
func (m *Mortal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := m.pass(cmds...); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

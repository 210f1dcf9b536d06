package store

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// ErrAway says that a Redis did not answer lately and was not asked again.
var ErrAway = errors.New("redis is away: not asked")

const (
	breakAfter = 10                     // failures in a row
	breakFor   = 500 * time.Millisecond // then one command tries again
)

// breaker keeps calls from waiting, each for its own timeout, for a Redis that does not answer.
// Each node of a Cluster has one of its own.
type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[any]
	failed         func() // is called for every command that met an outage
	answered       func() // is called for every other one that was sent
	primaryChanged func() // is called when a connection comes to another master than those before
	lastPrimary    *atomic.Value
}

func newBreaker(failed, answered, moved func()) breaker {
	return breaker{failed: failed, answered: answered, primaryChanged: moved, lastPrimary: &atomic.Value{}, TwoStepCircuitBreaker: gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:      breakFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsSuccessful: func(err error) bool { return !isOutage(err) },
	})}
}

// record takes in how a command ended. That a node of a Cluster cannot tell where slots are is no
// outage: any other can, and it may be one that has none.
func (b breaker) record(done func(error), cmd redis.Cmder, err error) error {
	done(err)
	switch {
	case isOutage(err) && cmd.Name() != "cluster":
		b.failed()
	case !isOutage(err) && !errors.Is(err, context.Canceled):
		b.answered()
	}
	return err
}

// isOutage reports whether an error means that Redis does not serve.
func isOutage(err error) bool { return Classify(err).Has(Outage) }

// DialHook notices another master: with sentinels a client changes over without a single failed
// command. Where INFO is allowed the greeting tells more.
func (b breaker) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err == nil {
			now := conn.RemoteAddr().String()
			if before := b.lastPrimary.Swap(now); before != nil && before != now {
				b.primaryChanged()
			}
		}
		return conn, err
	}
}

// isHandshake tells whether a command belongs to the greeting on a new connection: go-redis sends it
// through the same hooks, inside the command that needs the connection. The watch asks INFO too,
// and may ask a Redis that is away.
func isHandshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client", "readonly", "info":
		return true
	}
	return false
}

// ProcessHook asks, or says that Redis is away.
func (b breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if isHandshake(cmd) {
			return next(ctx, cmd)
		}
		done, err := b.Allow()
		if err != nil {
			cmd.SetErr(ErrAway)
			return ErrAway
		}
		return b.record(done, cmd, next(ctx, cmd))
	}
}

// ProcessPipelineHook is ProcessHook for a pipeline.
func (b breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if isHandshake(cmds[0]) {
			return next(ctx, cmds)
		}
		done, err := b.Allow()
		if err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(ErrAway)
			}
			return ErrAway
		}
		return b.record(done, cmds[0], next(ctx, cmds))
	}
}

package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// ErrAway is the error of a command that was not sent, since Redis did not answer those before.
var ErrAway = errors.New("redis is away: the command was not sent")

const (
	breakAfter = 10                     // consecutive failures that open the circuit
	breakFor   = 500 * time.Millisecond // how long it stays open; then one command is tried
)

// breaker is a circuit breaker, so that calls do not wait, each for its own timeout, for a Redis
// that does not answer. Each node of a Cluster has its own.
type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[any]
	failed   func() // called for every command that met an outage
	answered func() // called for every other command that was sent
}

func newBreaker(failed, answered func()) breaker {
	return breaker{failed: failed, answered: answered, TwoStepCircuitBreaker: gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:      breakFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsSuccessful: func(err error) bool { return !isOutage(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) }, // its caller left
	})}
}

// record counts the result of a command. A failed CLUSTER command is no outage: go-redis sends it
// to any node, also to one without slots, and asks another one next.
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

// DialHook is part of a redis.Hook.
func (b breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

// isHandshake reports whether a command belongs to the handshake of a new connection. go-redis
// sends it through the same hooks, inside the command that needs the connection.
func isHandshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client", "readonly":
		return true
	}
	return false
}

// ProcessHook sends a command, or fails with ErrAway while the circuit is open. A PING is always
// sent: it finds out that Redis answers again, and opens connections that other commands then use.
func (b breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if isHandshake(cmd) {
			return next(ctx, cmd)
		}
		if cmd.Name() == "ping" {
			return b.record(func(error) {}, cmd, next(ctx, cmd))
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

package store

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// replyError is an error reply of Redis.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

// circuit is a breaker in front of a Redis that fails as the test says.
type circuit struct {
	breaker
	result           error // of the next commands
	sent             int   // commands that reached Redis
	failed, answered int   // calls of the breaker's functions
}

func newCircuit() *circuit {
	c := &circuit{}
	c.breaker = newBreaker(func() { c.failed++ }, func() { c.answered++ })
	return c
}

func (c *circuit) do(name string) error {
	cmd := redis.NewCmd(context.Background(), name)
	err := c.ProcessHook(func(_ context.Context, cmd redis.Cmder) error {
		c.sent++
		cmd.SetErr(c.result)
		return c.result
	})(context.Background(), cmd)
	if !errors.Is(err, cmd.Err()) {
		return errors.New("the command has another error than the hook")
	}
	return err
}

func (c *circuit) fail(n int) {
	c.result = io.EOF
	for range n {
		_ = c.do("get")
	}
}

// awaitProbe waits until the open circuit lets a command through.
func (c *circuit) awaitProbe(t *testing.T) {
	t.Helper()
	before := c.sent
	for deadline := time.Now().Add(10 * breakFor); c.sent == before; time.Sleep(breakFor / 20) {
		if _ = c.do("get"); time.Now().After(deadline) {
			t.Fatal("the circuit stays open")
		}
	}
}

func TestBreakerOpensAfterConsecutiveFailures(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	c.fail(breakAfter - 1)
	c.result = nil
	if err := c.do("get"); err != nil {
		t.Fatalf("the circuit is open after %d failures: %v", breakAfter-1, err)
	}
	c.fail(breakAfter - 1) // the success has reset the count
	if c.sent != 2*breakAfter-1 {
		t.Fatalf("%d commands were sent, want %d", c.sent, 2*breakAfter-1)
	}
	c.fail(1)
	sent := c.sent
	if err := c.do("get"); !errors.Is(err, ErrAway) || c.sent != sent {
		t.Errorf("after %d failures: %v, sent %v", breakAfter, err, c.sent != sent)
	}
}

func TestBreakerProbesAndCloses(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	c.fail(breakAfter)
	c.awaitProbe(t) // fails, so the circuit is open again
	sent := c.sent
	if err := c.do("get"); !errors.Is(err, ErrAway) || c.sent != sent {
		t.Fatalf("after a failed probe: %v", err)
	}
	c.result = nil
	c.awaitProbe(t)
	for range 3 {
		if err := c.do("get"); err != nil {
			t.Fatalf("after a successful probe: %v", err)
		}
	}
}

// A probe whose caller leaves neither closes the circuit nor opens it for longer.
func TestBreakerProbeIsCancelled(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	c.fail(breakAfter)
	c.result = context.Canceled
	c.awaitProbe(t)
	sent := c.sent
	c.fail(1) // the next probe
	if err := c.do("get"); !errors.Is(err, ErrAway) || c.sent != sent+1 {
		t.Errorf("after a failed probe: %v, %d commands were sent", err, c.sent-sent)
	}
}

// What a result does to the circuit and to the two functions.
func TestBreakerResults(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		name             string
		command          string
		result           error
		opens            bool
		failed, answered int
	}{
		{"success", "get", nil, false, 0, breakAfter},
		{"no such key", "get", redis.Nil, false, 0, breakAfter},
		{"a refused command", "get", replyError("WRONGTYPE Operation against a key"), false, 0, breakAfter},
		{"the caller gave up", "get", context.Canceled, false, 0, 0},
		{"timeout", "get", context.DeadlineExceeded, true, breakAfter, 0},
		{"loading", "get", replyError("LOADING Redis is loading"), true, breakAfter, 0},
		{"a node without slots", "cluster", io.EOF, true, 0, 0},
	} {
		c := newCircuit()
		c.result = r.result
		for range breakAfter {
			_ = c.do(r.command)
		}
		sent := c.sent
		_ = c.do(r.command)
		if opens := c.sent == sent; opens != r.opens {
			t.Errorf("%s: the circuit opens: %v, want %v", r.name, opens, r.opens)
		}
		if !r.opens && r.answered > 0 {
			c.answered-- // of the last command
		}
		if c.failed != r.failed || c.answered != r.answered {
			t.Errorf("%s: failed %d, answered %d; want %d, %d", r.name, c.failed, c.answered, r.failed, r.answered)
		}
	}
}

// The handshake of a connection passes an open circuit, since it is part of a command that passed.
func TestBreakerPassesHandshake(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	c.fail(breakAfter)
	for _, name := range []string{"hello", "auth", "select", "client", "readonly"} {
		sent := c.sent
		if _ = c.do(name); c.sent != sent+1 {
			t.Errorf("%s is not sent", name)
		}
	}
	for _, name := range []string{"set", "info"} {
		sent := c.sent
		if err := c.do(name); !errors.Is(err, ErrAway) || c.sent != sent {
			t.Errorf("%s: %v, sent %v", name, err, c.sent != sent)
		}
	}
}

// A PING is sent whatever the circuit says. Its failures do not open the circuit, and its answer
// does not close it, yet both say whether Redis answers.
func TestBreakerPassesPings(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	c.result = io.EOF
	for range 2 * breakAfter {
		_ = c.do("ping")
	}
	c.result = nil
	if err := c.do("get"); err != nil {
		t.Fatalf("failed pings opened the circuit: %v", err)
	}
	c.fail(breakAfter)
	c.result, c.failed, c.answered = nil, 0, 0
	if err := c.do("ping"); err != nil || c.answered != 1 {
		t.Errorf("a ping while the circuit is open: %v, answered %d", err, c.answered)
	}
	if err := c.do("get"); !errors.Is(err, ErrAway) {
		t.Errorf("a ping closed the circuit: %v", err)
	}
}

func TestBreakerPipeline(t *testing.T) {
	t.Parallel()
	c := newCircuit()
	send := func(names ...string) (cmds []redis.Cmder, err error) {
		for _, name := range names {
			cmds = append(cmds, redis.NewCmd(context.Background(), name))
		}
		return cmds, c.ProcessPipelineHook(func(context.Context, []redis.Cmder) error {
			c.sent++
			return c.result
		})(context.Background(), cmds)
	}
	c.result = io.EOF
	for range breakAfter {
		if _, err := send("get", "get"); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	cmds, err := send("get", "set")
	if !errors.Is(err, ErrAway) || c.sent != breakAfter {
		t.Errorf("pipeline %d: %v", c.sent, err)
	}
	for _, cmd := range cmds {
		if !errors.Is(cmd.Err(), ErrAway) {
			t.Errorf("%s: %v", cmd.Name(), cmd.Err())
		}
	}
	if _, err := send("hello", "client"); !errors.Is(err, io.EOF) || c.sent != breakAfter+1 {
		t.Errorf("a handshake: %v", err)
	}
	if c.failed != breakAfter {
		t.Errorf("%d failures, want one for each pipeline: %d", c.failed, breakAfter)
	}
}

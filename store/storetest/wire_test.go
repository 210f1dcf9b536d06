package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo is a server that returns every line it reads, and counts its connections.
func echo(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// client is a connection through a Wire.
type client struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, w *Wire) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", w.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

// say sends a line and returns what comes back within a time.
func (c *client) say(text string, within time.Duration) (string, error) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, text+"\n"); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		c.Fatal(err)
	}
	line, err := c.in.ReadString('\n')
	return line, err
}

// echoes expects a line to come back.
func (c *client) echoes(text string) {
	c.Helper()
	if got, err := c.say(text, 10*time.Second); got != text+"\n" || err != nil {
		c.Fatalf("%q comes back as %q, %v", text, got, err)
	}
}

func TestWireForwards(t *testing.T) {
	t.Parallel()
	w := NewWire(t, echo(t))
	one, two := dial(t, w), dial(t, w)
	for range 3 {
		one.echoes("one")
		two.echoes("two")
	}
}

// An end that closes closes the other one.
func TestWireClosesBothEnds(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w := NewWire(t, ln.Addr().String())
	for _, clientCloses := range []bool{true, false} {
		c := dial(t, w)
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		closing, other := net.Conn(c), server
		if !clientCloses {
			closing, other = server, c
		}
		closing.Close()
		_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("client closes: %v: the other end reads %v, want EOF", clientCloses, err)
		}
		server.Close()
	}
}

func TestWireReset(t *testing.T) {
	t.Parallel()
	w := NewWire(t, echo(t))
	c := dial(t, w)
	c.echoes("before")
	w.Reset()
	if _, err := c.say("after", 10*time.Second); !isReset(err) {
		t.Errorf("a reset connection fails with %v", err)
	}
	dial(t, w).echoes("a new connection")
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}

// While it is cut, open connections are reset and new ones end at once; Heal lets new ones through.
func TestWireCut(t *testing.T) {
	t.Parallel()
	w := NewWire(t, echo(t))
	open := dial(t, w)
	open.echoes("before")
	w.Cut()
	if _, err := open.say("cut", 10*time.Second); !isReset(err) {
		t.Errorf("an open connection fails with %v", err)
	}
	if got, err := dial(t, w).say("cut", 10*time.Second); !isReset(err) {
		t.Errorf("a new connection reads %q, %v", got, err)
	}
	w.Heal()
	dial(t, w).echoes("healed")
}

// While it hangs nothing arrives and connections stay open; Heal delivers what was held back.
func TestWireHang(t *testing.T) {
	t.Parallel()
	w := NewWire(t, echo(t))
	c := dial(t, w)
	c.echoes("before")
	w.Hang()
	w.Hang() // a second call changes nothing
	if got, err := c.say("held", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a hanging wire delivers %q, %v", got, err)
	}
	w.Heal()
	w.Heal()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := c.in.ReadString('\n'); got != "held\n" || err != nil {
		t.Errorf("after Heal: %q, %v", got, err)
	}
	c.echoes("after")
}

func TestWireDelay(t *testing.T) {
	t.Parallel()
	const delay = 50 * time.Millisecond
	w := NewWire(t, echo(t))
	c := dial(t, w)
	w.Delay(delay)
	began := time.Now()
	c.echoes("slow")
	if took := time.Since(began); took < 2*delay { // there and back
		t.Errorf("a round trip takes %s, want %s at least", took, 2*delay)
	}
}

// All connections share a limit, fairly: one that has little to send is not kept waiting by one
// that has much.
func TestWireLimit(t *testing.T) {
	t.Parallel()
	const rate, much = 200_000, 100_000
	w := NewWire(t, echo(t))
	one, two := dial(t, w), dial(t, w)
	one.echoes("before")
	w.Limit(rate)
	began := time.Now()
	done := make(chan time.Duration)
	go func() {
		_ = one.SetDeadline(time.Now().Add(time.Minute))
		go func() { _, _ = one.Write(bytes.Repeat([]byte{'x'}, much)) }()
		n, _ := io.ReadFull(one.in, make([]byte, much))
		if n != much {
			t.Errorf("%d bytes come back, want %d", n, much)
		}
		done <- time.Since(began)
	}()
	two.echoes("little")
	little, all := time.Since(began), <-done
	if least := much * time.Second / rate; all < least-2*maxBurst {
		t.Errorf("%d bytes take %s, want %s at least", much, all, least)
	}
	if little > all/2 {
		t.Errorf("a line beside them takes %s of their %s", little, all)
	}
	w.Limit(1)
	w.Heal()
	one.echoes("healed")
}

// A server that does not listen ends the connection, and the Wire goes on.
func TestWireWithoutServer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	w := NewWire(t, addr)
	for range 2 {
		if got, err := dial(t, w).say("x", 10*time.Second); !isReset(err) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// A Wire that hangs still ends with its test.
func TestWireEndsWhileHanging(t *testing.T) {
	t.Parallel()
	var w *Wire
	t.Run("hanging", func(t *testing.T) {
		w = NewWire(t, echo(t))
		c := dial(t, w)
		c.echoes("before")
		w.Hang()
		_, _ = c.say("held", 10*time.Millisecond)
	})
	if _, err := w.Accept(); !errors.Is(err, net.ErrClosed) || len(w.open) > 0 {
		t.Errorf("after its test it accepts connections (%v), and has %d", err, len(w.open))
	}
}

// A connection that is made just as the test ends does not keep it from ending.
func TestWireEndsDuringAConnection(t *testing.T) {
	t.Parallel()
	to := echo(t)
	for range 50 {
		var c net.Conn
		t.Run("connecting", func(t *testing.T) {
			w := NewWire(t, to)
			var err error
			if c, err = net.Dial("tcp", w.Addr().String()); err != nil { // it outlives the wire
				t.Fatal(err)
			}
		})
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is open after the test")
		}
		c.Close()
	}
}

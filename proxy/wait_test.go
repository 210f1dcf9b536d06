package proxy

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Places are bounded in number and in bytes, of one account and of all, and those given back are
// free again.
func TestWaiters(t *testing.T) {
	accounts := maxInAll.calls / maxOfAccount.calls
	for name, test := range map[string]struct {
		bytes           int // of each call
		ofOne, ofAnyone int // so many may wait
	}{
		"small": {1 << 10, maxOfAccount.calls, maxInAll.calls},
		"large": {1 << 20, maxOfAccount.bytes >> 20, maxInAll.bytes >> 20},
		"empty": {0, maxOfAccount.calls, maxInAll.calls},
		"none":  {maxOfAccount.bytes + 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var w waiters
			fill := func(corp string) (n int) {
				for w.enter(corp, test.bytes) {
					n++
				}
				return n
			}
			if n := fill("ww0"); n != test.ofOne {
				t.Errorf("%d calls of one account wait, want %d", n, test.ofOne)
			}
			total := test.ofOne
			for i := range accounts + 1 {
				total += fill(fmt.Sprint("ww", i+1))
			}
			if total != test.ofAnyone || w.calls() != total {
				t.Errorf("%d calls wait, by its own count %d; want %d", total, w.calls(), test.ofAnyone)
			}
			if total == 0 {
				return
			}
			w.leave("ww0", test.bytes)
			if !w.enter("ww0", test.bytes) || w.enter("ww0", test.bytes) {
				t.Error("a place that was given back is not free, or more than one is")
			}
		})
	}
}

// What waits and leaves leaves nothing behind.
func TestWaitersEnd(t *testing.T) {
	var w waiters
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			for i := range 200 {
				corp := fmt.Sprint("ww", (n+i)%5)
				if w.enter(corp, n) {
					w.leave(corp, n)
				}
			}
		})
	}
	all.Wait()
	if w.all != (load{}) || len(w.ofAccount) != 0 {
		t.Errorf("%+v are left, of %d accounts", w.all, len(w.ofAccount))
	}
}

// A client that left is told from one that is there, over TLS too, and also where bytes of it were
// not read; what is no connection of the system tells nothing.
func TestPeer(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for name, test := range map[string]struct {
			does func(*net.TCPConn)
			want peerState
		}{
			"stays":              {func(*net.TCPConn) {}, peerThere},
			"sends":              {func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) }, peerThere},
			"closes":             {func(c *net.TCPConn) { c.Close() }, peerGone},
			"closes for writing": {func(c *net.TCPConn) { _ = c.CloseWrite() }, peerGone},
			"sends and closes":   {func(c *net.TCPConn) { _, _ = c.Write([]byte("x")); c.Close() }, peerGone},
			"resets":             {func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }, peerGone},
		} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				near, far := tcpPair(t)
				c := &clientConn{Conn: near}
				if secure {
					c.Conn = tls.Server(near, &tls.Config{}) // it need not have greeted
				}
				if got := c.peer(); got != peerThere {
					t.Fatalf("at first: %d", got)
				}
				test.does(far)
				for deadline := time.Now().Add(5 * time.Second); c.peer() != test.want; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%d, want %d", c.peer(), test.want)
					}
				}
			})
		}
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if got := (&clientConn{Conn: near}).peer(); got != peerUnknown {
		t.Errorf("of a pipe: %d", got)
	}
	own, _ := tcpPair(t)
	own.Close()
	if got := (&clientConn{Conn: own}).peer(); got == peerThere {
		t.Error("a connection that is closed here has a client")
	}
}

// tcpPair is a connection over loopback, from both ends.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); c.Close() })
	return a.(*net.TCPConn), c.(*net.TCPConn)
}

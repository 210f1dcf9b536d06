package storetest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is a connection between two programs that a test can cut, hang, slow down and reset.
type Wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	delay time.Duration // of every piece, in each direction
	hang  chan struct{} // nothing moves until it is closed
	cut   bool          // new connections are refused at once
	done  sync.WaitGroup
}

// NewWire listens on a free loopback port and carries what comes to an address. It ends with the
// test.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Listener: ln, to: to, open: map[net.Conn]struct{}{}}
	w.done.Go(w.serve)
	t.Cleanup(func() {
		ln.Close()
		w.Heal()
		w.Reset()
		w.done.Wait()
	})
	return w
}

func (w *Wire) serve() {
	for {
		near, err := w.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		far, err := net.Dial("tcp", w.to)
		if err != nil || cut {
			near.Close()
			if err == nil {
				far.Close()
			}
			continue
		}
		w.mu.Lock()
		w.open[near], w.open[far] = struct{}{}, struct{}{}
		w.mu.Unlock()
		w.done.Go(func() { w.carry(near, far) })
		w.done.Go(func() { w.carry(far, near) })
	}
}

// carry moves bytes one way until either end is closed.
func (w *Wire) carry(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		w.mu.Lock()
		delete(w.open, from)
		w.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		hang, delay := w.hang, w.delay
		w.mu.Unlock()
		if hang != nil {
			<-hang
		}
		time.Sleep(delay)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut refuses new connections and resets those that are open.
func (w *Wire) Cut() {
	w.mu.Lock()
	w.cut = true
	w.mu.Unlock()
	w.Reset()
}

// Reset resets every connection that is open.
func (w *Wire) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// Hang holds everything back.
func (w *Wire) Hang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hang == nil {
		w.hang = make(chan struct{})
	}
}

// Delay slows every piece down.
func (w *Wire) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// Heal lets everything through again.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.delay = false, 0
	if w.hang != nil {
		close(w.hang)
		w.hang = nil
	}
}

package storetest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is a TCP proxy that a test can cut, pause, delay, slow down and reset.
type Wire struct {
	net.Listener
	to string

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	delay time.Duration // before every piece, in each direction
	rate  int           // bytes a second in each direction, for all connections together; 0: no limit
	free  [2]time.Time  // from when on a direction can take more at that rate
	hang  chan struct{} // nothing is copied until it is closed; nil: not paused
	cut   bool          // new connections are closed at once
	done  sync.WaitGroup
}

// NewWire starts a proxy on a free loopback port that forwards to an address. It ends with the
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
		w.Heal() // what hangs would never end
		w.Cut()
		w.done.Wait()
	})
	return w
}

func (w *Wire) serve() {
	for {
		client, err := w.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.to)
		if err != nil {
			client.Close()
			continue
		}
		if !w.register(client, server) {
			client.Close()
			server.Close()
			continue
		}
		w.done.Go(func() { w.copyBytes(client, server, &w.free[0]) })
		w.done.Go(func() { w.copyBytes(server, client, &w.free[1]) })
	}
}

// register notes a pair of connections as open, unless the wire is cut. No pair that began before a
// Cut can outlive it.
func (w *Wire) register(client, server net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	w.open[client], w.open[server] = struct{}{}, struct{}{}
	return true
}

// copyBytes copies bytes one way until either end is closed. free is that of the direction.
func (w *Wire) copyBytes(from, to net.Conn, free *time.Time) {
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
		for rest := buf[:n]; len(rest) > 0; {
			packet := rest[:w.pace(len(rest), free)]
			if _, err := to.Write(packet); err != nil {
				return
			}
			rest = rest[len(packet):]
		}
		if err != nil {
			return
		}
	}
}

const (
	packetSize = 1460                  // bytes that a limited Wire sends at once, so that connections share it
	maxBurst   = 10 * time.Millisecond // how much of the rate a pause may leave for later
)

// pace waits until a direction can take the next packet, and returns how many of n bytes that is.
func (w *Wire) pace(n int, free *time.Time) int {
	w.mu.Lock()
	if w.rate == 0 {
		w.mu.Unlock()
		return n
	}
	n = min(n, packetSize)
	if earliest := time.Now().Add(-maxBurst); free.Before(earliest) {
		*free = earliest
	}
	*free = free.Add(time.Duration(n) * time.Second / time.Duration(w.rate))
	wait := time.Until(*free)
	w.mu.Unlock()
	time.Sleep(wait)
	return n
}

// Cut closes new connections at once, and resets those that are open.
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

// Hang stops all copying until Heal. Connections stay open.
func (w *Wire) Hang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hang == nil {
		w.hang = make(chan struct{})
	}
}

// Delay delays every piece by d, in each direction.
func (w *Wire) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// Limit lets through so many bytes a second in each direction, which all connections share.
func (w *Wire) Limit(bytesPerSecond int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rate, w.free = bytesPerSecond, [2]time.Time{}
}

// Heal ends Cut, Hang, Delay and Limit.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.delay, w.rate = false, 0, 0
	if w.hang != nil {
		close(w.hang)
		w.hang = nil
	}
}

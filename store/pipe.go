package store

import (
	"net"
	"sync"
)

// pipe is the client's end of an in-process connection. net.Pipe has no buffer: a client that
// writes a long pipeline and a server that answers the first command would deadlock. So a separate
// goroutine does the writing, which ends with the connection.
type pipe struct {
	net.Conn
	pending chan []byte
	closed  chan struct{}
	once    sync.Once
}

func newPipe(c net.Conn) *pipe {
	p := &pipe{Conn: c, pending: make(chan []byte, 16), closed: make(chan struct{})}
	go p.drain()
	return p
}

// drain writes what Write has queued, until the pipe is closed.
func (p *pipe) drain() {
	for {
		select {
		case b := <-p.pending:
			if _, err := p.Conn.Write(b); err != nil {
				p.Close()
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Write queues a copy of b. If writing fails, the connection is closed, and reading the reply
// fails.
func (p *pipe) Write(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	case p.pending <- append([]byte(nil), b...):
		return len(b), nil
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

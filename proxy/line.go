package proxy

import "bytes"

// lineWatch finds out whether a request line ends in a bare LF. The server library takes that for a
// line's end and does not tell; every other line of a head is seen as it came. So the bytes are
// looked at as they come from the client.
type lineWatch struct {
	last      byte // the byte read last
	length    int  // of the line so far
	ended     bool // the request line has ended
	bare      bool // it ended in a bare LF
	loose     bool // a bare LF stands somewhere behind it, as in many a body
	between   bool // the request before has ended, and nothing was read since
	pipelined bool // this request began in what was read with the one before
}

// read looks at bytes that came.
func (w *lineWatch) read(p []byte) {
	if len(p) == 0 {
		return
	}
	if w.between {
		*w = lineWatch{last: w.last}
	}
	if !w.ended {
		p = w.readLine(p)
	}
	for !w.loose {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			w.last = p[i-1]
		}
		w.loose = w.last != '\r'
		w.last, p = '\n', p[i+1:]
	}
	if len(p) > 0 {
		w.last = p[len(p)-1]
	}
}

// readLine reads to the end of the request line, empty lines before it aside, and returns what is
// behind.
func (w *lineWatch) readLine(p []byte) []byte {
	for len(p) > 0 && !w.ended {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.length += len(p)
			w.last = p[len(p)-1]
			return nil
		}
		if i > 0 {
			w.last = p[i-1]
		}
		w.bare = w.last != '\r'
		w.ended = w.bare || w.length+i > 1
		w.length, w.last, p = 0, '\n', p[i+1:]
	}
	return p
}

// idle notes that a request has ended.
func (w *lineWatch) idle() { w.between, w.pipelined = true, false }

// active notes that a request has begun.
func (w *lineWatch) active() {
	w.pipelined = w.between
	w.between = false
}

// odd tells whether the request line ended, or may have ended, in a bare LF. Of a pipelined request
// nobody can tell where its line stood in what was read.
func (w *lineWatch) odd() bool { return w.bare || w.pipelined && w.loose }

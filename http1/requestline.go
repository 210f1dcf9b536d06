package http1

import "bytes"

// RequestLineScanner finds out whether a request line ends in a bare LF. The server library takes that for a
// line's end and does not tell; every other line of a head is seen as it came. So the bytes are
// looked at as they come from the client.
type RequestLineScanner struct {
	last       byte // the byte read last
	length     int  // of the line so far
	ended      bool // the request line has ended
	bareLF     bool // it ended in a bare LF
	bareLFSeen bool // a bare LF stands somewhere behind it, as in many a body
	between    bool // the request before has ended, and nothing was read since
	pipelined  bool // this request began in what was read with the one before
}

// Read looks at bytes that came.
func (w *RequestLineScanner) Read(p []byte) {
	if len(p) == 0 {
		return
	}
	if w.between {
		*w = RequestLineScanner{last: w.last}
	}
	if !w.ended {
		p = w.readLine(p)
	}
	for !w.bareLFSeen {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			w.last = p[i-1]
		}
		w.bareLFSeen = w.last != '\r'
		w.last, p = '\n', p[i+1:]
	}
	if len(p) > 0 {
		w.last = p[len(p)-1]
	}
}

// readLine reads to the end of the request line, empty lines before it aside, and returns what is
// behind.
func (w *RequestLineScanner) readLine(p []byte) []byte {
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
		w.bareLF = w.last != '\r'
		w.ended = w.bareLF || w.length+i > 1
		w.length, w.last, p = 0, '\n', p[i+1:]
	}
	return p
}

// RequestEnded notes that a request has ended.
func (w *RequestLineScanner) RequestEnded() { w.between, w.pipelined = true, false }

// RequestBegan notes that a request has begun.
func (w *RequestLineScanner) RequestBegan() {
	w.pipelined = w.between
	w.between = false
}

// Ambiguous tells whether the request line ended, or may have ended, in a bare LF. Of a pipelined request
// nobody can tell where its line stood in what was read.
func (w *RequestLineScanner) Ambiguous() bool { return w.bareLF || w.pipelined && w.bareLFSeen }

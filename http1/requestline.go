package http1

import "bytes"

// RequestLineScanner finds request lines that end in a bare LF (RFC 9112, section 2.2). The server
// library accepts them and does not report it, while every other line of a head can be checked as
// it came. So the scanner sees the bytes of a connection as they are read. The zero value is at its
// start.
type RequestLineScanner struct {
	last       byte // the byte read last
	length     int  // of the line so far
	ended      bool // the request line has ended
	bareLF     bool // it ended in a bare LF
	bareLFSeen bool // there was a bare LF after it, as in many bodies
	between    bool // the request before has ended, and nothing was read since
	pipelined  bool // this request began in what was read with the one before
}

// Read scans bytes that were read from the connection.
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

// readLine scans to the end of the request line, skips empty lines before it, and returns the rest.
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

// Ambiguous reports whether the request line ended, or may have ended, in a bare LF. The line of a
// pipelined request may be anywhere in the bytes that were read with the request before.
func (w *RequestLineScanner) Ambiguous() bool { return w.bareLF || w.pipelined && w.bareLFSeen }

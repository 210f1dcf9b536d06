package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"strconv"

	"github.com/valyala/fasthttp"

	"replygate/http1"
)

// Request is a request to the upstream. Its header block is the client's, minus hop-by-hop headers.
// http1.CheckRequest must have passed the head.
type Request struct {
	Head          *fasthttp.RequestHeader
	Target        []byte
	Host          string
	Body          []byte      // the whole body,
	Stream        Stream      // or one that streams
	Identity      bool        // no compression is asked for: the answer is read
	KeepForwarded bool        // what proxies say of each other, and of traces, goes on too
	Dropped       func() bool // is called before the first byte: true if the request is no longer needed; nil: it is sent
}

// Stream is a request body that is read while it is sent.
type Stream interface {
	io.Reader

	// Len is the length of the body in bytes; -1: it is not known, and goes out in chunks.
	Len() int

	// Rewind starts the body from its beginning, for another attempt, and reports whether it can.
	// It must be able to as long as no more than MaxUnsent bytes were read.
	Rewind() bool
}

// MaxUnsent bounds what of a body can have been read while not one byte was written upstream:
// the writer's buffer.
const MaxUnsent = 16 << 10

// rewind makes the request ready for another attempt, and reports whether it can.
func (o *Request) rewind() bool { return o.Stream == nil || o.Stream.Rewind() }

// writeTo writes the request.
func (o *Request) writeTo(w *bufio.Writer) error {
	_, _ = w.Write(o.Head.Method()) // a bufio.Writer keeps its first error
	_ = w.WriteByte(' ')
	_, _ = w.Write(o.Target)
	_, _ = w.WriteString(" HTTP/1.1\r\nHost: ")
	_, _ = w.WriteString(o.Host)
	_, _ = w.WriteString("\r\n")
	listed := http1.ListedHeaders(o.Head.PeekAll("Connection"))
	for block := o.Head.RawHeaders(); len(block) > 0; {
		end := bytes.IndexByte(block, '\n') + 1
		if end <= len("\r\n") {
			break
		}
		line := block[:end]
		block = block[end:]
		if name := line[:bytes.IndexByte(line, ':')]; !o.drops(name, listed) {
			_, _ = w.Write(line)
		}
	}
	switch {
	case o.Stream == nil:
		return o.writeWhole(w)
	case o.Stream.Len() < 0:
		return o.writeChunked(w)
	}
	writeLength(w, o.Stream.Len())
	n, err := io.Copy(w, o.Stream)
	if err == nil && n != int64(o.Stream.Len()) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (o *Request) writeWhole(w *bufio.Writer) error {
	if len(o.Body) == 0 && !o.mayHaveBody() {
		_, err := w.WriteString("\r\n")
		return err
	}
	writeLength(w, len(o.Body))
	_, err := w.Write(o.Body)
	return err
}

// mayHaveBody reports whether the request needs a Content-Length although its body is empty.
func (o *Request) mayHaveBody() bool {
	return !o.Head.IsGet() && !o.Head.IsHead() || len(o.Head.Peek("Content-Length")) > 0
}

func writeLength(w *bufio.Writer, n int) {
	_, _ = w.WriteString("Content-Length: ")
	_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(n), 10))
	_, _ = w.WriteString("\r\n\r\n")
}

func (o *Request) writeChunked(w *bufio.Writer) error {
	_, _ = w.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	chunks := httputil.NewChunkedWriter(w)
	if _, err := io.CopyBuffer(chunks, o.Stream, make([]byte, MaxUnsent/2)); err != nil { // in pieces that can be sent again
		return err
	}
	_ = chunks.Close()
	_, err := w.WriteString("\r\n")
	return err
}

// drops reports whether a header is not sent: it belongs to one connection, writeTo writes it, a
// client or a proxy before the gateway describes itself in it, or it tells of a trace.
func (o *Request) drops(name []byte, listed http1.HeaderNames) bool {
	return listed.Has(name) || http1.SameName(name, "Host") || http1.SameName(name, "Content-Length") || o.Identity && http1.SameName(name, "Accept-Encoding") ||
		http1.IsHopByHop(name) || !o.KeepForwarded && (http1.IsForwardingHeader(name) || http1.IsTraceHeader(name))
}

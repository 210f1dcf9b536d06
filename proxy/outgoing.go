package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"strconv"

	"github.com/valyala/fasthttp"

	"replygate/http1"
)

// outgoing is a request as it goes on: its head as it came, but for what belongs to the connection
// that it came on. The head was checked: each line is a token, a colon, a value without control
// bytes, and CRLF.
type outgoing struct {
	head    *fasthttp.RequestHeader
	target  []byte
	host    string
	body    []byte      // the whole body,
	stream  *clientBody // or one that streams
	plain   bool        // no compression is asked for: the answer is read
	relayed bool        // what proxies say of each other goes on too
	dropped func() bool // is asked right before the first byte: true if nobody wants the call sent any longer; nil: it goes
}

// whole returns the body once it was sent, nil of one that streamed if it is longer than maxWhole.
func (o *outgoing) whole() []byte {
	if o.stream != nil {
		return o.stream.whole()
	}
	return o.body
}

// writeTo writes the request.
func (o *outgoing) writeTo(w *bufio.Writer) error {
	_, _ = w.Write(o.head.Method()) // a bufio.Writer keeps its first error
	_ = w.WriteByte(' ')
	_, _ = w.Write(o.target)
	_, _ = w.WriteString(" HTTP/1.1\r\nHost: ")
	_, _ = w.WriteString(o.host)
	_, _ = w.WriteString("\r\n")
	listed := http1.ListedHeaders(o.head.PeekAll("Connection"))
	for block := o.head.RawHeaders(); len(block) > 0; {
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
	case o.stream == nil:
		return o.writeWhole(w)
	case o.stream.length < 0:
		return o.writeChunked(w)
	}
	writeLength(w, o.stream.length)
	n, err := io.Copy(w, o.stream)
	if err == nil && n != int64(o.stream.length) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (o *outgoing) writeWhole(w *bufio.Writer) error {
	if len(o.body) == 0 && !o.mayHaveBody() {
		_, err := w.WriteString("\r\n")
		return err
	}
	writeLength(w, len(o.body))
	_, err := w.Write(o.body)
	return err
}

// mayHaveBody tells whether the request said how long its body is, if only that it is empty.
func (o *outgoing) mayHaveBody() bool {
	return !o.head.IsGet() && !o.head.IsHead() || len(o.head.Peek("Content-Length")) > 0
}

func writeLength(w *bufio.Writer, n int) {
	_, _ = w.WriteString("Content-Length: ")
	_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(n), 10))
	_, _ = w.WriteString("\r\n\r\n")
}

func (o *outgoing) writeChunked(w *bufio.Writer) error {
	_, _ = w.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	chunks := httputil.NewChunkedWriter(w)
	if _, err := io.CopyBuffer(chunks, o.stream, make([]byte, maxAgain/2)); err != nil { // in pieces that can be sent again
		return err
	}
	_ = chunks.Close()
	_, err := w.WriteString("\r\n")
	return err
}

// drops tells whether a header does not go on: what belongs to one connection, what the request
// writes itself, and what a client or a proxy before the gateway says of itself.
func (o *outgoing) drops(name []byte, listed http1.HeaderNames) bool {
	return listed.Has(name) || http1.SameName(name, "Host") || http1.SameName(name, "Content-Length") || o.plain && http1.SameName(name, "Accept-Encoding") ||
		http1.IsHopByHop(name) || !o.relayed && http1.IsForwardingHeader(name)
}

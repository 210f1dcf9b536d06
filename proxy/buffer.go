package proxy

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"replygate/upstream"
)

// buffered holds an answer that the gateway reads before it goes on, in pieces, so that a long one
// costs its own size and no more.
type buffered struct {
	pieces [][]byte
	size   int
	whole  bool // the answer ended within the limit
}

const (
	firstPiece = 4 << 10
	maxPiece   = 1 << 20
)

// fill reads up to limit bytes of an answer; length is what its head said, negative if nothing.
func fill(r io.Reader, length, limit int) (*buffered, error) {
	s := &buffered{}
	next := firstPiece
	if length >= 0 && length <= limit {
		next = length
	}
	for s.size <= limit {
		piece := make([]byte, next+1) // one more than it should need, to see the end
		n, err := io.ReadFull(r, piece)
		s.size += n
		s.pieces = append(s.pieces, piece[:n])
		switch err {
		case nil:
			next = min(2*next+firstPiece, maxPiece)
		case io.EOF, io.ErrUnexpectedEOF:
			if !ended(r) {
				return nil, io.ErrUnexpectedEOF
			}
			s.whole = s.size <= limit
			return s, nil
		default:
			return nil, err
		}
	}
	return s, nil
}

// ended reports whether a body that returned EOF ended where its framing says.
func ended(r io.Reader) bool {
	b, ok := r.(*upstream.Body)
	return !ok || b.Whole()
}

// Reader reads the pieces from the beginning.
func (s *buffered) Reader() io.Reader {
	readers := make([]io.Reader, len(s.pieces))
	for i, p := range s.pieces {
		readers[i] = bytes.NewReader(p)
	}
	return io.MultiReader(readers...)
}

// shortBody is an answer that is in memory as a whole.
type shortBody struct {
	bytes.Reader
	all []byte
}

func (m *shortBody) hold(all []byte) {
	m.all = all
	m.Reset(all)
}

// readSmall reads an answer that is a few kilobytes long as a rule; of a longer one the beginning.
func readSmall(answer io.Reader, err error) []byte {
	if err != nil {
		return nil
	}
	if m, ok := answer.(*shortBody); ok {
		return m.all
	}
	body, err := io.ReadAll(io.LimitReader(answer, maxReadSmall))
	if err != nil {
		return nil
	}
	return body
}

// maxReadSmall bounds such an answer: get_permanent_code lists the agents of a company.
const maxReadSmall = 1 << 20

// maxInflated bounds the size of a decompressed answer in bytes: WeCom's longest page, 1,000
// messages, has a few megabytes.
const maxInflated = 16 << 20

var errInflated = errors.New("the answer unfolds to too much")

// inflated reads an answer without the Content-Encoding that the upstream used unasked.
func inflated(r io.Reader, encoding string) (io.Reader, error) {
	var plain io.Reader
	var err error
	switch strings.ToLower(encoding) {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(r)
	case "deflate":
		plain, err = zlib.NewReader(r)
	default:
		return nil, errors.New("the answer has a Content-Encoding that nobody asked for")
	}
	if err != nil {
		return nil, err
	}
	return &bounded{r: plain, left: maxInflated}, nil
}

// bounded returns an error after left bytes, instead of EOF.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errInflated
	}
	return n, err
}

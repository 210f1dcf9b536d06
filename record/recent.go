package record

import (
	"bytes"
	"io"
	"sync"
)

// Recent remembers the newest decision records, so that they are found although the log goes to a
// stream. It may be used concurrently.
type Recent struct {
	half   int // bytes of each of the two buffers
	mu     sync.Mutex
	now    []byte // lines of JSON
	before []byte // the full buffer before now, which is overwritten when now is full
}

// NewRecent returns a Recent that uses at most the given number of bytes.
func NewRecent(bytes int) *Recent { return &Recent{half: bytes / 2} }

// Through returns a writer that remembers the decision records among the lines on their way to to.
func (r *Recent) Through(to io.Writer) io.Writer { return remembering{r, to} }

type remembering struct {
	*Recent
	to io.Writer
}

func (w remembering) Write(lines []byte) (int, error) {
	w.remember(lines)
	return w.to.Write(lines)
}

func (r *Recent) remember(lines []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(lines) {
		start, record := decisionIn(line)
		if len(record) == 0 || len(start)+len(record) > r.half {
			continue
		}
		if len(r.now)+len(start)+len(record) > r.half {
			r.now, r.before = r.before[:0], r.now
		}
		if r.now == nil {
			r.now = make([]byte, 0, r.half) // append would take more
		}
		r.now = append(append(r.now, start...), record...)
	}
}

var (
	decisionMember = []byte(`"msg":"decision",`)
	decisionText   = []byte("\tdecision\t{")
)

// decisionIn returns a line as JSON, in two parts, if it is a decision record.
func decisionIn(line []byte) (start string, rest []byte) {
	head := line[:min(len(line), lineHead)] // level, time and kind
	if bytes.Contains(head, decisionMember) {
		return "", line
	}
	if i := bytes.Index(head, decisionText); i >= 0 {
		return `{"msg":"decision",`, line[i+len(decisionText):]
	}
	return "", nil
}

// Find returns the newest record of a decision as JSON, or nil.
func (r *Recent) Find(id string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, lines := range [][]byte{r.now, r.before} {
		if i := bytes.LastIndex(lines, idMember(id)); i >= 0 {
			return bytes.Clone(lineAt(lines, i))
		}
	}
	return nil
}

// idMember is how a record begins that has the id. In a string its quotes would be escaped.
func idMember(id string) []byte { return []byte(`"id":"` + id + `"`) }

// lineAt returns the line around an offset, without its end.
func lineAt(lines []byte, i int) []byte {
	start := bytes.LastIndexByte(lines[:i], '\n') + 1
	if n := bytes.IndexByte(lines[i:], '\n'); n >= 0 {
		return lines[start : i+n]
	}
	return lines[start:]
}

package record

import (
	"bytes"
	"io"
	"sync/atomic"
)

// Tap shows decision records on their way out to a function, once there is one.
type Tap struct {
	visit atomic.Pointer[func(members []byte)]
}

// Use has visit called with the members of each decision record, and its closing brace. It must not
// keep them.
func (t *Tap) Use(visit func(members []byte)) { t.visit.Store(&visit) }

// Through returns a writer that shows the decision records among the lines on their way to to.
func (t *Tap) Through(to io.Writer) io.Writer { return tapped{t, to} }

type tapped struct {
	*Tap
	to io.Writer
}

func (w tapped) Write(lines []byte) (int, error) {
	if visit := w.visit.Load(); visit != nil {
		for line := range bytes.Lines(lines) {
			if members := membersOf(line); members != nil {
				(*visit)(members)
			}
		}
	}
	return w.to.Write(lines)
}

// membersOf returns what a decision record has after level, time and kind, or nil.
func membersOf(line []byte) []byte {
	head := line[:min(len(line), lineHead)]
	for _, before := range [][]byte{decisionMember, decisionText} {
		if i := bytes.Index(head, before); i >= 0 {
			return bytes.TrimSuffix(line[i+len(before):], newline)
		}
	}
	return nil
}

package record

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Backward reads a log and the files that were rotated from it, the newest line first, and lines of
// one file from its end on.
type Backward struct {
	Path  string
	Until time.Time // lines after it may be left out; zero: all are read
	Bytes int64     // that may be read; what is left of them afterwards

	// Packed are the files that were passed over, since a packed file cannot be read from its end.
	Packed []string
}

const (
	backwardBlock = 256 << 10   // bytes read at once
	timeSlack     = time.Second // lines are this much out of the order of their times at most
)

// Read calls visit with whole lines until it returns false. more is true if lines may be left:
// visit returned false, Bytes are used up, or ctx ended. A file that cannot be read is an error
// after the others are read.
func (b *Backward) Read(ctx context.Context, visit func(line []byte) bool) (more bool, err error) {
	var failed []error
	newest, err := os.Open(b.Path) // before the others are listed: it may be rotated meanwhile
	if err == nil {
		defer newest.Close()
		if more, err = b.file(ctx, newest, visit); more {
			return true, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	for _, rotated := range slices.Backward(rotatedFiles(b.Path)) {
		if strings.HasSuffix(rotated.name, ".gz") {
			b.Packed = append(b.Packed, rotated.name)
			continue
		}
		more, err := b.named(ctx, rotated.name, newest, visit)
		switch {
		case more:
			return true, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist): // rotated away meanwhile
			failed = append(failed, err)
		}
	}
	return false, errors.Join(failed...)
}

// named reads the file of a name, unless it is one that was read before it was renamed.
func (b *Backward) named(ctx context.Context, name string, before *os.File, visit func([]byte) bool) (more bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if before != nil && sameFile(f, before) {
		return false, nil
	}
	return b.file(ctx, f, visit)
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	y, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// file reads one file from its last line up to Until.
func (b *Backward) file(ctx context.Context, f *os.File, visit func([]byte) bool) (more bool, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if !b.Until.IsZero() {
		s := search{from: b.Until.Add(timeSlack)}
		_, end = s.bounds(f, end)
		end += lineEnd(f, end)
	}
	var rest []byte // of the line that begins before the block
	for end > 0 {
		n := min(end, backwardBlock)
		if b.Bytes -= n; b.Bytes < 0 || ctx.Err() != nil {
			return true, nil
		}
		end -= n
		block := make([]byte, n, int(n)+len(rest))
		if _, err := f.ReadAt(block, end); err != nil {
			return false, err
		}
		block = append(block, rest...)
		whole := block
		if end > 0 {
			first := bytes.IndexByte(block, '\n') + 1
			if rest, whole = block[:first], block[first:]; first == 0 {
				rest, whole = block, nil
			}
		}
		if len(rest) > maxRecord { // no record: without its end its beginning is no whole line
			rest = nil
		}
		if !eachBackward(whole, visit) {
			return true, nil
		}
	}
	return false, nil
}

// lineEnd returns how far the line that a file has at an offset goes on.
func lineEnd(f io.ReaderAt, offset int64) int64 {
	head := make([]byte, 64<<10)
	n, _ := f.ReadAt(head, offset)
	return int64(bytes.IndexByte(head[:n], '\n') + 1)
}

// eachBackward calls visit with the lines of a text that have their end, the last one first.
func eachBackward(text []byte, visit func([]byte) bool) bool {
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the rest is being written, or cut off
	for len(text) > 0 {
		start := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
		if line := text[start : len(text)-1]; len(line) > 0 && !visit(line) {
			return false
		}
		text = text[:start]
	}
	return true
}

package record

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	maxRecord  = 1 << 20   // bytes of a line
	maxRead    = 256 << 20 // bytes that one search reads
	searchStep = 64 << 10  // bytes below which a file is read instead of halved
	lineHead   = 80        // bytes of a line that hold its time
)

// ErrTooMuch means that a search ended before the record was found, since it had read enough.
var ErrTooMuch = errors.New("too much to read")

// FindInFiles looks for the record of a decision in a log file and in the files that were rotated
// from it. A record is written after its decision, within a time. Files that end before or begin
// after that are not read, of the others only the part of that time. It returns nil if there is no
// such record, else the record with the name of its file. A file that cannot be read is an error
// only if no other one has the record. The end of ctx ends the search.
func FindInFiles(ctx context.Context, path, id string, at time.Time, within time.Duration) (line []byte, file string, err error) {
	s := search{ctx: ctx, want: idMember(id), from: at.Add(-time.Second), until: at.Add(within), left: maxRead}
	var failed []error
	newest, err := os.Open(path) // before the others are listed: it may be rotated meanwhile
	switch {
	case err == nil:
		defer newest.Close()
	case !errors.Is(err, fs.ErrNotExist):
		failed = append(failed, err)
	}
	for _, f := range rotatedFiles(path) {
		if f.end.Before(s.from) {
			continue
		}
		line, later, err := s.named(f.name)
		switch {
		case line != nil:
			return line, f.name, nil
		case ctx.Err() != nil || errors.Is(err, ErrTooMuch):
			return nil, "", cmp.Or(err, ctx.Err())
		case err != nil:
			failed = append(failed, err)
		case later: // so are the next ones
			return nil, "", errors.Join(failed...)
		}
	}
	if newest != nil {
		line, _, err := s.file(newest)
		if line != nil {
			return line, path, nil
		}
		failed = append(failed, err)
	}
	return nil, "", errors.Join(failed...)
}

// logFile is one rotated file of a log. Its last record is not after end.
type logFile struct {
	name string
	end  time.Time
}

// rotatedFiles lists the files that were rotated from a log, the oldest first. lumberjack names
// them by the time when they were closed: decisions-2026-11-30T00-00-00.000.log, packed or not.
func rotatedFiles(path string) []logFile {
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "-"
	var all []logFile
	entries, _ := os.ReadDir(filepath.Dir(path)) // without it the file itself is left
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), prefix)
		if stamp = strings.TrimSuffix(strings.TrimSuffix(stamp, ".gz"), ext); !ok {
			continue
		}
		if end, err := time.Parse("2006-01-02T15-04-05.000", stamp); err == nil {
			all = append(all, logFile{filepath.Join(filepath.Dir(path), e.Name()), end})
		}
	}
	slices.SortFunc(all, func(a, b logFile) int { return cmp.Or(a.end.Compare(b.end), cmp.Compare(a.name, b.name)) })
	return all
}

// search is one search for a record.
type search struct {
	ctx         context.Context
	want        []byte
	from, until time.Time // of the lines that may be it
	left        int64     // bytes that may still be read
}

// named looks into the file of a name. later reports whether the file has lines after the search's
// time.
func (s *search) named(name string) (line []byte, later bool, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) { // rotated away meanwhile
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if strings.HasSuffix(name, ".gz") {
		unpacked, err := gzip.NewReader(f)
		if err == nil {
			line, later, err = s.lines(unpacked)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return line, later, err
	}
	return s.file(f)
}

// file looks into a file that is not packed.
func (s *search) file(f *os.File) (line []byte, later bool, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false, err
	}
	start, _ := s.bounds(f, size)
	return s.lines(io.NewSectionReader(f, start, size-start))
}

// bounds returns two offsets of a file: all lines before the first are before the search's time,
// and all lines after the second are not. Both may be within a line.
func (s *search) bounds(f io.ReaderAt, size int64) (before, after int64) {
	before, after = 0, size
	for after-before > searchStep {
		middle := before + (after-before)/2
		if at, ok := timeAfter(f, middle, after); ok && at.Before(s.from) {
			before = middle
		} else {
			after = middle
		}
	}
	return before, after
}

// timeAfter returns the time of the first whole line that begins after one offset and before
// another.
func timeAfter(f io.ReaderAt, offset, end int64) (time.Time, bool) {
	r := bufio.NewReader(io.NewSectionReader(f, offset, min(end-offset, maxRecord)))
	for {
		_, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return time.Time{}, false
		}
		head, _ := r.Peek(lineHead) // shorter at the end of the file
		if at, ok := lineTime(head); ok {
			return at, true
		}
	}
}

var timeMember = []byte(`"time":"`)

// lineTime returns the time of a line of a log.
func lineTime(line []byte) (time.Time, bool) {
	_, rest, found := bytes.Cut(line[:min(len(line), lineHead)], timeMember)
	text, _, whole := bytes.Cut(rest, []byte{'"'})
	if !found || !whole {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}

// lines looks for the record among lines.
func (s *search) lines(from io.Reader) (found []byte, later bool, err error) {
	r := bufio.NewReaderSize(from, maxRecord)
	for {
		line, err := r.ReadSlice('\n')
		s.left -= int64(len(line))
		switch {
		case s.ctx.Err() != nil:
			return nil, false, s.ctx.Err()
		case bytes.Contains(line, s.want) && json.Valid(line): // not cut off, nor a part of a longer line
			return bytes.Clone(bytes.TrimRight(line, "\n")), false, nil
		case errors.Is(err, io.EOF):
			return nil, false, nil
		case s.left < 0:
			return nil, false, ErrTooMuch
		case err != nil && !errors.Is(err, bufio.ErrBufferFull): // a longer line is no record
			return nil, false, err
		}
		if at, ok := lineTime(line); ok && at.After(s.until) {
			return nil, true, nil
		}
	}
}

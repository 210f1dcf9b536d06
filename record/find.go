package record

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
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
// such record, else the record with the name of its file.
func FindInFiles(path, id string, at time.Time, within time.Duration) (line []byte, file string, err error) {
	s := search{want: idMember(id), from: at.Add(-time.Second), until: at.Add(within), left: maxRead}
	for _, f := range logFiles(path) {
		if f.end.Before(s.from) {
			continue
		}
		line, later, err := s.file(f.name)
		if line != nil || err != nil {
			return line, f.name, err
		}
		if later { // so are the next ones
			break
		}
	}
	return nil, "", nil
}

// logFile is one file of a rotated log. Its last record is not after end.
type logFile struct {
	name string
	end  time.Time
}

// logFiles lists the files of a log, the oldest first. lumberjack names a rotated one by the time
// when it was closed: decisions-2026-11-30T00-00-00.000.log, packed or not.
func logFiles(path string) []logFile {
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
	return append(all, logFile{path, time.Unix(1<<40, 0)})
}

// search is one search for a record.
type search struct {
	want        []byte
	from, until time.Time // of the lines that may be it
	left        int64     // bytes that may still be read
}

// file looks into one file. later reports whether the file has lines after the search's time.
func (s *search) file(name string) (line []byte, later bool, err error) {
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
		if err != nil {
			return nil, false, err
		}
		return s.lines(unpacked)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false, err
	}
	start := s.start(f, size)
	return s.lines(io.NewSectionReader(f, start, size-start))
}

// start returns an offset of a file before which all lines are before the search's time. It may be
// within such a line.
func (s *search) start(f io.ReaderAt, size int64) int64 {
	before, after := int64(0), size
	for after-before > searchStep {
		middle := before + (after-before)/2
		if at, ok := timeAfter(f, middle, after); ok && at.Before(s.from) {
			before = middle
		} else {
			after = middle
		}
	}
	return before
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
		case bytes.Contains(line, s.want):
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

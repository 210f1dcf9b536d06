package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Journal is a write-ahead log: an append-only file of records that must outlive the process. It
// holds writes that Redis rejected, or the embedded store's changes since its last snapshot.
//
// The file begins with "rgjournal3 ", the journal's random id, a space, its stamp and a newline. A
// record is its length and its CRC-32C, four bytes each, little-endian, and its bytes. A record
// that a crash left incomplete at the end was never acknowledged; opening the journal truncates it.
type Journal struct {
	path string
	max  int64
	id   string

	mu       sync.Mutex
	stamp    int64 // unix ms, see Stamp
	file     *os.File
	end      int64 // offset after the last complete record
	tornTail bool  // bytes after end could not be truncated yet
	damaged  bool  // there is a damaged record at end: it stays in the file until something replaces it
	failed   error // an fsync failed: earlier bytes may be lost, and a later fsync would not report it

	syncing sync.Mutex // serializes fsyncs; locked before mu
	synced  int64      // offset up to which everything is on the disk
}

// ErrJournalFull is returned by Append if the journal would exceed journal.max_bytes.
var ErrJournalFull = errors.New("the journal is full: raise journal.max_bytes, or bring redis back")

const (
	journalMagic = "rgjournal3 "
	journalHead  = len(journalMagic) + 26 + 1 + 13 + 1 // an id of rand.Text, a stamp, a newline
	recordHead   = 8
	maxRecord    = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenJournal opens the journal at path, or creates it, and locks it against other processes. fresh
// reports that it is new. corruptBytes is the size of what cannot be read because a record in the
// middle is damaged, which only a broken disk does: that record and all after it. They stay in the
// file until the next Append or Drop, so that a crash does not hide the damage.
func OpenJournal(path string, maxBytes int64) (j *Journal, fresh bool, corruptBytes int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, 0, fmt.Errorf("journal.path: %w: name a file in a folder that the gateway may write", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, false, 0, fmt.Errorf("journal.path: another gateway uses %s: give each one of its own", path)
	}
	j = &Journal{path: path, max: maxBytes, file: f}
	if fresh, corruptBytes, err = j.open(); err != nil {
		j.file.Close()
		return nil, false, 0, fmt.Errorf("journal.path: %w", err)
	}
	return j, fresh, corruptBytes, nil
}

// open reads an existing journal up to the last complete record, or writes the header of a new one.
func (j *Journal) open() (fresh bool, corruptBytes int64, err error) {
	if fresh, err = j.readHead(); err != nil {
		return false, 0, err
	}
	j.end = j.Start()
	if fresh {
		j.id = rand.Text()
		_, err = j.file.WriteAt([]byte(j.head()), 0)
	} else {
		corruptBytes, err = j.scan()
	}
	if j.damaged = corruptBytes > 0; err == nil && !j.damaged {
		err = errors.Join(j.file.Truncate(j.end), j.file.Sync())
	}
	if fresh {
		syncFolder(j.path)
	}
	j.synced = j.end
	return fresh, corruptBytes, err
}

// readHead reads the journal's id and stamp. fresh reports that the file is empty, or that a crash
// cut its header short.
func (j *Journal) readHead() (fresh bool, err error) {
	head, err := io.ReadAll(io.NewSectionReader(j.file, 0, j.Start()))
	rest, ours := strings.CutPrefix(string(head), journalMagic)
	switch {
	case err != nil:
		return false, err
	case len(head) < journalHead && (ours || strings.HasPrefix(journalMagic, string(head))):
		return true, nil
	case !ours || !strings.HasSuffix(rest, "\n"):
		return false, fmt.Errorf("%s is not a journal of this version: move it away to start without it", j.path)
	}
	id, stamp, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
	j.id = id
	j.stamp, _ = strconv.ParseInt(stamp, 10, 64) // a broken one is none
	return false, nil
}

// scan sets end to the end of the last complete record. A file that ends inside a record, or in
// zeros, was torn by a crash. A record with a wrong checksum, or before a complete one, is damaged.
func (j *Journal) scan() (corruptBytes int64, err error) {
	info, err := j.file.Stat()
	if err != nil {
		return 0, err
	}
	for {
		record, err := j.readAt(j.end, info.Size())
		switch {
		case err == nil:
			j.end += recordHead + int64(len(record))
		case errors.Is(err, io.ErrUnexpectedEOF) && !j.recordAfter(j.end, info.Size()):
			return 0, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return info.Size() - j.end, nil
		case errors.Is(err, errDamaged):
			if zero, err := j.zeros(j.end, info.Size()); zero || err != nil {
				return 0, err
			}
			return info.Size() - j.end, nil
		default:
			return 0, err
		}
	}
}

// recordAfter reports whether a complete record begins after an offset, as far from it as the next
// one can: then the record at the offset was not the last, and its length is wrong.
func (j *Journal) recordAfter(at, size int64) bool {
	for next := at + 1; next < min(at+recordHead+maxRecord+1, size); next++ {
		if _, err := j.readAt(next, size); err == nil {
			return true
		}
	}
	return false
}

// zeros reports whether a part of the file has only zeros: a crash may leave it longer than what
// was written.
func (j *Journal) zeros(from, to int64) (bool, error) {
	block := make([]byte, 64<<10)
	for from < to {
		n, err := j.file.ReadAt(block[:min(to-from, int64(len(block)))], from)
		if err != nil {
			return false, err
		}
		if len(bytes.TrimLeft(block[:n], "\x00")) > 0 {
			return false, nil
		}
		from += int64(n)
	}
	return true, nil
}

// Damaged reports whether records were lost because the file is damaged, and nothing has been
// appended or dropped since.
func (j *Journal) Damaged() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.damaged
}

var errDamaged = errors.New("a record of the journal is damaged")

// readAt reads the record at an offset of a file of that size. It returns io.ErrUnexpectedEOF for a
// torn record, and errDamaged for a corrupt one.
func (j *Journal) readAt(at, size int64) ([]byte, error) {
	if at+recordHead > size {
		return nil, io.ErrUnexpectedEOF
	}
	var head [recordHead]byte
	if _, err := j.file.ReadAt(head[:], at); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(head[:4]))
	if length == 0 || length > maxRecord {
		return nil, errDamaged
	}
	if at+recordHead+length > size {
		return nil, io.ErrUnexpectedEOF
	}
	record := make([]byte, length)
	if _, err := j.file.ReadAt(record, at+recordHead); err != nil {
		return nil, err
	}
	if crc32.Checksum(record, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errDamaged
	}
	return record, nil
}

// Append adds records, all or none. When it returns they survive the process; after Sync they also
// survive the machine. A record has 1 byte to 1 MiB.
func (j *Journal) Append(records ...[]byte) error {
	var b []byte
	for _, r := range records {
		if len(r) == 0 || len(r) > maxRecord {
			return fmt.Errorf("journal: a record has %d bytes, and must have 1 to 1048576", len(r))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(r, castagnoli))
		b = append(b, r...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	if j.end+int64(len(b)) > j.max {
		return ErrJournalFull
	}
	if j.tornTail {
		if err := j.file.Truncate(j.end); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.tornTail = false
	}
	if _, err := j.file.WriteAt(b, j.end); err != nil {
		j.tornTail = true
		return fmt.Errorf("journal: %w", err)
	}
	j.end += int64(len(b))
	if j.damaged {
		if err := j.file.Truncate(j.end); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.damaged = false
	}
	return nil
}

// Sync returns once everything that was appended before is on the disk. Concurrent callers share
// one fsync. After a failed fsync the journal accepts nothing more.
func (j *Journal) Sync() error {
	j.mu.Lock()
	want := j.end
	j.mu.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.synced >= want {
		return nil
	}
	j.mu.Lock()
	end, file, failed := j.end, j.file, j.failed
	j.mu.Unlock()
	if failed != nil {
		return failed
	}
	if err := file.Sync(); err != nil {
		err = fmt.Errorf("journal: %w", err)
		j.mu.Lock()
		j.failed = err
		j.mu.Unlock()
		return err
	}
	j.synced = end
	return nil
}

// ID returns the journal's random id, which also identifies the gateway that has it open. It stays
// with the file when that moves to another machine.
func (j *Journal) ID() string { return j.id }

// head returns the file's header.
func (j *Journal) head() string { return fmt.Sprintf("%s%s %013d\n", journalMagic, j.id, j.stamp) }

// stampEvery is how often Stamp writes.
const stampEvery = time.Minute

// Stamp keeps the time when everything acknowledged was in Redis last, for the next process. It
// writes once a minute, without an fsync.
func (j *Journal) Stamp(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stamp == stampIncomplete {
		return
	}
	if age := now.UnixMilli() - j.stamp; age > -stampEvery.Milliseconds() && age < stampEvery.Milliseconds() {
		return
	}
	j.stamp = now.UnixMilli()
	_, _ = j.file.WriteAt([]byte(j.head()), 0) // the next one repeats it
}

// Stamps that are no times. They are so old that nothing is acknowledged by them.
const (
	stampLeft       = 1 // the gateway left in order
	stampIncomplete = 2 // see MarkIncomplete
)

// StampLeft replaces the stamp on the disk, so that the next process of this gateway does not take
// the others to wait for it. A journal without a stamp stays without one.
func (j *Journal) StampLeft() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stamp <= stampLeft {
		return nil
	}
	j.stamp = stampLeft
	if _, err := j.file.WriteAt([]byte(j.head()), 0); err != nil {
		return err
	}
	return j.file.Sync()
}

// MarkIncomplete replaces the stamp on the disk, until MarkComplete: something that the next
// process must know of could not be appended. It writes over the header, for which a disk has room.
func (j *Journal) MarkIncomplete() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stamp == stampIncomplete {
		return nil
	}
	before := j.stamp
	j.stamp = stampIncomplete
	_, err := j.file.WriteAt([]byte(j.head()), 0)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.stamp = before
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// MarkComplete ends MarkIncomplete. If a crash undoes it, the next process does what is no longer
// needed.
func (j *Journal) MarkComplete() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stamp == stampIncomplete {
		j.stamp = stampLeft
		_, _ = j.file.WriteAt([]byte(j.head()), 0)
	}
}

// Incomplete reports whether MarkIncomplete was called, by this process or one before, and
// MarkComplete was not.
func (j *Journal) Incomplete() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stamp == stampIncomplete
}

// Stamped returns the last stamp, the zero time if there is none.
func (j *Journal) Stamped() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stamp == 0 {
		return time.Time{}
	}
	return time.UnixMilli(j.stamp)
}

// Start returns the offset of the first record.
func (j *Journal) Start() int64 { return int64(journalHead) }

// End returns the offset after the last record.
func (j *Journal) End() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end
}

// Empty reports whether there is no record.
func (j *Journal) Empty() bool { return j.End() == j.Start() }

// Read returns up to limit records from an offset on, and the offset after them.
func (j *Journal) Read(from int64, limit int) (records [][]byte, next int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for next = from; next < j.end && len(records) < limit; {
		r, err := j.readAt(next, j.end)
		if err != nil {
			return nil, from, fmt.Errorf("journal: %w", err)
		}
		records = append(records, r)
		next += recordHead + int64(len(r))
	}
	return records, next, nil
}

// Drop removes the records before an offset. A crash meanwhile removes none of them, so a record
// may be read again. Offsets from before are invalid afterwards. Without all records it copies the
// rest to a new file, which takes time and space; appends and reads go on meanwhile.
func (j *Journal) Drop(before int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case before <= j.Start() && !j.damaged:
		return nil
	case before != j.end:
		return j.rewrite(before)
	}
	if err := j.file.Truncate(j.Start()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.end, j.synced, j.tornTail, j.damaged = j.Start(), j.Start(), false, false
	return nil
}

// rewrite replaces the file by one that holds the records from an offset on. The caller must hold
// both locks; while most of the file is copied, mu is released.
func (j *Journal) rewrite(from int64) error {
	f, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".new*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	copied, old := j.end, j.file // nobody else replaces the file: that takes both locks
	j.mu.Unlock()
	_, err = io.Copy(f, io.MultiReader(strings.NewReader(strings.Repeat(" ", journalHead)), io.NewSectionReader(old, from, copied-from)))
	err = errors.Join(err, f.Sync())
	j.mu.Lock()
	if err == nil {
		err = j.finish(f, copied)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return fmt.Errorf("journal: %w", err)
	}
	syncFolder(j.path)
	old.Close()
	j.file, j.end = f, j.Start()+j.end-from
	j.synced, j.tornTail, j.damaged = j.end, false, false
	return nil
}

// finish adds to a new file what was appended after an offset, and puts it in the place of the old
// one.
func (j *Journal) finish(f *os.File, after int64) error {
	_, err := io.Copy(f, io.NewSectionReader(j.file, after, j.end-after))
	if err == nil {
		_, err = f.WriteAt([]byte(j.head()), 0)
	}
	if err = errors.Join(err, f.Sync(), lock(f)); err != nil {
		return err
	}
	return os.Rename(f.Name(), j.path)
}

// Close closes the file and releases its lock.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

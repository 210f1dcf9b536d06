package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Journal is an append-only file of records that must not be lost with the process: of facts that
// Redis does not take just now, or of the embedded store's changes since its last snapshot.
//
// It begins with the journal's own name. A record is its length and its CRC-32C, four bytes each,
// and its bytes. What a crash left half-written at the end was never acknowledged, and is cut off.
type Journal struct {
	path string
	max  int64
	id   string

	mu       sync.Mutex
	file     *os.File
	end      int64 // of the last whole record
	tornTail bool  // something stands behind end, and could not be cut off
	failed   error // an fsync failed: what it should have kept may be gone, and no later one would tell

	syncing sync.Mutex
	synced  int64 // up to here everything is on the disk
}

// ErrJournalFull says that the journal has reached journal.max_bytes.
var ErrJournalFull = errors.New("the journal is full: raise journal.max_bytes, or bring redis back")

const (
	formatV1     = "rgjournal1\n" // what a journal of an earlier build begins with
	journalMagic = "rgjournal2 "
	journalHead  = len(journalMagic) + 26 + 1 // a name of rand.Text, and a newline
	recordHead   = 8
	maxRecord    = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenJournal opens or makes the journal at path, which no other process may have open. fresh tells
// that there was none; lost is how many bytes in its middle are damaged, which only a broken disk
// does: what stood behind them is lost.
func OpenJournal(path string, maxBytes int64) (j *Journal, fresh bool, lost int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, 0, fmt.Errorf("journal.path: %w: name a file in a folder that the gateway may write", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, false, 0, fmt.Errorf("journal.path: another gateway uses %s: give each one of its own", path)
	}
	j = &Journal{path: path, max: maxBytes, file: f}
	if fresh, lost, err = j.open(); err != nil {
		j.file.Close()
		return nil, false, 0, fmt.Errorf("journal.path: %w", err)
	}
	return j, fresh, lost, nil
}

// open reads the journal up to the last whole record, or begins it.
func (j *Journal) open() (fresh bool, lost int64, err error) {
	if fresh, err = j.readHead(); err != nil {
		return false, 0, err
	}
	j.end = j.Start()
	if fresh {
		j.id = rand.Text()
		_, err = j.file.WriteAt([]byte(j.head()), 0)
	} else {
		lost, err = j.scan()
	}
	if err == nil {
		err = errors.Join(j.file.Truncate(j.end), j.file.Sync())
	}
	j.synced = j.end
	return fresh, lost, err
}

// readHead reads the journal's name, and gives one to a journal that has none. fresh tells that
// there is no journal yet: the file is empty, or a crash cut its head short.
func (j *Journal) readHead() (fresh bool, err error) {
	head, err := io.ReadAll(io.NewSectionReader(j.file, 0, j.Start()))
	name, ours := strings.CutPrefix(string(head), journalMagic)
	switch {
	case err != nil:
		return false, err
	case len(head) < journalHead && (ours || strings.HasPrefix(journalMagic, string(head))):
		return true, nil
	case strings.HasPrefix(string(head), formatV1):
		return false, j.upgradeV1()
	case !ours || !strings.HasSuffix(name, "\n"):
		return false, fmt.Errorf("%s is not a journal of this version: move it away to start without it", j.path)
	}
	j.id = strings.TrimSuffix(name, "\n")
	return false, nil
}

// upgradeV1 writes a journal of an earlier build anew.
func (j *Journal) upgradeV1() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	j.id, j.end = rand.Text(), info.Size()
	return j.rewrite(int64(len(formatV1)))
}

// scan finds the end of the last whole record. A file that ends inside a record is a crash's; one
// whose record is whole and does not have its checksum is damaged.
func (j *Journal) scan() (lost int64, err error) {
	info, err := j.file.Stat()
	if err != nil {
		return 0, err
	}
	for {
		record, err := j.readAt(j.end, info.Size())
		switch {
		case err == nil:
			j.end += recordHead + int64(len(record))
		case errors.Is(err, io.ErrUnexpectedEOF):
			return 0, nil
		case errors.Is(err, errDamaged):
			return info.Size() - j.end, nil
		default:
			return 0, err
		}
	}
}

var errDamaged = errors.New("a record of the journal is damaged")

// readAt reads the record at an offset of a file of that size.
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

// Append adds records, all or none. They outlive the process at once; wait for Sync to have them
// outlive the machine.
func (j *Journal) Append(records ...[]byte) error {
	var b []byte
	for _, r := range records {
		if len(r) == 0 || len(r) > maxRecord {
			return fmt.Errorf("journal: a record of %d bytes", len(r))
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
	return nil
}

// Sync returns once everything that was appended before is on the disk. Callers that wait at the
// same time share one fsync.
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
	end, file, dead := j.end, j.file, j.failed
	j.mu.Unlock()
	if dead != nil {
		return dead
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

// ID names the journal, and whoever has it open: it stays with the file, on whatever machine that
// is.
func (j *Journal) ID() string { return j.id }

// head is what the file begins with.
func (j *Journal) head() string { return journalMagic + j.id + "\n" }

// Start is the offset of the first record.
func (j *Journal) Start() int64 { return int64(journalHead) }

// End is the offset behind the last record.
func (j *Journal) End() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end
}

// Empty tells whether there is no record.
func (j *Journal) Empty() bool { return j.End() == j.Start() }

// Read returns records from an offset on, about a megabyte of them, and the offset behind them.
func (j *Journal) Read(from int64) (records [][]byte, next int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for next = from; next < j.end && next-from < maxRecord; {
		r, err := j.readAt(next, j.end)
		if err != nil {
			return nil, from, fmt.Errorf("journal: %w", err)
		}
		records = append(records, r)
		next += recordHead + int64(len(r))
	}
	return records, next, nil
}

// Drop forgets the records before an offset: they are kept elsewhere now. A crash meanwhile forgets
// none, so a record may be read again.
func (j *Journal) Drop(before int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if before <= j.Start() {
		return nil
	}
	if before == j.end {
		if err := j.file.Truncate(j.Start()); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.end, j.synced, j.tornTail = j.Start(), j.Start(), false
		return nil
	}
	return j.rewrite(before)
}

// rewrite puts what stands behind an offset into a new file in the journal's place.
func (j *Journal) rewrite(from int64) error {
	f, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".new*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = io.Copy(f, io.MultiReader(strings.NewReader(j.head()), io.NewSectionReader(j.file, from, j.end-from)))
	err = errors.Join(err, f.Sync(), lock(f))
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return fmt.Errorf("journal: %w", err)
	}
	j.file.Close()
	j.file, j.end = f, j.Start()+j.end-from
	j.synced, j.tornTail = j.end, false
	return nil
}

// Close closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

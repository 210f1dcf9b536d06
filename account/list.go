package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"replygate/store"
)

// List is what is kept of the accounts in force, for comparison with the next ones.
type List struct {
	Accounts []Listed `json:"accounts"`
	// Alone counts the calls of the day before AloneAt that belonged to the account only because it
	// is the only one.
	Alone   int64     `json:"attributed_alone,omitempty"`
	AloneAt time.Time `json:"attributed_alone_at,omitzero"`
}

// Listed is one account of a List.
type Listed struct {
	CorpID string `json:"corp_id"`
	Name   string `json:"name,omitempty"`
	Lapses int64  `json:"lapses,omitempty"` // unix s; 0 if its subscription never ends, or it has none
}

// lapsed reports whether its subscription and the grace period have ended.
func (l Listed) lapsed(now time.Time) bool { return l.Lapses != 0 && now.Unix() >= l.Lapses }

// Listed returns the accounts as a List keeps them.
func (b *Book) Listed() []Listed {
	all := make([]Listed, len(b.all))
	for i, a := range b.all {
		all[i] = Listed{CorpID: a.CorpID, Name: a.Name}
		if at := a.LapsesAt(); !at.IsZero() {
			all[i].Lapses = at.Unix()
		}
	}
	return all
}

// AttributedAlone returns how many calls of the day before now belonged to the account only because
// it is the only one. It is 0 if the list has more than one account.
func (l List) AttributedAlone(now time.Time) int64 {
	if len(l.Accounts) != 1 || now.Sub(l.AloneAt) >= 24*time.Hour {
		return 0
	}
	return l.Alone
}

// ListPath returns the name of the file of the List that belongs to a journal.
func ListPath(journal string) string { return journal + ".accounts" }

// maxListBytes bounds the file of a List. The files of a configuration have the same bound.
const maxListBytes = 64 << 20

// ReadList reads a List from its file. found is false if there is no file.
func ReadList(path string) (l List, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return List{}, false, nil
	}
	if err != nil {
		return List{}, false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxListBytes+1))
	if err != nil {
		return List{}, false, err
	}
	if err := l.decode(data); err != nil {
		return List{}, false, fmt.Errorf("%s is no list of accounts: %w", path, err)
	}
	return l, true, nil
}

// decode reads the one JSON object of a file.
func (l *List) decode(data []byte) error {
	if len(data) > maxListBytes {
		return fmt.Errorf("it is larger than %d MB", maxListBytes>>20)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(l); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	if len(l.Accounts) == 0 {
		return errors.New("it has no account")
	}
	for i, a := range l.Accounts {
		if a.CorpID == "" {
			return fmt.Errorf("account %d has no corp_id", i+1)
		}
	}
	return nil
}

// Write replaces the file of the List. After a crash it holds the old list or the new one.
func (l List) Write(path string) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return store.ReplaceFile(path, append(data, '\n'))
}

package account_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
)

func TestListIsReadAsWritten(t *testing.T) {
	t.Parallel()
	path := account.ListPath(filepath.Join(t.TempDir(), "replygate.journal"))
	if l, found, err := account.ReadList(path); found || err != nil {
		t.Errorf("no file: %+v %v %v", l, found, err)
	}
	book := account.NewBook([]config.Account{{CorpID: "wwAbC", Name: "甲\"\n<公司>", Entity: "e"}, {CorpID: "wx2"}})
	at := time.Date(2026, 11, 22, 12, 0, 0, 5, time.UTC)
	for _, l := range []account.List{{Accounts: book.Listed()}, {Accounts: book.Listed()[1:], Alone: 12, AloneAt: at}} {
		if err := l.Write(path); err != nil {
			t.Fatal(err)
		}
		got, found, err := account.ReadList(path)
		if !found || err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v %v %v, want %+v", got, found, err, l)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := (account.List{}).Write(filepath.Join(path, "below a file")); err == nil {
		t.Error("a list is written below a file")
	}
}

// A file that is no list is an error that names it: nothing is compared with half a list.
func TestBrokenLists(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "j.accounts")
	for text, want := range map[string]string{
		"":                                    "EOF",
		"{":                                   "unexpected EOF",
		`{"accounts":[{"corp_id":"ww1"}`:      "unexpected EOF",
		"\x00\x00\x00":                        "invalid character",
		"[]":                                  "cannot unmarshal array",
		"{}":                                  "it has no account",
		`{"accounts":[]}`:                     "it has no account",
		`{"accounts":[{"corp_id":"ww1"},{}]}`: "account 2 has no corp_id",
		`{"accounts":[{"corp_id":"ww1"}]}{}`:  "something follows the JSON object",
		`{"corps":["ww1"]}`:                   "unknown field",
		`{"accounts":[{"corp_id":"ww1"}]}` + strings.Repeat(" ", 64<<20): "it is larger than 64 MB",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, found, err := account.ReadList(path)
		if found || l.Accounts != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+" is no list of accounts: ") {
			t.Errorf("%.60q: %+v %v %v", text, l, found, err)
		}
	}
	if _, found, err := account.ReadList(t.TempDir()); found || err == nil {
		t.Errorf("a folder: %v %v", found, err)
	}
}

// What was counted for the only account holds for a day, and for that account.
func TestListAttributedAlone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		accounts int
		after    time.Duration
		want     int64
	}{
		{1, 0, 9}, {1, 24*time.Hour - 1, 9}, {1, 24 * time.Hour, 0}, {2, 0, 0}, {0, 0, 0},
	} {
		l := account.List{Accounts: ids(0, test.accounts), Alone: 9, AloneAt: at}
		if got := l.AttributedAlone(at.Add(test.after)); got != test.want {
			t.Errorf("%s: %d", fmt.Sprint(test), got)
		}
	}
}

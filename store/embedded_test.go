package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/config"
)

// base is the time of the embedded tests.
var base = time.UnixMilli(1_790_000_000_000)

// embeddedIn opens an embedded store with its files in dir.
func embeddedIn(t *testing.T, dir string, now time.Time, intact bool) (*Embedded, error) {
	t.Helper()
	j, _, _, err := OpenJournal(filepath.Join(dir, "journal"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return openEmbedded(config.Redis{Snapshot: filepath.Join(dir, "snapshot"), Prefix: "rg:"}, j, intact, func() time.Time { return now }, zap.NewNop())
}

// state returns all keys with their values and remaining lives.
func state(e *Embedded) map[string]string {
	all := map[string]string{}
	for _, key := range e.mini.Keys() {
		k, _ := e.read(key)
		all[key] = fmt.Sprintf("%s%v%d", k.String, k.Hash, k.Expires)
	}
	return all
}

// What a snapshot holds is restored, but for keys that have expired since.
func TestRestoreSnapshot(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return base.Add(d).UnixMilli() }
	for _, c := range []struct {
		name     string
		snapshot string // "": no file
		want     map[string]string
		err      string
	}{
		{"no file", "", map[string]string{}, ""},
		{"no keys", `{"version":1,"keys":[]}`, map[string]string{}, ""},
		{"a string", `{"version":1,"keys":[{"key":"rg:a","string":"1"}]}`, map[string]string{"rg:a": "1map[]0"}, ""},
		{"a hash", `{"version":1,"keys":[{"key":"rg:a","hash":{"last":"9","sent":"1,2"}}]}`, map[string]string{"rg:a": "map[last:9 sent:1,2]0"}, ""},
		{"a key with a future", fmt.Sprintf(`{"version":1,"keys":[{"key":"rg:a","string":"1","expires":%d}]}`, at(time.Hour)), map[string]string{"rg:a": fmt.Sprintf("1map[]%d", at(time.Hour))}, ""},
		{"a key that ends now", fmt.Sprintf(`{"version":1,"keys":[{"key":"rg:a","string":"1","expires":%d}]}`, at(0)), map[string]string{}, ""},
		{"an expired key", fmt.Sprintf(`{"version":1,"keys":[{"key":"rg:a","hash":{"last":"9"},"expires":%d}]}`, at(-time.Second)), map[string]string{}, ""},
		{"a key without a value", `{"version":1,"keys":[{"key":"rg:a"}]}`, map[string]string{}, ""},
		{"cut short", `{"version":1,"keys":[{"key":"rg:`, nil, "move it away to start without it"},
		{"no JSON", "hello", nil, "move it away to start without it"},
		{"an empty file", " ", nil, "move it away to start without it"},
		{"a newer version", `{"version":2,"keys":[]}`, nil, "is not a snapshot of this version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.snapshot != "" {
				if err := os.WriteFile(filepath.Join(dir, "snapshot"), []byte(c.snapshot), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e, err := embeddedIn(t, dir, base, true)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "redis.snapshot: ") {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if got := state(e); !maps.Equal(got, c.want) {
				t.Errorf("restored %v, want %v", got, c.want)
			}
		})
	}
}

// The journal's records replace the snapshot's keys, in order; a record without a value deletes.
func TestRestoreJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		intact  bool
		records []string
		want    map[string]string
		err     string
	}{
		{"nothing", true, nil, map[string]string{"rg:a": "1map[]0", "rg:since": "5map[]0"}, ""},
		{"a newer value", true, []string{`K{"key":"rg:a","string":"2"}`, `K{"key":"rg:a","string":"3"}`}, map[string]string{"rg:a": "3map[]0", "rg:since": "5map[]0"}, ""},
		{"another type", true, []string{`K{"key":"rg:a","hash":{"last":"2"}}`}, map[string]string{"rg:a": "map[last:2]0", "rg:since": "5map[]0"}, ""},
		{"a deleted key", true, []string{`K{"key":"rg:a"}`}, map[string]string{"rg:since": "5map[]0"}, ""},
		{"a new key", true, []string{`K{"key":"rg:b","string":"2"}`}, map[string]string{"rg:a": "1map[]0", "rg:b": "2map[]0", "rg:since": "5map[]0"}, ""},
		{"not intact", false, []string{`K{"key":"rg:a","string":"2"}`}, map[string]string{"rg:a": "2map[]0"}, ""},
		{"a record of a gateway on a Redis", true, []string{"M12345678ww1:wk1:wm1"}, nil, "start once with the redis.mode it was written in"},
		{"a record that is no JSON", true, []string{"K{"}, nil, "start once with the redis.mode it was written in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			snapshot := `{"version":1,"keys":[{"key":"rg:a","string":"1"},{"key":"rg:since","string":"5"}]}`
			if err := os.WriteFile(filepath.Join(dir, "snapshot"), []byte(snapshot), 0o600); err != nil {
				t.Fatal(err)
			}
			j, _, _, err := OpenJournal(filepath.Join(dir, "journal"), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c.records {
				if err := j.Append([]byte(r)); err != nil {
					t.Fatal(err)
				}
			}
			j.Close()
			e, err := embeddedIn(t, dir, base, c.intact)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if got := state(e); !maps.Equal(got, c.want) {
				t.Errorf("restored %v, want %v", got, c.want)
			}
			if !e.journal.Empty() {
				t.Error("the start has written a snapshot, and the journal still has records")
			}
		})
	}
}

// Random changes and snapshots: at any moment the files restore the current state.
func TestFilesFollowTheState(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 2))
	dir := t.TempDir()
	e, err := embeddedIn(t, dir, base, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for step := range 120 {
		key := fmt.Sprint("rg:k", r.IntN(6))
		switch r.IntN(6) {
		case 0:
			e.mini.Del(key)
		case 1:
			e.mini.Del(key)
			e.mini.HSet(key, "last", fmt.Sprint(step))
		case 2:
			if e.mini.Exists(key) {
				e.mini.SetTTL(key, time.Duration(1+r.IntN(1000))*time.Second)
			}
		case 3:
			if err := e.Save(); err != nil {
				t.Fatal(err)
			}
			continue
		default:
			_ = e.mini.Set(key, fmt.Sprint("v", step))
		}
		if err := e.append([]string{key}); err != nil {
			t.Fatal(err)
		}
		if step%5 > 0 {
			continue
		}
		files := t.TempDir()
		for _, name := range []string{"snapshot", "journal"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(files, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again, err := embeddedIn(t, files, base, true)
		if err != nil {
			t.Fatal(err)
		}
		got, want := state(again), state(e)
		again.Close()
		if !maps.Equal(got, want) {
			t.Fatalf("step %d: restored %v, want %v", step, got, want)
		}
	}
}

// A snapshot is written while commands change what it reads, of each type that it has. A value that
// is shared with the commands is found by -race alone.
func TestSnapshotBesideWrites(t *testing.T) {
	t.Parallel()
	e, err := embeddedIn(t, t.TempDir(), base, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for _, write := range []func(n int){
		func(n int) { _ = e.mini.Set("rg:s", fmt.Sprint(n)) },
		func(n int) { e.mini.HSet("rg:h", fmt.Sprint(n%1000), fmt.Sprint(n)) },
		func(n int) { _, _ = e.mini.ZAdd("rg:{events}:ids", float64(1+n), fmt.Sprint(n%1000)) },
		func(n int) {
			if n < 1000 {
				_, _ = e.mini.XAdd("rg:{events}", "*", []string{"event", fmt.Sprint(n)})
			}
		},
	} {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					write(n)
				}
			}
		})
	}
	for range 10 {
		if err := e.Save(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writers.Wait()
	k, _ := e.read("rg:{events}:ids")
	if members, _ := e.mini.ZMembers("rg:{events}:ids"); len(members) == 0 || len(k.SortedSet) != len(members) {
		t.Errorf("%d of %d members are read", len(k.SortedSet), len(members))
	}
}

func TestChangedKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []any
		want []string
	}{
		{[]any{"get", "a"}, nil},
		{[]any{"hmget", "a", "last"}, nil},
		{[]any{"set", "a", "1"}, []string{"a"}},
		{[]any{"setnx", "a", "1"}, []string{"a"}},
		{[]any{"del", "a"}, []string{"a"}},
		{[]any{"hset", "a", "last", "1"}, []string{"a"}},
		{[]any{"pexpireat", "a", 1}, []string{"a"}},
		{[]any{"evalsha", "0123", 1, "a", "arg"}, []string{"a"}},
		{[]any{"eval", "return 1", 2, "a", "b", "arg"}, []string{"a", "b"}},
		{[]any{"eval", "return 1", 0, "arg"}, nil},
		{[]any{"eval"}, nil},
	} {
		if got := changed(redis.NewCmd(t.Context(), c.args...)); !slices.Equal(got, c.want) {
			t.Errorf("%v changes %q, want %q", c.args, got, c.want)
		}
	}
}

// A snapshot that cannot be written fails the start, and the error names the setting.
func TestSnapshotFolderIsMissing(t *testing.T) {
	t.Parallel()
	j, _, _, err := OpenJournal(filepath.Join(t.TempDir(), "journal"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	c := config.Redis{Snapshot: filepath.Join(t.TempDir(), "none", "snapshot")}
	if _, err := openEmbedded(c, j, true, time.Now, zap.NewNop()); err == nil || !strings.HasPrefix(err.Error(), "redis.snapshot: ") {
		t.Errorf("error %v", err)
	}
}

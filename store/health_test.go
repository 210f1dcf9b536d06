package store

import (
	"net"
	"slices"
	"testing"
	"time"
)

func TestAnswersFollowsTheLastCommand(t *testing.T) {
	t.Parallel()
	s := &Client{}
	for i, failed := range []bool{false, true, true, false, true, false, false} {
		if failed {
			s.commandFailed()
		} else {
			s.commandAnswered()
		}
		if s.Answers() == failed {
			t.Fatalf("step %d: Answers = %v after a command with failed = %v", i, s.Answers(), failed)
		}
	}
}

// RedisTime shifts by the difference of the last reading, and knows nothing of an old one.
func TestRedisTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &Client{}
	s.clocks.Store("", reading{redis: now.Add(time.Hour), local: now})
	s.clocks.Store("node:1", reading{redis: now.Add(-2 * time.Second), local: now})
	s.clocks.Store("node:2", reading{redis: now, local: now.Add(-staleClock - time.Second)})
	for _, c := range []struct {
		node string
		want int64
	}{
		{"", now.Add(time.Hour + time.Second).UnixMilli()},
		{"node:1", now.Add(-time.Second).UnixMilli()},
		{"node:2", 0},
		{"node:3", 0},
	} {
		if got := s.RedisTime(c.node, now.Add(time.Second)); got != c.want {
			t.Errorf("node %q: %d, want %d", c.node, got, c.want)
		}
	}
}

func TestInfoField(t *testing.T) {
	t.Parallel()
	const info = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nempty:\r\nrole:master"
	for name, want := range map[string]string{
		"redis_version": "7.0.15", "run_id": "abc", "empty": "", "role": "master", "run": "", "id": "", "# Server": "", "missing": "",
	} {
		if got := infoField(info, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// A pipe takes writes while nobody reads, in order, and fails once it is closed.
func TestPipeDoesNotBlock(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	p := newPipe(near)
	buffer := []byte("0")
	var want []byte
	for i := range byte(10) {
		buffer[0] = '0' + i // Write must not keep the caller's slice
		want = append(want, buffer[0])
		if n, err := p.Write(buffer); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	got := make([]byte, len(want))
	for i := range got {
		if _, err := far.Read(got[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	p.Close()
	if _, err := p.Write(buffer); err == nil {
		t.Error("a closed pipe takes a write")
	}
	if err := p.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// If the other end goes, a queued write fails and closes the pipe.
func TestPipeClosesWithItsPeer(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	p := newPipe(near)
	far.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := p.Write([]byte("x")); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("writes to a pipe without a peer succeed")
		}
	}
}

// What several primaries say of themselves is added up: the worst of each setting, the sum of the
// memory.
func TestState(t *testing.T) {
	t.Parallel()
	s := State{AppendOnly: true, Eviction: noEviction}
	s.add("role:master\r\nused_memory:100\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n")
	s.add("role:master\r\nused_memory:50\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n")
	if want := (State{Primaries: 2, Role: "master", Memory: 150, MaxMemory: 2000, Eviction: "allkeys-lru"}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

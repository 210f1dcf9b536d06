package storetest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "without Main" {
		os.Exit(m.Run())
	}
	os.Exit(Main(m))
}

// fake is a testing.TB that records how a test ends, without ending the real one.
type fake struct {
	testing.TB
	skipped, failed string
}

type ended struct{}

func (f *fake) Helper() {}
func (f *fake) Skip(args ...any) {
	f.skipped = args[0].(string)
	panic(ended{})
}
func (f *fake) Skipf(format string, args ...any) {
	f.skipped = strings.ReplaceAll(format, "%s", args[0].(string))
	panic(ended{})
}
func (f *fake) Fatal(args ...any) {
	f.failed = args[0].(string)
	panic(ended{})
}
func (f *fake) Fatalf(format string, args ...any) {
	f.failed = strings.ReplaceAll(format, "%s", args[0].(string))
	panic(ended{})
}

// run runs body until it ends the fake test.
func (f *fake) run(body func()) {
	defer func() {
		if r := recover(); r != nil && r != any(ended{}) {
			panic(r)
		}
	}()
	body()
}

// What is missing skips a test, and fails it with CI=true; what is there does neither.
func TestNeed(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "node_modules", "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "program"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, c := range []struct {
		name            string
		ci              string
		need            func(t testing.TB)
		skipped, failed string
	}{
		{"a program", "", func(t testing.TB) { Need(t, "program") }, "", ""},
		{"no program", "", func(t testing.TB) { Need(t, "missing") }, "missing is missing: install it to run this test", ""},
		{"no program in CI", "true", func(t testing.TB) { Need(t, "missing") }, "", "missing is missing, and CI=true requires it"},
		{"a module", "true", func(t testing.TB) { NeedModule(t, dir, "there") }, "", ""},
		{"no module", "", func(t testing.TB) { NeedModule(t, dir, "gone") }, "gone is missing: npm ci --ignore-scripts --prefix " + dir, ""},
		{"no module in CI", "true", func(t testing.TB) { NeedModule(t, dir, "gone") }, "", "gone is missing: npm ci --ignore-scripts --prefix " + dir},
	} {
		t.Setenv("CI", c.ci)
		f := &fake{TB: t}
		f.run(func() { c.need(f) })
		if f.skipped != c.skipped || f.failed != c.failed {
			t.Errorf("%s: skipped %q, failed %q; want %q, %q", c.name, f.skipped, f.failed, c.skipped, c.failed)
		}
	}
	if got := Need(t, "program"); got != filepath.Join(dir, "program") {
		t.Errorf("the program's path is %q", got)
	}
}

// A chosen address is free, and so is the port 10,000 above, both below the kernel's range.
func TestFreeAddr(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 50 {
		addr := FreeAddr(t)
		host, text, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil || host != "127.0.0.1" || port < 10_000 || port >= 22_000 {
			t.Fatalf("address %q, %v", addr, err)
		}
		seen[addr] = true
	}
	if len(seen) < 25 {
		t.Errorf("50 calls give %d addresses: concurrent tests would collide", len(seen))
	}
}

// An address is reserved until the test ends, unless somebody listens there.
func TestReserve(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if reserve(t, ln.Addr().String()) {
		t.Error("an address in use is reserved")
	}
	if reserve(t, "127.0.0.1:not-a-port") {
		t.Error("what is no address is reserved")
	}
	var addr string
	t.Run("a test", func(t *testing.T) {
		if addr = FreeAddr(t); reserve(t, addr) {
			t.Error("an address is reserved twice")
		}
	})
	if !reserve(t, addr) {
		t.Error("an address of a test that has ended is not free")
	}
}

func TestJournalConfig(t *testing.T) {
	t.Parallel()
	embedded := Embedded(t)
	if got := Journal(t, embedded).Path; got != embedded.Snapshot+".journal" {
		t.Errorf("the journal of an embedded store is %s", got)
	}
	single := config.Redis{Mode: config.RedisSingle}
	if one, two := Journal(t, single).Path, Journal(t, single).Path; one == two {
		t.Errorf("two gateways share the journal %s", one)
	}
}

// A server is empty after each start, as after a crash without persistence.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.CLI("set", "k", "v")
	if got := strings.TrimSpace(s.CLI("get", "k")); got != "v" {
		t.Fatalf("k = %q", got)
	}
	s.Down()
	s.Down() // a second call changes nothing
	if c, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
		c.Close()
		t.Fatal("a server that is down listens")
	}
	s.Up()
	if got := strings.TrimSpace(s.CLI("get", "k")); got != "" {
		t.Errorf("after a restart k = %q", got)
	}
}

// With persistence in its arguments a server keeps its state over a crash.
func TestServerKeeps(t *testing.T) {
	t.Parallel()
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s.CLI("set", "k", "v")
	s.Down()
	s.Up()
	s.Await("v", "get", "k")
}

// Config reaches the server, and its arguments count.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	s := Start(t, "--requirepass", "right")
	c := s.Config()
	if c.Mode != config.RedisSingle || len(c.Addrs) != 1 || c.Addrs[0] != s.Addr() {
		t.Errorf("configuration %+v", c)
	}
	if err := connect(t, c).Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

// A paused server does not answer, and goes on where it was.
func TestServerSignal(t *testing.T) {
	t.Parallel()
	s := Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: 200 * time.Millisecond, MaxRetries: -1})
	defer c.Close()
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Signal(syscall.SIGSTOP)
	var timeout net.Error
	if err := c.Get(t.Context(), "k").Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a paused server answers: %v", err)
	}
	s.Signal(syscall.SIGCONT)
	s.Await("v", "get", "k")
}

// Await goes on while the command fails.
func TestAwaitOutlastsErrors(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.CLI("set", "k", "v")
	s.Down()
	var restarted sync.WaitGroup
	restarted.Go(func() {
		time.Sleep(100 * time.Millisecond) // the first tries must fail
		s.Up()
	})
	s.Await("PONG", "ping")
	restarted.Wait()
}

// Each runs its body with three stores, each empty, and a Cluster is one.
func TestEach(t *testing.T) {
	var names []string
	Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		names = append(names, t.Name())
		if n, err := s.Exists(t.Context(), "k").Result(); n != 0 || err != nil {
			t.Errorf("k exists: %d, %v", n, err)
		}
		if err := s.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Error(err)
		}
		_, cluster := s.UniversalClient.(*redis.ClusterClient)
		if cluster != (c.Mode == config.RedisCluster) || (s.Embedded != nil) != (c.Mode == config.RedisEmbedded) {
			t.Errorf("mode %s has a %T", c.Mode, s.UniversalClient)
		}
	})
	if want := []string{"TestEach/embedded", "TestEach/redis-server", "TestEach/cluster"}; strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("ran %q, want %q", names, want)
	}
}

// The tests of a package share one node, which is empty for each.
func TestOneNodeIsShared(t *testing.T) {
	first := OneNode(t)
	c := Open(t, first, time.Now)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	again := OneNode(t)
	if again.Addrs[0] != first.Addrs[0] || c.Exists(t.Context(), "k").Val() != 0 {
		t.Errorf("nodes %v and %v, k exists: %d", first.Addrs, again.Addrs, c.Exists(t.Context(), "k").Val())
	}
	if err := c.MGet(t.Context(), "a", "b").Err(); err == nil || !strings.HasPrefix(err.Error(), "CROSSSLOT") {
		t.Errorf("a command with keys of two slots: %v", err)
	}
}

// A sentinel's configuration reaches the primary, and after its loss the replica.
func TestSentinel(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: waits for a failover")
	}
	c, primary, replica, _ := StartSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: c.MasterName, SentinelAddrs: c.Addrs})
	defer client.Close()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(primary.CLI("get", "k")); got != "v" {
		t.Errorf("the primary has k = %q", got)
	}
	primary.Replicated(replica)
	if got := strings.TrimSpace(replica.CLI("get", "k")); got != "v" {
		t.Errorf("the replica has k = %q", got)
	}
	primary.Down()
	replica.Await("role:master", "info", "replication")
}

// A Cluster has three primaries first, and replicas that follow them.
func TestClusterTopology(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts six redis-server nodes")
	}
	c, nodes := StartCluster(t, 1)
	if len(nodes) != 6 || len(c.Addrs) != 6 {
		t.Fatalf("%d nodes, %d addresses", len(nodes), len(c.Addrs))
	}
	for i, n := range nodes {
		want := "role:master"
		if i >= 3 {
			want = "role:slave"
		}
		if got := n.CLI("info", "replication"); !strings.Contains(got, want) {
			t.Errorf("node %d is not %s", i, want)
		}
	}
	if s := Open(t, c, time.Now); !s.Up() {
		t.Error("the store does not reach it")
	}
}

// A server that is restored has what it had at its dump, as another process.
func TestRestore(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.CLI("set", "k", "early")
	dump := s.Dump()
	s.CLI("set", "k", "late")
	runID := func() string {
		_, after, _ := strings.Cut(s.CLI("info", "server"), "run_id:")
		id, _, _ := strings.Cut(after, "\r\n")
		return id
	}
	before := runID()
	s.Restore(dump)
	if got := strings.TrimSpace(s.CLI("get", "k")); got != "early" {
		t.Errorf("k is %q", got)
	}
	if after := runID(); after == before || len(after) != len(before) {
		t.Errorf("the run id was %q, and is %q", before, after)
	}
}

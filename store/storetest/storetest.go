// Package storetest opens stores for tests: embedded ones, and real redis-server processes that a
// test starts on free loopback ports. Everything ends with the test.
//
// It does not know what tests keep in them.
package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/store"
)

// Each runs body with every kind of store: embedded, a redis-server, and a Cluster of one node,
// where no command may have keys of two slots.
func Each(t *testing.T, now func() time.Time, body func(t *testing.T, c config.Redis, s *store.Client)) {
	t.Run("embedded", func(t *testing.T) {
		c := Embedded(t)
		body(t, c, Open(t, c, now))
	})
	t.Run("redis-server", func(t *testing.T) {
		c := Start(t).Config()
		body(t, c, Open(t, c, now))
	})
	t.Run("cluster", func(t *testing.T) {
		c := OneNode(t)
		body(t, c, Open(t, c, now))
	})
}

// shared is the Cluster of one node for all tests of a package. A new one takes two seconds to
// answer.
var shared struct {
	sync.Mutex
	ends bool // Main runs, and will stop it
	node *Server
}

// Main runs the tests of a package and stops what they share. TestMain must call it if tests use
// Each or OneNode.
func Main(m *testing.M) (code int) {
	shared.ends = true
	defer func() {
		if n := shared.node; n != nil {
			n.Down()
			_ = os.RemoveAll(n.dir)
		}
	}()
	return m.Run()
}

// OneNode returns the configuration of an empty Cluster of one node. The tests of a package share
// it, so they must not run in parallel.
func OneNode(t testing.TB) config.Redis {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.ends {
		t.Fatal("let TestMain call storetest.Main")
	}
	if shared.node == nil {
		Need(t, "redis-server")
		dir, err := os.MkdirTemp("", "storetest-")
		if err != nil {
			t.Fatal(err)
		}
		shared.node = &Server{t: t, addr: FreeAddr(t), args: nodeArgs, dir: dir}
		shared.node.Up()
		shared.node.CLI("cluster", "addslotsrange", "0", "16383")
		shared.node.Await("cluster_state:ok", "cluster", "info")
	}
	shared.node.t = t
	shared.node.CLI("flushall")
	c := shared.node.Config()
	c.Mode = config.RedisCluster
	return c
}

// Embedded returns the configuration of an embedded store, with its snapshot in a temporary folder.
func Embedded(t testing.TB) config.Redis {
	c := config.Default().Redis
	c.Snapshot = filepath.Join(t.TempDir(), "snapshot")
	return c
}

// Journal returns the configuration of a store's journal. It is beside the snapshot of an embedded
// store, so that both are found again, and in a temporary folder for any other.
func Journal(t testing.TB, c config.Redis) config.Journal {
	t.Helper()
	j := config.Default().Journal
	if j.Path = filepath.Join(t.TempDir(), "journal"); c.Mode == config.RedisEmbedded {
		j.Path = c.Snapshot + ".journal"
	}
	return j
}

// Open opens a store, and closes it with the test.
func Open(t testing.TB, c config.Redis, now func() time.Time) *store.Client {
	t.Helper()
	s, err := store.Open(context.Background(), c, Journal(t, c), now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Need returns the path of a program. If it is missing, the test is skipped, or fails with CI=true.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing, and CI=true requires it", program)
	default:
		t.Skipf("%s is missing: install it to run this test", program)
	}
	return ""
}

// NeedModule is Need for an npm package in dir/node_modules.
func NeedModule(t testing.TB, dir, module string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "node_modules", module)); err == nil {
		return
	}
	missing := fmt.Sprintf("%s is missing: npm ci --ignore-scripts --prefix %s", module, dir)
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// Server is a redis-server process of one test.
type Server struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
	dir  string

	sentinel string // the configuration file of a sentinel, "" for a server
}

// Start starts a redis-server without persistence, with more arguments if given. It ends with the
// test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, addr: FreeAddr(t), args: args}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Config returns the configuration that reaches the server.
func (s *Server) Config() config.Redis {
	c := config.Default().Redis
	c.Mode, c.Addrs, c.Timeout = config.RedisSingle, []string{s.addr}, 5*time.Second
	return c
}

// Up starts the server and waits until it listens. It is empty unless its arguments turn
// persistence on.
func (s *Server) Up() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	if s.dir == "" {
		s.dir = s.t.TempDir()
	}
	args := append([]string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", s.dir}, s.args...)
	if s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel", "--bind", host, "--port", port}
	}
	s.cmd = exec.Command(Need(s.t, "redis-server"), args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.DialTimeout("tcp", s.addr, time.Second); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("redis-server does not listen at %s", s.addr)
}

// Down kills the server, as a crash would.
func (s *Server) Down() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Dump returns the state of a server without an append-only file, for a later Restore.
func (s *Server) Dump() []byte {
	s.t.Helper()
	s.CLI("save")
	dump, err := os.ReadFile(s.dumpFile())
	if err != nil {
		s.t.Fatal(err)
	}
	return dump
}

// Restore kills the server and starts it again with the state of an earlier Dump.
func (s *Server) Restore(dump []byte) {
	s.t.Helper()
	s.Down()
	if err := os.WriteFile(s.dumpFile(), dump, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Up()
}

func (s *Server) dumpFile() string { return filepath.Join(s.dir, "dump.rdb") }

// Addr returns the address where the server listens.
func (s *Server) Addr() string { return s.addr }

// Signal sends the server a signal: SIGSTOP pauses it, SIGCONT resumes it.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// CLI runs a command with redis-cli and returns its output.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.cli(args)
	if err != nil {
		s.t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
	return out
}

func (s *Server) cli(args []string) (string, error) {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	out, err := exec.Command(Need(s.t, "redis-cli"), append([]string{"-p", port}, args...)...).CombinedOutput()
	return string(out), err
}

// Await repeats a command until its output contains a text. Errors are ignored until then, since a
// failover closes connections. It fails the test after a minute.
func (s *Server) Await(text string, args ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := s.cli(args)
		if err == nil && strings.Contains(out, text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q does not print %q: %v: %s", args, text, err, out)
		}
	}
}

// Replicated waits until a replica has all that the server has now. WAIT would return at once: it
// waits for writes of its own connection.
func (s *Server) Replicated(replica *Server) {
	s.t.Helper()
	want := s.replicationOffset("master_repl_offset")
	for deadline := time.Now().Add(time.Minute); replica.replicationOffset("slave_repl_offset") < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the replica %s does not have what %s has", replica.addr, s.addr)
		}
	}
}

func (s *Server) replicationOffset(field string) (n int64) {
	s.t.Helper()
	_, rest, _ := strings.Cut(s.CLI("info", "replication"), field+":")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		s.t.Fatalf("%s has no %s: %v", s.addr, field, err)
	}
	return n
}

// AwaitServing waits until commands of a client are carried out again. An answered PING does not
// tell that: it passes the circuit breaker.
func AwaitServing(t testing.TB, c redis.UniversalClient) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := c.Exists(t.Context(), "a key of nobody").Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis serves no command: %v", err)
		}
	}
}

// nodeArgs are the arguments of a Cluster node. It has no slots yet.
var nodeArgs = []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf"}

// StartCluster starts a Cluster of three primaries with the given number of replicas each. It
// returns the configuration that reaches it, and the servers, primaries first.
func StartCluster(t testing.TB, replicas int) (config.Redis, []*Server) {
	t.Helper()
	var nodes []*Server
	args := []string{"--cluster", "create"}
	for range 3 * (1 + replicas) {
		n := Start(t, nodeArgs...)
		nodes = append(nodes, n)
		args = append(args, n.addr)
	}
	nodes[0].CLI(append(args, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")...)
	c := nodes[0].Config()
	c.Mode, c.Addrs = config.RedisCluster, nil
	for i, n := range nodes {
		n.Await("cluster_state:ok", "cluster", "info")
		if i >= 3 {
			n.Await("master_link_status:up", "info", "replication")
		}
		c.Addrs = append(c.Addrs, n.addr)
	}
	return c, nodes
}

// AddNode adds a primary without slots to a Cluster.
func AddNode(t testing.TB, nodes []*Server) *Server {
	t.Helper()
	n := Start(t, nodeArgs...)
	n.CLI("--cluster", "add-node", n.addr, nodes[0].addr)
	for _, other := range append(nodes, n) {
		other.Await(fmt.Sprintf("cluster_known_nodes:%d", len(nodes)+1), "cluster", "info")
	}
	return n
}

// Reshard moves slots between two primaries of a Cluster, the lowest first, once all nodes agree
// who has which.
func Reshard(from, to *Server, slots int) {
	from.t.Helper()
	from.Await("All nodes agree about slots configuration", "--cluster", "check", from.addr)
	id := func(n *Server) string { return strings.TrimSpace(n.CLI("cluster", "myid")) }
	from.CLI("--cluster", "reshard", from.addr, "--cluster-from", id(from), "--cluster-to", id(to), "--cluster-slots", strconv.Itoa(slots), "--cluster-yes")
}

// StartSentinel starts a primary, a replica and a sentinel that monitors them, and returns the
// configuration that reaches the primary through the sentinel.
func StartSentinel(t testing.TB) (c config.Redis, master, replica, sentinel *Server) {
	t.Helper()
	master = Start(t)
	host, port, _ := net.SplitHostPort(master.addr)
	replica = Start(t, "--replicaof", host, port)
	replica.Await("master_link_status:up", "info", "replication") // the primary calls it online before it has the data
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor mymaster %s %s 1\nsentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n", host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel = &Server{t: t, addr: FreeAddr(t), sentinel: file}
	sentinel.Up()
	t.Cleanup(sentinel.Down)
	sentinel.Await("slaves=1", "info", "sentinel")
	c = master.Config()
	c.Mode, c.Addrs, c.MasterName = config.RedisSentinel, []string{sentinel.addr}, "mymaster"
	return c, master, replica, sentinel
}

// FreeAddr returns a free loopback address, each once. The port 10,000 above is free too, since a
// Cluster node uses it. Both ports are below the range from which the kernel chooses ports of
// connections, so that no connection takes the address before a server does. Until the test ends no
// other test process is given them, also while the test's server is down.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(12_000)
		if _, again := given.LoadOrStore(port, true); again {
			continue
		}
		if addr := loopback(port); reserve(t, addr, loopback(port+10_000)) {
			return addr
		}
	}
	t.Fatal("cannot find a free port pair in 100 attempts")
	return ""
}

var given sync.Map // ports that FreeAddr has looked at

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// reserve reports whether servers can listen on addresses that no test process has reserved. It
// reserves them by their UDP ports, which nothing else uses.
func reserve(t testing.TB, addrs ...string) bool {
	for _, addr := range addrs {
		reserved, err := net.ListenPacket("udp", addr)
		if err != nil {
			return false
		}
		t.Cleanup(func() { reserved.Close() })
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}

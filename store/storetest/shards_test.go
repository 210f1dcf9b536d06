package storetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
)

func TestReadCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		raw  string
		args []string
		err  error
	}{
		{"one argument", "*1\r\n$4\r\nPING\r\n", []string{"PING"}, nil},
		{"several", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv1\r\n", []string{"SET", "k", "v1"}, nil},
		{"an empty argument", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", []string{"GET", ""}, nil},
		{"line ends in an argument", "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", []string{"GET", "a\r\nb"}, nil},
		{"no command", "", nil, io.EOF},
		{"cut short in the head", "*2\r\n$3", nil, io.EOF},
		{"cut short in an argument", "*1\r\n$4\r\nPI", nil, io.ErrUnexpectedEOF},
	} {
		raw, args, err := readCommand(bufio.NewReader(strings.NewReader(c.raw)))
		if !errors.Is(err, c.err) || c.err == nil && (!slices.Equal(args, c.args) || string(raw) != c.raw) {
			t.Errorf("%s: %q, %q, %v", c.name, raw, args, err)
		}
	}
	if _, _, err := readCommand(bufio.NewReader(strings.NewReader("*x\r\n"))); err == nil {
		t.Error("a count that is no number is read")
	}
}

// Commands of a pipeline are read one by one, and their bytes stay as they were.
func TestReadCommandInAPipeline(t *testing.T) {
	t.Parallel()
	const text = "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
	r := bufio.NewReader(strings.NewReader(text))
	var all []byte
	for _, want := range []string{"PING", "GET"} {
		raw, args, err := readCommand(r)
		if err != nil || args[0] != want {
			t.Fatalf("%q, %v; want %s", args, err, want)
		}
		all = append(all, raw...)
	}
	if string(all) != text {
		t.Errorf("the bytes are %q", all)
	}
}

// Exactly one reply is copied, of each type of RESP2.
func TestCopyReply(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"+OK\r\n", "-ERR no\r\n", ":42\r\n", ":-1\r\n", "$5\r\nhello\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n*1\r\n$-1\r\n*2\r\n+a\r\n-ERR b\r\n", "$4\r\na\r\nb\r\n",
	} {
		var out bytes.Buffer
		in := bufio.NewReader(strings.NewReader(reply + "+NEXT\r\n"))
		if err := copyReply(&out, in); err != nil || out.String() != reply {
			t.Errorf("%q is copied as %q, %v", reply, out.String(), err)
		}
		if next, _ := in.ReadString('\n'); next != "+NEXT\r\n" {
			t.Errorf("after %q comes %q", reply, next)
		}
		for cut := range len(reply) - 1 { // a server that goes away in the middle
			if err := copyReply(io.Discard, bufio.NewReader(strings.NewReader(reply[:cut]))); err == nil {
				t.Errorf("%q is a whole reply", reply[:cut])
			}
		}
	}
}

func TestKeysOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, want []string
	}{
		{[]string{"get", "k"}, []string{"k"}},
		{[]string{"SET", "k", "v"}, []string{"k"}},
		{[]string{"EVAL", "return 1", "2", "a", "b", "arg"}, []string{"a", "b"}},
		{[]string{"evalsha", "0123", "1", "a", "arg"}, []string{"a"}},
		{[]string{"EVAL", "return 1", "0", "arg"}, []string{""}},
		{[]string{"EVAL", "return 1", "2", "a"}, []string{""}},
		{[]string{"EVAL", "return 1", "-1", "a"}, []string{""}},
		{[]string{"EVAL", "return 1", "many", "a"}, []string{""}},
		{[]string{"EVAL", "return 1"}, []string{""}},
		{[]string{"PING"}, []string{""}},
		{[]string{"DBSIZE"}, []string{""}},
		{[]string{"info", "server"}, []string{""}},
		{[]string{"config", "get", "x"}, []string{""}},
	} {
		if got := keysOf(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q has the keys %q, want %q", c.args, got, c.want)
		}
	}
}

// Keys spread over both servers, and a key is always on the same one.
func TestShardOf(t *testing.T) {
	t.Parallel()
	s := &shards{servers: make([]string, 2)}
	var n [2]int
	for i := range 1000 {
		key := fmt.Sprint("rg:window:{ww1:wk1:wm", i, "}")
		shard := s.shardOf(key)
		if n[shard]++; s.shardOf(key) != shard {
			t.Fatalf("%s moves", key)
		}
	}
	if n[0] < 300 || n[1] < 300 {
		t.Errorf("of 1000 keys %d and %d are on the servers", n[0], n[1])
	}
	if s.oneShard([]string{"a", "a"}) != true || !s.oneShard(nil) {
		t.Error("equal keys are on two servers")
	}
}

// oneOnEach returns a key on each of two shards.
func oneOnEach() (a, b string) {
	s := &shards{servers: make([]string, 2)}
	for i := 0; a == "" || b == ""; i++ {
		if key := fmt.Sprint("k", i); s.shardOf(key) == 0 {
			a = key
		} else {
			b = key
		}
	}
	return a, b
}

// connect returns a client of a configuration.
func connect(t *testing.T, c config.Redis) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: c.Addrs[0], Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return client
}

// Through the proxy each key is on its own server. A script with keys of both is rejected if the
// proxy is strict, and lacks one of them if it is not.
func TestShardingProxy(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprint("strict=", strict), func(t *testing.T) {
			t.Parallel()
			c := StartShards(t, strict)
			proxy := connect(t, c)
			a, b := oneOnEach()
			p := proxy.Pipeline()
			p.Set(t.Context(), a, "1", 0)
			p.Set(t.Context(), b, "2", 0)
			got := []*redis.StringCmd{p.Get(t.Context(), a), p.Get(t.Context(), b), p.Get(t.Context(), "none")}
			if _, err := p.Exec(t.Context()); !errors.Is(err, redis.Nil) {
				t.Fatal(err)
			}
			if got[0].Val() != "1" || got[1].Val() != "2" || !errors.Is(got[2].Err(), redis.Nil) {
				t.Fatalf("the proxy has %v", got)
			}
			if n := proxy.DBSize(t.Context()).Val(); n == 2 {
				t.Error("both keys are on one server")
			}
			const count = "local n = 0 for i = 1, #KEYS do n = n + redis.call('EXISTS', KEYS[i]) end return n"
			for _, key := range []string{a, b} {
				if n, err := proxy.Eval(t.Context(), count, []string{key}).Int(); n != 1 || err != nil {
					t.Errorf("a script with %s counts %d, %v", key, n, err)
				}
			}
			n, err := proxy.Eval(t.Context(), count, []string{a, b}).Int()
			switch {
			case strict && (err == nil || !strings.Contains(err.Error(), "must be in same slot")):
				t.Errorf("a script with keys of both servers: %d, %v", n, err)
			case !strict && (n != 1 || err != nil):
				t.Errorf("a script with keys of both servers counts %d, %v; want 1", n, err)
			}
		})
	}
}

// The store finds out that scripts through the proxy may have one key alone.
func TestStoreDetectsShards(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{true, false} {
		if s := Open(t, StartShards(t, strict), time.Now); s.MultiKey() || !s.Up() {
			t.Errorf("strict %v: MultiKey %v, Up %v", strict, s.MultiKey(), s.Up())
		}
	}
}

// Bytes that are no array of at least one argument end the client's connection, and nothing else.
func TestShardsRejectOtherCommands(t *testing.T) {
	t.Parallel()
	s := &shards{servers: []string{echo(t), echo(t)}}
	for _, sent := range []string{"PING\r\n", "*0\r\n", "*x\r\n", "*1\r\n$x\r\n"} {
		ours, theirs := net.Pipe()
		_ = ours.SetDeadline(time.Now().Add(time.Minute))
		go s.serve(theirs)
		if _, err := io.WriteString(ours, sent); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(ours); len(rest) > 0 || err != nil {
			t.Errorf("%q is answered %q, %v", sent, rest, err)
		}
	}
}

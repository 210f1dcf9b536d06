package storetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"replygate/config"
	"replygate/store"
)

// shards is a sharding proxy over independent Redis servers, as many hosted ones are. It sends a
// command to the server of its first key's slot, so keys with the same hash tag are together.
type shards struct {
	servers []string
	strict  bool
}

// StartShards starts a sharding proxy over two servers, and returns the configuration that reaches
// it. If strict, it rejects a script with keys of both servers; else it runs the script on the
// server of the first key.
func StartShards(t testing.TB, strict bool) config.Redis {
	t.Helper()
	c, _, _ := StartShardServers(t, strict, 2)
	return c
}

// serve serves one client until it disconnects.
func (s *shards) serve(client net.Conn) {
	defer client.Close()
	in, out := bufio.NewReader(client), bufio.NewWriter(client)
	conns := make([]net.Conn, len(s.servers))
	replies := make([]*bufio.Reader, len(s.servers))
	for i, addr := range s.servers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer c.Close()
		conns[i], replies[i] = c, bufio.NewReader(c)
	}
	for {
		raw, args, err := readCommand(in)
		if err != nil {
			return
		}
		keys := keysOf(args)
		to := s.shardOf(keys[0])
		if s.strict && !s.oneShard(keys) {
			_, err = io.WriteString(out, "-ERR eval/evalsha command keys must be in same slot\r\n")
		} else if _, err = conns[to].Write(raw); err == nil {
			err = copyReply(out, replies[to])
		}
		if err == nil && in.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			return
		}
	}
}

// shardOf returns the index of a key's server.
func (s *shards) shardOf(key string) int {
	return store.Slot(key) * len(s.servers) / 16384
}

// oneShard reports whether all keys are on the same server.
func (s *shards) oneShard(keys []string) bool {
	for _, key := range keys {
		if s.shardOf(key) != s.shardOf(keys[0]) {
			return false
		}
	}
	return true
}

// keysOf returns the keys by which a command is routed, at least one; "" for a command without a
// key.
func keysOf(args []string) []string {
	switch strings.ToLower(args[0]) {
	case "eval", "evalsha":
		if len(args) > 3 {
			if n, err := strconv.Atoi(args[2]); err == nil && n > 0 && n <= len(args)-3 {
				return args[3 : 3+n]
			}
		}
	case "ping", "info", "time", "config", "scan", "hello", "select", "client", "auth":
	default:
		if len(args) > 1 {
			return args[1:2]
		}
	}
	return []string{""}
}

// readCommand reads a command, an array of bulk strings. raw are its bytes as received.
func readCommand(r *bufio.Reader) (raw []byte, args []string, err error) {
	head, n, err := readHead(r)
	raw = append(raw, head...)
	for range n {
		if head, length, e := readHead(r); e == nil {
			arg := make([]byte, length+2)
			_, err = io.ReadFull(r, arg)
			raw = append(append(raw, head...), arg...)
			args = append(args, string(arg[:length]))
		} else {
			err = e
		}
		if err != nil {
			break
		}
	}
	if err == nil && len(args) == 0 {
		err = fmt.Errorf("storetest: %q is no command", raw)
	}
	return raw, args, err
}

// readHead reads a line of RESP. n is the length in it, 0 for null and for types without a length.
func readHead(r *bufio.Reader) (line string, n int, err error) {
	if line, err = r.ReadString('\n'); err == nil && strings.ContainsAny(line[:1], "*$") {
		n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	return line, max(n, 0), err
}

// copyReply copies one reply, with all elements of an array.
func copyReply(w io.Writer, r *bufio.Reader) error {
	line, n, err := readHead(r)
	if err == nil {
		_, err = io.WriteString(w, line)
	}
	switch {
	case err != nil:
	case line[0] == '*':
		for range n {
			if err = copyReply(w, r); err != nil {
				return err
			}
		}
	case line[0] == '$' && line != "$-1\r\n":
		_, err = io.CopyN(w, r, int64(n)+2)
	}
	if err != nil {
		return fmt.Errorf("storetest: a reply: %w", err)
	}
	return nil
}

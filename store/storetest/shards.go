package storetest

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"replygate/config"
)

// shards is a proxy over Redis servers that know nothing of each other, as many hosted ones are. A
// command goes to the server of its key.
type shards struct {
	servers []string
	strict  bool
}

// StartShards starts such a proxy over two servers. A script with keys of both is refused if it is
// strict, else it runs where its first key is.
func StartShards(t testing.TB, strict bool) config.Redis {
	t.Helper()
	one, two := Start(t), Start(t)
	s := &shards{servers: []string{one.Addr(), two.Addr()}, strict: strict}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	c := one.Config()
	c.Addrs = []string{ln.Addr().String()}
	return c
}

// serve serves one client until it goes.
func (s *shards) serve(client net.Conn) {
	defer client.Close()
	in, out := bufio.NewReader(client), bufio.NewWriter(client)
	backs := make([]net.Conn, len(s.servers))
	answers := make([]*bufio.Reader, len(s.servers))
	for i, addr := range s.servers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer c.Close()
		backs[i], answers[i] = c, bufio.NewReader(c)
	}
	for {
		raw, words, err := readCommand(in)
		if err != nil {
			return
		}
		keys := keysOf(words)
		to := s.shardOf(keys[0])
		if s.strict && !s.together(keys) {
			_, err = io.WriteString(out, "-ERR eval/evalsha command keys must be in same slot\r\n")
		} else if _, err = backs[to].Write(raw); err == nil {
			err = copyReply(out, answers[to])
		}
		if err == nil && in.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			return
		}
	}
}

func (s *shards) shardOf(key string) int {
	return int(crc32.ChecksumIEEE([]byte(key)) % uint32(len(s.servers)))
}

func (s *shards) together(keys []string) bool {
	for _, key := range keys {
		if s.shardOf(key) != s.shardOf(keys[0]) {
			return false
		}
	}
	return true
}

// keysOf are the keys of a command as far as its place depends on them; one at least.
func keysOf(words []string) []string {
	switch strings.ToLower(words[0]) {
	case "eval", "evalsha":
		n, _ := strconv.Atoi(words[2])
		return words[3 : 3+n]
	case "ping", "info", "time", "config", "scan", "hello", "select", "client", "auth":
		return []string{""}
	}
	return words[1:2]
}

// readCommand reads an array of bulk strings.
func readCommand(r *bufio.Reader) (raw []byte, words []string, err error) {
	head, n, err := readHead(r)
	raw = append(raw, head...)
	for range n {
		if head, length, e := readHead(r); e == nil {
			word := make([]byte, length+2)
			_, err = io.ReadFull(r, word)
			raw = append(append(raw, head...), word...)
			words = append(words, string(word[:length]))
		} else {
			err = e
		}
		if err != nil {
			break
		}
	}
	return raw, words, err
}

// readHead reads a line of RESP, and the number that it ends in; 0 for null.
func readHead(r *bufio.Reader) (line string, n int, err error) {
	if line, err = r.ReadString('\n'); err == nil && strings.ContainsAny(line[:1], "*$") {
		n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	return line, max(n, 0), err
}

// copyReply copies one reply.
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

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"replygate/store/storetest"
	"replygate/window"
)

// The stub answers calls, and gives each corp a token of its own.
func TestUpstream(t *testing.T) {
	t.Parallel()
	addr, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/cgi-bin/gettoken?corpid=" + active: `"access_token":"` + token(active) + `"`,
		"/cgi-bin/gettoken?corpid=" + lapsed: `"access_token":"` + token(lapsed) + `"`,
		"/cgi-bin/kf/send_msg":               `{"errcode":0,"errmsg":"ok","msgid":"`,
	} {
		status, body, err := fasthttp.Get(nil, "http://"+addr+path)
		if err != nil || status != fasthttp.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: HTTP %d %s, %v; want %s", path, status, body, err, want)
		}
	}
}

func TestCPU(t *testing.T) {
	t.Parallel()
	var none *server
	if got := none.cpu(); got != 0 {
		t.Errorf("no server used %s", got)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: &exec.Cmd{Process: self}}
	before := s.cpu()
	for deadline := time.Now().Add(30 * time.Second); s.cpu() < before+20*time.Millisecond; {
		for range 1_000_000 {
		}
		if time.Now().After(deadline) {
			t.Fatalf("busy for 30 s, the process used %s", s.cpu()-before)
		}
	}
	if got := (&server{cmd: &exec.Cmd{Process: &os.Process{Pid: 1 << 30}}}).cpu(); got != 0 {
		t.Errorf("a process that does not exist used %s", got)
	}
}

func TestStartRedis(t *testing.T) {
	t.Parallel()
	storetest.Need(t, "redis-server")
	s, err := startRedis(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	s.stop()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("it answers after stop")
	}
}

func TestStartGatewayErrors(t *testing.T) {
	t.Parallel()
	if _, err := startGateway(filepath.Join(t.TempDir(), "none"), t.TempDir(), "127.0.0.1:1", "127.0.0.1:2", 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a program: %v", err)
	}
	if _, err := startGateway("x", filepath.Join(t.TempDir(), "none"), "127.0.0.1:1", "127.0.0.1:2", 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if testing.Short() {
		t.Skip("-short: waits five seconds for a program that ends at once")
	}
	if _, err := startGateway("true", t.TempDir(), "127.0.0.1:1", "127.0.0.1:2", 0); err == nil || !strings.HasPrefix(err.Error(), "nothing listens at ") {
		t.Errorf("a program that does not listen: %v", err)
	}
}

// A gateway that gives no token is an error with its status.
func TestGatewayWithoutTokens(t *testing.T) {
	t.Setenv(failVariable, "1")
	_, err := startGateway(newBench(t).program, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2", 0)
	if err == nil || err.Error() != "gettoken: HTTP 503" {
		t.Errorf("%v", err)
	}
}

// statesOf returns the states of customers' windows as a gateway sees them.
func statesOf(t *testing.T, addr string, keys ...window.Key) []window.Answer {
	t.Helper()
	c := storetest.Embedded(t)
	c.Mode, c.Addrs = "single", []string{addr}
	s := storetest.Open(t, c, time.Now)
	w := window.NewShared(s.UniversalClient, s, s.Journal, window.Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: s.Timeout, Now: time.Now})
	if err := w.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.Peek(context.Background(), keys...)
}

// Seeded customers have an open window, and others have none, with a complete history.
func TestSeed(t *testing.T) {
	t.Parallel()
	s := storetest.Start(t)
	s.CLI("set", "rg:window:{left:over:key}", "x")
	if err := seed(s.Addr()); err != nil {
		t.Fatal(err)
	}
	keys := []window.Key{
		{Corp: lapsed, Channel: "wkBench", Customer: customer(0)},
		{Corp: lapsed, Channel: "wkBench", Customer: customer(customers - 1)},
		{Corp: lapsed, Channel: "wkBench", Customer: "wmNobody1"},
		{Corp: active, Channel: "wkBench", Customer: customer(0)},
	}
	want := []window.State{window.Open, window.Open, window.Closed, window.Closed}
	for i, got := range statesOf(t, s.Addr(), keys...) {
		if got.State != want[i] {
			t.Errorf("%+v is %s, want %s", keys[i], got.State, want[i])
		}
	}
	if got := strings.TrimSpace(s.CLI("exists", "rg:window:{left:over:key}")); got != "0" {
		t.Error("an earlier key is left")
	}
}

// seedFrom writes tokens and windows of a folder, and leaves windows alone that it wrote before.
func TestSeedFrom(t *testing.T) {
	t.Parallel()
	s := storetest.Start(t)
	dir := t.TempDir()
	files := map[string]string{"tokens.map": "token-1 ww1\ntoken-2 ww2\n", "windows.txt": "ww1:wmA\nww2:wmB\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := seedFrom(dir, s.Addr(), "wk1"); err != nil {
			t.Fatal(err)
		}
		if got := statesOf(t, s.Addr(), window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmA"})[0].State; got != window.Open {
			t.Fatalf("the window is %s", got)
		}
		s.CLI("hset", "rg:window:{ww2:wk1:wmB}", "sent", "9999999999999")
	}
	if got := strings.TrimSpace(s.CLI("hget", "rg:window:{ww2:wk1:wmB}", "sent")); got != "9999999999999" {
		t.Errorf("the second call has changed the window: sent = %q", got)
	}
	hash := sha256.Sum256([]byte("token-1"))
	if got := strings.TrimSpace(s.CLI("get", "rg:token:"+hex.EncodeToString(hash[:]))); got != "ww1" {
		t.Errorf("token-1 belongs to %q", got)
	}
}

func TestSeedFromErrors(t *testing.T) {
	t.Parallel()
	s := storetest.Start(t)
	dir := t.TempDir()
	if err := seedFrom(dir, s.Addr(), "wk1"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "tokens.map") {
		t.Errorf("without tokens.map: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokens.map"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := seedFrom(dir, s.Addr(), "wk1"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "windows.txt") {
		t.Errorf("without windows.txt: %v", err)
	}
	s.Down()
	if err := seedFrom(dir, s.Addr(), "wk1"); err == nil {
		t.Error("without Redis it succeeds")
	}
}

// An error has the file and the number of its line, and ends the reading.
func TestEachLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte("a\nb\n\nc"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	if err := eachLine(file, func(line string) error { all = append(all, line); return nil }); err != nil || strings.Join(all, "|") != "a|b||c" {
		t.Errorf("lines %q, %v", all, err)
	}
	broken := errors.New("broken")
	n := 0
	err := eachLine(file, func(line string) error {
		if n++; line == "b" {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), file+":2: ") || n != 2 {
		t.Errorf("error %v after %d lines", err, n)
	}
}

func TestFreeAddrIsFree(t *testing.T) {
	t.Parallel()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := startUpstream()
	if err != nil || upstream == addr {
		t.Fatalf("address %s, %v", upstream, err)
	}
	if err := waitFor(upstream); err != nil {
		t.Errorf("a server that listens: %v", err)
	}
}

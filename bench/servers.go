package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
)

// startUpstream starts a stub that answers every call at once. gettoken returns a token of the
// corp.
func startUpstream() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		_ = fasthttp.Serve(ln, func(rc *fasthttp.RequestCtx) {
			rc.SetContentType("application/json; charset=UTF-8")
			if bytes.HasSuffix(rc.Path(), []byte("/gettoken")) {
				fmt.Fprintf(rc, `{"errcode":0,"errmsg":"ok","access_token":"%s","expires_in":7200}`, token(string(rc.QueryArgs().Peek("corpid"))))
				return
			}
			rc.SetBodyString(`{"errcode":0,"errmsg":"ok","msgid":"MSGID_AaBbCcDdEeFf0123456789"}`)
		})
	}()
	return ln.Addr().String(), nil
}

// token returns the access token of a corp, as long as WeCom's.
func token(corp string) string { return corp + strings.Repeat("x", 214-len(corp)) }

// server is a process of the bench.
type server struct {
	addr string
	cmd  *exec.Cmd
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait()
}

// cpu returns the user and system time of the process, 0 for a nil server or without /proc.
func (s *server) cpu() time.Duration {
	if s == nil {
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // a tick is 10 ms on Linux
}

// startRedis starts a redis-server without persistence.
func startRedis(dir string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	s := &server{addr: addr, cmd: exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	if err := waitFor(addr); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// seed empties Redis and opens a window without replies for every customer.
func seed(addr string) error {
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	ctx := context.Background()
	if err := c.FlushAll(ctx).Err(); err != nil {
		return err
	}
	now := time.Now()
	p := c.Pipeline()
	p.Set(ctx, "rg:since", now.Add(-96*time.Hour).UnixMilli(), 0)
	for i := range customers {
		key := "rg:window:{" + lapsed + ":wkBench:" + customer(i) + "}"
		p.HSet(ctx, key, "last", now.Add(-time.Minute).UnixMilli())
		p.PExpireAt(ctx, key, now.Add(47*time.Hour))
	}
	_, err := p.Exec(ctx)
	return err
}

// startGateway starts the gateway with two accounts, active and lapsed, and lets it learn their
// tokens.
func startGateway(program, dir, upstream, redisAddr string, replies int) (*server, error) {
	api, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "replygate.yaml")
	text := fmt.Sprintf(`listen: { api: "%s", admin: "%s" }
upstream: { url: "http://%s" }
redis: { mode: single, addrs: ["%s"] }
journal: { path: "%s" }
window: { replies: %d }
accounts:
  - { corp_id: %s }
  - { corp_id: %s, subscription: { expires_at: 2020-01-01T00:00:00Z } }
log: { decisions: "%s" }
shutdown: { lame_duck: 0s, grace: 1s }
`, api, admin, upstream, redisAddr, filepath.Join(dir, "journal"), replies, active, lapsed, filepath.Join(dir, "decisions.log"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	access, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		return nil, err
	}
	defer access.Close()
	g := &server{addr: api, cmd: exec.Command(program, "serve", "-c", file)}
	g.cmd.Stdout, g.cmd.Stderr = access, access
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	if err := waitFor(api); err != nil {
		g.stop()
		return nil, err
	}
	for _, corp := range []string{active, lapsed} {
		status, _, err := fasthttp.Get(nil, "http://"+api+"/cgi-bin/gettoken?corpid="+corp+"&corpsecret=s")
		if err == nil && status != fasthttp.StatusOK {
			err = fmt.Errorf("HTTP %d", status)
		}
		if err != nil {
			g.stop()
			return nil, fmt.Errorf("gettoken: %w", err)
		}
	}
	return g, nil
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func waitFor(addr string) error {
	for range 500 {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens at %s", addr)
}

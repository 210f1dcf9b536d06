// Command bench measures what the gateway costs: it starts an upstream stub, a redis-server and a
// gateway as users run it, sends calls over loopback, and prints a line for each kind of call.
//
// It is no test and judges nothing: figures depend on the machine, so compare them within one run only.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
)

const (
	active    = "wwBenchActive"
	lapsed    = "wwBenchLapsed"
	customers = 20_000 // with an open window
)

func main() {
	program := flag.String("gateway", "", "the replygate `PROGRAM`")
	rounds := flag.Int("n", 1, "how often each kind of call is measured, by turns")
	out := flag.String("out", "", "also append the figures to this `FILE`, as benchstat reads them")
	each := flag.Duration("d", 5*time.Second, "how long each kind of call is sent")
	clients := flag.Int("c", 64, "connections at a time")
	seed := flag.String("seed", "", "only write into Redis what the files of this `FOLDER` tell of: tokens.map and windows.txt")
	addr := flag.String("redis", "127.0.0.1:6379", "with -seed: the `ADDRESS` of Redis")
	channel := flag.String("channel", "", "with -seed: the `CHANNEL` of the windows")
	flag.Parse()
	if *seed != "" {
		if err := seedFrom(*seed, *addr, *channel); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	b := bench{program: *program, each: *each, clients: *clients, rounds: *rounds}
	err := b.open(*out)
	if err == nil {
		err = errors.Join(b.run(), b.close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of all rows.
type bench struct {
	program string
	each    time.Duration
	clients int
	rounds  int
	out     *os.File // nil: none
}

func (b *bench) open(file string) (err error) {
	if file != "" {
		b.out, err = os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	return err
}

func (b *bench) close() error {
	if b.out == nil {
		return nil
	}
	return b.out.Close()
}

// report prints one row, and writes it as the result of a Go benchmark.
func (b *bench) report(r row, calls int64, took, cpu time.Duration, latencies []time.Duration) error {
	slices.Sort(latencies)
	perCall, rate := float64(cpu.Nanoseconds())/float64(calls)/1000, float64(calls)/took.Seconds()
	median, tail := latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	fmt.Printf("%-30s %10.0f %12.1f %12d %12d\n", r.name, rate, perCall, median.Microseconds(), tail.Microseconds())
	if b.out == nil {
		return nil
	}
	name := strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(r.name)
	_, err := fmt.Fprintf(b.out, "BenchmarkGateway/%s %d %.1f cpu-us/call %.0f calls/s %d median-us\n", name, calls, perCall, rate, median.Microseconds())
	return err
}

// row is one kind of call.
type row struct {
	name    string
	corp    string
	replies int // window.replies of the gateway
	target  string
	body    func(i int64) []byte
	errcode string // that every answer must have
}

func rows() []row {
	send := func(customer string) []byte {
		return fmt.Appendf(nil, `{"touser":%q,"open_kfid":"wkBench","msgtype":"text","text":{"content":"Your order has been shipped."}}`, customer)
	}
	open := func(i int64) []byte { return send(customer(int(i % customers))) }
	seen := func(i int64) []byte { return send(customer(int(i % 1000))) } // remembered after the first thousand calls
	mass := func(int64) []byte { return []byte(`{"external_userid":["wmA"],"sender":"z","text":{"content":"x"}}`) }
	return []row{
		{"direct, no gateway", "", 0, "/cgi-bin/kf/send_msg", open, "0"},
		{"active account, passed", active, 0, "/cgi-bin/kf/send_msg", open, "0"},
		{"lapsed, reply, replies: 0", lapsed, 0, "/cgi-bin/kf/send_msg", seen, "0"},
		{"lapsed, reply, counted", lapsed, 1000, "/cgi-bin/kf/send_msg", open, "0"},
		{"lapsed, refused, no window", lapsed, 1000, "/cgi-bin/kf/send_msg", func(i int64) []byte { return send("wmNobody" + strconv.FormatInt(i%customers, 10)) }, "95002"},
		{"lapsed, refused, interface", lapsed, 1000, "/cgi-bin/externalcontact/add_msg_template", mass, "48002"},
	}
}

func customer(i int) string { return fmt.Sprintf("wmBenchCustomer%016d", i) }

func (b *bench) run() error {
	if b.program == "" {
		return errors.New("name the program: -gateway ./replygate")
	}
	dir, err := os.MkdirTemp("", "replygate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	upstream, err := startUpstream()
	if err != nil {
		return err
	}
	redisAddr, stopRedis, err := startRedis(dir)
	if err != nil {
		return err
	}
	defer stopRedis()
	fmt.Printf("%-30s %10s %12s %12s %12s\n", "call", "calls/s", "CPU us/call", "median us", "p99 us")
	all := slices.Repeat(rows(), b.rounds)
	for _, r := range all {
		target := upstream
		var g *gateway
		if r.corp != "" {
			if err := seed(redisAddr); err != nil {
				return err
			}
			if g, err = startGateway(b.program, dir, upstream, redisAddr, r.replies); err != nil {
				return err
			}
			target = g.addr
		}
		err := b.measure(r, target, g)
		if g != nil {
			g.stop()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// startUpstream answers every call at once; gettoken hands out a token that names the corp.
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

func token(corp string) string { return corp + strings.Repeat("x", 214-len(corp)) }

func startRedis(dir string) (addr string, stop func(), err error) {
	addr, err = freeAddr()
	if err != nil {
		return "", nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("redis-server: %w", err)
	}
	return addr, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, waitFor(addr)
}

// seed gives every customer an open window without replies.
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

// gateway is a running gateway.
type gateway struct {
	addr string
	cmd  *exec.Cmd
}

func startGateway(program, dir, upstream, redisAddr string, replies int) (*gateway, error) {
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
	g := &gateway{addr: api, cmd: exec.Command(program, "serve", "-c", file)}
	g.cmd.Stdout, g.cmd.Stderr = access, access
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	if err := waitFor(api); err != nil {
		g.stop()
		return nil, err
	}
	for _, corp := range []string{active, lapsed} {
		if status, _, err := fasthttp.Get(nil, "http://"+api+"/cgi-bin/gettoken?corpid="+corp+"&corpsecret=s"); err != nil || status != fasthttp.StatusOK {
			g.stop()
			return nil, fmt.Errorf("gettoken: HTTP %d, %w", status, err)
		}
	}
	return g, nil
}

func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(os.Interrupt)
	_ = g.cmd.Wait()
}

// measure sends one kind of call for a while and prints what it cost.
func (b *bench) measure(r row, addr string, g *gateway) error {
	client := &fasthttp.HostClient{Addr: addr, MaxConns: b.clients, MaxIdemponentCallAttempts: 1}
	want := []byte(`"errcode":` + r.errcode + `,`)
	call := func(i int64) error {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(req)
		defer fasthttp.ReleaseResponse(resp)
		req.Header.SetMethod("POST")
		req.Header.SetContentType("application/json")
		req.SetRequestURI("http://" + addr + r.target + "?access_token=" + token(r.corp))
		req.SetBodyRaw(r.body(i))
		if err := client.Do(req, resp); err != nil {
			return err
		}
		if !bytes.Contains(resp.Body(), want) {
			return fmt.Errorf("an answer without %s: %s", want, resp.Body())
		}
		return nil
	}
	var next atomic.Int64
	var failed atomic.Value
	latencies := make([][]time.Duration, b.clients)
	cpu := cpuOf(g)
	began := time.Now()
	var all sync.WaitGroup
	for c := range b.clients {
		all.Go(func() {
			for time.Since(began) < b.each && failed.Load() == nil {
				start := time.Now()
				if err := call(next.Add(1)); err != nil {
					failed.Store(err)
				}
				latencies[c] = append(latencies[c], time.Since(start))
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return err
	}
	return b.report(r, next.Load(), time.Since(began), cpuOf(g)-cpu, slices.Concat(latencies...))
}

// cpuOf is the user and system time that the gateway has used; 0 where /proc does not say.
func cpuOf(g *gateway) time.Duration {
	if g == nil {
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // a tick is 10 ms on Linux
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

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.yaml.in/yaml/v3"

	"replygate/store/storetest"
)

// failVariable makes the gateway that the tests start answer with HTTP 503.
const failVariable = "BENCH_TEST_FAIL"

// mainVariable makes this test program run the bench instead of its tests.
const mainVariable = "BENCH_TEST_MAIN"

// TestMain also is the gateway that the tests start: the test binary with the arguments of serve.
func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		if err := serve(os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(storetest.Main(m))
}

// serve answers as the gateway would, by its configuration.
func serve(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c struct {
		Listen   struct{ API, Admin string }
		Upstream struct{ URL string }
		Redis    struct{ Addrs []string }
		Window   struct{ Replies int }
		Accounts []struct {
			CorpID string `yaml:"corp_id"`
		}
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return err
	}
	if c.Listen.API == c.Listen.Admin || c.Upstream.URL == "" || len(c.Redis.Addrs) != 1 || len(c.Accounts) != 2 {
		return fmt.Errorf("not the configuration of a bench: %s", data)
	}
	ln, err := net.Listen("tcp", c.Listen.API)
	if err != nil {
		return err
	}
	return fasthttp.Serve(ln, func(rc *fasthttp.RequestCtx) {
		if os.Getenv(failVariable) != "" {
			rc.SetStatusCode(fasthttp.StatusServiceUnavailable)
		}
		errcode := "0"
		switch {
		case strings.HasSuffix(string(rc.Path()), "/add_msg_template"):
			errcode = "48002"
		case strings.Contains(string(rc.PostBody()), "wmNobody"):
			errcode = "95002"
		}
		fmt.Fprintf(rc, `{"errcode":%s,"errmsg":"ok"}`, errcode)
	})
}

func newBench(t *testing.T) *bench {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{program: program, each: 50 * time.Millisecond, clients: 2, rounds: 1}
}

// Every row runs on a gateway of its own, and its figures are in the file as benchstat reads them.
func TestMeasure(t *testing.T) {
	b := newBench(t)
	out := filepath.Join(t.TempDir(), "out.txt")
	if err := b.open(out); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	storetest.Need(t, "redis-server")
	upstream, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	store, err := startRedis(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.stop()
	var want []string
	for _, r := range rows(2)[:6] {
		if testing.Short() && r.corp != "" && r.errcode == "0" {
			continue // -short: one row of each answer
		}
		if err := b.measure(r, dir, upstream, store); err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		want = append(want, strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(r.name))
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %s", len(lines), len(want), data)
	}
	for i, line := range lines {
		pattern := `^BenchmarkGateway/2-connections/` + regexp.QuoteMeta(want[i]) + ` [1-9]\d* \d+\.\d cpu-us/call \d+\.\d redis-us/call \d+ calls/s \d+ median-us$`
		if !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("line %q does not match %s", line, pattern)
		}
	}
}

// report adds to a file that exists, and compares with the direct row of the same load.
func TestReport(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out.txt")
	if err := os.WriteFile(out, []byte("goos: linux\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	if err := b.open(out); err != nil {
		t.Fatal(err)
	}
	f := figures{calls: 2, took: time.Second, gateway: 20 * time.Microsecond, redis: 4 * time.Microsecond, latencies: []time.Duration{time.Millisecond, 3 * time.Millisecond}}
	at := load{name: "one connection", clients: 1}
	if err := b.report(row{kind{name: "direct, no gateway"}, at}, f); err != nil {
		t.Fatal(err)
	}
	if b.direct != time.Millisecond || b.load != at.name {
		t.Errorf("direct %s at %q", b.direct, b.load)
	}
	f.latencies = []time.Duration{2 * time.Millisecond, 2 * time.Millisecond}
	if err := b.report(row{kind{name: "lapsed, reply, replies: 0", corp: lapsed}, at}, f); err != nil {
		t.Fatal(err)
	}
	if b.direct != time.Millisecond {
		t.Errorf("a row with a gateway changes direct to %s", b.direct)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	want := "goos: linux\n" +
		"BenchmarkGateway/one-connection/direct-no-gateway 2 10.0 cpu-us/call 2.0 redis-us/call 2 calls/s 1000 median-us\n" +
		"BenchmarkGateway/one-connection/lapsed-reply-replies-0 2 10.0 cpu-us/call 2.0 redis-us/call 2 calls/s 2000 median-us\n"
	if got, _ := os.ReadFile(out); string(got) != want {
		t.Errorf("the file holds\n%swant\n%s", got, want)
	}
}

func TestRunErrors(t *testing.T) {
	if err := (&bench{}).run(); err == nil || err.Error() != "name the program: -gateway ./replygate" {
		t.Errorf("without a program: %v", err)
	}
	if err := (&bench{}).open(filepath.Join(t.TempDir(), "none", "out.txt")); err == nil {
		t.Error("a file in a missing folder opens")
	}
	if err := (&bench{}).close(); err != nil {
		t.Errorf("without a file: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := (&bench{program: "x", each: time.Second, clients: 1, rounds: 1}).run(); err == nil || !strings.HasPrefix(err.Error(), "redis-server: ") {
		t.Errorf("without redis-server: %v", err)
	}
}

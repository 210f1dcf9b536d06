// Command bench measures the cost of the gateway. It starts an upstream stub, a redis-server and a
// gateway as users run it, sends calls over loopback, and prints a line for each kind of call.
//
// It does not judge the figures: they depend on the machine, so compare them within one run only.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	program := flag.String("gateway", "", "the replygate `PROGRAM`")
	rounds := flag.Int("n", 1, "how many `ROUNDS` of all kinds of calls are measured")
	out := flag.String("out", "", "also append the figures to this `FILE`, as benchstat reads them")
	each := flag.Duration("d", 5*time.Second, "how long each kind of call is sent")
	clients := flag.Int("c", 64, "`CONNECTIONS` of the load with many")
	seed := flag.String("seed", "", "only write the tokens and windows of this `FOLDER` into Redis: tokens.map and windows.txt")
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
	out     *os.File // nil: no file

	load   string        // of the previous row
	direct time.Duration // the median latency without a gateway at that load
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

func (b *bench) run() error {
	if b.program == "" {
		return errors.New("name the program: -gateway ./replygate")
	}
	if b.each <= 0 || b.clients < 1 || b.rounds < 1 {
		return fmt.Errorf("-d is %s, -c %d and -n %d: all must be positive", b.each, b.clients, b.rounds)
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
	store, err := startRedis(dir)
	if err != nil {
		return err
	}
	defer store.stop()
	for _, r := range slices.Repeat(rows(b.clients), b.rounds) {
		if err := b.measure(r, dir, upstream, store); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// measure runs one row on a new gateway, and reports it. Upstream and Redis are shared.
func (b *bench) measure(r row, dir, upstream string, store *server) error {
	if r.corp == "" {
		f, err := send(r, upstream, b.each, nil, store)
		if err != nil {
			return err
		}
		return b.report(r, f)
	}
	if err := seed(store.addr); err != nil {
		return err
	}
	own, err := os.MkdirTemp(dir, "gateway-") // an earlier journal would know of windows that the new Redis lacks
	if err != nil {
		return err
	}
	g, err := startGateway(b.program, own, upstream, store.addr, r.replies)
	if err != nil {
		return err
	}
	defer g.stop()
	f, err := send(r, g.addr, b.each, g, store)
	if err != nil {
		return err
	}
	return b.report(r, f)
}

// report prints one row, and appends it to the file in the format of Go benchmarks.
func (b *bench) report(r row, f figures) error {
	if b.load != r.load.name {
		b.load = r.load.name
		fmt.Printf("\n%-26s %9s %12s %14s %10s %9s %8s\n", b.load, "calls/s", "CPU us/call", "Redis us/call", "median us", "added us", "p99 us")
	}
	median := f.quantile(0.5)
	added := "-"
	if r.corp == "" {
		b.direct = median
	} else if b.direct > 0 {
		added = fmt.Sprint((median - b.direct).Microseconds())
	}
	fmt.Printf("%-26s %9.0f %12.1f %14.1f %10d %9s %8d\n", r.name, f.rate(), f.perCall(f.gateway), f.perCall(f.redis),
		median.Microseconds(), added, f.quantile(0.99).Microseconds())
	if b.out == nil {
		return nil
	}
	name := strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(r.load.name + "/" + r.name)
	_, err := fmt.Fprintf(b.out, "BenchmarkGateway/%s %d %.1f cpu-us/call %.1f redis-us/call %.0f calls/s %d median-us\n",
		name, f.calls, f.perCall(f.gateway), f.perCall(f.redis), f.rate(), median.Microseconds())
	return err
}

package window_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/internal/lineartest"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/window"
)

var benchWindows = flag.Int("waiting.windows", 100_000, "windows that BenchmarkWaitingPage seeds; 2000000 is the size of a large provider")

// BenchmarkWaitingPage reads a page of 50 over many windows of 300 corps, of which 5 % wait, with
// its counts. bytes/chat is what Redis needs for a member of a list. On a busy machine ms/page is
// mostly waiting; the processor times are not.
func BenchmarkWaitingPage(b *testing.B) {
	const corps = 300
	s := storetest.Open(b, storetest.Start(b).Config(), time.Now)
	w, _ := newStore(b, s, settings(5, time.Now))
	corp := func(i int) string { return fmt.Sprintf("ww%016d", i%corps) }
	member := func(i int) string { return fmt.Sprintf("wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw:wmAJ2GCAAA%022d", i) }
	now := time.Now()
	lists := map[string][]redis.Z{}
	for from := 0; from < *benchWindows; from += 10_000 {
		p := s.Pipeline()
		for i := from; i < min(from+10_000, *benchWindows); i++ {
			last := now.Add(-time.Duration(i%172_000) * time.Second).UnixMilli()
			key := "rg:window:{" + corp(i) + ":" + member(i) + "}"
			if i%20 == 0 {
				p.HSet(b.Context(), key, "last", last)
				lists[corp(i)] = append(lists[corp(i)], redis.Z{Score: float64(last), Member: member(i)})
			} else {
				p.HSet(b.Context(), key, "last", last, "answered", last)
			}
		}
		if _, err := p.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	before, chats := memory(b, s), 0
	for corp, all := range lists {
		chats += len(all)
		s.SAdd(b.Context(), "rg:waiting-corps", corp)
		for ; len(all) > 0; all = all[min(len(all), 5000):] {
			if err := s.ZAdd(b.Context(), "rg:waiting:{"+corp+"}", all[:min(len(all), 5000)]...).Err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	perChat := float64(memory(b, s)-before) / float64(chats)
	if err := w.Sum(b.Context()); err != nil {
		b.Fatal(err)
	}
	query := window.Query{Waiting: true, Limit: 50}
	own, redis := lineartest.CPUTime(b), redisCPU(b, s)
	for b.Loop() {
		page, err := w.ListByClose(b.Context(), query)
		if err != nil || len(page.Entries) != 50 {
			b.Fatal(len(page.Entries), err)
		}
		if _, err := w.CountWaiting(b.Context(), query); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(perChat, "bytes/chat")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/page")
	b.ReportMetric(float64((lineartest.CPUTime(b)-own).Microseconds())/1000/float64(b.N), "cpu-ms/page")
	b.ReportMetric((redisCPU(b, s)-redis)*1000/float64(b.N), "redis-cpu-ms/page")
}

// redisCPU is the processor time of Redis, in seconds.
func redisCPU(b *testing.B, s redis.UniversalClient) (sum float64) {
	b.Helper()
	text, err := s.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(text) {
		var n float64
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_user" || name == "used_cpu_sys" {
			if _, err := fmt.Sscan(value, &n); err != nil {
				b.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// memory is what Redis uses, in bytes.
func memory(b *testing.B, s redis.UniversalClient) (n int64) {
	b.Helper()
	text, err := s.Info(b.Context(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "used_memory:%d", &n); err == nil {
			return n
		}
	}
	b.Fatal("no used_memory")
	return 0
}

// BenchmarkVisitByClose reads what the gateway that watches for events reads of many chats that all
// wait: near is every 15 seconds, all every five minutes.
func BenchmarkVisitByClose(b *testing.B) {
	const corps = 300
	c := storetest.Start(b).Config()
	c.Timeout = time.Minute // for the seeds, on a busy machine
	s := storetest.Open(b, c, time.Now)
	w, _ := newStore(b, s, settings(5, time.Now))
	seedWaiting(b, s, corps)
	if err := w.Sum(b.Context()); err != nil {
		b.Fatal(err)
	}
	visit := func(b *testing.B, within, of time.Duration) (n int) {
		q := window.Query{Waiting: true, Within: within}
		if of != 0 {
			q.After = &window.Position{Last: time.Now().Add(within - of - 48*time.Hour).UnixMilli()}
		}
		if err := w.VisitByClose(b.Context(), q, func(some []window.Entry) error { n += len(some); return nil }); err != nil {
			b.Fatal(err)
		}
		return n
	}
	for name, look := range map[string]func(b *testing.B) int{
		"near": func(b *testing.B) int {
			return visit(b, 15*time.Minute, 0) + visit(b, time.Hour, 75*time.Second) + visit(b, 4*time.Hour, 75*time.Second)
		},
		"all": func(b *testing.B) int { return visit(b, 4*time.Hour, 0) },
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			own, redis := lineartest.CPUTime(b), redisCPU(b, s)
			for b.Loop() {
				n = look(b)
			}
			b.ReportMetric(float64(n), "chats")
			b.ReportMetric(float64((lineartest.CPUTime(b)-own).Microseconds())/1000/float64(b.N), "cpu-ms/look")
			b.ReportMetric((redisCPU(b, s)-redis)*1000/float64(b.N), "redis-cpu-ms/look")
		})
	}
}

// seedWaiting seeds benchWindows windows that all wait, spread over corps and 48 hours.
func seedWaiting(b *testing.B, s *store.Client, corps int) {
	now := time.Now()
	for from := 0; from < *benchWindows; from += 10_000 {
		p := s.Pipeline()
		for i := from; i < min(from+10_000, *benchWindows); i++ {
			corp, member := fmt.Sprintf("ww%016d", i%corps), fmt.Sprintf("wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw:wmAJ2GCAAA%022d", i)
			last := now.Add(-time.Duration(i) * (48 * time.Hour / time.Duration(*benchWindows))).UnixMilli()
			p.HSet(b.Context(), "rg:window:{"+corp+":"+member+"}", "last", last)
			p.ZAdd(b.Context(), "rg:waiting:{"+corp+"}", redis.Z{Score: float64(last), Member: member})
		}
		for i := range min(corps, *benchWindows) {
			p.SAdd(b.Context(), "rg:waiting-corps", fmt.Sprintf("ww%016d", i))
		}
		if _, err := p.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

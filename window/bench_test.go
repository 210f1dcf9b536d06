package window_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"replygate/internal/lineartest"
	"replygate/store/storetest"
	"replygate/window"
)

// BenchmarkRecordPage records pages of a thousand messages in a real Redis: new ones, and ones that
// this gateway has recorded.
func BenchmarkRecordPage(b *testing.B) {
	for name, customers := range map[string]int{"new": 100_000, "known": 1000} {
		b.Run(name, func(b *testing.B) {
			const page = 1000
			s := storetest.Open(b, storetest.Start(b).Config(), time.Now)
			w, _ := newStore(b, s, settings(5, time.Now))
			n, began := 0, time.Now()
			for b.Loop() {
				facts := make([]window.Fact, page)
				for i := range facts {
					n++
					facts[i] = window.Fact{Key: window.Key{Corp: "ww0123456789abcdef", Channel: "wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw", Customer: fmt.Sprintf("wmHdKzDAAA%022d", n%customers)}, At: began}
					if customers > page {
						facts[i].At = time.Now()
					}
				}
				if t, err := w.Record(b.Context(), facts); err != nil || t.Recorded != page {
					b.Fatal(t, err)
				}
			}
			b.ReportMetric(float64(b.N*page)/b.Elapsed().Seconds(), "facts/s")
		})
	}
}

// BenchmarkRecordReplies records replies to 160 customers at once, as an observer does under load.
func BenchmarkRecordReplies(b *testing.B) {
	const batch, customers = 160, 10_000
	s := storetest.Open(b, storetest.Start(b).Config(), time.Now)
	w, _ := newStore(b, s, settings(0, time.Now))
	keys := make([]window.Key, customers)
	var facts []window.Fact
	for i := range keys {
		keys[i] = window.Key{Corp: "ww0123456789abcdef", Channel: "wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw", Customer: fmt.Sprintf("wmHdKzDAAA%022d", i)}
		facts = append(facts, window.Fact{Key: keys[i], At: time.Now()})
	}
	if _, err := w.Record(b.Context(), facts); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n, replies := 0, make([]window.Reply, batch)
	own, redis := lineartest.CPUTime(b), redisCPU(b, s)
	for b.Loop() {
		for i := range replies {
			n++
			replies[i] = window.Reply{Key: keys[n%customers], Kind: window.ByBot, At: time.Now(), ID: fmt.Sprint("message", n)}
		}
		if _, err := w.RecordReplies(b.Context(), replies); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((lineartest.CPUTime(b)-own).Nanoseconds())/1e3/float64(b.N*batch), "cpu-us/reply")
	b.ReportMetric((redisCPU(b, s)-redis)*1e6/float64(b.N*batch), "redis-cpu-us/reply")
}

// BenchmarkReserve reserves replies, with and without coalescing.
func BenchmarkReserve(b *testing.B) {
	server := storetest.Start(b)
	for _, batched := range []bool{false, true} {
		b.Run(fmt.Sprintf("batched=%v", batched), func(b *testing.B) {
			s := storetest.Open(b, server.Config(), time.Now)
			w, h := newStore(b, s, settings(1000, time.Now))
			if !batched {
				w = window.NewEmbedded(s.UniversalClient, h, settings(1000, time.Now))
			}
			keys := make([]window.Key, 10_000)
			var facts []window.Fact
			for i := range keys {
				keys[i] = window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", i)}
				facts = append(facts, window.Fact{Key: keys[i], At: time.Now()})
			}
			if _, err := w.Record(b.Context(), facts); err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if a := w.Reserve(b.Context(), keys[next.Add(1)%int64(len(keys))]); a.State == window.Unavailable {
						b.Error("redis does not answer")
						return
					}
				}
			})
		})
	}
}

// BenchmarkRefuse proves that there is no window, one reply at a time.
func BenchmarkRefuse(b *testing.B) {
	s := storetest.Open(b, storetest.Start(b).Config(), time.Now)
	w, _ := newStore(b, s, settings(1000, time.Now))
	for n := 0; b.Loop(); n++ {
		if a := w.Reserve(b.Context(), window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wmNobody%d", n)}); a.State == window.Open {
			b.Fatal(a.State)
		}
	}
}

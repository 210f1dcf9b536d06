package main

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// figures are the measurements of one row.
type figures struct {
	calls          int64
	took           time.Duration
	gateway, redis time.Duration   // CPU time
	latencies      []time.Duration // sorted
}

// rate returns calls per second.
func (f figures) rate() float64 { return float64(f.calls) / f.took.Seconds() }

// perCall returns CPU time per call in microseconds.
func (f figures) perCall(cpu time.Duration) float64 {
	return float64(cpu.Nanoseconds()) / float64(f.calls) / 1000
}

// quantile returns the latency at q, from 0 to 1. There must be at least one call.
func (f figures) quantile(q float64) time.Duration {
	return f.latencies[int(q*float64(len(f.latencies)-1))]
}

// send sends the calls of a row to addr for the given time, and measures latencies and the CPU time
// of the gateway (nil if there is none) and of Redis. It fails with the first call that fails.
func send(r row, addr string, each time.Duration, gateway, redis *server) (figures, error) {
	client := &fasthttp.HostClient{Addr: addr, MaxConns: r.load.clients, MaxIdemponentCallAttempts: 1}
	var next atomic.Int64
	var failed atomic.Value
	latencies := make([][]time.Duration, r.load.clients)
	gatewayBefore, redisBefore := gateway.cpu(), redis.cpu()
	began := time.Now()
	var all sync.WaitGroup
	for c := range r.load.clients {
		all.Go(func() {
			for failed.Load() == nil {
				i := next.Add(1)
				if r.load.rate > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(r.load.rate))))
				}
				start := time.Now()
				if start.Sub(began) >= each {
					return
				}
				if err := call(client, addr, r.kind, i); err != nil {
					failed.Store(err)
				}
				latencies[c] = append(latencies[c], time.Since(start))
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return figures{}, err
	}
	f := figures{
		took: time.Since(began), gateway: gateway.cpu() - gatewayBefore, redis: redis.cpu() - redisBefore,
		latencies: slices.Concat(latencies...),
	}
	if f.calls = int64(len(f.latencies)); f.calls == 0 {
		return figures{}, fmt.Errorf("no call was due in %s: raise -d", each)
	}
	slices.Sort(f.latencies)
	return f, nil
}

// call sends call number i of a kind, and checks the answer's errcode.
func call(client *fasthttp.HostClient, addr string, k kind, i int64) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.SetRequestURI("http://" + addr + k.target + "?access_token=" + token(k.corp))
	req.SetBodyRaw(k.body(i))
	if err := client.Do(req, resp); err != nil {
		return err
	}
	if want := `"errcode":` + k.errcode + `,`; !bytes.Contains(resp.Body(), []byte(want)) {
		return fmt.Errorf("an answer without %s: %s", want, resp.Body())
	}
	return nil
}

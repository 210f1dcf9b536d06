package upstream_test

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/internal/lineartest"
	"replygate/upstream"
)

// BenchmarkDo is one request and its short answer over a pooled connection. cpu-us/op is the
// processor time of both ends: it tells more than the clock where others use the machine.
func BenchmarkDo(b *testing.B) {
	u := open(b, listen(b, func(_ int, conn net.Conn, _ *bufio.Reader) {
		buf, reply := make([]byte, 4<<10), []byte(ok)
		for {
			n, err := conn.Read(buf)
			if err != nil || !bytes.HasSuffix(buf[:n], []byte("}")) {
				return
			}
			if _, err := conn.Write(reply); err != nil {
				return
			}
		}
	}), long)
	var resp fasthttp.Response
	r := &upstream.Request{
		Head:   head(b, "POST /cgi-bin/kf/send_msg HTTP/1.1\nHost: g\nContent-Type: application/json\nUser-Agent: bench"),
		Target: []byte("/cgi-bin/kf/send_msg?access_token=t"), Host: u.Host(), Body: []byte(`{"touser":"wm","open_kfid":"wk"}`),
	}
	b.ReportAllocs()
	began := lineartest.CPUTime(b)
	for b.Loop() {
		body, err := u.Do(r, &resp, time.Time{})
		if err != nil {
			b.Fatal(err)
		}
		if _, whole, err := body.Peek(64); !whole || err != nil {
			b.Fatal(whole, err)
		}
		if err := body.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(lineartest.CPUTime(b)-began)/1e3/float64(b.N), "cpu-us/op")
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"hash"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/internal/recordtest"
	"replygate/proxy"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

const big20 = 20 << 20

// hashing is a big body that is hashed as it is read.
type hashing struct {
	left int
	sum  hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	if h.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), h.left)
	for i := range n {
		p[i] = byte(h.left - i)
	}
	h.left -= n
	h.sum.Write(p[:n])
	return n, nil
}

// A 20 MB upload and a 20 MB download pass byte for byte, and in flat memory.
func TestLargeBodiesStream(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.call("GET", "/cgi-bin/user/get?userid=z", "") // a token, and warm pools
	sums := make(chan [32]byte, 2)
	r.platform.Answer("/cgi-bin/media/get", func(w http.ResponseWriter, _ *http.Request) {
		src := &hashing{left: big20, sum: sha256.New()}
		w.Header().Set("Content-Length", fmt.Sprint(big20))
		_, _ = io.CopyBuffer(w, src, make([]byte, 32<<10))
		sums <- [32]byte(src.sum.Sum(nil))
	})
	base := "http://" + r.gateway.api.Addr().String()
	for _, chunked := range []bool{false, true} {
		allocated := allocatedBy(func() {
			src := &hashing{left: big20, sum: sha256.New()}
			req, _ := http.NewRequest("POST", base+"/cgi-bin/media/upload?type=file&access_token="+r.token, io.NopCloser(src))
			if !chunked {
				req.ContentLength = big20
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
		calls := r.platform.Calls()
		if last := calls[len(calls)-1]; last.Size != big20 {
			t.Errorf("%d bytes arrived, want %d", last.Size, big20)
		}
		if allocated > big20/2 { // the platform itself keeps the first megabyte
			t.Errorf("an upload of %d bytes (chunked %v) allocated %d", big20, chunked, allocated)
		}
	}
	allocated := allocatedBy(func() {
		resp, err := http.Get(base + "/cgi-bin/media/get?media_id=M&access_token=" + r.token)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, resp.Body)
		if err != nil || n != big20 || [32]byte(sum.Sum(nil)) != <-sums {
			t.Errorf("%d bytes came, %v, or other ones", n, err)
		}
	})
	if allocated > big20/2 {
		t.Errorf("a download of %d bytes allocated %d", big20, allocated)
	}
}

// allocatedBy is what the whole process allocates during f: client, gateway and platform. What else
// is going on in it can only add to that, so the least of three runs counts.
func allocatedBy(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func TestTooLargeToStream(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Limits.StreamedBody = 1 << 20 })
	if a := r.call("POST", "/cgi-bin/media/upload", "", "Content-Length: 2000000"); a.StatusCode != 400 {
		t.Errorf("two lengths: HTTP %d", a.StatusCode)
	}
	target := "/cgi-bin/media/upload?access_token=" + r.token
	a := raw(t, r.gateway.api.Addr().String(), "POST "+target+" HTTP/1.1\r\nHost: g\r\nContent-Length: 2000000\r\n\r\n"+strings.Repeat("x", 100_000))
	if a.StatusCode != 413 || a.Errcode != 990413 {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	if n := r.platform.Count("/cgi-bin/media/upload"); n != 0 {
		t.Errorf("%d uploads reached WeCom", n)
	}
}

// The bound holds for bodies that are read whole too.
func TestTooLargeThoughShort(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Limits.StreamedBody = 1 << 10 })
	for size, want := range map[int]int{1 << 10: 200, 1<<10 + 1: 413, 8 << 10: 413} {
		before := r.platform.Count("/cgi-bin/media/upload")
		a := r.call("POST", "/cgi-bin/media/upload", strings.Repeat("x", size))
		if a.StatusCode != want {
			t.Errorf("%d bytes: HTTP %d %s", size, a.StatusCode, a.body)
		}
		if n := r.platform.Count("/cgi-bin/media/upload") - before; n != 0 && want != 200 {
			t.Errorf("%d bytes: %d uploads reached WeCom", size, n)
		}
	}
}

// A judged call that cannot go on after all names its decision like any other.
func TestTooLargeThoughJudged(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Limits.StreamedBody = 1 << 10
		c.Policy.Mode = config.Shadow
	})
	a := r.call("POST", "/cgi-bin/externalcontact/add_msg_template", strings.Repeat("x", 1<<10+1))
	if id := a.Header.Get("Replygate-Decision-Id"); a.StatusCode != 413 || id == "" || a.Gate.DecisionID != id || a.Gate.Verdict != "error" {
		t.Errorf("HTTP %d, decision %q: %s", a.StatusCode, id, a.body)
	}
}

// A download that breaks off upstream is a visible cut for the client, not a short success.
func TestTruncatedStreamIsACut(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.call("GET", "/cgi-bin/user/get?userid=z", "")
	for _, length := range []string{"Content-Length: 10000000\r\n", "Transfer-Encoding: chunked\r\n"} {
		r.platform.Answer("/cgi-bin/media/get", func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\n%s\r\n", length)
			if strings.HasPrefix(length, "T") {
				fmt.Fprintf(buf, "%x\r\n", 500_000)
			}
			_, _ = buf.Write(bytes.Repeat([]byte("x"), 400_000))
			buf.Flush()
		})
		resp, err := http.Get("http://" + r.gateway.api.Addr().String() + "/cgi-bin/media/get?media_id=M&access_token=" + r.token)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s%d bytes look like a whole answer", length, n)
		}
	}
}

// Hop-by-hop headers and what proxies say of each other stay on their side; the rest goes on.
func TestHeaders(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("X-Secret-Hop", "1")
		h.Set("Connection", "X-Secret-Hop")
		h.Set("Set-Cookie", "a=b")
		h.Set("Server", "nginx")
		h.Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "{}")
	})
	a := r.call("GET", "/cgi-bin/user/get?userid=z", "", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Te: trailers", "X-Forwarded-For: 1.2.3.4",
		"Forwarded: for=1.2.3.4", "Via: 1.1 x", "X-Real-IP: 1.2.3.4", "Cookie: c=d", "Accept-Encoding: gzip", "X-Twice: 1", "X-Twice: 2")
	calls := r.platform.Calls()
	got := calls[len(calls)-1].Header
	for _, name := range []string{"Connection", "X-Hop", "Te", "X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"} {
		if got.Get(name) != "" {
			t.Errorf("%s reached WeCom", name)
		}
	}
	if got.Get("Cookie") != "c=d" || got.Get("Accept-Encoding") != "gzip" || fmt.Sprint(got["X-Twice"]) != "[1 2]" || got.Get("Content-Type") != "" {
		t.Errorf("headers arrived as %v", got)
	}
	if a.StatusCode != http.StatusTeapot || a.Header.Get("Set-Cookie") != "a=b" || a.Header.Get("Server") != "nginx" ||
		a.Header.Get("Date") != "Mon, 02 Jan 2006 15:04:05 GMT" || a.Header.Get("X-Secret-Hop") != "" {
		t.Errorf("the answer came as HTTP %d %v", a.StatusCode, a.Header)
	}
}

func TestHostIsTheUpstreams(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	var host string
	r.platform.Answer("/cgi-bin/user/get", func(_ http.ResponseWriter, req *http.Request) { host = req.Host })
	r.call("GET", "/cgi-bin/user/get?userid=z", "")
	if "http://"+host != r.upstream.URL {
		t.Errorf("Host: %s, want that of %s", host, r.upstream.URL)
	}
	a := raw(t, r.gateway.api.Addr().String(), "GET http://evil.example/cgi-bin/user/get HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	if a.StatusCode != 400 {
		t.Errorf("absolute form: HTTP %d", a.StatusCode)
	}
}

// Every method and every kind of answer passes.
func TestMethodsAndStatuses(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		r.platform.Forget()
		if a := r.call(method, "/cgi-bin/user/get?userid=z", ""); a.StatusCode != 200 || r.platform.Calls()[len(r.platform.Calls())-1].Method != method {
			t.Errorf("%s: HTTP %d", method, a.StatusCode)
		}
	}
	for _, status := range []int{204, 301, 304, 404, 500} {
		r.platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(status)
		})
		if a := r.call("GET", "/cgi-bin/user/get?userid=z", ""); a.StatusCode != status || a.Header.Get("Location") != "https://elsewhere.example/" {
			t.Errorf("HTTP %d came as %d", status, a.StatusCode)
		}
	}
}

// The length of an answer to HEAD is WeCom's; one that WeCom does not tell is not made up.
func TestLengthOfHead(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for length, want := range map[string]int64{"7": 7, "0": 0, "": -1} {
		r.platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			w.(http.Flusher).Flush()
		})
		for range 2 { // on one connection
			a := r.call("HEAD", "/cgi-bin/user/get?userid=z", "")
			if a.StatusCode != 200 || a.ContentLength != want || a.Header.Get("Transfer-Encoding") != "" {
				t.Errorf("length %q: HTTP %d, length %d, %v", length, a.StatusCode, a.ContentLength, a.Header)
			}
		}
	}
}

// What the server library refuses has WeCom's shape too.
func TestBrokenRequests(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"no HTTP":          {"hello\r\n\r\n", 400},
		"two lengths":      {"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"a head too large": {"GET / HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			a := raw(t, r.gateway.api.Addr().String(), test.request)
			if a.StatusCode != test.status || a.Errcode == 0 || a.Errmsg == "" {
				t.Errorf("HTTP %d %s", a.StatusCode, a.body)
			}
		})
	}
	if n := len(r.platform.Calls()); n != 0 {
		t.Errorf("%d calls reached WeCom", n)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.call("GET", "/cgi-bin/user/get?userid=z", "")
	conn, err := net.Dial("tcp", r.gateway.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	token := "access_token=" + r.token
	fmt.Fprint(conn, request("GET", "/cgi-bin/user/get?userid=z&"+token, ""),
		request("POST", "/cgi-bin/externalcontact/add_msg_template?"+token, "{}"),
		request("GET", "/cgi-bin/department/list?"+token, ""))
	br := bufio.NewReader(conn)
	for i, want := range []string{`"userid":"zhangsan"`, `"errcode":48002`, `"department"`} {
		if a := readAnswer(t, br, "GET"); !strings.Contains(string(a.body), want) {
			t.Errorf("answer %d: %s, want %s", i, a.body, want)
		}
	}
}

// certificate makes a CA of its own and a certificate for 127.0.0.1, as PEM files.
func certificate(t *testing.T) (caFile, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, certFile, keyFile
}

// A certificate that is renewed in its files is served within a minute; half of a new one is not.
func TestCertificateIsRenewed(t *testing.T) {
	_, cert, key := certificate(t)
	clock := wecomtest.NewClock()
	ln, err := proxy.Listen("listen.api", "127.0.0.1:0", config.TLS{CertFile: cert, KeyFile: key}, clock.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	served := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := served()
	_, newCert, newKey := certificate(t)
	for _, move := range [][2]string{{newCert, cert}, {newKey, key}} {
		clock.Advance(time.Minute)
		if served() != first {
			t.Error("another certificate is served though its files do not fit together")
		}
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	if served() != first {
		t.Error("the files are read before the minute is over")
	}
	clock.Advance(time.Minute)
	if served() == first {
		t.Error("the old certificate is served still")
	}
}

// TLS on both sides: a client that trusts the gateway's certificate, an upstream with a CA of its
// own.
func TestTLS(t *testing.T) {
	ca, cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clock := wecomtest.NewClock()
	platform := wecomtest.New(clock.Now)
	platform.AddCorp(corpID, secret, channel)
	upstream := httptest.NewUnstartedServer(platform)
	upstream.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	var connections atomic.Int32
	upstream.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	r := &rig{T: t, clock: clock, platform: platform, upstream: upstream}
	r.gateway = r.start(storetest.Embedded(t), func(c *config.Config) {
		c.Upstream.CAFile = ca
		c.Listen.Callback, c.Listen.TLS = "127.0.0.1:0", config.TLS{CertFile: cert, KeyFile: key}
		c.Callbacks = []config.Callback{{Path: "/callback", Token: callbackToken, EncodingAESKey: callbackKey, ReceiveIDs: []string{corpID}}}
	})
	pool := x509.NewCertPool()
	data, _ := os.ReadFile(ca)
	pool.AppendCertsFromPEM(data)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	target := "https://" + r.gateway.api.Addr().String() + "/cgi-bin/gettoken?corpid=" + corpID + "&corpsecret=" + secret
	for i := range 6 { // also over pooled connections, one of them closed
		resp, err := client.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), "access_token") {
			t.Fatalf("%s", body)
		}
		if i == 2 {
			upstream.CloseClientConnections()
		}
	}
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections to the upstream, want one and another once it was closed", n)
	}
	sealed, query, err := wecomtest.App{Token: callbackToken, Key: callbackKey, ReceiveID: corpID}.Seal(clock.Now(), "42")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get("https://" + r.gateway.callback.Addr().String() + "/callback?" + query + "&echostr=" + url.QueryEscape(sealed))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "42" {
		t.Errorf("the callback listener over TLS: %s", body)
	}
	distrustful := r.start(storetest.Embedded(t), nil) // does not trust the upstream
	if a := raw(t, distrustful.api.Addr().String(), request("GET", "/cgi-bin/user/get", "")); a.StatusCode != 502 || a.Errcode != 990502 {
		t.Errorf("an upstream with a strange certificate: HTTP %d %s", a.StatusCode, a.body)
	}
}

// A stop lets a running call end and answers no new one.
func TestStopLetsCallsEnd(t *testing.T) {
	clock := wecomtest.NewClock()
	platform := wecomtest.New(clock.Now)
	platform.AddCorp(corpID, secret, channel)
	upstream := platform.Start()
	t.Cleanup(upstream.Close)
	file := filepath.Join(t.TempDir(), "replygate.yaml")
	text := fmt.Sprintf("listen: { api: 127.0.0.1:0, admin: 127.0.0.1:0 }\nupstream: { url: %s }\nredis: { snapshot: %[2]s }\njournal: { path: %[2]s.journal }\naccounts: [{ corp_id: %[3]s }]\nshutdown: { lame_duck: 0s, grace: 5s }\n",
		upstream.URL, filepath.Join(t.TempDir(), "snapshot"), corpID)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &output{check: recordtest.New(t)}
	g, err := build(t.Context(), set, clock.Now, streams{out: out, err: out})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.serve(ctx) }()
	arrived, leave := make(chan struct{}), make(chan struct{})
	platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-leave
		fmt.Fprint(w, "{}")
	})
	done := make(chan answer, 1)
	go func() {
		done <- raw(t, g.api.Addr().String(), request("GET", "/cgi-bin/user/get?access_token=T", ""))
	}()
	<-arrived
	stop()
	for g.draining.Load() == false {
		time.Sleep(time.Millisecond)
	}
	close(leave)
	if a := <-done; a.StatusCode != 200 || !a.Close {
		t.Errorf("the running call: HTTP %d %v", a.StatusCode, a.Header)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", g.api.Addr().String()); err == nil {
		t.Error("the stopped gateway takes calls")
	}
}

// When the grace is over, calls that still wait are answered that their outcome is unknown, and the
// gateway ends.
func TestStopEndsWhatHangs(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, storetest.Embedded(t), nil)
	g, stop := r.startApart(storetest.Embedded(t), func(c *config.Config) {
		c.Upstream.Timeout, c.Shutdown = time.Minute, config.Shutdown{LameDuck: 200 * time.Millisecond, Grace: 400 * time.Millisecond}
	})
	r.platform.Answer("/cgi-bin/user/get", func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-leave
	})
	defer close(leave)
	done := make(chan answer, 1)
	go func() {
		done <- raw(t, g.api.Addr().String(), request("GET", "/cgi-bin/user/get?access_token=T", ""))
	}()
	<-arrived
	began := time.Now()
	ended := stop()
	for !g.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	a := raw(t, g.api.Addr().String(), request("GET", "/cgi-bin/department/list?access_token=T", ""))
	if a.StatusCode != 200 || !a.Close {
		t.Errorf("a call in the lame duck: HTTP %d, close %v", a.StatusCode, a.Close)
	}
	if a := <-done; a.StatusCode != 504 || a.Errcode != 990504 {
		t.Errorf("the call that hangs: HTTP %d %s", a.StatusCode, a.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*(400*time.Millisecond+answerTime) {
		t.Errorf("the stop took %s", took)
	}
}

// An HTTP/1.0 client knows neither chunks nor interim answers: an answer of unknown length ends
// with the connection, one of a known length leaves it open if the client asks for that.
func TestHTTP10(t *testing.T) {
	media := strings.Repeat("0123456789abcdef", 64<<10) // more than is read before it goes on
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/cgi-bin/media/get": // chunked, since it is long and has no length
			_, _ = io.WriteString(w, media)
		case "/cgi-bin/kf/sync_msg": // longer than what is read
			_, _ = io.WriteString(w, `{"errcode":0,"x":"`+media+`"}`)
		default:
			_, _ = io.WriteString(w, `{"errcode":0}`)
		}
	}))
	t.Cleanup(upstream.Close)
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Upstream.URL = upstream.URL
		c.Limits.ReadAnswer = 64 << 10
	})
	for _, test := range []struct {
		name, request string
		length        int // of the body
		open          bool
	}{
		{"unknown length", "GET /cgi-bin/media/get?access_token=T HTTP/1.0\r\n\r\n", len(media), false},
		{"unknown length, kept alive", "GET /cgi-bin/media/get?access_token=T HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", len(media), false},
		{"a page that is too long", "POST /cgi-bin/kf/sync_msg?access_token=T HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", len(media) + 20, false},
		{"known length", "GET /cgi-bin/user/get?access_token=T HTTP/1.0\r\n\r\n", 13, false},
		{"known length, kept alive", "GET /cgi-bin/user/get?access_token=T HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 13, true},
		{"an expectation", "POST /cgi-bin/user/create?access_token=T HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", 13, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", r.gateway.api.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.WriteString(conn, test.request); err != nil {
				t.Fatal(err)
			}
			br := bufio.NewReader(conn)
			head, body := readOldAnswer(t, br, test.open)
			if !strings.HasPrefix(head, "HTTP/1.1 200") || strings.Contains(head, "Transfer-Encoding") {
				t.Errorf("the head is %q", head)
			}
			if kept := strings.Contains(strings.ToLower(head), "connection: keep-alive"); kept != test.open {
				t.Errorf("kept alive is %v: %q", kept, head)
			}
			if len(body) != test.length {
				t.Errorf("a body of %d bytes, want %d", len(body), test.length)
			}
		})
	}
}

// An HTTP/1.0 client cannot tell a cut from the end of an answer of unknown length, so the
// connection is reset: also over TLS, which has an end of its own.
func TestTruncatedStreamIsACutForHTTP10(t *testing.T) {
	_, cert, key := certificate(t)
	for name, secure := range map[string]config.TLS{"plain": {}, "TLS": {CertFile: cert, KeyFile: key}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Listen.TLS = secure })
			r.platform.Answer("/cgi-bin/media/get", func(w http.ResponseWriter, _ *http.Request) {
				conn, buf, _ := w.(http.Hijacker).Hijack()
				defer conn.Close()
				fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", 500_000, strings.Repeat("x", 400_000))
				buf.Flush()
			})
			var conn net.Conn
			var err error
			if address := r.gateway.api.Addr().String(); secure.CertFile == "" {
				conn, err = net.Dial("tcp", address)
			} else {
				conn, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.WriteString(conn, "GET /cgi-bin/media/get?media_id=M&access_token=T HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if all, err := io.ReadAll(conn); err == nil {
				t.Errorf("%d bytes look like a whole answer", len(all))
			}
		})
	}
}

// A stop lets an answer end that ends with its connection.
func TestStopLetsStreamsToHTTP10End(t *testing.T) {
	begun, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, storetest.Embedded(t), nil)
	g, stop := r.startApart(storetest.Embedded(t), func(c *config.Config) { c.Shutdown.Grace = 20 * time.Second })
	half := strings.Repeat("x", 300_000)
	r.platform.Answer("/cgi-bin/media/get", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, half)
		w.(http.Flusher).Flush()
		close(begun)
		<-leave
		_, _ = io.WriteString(w, half)
	})
	conn, err := net.Dial("tcp", g.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, "GET /cgi-bin/media/get?media_id=M&access_token=T HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	br := bufio.NewReader(conn)
	if _, err := br.Peek(100); err != nil {
		t.Fatal(err)
	}
	ended := stop()
	for !g.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-ended:
		close(leave)
		t.Fatal("the gateway has ended while an answer was on its way")
	case <-time.After(300 * time.Millisecond):
	}
	close(leave)
	if head, body := readOldAnswer(t, br, false); len(body) != 2*len(half) || !strings.Contains(head, "Connection: close") {
		t.Errorf("a body of %d bytes: %q", len(body), head)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// readOldAnswer reads an answer as an HTTP/1.0 client does: to the end of the connection, or of the
// length that the head tells where the connection stays open.
func readOldAnswer(t *testing.T, br *bufio.Reader, open bool) (head string, body []byte) {
	t.Helper()
	length := 0
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		head += line
		if n, found := strings.CutPrefix(strings.ToLower(line), "content-length: "); found {
			length, _ = strconv.Atoi(strings.TrimSpace(n))
		}
		if line == "\r\n" {
			break
		}
	}
	var err error
	if open {
		body = make([]byte, length)
		_, err = io.ReadFull(br, body)
	} else {
		body, err = io.ReadAll(br)
	}
	if err != nil {
		t.Fatal(err)
	}
	return head, body
}

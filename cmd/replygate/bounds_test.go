package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/internal/openapitest"
	"replygate/internal/recordtest"
	"replygate/store/storetest"
)

var builtGateway = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "replygate-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "replygate")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// smoke are the tests that -short runs here: the product's story, and what the command line
// answers. The others are end to end and take minutes.
const smoke = "^(TestDemoOnce|TestUsage|TestCheck|TestBadFiles|TestGoldenLapsed|TestReplyWindow|TestRulesets|TestSchema|TestSchemaIsCheckedIn|TestShippedRuleSets)$"

func TestMain(m *testing.M) {
	flag.Parse()
	if run := flag.Lookup("test.run"); testing.Short() && run.Value.String() == "" {
		fmt.Println("cmd/replygate: -short runs only " + smoke)
		_ = run.Value.Set(smoke)
	}
	compared := openapitest.Watch() // with every response of an admin listener in this process
	code := compared(storetest.Main(m))
	if !testing.Short() {
		if bin, err := builtGateway(); err == nil {
			os.RemoveAll(filepath.Dir(bin))
		}
	}
	os.Exit(code)
}

// process is a gateway in a process of its own, so that its memory and descriptors can be measured.
type process struct {
	*testing.T
	api string
	pid int
}

// startProcess starts a gateway for the upstream; shell goes before it on the same command line.
func startProcess(t *testing.T, upstream, shell string) *process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("measures by /proc")
	}
	bin, err := builtGateway()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	api := storetest.FreeAddr(t)
	text := fmt.Sprintf("listen: { api: %q, admin: \"127.0.0.1:0\" }\nupstream: { url: \"http://%s\", timeout: 60s }\nredis: { snapshot: %[3]s/s }\njournal: { path: %[3]s/j }\naccounts: [{ corp_id: %[4]s, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\nlog: { level: error, decisions: %[3]s/d }\nshutdown: { lame_duck: 0s, grace: 1s }\n",
		api, upstream, dir, corpID)
	file := filepath.Join(dir, "replygate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", shell+"exec "+bin+" serve -c "+file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway: %v", err)
		}
	})
	awaitListening(t, api)
	return &process{T: t, api: api, pid: cmd.Process.Pid}
}

// recordsOf returns where a gateway's process writes its access log, and compares that and its
// decisions with the schema of records once it has ended. There must be at least so many; a process
// that is killed loses its last ones, and may cut a line short.
func recordsOf(t *testing.T, decisions string, least int) (access *os.File) {
	t.Helper()
	checker := recordtest.New(t)
	access, err := os.Create(filepath.Join(t.TempDir(), "access"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = access.Close() // it is read below
		records := 0
		for _, file := range []string{access.Name(), decisions} {
			text, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			records += bytes.Count(text, []byte("\n"))
			_, _ = checker.Write(text[:bytes.LastIndexByte(text, '\n')+1]) // it never fails
		}
		if records < least {
			t.Errorf("%d records to compare, want %d", records, least)
		}
	})
	return access
}

// awaitListening waits until a gateway listens on all addresses.
func awaitListening(t *testing.T, addresses ...string) {
	t.Helper()
	for try := 0; len(addresses) > 0; try++ {
		c, err := net.Dial("tcp", addresses[0])
		if err == nil {
			c.Close()
			addresses = addresses[1:]
			continue
		}
		if try == 2000 {
			t.Fatalf("the gateway does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// memory is a line of /proc/PID/status in bytes: VmHWM is the peak of VmRSS.
func (p *process) memory(name string) int {
	p.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.Fatal(err)
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(data)
	if m == nil {
		p.Fatalf("no %s in %s", name, data)
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb << 10
}

// bigUpstream answers by path: what a bound must hold against.
func bigUpstream() http.Handler {
	token := strings.Repeat("t", 214)
	item := fmt.Sprintf(`{"msgid":"m","open_kfid":"wk","external_userid":"wm","send_time":%d,"origin":3,"msgtype":"text","text":{"content":%q}}`, time.Now().Unix(), strings.Repeat("x", 50_000))
	page := `{"errcode":0,"msg_list":[` + strings.Repeat(item+",", 1000) + item + `]}` // 50 MB
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	fmt.Fprint(z, `{"errcode":0,"msg_list":["`)
	for range 1024 {
		_, _ = z.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	fmt.Fprint(z, `"]}`)
	z.Close()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path + "?" + r.URL.Query().Get("case") {
		case "/cgi-bin/gettoken?":
			fmt.Fprintf(w, `{"errcode":0,"access_token":%q,"expires_in":7200}`, token)
		case "/cgi-bin/kf/sync_msg?long":
			w.Header().Set("Content-Length", strconv.Itoa(len(page)))
			fmt.Fprint(w, page)
		case "/cgi-bin/kf/sync_msg?chunked":
			fmt.Fprint(w, page)
		case "/cgi-bin/kf/sync_msg?bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/cgi-bin/media/get?":
			for range 100 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		default:
			fmt.Fprint(w, `{"errcode":0}`)
		}
	})
}

// Whatever passes costs the gateway at most 64 MB more than it had.
func TestMemoryIsBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: bigUpstream()}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close() })
	token := "access_token=" + strings.Repeat("t", 214)
	for _, c := range []struct {
		name, path string
		body       int64
		status     int
	}{
		{"an upload of 100 MB", "/cgi-bin/media/upload?" + token, 100 << 20, 200},
		{"an upload over the limit", "/cgi-bin/media/upload?" + token, 200 << 20, 413},
		{"a judged body of 100 MB", "/cgi-bin/kf/send_msg?" + token, 100 << 20, 413},
		{"a download of 100 MB", "/cgi-bin/media/get?" + token, 0, 200},
		{"a page of 50 MB", "/cgi-bin/kf/sync_msg?case=long&" + token, 2, 200},
		{"a page of 50 MB in chunks", "/cgi-bin/kf/sync_msg?case=chunked&" + token, 2, 200},
		{"a page that unfolds to 1 GB", "/cgi-bin/kf/sync_msg?case=bomb&" + token, 2, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startProcess(t, ln.Addr().String(), "")
			call := func(path string, size int64) int {
				req, _ := http.NewRequest("POST", "http://"+p.api+path, io.LimitReader(zeros{}, size))
				req.ContentLength = size
				req.Header.Set("Accept-Encoding", "identity")
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					return 413 // cut while it was still sending
				}
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
				return resp.StatusCode
			}
			call("/cgi-bin/gettoken?corpid="+corpID+"&corpsecret=s", 0)
			before := p.memory("VmRSS")
			if status := call(c.path, c.body); status != c.status {
				t.Errorf("HTTP %d, want %d", status, c.status)
			}
			if more := p.memory("VmHWM") - before; more > 64<<20 {
				t.Errorf("it cost %d MB more", more>>20)
			} else {
				t.Logf("it cost %d MB more", more>>20)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Five thousand clients that made a call and stay connected cost at most 100 MB.
func TestIdleConnections(t *testing.T) {
	u := startRawUpstream(t)
	u.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true)
	p := startProcess(t, u.Addr().String(), "ulimit -n 20000 2>/dev/null; ")
	before := p.memory("VmRSS")
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 5000 {
		conn, err := net.Dial("tcp", p.api)
		if err != nil {
			t.Skipf("this machine does not give 5,000 connections: %v", err)
		}
		conns = append(conns, conn)
		fmt.Fprint(conn, request("GET", "/cgi-bin/user/get?userid=z", ""))
		if a := readAnswer(t, bufio.NewReader(conn), "GET"); a.StatusCode != 200 {
			t.Fatalf("HTTP %d", a.StatusCode)
		}
		u.seen()
	}
	cost := p.memory("VmRSS") - before
	t.Logf("%d idle connections cost %d MB beside the %d MB of the gateway", len(conns), cost/1e6, before/1e6)
	if cost > 100e6 {
		t.Errorf("more than 100 MB")
	}
}

// Running out of descriptors does not end the server.
func TestOutOfDescriptors(t *testing.T) {
	u := startRawUpstream(t)
	u.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true)
	p := startProcess(t, u.Addr().String(), "ulimit -n 60; ")
	var conns []net.Conn
	for range 200 {
		if c, err := net.DialTimeout("tcp", p.api, time.Second); err == nil {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	for range 200 {
		if a, ok := exchangeRaw(t, p.api, request("GET", "/cgi-bin/user/get?userid=z", "")); ok && a.StatusCode == 200 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the gateway does not come back")
}

// slowCase is a client that sends something at once and then stops, or goes on a byte at a time.
type slowCase struct {
	name, sent string
	status     int // 0: it may also be cut without a word
	deadline   time.Duration
}

// What comes too slowly is cut, within five times its deadline, and reaches nobody.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.Embedded(t), nil)
	r.token = r.fetchToken(r.gateway)
	r.platform.Forget()
	target := "?access_token=" + r.token
	cases := []slowCase{
		{"nothing at all", "", 0, 15 * time.Second},
		{"a head that stops", "POST /cgi-bin/kf/send_msg" + target + " HTTP/1.1\r\nHost: g\r\nX", 408, 15 * time.Second},
		{"a head that drips", "POST /cgi-bin/kf/send_msg" + target + " HTTP/1.1\r\nHost: g\r\nX-drip: ", 408, 15 * time.Second},
		{"a judged body that stops", "POST /cgi-bin/kf/send_msg" + target + " HTTP/1.1\r\nHost: g\r\nContent-Length: 9000\r\n\r\n{", 0, 30 * time.Second},
		{"a judged body that drips", "POST /cgi-bin/kf/send_msg" + target + " HTTP/1.1\r\nHost: g\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat(" ", 9000), 400, 30 * time.Second},
		{"a judged chunk that drips", "POST /cgi-bin/kf/send_msg" + target + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n ", 400, 30 * time.Second},
		{"an upload that stops", "POST /cgi-bin/media/upload" + target + " HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 9000), 400, 33 * time.Second},
		{"an upload that drips", "POST /cgi-bin/media/upload" + target + " HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 9000), 400, 33 * time.Second},
	}
	var all sync.WaitGroup // at the same time: most of it is waiting
	for _, c := range cases {
		all.Go(func() {
			if err := c.play(r.gateway.api.Addr().String()); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	all.Wait()
	if n := len(r.platform.Calls()); n != 0 {
		t.Errorf("%d slow calls reached WeCom", n)
	}
}

// play is the client's side; it returns what went otherwise than the case says.
func (c slowCase) play(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * c.deadline))
	if _, err := io.WriteString(conn, c.sent); err != nil {
		return err
	}
	if strings.HasSuffix(c.name, "drips") {
		drip := time.NewTicker(200 * time.Millisecond)
		stop := make(chan struct{})
		defer close(stop)
		defer drip.Stop()
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-drip.C:
					_, _ = io.WriteString(conn, " ") // fails once the connection is cut
				}
			}
		}()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	switch {
	case os.IsTimeout(err):
		return errors.New("it is not cut")
	case err == nil && c.status != 0 && resp.StatusCode != c.status:
		return fmt.Errorf("HTTP %d, want %d", resp.StatusCode, c.status)
	}
	return nil
}

// Heads and URLs over their bounds are refused early, in WeCom's shape.
func TestLargeHeads(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"a URL of 17 KiB", "GET /cgi-bin/user/get?x=" + strings.Repeat("x", 17<<10) + " HTTP/1.1\r\nHost: g\r\n\r\n", 414},
		{"a URL of 15 KiB", "GET /cgi-bin/user/get?x=" + strings.Repeat("x", 15<<10) + " HTTP/1.1\r\nHost: g\r\n\r\n", 200},
		{"a head of 33 KiB", "GET / HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat("x", 33<<10) + "\r\n\r\n", 431},
		{"a head of 30 KiB", "GET /cgi-bin/user/get HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat("x", 30<<10) + "\r\n\r\n", 200},
		{"a thousand headers", "GET / HTTP/1.1\r\nHost: g\r\n" + strings.Repeat("X-Many-Many-Many-Many-Many-Many: 1\r\n", 1000) + "\r\n", 431},
	} {
		a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), c.request)
		if !ok || a.StatusCode != c.status || c.status != 200 && !strings.HasPrefix(string(a.body), `{"errcode":9904`) {
			t.Errorf("%s: %v, %s", c.name, a.Response, a.body)
		}
	}
}

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/store/storetest"
)

// manager is the socket of a service manager, and what arrives at it.
type manager struct {
	*testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", dir+"/notify")
	return &manager{t, conn}
}

// next returns the next message that does not only feed the watchdog.
func (m *manager) next() string {
	m.Helper()
	for {
		if message := m.read(); message != "WATCHDOG=1" {
			return message
		}
	}
}

func (m *manager) read() string {
	m.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		m.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		m.Fatal(err)
	}
	return string(buf[:n])
}

// A service manager hears when the gateway serves, reloads and stops, and meanwhile that it is
// alive.
func TestServiceManagerIsTold(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "60000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	r := newRig(t, storetest.Embedded(t), nil)
	if got := m.next(); got != "READY=1\nSTATUS=serving 1 accounts" {
		t.Errorf("at the start: %q", got)
	}
	for range 3 {
		for m.read() != "WATCHDOG=1" {
		}
	}
	before := monotonicMicroseconds()
	if _, err := r.gateway.reload(""); err == nil { // it was not started from a file
		t.Fatal("a reload without a file succeeds")
	}
	got := m.next()
	at := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(got)
	if at == nil || integer(t, at[1]) < integer(t, before) || integer(t, at[1]) > integer(t, monotonicMicroseconds()) {
		t.Errorf("at a reload: %q", got)
	}
	if got := m.next(); !strings.HasPrefix(got, "READY=1\nSTATUS=serving 1 accounts") {
		t.Errorf("after a reload: %q", got)
	}
	_, stop := r.startApart(storetest.Embedded(t), nil)
	if got := m.next(); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("at the second start: %q", got)
	}
	stopped := stop()
	if got := m.next(); got != "STOPPING=1" {
		t.Errorf("at the stop: %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func integer(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The watchdog is fed only by looks that find the process alive.
func TestWatchdogLooksFirst(t *testing.T) {
	m := newManager(t)
	r := newRig(t, storetest.Embedded(t), nil)
	if got := m.next(); !strings.HasPrefix(got, "READY=1\n") {
		t.Fatalf("at the start: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	looks, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		r.gateway.watchdog(ctx, 3*time.Millisecond, func() error {
			if looks++; looks < 4 {
				return errors.New("silence")
			}
			cancel()
			return nil
		})
	}()
	if got := m.read(); got != "WATCHDOG=1" {
		t.Errorf("the watchdog hears %q", got)
	}
	<-ended
	if looks < 4 || !strings.Contains(r.log(), "the gateway does not answer itself") {
		t.Errorf("fed after %d looks; the log: %s", looks, r.log())
	}
	if err := r.gateway.alive(30 * time.Second); err != nil {
		t.Error(err)
	}
	dead := &gateway{settings: r.gateway.settings, windows: r.gateway.windows}
	for _, closed := range []*net.Listener{&dead.api, &dead.control} {
		dead.api, dead.control = r.gateway.api, r.gateway.control
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		*closed = ln
		if err := dead.alive(30 * time.Second); err == nil {
			t.Errorf("a gateway that does not listen at %s is alive", ln.Addr())
		}
	}
}

// A lock that is never released starves the watchdog.
func TestWatchdogTakesLocks(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.gateway.mu.Lock()
	done := make(chan error, 1)
	go func() { done <- r.gateway.alive(30 * time.Second) }()
	select {
	case <-done:
		t.Error("it did not take the lock")
	case <-time.After(100 * time.Millisecond):
	}
	r.gateway.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnswers(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	good, busy, secure := httptest.NewServer(status(200)), httptest.NewServer(status(503)), httptest.NewTLSServer(status(200))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := httptest.NewServer(status(200))
	closed.Close()
	for _, end := range []interface{ Close() }{good, busy, secure} {
		t.Cleanup(end.Close)
	}
	t.Cleanup(func() { silent.Close() })
	for _, test := range []struct {
		name, url string
		timeout   time.Duration
		alive     bool
	}{
		{"answers", good.URL, 30 * time.Second, true},
		{"is busy", busy.URL, 30 * time.Second, true},
		{"has TLS", secure.URL, 30 * time.Second, true},
		{"rejects what is not TLS", strings.Replace(good.URL, "http:", "https:", 1), 30 * time.Second, true},
		{"is silent", "http://" + silent.Addr().String(), 50 * time.Millisecond, false},
		{"is closed", closed.URL, 30 * time.Second, false},
	} {
		if err := answers(test.url, test.timeout); (err == nil) != test.alive {
			t.Errorf("a listener that %s: %v", test.name, err)
		}
	}
}

// Without a service manager, or with one that watches another process, nothing is sent.
func TestWatchdogInterval(t *testing.T) {
	for _, test := range []struct {
		microseconds, pid string
		want              time.Duration
	}{
		{"", "", 0}, {"30000000", "", 30 * time.Second}, {"30000000", strconv.Itoa(os.Getpid()), 30 * time.Second},
		{"30000000", "1", 0}, {"0", "", 0}, {"-5", "", 0}, {"soon", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", test.microseconds)
		t.Setenv("WATCHDOG_PID", test.pid)
		if got := watchdogInterval(); got != test.want {
			t.Errorf("WATCHDOG_USEC=%s, WATCHDOG_PID=%s: %s, want %s", test.microseconds, test.pid, got, test.want)
		}
	}
}

// A service manager that is gone is logged, and holds nothing up.
func TestNoServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", t.TempDir()+"/gone")
	r := newRig(t, storetest.Embedded(t), nil)
	r.await("the log line", func() bool { return strings.Contains(r.log(), "see NOTIFY_SOCKET") })
}

package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"replygate/record"
)

// stream is a writer that can be made to hang or to fail.
type stream struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	hang chan struct{}
	fail error
}

func (s *stream) Write(p []byte) (int, error) {
	if s.hang != nil {
		<-s.hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	return s.buf.Write(p)
}

func (s *stream) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.buf.String(), "\n"), "\n")
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := fmt.Fprintln(w, text); err != nil || n != len(text)+1 {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestSinkKeepsOrderAndWritesAll(t *testing.T) {
	to, instead := &stream{}, &stream{}
	s := record.NewSink(to, instead)
	for i := range 10_000 {
		say(t, s, fmt.Sprint("line ", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := to.lines()
	if len(got) != 10_000 || got[0] != "line 0" || got[9_999] != "line 9999" || s.Unlogged() != 0 {
		t.Errorf("%d lines, the last %q, %d unlogged", len(got), got[len(got)-1], s.Unlogged())
	}
	say(t, s, "too late")
	if s.Unlogged() != 1 {
		t.Error("a line behind the end is not counted")
	}
}

// A stream that hangs keeps a record waiting for a moment, then it goes to the other one.
func TestSinkThatHangs(t *testing.T) {
	to, instead := &stream{hang: make(chan struct{})}, &stream{}
	s := record.NewSink(to, instead)
	big := strings.Repeat("x", 1<<20-1)
	for s.Unlogged() == 0 {
		say(t, s.Hasty(), big)
	}
	began := time.Now()
	say(t, s, big)
	if took := time.Since(began); took > 5*50*time.Millisecond {
		t.Errorf("a record waited %s", took)
	}
	if s.Unlogged() != 2 || len(instead.lines()) != 2 {
		t.Errorf("%d unlogged, %d elsewhere", s.Unlogged(), len(instead.lines()))
	}
	close(to.hang)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(to.lines()); n < 4 {
		t.Errorf("%d records came through once it moved", n)
	}
}

// Sync waits for lines that are being written, too.
func TestSyncWaitsForTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stream{hang: make(chan struct{})}
		s := record.NewSink(to, io.Discard)
		say(t, s, "a line")
		time.Sleep(20 * time.Millisecond) // in the bubble's time: it is on its way now
		var synced atomic.Bool
		go func() {
			_ = s.Sync()
			synced.Store(true)
		}()
		synctest.Wait()
		if synced.Load() {
			t.Error("Sync did not wait")
		}
		close(to.hang)
		synctest.Wait()
		if !synced.Load() {
			t.Error("Sync waits for what is written")
		}
		_ = s.Close()
	})
}

// A disk that is full loses no record: they go to the other stream, and are counted.
func TestSinkThatFails(t *testing.T) {
	to, instead := &stream{fail: errors.New("no space left on device")}, &stream{}
	s := record.NewSink(to, instead)
	for i := range 10 {
		say(t, s, fmt.Sprint("line ", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Unlogged() != 10 || len(instead.lines()) != 10 {
		t.Errorf("%d unlogged, %d elsewhere", s.Unlogged(), len(instead.lines()))
	}
}

func TestRedact(t *testing.T) {
	r := record.NewRedactor("the-admin-key", "the-admin-key-two", "short")
	for text, want := range map[string]string{
		"nothing here": "nothing here",
		"key the-admin-key-two and the-admin-key":                                   "key *** and ***",
		`dial "https://q/cgi-bin/gettoken?corpid=ww1&corpsecret=S3CR&x=1": refused`: `dial "https://q/cgi-bin/gettoken?corpid=ww1&corpsecret=***&x=1": refused`,
		"GET /x?access_token=abc%2B-_123 HTTP/1.1":                                  "GET /x?access_token=*** HTTP/1.1",
		"suite_access_token=A&provider_access_token=B":                              "suite_access_token=***&provider_access_token=***",
		`{"access_token":"abc","expires_in":7200}`:                                  `{"access_token":"***","expires_in":7200}`,
		`{"msg":"body {\"permanent_code\": \"P\",\"x\":1}"}`:                        `{"msg":"body {\"permanent_code\": \"***\",\"x\":1}"}`,
		`{"welcome_code":"W","code":"C","errcode":48002}`:                           `{"welcome_code":"***","code":"***","errcode":48002}`,
		"Authorization: Bearer abc.def":                                             "Authorization: Bearer ***",
		"the header was Bearer abc":                                                 "the header was Bearer ***",
		`{"path":"/cgi-bin/gettoken","reason":"unknown_token"}`:                     `{"path":"/cgi-bin/gettoken","reason":"unknown_token"}`,
		`{"reason":"code_unknown","errcode":95002}`:                                 `{"reason":"code_unknown","errcode":95002}`,
		"/cgi-bin/webhook/send?key=11111111-2222&debug=1":                           "/cgi-bin/webhook/send?key=***&debug=1",
		"short is left alone":                                                       "short is left alone",
	} {
		if got := string(r.Redact([]byte(text))); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

// The members of a record have names of the gateway's own; their values may hold anything.
func TestRedactRecords(t *testing.T) {
	r := record.NewRedactor("the-admin-key")
	for text, want := range map[string]string{
		`{"msg":"request","path":"/a","fault":"the-admin-key"}`:        `{"msg":"request","path":"/a","fault":"***"}`,
		`{"msg":"request","path":"/a?access_token=abc"}`:               `{"msg":"request","path":"/a?access_token=***"}`,
		`{"msg":"request","fault":"said {\"permanent_code\": \"P\"}"}`: `{"msg":"request","fault":"said {\"permanent_code\": \"***\"}"}`,
		`{"msg":"request","fault":"Authorization: Bearer abc"}`:        `{"msg":"request","fault":"Authorization: Bearer ***"}`,
		`{"msg":"request","status":200}`:                               `{"msg":"request","status":200}`,
	} {
		if got := string(r.RedactRecords([]byte(text))); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

// Secrets of a configuration that replaces another one become known, and those before stay so.
func TestAddSecrets(t *testing.T) {
	r := record.NewRedactor("first-secret")
	r.AddSecrets("second-secret", "first-secret")
	if got := string(r.Redact([]byte("first-secret second-secret"))); got != "*** ***" {
		t.Error(got)
	}
}

func BenchmarkRedact(b *testing.B) {
	r := record.NewRedactor("the-admin-key", "the-callback-token", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
	line := []byte(`{"level":"info","time":"2026-11-22T10:00:00.000Z","msg":"decision","id":"54fda24f7aa4f3c3","at":"2026-11-22T10:00:00.000Z","corp_id":"ww0123456789abcdef","account":"Acme East","standing":"lapsed","endpoint":"/cgi-bin/kf/send_msg","capability":"kf_reply","verdict":"pass","reason":"window_open","rule":"reply-inside-the-window","forwarded":true,"msgtype":"text","channel":"wkAJ2GCAAA","recipients":1,"customers":["wmHdKzDAAA"],"window_closes":"2026-11-24T10:00:00Z","replies_left":4}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		r.Redact(line)
	}
}

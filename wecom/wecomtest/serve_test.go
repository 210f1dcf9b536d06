package wecomtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// Each sample is served at its path, which is in the catalogue, and has a source in SOURCES.md.
func TestSamples(t *testing.T) {
	t.Parallel()
	p := start(t)
	files, err := os.ReadDir("samples")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := os.ReadFile("samples/SOURCES.md")
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for _, f := range files {
		name, isJSON := strings.CutSuffix(f.Name(), ".json")
		if !isJSON {
			continue
		}
		served++
		want, err := os.ReadFile("samples/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		path := "/cgi-bin/" + strings.ReplaceAll(name, ".", "/")
		if e := wecom.Lookup(path); e.Path != path {
			t.Errorf("%s: WeCom has no path %s", f.Name(), path)
		}
		_, got := p.raw("POST", path+"?access_token="+p.token, nil, strings.NewReader("{}"))
		if code, err := wecom.ReadErrcode(got); err != nil || code != 0 || compact(t, got) != compact(t, want) {
			t.Errorf("%s: %s, %v", path, got, err)
		}
		if family, _, _ := strings.Cut(name, "."); !strings.Contains(string(sources), family+".") {
			t.Errorf("%s: no source of %s", f.Name(), family)
		}
	}
	if served < 15 {
		t.Errorf("only %d samples", served)
	}
}

// compact returns JSON in one canonical form.
func compact(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The headers of answers, with and without compression.
func TestAnswerHeaders(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, test := range []struct {
		path, encodings, code, text string
		compressed                  bool
	}{
		{"/cgi-bin/message/not_a_sample", "identity", "0", "ok", false},
		{"/cgi-bin/message/not_a_sample", "gzip, deflate", "0", "ok", true},
		{"/cgi-bin/kf/send_msg_on_event", "identity", "44002", "empty post data", false},
		{"/cgi-bin/kf/send_msg_on_event", "br, gzip;q=1.0", "44002", "empty post data", true},
	} {
		resp, body := p.raw("POST", test.path+"?access_token="+p.token, http.Header{"Accept-Encoding": {test.encodings}}, nil)
		h := resp.Header
		if resp.StatusCode != http.StatusOK || h.Get("Error-Code") != test.code || h.Get("Error-Msg") != test.text || h.Get("Content-Type") != "application/json; charset=UTF-8" {
			t.Errorf("%s: HTTP %d, %v", test.path, resp.StatusCode, h)
		}
		if compressed := h.Get("Content-Encoding") == "gzip"; compressed != test.compressed || h.Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("%s for %s: %v", test.path, test.encodings, h)
		}
		if !test.compressed && !json.Valid(body) {
			t.Errorf("%s: %q", test.path, body)
		}
		if date, err := http.ParseTime(h.Get("Date")); err != nil || !date.Equal(p.clock.Now()) {
			t.Errorf("%s: Date %q, %v; want the platform's time %v", test.path, h.Get("Date"), err, p.clock.Now())
		}
	}
}

// errmsg has a cause, a hint and a link, as in WeCom's answers.
func TestErrorTexts(t *testing.T) {
	t.Parallel()
	p := start(t)
	for code, want := range map[int]string{-1: "system busy, hint: [", 42001: "access_token expired, hint: [", 95002: "send msg time limit, hint: [", 12345: "error, hint: ["} {
		p.FailNext("/cgi-bin/user/get", code)
		if a := p.expect(code, "/cgi-bin/user/get", ""); !strings.HasPrefix(a["errmsg"].(string), want) {
			t.Errorf("%d: %v", code, a["errmsg"])
		}
	}
}

// The first megabyte of a body is recorded, and its full length.
func TestLongBodies(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, size := range []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		p.Forget()
		p.raw("POST", "/cgi-bin/message/send?access_token="+p.token, nil, strings.NewReader(strings.Repeat("x", size)))
		if calls := p.Calls(); len(calls) != 1 || calls[0].Size != int64(size) || len(calls[0].Body) != min(size, 1<<20) {
			t.Errorf("%d bytes: %d calls, size %d, kept %d", size, len(calls), calls[0].Size, len(calls[0].Body))
		}
	}
}

// A call with an incomplete body is neither recorded nor answered.
func TestCutCalls(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Forget()
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	for _, body := range []string{"Content-Length: 500\r\n\r\n" + send, "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"tou\r\n", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 2<<20, strings.Repeat("x", 3<<19))} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /cgi-bin/kf/send_msg?access_token="+p.token+" HTTP/1.1\r\nHost: x\r\n"+body); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if answer, _ := io.ReadAll(conn); strings.Contains(string(answer), "errcode") {
			t.Errorf("%.30q is answered: %s", body, answer)
		}
		_ = conn.Close()
	}
	if calls := p.Calls(); len(calls) != 0 {
		t.Errorf("%d calls were recorded", len(calls))
	}
}

// A call whose JSON is only partly parsed is recorded with Warned.
func TestWarnedCalls(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	p.Forget()
	p.expect(0, "/cgi-bin/kf/send_msg", send)
	p.expect(0, "/cgi-bin/kf/send_msg", strings.Replace(send, `"x"`, "\"\n\"", 1))
	calls := p.Calls()
	if len(calls) != 2 || calls[0].Warned || !calls[1].Warned {
		t.Errorf("%+v", calls)
	}
}

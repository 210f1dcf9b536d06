package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/gate"
	"replygate/proxy"
	"replygate/upstream"
)

// reached is a request as another server reads it.
type reached struct {
	*http.Request
	body []byte
}

// wire is an upstream that notes each request as net/http reads it, and what it cannot read.
type wire struct {
	net.Listener
	mu     sync.Mutex
	answer *string // to the next request, the last of its connection; nil: the usual one
	seen   []reached
	broken []error
	open   int // connections
	ended  *sync.Cond
}

const usual = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n" + `{"errcode":0,"errmsg":"ok"}`

// newWire puts a wire behind a gateway, whose api listener it returns.
func newWire(f *testing.F, g *proxy.Gateway) (u *wire, api string) {
	f.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	u = &wire{Listener: ln}
	u.ended = sync.NewCond(&u.mu)
	f.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			u.opened(1)
			go u.serve(conn)
		}
	}()
	if g.Upstream, err = upstream.New(config.Upstream{URL: "http://" + ln.Addr().String(), Timeout: 5 * time.Second}); err != nil {
		f.Fatal(err)
	}
	front, err := proxy.Listen("listen.api", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
	if err != nil {
		f.Fatal(err)
	}
	server := g.APIServer()
	go func() { _ = server.Serve(front) }()
	f.Cleanup(func() { _ = server.Shutdown() })
	return u, front.Addr().String()
}

func (u *wire) opened(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open += n
	u.ended.Broadcast()
}

func (u *wire) serve(conn net.Conn) {
	defer u.opened(-1)
	defer conn.Close()
	br := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(br)
		if err == io.EOF {
			return
		}
		var body []byte
		if err == nil {
			body, err = io.ReadAll(r.Body)
		}
		u.mu.Lock()
		answer, last := usual, false
		switch {
		case err != nil:
			u.broken = append(u.broken, err)
		case u.answer != nil:
			answer, last, u.answer = *u.answer, true, nil
			fallthrough
		default:
			u.seen = append(u.seen, reached{r, body})
		}
		u.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, answer); err != nil || last {
			return
		}
	}
}

// say sets what the next request is answered with.
func (u *wire) say(answer string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = &answer
}

// hungUp waits until no connection is open.
func (u *wire) hungUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.open > 0 {
		u.ended.Wait()
	}
}

// take waits until all that a gateway sent has been read, and returns it.
func (u *wire) take(g *proxy.Gateway) (seen []reached, broken []error) {
	g.Upstream.Close()
	u.hungUp()
	u.mu.Lock()
	defer u.mu.Unlock()
	seen, broken = u.seen, u.broken
	u.seen, u.broken, u.answer = nil, nil, nil
	return seen, broken
}

// table is a column of a table of testdata, without its escapes.
func table(f *testing.F, name string, column int) (all [][]byte) {
	f.Helper()
	data, err := os.ReadFile("../testdata/proxy/" + name)
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(cells) <= column {
			continue
		}
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(cells[column], `"`, `\"`) + `"`)
		if err != nil {
			f.Fatalf("%s: %v", line, err)
		}
		all = append(all, []byte(text))
	}
	return all
}

// Whatever bytes a client sends: what reaches the upstream is whole, and each request of it, as
// another server reads it, is one that the gateway lets through.
func FuzzRequests(f *testing.F) {
	g := newGateway(f, 0)
	u, api := newWire(f, g)
	for _, request := range table(f, "framing.tsv", 3) {
		for _, corp := range []string{"wwLapsed", "wwActive"} {
			f.Add(bytes.ReplaceAll(request, []byte("{T}"), []byte("token-of-"+corp)))
		}
	}
	for _, path := range []string{"kf/send_msg", "externalcontact/add_msg_template", "kf/../externalcontact/list"} {
		body := `{"touser":"wm","open_kfid":"wk","msgtype":"text","text":{"content":"hello"}}`
		f.Add(fmt.Appendf(nil, "POST /cgi-bin/%s?access_token=token-of-wwLapsed HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		talk(t, api, request)
		seen, broken := u.take(g)
		for _, err := range broken {
			if whole(request) { // else it may be the client that broke off
				t.Errorf("%q: the upstream cannot read what it got: %v", request, err)
			}
		}
		for _, r := range seen {
			if r.URL.Query().Get("access_token") != "token-of-wwLapsed" {
				continue
			}
			path, query, _ := strings.Cut(r.RequestURI, "?")
			j, _, _ := g.Current().Gate.Judge(context.Background(), gate.Call{
				Corp: "wwLapsed", Path: []byte(path), Query: []byte(query), ContentType: r.Header.Get("Content-Type"),
				Encoding: r.Header.Get("Content-Encoding"), Body: r.body, At: time.Now(),
			}, gate.Peeking(g.Windows))
			if !j.Decision.Go {
				t.Errorf("%q: %s %s %q reached the upstream, which is refused: %s", request, r.Method, r.RequestURI, r.body, j.Decision.Reason)
			}
		}
	})
}

// whole tells whether bytes are requests from the first to the last, as another server reads them.
func whole(requests []byte) bool {
	br := bufio.NewReader(bytes.NewReader(requests))
	for {
		r, err := http.ReadRequest(br)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil {
			return err == io.EOF
		}
	}
}

// talk sends bytes on a connection of their own, and reads until the gateway ends it.
func talk(t *testing.T, api string, request []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", api)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = conn.Write(request) // it may have hung up already
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%q: %v", request, err)
	}
}

// Whatever bytes the upstream answers with: the client reads one answer, whole or visibly cut, and
// then its own next one.
func FuzzAnswers(f *testing.F) {
	g := newGateway(f, 0)
	u, api := newWire(f, g)
	for _, answer := range table(f, "answers.tsv", 4) {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, path := range []string{"user/get", "gettoken"} { // streamed, and read
			u.say(string(answer))
			conn, err := net.Dial("tcp", api)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			br := bufio.NewReader(conn)
			target := "/cgi-bin/" + path + "?access_token=" + url.QueryEscape("token-of-wwActive")
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: g\r\n\r\n", target)
			first, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%q: the client cannot read it: %v", answer, err)
			}
			if _, err = io.Copy(io.Discard, first.Body); err == nil && !first.Close {
				u.hungUp()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: g\r\n\r\n", target)
				second, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatalf("%q: no second answer: %v", answer, err)
				}
				if body, err := io.ReadAll(second.Body); err != nil || second.StatusCode != http.StatusOK || string(body) != usual[len(usual)-27:] {
					t.Errorf("%q: after it the client gets %d %q, %v", answer, second.StatusCode, body, err)
				}
			}
			conn.Close()
			u.take(g)
		}
	})
}

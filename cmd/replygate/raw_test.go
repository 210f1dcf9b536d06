package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// unescape reads the escapes of a table: those of a Go string.
func unescape(t testing.TB, s string) string {
	t.Helper()
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return out
}

// exchangeRaw sends raw bytes and reads one answer; ok is false if the connection ended without
// one.
func exchangeRaw(t testing.TB, address, request string) (a answer, ok bool) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(conn, request) // the gateway may have closed already
	_ = conn.(*net.TCPConn).CloseWrite()
	br := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return answer{}, false
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		return answer{Response: resp, body: body}, true
	}
}

// One request in, one request out, or none: framing that has more than one reading is refused for
// everybody, in WeCom's shape.
func TestFraming(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.token = r.fetchToken(r.gateway)
	cases := lines(t, "proxy/framing.tsv", 4)
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c[0], func(t *testing.T) {
			r.platform.Forget()
			request := strings.ReplaceAll(unescape(t, c[3]), "{T}", r.token)
			a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), request)
			seen := len(r.platform.Calls())
			if fmt.Sprint(seen) != c[2] {
				t.Errorf("upstream saw %d calls, want %s", seen, c[2])
			}
			if !ok {
				t.Fatal("the connection ended without an answer")
			}
			if fmt.Sprint(a.StatusCode) != c[1] {
				t.Errorf("HTTP %d %s, want %s", a.StatusCode, a.body, c[1])
			}
			if a.StatusCode != http.StatusOK && !strings.HasPrefix(string(a.body), `{"errcode":9904`) {
				t.Errorf("not in WeCom's shape: %s", a.body)
			}
			if a.StatusCode == http.StatusBadRequest && !a.Close {
				t.Error("the connection stays open after a request whose end is not known")
			}
		})
	}
}

// rawUpstream answers every request with the same bytes, and counts requests and connections.
type rawUpstream struct {
	net.Listener
	mu       sync.Mutex
	answer   string
	keep     bool
	requests chan string // the head and body of each request
}

func startRawUpstream(t *testing.T) *rawUpstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{Listener: ln, requests: make(chan string, 1000)}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go u.serve(conn)
		}
	}()
	return u
}

func (u *rawUpstream) serve(conn net.Conn) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		answer, keep := u.says()
		u.requests <- req.Method + " " + req.RequestURI + " " + string(body)
		if _, err := io.WriteString(conn, answer); err != nil || !keep {
			return
		}
	}
}

// say sets what the next requests are answered with.
func (u *rawUpstream) say(answer string, keep bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer, u.keep = answer, keep
}

func (u *rawUpstream) says() (answer string, keep bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.answer, u.keep
}

// seen takes what reached the upstream since the last look.
func (u *rawUpstream) seen() (all []string) {
	for {
		select {
		case s := <-u.requests:
			all = append(all, s)
		default:
			return all
		}
	}
}

// inFrontOf starts a gateway in front of a raw upstream.
func inFrontOf(t *testing.T, u *rawUpstream, change func(*config.Config)) *rig {
	return newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Upstream.URL, c.Upstream.Timeout = "http://"+u.Addr().String(), 5*time.Second
		if change != nil {
			change(c)
		}
	})
}

// A broken answer becomes a clean 502, or a visible cut where it was already going on; the next
// call on the same client connection gets its own answer.
func TestBrokenAnswers(t *testing.T) {
	u := startRawUpstream(t)
	r := inFrontOf(t, u, nil)
	cases := lines(t, "proxy/answers.tsv", 5)
	if len(cases) < 25 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		for _, path := range []string{"/cgi-bin/user/get", "/cgi-bin/gettoken"} { // streamed, and read
			t.Run(c[0]+path[8:], func(t *testing.T) {
				u.say(strings.ReplaceAll(unescape(t, c[4]), "{40K}", strings.Repeat("x", 40<<10)), c[1] == "keep")
				conn, err := net.Dial("tcp", r.gateway.api.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				br := bufio.NewReader(conn)
				fmt.Fprint(conn, request("POST", path+"?access_token=T", "{}"))
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatalf("no answer: %v", err)
				}
				body, cut := io.ReadAll(resp.Body)
				if n := len(u.seen()); n != 1 {
					t.Errorf("upstream saw %d requests", n)
				}
				if c[2] == "0" {
					if cut == nil && resp.StatusCode != http.StatusBadGateway {
						t.Errorf("HTTP %d %q looks whole", resp.StatusCode, body)
					}
					return
				}
				if fmt.Sprint(resp.StatusCode) != c[2] || !strings.Contains(string(body), c[3]) || cut != nil {
					t.Fatalf("HTTP %d %q %v", resp.StatusCode, body, cut)
				}
				if strings.Contains(string(body), "evil") {
					t.Fatal("bytes after the answer reached the client")
				}
				u.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext", true)
				fmt.Fprint(conn, request("POST", "/cgi-bin/department/list?access_token=T", "{}"))
				if a := readAnswer(t, br, "POST"); string(a.body) != "next" {
					t.Errorf("the next call got %q", a.body)
				}
				u.seen()
			})
		}
	}
}

// Every path of the table over the real listener: a judged one arrives in canonical form or not at
// all, any other as it came.
func TestPathsOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.golden()
	refused := map[string]bool{"kf_reply": true, "customer_details": true, "add_customer": true, "uncatalogued_customer": true}
	for _, c := range lines(t, "wecom/paths.tsv", 2) {
		if c[0] == "*" {
			continue // no target of a POST
		}
		t.Run(c[0], func(t *testing.T) {
			r.platform.Forget()
			a := r.call("POST", c[0], replyTo("wmNobody"))
			lenient, _ := strings.CutPrefix(c[1], "ambiguous:")
			calls := r.platform.Calls()
			if refused[lenient] {
				if len(calls) != 0 || a.Errcode == 0 {
					t.Errorf("LEAK: %d calls, %s", len(calls), a.body)
				}
				return
			}
			want, _, _ := strings.Cut(c[0], "#")
			if len(calls) != 1 || !strings.HasPrefix(calls[0].Path, want) {
				t.Errorf("%d calls: %+v, %s", len(calls), calls, a.body)
			}
		})
	}
}

// Every query of the table over the real listener: one that is not judged goes on as it came, and a
// judged one that can be read as carrying several tokens goes nowhere.
func TestTokensOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for _, path := range []string{"/cgi-bin/user/get", "/cgi-bin/externalcontact/get"} {
		for _, c := range lines(t, "wecom/tokens.tsv", 2) {
			t.Run(path+"?"+c[0], func(t *testing.T) {
				r.platform.Forget()
				a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), request("GET", path+"?"+c[0], ""))
				calls := r.platform.Calls()
				switch ambiguous := strings.Contains(c[1], " "); {
				case !ok:
					t.Fatal("no answer")
				case path == "/cgi-bin/user/get":
					if len(calls) != 1 || calls[0].Query != c[0] {
						t.Errorf("HTTP %d %s, calls %+v", a.StatusCode, a.body, calls)
					}
				case len(calls) != 0:
					t.Errorf("LEAK: %+v", calls)
				case ambiguous != (a.StatusCode == 400 && strings.Contains(string(a.body), "990400")):
					t.Errorf("HTTP %d %s", a.StatusCode, a.body)
				}
			})
		}
	}
}

// Every body of the table over the real listener: what can be read in two ways does not go on, and
// what goes on are the bytes that were judged.
func TestBodiesOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		rules := []config.Rule{{Name: config.Word{Text: "windows-decide"}, Action: config.Word{Text: "reply"}}}
		for _, capability := range []string{"mass_message", "customer_moments", "succession", "school_notice", "add_customer", "internal_message", "appchat", "linkedcorp_message", "webhook_robot", "aibot_reply"} {
			rules[0].Match.Capabilities = append(rules[0].Match.Capabilities, config.Word{Text: capability})
		}
		c.Policy.Rules = rules
	})
	now := r.clock.Now()
	for _, ch := range []string{"", "wkA"} {
		for _, customer := range []string{"wmA", "a", "b"} {
			r.adminCall("POST", "/v1/inbound", fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":%q,"customer":%q,"at":%q}]}`, corpID, ch, customer, now.Format(time.RFC3339)))
		}
	}
	cases := lines(t, "wecom/bodies.tsv", 3)
	if len(cases) < 40 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c[1], func(t *testing.T) {
			r.clock.Advance(2 * time.Second)
			r.token = r.fetchToken(r.gateway)
			r.platform.Forget()
			a := r.call("POST", c[0], c[1]) // whatever WeCom says to it
			calls := r.platform.Calls()
			plain := !strings.HasPrefix(c[2], "!")
			named := strings.Contains(c[2], "customers=") && !strings.Contains(c[2], "implicit")
			switch {
			case !plain && (a.Errcode != 40058 || a.Gate.Reason != "ambiguous_body" || len(calls) != 0):
				t.Errorf("%s, %d calls", a.body, len(calls))
			case plain && !named && len(calls) != 0:
				t.Errorf("LEAK: %s", a.body)
			case plain && named && a.Gate.Reason != "replies_used_up" && (len(calls) != 1 || string(calls[0].Body) != c[1]):
				t.Errorf("%s, calls %+v", a.body, calls)
			}
		})
	}
}

// Every Content-Type line counts, in whatever spelling and order, and none is enough to refuse a
// reply.
func TestTypesOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	for _, ch := range []string{"", "wkA"} {
		r.adminCall("POST", "/v1/inbound", fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":%q,"customer":"wmA","at":%q}]}`, corpID, ch, r.clock.Now().Format(time.RFC3339)))
	}
	for _, c := range lines(t, "wecom/forms.tsv", 4) {
		if c[0] != "/cgi-bin/kf/send_msg" {
			continue
		}
		for _, name := range []string{"Content-Type", "CONTENT-TYPE", "content_type"} {
			var headers []string
			for kind := range strings.SplitSeq(c[1], ",") {
				headers = append(headers, name+": "+kind)
			}
			body := strings.ReplaceAll(c[2], `\n`, "\n")
			t.Run(name+" "+c[1]+" "+c[2], func(t *testing.T) { r.checkBody(t, c[0], body, strings.HasPrefix(c[3], "!"), headers...) })
		}
	}
	plain := `{"touser":"wmA","open_kfid":"wkA","msgtype":"text"}`
	for encoding, bad := range map[string]bool{"identity": false, "": false, "gzip": true, "identity, gzip": true, "x": true} {
		t.Run("encoding "+encoding, func(t *testing.T) {
			r.checkBody(t, "/cgi-bin/kf/send_msg", plain, bad, "Content-Encoding: "+encoding)
			r.checkBody(t, "/cgi-bin/kf/send_msg", plain, bad, "Content-Encoding: "+encoding, "Content-Encoding: identity")
			r.checkBody(t, "/cgi-bin/kf/send_msg", plain, bad, "content_encoding: "+encoding)
		})
	}
}

// checkBody sends a reply to a customer who just wrote. It reaches WeCom as it came, or is refused
// as bad.
func (r *rig) checkBody(t *testing.T, path, body string, bad bool, headers ...string) {
	t.Helper()
	r.clock.Advance(2 * time.Second)
	r.adminCall("POST", "/v1/inbound", fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":"","customer":"wmA","at":%q},{"corp_id":%q,"channel":"wkA","customer":"wmA","at":%q}]}`,
		corpID, r.clock.Now().Format(time.RFC3339), corpID, r.clock.Now().Format(time.RFC3339)))
	r.token = r.fetchToken(r.gateway)
	r.platform.Forget()
	a := r.call("POST", path, body, headers...)
	calls := r.platform.Calls()
	switch {
	case bad && (a.Errcode != 40058 || a.Gate.Reason != "ambiguous_body" || len(calls) != 0):
		t.Errorf("%s, %d calls", a.body, len(calls))
	case !bad && (a.Header.Get("Replygate-Verdict") != "pass" || len(calls) != 1 || string(calls[0].Body) != body):
		t.Errorf("%s %s, calls %+v", a.Header.Get("Replygate-Reason"), a.body, calls)
	}
}

// What belongs to one connection, and what proxies say of each other, stays here; the rest goes on,
// for calls that are judged and for those that are not.
func TestHeadersOverTheListener(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.golden()
	cases := lines(t, "proxy/headers.tsv", 4)
	if len(cases) < 20 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, judged := range []bool{false, true} {
		for _, c := range cases {
			t.Run(fmt.Sprint(c[0], ", judged ", judged), func(t *testing.T) {
				target, body := "/cgi-bin/message/send", "{}"
				if judged {
					target, body = "/cgi-bin/kf/send_msg", replyTo(wrote)
					r.clock.Advance(time.Second)
					r.writes(wrote)
				}
				if judged && (c[0] == "an encoding") {
					t.Skip("the answer to a judged call is read, so no compression is asked for")
				}
				r.platform.Forget()
				text := request("POST", target+"?access_token="+r.token, body, unescape(t, c[1]))
				if a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), text); !ok || a.StatusCode != 200 {
					t.Fatalf("%v %s", ok, a.body)
				}
				calls := r.platform.Calls()
				if len(calls) != 1 {
					t.Fatalf("%d calls", len(calls))
				}
				got, there := calls[0].Header[c[2][1:]]
				switch {
				case c[2][0] == '-' && there:
					t.Errorf("%s: %q reached WeCom", c[2][1:], got)
				case c[2][0] == '+' && (len(got) != 1 || got[0] != unescape(t, c[3])):
					t.Errorf("%s: %q, want %q", c[2][1:], got, c[3])
				}
			})
		}
	}
}

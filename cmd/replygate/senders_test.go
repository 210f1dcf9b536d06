package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/store/storetest"
)

const (
	massMsg = "/cgi-bin/externalcontact/add_msg_template"
	upload  = "/cgi-bin/media/upload"
)

// Raw senders, as they came off the wire: a reply inside the window passes byte for byte, a mass
// message is refused for what it is, never for how it is written.
func TestRawSenders(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	token := r.fetchToken(r.gateway)
	for _, row := range lines(t, "clients/raw.tsv", 4) {
		name, head, body := row[0], unquoted(t, row[2]), unquoted(t, row[3])
		t.Run(name, func(t *testing.T) {
			r.clock.Advance(time.Second)
			r.writes(wrote)
			before := len(r.platform.Calls())
			a := sendRaw(t, r.gateway, sendMsg+"?access_token="+token, head, body)
			calls := r.platform.Calls()[before:]
			if len(calls) != 1 || string(calls[0].Body) != body || a.Header.Get("Replygate-Verdict") != "pass" || a.Errcode != calls[0].Code {
				t.Fatalf("%d calls reached WeCom, the answer is %s", len(calls), a.body)
			}
			if got, want := calls[0].Header.Values("Content-Type"), contentTypes(head); !slices.Equal(got, want) {
				t.Errorf("Content-Type %q, want %q", got, want)
			}
			a = sendRaw(t, r.gateway, massMsg+"?access_token="+token, head, massOf(t, body))
			if a.Errcode != 48002 || a.Gate.Rule != "no-mass-messages" || len(r.platform.Calls()) != before+1 {
				t.Errorf("a mass message: %s", a.body)
			}
		})
	}
}

// What curl and PHP's curl send with Expect, since it is over 1 MiB: an upload goes on whole, a
// reply is too large.
func TestLargeBodiesWithExpect(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	token := r.fetchToken(r.gateway)
	r.writes(wrote)
	const head = "Host: {host}\r\nAccept: */*\r\nContent-Length: {length}\r\nContent-Type: %s\r\nExpect: 100-continue"
	file := strings.Repeat("x", 2<<20)
	form := "--cut\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.bin\"\r\n\r\n" + file + "\r\n--cut--\r\n"
	a := sendRaw(t, r.gateway, upload+"?type=file&access_token="+token, fmt.Sprintf(head, "multipart/form-data; boundary=cut"), form)
	calls := r.platform.Calls()
	if last := calls[len(calls)-1]; a.Errcode != 0 || last.Path != upload || last.Size != int64(len(form)) {
		t.Errorf("an upload: %s, %d bytes of %d reached WeCom", a.body, last.Size, len(form))
	}
	reply := strings.Replace(replyTo(wrote), "hello", file, 1)
	a = sendRaw(t, r.gateway, sendMsg+"?access_token="+token, fmt.Sprintf(head, "application/x-www-form-urlencoded"), reply)
	if a.StatusCode != http.StatusRequestEntityTooLarge || a.Errcode != 990413 || r.platform.Count(sendMsg) != 0 {
		t.Errorf("a reply: HTTP %d %s", a.StatusCode, a.body)
	}
}

func unquoted(t *testing.T, s string) string {
	t.Helper()
	text, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return text
}

// massOf is a mass message that names the customer of a reply, written as the reply is.
func massOf(t *testing.T, body string) string {
	t.Helper()
	mass := regexp.MustCompile(`"touser":( ?)"`+wrote+`"`).ReplaceAllString(body, `"sender":$1"zhangsan","external_userid":$1["`+wrote+`"]`)
	if mass == body {
		t.Fatalf("%q names no customer", body)
	}
	return mass
}

// contentTypes are the Content-Type lines of a head.
func contentTypes(head string) (values []string) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Content-Type") {
			values = append(values, value)
		}
	}
	return values
}

// sendRaw sends a head as its program wrote it, and the body, in one chunk or after 100 Continue
// where the head says so.
func sendRaw(t *testing.T, g *gateway, target, head, body string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.api.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	head = strings.NewReplacer("{host}", conn.RemoteAddr().String(), "{length}", strconv.Itoa(len(body))).Replace(head)
	if strings.Contains(head, "Transfer-Encoding: chunked") {
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	br := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "POST "+target+" HTTP/1.1\r\n"+head+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(head, "Expect: 100-continue") {
		if first, err := br.Peek(len("HTTP/1.1 100")); err != nil || string(first) != "HTTP/1.1 100" {
			return readAnswer(t, br, "POST "+target) // the body is not wanted
		}
		for range 2 { // the line, and an empty one
			if _, err := br.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, br, "POST "+target)
}

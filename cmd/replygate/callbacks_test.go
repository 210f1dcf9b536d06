package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/proxy"
	"replygate/wecom"
)

// The callback URLs of testdata/callbacks/replygate.yaml.
type sender struct{ path, token, key, receiver string }

var (
	east  = sender{"/callback/east", "token-of-east", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wwEast"}
	west  = sender{"/callback/west", "token-of-west", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wwWest"}
	suite = sender{"/callback/suite", "token-of-suite", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", "wwSuite"}
)

// sealed returns the query and the ciphertext of a message, the same ones each time.
func (s sender) sealed(t *testing.T, at time.Time, plain string) (query, encrypt string) {
	t.Helper()
	c, err := wecom.NewCrypt(s.token, s.key)
	if err != nil {
		t.Fatal(err)
	}
	encrypt = c.Seal([]byte(plain), s.receiver, [16]byte{1, 2, 3})
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return "msg_signature=" + c.Sign(timestamp, "nonce1", encrypt) + "&timestamp=" + timestamp + "&nonce=nonce1", encrypt
}

// What the command says of a callback is a file of testdata/callbacks. It has no token and no key,
// and nothing of what a customer wrote.
func TestCallbacksCheck(t *testing.T) {
	const dir = "../../testdata/callbacks/"
	set, err := load(dir + "replygate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	message := func(corp string) string {
		return "<xml><ToUserName>" + corp + "</ToUserName><MsgType>event</MsgType><Event>customer_acquisition</Event><ChangeType>customer_start_chat</ChangeType><ExternalUserID>wmHidden</ExternalUserID><CreateTime>1</CreateTime></xml>"
	}
	post := func(s sender, to string, at time.Time, plain string) string {
		query, encrypt := s.sealed(t, at, plain)
		return "POST " + to + "?" + query + " HTTP/1.1\n<xml><ToUserName>x</ToUserName><Encrypt>" + encrypt + "</Encrypt></xml>\n"
	}
	with := func(s sender, change func(*sender)) sender {
		change(&s)
		return s
	}
	robot := with(east, func(s *sender) { s.receiver = "" })
	verify, echo := suite.sealed(t, now, "echo")
	cut, _ := east.sealed(t, now, "x")
	for _, test := range []struct {
		name, text string
		cause      wecom.Cause // of the path in the URL; "-": none was compared
	}{
		{"fits", post(east, east.path, now, message("wwEast")), ""},
		{"fits-get", "https://gateway.example" + suite.path + "?" + verify + "&echostr=" + url.QueryEscape(echo), ""},
		{"fits-without-path", strings.ReplaceAll(post(east, "", now, message("wwEast")), "POST ?", ""), ""},
		{"unlisted-corp", post(suite, suite.path, now, message("wwNobody")), ""},
		{"token-of-another", post(with(east, func(s *sender) { s.token = west.token }), east.path, now, message("wwEast")), "token"},
		{"token-of-nobody", post(with(east, func(s *sender) { s.token = "an old one" }), east.path, now, message("wwEast")), "token"},
		{"token-and-key-of-another", post(west, east.path, now, message("wwWest")), "token"},
		{"token-and-key-of-nobody", post(sender{"", "t", strings.Repeat("A", 43), "wwEast"}, east.path, now, message("wwEast")), "token"},
		{"key-of-another", post(with(east, func(s *sender) { s.key = west.key }), east.path, now, message("wwEast")), "key"},
		{"key-of-nobody", post(with(east, func(s *sender) { s.key = strings.Repeat("A", 43) }), east.path, now, message("wwEast")), "key"},
		{"receiver-is-another-account", post(with(east, func(s *sender) { s.receiver = "wwWest" }), east.path, now, message("wwWest")), "receive_id"},
		{"receiver-is-nobody", post(with(east, func(s *sender) { s.receiver = "wwElse" }), east.path, now, message("wwElse")), "receive_id"},
		{"receiver-is-a-robot", post(robot, east.path, now, `{"msgtype":"text"}`), "receive_id"},
		{"two-hours-ago", post(east, east.path, now.Add(-2*time.Hour), message("wwEast")), "age"},
		{"in-an-hour", post(east, east.path, now.Add(time.Hour), message("wwEast")), "age"},
		{"milliseconds", post(east, east.path, time.Unix(now.UnixMilli(), 0), message("wwEast")), "age"},
		{"corp-of-another", post(east, east.path, now, message("wwWest")), "corp"},
		{"no-message", post(east, east.path, now, "hello"), "malformed"},
		{"unknown-path", post(east, "/callback/est", now, message("wwEast")), "-"},
		{"no-body", "POST " + east.path + "?" + cut + " HTTP/1.1", "-"},
		{"cut-body", "POST " + east.path + "?" + cut + " HTTP/1.1\n<xml><Encrypt>AAAA", "-"},
		{"no-echostr", "GET " + east.path + "?" + cut + " HTTP/1.1", "-"},
		{"two-signatures", strings.Replace(post(east, east.path, now, message("wwEast")), "?", "?msg_signature=a&", 1), "-"},
		{"no-nonce", strings.Replace(post(east, east.path, now, message("wwEast")), "nonce=", "once=", 1), "-"},
		{"no-signature", "POST /callback/east HTTP/1.1", "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := checkCallback(set, test.text, now)
			var out bytes.Buffer
			if printed := report.print(&out); printed != nil {
				t.Fatal(printed)
			}
			if err != nil {
				fmt.Fprintln(&out, err)
			}
			file := dir + test.name + ".want"
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want := contents(t, file); out.String() != want {
				t.Errorf("got\n%swant\n%s", out.String(), want)
			}
			for _, s := range []sender{east, west, suite} {
				for _, hidden := range []string{s.token, s.key, "wmHidden"} {
					if strings.Contains(out.String(), hidden) {
						t.Errorf("the output has %s", hidden)
					}
				}
			}
			if report.OK != (err == nil) {
				t.Errorf("ok is %v, and the error %v", report.OK, err)
			}
			if test.cause == "-" {
				return
			}
			if len(report.Callbacks) != 3 || report.Callbacks[0].Path != east.path && report.Callbacks[0].Path != suite.path || report.Callbacks[0].Cause != test.cause {
				t.Errorf("the report is %+v, want the cause %q", report, test.cause)
			}
		})
	}
}

// A callback is found in what operators copy: lines of logs, commands, requests.
func TestReadCopied(t *testing.T) {
	const query, body = "msg_signature=s&timestamp=1&nonce=2", "<xml><Encrypt>A</Encrypt></xml>"
	for _, test := range []struct {
		name, text        string
		path, query, body string
		get               bool
	}{
		{"a request line", "POST /cb?" + query + " HTTP/1.1\n" + body, "/cb", query, body, false},
		{"a whole request", "POST /cb?" + query + " HTTP/1.1\r\nHost: g\r\nContent-Type: text/xml\r\n\r\n" + body + "\r\n", "/cb", query, body, false},
		{"a URL and a body", "https://g.example/cb?" + query + "\n" + body, "/cb", query, body, false},
		{"a URL and JSON", "https://g.example/cb?" + query + "\n" + `{"encrypt":"A"}`, "/cb", query, `{"encrypt":"A"}`, false},
		{"the query alone", query + "\n" + body, "", query, body, false},
		{"the query with its mark", "?" + query + "\n" + body, "", query, body, false},
		{"a verification", "https://g.example/cb?" + query + "&echostr=A%2B", "/cb", query + "&echostr=A%2B", "", true},
		{"a line of nginx", `1.2.3.4 - - [22/Nov/2026:10:00:00 +0800] "GET /cb?` + query + `&echostr=A HTTP/1.1" 403 180 "-" "Mozilla/4.0"`, "/cb", query + "&echostr=A", "", true},
		{"a line of nginx, and a body", `1.2.3.4 - - [22/Nov/2026:10:00:00 +0800] "POST /cb?` + query + ` HTTP/1.1" 403 180 "-" "Mozilla/4.0"` + "\n" + body, "/cb", query, body, false},
		{"JSON of a log", `{"method":"GET","uri":"/cb?msg_signature=s\u0026timestamp=1\u0026nonce=2\u0026echostr=A","status":403}`, "/cb", query + "&echostr=A", "", true},
		{"JSON with escaped slashes", `{"uri":"\/cb?` + query + `&echostr=A"}`, "/cb", query + "&echostr=A", "", true},
		{"HTML", "/cb?msg_signature=s&amp;timestamp=1&amp;nonce=2&amp;echostr=A", "/cb", query + "&echostr=A", "", true},
		{"a command of curl", "curl -X POST 'http://g/cb?" + query + "' -d '" + body + "'", "/cb", query, body, false},
		{"a body of several lines", "POST /cb?" + query + " HTTP/1.1\n\n<xml>\n<Encrypt>A</Encrypt>\n</xml>\n", "/cb", query, "<xml>\n<Encrypt>A</Encrypt>\n</xml>", false},
		{"another order", "POST /cb?timestamp=1&nonce=2&msg_signature=s HTTP/1.1\n" + body, "/cb", "timestamp=1&nonce=2&msg_signature=s", body, false},
	} {
		c, err := readCopied(test.text)
		if err != nil || c.path != test.path || string(c.query) != test.query || string(c.body) != test.body || c.get != test.get {
			t.Errorf("%s: %q %q %q, GET %v, %v", test.name, c.path, c.query, c.body, c.get, err)
		}
	}
}

// The command takes a callback as arguments or from a file, at a given time, and prints text or
// JSON.
func TestCallbacksCheckCommand(t *testing.T) {
	const file = "../../testdata/callbacks/replygate.yaml"
	query, encrypt := east.sealed(t, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), "<xml><MsgType>event</MsgType><Event>enter_agent</Event><ToUserName>wwEast</ToUserName></xml>")
	address, body := "https://g.example/callback/east?"+query, "<xml><Encrypt>"+encrypt+"</Encrypt></xml>"
	request := write(t, address+"\n"+body)
	long := write(t, address+"\n"+body+strings.Repeat(" ", maxCopied))
	const at = "--at=2026-11-22T18:00:05+08:00"
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{at, address, body}, exitGood, "age         fits  5s in the past"},
		{[]string{at, "--request", request}, exitGood, "receive_id  fits  it is for wwEast (account Acme East)"},
		{[]string{at, "--json", address, body}, exitGood, `"ok": true`},
		{[]string{"--request", request}, exitBad, "the callback does not fit /callback/east: age"},
		{[]string{"--json", "--request", request}, exitBad, `"cause": "age"`},
		{[]string{"--json", at, strings.Replace(address, "east", "none", 1), body}, exitBad, "no callback of the configuration has the path /callback/none"},
		{[]string{"--json", at, strings.Replace(address, "msg_signature", "msg_signature=1&msg_signature", 1), body}, exitBad, `"malformed": "the callback is not readable`},
		{[]string{at, address}, exitUsage, "give the body too"},
		{[]string{"--at", "noon", address, body}, exitUsage, `--at "noon" is not an instant`},
		{[]string{"--request", request, address}, exitUsage, "not both"},
		{[]string{"--request", "/does/not/exist"}, exitBad, "no such file"},
		{[]string{"--request", long}, exitBad, long + " is larger than 2MB"},
		{[]string{"hello"}, exitUsage, "the text has no URL with msg_signature="},
		{[]string{"-c", "/does/not/exist", address, body}, exitBad, "/does/not/exist"},
	} {
		code, out, errs := cli(t, append([]string{"callbacks", "check", "-c", file}, test.args...)...)
		if code != test.code || !strings.Contains(out+errs, test.says) || code == exitUsage && out != "" {
			t.Errorf("%q: exit %d, want %d and %q:\n%s%s", test.args, code, test.code, test.says, out, errs)
		}
	}
}

// A report is aligned also with Chinese names, and shows what would act on a terminal as text.
func TestCallbackReportIsATable(t *testing.T) {
	r := callbackReport{Path: "/cb", Callbacks: []proxy.CallbackCheck{
		{Path: "/cb", Parts: []proxy.CallbackMatch{{Part: "深圳", Match: proxy.Fits, Says: "a\x1b[31mb"}, {Part: "key", Match: proxy.Differs, Says: "c"}}},
		{Path: "/c\x1b"},
	}}
	var out bytes.Buffer
	want := "/cb:\n  深圳  fits     a\ufffd[31mb\n  key   differs  c\n/c\ufffd: \n"
	if err := r.print(&out); err != nil || out.String() != want {
		t.Errorf("got\n%s\nwant\n%s%v", out.String(), want, err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

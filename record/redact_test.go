package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"replygate/record"
)

// Secrets by their names: in each text, S3CRET is one.
func TestRedactByName(t *testing.T) {
	t.Parallel()
	names := strings.Fields(`access_token suite_access_token provider_access_token corpsecret provider_secret secret
		EncodingAESKey encoding_aes_key permanent_code auth_code suite_ticket jsapi_ticket session_key pre_auth_code
		register_code response_code welcome_code msg_code msg_signature password change_key read_key metrics_key
		key code token ticket ACCESS_TOKEN Token`)
	r := record.NewRedactor()
	for _, name := range names {
		for _, text := range []string{
			name + "=S3CRET",
			"GET /cgi-bin/x?" + name + "=S3CRET&debug=1 HTTP/1.1",
			"GET /cgi-bin/x?debug=1&" + name + "=S3CRET",
			`dial "https://host/x?a=1;` + name + `=S3CRET": refused`,
			`{"` + name + `":"S3CRET","errcode":0}`,
			`{"` + name + `" : "S3CRET"}`,
			`{"errmsg":"body {\"` + name + `\": \"S3CRET\"}"}`,
			`{"a":"{\"b\":\"{\\\"` + name + `\\\":\\\"S3CRET\\\"}\"}"}`,
		} {
			want := strings.ReplaceAll(text, "S3CRET", "***")
			if got := string(r.Redact([]byte(text))); got != want {
				t.Errorf("%s\n got %s\nwant %s", text, got, want)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	r := record.NewRedactor("the-admin-key", "the-admin-key-two", "short")
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"nothing here", "nothing here"},
		{"key the-admin-key-two and the-admin-key", "key *** and ***"},
		{"xthe-admin-keyx", "x***x"},
		{"short is left alone", "short is left alone"},
		{"?corpid=ww1&corpsecret=S3CR&x=1", "?corpid=ww1&corpsecret=***&x=1"},
		{"?access_token=abc%2B-_123 HTTP", "?access_token=*** HTTP"},
		{"?access_token=", "?access_token="},
		{"suite_access_token=A&provider_access_token=B", "suite_access_token=***&provider_access_token=***"},
		{`{"access_token":"","code":"C"}`, `{"access_token":"","code":"***"}`},
		{`{"welcome_code":"W","code":"C","errcode":48002}`, `{"welcome_code":"***","code":"***","errcode":48002}`},
		{"Authorization: Bearer abc.def", "Authorization: Bearer ***"},
		{"authorization: Basic dXNlcg==", "authorization: Basic ***"},
		{"Authorization: opaque", "Authorization: ***"},
		{`{"Authorization":"Bearer abc"}`, `{"Authorization":"Bearer ***"}`},
		{`{"Authorization":"abc"}`, `{"Authorization":"***"}`},
		{`cookie="abc"`, `cookie="***"`},
		{`{"secret":"ab\/cd","x":"y"}`, `{"secret":"***","x":"y"}`},
		{`{"error":"{\"secret\":\"ab\\/cd\",\"x\":1}"}`, `{"error":"{\"secret\":\"***\",\"x\":1}"}`},
		{"Cookie: session", "Cookie: ***"},
		{"the header was Bearer abc", "the header was Bearer ***"},
		{"the header was bearer abc, twice: BEARER def", "the header was bearer ***, twice: BEARER ***"},
		// What only looks like a secret stays: reasons, paths, numbers and other names.
		{`{"path":"/cgi-bin/gettoken","reason":"unknown_token"}`, `{"path":"/cgi-bin/gettoken","reason":"unknown_token"}`},
		{`{"reason":"code_unknown","errcode":95002}`, `{"reason":"code_unknown","errcode":95002}`},
		{`{"code":95002,"token":null}`, `{"code":95002,"token":null}`},
		{"?monkey=1&encode=2&tokens=3", "?monkey=1&encode=2&tokens=3"},
		{`{"monkey":"a","encode":"b"}`, `{"monkey":"a","encode":"b"}`},
		{"the bearer", "the bearer"},
		{"authorization failed", "authorization failed"},
	} {
		text := []byte(c.text)
		if got := string(r.Redact(text)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		if string(text) != c.text {
			t.Errorf("%s was changed in place to %s", c.text, text)
		}
	}
}

// A record's keys are the gateway's own and hold no secrets; their values may.
func TestRedactRecords(t *testing.T) {
	t.Parallel()
	r := record.NewRedactor("the-admin-key")
	for _, c := range []struct{ text, want string }{
		{`{"msg":"request","path":"/a","fault":"the-admin-key"}`, `{"msg":"request","path":"/a","fault":"***"}`},
		{`{"msg":"request","path":"/a?access_token=abc"}`, `{"msg":"request","path":"/a?access_token=***"}`},
		{`{"msg":"request","fault":"got {\"permanent_code\": \"P\"}"}`, `{"msg":"request","fault":"got {\"permanent_code\": \"***\"}"}`},
		{`{"msg":"request","fault":"Authorization: Bearer abc"}`, `{"msg":"request","fault":"Authorization: Bearer ***"}`},
		{`{"msg":"request","fault":"cookie: abc"}`, `{"msg":"request","fault":"cookie: ***"}`},
		{`{"msg":"request","token":"known"}`, `{"msg":"request","token":"known"}`},
		// What ends like the name of a secret ends there: the quote after it is not a value's.
		{`{"user_agent":"\"key\":","msgtype":"text"}`, `{"user_agent":"\"key\":","msgtype":"text"}`},
		{`{"user_agent":"\"key\":"}` + "\n" + `{"msg":"request"}`, `{"user_agent":"\"key\":"}` + "\n" + `{"msg":"request"}`},
		{`{"user_agent":"cookie:"}`, `{"user_agent":"cookie:"}`},
		{`{"user_agent":"cookie:\nabc"}`, `{"user_agent":"cookie:\nabc"}`},
		{`{"msg":"request","status":200}`, `{"msg":"request","status":200}`},
	} {
		if got := string(r.RedactRecords([]byte(c.text))); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestAddSecrets(t *testing.T) {
	t.Parallel()
	r := record.NewRedactor("first-secret")
	r.AddSecrets("second-secret", "first-secret", "five5", "sixsix", "", "second-secret-longer")
	const text = "first-secret second-secret five5 sixsix second-secret-longer"
	if got := string(r.Redact([]byte(text))); got != "*** *** five5 *** ***" {
		t.Error(got)
	}
}

// Lines are redacted while a reload adds secrets.
func TestAddSecretsWhileRedacting(t *testing.T) {
	t.Parallel()
	r := record.NewRedactor("first-secret")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 200 {
				if got := string(r.Redact([]byte("first-secret"))); got != "***" {
					t.Error(got)
				}
			}
		})
	}
	for i := range 50 {
		r.AddSecrets(fmt.Sprintf("secret-%d", i))
	}
	readers.Wait()
	if got := string(r.Redact([]byte("secret-0 secret-49"))); got != "*** ***" {
		t.Error(got)
	}
}

// A text without secrets is returned as it is: most lines have none.
func TestRedactDoesNotCopy(t *testing.T) {
	t.Parallel()
	text := []byte(`{"msg":"request","status":200,"path":"/cgi-bin/kf/send_msg"}`)
	r := record.NewRedactor("the-admin-key")
	for name, got := range map[string][]byte{"Redact": r.Redact(text), "RedactRecords": r.RedactRecords(text)} {
		if &got[0] != &text[0] {
			t.Errorf("%s copied the text", name)
		}
	}
}

func TestRedacting(t *testing.T) {
	t.Parallel()
	var to bytes.Buffer
	r := record.NewRedactor("the-admin-key")
	for _, c := range []struct {
		w        io.Writer
		in, want string
	}{
		{r.Redacting(&to), `the-admin-key {"token":"S3CRET"}`, `*** {"token":"***"}`},
		{r.RedactingRecords(&to), `the-admin-key {"token":"known"}`, `*** {"token":"known"}`},
	} {
		to.Reset()
		n, err := io.WriteString(c.w, c.in)
		if err != nil || n != len(c.in) { // of the text that was given, not of the shorter one
			t.Errorf("%d, %v", n, err)
		}
		if to.String() != c.want {
			t.Errorf("got %q, want %q", to.String(), c.want)
		}
	}
}

func TestRedactingFails(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	w := record.NewRedactor().Redacting(&stream{fail: full, room: 3})
	if n, err := io.WriteString(w, "a line\n"); n != 0 || !errors.Is(err, full) {
		t.Errorf("%d, %v", n, err)
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

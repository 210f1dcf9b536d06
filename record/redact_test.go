package record_test

import (
	"testing"

	"replygate/record"
)

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

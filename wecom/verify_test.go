package wecom_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// Verify stops at the first part of a callback that does not fit; Fit compares each part by itself.
// Both name the same cause.
func TestVerify(t *testing.T) {
	t.Parallel()
	const key, otherKey = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	crypt := func(token, key string) *wecom.Crypt {
		c, err := wecom.NewCrypt(token, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours, now := crypt("token", key), time.Date(2026, 11, 22, 10, 0, 0, 5e8, time.UTC)
	seconds := func(off time.Duration) string { return strconv.FormatInt(now.Add(off).Unix(), 10) }
	for _, test := range []struct {
		name      string
		by        *wecom.Crypt
		receiver  string
		timestamp string
		cause     wecom.Cause
		fit       string // token, key, receive id, age
		known     string // of the receiver, by Verify
	}{
		{"everything", ours, "ww1", seconds(0), "", "yyyy", "ww1"},
		{"the second receiver", ours, "", seconds(0), "", "yyyy", ""},
		{"ten minutes ago", ours, "ww1", seconds(-9*time.Minute - 59*time.Second), "", "yyyy", "ww1"},
		{"in ten minutes", ours, "ww1", seconds(10 * time.Minute), "", "yyyy", "ww1"},
		{"another token", crypt("other", key), "ww1", seconds(0), wecom.CauseToken, "nyyy", ""},
		{"another key", crypt("token", otherKey), "ww1", seconds(0), wecom.CauseKey, "ynny", ""},
		{"another receiver", ours, "ww2", seconds(0), wecom.CauseReceiveID, "yyny", "ww2"},
		{"another letter case", ours, "WW1", seconds(0), wecom.CauseReceiveID, "yyny", "WW1"},
		{"more than ten minutes ago", ours, "ww1", seconds(-10*time.Minute - time.Second), wecom.CauseAge, "yyyn", "ww1"},
		{"in more than ten minutes", ours, "ww1", seconds(10*time.Minute + time.Second), wecom.CauseAge, "yyyn", "ww1"},
		{"no time", ours, "ww1", "", wecom.CauseAge, "yyyn", "ww1"},
		{"milliseconds", ours, "ww1", seconds(0) + "000", wecom.CauseAge, "yyyn", "ww1"},
		{"nothing", crypt("other", otherKey), "ww2", "x", wecom.CauseToken, "nnnn", ""},
	} {
		encrypt := test.by.Seal([]byte("hello"), test.receiver, [16]byte{1})
		s := wecom.Sealed{Encrypt: encrypt}
		s.Timestamp, s.Nonce = test.timestamp, "n"
		s.Signature = test.by.Sign(s.Timestamp, s.Nonce, encrypt)
		ids := []string{"ww1", ""}
		msg, receiver, cause := s.Verify(ours, ids, now)
		if cause != test.cause || receiver != test.known || (string(msg) == "hello") != (cause == "") || cause != "" && msg != nil {
			t.Errorf("%s: %q, for %q, cause %q, want %q", test.name, msg, receiver, cause, test.cause)
		}
		f := s.Fit(ours, ids, now)
		got := ""
		for _, fits := range []bool{f.Token, f.Key, f.ReceiveID, f.Age} {
			got += map[bool]string{true: "y", false: "n"}[fits]
		}
		if got != test.fit || f.Cause() != test.cause || f.Key != (string(f.Message) == "hello") || f.Key && f.Receiver != test.receiver {
			t.Errorf("%s: fits %s, want %s; cause %q, %+v", test.name, got, test.fit, f.Cause(), f)
		}
	}
}

// ReadSealed says which part of a callback is not as documented.
func TestReadSealed(t *testing.T) {
	t.Parallel()
	const query, body = "msg_signature=s&timestamp=1&nonce=2", "<xml><Encrypt>AAAA</Encrypt></xml>"
	for _, test := range []struct {
		name        string
		get         bool
		query, body string
		encrypt     string
		says        string // of the error, "" if there is none
	}{
		{"a POST", false, query, body, "AAAA", ""},
		{"a POST with an echostr", false, query + "&echostr=BBBB", body, "AAAA", ""},
		{"JSON", false, query, `{"encrypt":"AAAA"}`, "AAAA", ""},
		{"a GET", true, query + "&echostr=A%2BAA", "", "A+AA", ""},
		{"a GET with a body", true, query + "&echostr=AAAA", body, "AAAA", ""},
		{"a GET without an echostr", true, query, body, "", "has no echostr"},
		{"no signature", false, "timestamp=1&nonce=2", body, "", "has no msg_signature"},
		{"an empty signature", false, "msg_signature=&timestamp=1&nonce=2", body, "", "has no msg_signature"},
		{"no timestamp", false, "msg_signature=s&nonce=2", body, "", "has no timestamp"},
		{"no nonce", false, "msg_signature=s&timestamp=1", body, "", "has no nonce"},
		{"an empty timestamp and nonce, which are signed as such", false, "msg_signature=s&timestamp=&nonce=", body, "AAAA", ""},
		{"two signatures", false, query + "&msg_signature=s", body, "", "given twice"},
		{"no body", false, query, "", "", "the body is not XML or JSON with one Encrypt"},
		{"two texts", false, query, "<xml><Encrypt>A</Encrypt><Encrypt>B</Encrypt></xml>", "", "the body is not XML or JSON with one Encrypt"},
	} {
		s, err := wecom.ReadSealed(test.get, []byte(test.query), []byte(test.body))
		if s.Encrypt != test.encrypt || (err == nil) != (test.says == "") {
			t.Errorf("%s: %+v, %v", test.name, s, err)
		}
		if err != nil && !(errors.Is(err, wecom.ErrCallback) && strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
}

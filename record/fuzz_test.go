package record

import (
	"bytes"
	"encoding/json"
	"testing"
)

// The fast checks before the expressions never keep a secret from them.
func FuzzRedact(f *testing.F) {
	for _, text := range []string{
		"AUTHORIZATION: abc", "Authorization: abc", "cookie: abc", "COOKIE=abc", "the header was BEARER abc", "xbEaReR abc",
		`{"ACCESS_TOKEN":"abc"}`, `{"access_token" : "abc"}`, "{\"Key\"\t:\n\"abc\"}", `{"EncodingAESKey":"abc"}`, `"code":"abc"`, `{\"ticket\":\"abc\"}`,
		"?key=abc", "a:b:c", `":"`, `"":""`, ":", "bearer", "kookie cook", "zauthorizatio", `{"msg_signature":"a","register_code":"b","password":"c"}`,
	} {
		f.Add([]byte(text))
	}
	r := NewRedactor()
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, c := range text {
			if c >= 0x80 {
				return // (?i) also folds two letters outside ASCII, which no name has
			}
		}
		if got, want := string(r.Redact(text)), string(redactNamed(text)); got != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	})
}

// A record stays one line of valid JSON with the members it had, whatever callers put into its
// strings.
func FuzzRedactRecords(f *testing.F) {
	for _, text := range []string{
		`"key":`, `"key": `, `cookie:`, `cookie: `, `Authorization`, "cookie:\nabc", `cookie:\`, `"token":"a\/b"`, `\"token\":\"a`, `key=`, `bearer `,
		`{"access_token":"`, `x"code":"`, "authorization:\t\"Basic ", `"key":}`, `cookie=]`, `"secret" : "a"b`,
	} {
		f.Add(text, "POST /")
		f.Add("curl", text)
	}
	r := NewRedactor()
	f.Fuzz(func(t *testing.T, agent, path string) {
		type line struct {
			Msg   string `json:"msg"`
			Agent string `json:"user_agent"`
			Type  string `json:"msgtype"`
			Path  string `json:"path"`
		}
		first, err := json.Marshal(line{"decision", agent, "text", path})
		if err != nil {
			t.Fatal(err)
		}
		const second = `{"msg":"decision","id":"1","user_agent":"curl"}`
		got := r.RedactRecords(append(append(first, '\n'), second...))
		redacted, rest, _ := bytes.Cut(got, []byte{'\n'})
		var l line
		if err := json.Unmarshal(redacted, &l); err != nil {
			t.Fatalf("%s is %s: %v", first, redacted, err)
		}
		if l.Msg != "decision" || l.Type != "text" || string(rest) != second {
			t.Errorf("%s is %s", first, got)
		}
	})
}

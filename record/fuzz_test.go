package record

import "testing"

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

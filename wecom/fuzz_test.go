package wecom_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	strictjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"replygate/wecom"
)

// FuzzReadPath compares ReadPath with a lenient server: a plain path has exactly one meaning, and
// the lenient meaning of an ambiguous path is among its readings.
func FuzzReadPath(f *testing.F) {
	for _, c := range cases(f, "wecom/paths.tsv", 2) {
		f.Add([]byte(c[0]))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := wecom.ReadPath(raw)
		lenient := lenientPath(string(raw))
		e := wecom.Lookup(lenient)
		if !r.Ambiguous() {
			if r.Endpoint != e {
				t.Fatalf("%q is %s, a lenient server sees %s", raw, r.Endpoint.Path, e.Path)
			}
			if again := wecom.ReadPath([]byte(r.Path)); again.Path != r.Path || again.Endpoint != r.Endpoint {
				t.Fatalf("%q: its canonical form %q is read as %q", raw, r.Path, again.Path)
			}
			return
		}
		for _, reading := range r.Readings {
			if reading == e {
				return
			}
		}
		if e.Capability != wecom.Uncatalogued {
			t.Fatalf("%q: a lenient server sees %s, no reading does", raw, e.Path)
		}
	})
}

// lenientPath canonicalises a path like a very lenient server.
func lenientPath(p string) string {
	for range 8 {
		d, err := url.PathUnescape(p)
		if err != nil || d == p {
			break
		}
		p = d
	}
	p = strings.ToLower(strings.ReplaceAll(p, `\`, "/"))
	var kept []string
	for segment := range strings.SplitSeq(p, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, segment)
		}
	}
	for len(kept) > 2 && kept[0] == "cgi-bin" && kept[1] == "cgi-bin" {
		kept = kept[1:]
	}
	return "/" + strings.Join(kept, "/")
}

// FuzzReadTokens compares ReadTokens with lenient servers: the first and the last token that a
// server could find, however it splits, decodes and folds the query, are among the tokens.
func FuzzReadTokens(f *testing.F) {
	for _, c := range cases(f, "wecom/tokens.tsv", 2) {
		f.Add([]byte(c[0]))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		tokens := wecom.ReadTokens(nil, query)
		if len(tokens) > wecom.MaxTokens {
			return
		}
		whole, _, _ := strings.Cut(string(query), "#")
		for _, text := range []string{string(query), whole} {
			for _, separators := range []string{"&", "&;"} {
				for _, exact := range []bool{true, false} {
					found := lenientTokens(text, separators, exact)
					if len(found) == 0 {
						found = []string{""}
					}
					for _, token := range []string{found[0], found[len(found)-1]} {
						if !slices.Contains(tokens, token) && !(token == "" && len(tokens) == 0) {
							t.Fatalf("%q is read as %q, a lenient server sees %q", query, tokens, token)
						}
					}
				}
			}
		}
	})
}

// lenientTokens returns the tokens that a server finds that splits at separators. Unless exact, it
// also accepts variants of the name.
func lenientTokens(query, separators string, exact bool) (found []string) {
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || name != "access_token" && (exact || !strings.EqualFold(strings.TrimSpace(plain), "access_token")) {
			continue
		}
		if token, err := url.QueryUnescape(value); err == nil {
			found = append(found, token)
		} else {
			found = append(found, unescapeLeniently(value))
		}
	}
	return found
}

// unescapeLeniently decodes valid escapes and keeps invalid ones.
func unescapeLeniently(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if d, err := url.QueryUnescape(s[i : i+3]); err == nil {
				out = append(out, d...)
				i += 2
				continue
			}
		}
		if c == '+' {
			c = ' '
		}
		out = append(out, c)
	}
	return string(out)
}

// FuzzReadFacts compares ReadFacts with encoding/json, for which the last of two names counts, in
// any letter case: both read an accepted body alike.
func FuzzReadFacts(f *testing.F) {
	for _, c := range cases(f, "wecom/bodies.tsv", 3) {
		if strings.HasPrefix(c[0], "/cgi-bin/kf/send_msg") {
			f.Add([]byte(c[1]))
		}
	}
	send := wecom.Lookup("/cgi-bin/kf/send_msg")
	f.Fuzz(func(t *testing.T, body []byte) {
		facts, err := send.ReadFacts(nil, body)
		if err != nil {
			return
		}
		var lenient struct {
			ToUser   *string `json:"touser"`
			OpenKfID *string `json:"open_kfid"`
			MsgType  *string `json:"msgtype"`
		}
		if err := json.Unmarshal(tidied(body), &lenient); err != nil {
			t.Fatalf("%q is accepted, encoding/json says %v", body, err)
		}
		text := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		if strings.Join(facts.Customers, ",") != text(lenient.ToUser) || facts.Channel != text(lenient.OpenKfID) || facts.MsgType != text(lenient.MsgType) {
			t.Fatalf("%q is read as %+v, encoding/json reads %q %q %q", body, facts, text(lenient.ToUser), text(lenient.OpenKfID), text(lenient.MsgType))
		}
	})
}

// tidied removes what encoding/json rejects everywhere and bots send where nobody reads it: a byte
// order mark, and control characters in strings.
func tidied(body []byte) []byte {
	out := bytes.Clone(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	for i, c := range out {
		if c < ' ' {
			out[i] = ' '
		}
	}
	return out
}

// strictPage is a page for a strict decoder.
type strictPage struct {
	Errcode int `json:"errcode"`
	List    []struct {
		Channel  string         `json:"open_kfid"`
		Customer string         `json:"external_userid"`
		Time     int64          `json:"send_time"`
		Origin   int            `json:"origin"`
		Event    jsontext.Value `json:"event"`
	} `json:"msg_list"`
}

// FuzzReadPage checks that every message of any page has what a window needs, that ReadPage agrees
// with a strict decoder where that accepts a page, and that no broken item loses another one
// without a report.
func FuzzReadPage(f *testing.F) {
	f.Add([]byte(`{"errcode":0,"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3}]}`))
	f.Add([]byte(`{"msg_list":[{"origin":"3","send_time":"1","external_userid":"\u0041"}],"msg_list":[]}`))
	f.Add([]byte(`{"msg_list":null}`))
	f.Add([]byte("\xEF\xBB\xBF{\"errcode\":\"0\",\"msg_list\":[{\"open_kfid\":\"wk\",\"external_userid\":\"wm\",\"send_time\":1.7e9,\"origin\":3.0,\"text\":\"\x00\\ud83d\"}]}x"))
	f.Add([]byte(`{"msgid":"m","origin":4,"event":{"event_type":"enter_session","welcome_code":"W"}}`))
	f.Add([]byte(`{"msgid":"m","text":{"content":"5" wide"},"x":[{"msgid":"n"},{"msgid":"o"`))
	const first, last = `{"msgid":"a","open_kfid":"wk","external_userid":"wmFirst","send_time":1700000000,"origin":3}`, `{"msgid":"b","open_kfid":"wk","external_userid":"wmLast","send_time":1700000000,"origin":3}`
	has := func(p wecom.Page, customer string) bool {
		return slices.ContainsFunc(p.Messages, func(m wecom.Message) bool { return m.Customer == customer })
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := wecom.ReadPage(bytes.NewReader(body))
		for _, m := range page.Messages {
			if m.Channel == "" || m.Customer == "" || max(len(m.Customer), len(m.Channel)) > wecom.MaxID || m.At.Unix() <= 0 {
				t.Fatalf("message %+v", m)
			}
		}
		if page.Errcode != 0 && len(page.Messages)+len(page.Codes)+len(page.Failures)+len(page.Unreadable) > 0 {
			t.Fatalf("a failure says %+v", page)
		}
		var strict strictPage
		if strictjson.Unmarshal(body, &strict) == nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) && strict.Errcode>>53 == 0 {
			var want []wecom.Message
			for _, m := range strict.List {
				if m.Origin == 3 && m.Channel != "" && m.Customer != "" && max(len(m.Customer), len(m.Channel)) <= wecom.MaxID && m.Time > 0 && m.Time < 1<<33 && strict.Errcode == 0 {
					want = append(want, wecom.Message{Channel: m.Channel, Customer: m.Customer, At: time.Unix(m.Time, 0)})
				}
			}
			if err != nil || page.Errcode != strict.Errcode || !slices.Equal(page.Messages, want) {
				t.Fatalf("%q: %+v, %v; a strict reader reads %+v", body, page, err, want)
			}
		}
		if bytes.IndexByte(body, ']') >= 0 { // it may end the list
			return
		}
		page, err = wecom.ReadPage(strings.NewReader(`{"msg_list":[` + first + "," + string(body) + "," + last + `]}`))
		if !has(page, "wmFirst") || !has(page, "wmLast") && err == nil && len(page.Unreadable) == 0 {
			t.Fatalf("%q among others: %+v, %v", body, page, err)
		}
	})
}

// strictContacts is a page of contacts for a strict decoder.
type strictContacts struct {
	Errcode jsontext.Value `json:"errcode"`
	Errmsg  jsontext.Value `json:"errmsg"`
	List    []struct {
		ID   string `json:"tmp_openid"`
		Flag bool   `json:"is_customer"`
	} `json:"info_list"`
	Next string `json:"next_cursor"`
}

// FuzzReadContactPage compares ReadContactPage with a strict decoder: what it accepts has the same
// persons in the same order, and it accepts every page that is as documented.
func FuzzReadContactPage(f *testing.F) {
	f.Add([]byte(`{"errcode":0,"errmsg":"ok","info_list":[{"is_customer":true,"tmp_openid":"A","external_userid":"wm"},{"tmp_openid":"B"}],"next_cursor":"C"}`))
	f.Add([]byte("{\"errcode\":\"0\",\"info_list\":[{\"tmp_openid\":\"\\u0041\",\"name\":\"\x00\xff\",\"is_customer\":1}]}\n"))
	f.Add([]byte(`{"errcode":0,"next_cursor":""}`))
	f.Add([]byte(`{"errcode":45009,"errmsg":"Warning: wrong json format."}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := wecom.ReadContactPage(bytes.NewReader(body))
		if (err != nil || page.Errcode != 0) && len(page.Rows)+len(page.Next) > 0 {
			t.Fatalf("%q: %+v, %v", body, page, err)
		}
		var ids, want []string
		for _, r := range page.Rows {
			ids = append(ids, r.TmpOpenID)
		}
		plain := func(s string) bool { // 128 printable bytes of ASCII
			return len(s) <= wecom.MaxID && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
		}
		read := func(body []byte, options ...strictjson.Options) (s strictContacts, err error) {
			err = strictjson.Unmarshal(body, &s, options...)
			want = nil
			for _, r := range s.List {
				want = append(want, r.ID)
			}
			return s, err
		}
		if s, wrong := read(body); wrong == nil && string(s.Errcode) == "0" && s.List != nil && plain(s.Next) &&
			!slices.ContainsFunc(want, func(id string) bool { return id == "" || !plain(id) }) && !bytes.Contains(s.Errmsg, []byte("json")) {
			if err != nil || page.Errcode != 0 || page.Next != s.Next || !slices.Equal(ids, want) {
				t.Fatalf("%q: %+v, %v; a strict reader reads %+v", body, page, err, s)
			}
		}
		if err != nil || page.Errcode != 0 || !bytes.HasPrefix(bytes.TrimLeftFunc(body, func(c rune) bool { return c <= ' ' }), []byte("{")) {
			return
		}
		flagless := regexp.MustCompile(`"is_customer"\s*:\s*[01]`).ReplaceAll(tidied(body), []byte(`"is_customer":true`))
		if s, wrong := read(flagless, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)); wrong != nil || page.Next != s.Next || !slices.Equal(ids, want) {
			t.Fatalf("%q: %+v; a lenient reader reads %+v, %v", body, page, s, wrong)
		}
	})
}

// FuzzOpenCallback checks that a message survives Seal and Open, and that no other key opens it.
func FuzzOpenCallback(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Encrypt, []byte(v.Plaintext))
	}
	key := vectors(f)[0].Key
	other := vectors(f)[4].Key
	f.Fuzz(func(t *testing.T, encrypt string, msg []byte) {
		c := crypt(t, "token", key)
		if got, id, err := c.Open(encrypt); err == nil {
			again, twice, err := c.Open(c.Seal(got, id, [16]byte{}))
			if err != nil || !bytes.Equal(again, got) || twice != id {
				t.Fatalf("%q opens as %q for %q, and sealed again as %q for %q, %v", encrypt, got, id, again, twice, err)
			}
		}
		sealed := c.Seal(msg, "ww1", [16]byte{7})
		if got, _, err := crypt(t, "token", other).Open(sealed); err == nil && bytes.Equal(got, msg) {
			t.Fatalf("%q opens with another key", msg)
		}
	})
}

// FuzzReadCallback checks that an accepted envelope has one ciphertext: encoding/xml finds the
// same.
func FuzzReadCallback(f *testing.F) {
	f.Add([]byte(`<xml><ToUserName><![CDATA[ww1]]></ToUserName><AgentID>1</AgentID><Encrypt><![CDATA[abc=]]></Encrypt></xml>`))
	f.Add([]byte(`{"ToUserName":"ww1","Encrypt":"abc=","AgentID":"1"}`))
	f.Add([]byte(`<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>`))
	f.Add([]byte(`<xml><SuiteId>s</SuiteId><AuthCorpId>ww2</AuthCorpId><InfoType>change_external_contact</InfoType><TimeStamp>1</TimeStamp></xml>`))
	f.Add([]byte(`{"msgtype":"event","event":{"eventtype":"enter_chat"}}`))
	for _, c := range cases(f, "wecom/contact_callbacks.tsv", 2) {
		f.Add([]byte(c[0]))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := wecom.ReadCallback(body); err == nil {
			ids := []string{c.Customer, c.Member}
			if c.Group != nil {
				ids = append(ids, append(c.Group.Members, c.Group.ID)...)
			}
			if c.Kind == "" || slices.ContainsFunc(ids, func(id string) bool { return len(id) > wecom.MaxID }) {
				t.Fatalf("%q is read as %+v", body, c)
			}
		}
		encrypt, err := wecom.ReadEnvelope(body)
		if err != nil {
			return
		}
		var lenient struct {
			Encrypt []string `xml:"Encrypt"`
			Lower   []string `xml:"encrypt"`
		}
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) && xml.Unmarshal(body, &lenient) == nil {
			if all := append(lenient.Encrypt, lenient.Lower...); len(all) != 1 || all[0] != encrypt {
				t.Fatalf("%q has %q, read as %q", body, all, encrypt)
			}
		}
	})
}

package wecom

import (
	"bytes"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Grant is an access token that WeCom issued, with the corp that it belongs to.
type Grant struct {
	Corp  string
	Token string
	Life  time.Duration // usually 7,200 s, at most a day
}

// The calls that issue access tokens of corps. Tokens of a suite, a provider or a device belong to
// no corp.
const (
	PathGetToken        = "/cgi-bin/gettoken"                      // DOC 91039: the corp is in the query
	PathCorpToken       = "/cgi-bin/service/get_corp_token"        // DOC 90605: in the body, auth_corpid
	PathPermanentCode   = "/cgi-bin/service/get_permanent_code"    // in the answer, auth_corp_info.corpid
	PathPermanentCodeV2 = "/cgi-bin/service/v2/get_permanent_code" // likewise, with or without a token
	PathRegisterInfo    = "/cgi-bin/service/get_register_info"     // in the answer; the token below contact_sync
	PathDownstreamToken = "/cgi-bin/corpgroup/corp/gettoken"       // in the body, corpid: the downstream corp
)

// Sent is the part of a forwarded call that the meaning of its answer depends on.
type Sent struct {
	Query     []byte
	Body      []byte // nil if it was too long to be kept
	HasBody   bool
	Types     string // all Content-Type lines, joined by commas
	Encodings string // all Content-Encoding lines, joined by commas
}

// ReadGrant returns the token in the answer of one of the paths above. found is false if there is
// none, or if the corp in the call is ambiguous.
func ReadGrant(path string, call Sent, answer []byte) (g Grant, found bool) {
	var a struct {
		granted
		Errcode     jsontext.Value `json:"errcode"`
		CorpID      string         `json:"corpid"`
		ContactSync granted        `json:"contact_sync"`
		AuthCorp    struct {
			CorpID string `json:"corpid"`
		} `json:"auth_corp_info"`
	}
	if ReadAnswer(answer, &a) != nil {
		return Grant{}, false
	}
	if code, err := errcode(a.Errcode); err != nil || code != CodeOK {
		return Grant{}, false
	}
	token := a.granted
	switch path {
	case PathGetToken:
		g.Corp = call.parameter("corpid")
	case PathCorpToken:
		g.Corp = call.member("auth_corpid")
	case PathDownstreamToken:
		g.Corp = call.member("corpid")
	case PathPermanentCode, PathPermanentCodeV2:
		g.Corp = a.AuthCorp.CorpID
	case PathRegisterInfo:
		g.Corp, token = a.CorpID, a.ContactSync
	}
	life, _ := integer(token.ExpiresIn)
	g.Token, g.Life = token.AccessToken, time.Duration(min(max(life, 0), 86400))*time.Second
	return g, isCorpID(g.Corp) && g.Token != "" && g.Life > 0
}

// parameter returns a query parameter of a call without a body, "" if it is ambiguous.
func (s *Sent) parameter(name string) string {
	value, _, err := singleParam(s.Query, name)
	if err != nil || s.HasBody || bytes.IndexByte(s.Query, '#') >= 0 {
		return ""
	}
	return value
}

// member returns a string member of the body of a call, "" if it is ambiguous or also in the query.
func (s *Sent) member(name string) string {
	if _, inQuery, err := singleParam(s.Query, name); inQuery || err != nil {
		return ""
	}
	values, ok := s.members(name)
	if !ok {
		return ""
	}
	return plainText(values[name])
}

// members returns the values of the body of a call under names. ok is false if some server could
// read other values.
func (s *Sent) members(names ...string) (values map[string]jsontext.Value, ok bool) {
	types := strings.ToLower(s.Types)
	if s.Encodings != "" || strings.Contains(types, "multipart") || declaresForm(types) && formHolds(s.Body, names) {
		return nil, false
	}
	return plainMembers(s.Body, names)
}

// formHolds reports whether a body, parsed as a form, has a field with one of the names.
func formHolds(body []byte, names []string) bool {
	for pair := range bytes.FieldsFuncSeq(body, func(r rune) bool { return r == '&' || r == ';' }) {
		key, _, _ := bytes.Cut(pair, []byte{'='})
		for _, name := range names {
			if sameName(key, name) {
				return true
			}
		}
	}
	return false
}

// plainMembers returns the values that a JSON object holds under names, as they are in body. ok is
// false if the body is not valid JSON with unique names, nests deeper than depthLimit, or holds a
// name that some reader could take for one of names: by letter case, escapes, blanks or a NUL.
func plainMembers(body []byte, names []string) (values map[string]jsontext.Value, ok bool) {
	if !jsontext.Value(body).IsValid() {
		return nil, false
	}
	values = map[string]jsontext.Value{}
	s := scanner{text: body}
	err := s.members(func(inner, value []byte) bool {
		name, ambiguous := plainName(inner, names)
		if ambiguous {
			values = nil
			return false
		}
		if name != "" {
			values[name] = value
		}
		return true
	})
	return values, err == nil && values != nil
}

// plainName returns the one of names that inner, the text between the quotes of a JSON string, is,
// and "" if it is none of them. ambiguous reports whether some reader could take it for one.
func plainName(inner []byte, names []string) (name string, ambiguous bool) {
	for _, name := range names {
		if string(inner) == name {
			return name, false
		}
		if strings.EqualFold(lenientName(inner), name) {
			return "", true
		}
	}
	return "", false
}

// plainText returns the text of a string value of printable ASCII without blanks and escapes, ""
// for any other value.
func plainText(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	inner := v[1 : len(v)-1]
	for _, c := range inner {
		if c <= ' ' || c > '~' || c == '\\' {
			return ""
		}
	}
	return string(inner)
}

// granted is a token in an answer.
type granted struct {
	AccessToken string         `json:"access_token"`
	ExpiresIn   jsontext.Value `json:"expires_in"`
}

package wecom

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Grant is an access token that WeCom handed out, with the corp that it acts for.
type Grant struct {
	Corp  string
	Token string
	Life  time.Duration // 7,200 s as a rule
}

// The calls that hand out access tokens of corps. Those of a suite, a provider or a device have no corp.
const (
	PathGetToken        = "/cgi-bin/gettoken"                      // DOC 91039: the corp stands in the query
	PathCorpToken       = "/cgi-bin/service/get_corp_token"        // DOC 90605: in the body, auth_corpid
	PathPermanentCode   = "/cgi-bin/service/get_permanent_code"    // in the answer, auth_corp_info.corpid
	PathPermanentCodeV2 = "/cgi-bin/service/v2/get_permanent_code" // likewise, with or without a token
	PathRegisterInfo    = "/cgi-bin/service/get_register_info"     // in the answer; the token below contact_sync
	PathDownstreamToken = "/cgi-bin/corpgroup/corp/gettoken"       // in the body, corpid: the downstream corp
)

// ReadGrant returns the token in the answer of one of the paths above. found is false if WeCom gave none,
// or if the call can be read as being of more than one corp.
func ReadGrant(path string, query, request, answer []byte) (g Grant, found bool) {
	var a struct {
		granted
		Errcode     int     `json:"errcode"`
		CorpID      string  `json:"corpid"`
		ContactSync granted `json:"contact_sync"`
		AuthCorp    struct {
			CorpID string `json:"corpid"`
		} `json:"auth_corp_info"`
	}
	if json.Unmarshal(answer, &a, lenient) != nil || a.Errcode != CodeOK {
		return Grant{}, false
	}
	token := a.granted
	switch path {
	case PathGetToken:
		g.Corp, _, _ = one(query, "corpid")
	case PathCorpToken:
		g.Corp = memberOf(request, "auth_corpid")
	case PathDownstreamToken:
		g.Corp = memberOf(request, "corpid")
	case PathPermanentCode, PathPermanentCodeV2:
		g.Corp = a.AuthCorp.CorpID
	case PathRegisterInfo:
		g.Corp, token = a.CorpID, a.ContactSync
	}
	g.Token, g.Life = token.AccessToken, time.Duration(min(max(token.ExpiresIn, 0), 86400))*time.Second
	return g, g.Corp != "" && len(g.Corp) <= MaxID && g.Token != "" && g.Life > 0
}

// granted is a token as answers hold it.
type granted struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

// memberOf returns the string that a request holds under a name, "" if it can be read in more than one
// way.
func memberOf(request []byte, name string) string {
	var members map[string]jsontext.Value
	if tooDeep(request) || json.Unmarshal(request, &members) != nil {
		return ""
	}
	for other := range members {
		if other != name && strings.EqualFold(other, name) {
			return ""
		}
	}
	return text(members[name])
}

// CodeKind is what gave a one-time code out.
type CodeKind string

// The kinds of one-time codes.
const (
	EnterSession  CodeKind = "enter_session"  // the customer opened the chat
	SessionTaken  CodeKind = "session_taken"  // a servicer took the customer from the queue
	SessionEnded  CodeKind = "session_ended"  // the session ended
	ToQueue       CodeKind = "to_queue"       // the bot put the customer into the queue
	ToServicer    CodeKind = "to_servicer"    // the bot gave the customer to a servicer
	ToEnd         CodeKind = "to_end"         // the bot ended the session
	CustomerAdded CodeKind = "customer_added" // a member and the customer became contacts
)

// Life is how long WeCom takes a code of the kind (DOC 95122, 92137).
func (k CodeKind) Life() time.Duration {
	switch k {
	case SessionTaken, ToQueue, ToServicer:
		return 48 * time.Hour
	}
	return 20 * time.Second
}

// Code is a one-time code with whom it stands for.
type Code struct {
	Text     string
	Kind     CodeKind
	Channel  string // open_kfid, "" for a member's contact
	Customer string
	At       time.Time // when it was given out
}

// MaxCode bounds the length of a one-time code; those in WeCom's samples have at most 64 bytes.
const MaxCode = 512

func (c Code) good() bool {
	return c.Text != "" && len(c.Text) <= MaxCode && c.Customer != "" && len(c.Customer) <= MaxID && len(c.Channel) <= MaxID
}

// transitions are the states of kf/service_state/trans that give a code out (DOC 94669).
var transitions = map[string]CodeKind{"2": ToQueue, "3": ToServicer, "4": ToEnd}

// ReadTransition returns the code in the answer of kf/service_state/trans.
func ReadTransition(request, answer []byte, at time.Time) (c Code, found bool) {
	var a struct {
		Errcode int    `json:"errcode"`
		Code    string `json:"msg_code"`
	}
	var in struct {
		Channel  string         `json:"open_kfid"`
		Customer string         `json:"external_userid"`
		State    jsontext.Value `json:"service_state"`
	}
	if json.Unmarshal(answer, &a, lenient) != nil || a.Errcode != CodeOK || tooDeep(request) || json.Unmarshal(request, &in) != nil {
		return Code{}, false
	}
	c = Code{Text: a.Code, Kind: transitions[string(in.State)], Channel: in.Channel, Customer: in.Customer, At: at}
	return c, c.Kind != "" && c.good()
}

// ReadChannel returns the open_kfid of a kf/sync_msg call, "" if it names none plainly.
func ReadChannel(request []byte) string {
	if channel := memberOf(request, "open_kfid"); len(channel) <= MaxID {
		return channel
	}
	return ""
}

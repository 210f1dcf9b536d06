package wecom

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// CodeKind is the origin of a one-time code.
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

// Life returns how long WeCom accepts a code of the kind (DOC 95122, 92137).
func (k CodeKind) Life() time.Duration {
	switch k {
	case SessionTaken, ToQueue, ToServicer:
		return 48 * time.Hour
	}
	return 20 * time.Second
}

// Code is a one-time code that WeCom issued, with the customer whom it allows to be messaged.
type Code struct {
	Text     string
	Kind     CodeKind
	Channel  string // open_kfid, "" for a member's contact
	Customer string
	At       time.Time // when it was issued
}

// MaxCode is the maximum length in bytes of a one-time code. Those in WeCom's samples have at most
// 64.
const MaxCode = 512

func (c Code) valid() bool {
	return c.Text != "" && len(c.Text) <= MaxCode && c.Customer != "" && len(c.Customer) <= MaxID && len(c.Channel) <= MaxID
}

// transitions maps the service_state values of kf/service_state/trans whose answer has a code
// (DOC 94669).
var transitions = map[string]CodeKind{"2": ToQueue, "3": ToServicer, "4": ToEnd}

// ReadTransition returns the code in the answer of kf/service_state/trans. lost reports that the
// answer has or may have a code whose customer is unknown, for example because the call is
// ambiguous.
func ReadTransition(call Sent, answer []byte, at time.Time) (c Code, found, lost bool) {
	var a struct {
		Errcode jsontext.Value `json:"errcode"`
		Code    jsontext.Value `json:"msg_code"`
	}
	if ReadAnswer(answer, &a) != nil {
		return Code{}, false, true
	}
	code := readOneTime(a.Code)
	if n, err := errcode(a.Errcode); err == nil && n != CodeOK || !code.present {
		return Code{}, false, false
	}
	in, ok := call.members("open_kfid", "external_userid", "service_state")
	if !ok {
		return Code{}, false, true
	}
	c = Code{
		Text: code.text, Kind: transitions[string(in["service_state"])],
		Channel: plainText(in["open_kfid"]), Customer: plainText(in["external_userid"]), At: at,
	}
	if found = c.Kind != "" && c.valid(); !found {
		return Code{}, false, true
	}
	return c, true, false
}

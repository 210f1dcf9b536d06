package wecom

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Callback is what one callback of WeCom says, decrypted.
type Callback struct {
	Kind        string // as in callbacks.tsv: message.text, enter_agent, customer_acquisition.customer_start_chat
	Corp        string // ToUserName of an own app, AuthCorpId of a third party's; "" where there is none
	Customer    string // ExternalUserID
	Channel     string // OpenKfId: of a kf account
	WelcomeCode string
	At          time.Time // by the platform's clock; zero if it says none
	ThirdParty  bool      // it came to a provider: "success" is the answer that it must have (DOC 90597)
}

// Signed is what the query of a callback says.
type Signed struct {
	Signature string // msg_signature
	Timestamp string // unix seconds
	Nonce     string
	Echo      string // echostr: of the GET that verifies a callback URL
}

// ReadSigned reads the query of a callback. A parameter that can be read in two ways is
// ErrCallback.
func ReadSigned(query []byte) (s Signed, err error) {
	for name, into := range map[string]*string{
		"msg_signature": &s.Signature, "timestamp": &s.Timestamp, "nonce": &s.Nonce, "echostr": &s.Echo,
	} {
		if *into, _, err = singleParam(query, name); err != nil {
			return Signed{}, ErrCallback
		}
	}
	s.Echo = strings.ReplaceAll(s.Echo, " ", "+") // base64 that was not escaped
	return s, nil
}

// ErrCallback says that a callback is not what the platform documents.
var ErrCallback = errors.New("the callback is not readable")

// Says is what a callback tells of a customer.
type Says string

// What callbacks tell. Most tell nothing that the gateway keeps.
const (
	SaysMessage Says = "message" // the customer wrote
	SaysAdded   Says = "added"   // a customer and a member became contacts
	SaysDeleted Says = "deleted" // they no longer are
)

//go:embed callbacks.tsv
var callbacksTSV string

var callbackKinds = func() map[string]Says {
	m := map[string]Says{}
	for _, row := range rows(callbacksTSV, 3) {
		m[row[0]] = Says(strings.TrimPrefix(row[1], "-"))
	}
	return m
}()

// KfMessage is the kind of a customer's message that an answer of kf/sync_msg holds. It is no
// callback.
const KfMessage = "kf_message"

// MessageKinds names the kinds that tell of a customer's own message, kf_message among them.
func MessageKinds() []string {
	kinds := []string{KfMessage}
	for kind, says := range callbackKinds {
		if says == SaysMessage {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// Known tells whether callbacks.tsv lists the kind.
func (c Callback) Known() bool {
	_, known := callbackKinds[c.Kind]
	return known
}

// Says returns what the callback tells of a customer, "" for most.
func (c Callback) Says() Says { return callbackKinds[c.Kind] }

// ReadEnvelope returns the cipher text that the body of a callback carries: of XML the one element
// Encrypt below the root, of JSON the one member encrypt in either case of its first letter.
// Anything else is ErrCallback.
func ReadEnvelope(body []byte) (encrypt string, err error) {
	fields, err := readCallbackFields(body)
	if err != nil {
		return "", err
	}
	encrypt, lower := fields["Encrypt"], fields["encrypt"]
	if (encrypt == "") == (lower == "") {
		return "", ErrCallback
	}
	return encrypt + lower, nil
}

// ReadCallback reads a decrypted callback: the XML of own apps (DOC 90238, 92130) and of third
// parties (DOC 92277), or JSON, which robots always use (DOC 100719).
func ReadCallback(plain []byte) (Callback, error) {
	f, err := readCallbackFields(plain)
	if err != nil {
		return Callback{}, err
	}
	c := Callback{
		Kind: f.kind(), Corp: f["ToUserName"], Customer: f["ExternalUserID"], Channel: f["OpenKfId"],
		WelcomeCode: f["WelcomeCode"], ThirdParty: f["InfoType"] != "",
	}
	if f["AuthCorpId"] != "" {
		c.Corp = f["AuthCorpId"]
	}
	at := f["CreateTime"] + f["TimeStamp"] + f["create_time"]
	if seconds, err := strconv.ParseInt(at, 10, 64); err == nil && seconds > 0 && seconds < 1<<33 {
		c.At = time.Unix(seconds, 0)
	}
	if c.Kind == "" || max(len(c.Corp), len(c.Customer), len(c.Channel)) > MaxID || len(c.WelcomeCode) > MaxCode {
		return Callback{}, ErrCallback
	}
	return c, nil
}

// callbackFields are the texts right below the root of a callback, of the names that matter.
type callbackFields map[string]string

// callbackNames are those names; another one may stand there as often as it likes.
var callbackNames = map[string]bool{
	"Encrypt": true, "encrypt": true, "ToUserName": true, "AuthCorpId": true, "MsgType": true, "Event": true,
	"InfoType": true, "ChangeType": true, "ExternalUserID": true, "WelcomeCode": true, "OpenKfId": true,
	"CreateTime": true, "TimeStamp": true, "msgtype": true, "create_time": true,
}

// robotEvent is the name under which the type of a robot's event is filed.
const robotEvent = "event.eventtype"

// kind joins what the fields say of the kind.
func (f callbackFields) kind() string {
	change := ""
	if f["ChangeType"] != "" {
		change = "." + f["ChangeType"]
	}
	switch {
	case f["InfoType"] != "":
		return f["InfoType"] + change
	case f["MsgType"] == "event" && f["Event"] != "":
		return f["Event"] + change
	case f["MsgType"] != "" && f["MsgType"] != "event":
		return "message." + f["MsgType"]
	case f["msgtype"] == "event" && f[robotEvent] != "":
		return "robot.event." + f[robotEvent]
	case f["msgtype"] != "" && f["msgtype"] != "event":
		return "robot." + f["msgtype"]
	}
	return ""
}

func (f callbackFields) put(name, value string) error {
	if _, twice := f[name]; twice {
		return ErrCallback
	}
	f[name] = value
	return nil
}

func readCallbackFields(data []byte) (callbackFields, error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) > 0 && data[0] == '<':
		return readXMLFields(data)
	case len(data) > 0 && data[0] == '{':
		return readJSONFields(data)
	}
	return nil, ErrCallback
}

// maxXMLDepth bounds the nesting of a callback; MemChangeList/Item is the platform's deepest.
const maxXMLDepth = 16

// readXMLFields reads one XML document without entities of its own, without a document type, and
// with each name that matters at most once.
func readXMLFields(data []byte) (callbackFields, error) {
	f, dec := callbackFields{}, xml.NewDecoder(bytes.NewReader(data))
	var open []string
	var text strings.Builder
	for ended := false; ; {
		token, err := dec.RawToken()
		if err == io.EOF && ended {
			return f, nil
		}
		if err != nil {
			return nil, ErrCallback
		}
		switch t := token.(type) {
		case xml.StartElement:
			if ended || len(open) >= maxXMLDepth || t.Name.Space != "" {
				return nil, ErrCallback
			}
			open = append(open, t.Name.Local)
			text.Reset()
		case xml.CharData:
			if len(open) == 2 {
				text.Write(t)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != t.Name.Local || t.Name.Space != "" {
				return nil, ErrCallback
			}
			if len(open) == 2 && callbackNames[t.Name.Local] {
				if err := f.put(t.Name.Local, text.String()); err != nil {
					return nil, err
				}
			}
			open = open[:len(open)-1]
			ended = len(open) == 0
		case xml.Directive:
			return nil, ErrCallback
		}
	}
}

// readJSONFields reads one JSON object, of a robot also the type of its event.
func readJSONFields(data []byte) (callbackFields, error) {
	var members map[string]jsontext.Value
	if tooDeep(data) || json.Unmarshal(data, &members) != nil { // names that stand twice are an error
		return nil, ErrCallback
	}
	f := callbackFields{}
	for name, value := range members {
		switch {
		case !callbackNames[name]:
		case value.Kind() == '"':
			f[name] = text(value)
		case value.Kind() == '0':
			f[name] = string(value)
		}
	}
	var event struct {
		Type string `json:"eventtype"`
	}
	if v := members["event"]; v.Kind() == '{' && json.Unmarshal(v, &event) == nil && event.Type != "" {
		f[robotEvent] = event.Type
	}
	return f, nil
}

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

// Callback is one decrypted callback of WeCom.
type Callback struct {
	Kind        string // as in callbacks.tsv: message.text, enter_agent, customer_acquisition.customer_start_chat
	Corp        string // ToUserName, or AuthCorpId for a third party; "" if absent
	Customer    string // ExternalUserID
	Channel     string // OpenKfId of a kf account
	Member      string // UserID: of change_external_contact the member whose contact changed
	Source      string // DeletedByTransfer, or ""
	WelcomeCode string
	Group       *GroupChange // of change_external_chat, else nil
	At          time.Time    // by the platform's clock; zero if absent
	ThirdParty  bool         // sent to a provider, which must answer "success" (DOC 90597)
}

// DeletedByTransfer is the Source of del_external_contact if a member's contact was handed over to
// another member (DOC 92130).
const DeletedByTransfer = "DELETE_BY_TRANSFER"

// GroupChange is the change of a customer group that change_external_chat reports (DOC 92130,
// 96361).
type GroupChange struct {
	ID      string   // ChatId
	Detail  string   // UpdateDetail, such as add_member and del_member; "" unless it is an update
	Members []string // MemChangeList: ids of members and customers, perhaps fewer than joined or left
}

// maxMemChange bounds GroupChange.Members. A customer group has at most 500 members.
const maxMemChange = 2000

// Signed is the query of a callback.
type Signed struct {
	Signature string // msg_signature
	Timestamp string // unix seconds
	Nonce     string
	Echo      string // echostr, only in the GET that verifies a callback URL
}

// ReadSigned parses the query of a callback. An ambiguous parameter is ErrCallback.
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

// ErrCallback reports a callback in another format than the platform documents.
var ErrCallback = errors.New("the callback is not readable")

// Says is the effect of a callback on the record of a customer.
type Says string

// The effects of callbacks. Most have none.
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

// KfMessage is the kind of customers' messages in answers of kf/sync_msg, which are no callbacks.
const KfMessage = "kf_message"

// MessageKinds returns the sorted kinds of customers' messages, with KfMessage.
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

// Known reports whether callbacks.tsv lists the kind.
func (c Callback) Known() bool {
	_, known := callbackKinds[c.Kind]
	return known
}

// Says returns the effect of the callback on the record of its customer, "" for none.
func (c Callback) Says() Says { return callbackKinds[c.Kind] }

// ReadEnvelope returns the ciphertext in the body of a callback: the only element Encrypt below the
// root of XML, or the only member Encrypt or encrypt of a JSON object. Any other body is
// ErrCallback.
func ReadEnvelope(body []byte) (encrypt string, err error) {
	fields, err := readCallbackFields(body)
	if err != nil {
		return "", err
	}
	encrypt, lower := fields.text["Encrypt"], fields.text["encrypt"]
	if (encrypt == "") == (lower == "") {
		return "", ErrCallback
	}
	return encrypt + lower, nil
}

// ReadCallback parses a decrypted callback: the XML of internal apps (DOC 90238, 92130) and of
// third parties (DOC 92277), or JSON, which robots always use (DOC 100719). A callback without a
// kind, or with an id longer than MaxID, is ErrCallback.
func ReadCallback(plain []byte) (Callback, error) {
	fields, err := readCallbackFields(plain)
	if err != nil {
		return Callback{}, err
	}
	f := fields.text
	c := Callback{
		Kind: fields.kind(), Corp: f["ToUserName"], Customer: f["ExternalUserID"], Channel: f["OpenKfId"], Member: f["UserID"],
		Source: f["Source"], WelcomeCode: f["WelcomeCode"], Group: fields.group(), ThirdParty: f["InfoType"] != "",
	}
	if f["AuthCorpId"] != "" {
		c.Corp = f["AuthCorpId"]
	}
	at := f["CreateTime"] + f["TimeStamp"] + f["create_time"]
	if seconds, err := strconv.ParseInt(at, 10, 64); err == nil && seconds > 0 && seconds < 1<<33 {
		c.At = time.Unix(seconds, 0)
	}
	if c.Kind == "" || max(len(c.Corp), len(c.Customer), len(c.Channel), len(c.Member), len(c.Source)) > MaxID || len(c.WelcomeCode) > MaxCode || !c.Group.valid() {
		return Callback{}, ErrCallback
	}
	return c, nil
}

// group returns the change of a customer group, nil for other callbacks.
func (f *callbackFields) group() *GroupChange {
	if !strings.HasPrefix(f.kind(), "change_external_chat.") {
		return nil
	}
	return &GroupChange{ID: f.text["ChatId"], Detail: f.text["UpdateDetail"], Members: f.members}
}

// valid reports whether no text is longer than an id.
func (g *GroupChange) valid() bool {
	if g == nil {
		return true
	}
	tooLong := func(s string) bool { return len(s) > MaxID }
	return !tooLong(g.ID) && !tooLong(g.Detail) && !slices.ContainsFunc(g.Members, tooLong)
}

// callbackFields is what is read of a callback.
type callbackFields struct {
	text    map[string]string // the callbackNames directly below the root
	members []string          // the items of MemChangeList
}

// callbackNames are the names that are read. Each may occur once; other names may repeat.
var callbackNames = map[string]bool{
	"Encrypt": true, "encrypt": true, "ToUserName": true, "AuthCorpId": true, "MsgType": true, "Event": true,
	"InfoType": true, "ChangeType": true, "ExternalUserID": true, "WelcomeCode": true, "OpenKfId": true,
	"CreateTime": true, "TimeStamp": true, "msgtype": true, "create_time": true, "UserID": true, "Source": true,
	"ChatId": true, "UpdateDetail": true, memChangeList: true,
}

// memChangeList has the ids of those who joined or left a group, each in an Item.
const memChangeList = "MemChangeList"

// robotEvent is the key in callbackFields for the type of a robot's event.
const robotEvent = "event.eventtype"

// kind returns the kind of a callback in the notation of callbacks.tsv, "" if there is none.
func (fields *callbackFields) kind() string {
	f := fields.text
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

func (f *callbackFields) put(name, value string) error {
	if _, twice := f.text[name]; twice {
		return ErrCallback
	}
	f.text[name] = value
	return nil
}

func (f *callbackFields) addMember(id string) error {
	if len(f.members) >= maxMemChange {
		return ErrCallback
	}
	f.members = append(f.members, id)
	return nil
}

func readCallbackFields(data []byte) (*callbackFields, error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) > 0 && data[0] == '<':
		return readXMLFields(data)
	case len(data) > 0 && data[0] == '{':
		return readJSONFields(data)
	}
	return nil, ErrCallback
}

// maxXMLDepth is the maximum nesting of a callback. The platform's deepest is MemChangeList/Item.
const maxXMLDepth = 16

// readXMLFields parses one XML document. A document type, and so a custom entity, is an error, and
// so is a name of callbackNames that occurs twice.
func readXMLFields(data []byte) (*callbackFields, error) {
	f, dec := &callbackFields{text: map[string]string{}}, xml.NewDecoder(bytes.NewReader(data))
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
			if len(open) == 2 || inMemChange(open) {
				text.Write(t)
			}
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != t.Name.Local || t.Name.Space != "" {
				return nil, ErrCallback
			}
			if len(open) == 2 && callbackNames[t.Name.Local] {
				err = f.put(t.Name.Local, text.String())
			} else if inMemChange(open) {
				err = f.addMember(text.String())
			}
			if err != nil {
				return nil, err
			}
			open = open[:len(open)-1]
			ended = len(open) == 0
		case xml.Directive:
			return nil, ErrCallback
		}
	}
}

// inMemChange reports whether the open elements end with an item of MemChangeList.
func inMemChange(open []string) bool {
	return len(open) == 3 && open[1] == memChangeList && open[2] == "Item"
}

// readJSONFields parses one JSON object, and in it the type of a robot's event.
func readJSONFields(data []byte) (*callbackFields, error) {
	var members map[string]jsontext.Value
	if tooDeep(data) || json.Unmarshal(data, &members) != nil { // Unmarshal rejects duplicate names
		return nil, ErrCallback
	}
	f := &callbackFields{text: map[string]string{}}
	for name, value := range members {
		switch {
		case !callbackNames[name]:
		case value.Kind() == '"':
			f.text[name] = text(value)
		case value.Kind() == '0':
			f.text[name] = string(value)
		}
	}
	var event struct {
		Type string `json:"eventtype"`
	}
	if v := members["event"]; v.Kind() == '{' && json.Unmarshal(v, &event) == nil && event.Type != "" {
		f.text[robotEvent] = event.Type
	}
	var list struct {
		Items []string `json:"Item"`
	}
	if v := members[memChangeList]; v.Kind() == '{' && json.Unmarshal(v, &list) == nil {
		if len(list.Items) > maxMemChange {
			return nil, ErrCallback
		}
		f.members = list.Items
	}
	return f, nil
}

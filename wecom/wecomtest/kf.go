package wecomtest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ok returns a success with more members.
func ok(more map[string]any) map[string]any {
	out := map[string]any{"errcode": 0, "errmsg": "ok"}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// decode parses a JSON body of any Content-Type in order. WeCom stops at the first member that it
// cannot parse, acts on the members before it, and adds a warning to errmsg. If it can parse none,
// decode returns WeCom's error as the answer, and false.
func (p *Platform) decode(call *Call, body []byte, into any) (any, bool) {
	if len(body) == 0 {
		return p.fail(call, 44002), false
	}
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return p.fail(call, 47001), false
	}
	read := 0
	for dec.More() {
		if !member(dec, into) {
			call.Warned = true
			break
		}
		read++
	}
	if _, err := dec.Token(); err != nil && !call.Warned {
		call.Warned = true // the end is missing
	}
	if read == 0 && call.Warned {
		return p.fail(call, 47001), false
	}
	return nil, true
}

// member decodes the next member of an object into the field of exactly its name, if there is one.
func member(dec *json.Decoder, into any) bool {
	var value json.RawMessage
	name, err := dec.Token()
	if err != nil || dec.Decode(&value) != nil {
		return false
	}
	one, err := json.Marshal(map[string]json.RawMessage{name.(string): value})
	return err == nil && jsonv2.Unmarshal(one, into, jsontext.AllowInvalidUTF8(true)) == nil
}

func (p *Platform) accountList(_ *Call, c *corp, r *http.Request, _ []byte) any {
	list := []map[string]any{}
	for _, id := range p.visible(c, r) {
		list = append(list, map[string]any{"open_kfid": id, "name": "service " + id, "avatar": "https://example.com/a.png"})
	}
	return ok(map[string]any{"account_list": list})
}

// syncMsg answers kf/sync_msg: a page of a corp's messages and events of the last three days. A
// call without a cursor starts at the oldest (DOC 94670).
func (p *Platform) syncMsg(call *Call, c *corp, r *http.Request, body []byte) any {
	var in struct {
		Cursor  string `json:"cursor"`
		Limit   int    `json:"limit"`
		Channel string `json:"open_kfid"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	if in.Channel != "" && !slices.Contains(c.accounts, in.Channel) {
		return p.fail(call, 95000)
	}
	visible := p.visible(c, r)
	if in.Channel != "" && !slices.Contains(visible, in.Channel) {
		return p.fail(call, 48007)
	}
	from, _ := strconv.Atoi(in.Cursor)
	limit := in.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	page, next := []item{}, from
	oldest := p.now().Add(-history).Unix()
	for ; next < len(c.log) && len(page) < limit; next++ {
		it := c.log[next]
		channel, _ := it["open_kfid"].(string)
		if event, isEvent := it["event"].(map[string]any); isEvent {
			channel, _ = event["open_kfid"].(string)
		}
		if it["send_time"].(int64) >= oldest && (channel == in.Channel || in.Channel == "" && slices.Contains(visible, channel)) {
			page = append(page, it)
		}
	}
	more := 0
	if next < len(c.log) {
		more = 1
	}
	return ok(map[string]any{"next_cursor": strconv.Itoa(next), "has_more": more, "msg_list": page})
}

// sendMsg accepts a reply under the platform's rule: within 48 hours of the customer's last
// message, at most five replies since, session state 0 or 1 (DOC 94677).
func (p *Platform) sendMsg(call *Call, c *corp, _ *http.Request, body []byte) any {
	var in struct {
		ToUser  string `json:"touser"`
		Channel string `json:"open_kfid"`
		MsgID   string `json:"msgid"`
		MsgType string `json:"msgtype"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	switch {
	case !slices.Contains(c.accounts, in.Channel):
		return p.fail(call, 95000)
	case in.ToUser == "":
		return p.fail(call, 40096)
	case in.MsgType == "":
		return p.fail(call, 40058)
	}
	ch := c.chat(in.Channel, in.ToUser)
	switch {
	case ch.wrote.IsZero() || p.now().Sub(ch.wrote) >= replyWindow:
		return p.fail(call, 95002)
	case ch.state > 1:
		return p.fail(call, 95018)
	case ch.sent >= replyLimit:
		return p.fail(call, 95001)
	}
	ch.sent++
	id := in.MsgID
	if id == "" {
		id = p.newID("out")
	}
	return ok(map[string]any{"msgid": id})
}

// session is the body of the kf/service_state calls.
type session struct {
	Channel  string `json:"open_kfid"`
	Customer string `json:"external_userid"`
	State    int    `json:"service_state"`
}

func (p *Platform) stateGet(call *Call, c *corp, _ *http.Request, body []byte) any {
	var in session
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	return ok(map[string]any{"service_state": c.chat(in.Channel, in.Customer).state, "servicer_userid": ""})
}

func (p *Platform) stateTrans(call *Call, c *corp, _ *http.Request, body []byte) any {
	var in session
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	c.chat(in.Channel, in.Customer).state = in.State
	switch in.State {
	case 2, 3:
		return ok(map[string]any{"msg_code": p.giveCode(c, longCode)})
	case 4:
		return ok(map[string]any{"msg_code": p.giveCode(c, shortCode)})
	}
	return ok(nil)
}

// sendOnEvent accepts one message for each one-time code before it expires (DOC 95122).
func (p *Platform) sendOnEvent(call *Call, c *corp, _ *http.Request, body []byte) any {
	var in struct {
		Code string `json:"code"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	known := p.codes[in.Code]
	if known == nil || known.corp != c || known.used || !p.now().Before(known.deadline) {
		return p.fail(call, 40058)
	}
	known.used = true
	return ok(map[string]any{"msgid": p.newID("out")})
}

// corpToken issues to a provider a token of a company that installed its suite. The permanent code
// is the company's secret.
func (p *Platform) corpToken(call *Call, _ *corp, _ *http.Request, body []byte) any {
	var in struct {
		Corp string `json:"auth_corpid"`
		Code string `json:"permanent_code"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	c := p.corps[in.Corp]
	if c == nil || c.secret != in.Code {
		return p.fail(call, 40084)
	}
	return p.handOut(call, c)
}

// downstreamToken issues to an upstream company a token of one of its downstream companies.
func (p *Platform) downstreamToken(call *Call, _ *corp, _ *http.Request, body []byte) any {
	var in struct {
		Corp string `json:"corpid"`
	}
	if failed, ok := p.decode(call, body, &in); !ok {
		return failed
	}
	c := p.corps[in.Corp]
	if c == nil {
		return p.fail(call, 40013)
	}
	return p.handOut(call, c)
}

// mediaUpload stores the first file of a multipart form, up to one megabyte.
func (p *Platform) mediaUpload(call *Call, _ *corp, r *http.Request, body []byte) any {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return p.fail(call, 40058)
	}
	part, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart()
	if err != nil {
		return p.fail(call, 40058)
	}
	data, _ := io.ReadAll(part)
	id := p.newID("MEDIA")
	p.media[id] = data
	return ok(map[string]any{"type": r.URL.Query().Get("type"), "media_id": id, "created_at": strconv.FormatInt(p.now().Unix(), 10)})
}

func (p *Platform) mediaGet(call *Call, _ *corp, r *http.Request, _ []byte) any {
	data, found := p.media[r.URL.Query().Get("media_id")]
	if !found {
		return p.fail(call, 40058)
	}
	return file(data)
}

// AddMedia stores a file for media/get.
func (p *Platform) AddMedia(id string, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.media[id] = data
}

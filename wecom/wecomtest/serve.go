package wecomtest

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"replygate/wecom"
)

// item is one entry of msg_list.
type item map[string]any

// samples are answers from the documentation and from fixtures of SDKs, one file for each path.
// samples/SOURCES.md lists their sources.
//
//go:embed samples
var samples embed.FS

// errmsgs are the first parts of WeCom's error messages (DOC 90313).
var errmsgs = map[int]string{
	-1: "system busy", 40001: "invalid credential", 40013: "invalid corpid", 40014: "invalid access_token",
	40058: "invalid request parameter", 40084: "invalid permanent_code", 40096: "invalid external userid", 41001: "access_token missing",
	41035: "external userid missing",
	42001: "access_token expired", 44002: "empty post data", 45009: "api freq out of limit", 45033: "api concurrent out of limit", 47001: "data format error", 48002: "api forbidden",
	84061: "not external contact", 95000: "invalid open_kfid", 95001: "send msg count limit", 95002: "send msg time limit",
	95018: "send msg session status invalid",
}

// maxBody is how much of a body is kept.
const maxBody = 1 << 20

// ServeHTTP answers one call like WeCom: always HTTP 200, with the errcode in the body and in the
// header Error-Code. A call whose body breaks off is not recorded and gets no answer.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	var size int64
	if err == nil && len(head) == maxBody {
		size, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		return
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	p.mu.Lock()
	call := Call{Method: r.Method, Path: path, Query: query, Header: r.Header.Clone(), Body: head, Size: int64(len(head)) + size}
	custom, held := p.answer[path], p.held[path]
	var out any
	var caller *corp
	if custom == nil {
		out, caller = p.route(&call, r, path, head)
		if m, isObject := out.(map[string]any); isObject && call.Warned {
			m["errmsg"] = "Warning: wrong json format. " + m["errmsg"].(string)
		}
	}
	p.calls = append(p.calls, call)
	p.mu.Unlock()
	if caller != nil {
		wait(r, held)
		p.leave(caller.id, path)
	}
	w.Header().Set("Date", p.now().UTC().Format(http.TimeFormat))
	if custom != nil {
		r.Body = io.NopCloser(bytes.NewReader(head))
		custom(w, r)
		return
	}
	write(w, r, out, call.Code)
}

// wait waits until held is closed, if it is not nil, or the client is gone.
func wait(r *http.Request, held <-chan struct{}) {
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
}

// route returns the answer to a call: a JSON value or a file. The call of an admitted caller counts
// as running until it is answered; caller is nil if there is none.
func (p *Platform) route(call *Call, r *http.Request, path string, body []byte) (out any, caller *corp) {
	if codes := p.faults[path]; len(codes) > 0 {
		p.faults[path] = codes[1:]
		if codes[0] != 0 {
			return p.fail(call, codes[0]), nil
		}
	}
	if path == "/cgi-bin/gettoken" {
		return p.getToken(call, r), nil
	}
	c, code := p.authorise(r, path)
	if code == 0 && c != nil {
		call.Corp = c.id
		code = p.admit(c.id, path)
	}
	if code != 0 {
		return p.fail(call, code), nil
	}
	if h, ok := handlers[path]; ok {
		return h(p, call, c, r, body), c
	}
	return sample(path), c
}

var handlers = map[string]func(*Platform, *Call, *corp, *http.Request, []byte) any{
	"/cgi-bin/kf/account/list":         (*Platform).accountList,
	"/cgi-bin/kf/sync_msg":             (*Platform).syncMsg,
	"/cgi-bin/kf/send_msg":             (*Platform).sendMsg,
	"/cgi-bin/kf/service_state/get":    (*Platform).stateGet,
	"/cgi-bin/kf/service_state/trans":  (*Platform).stateTrans,
	"/cgi-bin/kf/send_msg_on_event":    (*Platform).sendOnEvent,
	"/cgi-bin/service/get_corp_token":  (*Platform).corpToken,
	"/cgi-bin/corpgroup/corp/gettoken": (*Platform).downstreamToken,
	"/cgi-bin/media/upload":            (*Platform).mediaUpload,
	"/cgi-bin/media/get":               (*Platform).mediaGet,
	"/cgi-bin/externalcontact/get":     (*Platform).contact,
	"/cgi-bin/externalcontact/list":    (*Platform).contactsOf,
	wecom.PathContactList:              (*Platform).contactList,
}

// authorise returns the corp of the access token of a call, or an errcode. Calls that need no
// corp's token have no corp.
func (p *Platform) authorise(r *http.Request, path string) (*corp, int) {
	q := r.URL.Query()
	switch {
	case strings.HasPrefix(path, "/cgi-bin/service/"), path == "/cgi-bin/webhook/send", path == "/cgi-bin/aibot/response",
		strings.HasPrefix(path, "/cgi-bin/webhook/"), strings.HasPrefix(path, "/cgi-bin/wedoc/smartsheet/webhook"):
		return nil, 0
	case q.Get("access_token") == "":
		return nil, 41001
	}
	t := p.tokens[q.Get("access_token")]
	switch {
	case t == nil:
		return nil, 40014
	case !p.now().Before(t.expires):
		return nil, 42001
	}
	return t.corp, 0
}

func (p *Platform) getToken(call *Call, r *http.Request) any {
	q := r.URL.Query()
	c := p.corps[q.Get("corpid")]
	for id, other := range p.corps { // letter case does not matter here: DOC 97104
		if c == nil && strings.EqualFold(id, q.Get("corpid")) {
			c = other
		}
	}
	switch {
	case c == nil:
		return p.fail(call, 40013)
	case c.apps[q.Get("corpsecret")] != nil:
		a := c.apps[q.Get("corpsecret")]
		return p.handOutToken(call, c, p.renew(&a.token, c, a))
	case c.secret != q.Get("corpsecret"):
		return p.fail(call, 40001)
	}
	return p.handOut(call, c)
}

// handOut answers with a corp's token and its remaining life.
func (p *Platform) handOut(call *Call, c *corp) any { return p.handOutToken(call, c, p.issue(c)) }

func (p *Platform) handOutToken(call *Call, c *corp, t *token) any {
	call.Corp = c.id
	left := int(t.expires.Sub(p.now()).Seconds())
	return map[string]any{"errcode": 0, "errmsg": "ok", "access_token": t.value, "expires_in": left}
}

func (p *Platform) fail(call *Call, code int) map[string]any {
	call.Code = code
	text := errmsgs[code]
	if text == "" {
		text = "error"
	}
	return map[string]any{"errcode": code, "errmsg": fmt.Sprintf(
		"%s, hint: [1763800000000000000000000], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=%d", text, code)}
}

// sample returns the answer of a path without a handler: its file, or a bare success.
func sample(path string) any {
	name := strings.ReplaceAll(strings.TrimPrefix(path, "/cgi-bin/"), "/", ".")
	data, err := samples.ReadFile("samples/" + name + ".json")
	if err != nil {
		return map[string]any{"errcode": 0, "errmsg": "ok"}
	}
	return json.RawMessage(data)
}

// file is an answer that is not JSON.
type file []byte

func write(w http.ResponseWriter, r *http.Request, out any, code int) {
	h := w.Header()
	if f, ok := out.(file); ok {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="media.bin"`)
		h.Set("Content-Length", strconv.Itoa(len(f)))
		_, _ = w.Write(f)
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("Error-Code", strconv.Itoa(code))
	h.Set("Error-Msg", "ok")
	if code != 0 {
		h.Set("Error-Msg", errmsgs[code])
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var z bytes.Buffer
		zw := gzip.NewWriter(&z)
		_, _ = zw.Write(body)
		_ = zw.Close()
		h.Set("Content-Encoding", "gzip")
		body = z.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

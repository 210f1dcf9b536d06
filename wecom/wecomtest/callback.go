package wecomtest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"replygate/wecom"
)

// App is the receiver of a callback, as configured in WeCom's console.
type App struct {
	URL       string
	Token     string
	Key       string // EncodingAESKey
	ReceiveID string
	JSON      bool   // use the JSON envelope of robots (DOC 100719), otherwise XML
	Suite     string // the id of a third party's suite, "" for an internal app
}

// Delivered is a callback with the answer to it.
type Delivered struct {
	Sent   []byte // the body of the request
	Query  string
	Status int
	Header http.Header
	Body   []byte // the first megabyte of the answer
}

// Deliver sends one callback, signed at the current time, without retries.
func (p *Platform) Deliver(a App, plain string) (Delivered, error) {
	return a.Deliver(p.now(), plain)
}

// Deliver sends one callback, signed at a time, without retries.
func (a App) Deliver(at time.Time, plain string) (Delivered, error) {
	return a.deliver(at, plain, answerTime)
}

// answerTime bounds the wait for an answer where a test looks at the answer itself.
const answerTime = 30 * time.Second

func (a App) deliver(at time.Time, plain string, patience time.Duration) (Delivered, error) {
	sealed, query, err := a.Seal(at, plain)
	if err != nil {
		return Delivered{}, err
	}
	body := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt><AgentID><![CDATA[218]]></AgentID></xml>", a.ReceiveID, sealed)
	if a.JSON {
		body = fmt.Sprintf(`{"encrypt":%q}`, sealed)
	}
	return a.send(http.MethodPost, query, []byte(body), patience)
}

// Verify sends the GET by which WeCom verifies the URL of a callback (DOC 90930). The receiver must
// answer with the decrypted text only.
func (a App) Verify(at time.Time, text string) (Delivered, error) {
	sealed, query, err := a.Seal(at, text)
	if err != nil {
		return Delivered{}, err
	}
	return a.Send(http.MethodGet, query+"&echostr="+url.QueryEscape(sealed), nil)
}

// Seal returns the ciphertext of a message and the query that signs it.
func (a App) Seal(at time.Time, plain string) (sealed, query string, err error) {
	c, err := wecom.NewCrypt(a.Token, a.Key)
	if err != nil {
		return "", "", err
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	sealed = c.Seal([]byte(plain), a.ReceiveID, random)
	timestamp, nonce := strconv.FormatInt(at.Unix(), 10), fmt.Sprintf("%x", random[:5])
	return sealed, "msg_signature=" + c.Sign(timestamp, nonce, sealed) + "&timestamp=" + timestamp + "&nonce=" + nonce, nil
}

// Send sends a callback with any query and body. It fails if there is no answer within 30 seconds.
func (a App) Send(method, query string, body []byte) (Delivered, error) {
	return a.send(method, query, body, answerTime)
}

func (a App) send(method, query string, body []byte, patience time.Duration) (Delivered, error) {
	d := Delivered{Sent: body, Query: query}
	req, err := http.NewRequest(method, a.URL+"?"+query, bytes.NewReader(body))
	if err != nil {
		return d, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/xml")
	}
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	d.Status, d.Header = resp.StatusCode, resp.Header
	d.Body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return d, err
}

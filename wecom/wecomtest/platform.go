// Package wecomtest is a simulated WeCom: a real HTTP server that behaves as the platform does
// where bots meet it, its errors included, with a clock that can be moved and a count of what
// reached it.
//
// It knows nothing of the gateway, of lapsed subscriptions or of rules: like the real platform for
// an account in good standing it takes whatever is well formed, so that a call the gateway lets
// slip shows.
package wecomtest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// The platform's own limits (DOC 96427, 94670; gettoken DOC 91039).
const (
	tokenLife   = 7200 * time.Second
	replyWindow = 48 * time.Hour
	replyLimit  = 5
	history     = 72 * time.Hour // that kf/sync_msg reaches back
	maxPage     = 1000
)

// Platform is the simulated WeCom. Its methods may be called at any time.
type Platform struct {
	mu     sync.Mutex
	now    func() time.Time
	corps  map[string]*corp
	tokens map[string]*token
	media  map[string][]byte
	calls  []Call
	codes  map[string]*code
	faults map[string][]int // errcodes to answer next, by path
	answer map[string]http.HandlerFunc
	lastID int
}

type corp struct {
	id, secret string
	token      *token
	accounts   []string // open_kfids
	log        []item
	chats      map[chatKey]*chat
}

type token struct {
	value   string
	corp    *corp
	expires time.Time
}

type chatKey struct{ channel, customer string }

// chat is a customer's session with a kf account.
type chat struct {
	wrote time.Time
	sent  int // replies since
	state int // 0 new, 1 assistant, 2 queued, 3 human, 4 ended
}

// code is a one-time code that was given out.
type code struct {
	corp     *corp
	deadline time.Time
	used     bool
}

// Lives of one-time codes (DOC 95122): of those that greet or say good-bye, and of the others.
const (
	shortCode = 20 * time.Second
	longCode  = 48 * time.Hour
)

// giveCode makes a one-time code.
func (p *Platform) giveCode(c *corp, life time.Duration) string {
	text := p.newID("CODE")
	p.codes[text] = &code{corp: c, deadline: p.now().Add(life)}
	return text
}

// Call is one request that reached the platform.
type Call struct {
	Method string
	Path   string // as it came, undecoded
	Query  string
	Header http.Header
	Body   []byte // the first megabyte
	Size   int64  // of the whole body
	Code   int    // the errcode it was answered with
	Corp   string // whose token it carried, "" if none or a bad one
	Warned bool   // its JSON was read only in part
}

// New makes a platform that reads the time from now.
func New(now func() time.Time) *Platform {
	return &Platform{
		now: now, corps: map[string]*corp{}, tokens: map[string]*token{}, media: map[string][]byte{},
		codes: map[string]*code{}, faults: map[string][]int{}, answer: map[string]http.HandlerFunc{},
	}
}

// Start serves the platform on a free loopback port until the server is closed.
func (p *Platform) Start() *httptest.Server { return httptest.NewServer(p) }

// AddCorp adds a company with one app secret and its kf accounts.
func (p *Platform) AddCorp(id, secret string, channels ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[id] = &corp{id: id, secret: secret, accounts: channels, chats: map[chatKey]*chat{}}
}

// Issue hands out a token past the gateway, as another process of the company would fetch it.
func (p *Platform) Issue(corpID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issue(p.corps[corpID]).value
}

// Revoke ends a corp's token, so that the next gettoken hands out another one.
func (p *Platform) Revoke(corpID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.corps[corpID]; c.token != nil {
		c.token.expires = p.now()
	}
}

// Invalidate makes a corp's token unknown, as a new secret does.
func (p *Platform) Invalidate(corpID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.corps[corpID]; c.token != nil {
		delete(p.tokens, c.token.value)
		c.token = nil
	}
}

// issue returns the corp's token; repeated within its life it is the same one.
func (p *Platform) issue(c *corp) *token {
	if c.token == nil || !p.now().Before(c.token.expires) {
		b := make([]byte, 107) // WeCom's tokens have 214 characters
		_, _ = rand.Read(b)
		c.token = &token{value: hex.EncodeToString(b), corp: c, expires: p.now().Add(tokenLife)}
		p.tokens[c.token.value] = c.token
	}
	return c.token
}

// CustomerWrites is a customer's message to a kf account, now by the platform's clock. It returns
// the msgid.
func (p *Platform) CustomerWrites(corpID, channel, customer, text string) string {
	return p.CustomerWroteAt(corpID, channel, customer, text, p.now())
}

// CustomerWroteAt is a customer's message that the platform dates at the time given.
func (p *Platform) CustomerWroteAt(corpID, channel, customer, text string, at time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	ch := c.chat(channel, customer)
	if !at.Before(ch.wrote) {
		ch.wrote, ch.sent = at, 0
	}
	if ch.state == 4 {
		ch.state = 0
	}
	id := p.newID("msg")
	c.log = append(c.log, item{
		"msgid": id, "open_kfid": channel, "external_userid": customer, "send_time": at.Unix(),
		"origin": 3, "msgtype": "text", "text": map[string]any{"content": text},
	})
	return id
}

// CustomerEnters is a customer who opens the chat without writing: an event, no message.
func (p *Platform) CustomerEnters(corpID, channel, customer string) (welcomeCode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	welcomeCode = p.giveCode(c, shortCode)
	p.happens(c, channel, customer, map[string]any{"event_type": "enter_session", "scene": "1", "welcome_code": welcomeCode})
	return welcomeCode
}

// SessionChanges is a session that a servicer took from the queue (1) or that ended (3).
func (p *Platform) SessionChanges(corpID, channel, customer string, change int) (msgCode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	msgCode = p.giveCode(c, map[int]time.Duration{1: longCode, 3: shortCode}[change])
	p.happens(c, channel, customer, map[string]any{"event_type": "session_status_change", "change_type": change, "msg_code": msgCode})
	return msgCode
}

// DeliveryFails is the event that a reply which the platform had taken did not reach the customer:
// 4 for the window, 6 for the count, 10 for a customer who refuses.
func (p *Platform) DeliveryFails(corpID, channel, customer string, failType int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.happens(p.corps[corpID], channel, customer, map[string]any{"event_type": "msg_send_fail", "fail_msgid": p.newID("out"), "fail_type": failType})
}

// happens puts an event into the log of a corp.
func (p *Platform) happens(c *corp, channel, customer string, event map[string]any) {
	event["open_kfid"], event["external_userid"] = channel, customer
	c.log = append(c.log, item{"msgid": p.newID("msg"), "send_time": p.now().Unix(), "origin": 4, "msgtype": "event", "event": event})
}

// SetState puts a customer's session into a state, 0 to 4.
func (p *Platform) SetState(corpID, channel, customer string, state int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[corpID].chat(channel, customer).state = state
}

// FailNext makes the next calls of path answer with these errcodes, one each; 0 lets one through.
func (p *Platform) FailNext(path string, codes ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[path] = append(p.faults[path], codes...)
}

// Answer replaces what path answers, after the call was counted. nil puts the usual answer back.
func (p *Platform) Answer(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer[path] = h
}

// Calls returns all that reached the platform, in order.
func (p *Platform) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Count returns how many calls of a path reached the platform.
func (p *Platform) Count(path string) int {
	n := 0
	for _, c := range p.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

// Forget drops the calls counted so far.
func (p *Platform) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

func (c *corp) chat(channel, customer string) *chat {
	k := chatKey{channel, customer}
	if c.chats[k] == nil {
		c.chats[k] = &chat{}
	}
	return c.chats[k]
}

func (p *Platform) newID(kind string) string {
	p.lastID++
	return fmt.Sprintf("%s%08d", kind, p.lastID)
}

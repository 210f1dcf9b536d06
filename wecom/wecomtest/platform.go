// Package wecomtest simulates WeCom: an HTTP server that behaves like the platform towards bots,
// including its errors, with a clock that tests can move and a record of all calls.
//
// It does not know the gateway, lapsed subscriptions or rules. Like the real platform for an
// account in good standing, it accepts every well-formed call, so a test sees any call that the
// gateway should have refused.
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

	"replygate/wecom"
)

// The limits of the platform (DOC 96427, 94670; gettoken DOC 91039).
const (
	tokenLife   = 7200 * time.Second
	replyWindow = 48 * time.Hour
	replyLimit  = 5
	history     = 72 * time.Hour // kf/sync_msg returns messages of the last three days
	maxPage     = 1000           // items in one answer of kf/sync_msg
)

// Platform is the simulated WeCom. Its methods are safe for concurrent use.
type Platform struct {
	mu     sync.Mutex
	now    func() time.Time
	corps  map[string]*corp
	tokens map[string]*token
	media  map[string][]byte
	calls  []Call
	codes  map[string]*code
	faults map[string][]int            // path -> errcodes of the next answers
	answer map[string]http.HandlerFunc // path -> replacement handler
	lastID int

	limits   map[string]Limit // path -> limit
	usage    map[usageKey]*usage
	refused  map[usageKey]int         // errcodes
	held     map[string]chan struct{} // path -> closed when its answers may go
	patience time.Duration            // how long SendEvent waits for an answer
}

type corp struct {
	id, secret string
	token      *token
	apps       map[string]*app // more apps, by their secret
	accounts   []string        // open_kfids
	log        []item
	chats      map[chatKey]*chat
	book       *contactBook
}

type token struct {
	value   string
	corp    *corp
	app     *app // nil: it can see all kf accounts
	expires time.Time
}

// app is an app that can see some of a corp's kf accounts.
type app struct {
	channels []string
	token    *token
}

type chatKey struct{ channel, customer string }

// chat is a customer's session with a kf account.
type chat struct {
	wrote time.Time
	sent  int // replies since then
	state int // 0 new, 1 assistant, 2 queued, 3 human, 4 ended
}

// code is a one-time code that was issued.
type code struct {
	corp     *corp
	deadline time.Time
	used     bool
}

// The lifetimes of one-time codes (DOC 95122).
const (
	shortCode = 20 * time.Second // when a session begins or ends
	longCode  = 48 * time.Hour   // when it is queued or a servicer takes it
)

// giveCode issues a one-time code.
func (p *Platform) giveCode(c *corp, life time.Duration) string {
	text := p.newID("CODE")
	p.codes[text] = &code{corp: c, deadline: p.now().Add(life)}
	return text
}

// Call is one request that reached the platform.
type Call struct {
	Method string
	Path   string // as sent, undecoded
	Query  string
	Header http.Header
	Body   []byte // the first megabyte
	Size   int64  // length of the whole body
	Code   int    // errcode of the answer
	Corp   string // the corp of its token, "" without a valid token
	Warned bool   // only a part of its JSON could be parsed
}

// New returns a platform without corps whose time is now().
func New(now func() time.Time) *Platform {
	return &Platform{
		now: now, corps: map[string]*corp{}, tokens: map[string]*token{}, media: map[string][]byte{},
		codes: map[string]*code{}, faults: map[string][]int{}, answer: map[string]http.HandlerFunc{},
		limits: map[string]Limit{wecom.PathContactList: {Minute: 10_000, Hour: 150_000, AtOnce: 5}},
		usage:  map[usageKey]*usage{}, refused: map[usageKey]int{}, held: map[string]chan struct{}{}, patience: callbackTime,
	}
}

// Start serves the platform on a free loopback port. The caller must close the server.
func (p *Platform) Start() *httptest.Server { return httptest.NewServer(p) }

// AddCorp adds a company with one app secret and its kf accounts.
func (p *Platform) AddCorp(id, secret string, channels ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[id] = &corp{id: id, secret: secret, accounts: channels, chats: map[chatKey]*chat{}, book: &contactBook{groups: map[string]*group{}}}
}

// AddApp adds another app to a company: it can see these kf accounts alone.
func (p *Platform) AddApp(corpID, secret string, channels ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	if c.apps == nil {
		c.apps = map[string]*app{}
	}
	c.apps[secret] = &app{channels: channels}
}

// visible returns the kf accounts that the app of a call can see.
func (p *Platform) visible(c *corp, r *http.Request) []string {
	if t := p.tokens[r.URL.Query().Get("access_token")]; t != nil && t.app != nil {
		return t.app.channels
	}
	return c.accounts
}

// Issue returns a token of a corp without a call, as if another process had fetched it.
func (p *Platform) Issue(corpID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issue(p.corps[corpID]).value
}

// Revoke expires a corp's token (errcode 42001), so that the next gettoken issues another one.
func (p *Platform) Revoke(corpID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.corps[corpID]; c.token != nil {
		c.token.expires = p.now()
	}
}

// Invalidate makes a corp's token unknown (errcode 40014), as a change of the secret does.
func (p *Platform) Invalidate(corpID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.corps[corpID]; c.token != nil {
		delete(p.tokens, c.token.value)
		c.token = nil
	}
}

// issue returns the corp's token, a new one if the last has expired (DOC 91039).
func (p *Platform) issue(c *corp) *token {
	return p.renew(&c.token, c, nil)
}

// renew returns the token at t, a new one if it has expired.
func (p *Platform) renew(t **token, c *corp, a *app) *token {
	if *t == nil || !p.now().Before((*t).expires) {
		b := make([]byte, 107) // WeCom's tokens have 214 characters
		_, _ = rand.Read(b)
		*t = &token{value: hex.EncodeToString(b), corp: c, app: a, expires: p.now().Add(tokenLife)}
		p.tokens[(*t).value] = *t
	}
	return *t
}

// CustomerWrites adds a customer's message to a kf account at the current time. It returns the
// msgid.
func (p *Platform) CustomerWrites(corpID, channel, customer, text string) string {
	return p.CustomerWroteAt(corpID, channel, customer, text, p.now())
}

// CustomerWroteAt adds a customer's message with a send_time. A message older than the customer's
// last one does not renew the window.
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

// CustomerEnters adds the event of a customer who opens the chat without writing.
func (p *Platform) CustomerEnters(corpID, channel, customer string) (welcomeCode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	welcomeCode = p.giveCode(c, shortCode)
	p.logEvent(c, channel, customer, map[string]any{"event_type": "enter_session", "scene": "1", "welcome_code": welcomeCode})
	return welcomeCode
}

// SessionChanges adds the event of a session that a servicer took from the queue (change 1) or that
// ended (change 3).
func (p *Platform) SessionChanges(corpID, channel, customer string, change int) (msgCode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	msgCode = p.giveCode(c, map[int]time.Duration{1: longCode, 3: shortCode}[change])
	p.logEvent(c, channel, customer, map[string]any{"event_type": "session_status_change", "change_type": change, "msg_code": msgCode})
	return msgCode
}

// DeliveryFails adds the event of a reply that the platform accepted and could not deliver, with
// its fail_type: 4 if the window had closed, 6 if five replies were sent, 10 if the customer
// rejects messages (DOC 94670).
func (p *Platform) DeliveryFails(corpID, channel, customer string, failType int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logEvent(p.corps[corpID], channel, customer, map[string]any{"event_type": "msg_send_fail", "fail_msgid": p.newID("out"), "fail_type": failType})
}

// ServicerWrites adds a message that a servicer writes in the client, and returns its msgid.
func (p *Platform) ServicerWrites(corpID, channel, customer, servicer, text string) (msgid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.corps[corpID]
	msgid = p.newID("msg")
	c.log = append(c.log, item{
		"msgid": msgid, "open_kfid": channel, "external_userid": customer, "send_time": p.now().Unix(), "origin": 5,
		"servicer_userid": servicer, "msgtype": "text", "text": map[string]any{"content": text},
	})
	return msgid
}

// ServicerRecalls adds the event of a servicer's message that was taken back.
func (p *Platform) ServicerRecalls(corpID, channel, customer, servicer, msgid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logEvent(p.corps[corpID], channel, customer, map[string]any{"event_type": "servicer_recall_msg", "servicer_userid": servicer, "recall_msgid": msgid})
}

// ReplyFails adds the event that a reply with this msgid was not delivered.
func (p *Platform) ReplyFails(corpID, channel, customer, msgid string, failType int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logEvent(p.corps[corpID], channel, customer, map[string]any{"event_type": "msg_send_fail", "fail_msgid": msgid, "fail_type": failType})
}

// logEvent appends an event to the log of a corp.
func (p *Platform) logEvent(c *corp, channel, customer string, event map[string]any) {
	event["open_kfid"], event["external_userid"] = channel, customer
	c.log = append(c.log, item{"msgid": p.newID("msg"), "send_time": p.now().Unix(), "origin": 4, "msgtype": "event", "event": event})
}

// SetState sets the state of a customer's session, 0 to 4 (DOC 94669).
func (p *Platform) SetState(corpID, channel, customer string, state int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corps[corpID].chat(channel, customer).state = state
}

// FailNext makes the next calls of path fail with these errcodes, one each; 0 lets a call through.
func (p *Platform) FailNext(path string, codes ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[path] = append(p.faults[path], codes...)
}

// Answer replaces the handler of path; nil restores it. The calls are still recorded.
func (p *Platform) Answer(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer[path] = h
}

// Calls returns all calls that reached the platform, in order.
func (p *Platform) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Count returns the number of calls of a path that reached the platform.
func (p *Platform) Count(path string) int {
	n := 0
	for _, c := range p.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

// Forget drops the recorded calls.
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

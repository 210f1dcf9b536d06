package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/upstream"
	"replygate/wecom"
	"replygate/window"
)

const (
	callbackTime = 4500 * time.Millisecond // of the 5 s that WeCom waits (DOC 90238)
	callbackBody = 1 << 20                 // bytes; WeCom's own have a few kilobytes
	callbackSkew = 10 * time.Minute        // that a callback's timestamp may be off
)

// Receivers are the callback URLs of a configuration by their path.
type Receivers map[string]*receiver

// receiver is one callback URL: its keys, and the bot that its callbacks go on to.
type receiver struct {
	path  string
	crypt *wecom.Crypt
	ids   []string
	bot   *upstream.Upstream // nil: the gateway answers by itself
	route string             // the bot's path
}

// NewReceivers prepares the callback URLs of a configuration.
func NewReceivers(callbacks []config.Callback) (Receivers, error) {
	all := Receivers{}
	for _, c := range callbacks {
		crypt, err := wecom.NewCrypt(c.Token.Reveal(), c.EncodingAESKey.Reveal())
		if err != nil {
			return nil, fmt.Errorf("callback %s: %w", c.Path, err)
		}
		r := &receiver{path: c.Path, crypt: crypt, ids: c.ReceiveIDs}
		if c.ForwardTo != "" {
			u, err := url.Parse(c.ForwardTo)
			if err != nil {
				return nil, fmt.Errorf("callback %s: forward_to: %w", c.Path, err)
			}
			if r.bot, err = upstream.New(config.Upstream{URL: u.Scheme + "://" + u.Host, Timeout: callbackTime}); err != nil {
				return nil, fmt.Errorf("callback %s: %w", c.Path, err)
			}
			r.route = u.EscapedPath()
			if r.route == "" {
				r.route = "/"
			}
		}
		all[c.Path] = r
	}
	return all, nil
}

// Close drops the idle connections to the bots.
func (rs Receivers) Close() {
	for _, r := range rs {
		if r.bot != nil {
			r.bot.Close()
		}
	}
}

// What was made of a callback. All but the last are forwarded.
const (
	callbackVerified     = "verified"         // the GET by which WeCom checks a URL
	callbackRecorded     = "recorded"         // it was about a customer, and that is on record
	callbackPassed       = "passed"           // it holds nothing to record
	callbackForged       = "forged"           // the signature is wrong, or the key
	callbackUnreadable   = "unreadable"       // it is not what WeCom documents
	callbackMisaddressed = "unknown_receiver" // it is for another receiver
	callbackOffTime      = "off_time"         // its timestamp is more than ten minutes off
	callbackUnlisted     = "unlisted"         // its corp is not in accounts
	callbackUnidentified = "unidentified"     // it is about a message, but lacks the customer or the time
	callbackUnrecorded   = "unrecorded"       // Redis did not take it: WeCom tries again
)

// untrusted reports whether nothing in a callback with this result may be trusted.
func untrusted(result string) bool {
	switch result {
	case callbackForged, callbackUnreadable, callbackMisaddressed, callbackOffTime:
		return true
	}
	return false
}

// callbackRequest is one callback of WeCom on its way to the bot.
type callbackRequest struct {
	request
	to     *receiver
	plain  []byte // decrypted; of a GET the echostr
	event  wecom.Callback
	result string
}

// ServeCallback carries one callback of WeCom: it is read, recorded if it tells of a customer, and
// forwarded to the bot as it came, whose answer goes back as it comes.
func (g *Gateway) ServeCallback(rc *fasthttp.RequestCtx) {
	d := &callbackRequest{}
	d.start(g, rc)
	defer d.finish()
	defer func() {
		if p := recover(); p != nil {
			g.Log.Error("BUG: a callback panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			d.errorKind = gatewayFailed
			d.fail(fasthttp.StatusInternalServerError, wecom.CodeServerFault, "the gateway failed on this callback")
		}
	}()
	d.serve()
}

// serveCallbackError answers what the server library of the callback listener itself refuses.
func (g *Gateway) serveCallbackError(rc *fasthttp.RequestCtx, err error) {
	d := &callbackRequest{}
	d.start(g, rc)
	d.unreadable(err)
	d.finish()
}

func (d *callbackRequest) serve() {
	if !d.readTarget() {
		return
	}
	if d.to = d.settings.Receivers[string(d.path)]; d.to == nil {
		d.errorKind = unknownCallback
		d.fail(fasthttp.StatusNotFound, wecom.CodeNoPath, "no callback of the configuration has this path")
		return
	}
	if !d.rc.IsGet() && !d.rc.IsPost() {
		d.errorKind = methodNotAllowed
		d.fail(fasthttp.StatusMethodNotAllowed, wecom.CodeNoPath, "WeCom calls a callback by GET or POST")
		return
	}
	body, ok := d.readBody(callbackBody)
	if !ok {
		return
	}
	d.result = d.judge(body)
	if d.result == callbackRecorded && !d.record() {
		d.result, d.errorKind = callbackUnrecorded, callbackUnrecorded
		d.fail(fasthttp.StatusServiceUnavailable, wecom.CodeStoreAway, "the gateway cannot record this callback just now; send it again")
		return
	}
	if d.to.bot == nil {
		d.reply()
		return
	}
	d.forward(body)
}

// judge verifies, decrypts and reads a callback.
func (d *callbackRequest) judge(body []byte) string {
	signed, err := wecom.ReadSigned(d.query)
	if err != nil {
		return callbackUnreadable
	}
	encrypt := signed.Echo
	if d.rc.IsPost() {
		if encrypt, err = wecom.ReadEnvelope(body); err != nil {
			return callbackUnreadable
		}
	}
	if !d.to.crypt.Verify(signed.Signature, signed.Timestamp, signed.Nonce, encrypt) {
		return callbackForged
	}
	plain, receiver, err := d.to.crypt.Open(encrypt)
	switch {
	case err != nil:
		return callbackForged
	case !slices.Contains(d.to.ids, receiver):
		return callbackMisaddressed
	case !d.onTime(signed.Timestamp):
		return callbackOffTime
	}
	d.plain = plain
	if d.rc.IsGet() {
		return callbackVerified
	}
	if d.event, err = wecom.ReadCallback(plain); err != nil {
		return callbackUnreadable
	}
	if d.speaksFor(receiver) && d.event.Channel != "" {
		d.learnChannels(d.event.Corp, []string{d.event.Channel})
	}
	return d.classify(receiver)
}

// onTime reports whether a callback's timestamp is near our clock. The signature covers it, so a
// replayed callback opens no window.
func (d *callbackRequest) onTime(timestamp string) bool {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return false
	}
	return time.Unix(seconds, 0).Sub(d.at).Abs() <= callbackSkew
}

// speaksFor reports whether a callback may report on its corp. One that is sealed for a configured
// account may report on that account alone: its owner knows the key, and must not report on others.
func (d *callbackRequest) speaksFor(receiver string) bool {
	return d.gate.Accounts.Find(receiver) == nil || d.event.Corp == receiver
}

// classify finds out whether a callback holds something to record.
func (d *callbackRequest) classify(receiver string) string {
	message := d.event.Says() == wecom.SaysMessage && d.gate.Engine.OpensWindow(d.event.Kind, d.at)
	switch {
	case !message && d.event.WelcomeCode == "":
		return callbackPassed
	case !d.speaksFor(receiver):
		return callbackMisaddressed
	case d.gate.Accounts.Find(d.event.Corp) == nil:
		return callbackUnlisted
	case d.event.Customer == "" || d.event.At.IsZero():
		return callbackUnidentified
	}
	return callbackRecorded
}

// record records the customer's message, or the customer that a welcome code is for.
func (d *callbackRequest) record() bool {
	k := window.Key{Corp: d.event.Corp, Customer: d.event.Customer}
	message := d.event.Says() == wecom.SaysMessage && d.gate.Engine.OpensWindow(d.event.Kind, d.at)
	var err error
	if message {
		var tally window.Tally
		tally, err = d.gw.Windows.Record(d.ctx, []window.Fact{{Key: k, At: d.event.At}})
		d.gw.Metrics.tally("callback", tally)
	}
	if d.event.WelcomeCode != "" && err == nil {
		code := window.Code{Key: k, Kind: string(wecom.CustomerAdded), Deadline: d.event.At.Add(wecom.CustomerAdded.Life())}
		err = d.gw.Windows.LearnCodes(d.ctx, []window.LearntCode{{Text: d.event.WelcomeCode, Code: code}})
	}
	if err != nil {
		d.gw.Log.Warn("a callback could not be recorded: WeCom will send it again", zap.String("corp_id", d.event.Corp), zap.Error(err))
		if errors.Is(err, window.ErrNotMember) { // it is in the journal, so nothing is lost
			return false
		}
		// WeCom gives up after three times.
		lost := window.Loss{Corp: d.event.Corp, Reason: "unrecorded", Messages: message, Codes: d.event.WelcomeCode != ""}
		if _, err := d.gw.Windows.RecordGaps(d.ctx, lost); err != nil {
			d.gw.Log.Warn("the gap is noted in this gateway alone: redis did not take it", zap.Error(err))
		}
	}
	return err == nil
}

// reply answers a callback that goes on to no bot.
func (d *callbackRequest) reply() {
	if untrusted(d.result) {
		d.errorKind = d.result
		d.fail(fasthttp.StatusForbidden, wecom.CodeForged, "the gateway cannot believe this callback ("+d.result+"): check token, key and receive_ids")
		return
	}
	resp := &d.rc.Response
	resp.Header.SetContentType("text/plain; charset=utf-8")
	switch {
	case d.rc.IsGet():
		resp.SetBody(d.plain)
	case d.event.ThirdParty:
		resp.SetBodyString("success")
	}
}

// forward hands the callback to the bot, and the bot's answer back. WeCom gets no success where the
// bot gave none, so that it tries again.
func (d *callbackRequest) forward(body []byte) {
	o := &upstream.Request{Head: &d.rc.Request.Header, Target: d.withQuery([]byte(d.to.route)), Host: d.to.bot.Host(), Body: body, KeepForwarded: true}
	left := callbackTime - d.gw.Now().Sub(d.at)
	a, err := d.to.bot.Do(o, &d.rc.Response, time.Now().Add(left))
	if err != nil {
		d.botFailed(err)
		return
	}
	if a == nil {
		d.passHead()
		return
	}
	defer a.Close()
	s, err := fill(a, min(a.Length(), callbackBody), callbackBody)
	if err == nil && !s.whole {
		err = errTooLong
	}
	if err != nil {
		d.botFailed(err)
		return
	}
	d.passHead()
	d.rc.Response.SetBodyRaw(slices.Concat(s.pieces...))
}

func (d *callbackRequest) botFailed(err error) {
	var late interface{ Timeout() bool }
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &late) && late.Timeout():
		d.errorKind = botTimeout
		d.fail(fasthttp.StatusGatewayTimeout, wecom.CodeNoAnswer, "the bot did not answer in time")
	default:
		d.errorKind = botUnreachable
		d.fail(fasthttp.StatusBadGateway, wecom.CodeUnreachable, "the bot gave no whole answer")
	}
}

// finish leaves the record of a callback and counts it.
func (d *callbackRequest) finish() {
	d.closeConnection()
	now := d.gw.Now()
	r := &CallbackRecord{
		Method: method(d.rc.Method()), Path: "…", Kind: "none", Result: d.result, CorpID: d.event.Corp,
		Status: d.rc.Response.StatusCode(), DecisionID: d.id, ErrorKind: d.errorKind, Duration: now.Sub(d.at),
	}
	if d.to != nil {
		r.Path = d.to.path
	}
	switch {
	case d.event.Known():
		r.Kind = d.event.Kind
	case d.event.Kind != "":
		r.Kind = "other"
	}
	if d.id != "" {
		d.gw.Refusals.Add(now, "decision", d.failure(r.CorpID, r.Path))
	}
	d.gw.Metrics.callback(r)
	d.gw.Access.Add(now, "callback", r)
	if untrusted(d.result) {
		d.gw.Log.Warn("a callback is not to be believed: nothing of it was recorded", zap.String("path", r.Path), zap.String("why", d.result))
	}
}

package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/gate"
	"replygate/upstream"
	"replygate/wecom"
	"replygate/window"
)

const (
	callbackTime = 4500 * time.Millisecond // of the 5 s that WeCom waits (DOC 90238)
	callbackBody = 1 << 20                 // bytes; WeCom's own have a few kilobytes
)

// Receivers are the callback URLs of a configuration by their path.
type Receivers map[string]*receiver

// receiver is one callback URL: its keys, and the bot that its callbacks go on to.
type receiver struct {
	path    string
	crypt   *wecom.Crypt
	ids     []string
	bot     *upstream.Upstream // nil: the gateway answers by itself
	address string             // the bot's, for log and record
	route   string             // the bot's path
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
			r.address, r.route = u.Scheme+"://"+u.Host, u.EscapedPath()
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

// unverified has the result and the log line of a callback of which nothing may be trusted, by its
// cause. Each has a line of its own, so that a frequent cause does not suppress a rare one.
var unverified = map[wecom.Cause]struct{ result, line string }{
	wecom.CauseMalformed: {callbackUnreadable, "a callback is not as WeCom documents it: nothing of it was recorded; compare what WeCom sends with what reaches the gateway"},
	wecom.CauseToken:     {callbackForged, "a callback is not signed with the token of its path: nothing of it was recorded; copy the token from WeCom's console unless the callback is a forgery"},
	wecom.CauseKey:       {callbackForged, "a callback is not encrypted with the key of its path: nothing of it was recorded; copy the EncodingAESKey from WeCom's console"},
	wecom.CauseReceiveID: {callbackMisaddressed, "a callback is for a receiver that its path does not list: nothing of it was recorded; add it to receive_ids if it is yours"},
	wecom.CauseAge:       {callbackOffTime, "a callback's timestamp is more than ten minutes off: nothing of it was recorded; check this machine's clock"},
	wecom.CauseCorp:      {callbackMisaddressed, "a callback reports on another account than it is for: nothing of it was recorded; give each account its own callback"},
}

// callbackRequest is one callback of WeCom on its way to the bot.
type callbackRequest struct {
	request
	to       *receiver
	signed   wecom.Signed
	plain    []byte // decrypted; of a GET the echostr
	sealedTo string // whom it was encrypted for, known once token and key fit
	event    wecom.Callback
	result   string
	cause    wecom.Cause // why nothing of it may be trusted, "" if it may
	botError string      // why the bot gave no whole answer, "" if it did
}

// ServeCallback carries one callback of WeCom: it is read, recorded if it tells of a customer, and
// forwarded to the bot as it came, whose answer goes back as it comes.
func (g *Gateway) ServeCallback(rc *fasthttp.RequestCtx) {
	d := &callbackRequest{}
	d.start(g, rc)
	defer d.finish()
	defer func() {
		if p := recover(); p != nil {
			g.Log.Panicked("BUG: a callback panicked", p)
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
	sealed, err := wecom.ReadSealed(d.rc.IsGet(), d.query, body)
	if err != nil {
		return d.distrust(wecom.CauseMalformed)
	}
	d.signed = sealed.Signed
	var cause wecom.Cause
	if d.plain, d.sealedTo, cause = sealed.Verify(d.to.crypt, d.to.ids, d.at); cause != "" {
		return d.distrust(cause)
	}
	if d.rc.IsGet() {
		return callbackVerified
	}
	if d.event, err = wecom.ReadCallback(d.plain); err != nil {
		return d.distrust(wecom.CauseMalformed)
	}
	if speaksFor(d.gate, d.sealedTo, d.event.Corp) && d.event.Channel != "" {
		d.learnChannels(d.event.Corp, []string{d.event.Channel})
	}
	result, cause := classify(d.gate, d.sealedTo, d.event, d.at)
	if cause != "" {
		return d.distrust(cause)
	}
	if speaksFor(d.gate, d.sealedTo, d.event.Corp) {
		d.observeContacts()
	}
	return result
}

// distrust notes why nothing of a callback may be trusted. Log, record and metric tell the cause;
// the answer does not, since it would tell a sender how far it got.
func (d *callbackRequest) distrust(cause wecom.Cause) (result string) {
	d.cause = cause
	return unverified[cause].result
}

// speaksFor reports whether a callback may report on a corp. One that is sealed for a configured
// account may report on that account alone: its owner knows the key, and must not report on others.
func speaksFor(g *gate.Gate, receiver, corp string) bool {
	return g.Accounts.Find(receiver) == nil || corp == receiver
}

// opensWindow reports whether a callback that arrives at an instant is a message that opens a
// window.
func opensWindow(g *gate.Gate, event wecom.Callback, at time.Time) bool {
	return event.Says() == wecom.SaysMessage && g.Engine.OpensWindow(event.Kind, at)
}

// classify finds out whether a callback that is sealed for a receiver, and arrives at an instant,
// holds something to record. If nothing of it may be trusted, the cause tells why.
func classify(g *gate.Gate, receiver string, event wecom.Callback, at time.Time) (result string, cause wecom.Cause) {
	switch {
	case !opensWindow(g, event, at) && event.WelcomeCode == "":
		return callbackPassed, ""
	case !speaksFor(g, receiver, event.Corp):
		return "", wecom.CauseCorp
	case g.Accounts.Find(event.Corp) == nil:
		return callbackUnlisted, ""
	case event.Customer == "" || event.At.IsZero():
		return callbackUnidentified, ""
	}
	return callbackRecorded, ""
}

// record records the customer's message, or the customer that a welcome code is for.
func (d *callbackRequest) record() bool {
	k := window.Key{Corp: d.event.Corp, Customer: d.event.Customer}
	message := opensWindow(d.gate, d.event, d.at)
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
	if d.cause != "" {
		d.errorKind = unverifiedCallback
		d.fail(fasthttp.StatusForbidden, wecom.CodeForged, "the gateway cannot verify this callback; its log tells why: look for this id")
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

// botFailed answers for a bot that gave no whole answer. Log and record name the bot and the cause.
func (d *callbackRequest) botFailed(err error) {
	d.botError = connectionError(err)
	switch d.botError {
	case timedOut:
		d.errorKind = botTimeout
		d.fail(fasthttp.StatusGatewayTimeout, wecom.CodeNoAnswer, "the bot did not answer in time")
	default:
		d.errorKind = botUnreachable
		d.fail(fasthttp.StatusBadGateway, wecom.CodeUnreachable, "the bot gave no whole answer")
	}
	d.gw.Log.Warn("a bot gave no whole answer to a callback: WeCom will send it again; check forward_to, and that the bot runs",
		zap.String("path", d.to.path), zap.String("bot", d.to.address), zap.String("cause", d.botError), errorText(err))
}

// finish leaves the record of a callback and counts it.
func (d *callbackRequest) finish() {
	d.closeConnection()
	now := d.gw.Now()
	r := &CallbackRecord{
		Method: method(d.rc.Method()), Path: "…", Kind: "none", Result: d.result, Cause: d.cause, CorpID: d.event.Corp, Remote: d.remote(),
		Status: d.rc.Response.StatusCode(), DecisionID: d.id, ErrorKind: d.errorKind, Duration: now.Sub(d.at),
	}
	if d.to != nil {
		r.Path = d.to.path
	}
	if d.botError != "" {
		r.Bot, r.BotError = d.to.address, d.botError
	}
	switch {
	case d.event.Known():
		r.Kind = d.event.Kind
	case d.event.Kind != "":
		r.Kind = "other"
	}
	if d.id != "" {
		f := d.failure(r.CorpID, r.Path)
		f.Cause = cmp.Or(string(d.cause), d.botError)
		d.gw.Refusals.Add(now, "decision", f)
	}
	d.gw.Metrics.callback(r, now)
	d.gw.Access.Add(now, "callback", r)
	d.logCause()
}

// logCause logs why a callback is not trusted, with what the cause is about. What a sender without
// the token wrote is not logged.
func (d *callbackRequest) logCause() {
	if d.cause == "" {
		return
	}
	fields := []zap.Field{zap.String("path", d.to.path), zap.String("cause", string(d.cause))}
	switch d.cause {
	case wecom.CauseReceiveID:
		fields = append(fields, zap.String("receive_id", d.sealedTo[:min(len(d.sealedTo), wecom.MaxID)]), zap.Bool("is_an_account", d.gate.Accounts.Find(d.sealedTo) != nil))
	case wecom.CauseCorp:
		fields = append(fields, zap.String("receive_id", d.sealedTo), zap.String("corp_id", d.event.Corp))
	case wecom.CauseAge:
		if off, ok := d.signed.Off(d.at); ok {
			fields = append(fields, zap.Float64("seconds_ahead", off.Seconds()))
		}
	}
	d.gw.Log.Warn(unverified[d.cause].line, fields...)
}

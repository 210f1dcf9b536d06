package proxy

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
	"replygate/http1"
	"replygate/policy"
	"replygate/trace"
	"replygate/wecom"
)

// caller is the corp that a call belongs to, and how it was found.
type caller struct {
	tokens   []string // that servers could take the query to carry; "" among them where some would find none
	oneToken [1]string
	prefix   []byte // the corp that the path names, an account or not
	pathCorp string // the account that the path names
	hostCorp string // the account that the Host names
	corp     string // "" if unknown
	by       gate.By
	counted  bool          // by what it was found
	waited   time.Duration // for the store, to learn it

	bodyRead bool      // to find it, or to judge the call
	body     []byte    // then: the whole body,
	more     io.Reader // or, of one that is longer than limits.judged_body, all of it as it comes
}

// next is what is to become of a call once its caller was looked for.
type next uint8

const (
	judged   next = iota // it is judged as a call of the corp that was found
	refused              // it is refused, unless policy.mode is shadow
	unread               // it passes as it came
	answered             // the gateway has answered it
)

// readRoute reads the path. What names a corp is taken off before anything else is read. A path
// that the gateway keeps for itself, and has nothing at, is answered here.
func (x *apiRequest) readRoute() bool {
	corp, rest := wecom.CutCorp(x.path)
	x.target, x.path, x.prefix = x.target[len(x.path)-len(rest):], rest, corp
	x.head.Route = wecom.ReadPath(x.path)
	named, path := corp != nil, x.head.Route.Path
	if named && !strings.HasPrefix(path, "/cgi-bin/") || x.isOwn() && (named || path != pathPreflight && path != pathHealthz) {
		x.errorKind = unknownPath
		x.fail(fasthttp.StatusNotFound, wecom.CodeNoPath, "the gateway keeps /corp/ and /replygate/ for itself, and has nothing at this path; call /corp/<corp_id>/cgi-bin/..., /replygate/preflight or /replygate/healthz; nothing was sent")
		return false
	}
	return true
}

// readClaims reads which accounts the head of the call names, by the configuration in force.
func (x *apiRequest) readClaims() {
	x.tokens = wecom.ReadTokens(x.oneToken[:0], x.query)
	x.pathCorp, x.hostCorp = "", ""
	if a := x.gate.Accounts.Find(string(x.prefix)); a != nil {
		x.pathCorp = a.CorpID
	}
	if a := x.gate.Accounts.OfHost(x.rc.Request.Header.Host()); a != nil {
		x.hostCorp = a.CorpID
	}
}

// isOwn reports whether a server could read the path as one that the gateway keeps for itself. A
// path of the catalogue is not.
func (x *apiRequest) isOwn() bool {
	return (x.head.Route.Ambiguous() || x.head.Route.Endpoint.Path != x.head.Route.Path) && wecom.IsOwn(x.path)
}

// findCorp attributes a call to a corp. mayPass allows a call to go on unattributed if no account
// is refused it. The judgement is set if the call is refused.
func (x *apiRequest) findCorp(mayPass bool) (next, *gate.Judgement) {
	x.readClaims()
	x.corp, x.by, x.waited = "", gate.ByNone, 0
	x.inspections = policy.Inspections{Enforced: policy.InspectPath, Overall: policy.InspectPath}
	if len(x.tokens) != 1 {
		return x.withoutOneToken(mayPass)
	}
	var owner account.Owner
	asking := x.trace.Begin(trace.Store)
	x.corp, owner, x.waited = x.gw.Tokens.Owner(x.ctx, x.tokens[0])
	endAsking(asking, x.waited > 0, owner == account.Unreachable)
	setting, named := x.gate.Config.UnknownToken, x.namedBySetting(owner)
	switch {
	case owner == account.Known:
		x.by = gate.ByToken
		x.compareNames()
		return judged, nil
	case setting == config.Auto:
		return x.attribute(owner, mayPass)
	case named != "":
		x.corp, x.by = named, gate.BySetting
		return judged, nil
	case setting == config.Pass && owner != account.Unreachable: // else Redis may know it as a lapsed account's
		return judged, nil
	case mayPass && !x.judgedFor(""):
		return unread, nil
	}
	return refused, x.refuseUnknown(owner, policy.NamesIgnored)
}

// namedBySetting returns the account that unknown_token names for a token, "" if it names none.
// While Redis cannot tell whose the token is, it may be another account's, if there is one.
func (v *request) namedBySetting(o account.Owner) string {
	a := v.gate.Accounts.Find(v.gate.Config.UnknownToken)
	if a == nil || o == account.Unreachable && v.gate.OnlyAccount() == nil {
		return ""
	}
	return a.CorpID
}

// attribute finds the corp of a call with an unknown token by what else the call names.
func (x *apiRequest) attribute(owner account.Owner, mayPass bool) (next, *gate.Judgement) {
	signs, unreachable := x.signs(), owner == account.Unreachable
	found := x.gate.Attribute(signs)
	ask := x.gate.OnlyAccount() == nil && !signs.Several && found.Other == "" && gate.MayNameOwner(x.head.Route)
	if (found.Corp == "" || found.Other != "" || ask) && mayPass && !x.judgedFor("") {
		if found.Other == "" {
			x.corp, x.by = found.Corp, found.By
		}
		return unread, nil
	}
	if ask {
		var away, ok bool
		if signs.Body, signs.ByBody, away, ok = x.ownerInBody(); !ok {
			return answered, nil
		}
		found, unreachable = x.gate.Attribute(signs), unreachable || away
	}
	switch {
	case found.Other != "":
		x.contradiction(contradictsItself, "a call names two accounts, and its token is unknown: it is refused", found.Corp, found.Other)
		return refused, x.reject(policy.CorpContradiction, found.Corp+" and "+found.Other)
	case found.Corp != "":
		x.corp, x.by = found.Corp, found.By
		return judged, nil
	case unreachable:
		return refused, x.ownerUnavailable()
	}
	why := ""
	if signs.Several {
		why = policy.NamedSeveral
	}
	return refused, x.refuseUnknown(account.Unknown, why)
}

// signs returns the accounts that the head of a call with an unknown token names.
func (x *apiRequest) signs() gate.Signs {
	s := gate.Signs{Path: x.pathCorp, Host: x.hostCorp}
	if x.gate.OnlyAccount() != nil || len(x.tokens) == 0 {
		return s
	}
	named := s.Path
	switch {
	case s.Path == "":
		named = s.Host
	case s.Host != "" && s.Host != s.Path:
		named = ""
	}
	if s.Several = x.gw.Tokens.Named(x.tokens[0], named); s.Several {
		x.contradiction(contradictsEarlier, "calls with one unknown token have named several accounts: it belongs to none of them for the rest of its life", s.Path, s.Host)
	}
	return s
}

// ownerInBody returns the account that owns the channel or the one-time code in the body of a kf
// call. unreachable means that Redis could not be asked for it. ok is false if the call has been
// answered.
func (x *apiRequest) ownerInBody() (corp string, by gate.By, unreachable, ok bool) {
	body, more, ok := x.readBodyOnce()
	if !ok || more != nil {
		return "", gate.ByNone, false, ok
	}
	facts, err := x.readFacts(body)
	if err != nil { // it names none plainly
		return "", gate.ByNone, false, true
	}
	began, asking := x.gw.Now(), x.trace.Begin(trace.Store)
	defer func() {
		took := x.gw.Now().Sub(began)
		x.waited += took
		endAsking(asking, took > 0, unreachable)
	}()
	if facts.Channel == "" && facts.Code == "" && x.head.Route.Endpoint.TakesChannel() {
		facts.Channel = wecom.ReadChannel(x.sent(body, true))
	}
	if facts.Channel != "" {
		corp, unreachable = x.ownerOfChannel(facts.Channel)
		return corp, gate.ByChannel, unreachable, true
	}
	if facts.Code == "" {
		return "", gate.ByNone, false, true
	}
	corp, err = x.gw.Windows.CorpOfCode(x.ctx, facts.Code)
	if x.gate.Accounts.Find(corp) == nil {
		corp = ""
	}
	return corp, gate.ByCode, err != nil, true
}

// ownerOfChannel returns the one account that a channel belongs to, "" if there is none.
// unreachable means that Redis could not be asked.
func (v *request) ownerOfChannel(channel string) (corp string, unreachable bool) {
	if listed := v.gate.Accounts.OfChannel(channel); listed != nil {
		if learnt := v.gw.Tokens.LearntChannel(channel); learnt != "" && learnt != listed.CorpID {
			v.contradiction(contradictsChannel, "accounts[].channels lists a channel that was seen with another corp's token: it belongs to neither", listed.CorpID, learnt)
			return "", false
		}
		return listed.CorpID, false
	}
	corp, owner := v.gw.Tokens.OwnerOfChannel(v.ctx, channel)
	if v.gate.Accounts.Find(corp) == nil {
		corp = ""
	}
	return corp, owner == account.Unreachable
}

// withoutOneToken is findCorp for a call that carries no access token, or perhaps several.
func (x *apiRequest) withoutOneToken(mayPass bool) (next, *gate.Judgement) {
	known, owners, unreachable := x.knownOwner()
	switch {
	case known != "":
		x.corp, x.by = known, gate.ByToken
		x.compareNames()
		return judged, nil
	case mayPass && len(x.tokens) == 0 && wecom.HasOtherCredential(x.query) && x.gate.PassesWithoutAccount(x.head.Route):
		return unread, nil
	case mayPass && !x.judgedFor(owners...):
		return unread, nil
	case len(x.tokens) == 0:
		return refused, x.reject(policy.MissingToken, "")
	case unreachable:
		return refused, x.ownerUnavailable()
	}
	return refused, x.reject(policy.AmbiguousCredential, "")
}

// knownOwner returns the corp that owns all tokens of a call, "" if there is none or it is not
// known, and who may have made it: the owner of each token, "" if it is not known. unreachable
// means that the tokens may belong to one corp, and that Redis could not be asked.
func (x *apiRequest) knownOwner() (corp string, owners []string, unreachable bool) {
	asking := x.trace.Begin(trace.Store)
	defer func() { endAsking(asking, x.waited > 0, unreachable) }()
	one := len(x.tokens) > 0 && len(x.tokens) <= wecom.MaxTokens
	if !one {
		owners = append(owners, "")
	}
	for _, token := range x.tokens[:min(len(x.tokens), wecom.MaxTokens)] {
		owner, o := "", account.Unknown
		if token != "" {
			var waited time.Duration
			owner, o, waited = x.gw.Tokens.Owner(x.ctx, token)
			x.waited += waited
		}
		if owner == "" && token != "" {
			owner = x.namedBySetting(o)
		}
		switch {
		case owner != "":
			one = one && (corp == "" || corp == owner)
			corp = owner
		case o == account.Unreachable:
			unreachable = true
		default:
			one = false
		}
		owners = append(owners, owner)
	}
	if unreachable = unreachable && one; unreachable || !one {
		corp = ""
	}
	return corp, owners, unreachable
}

// judgedFor reports whether the call is judged if one of some corps makes it; "" means any
// account. It sets the inspections by which reject refuses it.
func (x *apiRequest) judgedFor(corps ...string) bool {
	x.inspections = policy.Inspections{}
	for _, corp := range corps {
		if corp == "" {
			x.inspections = x.inspections.Stricter(x.gate.InspectAnyone(x.head.Route, x.client(), x.head.At))
		} else {
			x.inspections = x.inspections.Stricter(x.gate.Inspect(x.head.Route, corp, x.client(), x.head.At).Inspections)
		}
	}
	return x.inspections.Overall != policy.InspectNone
}

// compareNames says so if a call names another account than the one that its token is known to
// belong to. The token is right.
func (x *apiRequest) compareNames() {
	for _, named := range []string{x.pathCorp, x.hostCorp} {
		if named != "" && named != x.corp {
			x.contradiction(contradictsToken, "a call names another account than the one that its token belongs to: it counts as the token's", x.corp, named)
		}
	}
}

// compareChannel is compareNames for the channel that a call names.
func (x *apiRequest) compareChannel(channel string) {
	if listed := x.gate.Accounts.OfChannel(channel); listed != nil && x.by == gate.ByToken && listed.CorpID != x.corp {
		x.contradiction(contradictsToken, "a call names another account's channel than one of the account that its token belongs to: it counts as the token's", x.corp, listed.CorpID)
	}
}

// refuseUnknown judges a call whose caller stays unknown. For a few seconds it is answered as with
// an expired token, so that the bot fetches its next one through the gateway, which then knows
// whose it is. why tells why nothing but the token says so, "" if the bot or the operator can name
// the account.
func (x *apiRequest) refuseUnknown(o account.Owner, why string) *gate.Judgement {
	setting := x.gate.Config.UnknownToken
	switch {
	case o == account.Unreachable: // Redis may know it
		return x.ownerUnavailable()
	case setting != config.Refuse && x.gw.Tokens.Reauthenticate(x.tokens[0], x.retry(setting)):
		return x.rejectAs(x.gate.Engine.Reauthenticate(x.capability()))
	}
	return x.reject(policy.UnknownToken, why)
}

// maxRetryBody is how much of a body tells calls apart.
const maxRetryBody = 4 << 10

// retry tells the call from others: by method, path, query and the beginning of the body, or its
// length where the body was not read. That takes some different calls for the same one, never one
// for several.
func (x *apiRequest) retry(setting string) account.Retry {
	var call bytes.Buffer
	fmt.Fprintf(&call, "%s %s?", x.rc.Method(), x.head.Route.Path)
	for pair := range bytes.SplitSeq(x.query, []byte{'&'}) {
		if !bytes.HasPrefix(pair, []byte("access_token=")) {
			call.Write(append(pair[:len(pair):len(pair)], '&'))
		}
	}
	fmt.Fprintf(&call, " %d ", x.rc.Request.Header.ContentLength())
	call.Write(x.body[:min(len(x.body), maxRetryBody)])
	return account.Retry{Call: call.String(), Caller: x.remote().String(), Anew: setting == config.Reauthenticate}
}

// sent is the call as it goes to WeCom.
func (x *apiRequest) sent(body []byte, hasBody bool) wecom.Sent {
	types, encodings := http1.ContentHeaders(x.rc.Request.Header.RawHeaders())
	return wecom.Sent{Query: x.query, Body: body, HasBody: hasBody, Types: types, Encodings: encodings}
}

// readBodyOnce reads a body for those who judge the call, once.
func (x *apiRequest) readBodyOnce() (body []byte, more io.Reader, ok bool) {
	if !x.bodyRead {
		x.body, x.more, ok = x.readUpTo(x.gate.Config.Limits.JudgedBody)
		if !ok {
			return nil, nil, false
		}
		x.bodyRead = true
	}
	return x.body, x.more, true
}

// readFacts reads what the body of the call says.
func (x *apiRequest) readFacts(body []byte) (wecom.Facts, error) {
	types, encodings := http1.ContentHeaders(x.rc.Request.Header.RawHeaders())
	return gate.ReadFacts(x.head.Route.Endpoint, x.query, types, encodings, body)
}

// countCaller counts by what the corp of a call was found.
func (x *apiRequest) countCaller() {
	if x.counted {
		return
	}
	x.counted = true
	x.gw.Metrics.attributed[x.by].Inc()
	if x.by == gate.ByOnlyAccount && x.pathCorp == "" && x.hostCorp == "" && !x.namesOwnChannel() {
		x.gw.unattributed.add(x.at)
	}
}

// namesOwnChannel reports whether a call most likely names a channel that its account lists.
func (x *apiRequest) namesOwnChannel() bool {
	a := x.gate.Accounts.Find(x.corp)
	return a != nil && a.ListsChannels() && gate.MayNameOwner(x.head.Route)
}

// The kinds of contradictions that are counted.
const (
	contradictsToken   = "token"   // the call names another account than its known token's
	contradictsItself  = "call"    // the call names two accounts, and its token is unknown
	contradictsEarlier = "earlier" // calls with one unknown token have named several accounts
	contradictsChannel = "channel" // a channel was seen with two corps
	contradictsLearnt  = "learnt"  // a token was handed out for two corps
)

var contradictions = []string{contradictsToken, contradictsItself, contradictsEarlier, contradictsChannel, contradictsLearnt}

// contradiction counts that two things name two corps, and logs it.
func (v *request) contradiction(kind, what, corp string, others ...string) {
	v.gw.Metrics.contradictions.WithLabelValues(kind).Inc()
	v.gw.Log.Error(what, zap.String("contradiction", kind), zap.String("corp_id", corp), zap.Strings("other", others))
}

// lastDay counts what happened within 24 hours, to the hour.
type lastDay struct {
	mu    sync.Mutex
	hours [25]struct{ hour, n int64 }
}

func (d *lastDay) add(now time.Time) {
	hour := now.Unix() / 3600
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.hours[hour%int64(len(d.hours))]
	if h.hour != hour {
		h.hour, h.n = hour, 0
	}
	h.n++
}

func (d *lastDay) count(now time.Time) (n int64) {
	hour := now.Unix() / 3600
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hours {
		if hour-h.hour < int64(len(d.hours)) {
			n += h.n
		}
	}
	return n
}

// AttributedAlone is how many calls of the last day were attributed only because exactly one
// account is configured.
func (g *Gateway) AttributedAlone() int64 { return g.unattributed.count(g.Now()) }

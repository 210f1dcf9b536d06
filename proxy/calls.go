package proxy

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"replygate/calls"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
)

// ambiguousPath is the path under which calls are counted whose path has several readings.
const ambiguousPath = "ambiguous"

// countCall counts the call for its account, once it is answered. It never asks Redis.
func (x *apiRequest) countCall() {
	c := x.gw.Calls
	if c == nil || x.head.Route.Path == "" || x.isOwn() {
		return
	}
	call := calls.Call{Corp: x.corpInMemory(), Path: ambiguousPath, Client: x.countedClient()}
	if !x.head.Route.Ambiguous() {
		call.Path = x.head.Route.Endpoint.Path
	}
	c.Count(x.at, call, x.countedOutcome())
}

// corpInMemory returns the corp that the call belongs to, as far as it is known without a round
// trip: a call that no rule can refuse is sent without asking whose it is.
func (x *apiRequest) corpInMemory() string {
	if x.corp != "" {
		return x.corp
	}
	if x.gate.AlwaysPasses(x.head.Route) { // else whoever judged it has looked
		if corp := x.gw.callers.find(x.query); corp != "" {
			return corp
		}
		x.readClaims()
		if len(x.tokens) == 1 {
			if corp := x.gw.Tokens.KnownOwner(x.tokens[0]); corp != "" {
				x.gw.callers.add(x.query, corp)
				return corp
			}
		}
	}
	switch only := x.gate.OnlyAccount(); {
	case x.pathCorp != "" && (x.hostCorp == "" || x.hostCorp == x.pathCorp):
		return x.pathCorp
	case x.pathCorp == "" && x.hostCorp != "":
		return x.hostCorp
	case only != nil && x.pathCorp == "":
		return only.CorpID
	}
	return calls.Unknown
}

// countedClient returns what the caller is, also where no rule asks. It looks once: the count and
// the record of a call both ask.
func (x *apiRequest) countedClient() string {
	switch {
	case x.head.Who.Client != "":
		return x.head.Who.Client
	case len(x.gate.Clients) == 0:
		return config.UnknownClient
	case x.found == "":
		x.found, _ = x.gate.Clients.Find(x.remote(), func(header, text string) (bool, bool) {
			return bytes.Contains(x.rc.Request.Header.Peek(header), []byte(text)), true
		})
	}
	return x.found
}

// recordedClient is countedClient for records, which do not name a client where none is configured.
func (x *apiRequest) recordedClient() string {
	if len(x.gate.Clients) == 0 {
		return ""
	}
	return x.countedClient()
}

// countedOutcome returns what the decision about a judged call tells for a rehearsal.
func (x *apiRequest) countedOutcome() (o calls.Outcome) {
	d := x.decision
	if d == nil {
		return 0
	}
	if !d.Go {
		o |= calls.Refused
	}
	if d.Reason == policy.ShadowMode && x.judged.Shadow != nil {
		d = x.judged.Shadow // what the facts tell
	}
	switch {
	case d.Reason == policy.AmbiguousBody:
		o |= calls.Ambiguous
	case d.Capability != wecom.KfReply:
	case d.Reason == policy.WindowOpen, d.Reason == policy.WindowRemembered:
		o |= calls.Inside
	case d.Reason == policy.WindowClosed, d.Reason == policy.WindowShut, d.Reason == policy.RepliesUsedUp:
		o |= calls.Outside
	}
	return o
}

// callerCache remembers the corps of a few thousand tokens by a fast hash. It is for counts alone:
// a collision would count a call for another account.
type callerCache struct {
	slots [4096]atomic.Pointer[cachedCaller]
}

type cachedCaller struct {
	hash uint64 // of the token as it is written
	corp string
}

var callerSeed = maphash.MakeSeed()

// hashToken hashes the first access_token of a query as it is written; 0 if there is none.
func hashToken(query []byte) uint64 {
	_, token, found := bytes.Cut(query, []byte("access_token="))
	if !found {
		return 0
	}
	if end := bytes.IndexByte(token, '&'); end >= 0 {
		token = token[:end]
	}
	return maphash.Bytes(callerSeed, token)
}

func (c *callerCache) find(query []byte) (corp string) {
	h := hashToken(query)
	if known := c.slots[h%uint64(len(c.slots))].Load(); known != nil && known.hash == h && h != 0 {
		return known.corp
	}
	return ""
}

func (c *callerCache) add(query []byte, corp string) {
	if h := hashToken(query); h != 0 {
		c.slots[h%uint64(len(c.slots))].Store(&cachedCaller{h, corp})
	}
}

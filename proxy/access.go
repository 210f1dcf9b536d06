package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
)

// AccessRecord is the line that every request leaves. It holds no query, no body and no header.
// docs/records.schema.json describes all records.
type AccessRecord struct {
	Method     string
	Path       string // of the catalogue; a shortened one for a path that it lacks
	Capability wecom.Capability
	CorpID     string
	Client     string     // what the caller is; "" if no clients are configured
	Remote     netip.Addr // of the caller
	Status     int
	Verdict    string // of a judged call; error if the gateway answered by itself without a decision
	DecisionID string // of a judged call, or of such an answer
	ErrorKind  string // why the gateway answered by itself without a decision
	TraceID    string // of a call that is sampled
	Duration   time.Duration
	Wait       policy.WaitOutcome // of a call that was unsure; "" if it did not wait
	Waited     time.Duration
}

// CallbackRecord is the line that every callback leaves. It holds no query, no body and no
// customer.
type CallbackRecord struct {
	Method     string
	Path       string // of the configuration
	Kind       string // of callbacks.tsv, other, or none if it could not be read
	Result     string
	Cause      wecom.Cause // what of it did not fit, "" if it was verified
	CorpID     string
	Remote     netip.Addr // of the caller
	Status     int
	DecisionID string // of an answer of the gateway's own that is a failure
	ErrorKind  string // why the gateway answered in the bot's stead
	Bot        string // the address of a bot that gave no whole answer
	BotError   string // why it did not
	Duration   time.Duration
}

// DecisionRecord is the line that every judged call leaves: the decision and the facts it was made
// from, so that it can be judged once more by other rules (replygate replay).
type DecisionRecord struct {
	ID       string
	At       time.Time
	CorpID   string
	Account  string
	Standing string
	By       gate.By // how its corp was found
	Client   string
	Remote   netip.Addr // of the caller
	Agent    []byte     // its User-Agent
	Endpoint string
	Wait     policy.WaitOutcome // "" if it did not wait
	Waited   time.Duration
	Judged   *gate.Judgement
	TraceID  string
	Fault    string                 // why the gateway answered by itself, though the call was to go on
	Cause    string                 // of a Fault: why WeCom gave no whole answer
	Hash     func(id string) string // of customers' ids; nil: they are logged as they are
}

// maxLoggedIDs bounds the ids of one record.
const maxLoggedIDs = 20

// finish marks the answer with the decision, leaves the records of an exchange and counts it.
func (x *apiRequest) finish() {
	x.closeConnection()
	x.endWait()
	if x.probe {
		return
	}
	x.countCall()
	now := x.gw.Now()
	r := &x.access
	*r = AccessRecord{
		Method: method(x.rc.Method()), Path: x.loggedPath(), Capability: x.capability(), CorpID: x.corp, Client: x.recordedClient(), Remote: x.remote(),
		Status: x.rc.Response.StatusCode(), DecisionID: x.id, ErrorKind: x.errorKind, Duration: now.Sub(x.at),
		Wait: x.waitOutcome(), Waited: x.wait.took, TraceID: x.trace.ID(),
	}
	if x.decision != nil {
		x.mark()
		r.Verdict = x.decision.Verdict.String()
		x.gw.Metrics.decision(x.decision)
		x.gate.Count(&x.judged, now)
		if x.judged.Shadow != nil {
			x.gw.Metrics.shadow(x.judged.Shadow)
		}
		records := x.gw.Refusals
		if x.decision.Go {
			records = x.gw.Decisions
		}
		x.record = x.decisionRecord(r.Path)
		records.Add(now, "decision", &x.record)
	} else if x.id != "" {
		r.Verdict = verdictError
		f := x.failure(x.corp, r.Path)
		f.Account, f.Capability, f.Forwarded, f.Cause = x.name, r.Capability, x.forwarded, x.cause
		f.Client, f.TraceID = r.Client, r.TraceID
		x.gw.Refusals.Add(now, "decision", f)
	}
	x.gw.Metrics.request(r, x.decision != nil)
	if r.Wait != "" {
		x.gw.Metrics.waited(r.Wait, r.Waited)
	}
	x.gw.Access.Add(now, "request", r)
	x.endTrace(r)
}

// method returns a known method, else other: what a client makes up does not belong in logs and
// labels.
func method(m []byte) string {
	for _, known := range []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		if string(m) == known {
			return known
		}
	}
	return "other"
}

// loggedPath is the catalogue's path, or what is safe to show of another one: a secret that a
// client put into a path must not stay readable.
func (x *apiRequest) loggedPath() string {
	if !x.head.Route.Ambiguous() && x.head.Route.Endpoint.Path == x.head.Route.Path {
		return x.head.Route.Path
	}
	var out []byte
	for i, segment := range bytes.Split(x.path, []byte{'/'}) {
		if i > 0 {
			out = append(out, '/')
		}
		out = append(out, shown(segment)...)
		if len(out) > 128 {
			return string(out[:128]) + "…"
		}
	}
	return string(out)
}

// shown is a path segment, or … if it is too long or odd to be a name.
func shown(segment []byte) []byte {
	if len(segment) > 40 {
		return []byte("…")
	}
	for _, c := range segment {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return []byte("…")
		}
	}
	return segment
}

func (x *apiRequest) decisionRecord(path string) DecisionRecord {
	r := DecisionRecord{
		ID: x.id, At: x.head.At, CorpID: x.corp, Account: x.name, Standing: string(x.head.Who.Standing), By: x.by, Client: x.access.Client,
		Endpoint: path, Judged: &x.judged, Fault: x.errorKind, Cause: x.cause, Remote: x.access.Remote, Agent: x.rc.Request.Header.UserAgent(),
		Wait: x.waitOutcome(), Waited: x.wait.took, TraceID: x.trace.ID(),
	}
	if x.gate.Config.Log.IDs == config.Hashed {
		r.Hash = HasherOf(x.gate.Config.Log.IDsKey)
	}
	return r
}

// HasherOf returns what hides ids: without the key none can be found by trying those there are.
func HasherOf(key config.Secret) func(id string) string {
	return func(id string) string {
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		mac.Write([]byte(id))
		return "h:" + hex.EncodeToString(mac.Sum(nil)[:16])
	}
}

package proxy

import (
	"bytes"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"replygate/policy"
	"replygate/wecom"
)

// AccessRecord is the line that every request leaves. It holds no query, no body and no header.
type AccessRecord struct {
	Method     string
	Path       string // of the catalogue; a shortened one for a path that it lacks
	Capability wecom.Capability
	CorpID     string
	Status     int
	Verdict    string // of a judged call
	DecisionID string // of a judged call
	Fault      string // why the gateway answered by itself without a decision
	Duration   time.Duration
}

// MarshalLogObject writes the record's fields.
func (r AccessRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("method", r.Method)
	e.AddString("path", r.Path)
	e.AddInt("status", r.Status)
	e.AddFloat64("duration_ms", float64(r.Duration.Microseconds())/1000)
	addStrings(e, "capability", string(r.Capability), "corp_id", r.CorpID, "verdict", r.Verdict,
		"decision_id", r.DecisionID, "fault", r.Fault)
	return nil
}

// CallbackRecord is the line that every callback leaves. It holds no query, no body and no customer.
type CallbackRecord struct {
	Method   string
	Path     string // of the configuration
	Kind     string // of callbacks.tsv, other, or none if it could not be read
	Result   string
	CorpID   string
	Status   int
	Fault    string // why the gateway answered in the bot's stead
	Duration time.Duration
}

// MarshalLogObject writes the record's fields.
func (r CallbackRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("method", r.Method)
	e.AddString("path", r.Path)
	e.AddString("kind", r.Kind)
	e.AddInt("status", r.Status)
	e.AddFloat64("duration_ms", float64(r.Duration.Microseconds())/1000)
	addStrings(e, "result", r.Result, "corp_id", r.CorpID, "fault", r.Fault)
	return nil
}

// addStrings adds names and values by turns, without the empty values.
func addStrings(e zapcore.ObjectEncoder, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			e.AddString(pairs[i], pairs[i+1])
		}
	}
}

// DecisionRecord is the line that every judged call leaves: the decision and the facts it was made from.
type DecisionRecord struct {
	ID       string
	At       time.Time
	CorpID   string
	Account  string
	Standing string
	Endpoint string
	Facts    wecom.Facts
	Decision policy.Decision
}

// maxLoggedIDs bounds the ids of one record.
const maxLoggedIDs = 20

// MarshalLogObject writes the record's fields.
func (r DecisionRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	d := r.Decision
	e.AddString("id", r.ID)
	e.AddString("at", r.At.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	e.AddString("corp_id", r.CorpID)
	e.AddString("account", r.Account)
	e.AddString("standing", r.Standing)
	e.AddString("endpoint", r.Endpoint)
	e.AddString("capability", string(d.Capability))
	e.AddString("verdict", d.Verdict.String())
	e.AddString("reason", string(d.Reason))
	e.AddString("rule", d.Rule)
	e.AddBool("forwarded", d.Go)
	if !d.Go {
		e.AddInt("errcode", d.Errcode)
	}
	if r.Facts.MsgType != "" {
		e.AddString("msgtype", r.Facts.MsgType)
	}
	if len(r.Facts.Customers) > 0 {
		e.AddString("channel", r.Facts.Channel)
		e.AddInt("recipients", len(r.Facts.Customers))
		zap.Strings("customers", r.Facts.Customers[:min(len(r.Facts.Customers), maxLoggedIDs)]).AddTo(e)
	}
	if !d.Closes.IsZero() {
		e.AddString("window_closes", d.Closes.UTC().Format(time.RFC3339Nano))
	}
	if d.Left >= 0 {
		e.AddInt("replies_left", d.Left)
	}
	return nil
}

// finish leaves the records of an exchange and counts it.
func (x *exchange) finish() {
	if x.hangUp || x.Draining() {
		x.rc.SetConnectionClose()
	}
	r := AccessRecord{
		Method: method(x.rc.Method()), Path: x.loggedPath(), Capability: x.capability(), CorpID: x.corp,
		Status: x.rc.Response.StatusCode(), DecisionID: x.id, Fault: x.fault, Duration: time.Since(x.start),
	}
	if x.decision != nil {
		r.Verdict = x.decision.Verdict.String()
		x.Metrics.decision(x.decision)
		records := x.Refusals
		if x.decision.Go {
			records = x.Decisions
		}
		records.Info("decision", zap.Inline(DecisionRecord{
			ID: x.id, At: x.at, CorpID: x.corp, Account: x.name, Standing: string(x.standing),
			Endpoint: r.Path, Facts: x.facts, Decision: *x.decision,
		}))
	}
	x.Metrics.request(r)
	x.Access.Info("request", zap.Inline(r))
}

// method keeps to the methods there are: a client's own words do not belong in logs and labels.
func method(m []byte) string {
	for _, known := range []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		if string(m) == known {
			return known
		}
	}
	return "other"
}

// loggedPath is the catalogue's path, or what is safe to show of another one: a secret that a client
// put into a path must not stay readable.
func (x *exchange) loggedPath() string {
	if !x.route.Odd() && x.route.Endpoint.Path == x.route.Path {
		return x.route.Path
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

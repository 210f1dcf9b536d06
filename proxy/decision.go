package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"replygate/config"
	"replygate/gate"
	"replygate/window"
)

// DecisionRecord is the line that every judged call leaves: the decision and the facts it was made from, so that
// it can be judged once more by other rules (replygate replay).
type DecisionRecord struct {
	ID       string
	At       time.Time
	CorpID   string
	Account  string
	Standing string
	Client   string
	Endpoint string
	Judged   gate.Judgement
	Hash     func(id string) string // of customers' ids and codes; nil: they stand as they are
}

// maxLoggedIDs bounds the ids of one record.
const maxLoggedIDs = 20

func (x *exchange) decisionRecord(path string) DecisionRecord {
	r := DecisionRecord{
		ID: x.id, At: x.at, CorpID: x.corp, Account: x.name, Standing: string(x.Who.Standing), Client: x.Who.Client,
		Endpoint: path, Judged: x.judged,
	}
	if x.Config.Log.IDs == config.Hashed {
		r.Hash = hasherOf(x.Config.Log.IDsKey)
	}
	return r
}

// hasherOf hides ids: without the key none can be found by trying those there are.
func hasherOf(key config.Secret) func(id string) string {
	return func(id string) string {
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		mac.Write([]byte(id))
		return "h:" + hex.EncodeToString(mac.Sum(nil)[:16])
	}
}

// MarshalLogObject writes the record's fields.
func (r DecisionRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	d, f := &r.Judged.Decision, &r.Judged.Facts
	e.AddString("id", r.ID)
	e.AddString("at", stamp(r.At))
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
	if r.Judged.Read {
		e.AddBool("read", true)
	}
	addStrings(e, "client", r.Client, "msgtype", f.MsgType, "also", string(f.Also))
	if f.Implicit {
		e.AddBool("implicit", true)
	}
	if len(f.Groups) > 0 {
		e.AddInt("groups", len(f.Groups))
	}
	r.addCustomers(e)
	r.addCode(e)
	if !d.Closes.IsZero() {
		e.AddString("window_closes", d.Closes.UTC().Format(time.RFC3339Nano))
	}
	if d.Left >= 0 {
		e.AddInt("replies_left", d.Left)
	}
	if len(d.Rest) > 0 {
		e.AddInt("trimmed", len(d.Rest))
	}
	if would := r.Judged.Shadow; would != nil {
		return e.AddObject("shadow", zapcore.ObjectMarshalerFunc(func(e zapcore.ObjectEncoder) error {
			e.AddString("verdict", would.Verdict.String())
			e.AddString("reason", string(would.Reason))
			e.AddString("rule", would.Rule)
			return nil
		}))
	}
	return nil
}

// addCustomers writes whom the call names, and what their windows said.
func (r DecisionRecord) addCustomers(e zapcore.ObjectEncoder) {
	f := &r.Judged.Facts
	if len(f.Customers) > 0 {
		e.AddString("channel", f.Channel)
		e.AddInt("recipients", len(f.Customers))
		ids := f.Customers[:min(len(f.Customers), maxLoggedIDs)]
		if r.Hash != nil {
			ids = hashed(ids, r.Hash)
		}
		zap.Strings("customers", ids).AddTo(e)
	}
	if answers := r.Judged.Evidence.Windows; len(answers) > 0 {
		_ = e.AddArray("windows", zapcore.ArrayMarshalerFunc(func(a zapcore.ArrayEncoder) error {
			for _, w := range answers[:min(len(answers), maxLoggedIDs)] {
				_ = a.AppendObject(windowRecord(w)) // it does not fail
			}
			return nil
		}))
	}
}

func hashed(ids []string, hash func(string) string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = hash(id)
	}
	return out
}

// windowRecord is what a window said: its state, the customer's last message, the replies left.
type windowRecord window.Answer

// MarshalLogObject writes the record's fields.
func (w windowRecord) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("state", w.State.String())
	if !w.Last.IsZero() {
		e.AddInt64("last", w.Last.UnixMilli())
	}
	if w.Left >= 0 {
		e.AddInt("left", w.Left)
	}
	return nil
}

// addCode writes what was known of the call's one-time code, and not the code itself.
func (r DecisionRecord) addCode(e zapcore.ObjectEncoder) {
	if r.Judged.Facts.Code == "" {
		return
	}
	code := r.Judged.Evidence.Code
	e.AddBool("with_code", true)
	if !code.Asked() {
		return
	}
	e.AddString("code_state", code.State.String())
	addStrings(e, "code_kind", code.Code.Kind)
	if !code.Code.Deadline.IsZero() {
		e.AddInt64("code_deadline", code.Code.Deadline.UnixMilli())
	}
}

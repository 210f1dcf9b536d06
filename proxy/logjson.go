package proxy

import (
	"net/netip"
	"strconv"
	"time"

	"replygate/gate"
	"replygate/policy"
	"replygate/record"
	"replygate/wecom"
)

// AppendJSON appends the record's members.
func (r *AccessRecord) AppendJSON(b []byte) []byte {
	b = wecom.AppendMember(b, `"method":`, r.Method)
	b = wecom.AppendMember(b, `,"path":`, r.Path)
	b = number(b, `,"status":`, int64(r.Status))
	b = millis(b, `,"duration_ms":`, r.Duration)
	b = stringIf(b, `,"capability":`, string(r.Capability))
	b = stringIf(b, `,"corp_id":`, r.CorpID)
	b = stringIf(b, `,"client":`, r.Client)
	b = appendRemote(b, r.Remote)
	b = stringIf(b, `,"verdict":`, r.Verdict)
	b = stringIf(b, `,"decision_id":`, r.DecisionID)
	b = appendWait(b, r.Wait, r.Waited)
	b = stringIf(b, `,"trace_id":`, r.TraceID)
	return stringIf(b, `,"error_kind":`, r.ErrorKind)
}

// AppendJSON appends the record's members.
func (r *CallbackRecord) AppendJSON(b []byte) []byte {
	b = wecom.AppendMember(b, `"method":`, r.Method)
	b = wecom.AppendMember(b, `,"path":`, r.Path)
	b = wecom.AppendMember(b, `,"kind":`, r.Kind)
	b = number(b, `,"status":`, int64(r.Status))
	b = millis(b, `,"duration_ms":`, r.Duration)
	b = stringIf(b, `,"result":`, r.Result)
	b = stringIf(b, `,"cause":`, string(r.Cause))
	b = stringIf(b, `,"corp_id":`, r.CorpID)
	b = appendRemote(b, r.Remote)
	b = stringIf(b, `,"decision_id":`, r.DecisionID)
	b = stringIf(b, `,"error_kind":`, r.ErrorKind)
	b = stringIf(b, `,"bot":`, r.Bot)
	return stringIf(b, `,"bot_error":`, r.BotError)
}

// AppendJSON appends the record's members, those that a decision has by the same names.
func (r *FailureRecord) AppendJSON(b []byte) []byte {
	b = wecom.AppendMember(b, `"id":`, r.ID)
	b = append(record.AppendTime(append(b, `,"at":"`...), r.At), '"')
	b = wecom.AppendMember(b, `,"corp_id":`, r.CorpID)
	b = wecom.AppendMember(b, `,"account":`, r.Account)
	b = wecom.AppendMember(b, `,"endpoint":`, r.Endpoint)
	b = stringIf(b, `,"capability":`, string(r.Capability))
	b = wecom.AppendMember(b, `,"verdict":`, verdictError)
	b = wecom.AppendMember(b, `,"reason":`, r.Reason)
	b = stringIf(b, `,"cause":`, r.Cause)
	b = wecom.AppendMember(b, `,"rule":`, "")
	b = strconv.AppendBool(append(b, `,"forwarded":`...), r.Forwarded)
	b = number(b, `,"errcode":`, int64(r.Errcode))
	b = stringIf(b, `,"client":`, r.Client)
	b = appendRemote(b, r.Remote)
	return stringIf(b, `,"trace_id":`, r.TraceID)
}

// AppendJSON appends the record's members.
func (r *DecisionRecord) AppendJSON(b []byte) []byte {
	d, f := &r.Judged.Decision, &r.Judged.Facts
	b = wecom.AppendMember(b, `"id":`, r.ID)
	b = append(record.AppendTime(append(b, `,"at":"`...), r.At), '"')
	b = wecom.AppendMember(b, `,"corp_id":`, r.CorpID)
	b = wecom.AppendMember(b, `,"account":`, r.Account)
	b = wecom.AppendMember(b, `,"standing":`, r.Standing)
	if r.By > gate.ByToken {
		b = wecom.AppendMember(b, `,"attributed_by":`, r.By.String())
	}
	b = wecom.AppendMember(b, `,"endpoint":`, r.Endpoint)
	b = wecom.AppendMember(b, `,"capability":`, string(d.Capability))
	b = wecom.AppendMember(b, `,"verdict":`, d.Verdict.String())
	b = wecom.AppendMember(b, `,"reason":`, string(d.Reason))
	b = wecom.AppendMember(b, `,"rule":`, d.Rule)
	b = strconv.AppendBool(append(b, `,"forwarded":`...), d.Go)
	if !d.Go {
		b = number(b, `,"errcode":`, int64(d.Errcode))
	}
	b = appendWait(b, r.Wait, r.Waited)
	if r.Judged.Read {
		b = append(b, `,"read":true`...)
	}
	b = stringIf(b, `,"client":`, r.Client)
	b = r.appendCaller(b)
	b = stringIf(b, `,"msgtype":`, f.MsgType)
	b = stringIf(b, `,"also":`, string(f.Also))
	if f.Implicit {
		b = append(b, `,"implicit":true`...)
	}
	if f.Lenient {
		b = append(b, `,"lenient":true`...)
	}
	if len(f.Groups) > 0 {
		b = number(b, `,"groups":`, int64(len(f.Groups)))
	}
	b = r.appendCode(r.appendWindows(r.appendCustomers(b)))
	if !d.Closes.IsZero() {
		b = append(d.Closes.UTC().AppendFormat(append(b, `,"window_closes":"`...), time.RFC3339Nano), '"')
	}
	if d.Left >= 0 {
		b = number(b, `,"replies_left":`, int64(d.Left))
	}
	if len(d.Rest) > 0 {
		b = number(b, `,"trimmed":`, int64(len(d.Rest)))
	}
	b = stringIf(b, `,"fault":`, r.Fault)
	b = stringIf(b, `,"cause":`, r.Cause)
	b = stringIf(b, `,"trace_id":`, r.TraceID)
	if would := r.Judged.Shadow; would != nil {
		b = wecom.AppendMember(b, `,"shadow":{"verdict":`, would.Verdict.String())
		b = wecom.AppendMember(b, `,"reason":`, string(would.Reason))
		b = append(wecom.AppendMember(b, `,"rule":`, would.Rule), '}')
	}
	return b
}

// appendWait appends how the wait of an unsure call came out, and how long it was.
func appendWait(b []byte, how policy.WaitOutcome, waited time.Duration) []byte {
	if how == "" {
		return b
	}
	return millis(wecom.AppendMember(b, `,"wait":`, string(how)), `,"waited_ms":`, waited)
}

func (r *DecisionRecord) appendCustomers(b []byte) []byte {
	f := &r.Judged.Facts
	if len(f.Customers) == 0 {
		return b
	}
	b = wecom.AppendMember(b, `,"channel":`, f.Channel)
	b = number(b, `,"recipients":`, int64(len(f.Customers)))
	b = append(b, `,"customers":[`...)
	for i, id := range f.Customers[:min(len(f.Customers), maxLoggedIDs)] {
		if r.Hash != nil {
			id = r.Hash(id)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = wecom.AppendMember(b, "", id)
	}
	return append(b, ']')
}

// appendCaller appends what clients are told by, so that another configuration can tell them too.
func (r *DecisionRecord) appendCaller(b []byte) []byte {
	if !r.Remote.IsValid() {
		return b
	}
	b = appendRemote(b, r.Remote)
	return wecom.AppendMember(b, `,"user_agent":`, string(r.Agent[:min(len(r.Agent), gate.MaxAgent)]))
}

// appendWindows appends the windows of the call. left is what this call left of the replies, and
// counted tells that it is one of them: before it there was one more.
func (r *DecisionRecord) appendWindows(b []byte) []byte {
	answers := r.Judged.Evidence.Windows
	if len(answers) == 0 {
		answers = r.Judged.Seen
	}
	if len(answers) == 0 {
		return b
	}
	b = append(b, `,"windows":[`...)
	for i, a := range answers[:min(len(answers), maxLoggedIDs)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = wecom.AppendMember(b, `{"state":`, a.State.String())
		if !a.Last.IsZero() {
			b = number(b, `,"last":`, a.Last.UnixMilli())
		}
		if a.Left >= 0 {
			b = number(b, `,"left":`, int64(a.Left))
			b = strconv.AppendBool(append(b, `,"counted":`...), a.Reserved())
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func (r *DecisionRecord) appendCode(b []byte) []byte {
	if r.Judged.Facts.Code == "" {
		return b
	}
	b = append(b, `,"with_code":true`...)
	code := r.Judged.Evidence.Code
	if !code.Asked() {
		return b
	}
	b = wecom.AppendMember(b, `,"code_state":`, code.State.String())
	b = stringIf(b, `,"code_kind":`, code.Code.Kind)
	if !code.Code.Deadline.IsZero() {
		b = number(b, `,"code_deadline":`, code.Code.Deadline.UnixMilli())
	}
	return b
}

// appendRemote appends the address of the caller.
func appendRemote(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return b
	}
	return append(addr.AppendTo(append(b, `,"remote":"`...)), '"')
}

// stringIf appends a string after its name, unless it is empty.
func stringIf(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return wecom.AppendMember(b, name, value)
}

func number(b []byte, name string, value int64) []byte {
	return strconv.AppendInt(append(b, name...), value, 10)
}

// millis writes a duration in milliseconds, to the microsecond.
func millis(b []byte, name string, d time.Duration) []byte {
	return strconv.AppendFloat(append(b, name...), float64(d.Microseconds())/1000, 'f', -1, 64)
}

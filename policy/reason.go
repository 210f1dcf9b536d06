package policy

// Verdict is the outcome of a decision. The zero Verdict refuses.
type Verdict uint8

// The verdicts.
const (
	Refuse Verdict = iota // the call must not be forwarded
	Pass                  // the call may be forwarded
	Unsure                // cannot be decided: policy.on_unsure or policy.cold_start apply
)

// String returns refuse, pass or unsure.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Unsure:
		return "unsure"
	}
	return "refuse"
}

// WaitOutcome is how the wait of an unsure call ended; "" if the call did not wait.
type WaitOutcome string

// The outcomes of a wait.
const (
	WaitPassed      WaitOutcome = "passed"       // the call was judged again, and passed
	WaitRefused     WaitOutcome = "refused"      // the call was judged again, and refused
	WaitStillUnsure WaitOutcome = "still_unsure" // the call was still unsure after policy.unsure_wait
	WaitClientGone  WaitOutcome = "client_gone"  // the client closed its connection: the call was dropped
	WaitQueueFull   WaitOutcome = "queue_full"   // too many calls were waiting already, so this one did not wait
	WaitShutdown    WaitOutcome = "shutdown"     // the gateway stopped while the call was unsure
)

// Reason is the stable identifier of why a verdict was reached. Reasons appear in logs and metrics
// and never change.
type Reason string

// The reasons.
const (
	NotJudged  Reason = "not_judged"  // no rule can refuse the call: it passes unread and without a decision record
	RulePass   Reason = "rule_pass"   // a rule with action: pass
	RuleRefuse Reason = "rule_refuse" // a rule with action: refuse
	NoRule     Reason = "no_rule"     // no rule matches; cannot happen with a complete rule set

	WindowOpen        Reason = "window_open"        // every recipient's window is open
	WindowRemembered  Reason = "window_remembered"  // Redis is unavailable, but this gateway saw the window open
	WindowClosed      Reason = "window_closed"      // no message from the customer within the window's length
	WindowShut        Reason = "window_shut"        // WeCom or an operator closed the window
	RepliesUsedUp     Reason = "replies_used_up"    // WeCom's limit of replies to one message is reached
	HistoryIncomplete Reason = "history_incomplete" // the history has a gap, so a missing record proves nothing
	StoreUnavailable  Reason = "store_unavailable"  // Redis cannot be read, or may lack the newest messages

	RecipientsImplicit Reason = "recipients_implicit" // the call reaches customers that it does not name
	RecipientsMissing  Reason = "recipients_missing"  // the call names no customer
	RecipientsTrimmed  Reason = "recipients_trimmed"  // the call is forwarded to those customers who may be reached

	WhenFailed Reason = "when_failed" // a rule's when could not be evaluated
	ShadowMode Reason = "shadow_mode" // policy.mode is shadow: nothing is refused

	CodeLive    Reason = "code_live"    // the code of an enter_session event, before its deadline
	CodeUnknown Reason = "code_unknown" // a one-time code that the gateway has not seen, or one of another corp
	CodeUsed    Reason = "code_used"    // a message was already sent with the code
	CodeExpired Reason = "code_expired" // the code is past its deadline, and the window is not open

	UnknownToken    Reason = "unknown_token"    // the owner of the token is not known
	MissingToken    Reason = "missing_token"    // a judged call without a token
	UnlistedAccount Reason = "unlisted_account" // the token's corp is not in accounts

	CorpContradiction Reason = "corp_contradiction" // the token is unknown, and the call names two accounts

	AmbiguousPath       Reason = "ambiguous_path"       // the path has more than one reading
	AmbiguousBody       Reason = "ambiguous_body"       // the body has more than one reading, or none
	AmbiguousCredential Reason = "ambiguous_credential" // the query has more than one token
)

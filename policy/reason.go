package policy

// Verdict is what a decision says. The zero Verdict refuses.
type Verdict uint8

// The verdicts.
const (
	Refuse Verdict = iota // the call must not go on
	Pass                  // the call may go on
	Unsure                // there is no telling: policy.on_unsure or policy.cold_start say what to do
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

// WaitOutcome is how the wait of an unsure call for the end of its doubt came out; "" is a call
// that did not wait.
type WaitOutcome string

// The outcomes of a wait.
const (
	WaitPassed      WaitOutcome = "passed"       // the call was judged anew, and passed
	WaitRefused     WaitOutcome = "refused"      // the call was judged anew, and refused
	WaitStillUnsure WaitOutcome = "still_unsure" // the doubt outlasted policy.unsure_wait
	WaitClientGone  WaitOutcome = "client_gone"  // the client closed its connection: the call was dropped
	WaitQueueFull   WaitOutcome = "queue_full"   // too many calls waited already: this one did not
	WaitShutdown    WaitOutcome = "shutdown"     // the gateway stops, and the call was still unsure
)

// Reason is the stable word that goes with a verdict.
type Reason string

// The reasons.
const (
	NotJudged  Reason = "not_judged"  // no rule could refuse the call: it passes unread, and leaves no decision record
	RulePass   Reason = "rule_pass"   // a rule says pass
	RuleRefuse Reason = "rule_refuse" // a rule says refuse
	NoRule     Reason = "no_rule"     // no rule matches, which a complete rule set rules out

	WindowOpen        Reason = "window_open"        // every recipient's window is open
	WindowRemembered  Reason = "window_remembered"  // Redis is away, this gateway saw the window open
	WindowClosed      Reason = "window_closed"      // no message of the customer within the window's length
	WindowShut        Reason = "window_shut"        // WeCom said that the window is shut
	RepliesUsedUp     Reason = "replies_used_up"    // as many replies as WeCom allows for one message
	HistoryIncomplete Reason = "history_incomplete" // what is missing, or used up, proves nothing: records have a gap
	StoreUnavailable  Reason = "store_unavailable"  // Redis is away

	RecipientsImplicit Reason = "recipients_implicit" // the call reaches customers that it does not name
	RecipientsMissing  Reason = "recipients_missing"  // the call names nobody
	RecipientsTrimmed  Reason = "recipients_trimmed"  // the call goes on with those who may be reached

	WhenFailed Reason = "when_failed" // a rule's when could not be evaluated
	ShadowMode Reason = "shadow_mode" // policy.mode is shadow: nothing is refused

	CodeLive    Reason = "code_live"    // a code of a chat that the customer opened just now
	CodeUnknown Reason = "code_unknown" // a one-time code that the gateway never saw, or another corp's
	CodeUsed    Reason = "code_used"    // a message went out with the code already
	CodeExpired Reason = "code_expired" // the code's time is over, and the window is not open

	UnknownToken    Reason = "unknown_token"    // whose the token is was never learnt
	MissingToken    Reason = "missing_token"    // a judged call without a token
	UnlistedAccount Reason = "unlisted_account" // the token's corp is not in accounts

	CorpContradiction Reason = "corp_contradiction" // the token is unknown, and the call names two accounts

	AmbiguousPath       Reason = "ambiguous_path"       // the path has more than one reading
	AmbiguousBody       Reason = "ambiguous_body"       // the body has more than one reading, or none
	AmbiguousCredential Reason = "ambiguous_credential" // the query has more than one token
)

package wecom

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Cause says what of a callback does not fit its receiver, "" if everything fits.
type Cause string

// The causes, in the order in which Verify looks for them.
const (
	CauseMalformed Cause = "malformed"  // query, envelope or message are not as WeCom documents them
	CauseToken     Cause = "token"      // the signature is not by this token
	CauseKey       Cause = "key"        // this key does not decrypt it
	CauseReceiveID Cause = "receive_id" // it is encrypted for another receiver
	CauseAge       Cause = "age"        // its timestamp is further than CallbackSkew from the clock
	CauseCorp      Cause = "corp"       // it reports on another account than it is encrypted for
)

// CallbackSkew is how far the timestamp of a callback may be from the clock, in either direction.
const CallbackSkew = 10 * time.Minute

// Sealed is a callback as it arrives: signed and encrypted.
type Sealed struct {
	Signed
	Encrypt string // the ciphertext, in base64
}

// ReadSealed reads the query of a callback, and its ciphertext: of a GET from the query, else from
// the body. The error is an ErrCallback that says which part is not as documented.
func ReadSealed(get bool, query, body []byte) (Sealed, error) {
	signed, err := ReadSigned(query)
	switch {
	case err != nil:
		return Sealed{}, fmt.Errorf("%w: a parameter of the query is given twice, or is not escaped as a URL", err)
	case signed.Signature == "":
		return Sealed{}, fmt.Errorf("%w: the query has no msg_signature", ErrCallback)
	case signed.Nonce == "":
		return Sealed{}, fmt.Errorf("%w: the query has no nonce", ErrCallback)
	case get && signed.Echo == "":
		return Sealed{}, fmt.Errorf("%w: the query of a GET has no echostr", ErrCallback)
	case get:
		return Sealed{signed, signed.Echo}, nil
	}
	encrypt, err := ReadEnvelope(body)
	if err != nil {
		return Sealed{}, fmt.Errorf("%w: the body is not XML or JSON with one Encrypt", err)
	}
	return Sealed{signed, encrypt}, nil
}

// Verify decrypts a callback for one of the receivers ids. It stops at the first cause: what the
// token did not sign is not decrypted, so a sender without the token learns nothing of the key. The
// message is nil unless the cause is "", and the receiver is known from CauseReceiveID on.
func (s Sealed) Verify(c *Crypt, ids []string, now time.Time) (msg []byte, receiver string, cause Cause) {
	if !c.Verify(s.Signature, s.Timestamp, s.Nonce, s.Encrypt) {
		return nil, "", CauseToken
	}
	f := s.Fit(c, ids, now)
	if cause = f.Cause(); cause == "" {
		msg = f.Message
	}
	return msg, f.Receiver, cause
}

// Fit says of each part of a callback, by itself, whether it fits a receiver.
type Fit struct {
	Token     bool
	Key       bool
	ReceiveID bool
	Age       bool
	Receiver  string // whom it is encrypted for, known if Key is true
	Message   []byte // known if Key is true
}

// Fit compares a callback with one receiver. It decrypts also what is not signed: what it says then
// is for the operator at the command line, never for a sender.
func (s Sealed) Fit(c *Crypt, ids []string, now time.Time) Fit {
	f := Fit{Token: c.Verify(s.Signature, s.Timestamp, s.Nonce, s.Encrypt), Age: s.onTime(now)}
	msg, receiver, err := c.Open(s.Encrypt)
	if err != nil {
		return f
	}
	f.Key, f.Message, f.Receiver, f.ReceiveID = true, msg, receiver, slices.Contains(ids, receiver)
	return f
}

// Cause returns the first part that does not fit, as Verify does.
func (f Fit) Cause() Cause {
	switch {
	case !f.Token:
		return CauseToken
	case !f.Key:
		return CauseKey
	case !f.ReceiveID:
		return CauseReceiveID
	case !f.Age:
		return CauseAge
	}
	return ""
}

// Off returns how far the timestamp is from the clock, negative in the past. ok is false if it is
// not a time in Unix seconds.
func (s Signed) Off(now time.Time) (off time.Duration, ok bool) {
	seconds, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return 0, false
	}
	return time.Unix(seconds, 0).Sub(now), true
}

// onTime reports whether the timestamp is near the clock. The signature covers it, so a callback
// that is replayed later opens no window.
func (s Signed) onTime(now time.Time) bool {
	off, ok := s.Off(now)
	return ok && off.Abs() <= CallbackSkew
}

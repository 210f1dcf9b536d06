package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
)

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
	Fault    string                 // why the gateway answered by itself, though the call was to go on
	Hash     func(id string) string // of customers' ids; nil: they stand as they are
}

// maxLoggedIDs bounds the ids of one record.
const maxLoggedIDs = 20

func (x *apiRequest) decisionRecord(path string) DecisionRecord {
	r := DecisionRecord{
		ID: x.id, At: x.At, CorpID: x.corp, Account: x.name, Standing: string(x.Who.Standing), By: x.by, Client: x.Who.Client,
		Endpoint: path, Judged: &x.judged, Fault: x.errorKind, Remote: x.remote(), Agent: x.rc.Request.Header.UserAgent(),
		Wait: x.waitOutcome(), Waited: x.wait.took,
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

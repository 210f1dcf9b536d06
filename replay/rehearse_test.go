package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/replay"
)

// rehearsalLog has calls that were all forwarded, of an account in good standing and of one that
// lapsed later.
func rehearsalLog() string {
	var lines []string
	for i, state := range []string{"open", "open", "closed", "full", "shut", "unavailable"} {
		lines = append(lines, decision(fmt.Sprint(i), state, true))
	}
	for _, path := range []string{"externalcontact/get", "externalcontact/get", "externalcontact/add_msg_template", "kf/send_msg", "kf/sync_msg", "media/get", "x/new"} {
		lines = append(lines, `{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"POST","path":"/cgi-bin/`+path+`","status":200,"corp_id":"ww1"}`)
	}
	lines = append(lines,
		strings.Replace(decision("card", "open", true), `"msgtype":"text"`, `"msgtype":"business_card","also":"add_customer"`, 1),
		`{"msg":"decision","id":"odd","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"refuse","reason":"ambiguous_body","forwarded":true,"read":false}`,
		`not JSON`)
	return strings.Join(lines, "\n")
}

// A rehearsal of the day of the lapse refuses what replay refuses of the same log under a
// configuration in which the account had lapsed before, and is undecided about the same calls.
func TestRehearseAgreesWithReplay(t *testing.T) {
	lapsed := newGate(t, "") // since 2020
	c, err := config.Parse("rehearse.yaml", []byte("accounts: [{ corp_id: ww1, subscription: { expires_at: 2027-01-01T00:00:00Z, grace: 24h } }]\n"))
	if err != nil {
		t.Fatal(err)
	}
	still, err := gate.New("rehearse.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	report, err := replay.Run(lapsed, strings.NewReader(rehearsalLog()), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	at := still.Accounts.Find("ww1").LapsesAt()
	var refused, unsure, passed, undecided int
	byRule := map[string]replay.Tips{}
	unreadable, err := replay.Rehearse(&still, strings.NewReader(rehearsalLog()), func(int64) {}, func(string) (time.Time, bool) { return at, true }, func(p replay.Past) {
		switch {
		case p.Lacks != nil:
			undecided++
			return
		case p.Decision.Go:
			passed++
			return
		case p.Decision.Verdict == policy.Unsure:
			unsure++
		default:
			refused++
		}
		tips := byRule[p.Decision.Rule]
		tips.Refused++
		byRule[p.Decision.Rule] = tips
		if p.CorpID != "ww1" || p.Client != "unknown" || !p.At.Equal(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", p)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	lacking := 0
	for _, n := range report.Undecided {
		lacking += n
	}
	if refused != report.Refused || unsure != report.Unsure || passed != report.Same || undecided != lacking || unreadable != report.Unreadable {
		t.Errorf("refused %d, unsure %d, passed %d, undecided %d, unreadable %d; replay: %+v", refused, unsure, passed, undecided, unreadable, report)
	}
	if fmt.Sprint(byRule) != fmt.Sprint(report.ByRule) || refused < 6 || undecided == 0 || passed < 4 {
		t.Errorf("%v, replay: %v", byRule, report.ByRule)
	}

	before := 0
	if _, err := replay.Rehearse(&still, strings.NewReader(rehearsalLog()), func(int64) {}, func(string) (time.Time, bool) { return at.Add(-time.Second), true }, func(p replay.Past) {
		if p.Lacks == nil && !p.Decision.Go {
			before++
		}
	}); err != nil || before != 0 {
		t.Errorf("%d calls are refused a second before the lapse: %v", before, err)
	}
	if _, err := replay.Rehearse(&still, strings.NewReader(rehearsalLog()), func(int64) {}, func(string) (time.Time, bool) { return at, false }, func(p replay.Past) {
		t.Errorf("%+v", p)
	}); err != nil {
		t.Fatal(err)
	}
}

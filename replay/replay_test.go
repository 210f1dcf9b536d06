package replay_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"replygate/config"
	"replygate/gate"
	"replygate/replay"
)

func newGate(t testing.TB, rules string) *gate.Gate {
	t.Helper()
	c, err := config.Parse("replay.yaml", []byte("accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n"+rules))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("replay.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

// decision is a record of a reply whose window was in a state.
func decision(id, state string, forwarded bool) string {
	return fmt.Sprintf(`{"msg":"decision","id":%q,"at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"pass","reason":"window_open","rule":"r","forwarded":%v,"read":true,"msgtype":"text","channel":"wk","recipients":1,"customers":["wm"],"windows":[{"state":%q,"last":1795348800000,"left":3}]}`, id, forwarded, state)
}

// Every line is accounted for: judged, undecided, about something else, or not to be read.
func TestRunCountsEveryLine(t *testing.T) {
	lines := []string{
		decision("same", "open", true),
		decision("refused", "closed", true),
		decision("passed", "open", false),
		decision("unsure", "unavailable", true),
		`{"msg":"decision","id":"unread","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/kf/send_msg","verdict":"refuse","reason":"unlisted_account","forwarded":false}`,
		`{"msg":"decision","id":"odd","at":"2026-11-22T12:00:00.000Z","corp_id":"ww1","endpoint":"/cgi-bin/externalcontact/…","verdict":"refuse","reason":"ambiguous_path","forwarded":false}`,
		`{"msg":"decision","id":"nobody","at":"2026-11-22T12:00:00.000Z","corp_id":"","endpoint":"/cgi-bin/externalcontact/get","verdict":"refuse","reason":"unknown_token","forwarded":false}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"GET","path":"/cgi-bin/externalcontact/get","status":200,"corp_id":"ww1"}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","method":"POST","path":"/cgi-bin/message/send","status":200}`,
		`{"msg":"request","time":"2026-11-22T12:00:00.000Z","path":"/x","decision_id":"same"}`,
		`{"msg":"serving"}`,
		`not JSON`,
		`{"msg":"decision","id":"` + strings.Repeat("x", 2<<20) + `"}`,
		"",
	}
	read := int64(0)
	r, err := replay.Run(newGate(t, ""), strings.NewReader(strings.Join(lines, "\n")), func(n int64) { read = n })
	if err != nil {
		t.Fatal(err)
	}
	undecided := 0
	for _, n := range r.Undecided {
		undecided += n
	}
	if r.Calls != 6 || r.Same != 2 || r.Refused != 2 || r.Unsure != 1 || r.Passed != 1 || undecided != 3 || r.OtherLines != 2 || r.Unreadable != 2 {
		t.Errorf("%+v", r)
	}
	if tips := r.ByAccount["ww1"]; tips.Refused != 3 || tips.Passed != 1 || r.ByHour["2026-11-22T12:00Z"] != tips || len(r.Examples) != 4 {
		t.Errorf("%+v", r)
	}
	if read < 2<<20 {
		t.Errorf("%d bytes read", read)
	}
}

// A log that breaks off keeps what was read.
func TestRunOfABrokenLog(t *testing.T) {
	broken := io.MultiReader(strings.NewReader(decision("a", "open", true)+"\n"), badReader{})
	if r, err := replay.Run(newGate(t, ""), broken, func(int64) {}); err == nil || r.Calls != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever stands in a log, a record is judged or is not, and nothing breaks.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(decision("a", "open", true)))
	f.Add([]byte(`{"msg":"decision","endpoint":"/cgi-bin/kf/send_msg_on_event","at":"2026-11-22T12:00:00Z","corp_id":"ww1","read":true,"with_code":true,"code_state":"fresh"}`))
	f.Add([]byte(`{"msg":"decision","endpoint":"/cgi-bin/externalcontact/add_msg_template","at":"2026-11-22T12:00:00Z","corp_id":"ww1","read":true,"recipients":99999999,"groups":-1}`))
	g := newGate(f, "policy: { rules: [{ name: r, match: { capabilities: [mass_message] }, action: reply, partial: trim }, { name: w, when: window.open, action: pass }] }\n")
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = replay.Judge(g, line) })
}

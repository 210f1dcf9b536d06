package replay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"replygate/config"
	"replygate/gate"
	"replygate/replay"
)

// logged is the part of a record that a replay must find again.
type logged struct {
	Msg       string
	ID        string
	Path      string
	CorpID    string `json:"corp_id"`
	Verdict   string
	Reason    string
	Rule      string
	Wait      string
	Forwarded bool
}

// previousGate compiles the configuration of testdata/previous-build.yaml, with one more setting
// of its policy.
func previousGate(t *testing.T, setting string) *gate.Gate {
	t.Helper()
	text, err := os.ReadFile("testdata/previous-build.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("previous-build.yaml", bytes.Replace(text, []byte("policy:\n"), []byte("policy:\n  "+setting+"\n"), 1))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("previous-build.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

// TestLogOfThePreviousBuild replays testdata/previous-build.jsonl: records that the build before
// this one wrote in front of a simulated platform, with a Redis that was paused now and then. Under
// the same configuration each must come to the verdict, reason and rule on record, or be undecided
// for the one reason given here.
func TestLogOfThePreviousBuild(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile("testdata/previous-build.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	enforcing, shadowing, passing := previousGate(t, "mode: enforce"), previousGate(t, "mode: shadow"), previousGate(t, "on_unsure: pass")
	n := 0
	for line := range strings.Lines(string(log)) {
		n++
		var r logged
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		want := replay.Outcome{Verdict: r.Verdict, Rule: r.Rule, Reason: r.Reason}
		g, lack := enforcing, ""
		switch {
		case r.Msg == "request":
			want = replay.Outcome{Verdict: "pass", Reason: "not_judged"}
		case r.Wait == "client_gone":
			lack = "the client went away while the call waited, so no rule decided it"
		case r.Reason == "ambiguous_path":
			lack = "the record does not hold the path as it was sent"
		case r.CorpID == "":
			lack = "the record does not tell whose call it was"
		case r.Reason == "shadow_mode":
			g = shadowing
		case r.Reason == "store_unavailable" && r.Forwarded:
			g = passing
		}
		got, err := replay.Judge(g, []byte(line))
		if r.Msg == "request" {
			got.Rule = "" // an access record has none
		}
		switch {
		case err != nil && err.Error() != lack, err == nil && lack != "":
			t.Errorf("line %d, %s%s: error %v, want %q", n, r.ID, r.Path, err, lack)
		case lack == "" && got != want:
			t.Errorf("line %d, %s%s: %+v, want %+v", n, r.ID, r.Path, got, want)
		}
	}
	if n < 60 {
		t.Errorf("%d records", n)
	}
}

// TestReportOfThePreviousBuild replays the same records under one configuration: only those that
// were written in shadow mode or with on_unsure: pass may come out differently.
func TestReportOfThePreviousBuild(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile("testdata/previous-build.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r, err := replay.Run(previousGate(t, "mode: enforce"), bytes.NewReader(log), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	undecided := 0
	for _, n := range r.Undecided {
		undecided += n
	}
	if r.Refused != 2 || r.Unsure != 1 || r.Passed != 0 || r.Unreadable != 0 || r.OtherLines != 0 || undecided != 7 {
		t.Errorf("%+v", r)
	}
}

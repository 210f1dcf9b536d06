package ruletest_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/ruletest"
)

// word is a scalar at a place of the file.
func word(text string, line, col int) config.Word {
	return config.Word{Text: text, At: config.Position{Line: line, Col: col}}
}

// TestParse reads one case with every kind of step.
func TestParse(t *testing.T) {
	t.Parallel()
	cases, err := ruletest.Parse("f", []byte(`- name: all
  start: 2026-10-01T00:00:00+08:00
  history: incomplete
  steps:
    - { at: +1h, inbound: { corp_id: ww2, channel: wk, customer: wm } }
    - { enters: { corp_id: ww2, channel: wk, customer: wm, code: C } }
    - { lapses: ww1 }
    - { renews: ww1 }
    - { reload: other.yaml }
    - { redis: down }
    - call: { corp_id: ww2, client: pc, path: "/x?a=b", content_type: text/plain, body: "{}" }
      times: 3
      want: { verdict: pass, rule: r, reason: window_open, forwarded: true, errcode: 0, errmsg: ok, shadow: refuse, replies_left: 4 }
`))
	if err != nil || len(cases) != 1 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	c := cases[0]
	if c.Name != word("all", 1, 9) || !c.Start.Equal(time.Date(2026, 9, 30, 16, 0, 0, 0, time.UTC)) || c.History != word("incomplete", 3, 12) || len(c.Steps) != 7 {
		t.Errorf("%+v", c)
	}
	s := c.Steps
	if s[0].At != word("+1h", 5, 13) || *s[0].Inbound != (ruletest.Inbound{CorpID: "ww2", Channel: "wk", Customer: "wm"}) ||
		*s[1].Enters != (ruletest.Enters{CorpID: "ww2", Channel: "wk", Customer: "wm", Code: "C"}) ||
		s[2].Lapses.Text != "ww1" || s[3].Renews.Text != "ww1" || s[4].Reload.Text != "other.yaml" || s[5].Redis.Text != "down" {
		t.Errorf("%+v", s)
	}
	call, want := *s[6].Call, *s[6].Want
	if call != (ruletest.Call{CorpID: "ww2", Client: "pc", Path: "/x?a=b", ContentType: "text/plain", Body: "{}"}) || *s[6].Times != 3 {
		t.Errorf("%+v", s[6])
	}
	words := []string{want.Verdict.Text, want.Rule.Text, want.Reason.Text, want.Forwarded.Text, want.Errmsg.Text, want.Shadow.Text}
	if !reflect.DeepEqual(words, []string{"pass", "r", "window_open", "true", "ok", "refuse"}) || *want.Errcode != 0 || *want.Left != 4 {
		t.Errorf("%+v", want)
	}
}

// TestParseMistakes gives one case with one mistake each. pass is a call that is well formed.
func TestParseMistakes(t *testing.T) {
	t.Parallel()
	const pass = "call: { path: /a }, want: { verdict: pass }"
	const file = "- name: a\n  steps: [{ %s }]\n"
	for steps, want := range map[string]string{
		"at: +1h":                                     "f:2:11: a step has 0 events: write one of inbound, enters, lapses, renews, reload, redis and call",
		"lapses: ww1, renews: ww1":                    "f:2:11: a step has 2 events: write one of inbound, enters, lapses, renews, reload, redis and call",
		"redis: up, " + pass:                          "f:2:11: a step has 2 events: write one of inbound, enters, lapses, renews, reload, redis and call",
		"redis: away":                                 `f:2:20: redis cannot be "away": `,
		"redis: dwon":                                 `f:2:20: redis cannot be "dwon": `,
		"call: { path: /a }":                          "f:2:11: a step has only one of call and want: write want beside each call, and only there",
		"lapses: ww1, want: { rule: r }":              "f:2:11: a step has only one of call and want: write want beside each call, and only there",
		"call: { path: a }, want: {}":                 "f:2:11: a call has no path: write path: /cgi-bin/kf/send_msg, or another path as the bot sends it",
		"call: {}, want: {}":                          "f:2:11: a call has no path: write path: /cgi-bin/kf/send_msg, or another path as the bot sends it",
		"times: 2, lapses: ww1":                       "f:2:11: times has no effect on a step without a call: remove it, or repeat the step",
		"times: 0, " + pass:                           "f:2:11: times cannot be 0: write 1 to 10000",
		"times: 10001, " + pass:                       "f:2:11: times cannot be 10001: write 1 to 10000",
		"times: -1, " + pass:                          "f:2:11: times cannot be -1: write 1 to 10000",
		"at: noon, lapses: ww1":                       `f:2:17: at cannot be "noon": write +47h59m59s since the start, or an instant like 2026-10-01T00:00:00+08:00`,
		"at: +1, lapses: ww1":                         `f:2:17: at cannot be "+1": write +47h59m59s since the start, or an instant like 2026-10-01T00:00:00+08:00`,
		"at: +-1h, lapses: ww1":                       `f:2:17: at cannot be "+-1h": write +47h59m59s since the start, or an instant like 2026-10-01T00:00:00+08:00`,
		"at: 2026-10-01, lapses: ww1":                 `f:2:17: at cannot be "2026-10-01": write +47h59m59s since the start, or an instant like 2026-10-01T00:00:00+08:00`,
		"at: +1h, lapses: a }, { at: +59m, lapses: a": "f:2:41: the step is before the one above it: time does not go backwards: put the steps in order",
		"at: 2025-12-31T23:59:59Z, lapses: a":         "f:2:17: the step is before the one above it: time does not go backwards: put the steps in order",
		"call: { path: /a }, want: { verdict: no }":   `f:2:50: verdict cannot be "no": `,
		"call: { path: /a }, want: { shadow: none }":  `f:2:49: shadow cannot be "none": `,
		"call: { path: /a }, want: { forwarded: 1 }":  `f:2:52: forwarded cannot be "1": `,
		"call: { pth: /a }, want: {}":                 "did you mean path?",
		"lapse: ww1":                                  "did you mean lapses?",
	} {
		_, err := ruletest.Parse("f", fmt.Appendf(nil, file, steps))
		if err == nil {
			t.Errorf("%s: no mistake", steps)
		} else if first, _, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(first, want) {
			t.Errorf("%s:\n%s\nwant\n%s", steps, err, want)
		}
	}
}

// TestParseCases has mistakes of whole cases, and boundaries that are none.
func TestParseCases(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "f:1:1: ",
		"[]":                                    "f:1:1: ",
		"- name: a\n  steps: [{ lapses: a }]\n": "",
		"- name: a\n":                           "f:1:3: case a has no steps: write steps, each with an event or with a call and want",
		"- steps: [{ lapses: a }]\n":            "f:1:3: a case has no name: name it: failures quote the name",
		"- name: a\n  steps: []\n":              "f:2:10: ",
		"- { name: a, history: none, steps: [{ lapses: a }] }": `f:1:23: history cannot be "none": `,
		"- { name: a, start: now, steps: [{ lapses: a }] }":    "f:1:21: ",
		"name: a\n": "f:1:1: ",
		"- a\n":     "f:1:3: ",
		"- name: a\n  steps: [{ at: +0s, lapses: a }, { at: +0s, renews: a }, { renews: a }]\n":                            "",
		"- name: a\n  steps: [{ times: 1, call: { path: / }, want: {} }, { times: 10000, call: { path: / }, want: {} }]\n": "",
		"- name: a\n  start: 2026-01-01T08:00:00+08:00\n  steps: [{ at: 2026-01-01T00:00:00Z, lapses: a }]\n":              "",
	} {
		_, err := ruletest.Parse("f", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}

// TestParseFindsAllMistakes reports the mistakes of all cases at once, in their order.
func TestParseFindsAllMistakes(t *testing.T) {
	t.Parallel()
	_, err := ruletest.Parse("f", []byte("- name: a\n- steps: [{ redis: off }]\n- name: c\n  steps: [{ call: { path: /a } }, { at: x, lapses: a }]\n"))
	if err == nil {
		t.Fatal("no mistake")
	}
	var places []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		place, _, _ := strings.Cut(line, ": ")
		places = append(places, place)
	}
	if got := strings.Join(places, " "); got != "f:1:3 f:2:3 f:2:20 f:4:11 f:4:41" {
		t.Errorf("%s\n%v", got, err)
	}
}

// FuzzParse reads any file: every case that is accepted has a name and steps.
func FuzzParse(f *testing.F) {
	f.Add([]byte("- name: a\n  steps: [{ at: +1h, lapses: ww1 }, { times: 2, call: { path: /a }, want: { verdict: pass } }]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := ruletest.Parse("f", data)
		if err == nil && len(cases) > 0 && (cases[0].Name.Text == "" || len(cases[0].Steps) == 0) {
			t.Errorf("accepted: %+v", cases[0])
		}
	})
}

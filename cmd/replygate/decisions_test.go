package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/record"
	"replygate/store/storetest"
)

// A decision is found by its id: in memory, and once it is no longer there in the log's files. Its
// call is explained by the facts of the record.
func TestDecisionsShow(t *testing.T) {
	for _, log := range []string{"stdout", "file"} {
		t.Run(log, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "decisions.log")
			r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
				if log == "file" {
					c.Log.Decisions = file
				}
			})
			api := r.gateway.control.Addr().String()
			r.writes(wrote)
			passed := r.reply(wrote, "pass", "window_open").Header.Get("Replygate-Decision-Id")
			refused := r.reply("wmStranger", "refuse", "window_closed").Gate.DecisionID
			failed := r.call("POST", "/corp/ww0/none", "{}").Gate.DecisionID
			r.clock.Advance(49 * time.Hour) // by now the window is closed
			if at, ok := record.IDTime(passed); !ok || r.clock.Now().Sub(at) > 50*time.Hour {
				t.Errorf("%s is of %v", passed, at)
			}
			shown := func() {
				t.Helper()
				code, out, errs := cli(t, "decisions", "show", passed, "--admin", api)
				for _, want := range []string{"verdict +pass", "reason +window_open", `at +20..-..-.. ..:..:.. [+-]`, "reply-inside-the-window +yes", "no-moments +not tried"} {
					if code != exitGood || !regexp.MustCompile(want).MatchString(out) {
						t.Errorf("exit %d: no %q in\n%s%s", code, want, out, errs)
					}
				}
				code, out, errs = cli(t, "decisions", "show", refused, "--admin", api, "--json")
				var found admin.FoundDecision
				if err := json.Unmarshal([]byte(out), &found); err != nil || code != exitGood || found.Undecided != "" || found.Explain.Verdict != "refuse" || !strings.Contains(string(found.Decision), refused) {
					t.Errorf("exit %d %s%s", code, out, errs)
				}
				if code, out, errs = cli(t, "decisions", "show", failed, "--admin", api); code != exitGood || !strings.Contains(out, "cannot judge this call once more") {
					t.Errorf("exit %d %s%s", code, out, errs)
				}
				code, out, errs = cli(t, "explain", passed, "--admin", api)
				if code != exitGood || !strings.HasPrefix(out, "pass  window_open, rule reply-inside-the-window\n") || !regexp.MustCompile(`window.replies_left +5 +`).MatchString(out) {
					t.Errorf("exit %d %s%s", code, out, errs)
				}
			}
			shown()
			unknown := record.NewID(r.clock.Now())
			if code, _, errs := cli(t, "decisions", "show", unknown, "--admin", api); code != exitBad || !strings.Contains(errs, "(no_decision)") {
				t.Errorf("exit %d %s", code, errs)
			}
			if log == "stdout" {
				return
			}
			r.gateway.logs.recent, r.gateway.logs.listed = record.NewRecent(0), record.NewRing(0, 0, nil)
			rotated := filepath.Join(filepath.Dir(file), "decisions-"+r.clock.Now().UTC().Format("2006-01-02T15-04-05.000")+".log")
			if err := os.Rename(file, rotated); err != nil {
				t.Fatal(err)
			}
			shown()
			if code, out, errs := cli(t, "decisions", "show", passed, "--admin", api); code != exitGood || !strings.Contains(out, "found in "+rotated) {
				t.Errorf("exit %d %s%s", code, out, errs)
			}
			r.gateway.logs.searching <- struct{}{} // another search
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if line, _, err := r.gateway.logs.find(ctx, passed, r.clock.Now(), file, time.Minute); line != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("beside another search: %s %v", line, err)
			}
		})
	}
}

// A record is explained as it is in the log, by the rules in force or by others.
func TestExplainRecord(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.reply("wmStranger", "refuse", "window_closed")
	api := r.gateway.control.Addr().String()
	line := regexp.MustCompile(`(?m)^.*"msg":"decision".*$`).FindString(r.log())
	candidate := file(t, "c.yaml", "accounts: [{ corp_id: "+corpID+", subscription: { expires_at: 2020-01-01T00:00:00Z } }]\npolicy:\n  language: zh\n  rules:\n    - { name: all, action: pass }\n")
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{line, "--admin", api}, exitGood, "refuse  window_closed, rule reply-inside-the-window\n"},
		{[]string{"@" + file(t, "log", "text of another program\n"+line+"\n"), "--admin", api, "--language", "zh"}, exitGood, "refuse  window_closed，规则 reply-inside-the-window\n"},
		{[]string{line, "--candidate", candidate}, exitGood, "pass  not_judged，规则 all\n"},
		{[]string{`{"msg":"other"}`, "--admin", api}, exitBad, "the call of this record cannot be judged once more: no record of a call (undecided)\n"},
		{[]string{`{"msg":"other"}`, "--candidate", candidate}, exitBad, "the call of this record cannot be judged once more: no record of a call\n"},
		{[]string{"@" + file(t, "empty", "nothing\n"), "--admin", api}, exitUsage, "replygate explain: wrong usage: "},
		{[]string{"@/does/not/exist", "--admin", api}, exitBad, "open /does/not/exist"},
		{[]string{line, "--candidate", candidate, "--wrote", "3h"}, exitUsage, "replygate explain: wrong usage: --wrote is for a call that is given by its path"},
		{[]string{line, "--admin", api, "--at", "2026-11-22T10:00:00Z"}, exitUsage, "replygate explain: wrong usage: --at is for a call that is given by its path"},
		{[]string{"1a21fee66cf4c3e1", "--admin", api, "--corp", corpID}, exitUsage, "replygate explain: wrong usage: --corp is for a call that is given by its path"},
		{[]string{"/cgi-bin/externalcontact/get", "--admin", api, "--corp", corpID, "--wrote", "3h"}, exitUsage, "replygate explain: wrong usage: --wrote is for --candidate"},
	} {
		code, out, errs := cli(t, append([]string{"explain"}, test.args...)...)
		if code != test.code || !strings.HasPrefix(out+errs, test.want) {
			t.Errorf("%q: exit %d, want %d\n%s%s", test.args[1:], code, test.code, out, errs)
		}
	}
}

// One request answers about an id: the record and its explanation are by the same configuration.
func TestExplainIDAsksOnce(t *testing.T) {
	var asked []string
	answer := `{"decision":{"at":"2026-11-22T10:00:00Z"},"source":"memory","explain":{"language":"zh","verdict":"refuse","reason":"window_closed","rule":"r","rules":[],"facts":[]}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	args := []string{"explain", "1a21fee66cf4c3e1", "--language", "zh", "--admin", server.URL}
	if code, out, errs := cli(t, args...); code != exitGood || !strings.HasPrefix(out, "refuse  window_closed，规则 r\n") || strings.Join(asked, " ") != "GET /v1/decisions/1a21fee66cf4c3e1?language=zh" {
		t.Errorf("exit %d after %q\n%s%s", code, asked, out, errs)
	}
	answer = `{"decision":{},"source":"memory","undecided":"it lacks its path"}`
	if code, _, errs := cli(t, args...); code != exitBad || errs != "the call of this record cannot be judged once more: it lacks its path (undecided)\n" {
		t.Errorf("exit %d %s", code, errs)
	}
}

// An explanation in Chinese has no English label, source or duration.
func TestExplainInChinese(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Policy.Language = config.Chinese })
	r.writes(wrote)
	code, out, errs := cli(t, "explain", "--admin", r.gateway.control.Addr().String(), "--corp", corpID, "--body", replyTo(wrote), "--at", r.clock.Now().Format(time.RFC3339), "/cgi-bin/kf/send_msg")
	for _, want := range []string{`变化     20.* 48 小时 0 分后|2 天后`, `规则 +匹配 +原因`, `in-good-standing +否 `, `reply-inside-the-window +是 `, `no-moments +未判断 +已由`, `account.standing +已失效（lapsed） +配置与时钟`} {
		if code != exitGood || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("exit %d: no %q in\n%s%s", code, want, out, errs)
		}
	}
	for _, english := range []string{"MATCHED", "rule ", "configuration", "request", "not tried", " true", " false"} {
		if strings.Contains(out, english) {
			t.Errorf("%q in\n%s", english, out)
		}
	}
}

// An explanation asked for in Chinese is so in whole, also its answer, whatever policy.language is:
// capabilities and standings have their titles, lists full-width commas, and instants Beijing time.
func TestExplainReadsInChinese(t *testing.T) {
	t.Parallel()
	candidate := file(t, "c.yaml", `accounts:
  - { corp_id: ww1, subscription: { expires_at: 2026-10-01T00:00:00+08:00, grace: 72h } }
policy:
  rules:
    - { name: later, match: { capabilities: [customer_moments] }, from: 2027-01-01T00:00:00+08:00, action: pass }
`)
	for name, call := range map[string][]string{
		"explain-mass.txt":  {"/cgi-bin/externalcontact/add_msg_template", "--body", `{"external_userid":["wmLi","wmWu"],"text":{"content":"sale"}}`},
		"explain-reply.txt": {"/cgi-bin/kf/send_msg", "--body", `{"touser":"wmLi","open_kfid":"wk1","msgtype":"text","text":{"content":"hi"}}`},
	} {
		args := append([]string{"explain", "--language", "zh", "--candidate", candidate, "--wrote", "49h", "--at", "2026-11-30T09:20:00Z", "--corp", "ww1"}, call...)
		code, out, errs := cli(t, args...)
		if code != exitGood || errs != "" {
			t.Errorf("exit %d %s", code, errs)
		}
		golden(t, "chinese/"+name, out)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
)

// adminGet reads one resource of a gateway's admin API.
func adminGet[T any](r *rig, path string) (v T) {
	r.Helper()
	a := r.adminCall("GET", path, "")
	if err := json.Unmarshal(a.body, &v); err != nil || a.StatusCode != http.StatusOK {
		r.Fatalf("%s: HTTP %d %s", path, a.StatusCode, a.body)
	}
	return v
}

// Two gateways, of which one asks the other, and a third that is silent: their decisions are one
// list, one is found on either, and all that is shown holds no token and no body.
func TestAnswersOfSeveralGateways(t *testing.T) {
	dir := t.TempDir()
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Log.Decisions = filepath.Join(dir, "first.log")
		c.Policy.Rules = []config.Rule{ruleOf(t, "{ name: mass-in-shadow, mode: shadow, match: { capabilities: [mass_message] }, action: pass }")}
	})
	first := r.gateway
	second := r.start(storetest.Embedded(t), func(c *config.Config) {
		c.Admin.Peers = []string{first.control.Addr().String(), quiet.Addr().String()}
	})
	mass := func(g *gateway) string {
		return r.callAt(g, "POST", "/cgi-bin/externalcontact/add_msg_template", `{"chat_type":"single","external_userid":["wm1"],"text":{"content":"hello"}}`).Gate.DecisionID
	}
	var want []string
	r.token = ""
	for range 3 {
		r.clock.Advance(time.Second)
		want = append(want, mass(first))
	}
	token := r.token
	r.token = ""
	for range 3 {
		r.clock.Advance(time.Second)
		want = append(want, mass(second))
	}
	slices.Reverse(want)

	r.gateway = second
	list := adminGet[admin.DecisionList](r, "/v1/decisions?verdict=refuse")
	var got []string
	for _, row := range list.Decisions {
		got = append(got, row.ID)
	}
	if !slices.Equal(got, want) || len(list.Partial) != 1 || list.Partial[0].Gateway != quiet.Addr().String() {
		t.Errorf("decisions %v, want %v; missing %+v", got, want, list.Partial)
	}
	found := adminGet[admin.FoundDecision](r, "/v1/decisions/"+want[5])
	if found.Gateway != first.control.Addr().String() || found.Source != "memory" || len(found.Explain.Rules) == 0 || found.Now == nil || found.Now.Verdict != "refuse" {
		t.Errorf("%+v", found)
	}
	if code, out, errs := cli(t, "decisions", "show", want[5], "--admin", second.control.Addr().String()); code != exitGood || !strings.Contains(out, "found in memory of "+first.control.Addr().String()) || !strings.Contains(out, "the same call now: refuse  rule_refuse, rule no-mass-messages") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	health := adminGet[admin.Health](r, "/v1/health")
	if g := health.Gateways; len(g) != 3 || g[1].Status != admin.StatusOK || g[2].Error == "" || health.Status != admin.StatusAttention {
		t.Errorf("%+v", health)
	}
	overview := adminGet[admin.Overview](r, "/v1/overview")
	if d := overview.Decisions; d.Refused != 6 || d.Judged != 6 || fmt.Sprint(d.By) != "[{mass_message rule_refuse 6}]" || len(overview.Partial) != 1 {
		t.Errorf("%+v", overview)
	}

	r.gateway = first
	rules := adminGet[admin.RuleList](r, "/v1/rules")
	if rule := rules.Rules[0]; rule.Name != "mass-in-shadow" || rule.Matched != 3 || rule.Decided != 0 || rule.Passes != 3 || len(rule.Examples) != 3 {
		t.Errorf("%+v", rule)
	}
	a := r.adminCall("POST", "/v1/replays", `{"candidate":"policy: { ruleset: \"off\" }"}`)
	var job admin.Replay
	if err := json.Unmarshal(a.body, &job); err != nil || a.StatusCode != http.StatusAccepted {
		t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
	}
	r.await("the replay", func() bool {
		job = adminGet[admin.Replay](r, "/v1/replays/"+job.ID)
		return job.State != admin.ReplayRunning
	})
	if job.State != admin.ReplayDone || job.Source != "files" || job.Records != 3 || job.Passed != 3 {
		t.Errorf("%+v", job)
	}
	for _, g := range []*gateway{first, second} {
		r.gateway = g
		for _, path := range []string{"/v1/decisions", "/v1/decisions?format=csv", "/v1/decisions/" + want[0], "/v1/decisions/" + want[5], "/v1/rules", "/v1/health", "/v1/overview", "/v1/replays/" + job.ID} {
			body := string(r.adminCall("GET", path, "").body)
			for _, secretly := range []string{token, r.token, secret, "hello"} {
				if strings.Contains(body, secretly) {
					t.Errorf("%s shows %q: %s", path, secretly, body)
				}
			}
		}
	}
}

// Decisions older than those in memory are read from the files, and rows of both are one list.
func TestOlderDecisions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "decisions.log")
	var ids []string
	for run := range 2 { // the second gateway begins with an empty memory
		r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Log.Decisions = file })
		r.clock.Advance(time.Duration(run) * 2 * time.Hour)
		for range 5 {
			r.clock.Advance(time.Second)
			ids = append([]string{r.reply("wmStranger", "refuse", "window_closed").Gate.DecisionID}, ids...)
		}
		var got []string
		next := ""
		for {
			list := adminGet[admin.DecisionList](r, "/v1/decisions?limit=3&cursor="+next)
			for _, row := range list.Decisions {
				got = append(got, row.ID)
			}
			if next = list.Next; next == "" {
				break
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("run %d: %v, want %v", run, got, ids)
		}
	}
}

// Of passes one in a hundred is listed, by its id; all else is.
func TestListedDecisions(t *testing.T) {
	t.Parallel()
	kept := 0
	for i := range 1000 {
		if isListed(fmt.Appendf(nil, `{"id":"019ad0c3a00%05x","verdict":"pass","rule":"r"}`, i)) {
			kept++
		}
	}
	if kept != 10 {
		t.Errorf("%d of 1000 passes", kept)
	}
	for _, line := range []string{
		`{"id":"019ad0c3a0000001","verdict":"refuse"}`, `{"id":"019ad0c3a0000001","verdict":"unsure"}`, `{"id":"019ad0c3a0000001","verdict":"error"}`,
		`{"id":"019ad0c3a0000001","verdict":"pass","shadow":{"verdict":"refuse"}}`, `{"id":"019ad0c3a0000001","verdict":"pass","fault":"upstream_timeout"}`,
	} {
		if !isListed([]byte(line)) {
			t.Errorf("%s is left out", line)
		}
	}
}

// The counts of a day begin at midnight, and those of its hours with the hours.
func TestToday(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "replygate_decisions_total"}, []string{"capability", "verdict", "reason", "forwarded"})
	registry.MustRegister(counter)
	at := time.Date(2026, 11, 30, 12, 0, 30, 0, time.UTC) // 20:00:30 in China
	day := &today{metrics: registry, zone: time.FixedZone("China", 8*60*60), now: func() time.Time { return at }}
	refuse := func(n int) {
		counter.WithLabelValues("moments", "refuse", "rule_refuse", "false").Add(float64(n))
	}
	refuse(5) // before the first look
	day.look()
	at = at.Add(time.Hour) // 21:00:30
	day.look()
	refuse(2)
	counter.WithLabelValues("kf_reply", "pass", "window_open", "true").Inc()
	counter.WithLabelValues("kf_reply", "unsure", "store_unavailable", "false").Inc()
	d := day.counts()
	if d.Judged != 9 || d.Refused != 7 || d.Unsure != 1 || len(d.ByHour) != 22 || d.ByHour[20] != 5 || d.ByHour[21] != 2 || fmt.Sprint(d.By) != "[{moments rule_refuse 7}]" || d.Since != "2026-11-30T12:00:30.000Z" {
		t.Errorf("%+v", d)
	}
	for range 3 { // 22:00, 23:00, and midnight
		at = at.Add(time.Hour)
		day.look()
	}
	refuse(3)
	if d := day.counts(); d.Judged != 3 || d.Refused != 3 || fmt.Sprint(d.ByHour) != "[3]" || d.Since != "2026-11-30T16:00:00.000Z" {
		t.Errorf("after midnight: %+v", d)
	}
}

package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
)

// get reads one resource.
func get[T any](a *api, path string, headers ...string) (v T) {
	a.Helper()
	r := a.call("GET", path, "", headers...)
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || r.Code != http.StatusOK {
		a.Fatalf("%s: HTTP %d %s", path, r.Code, r.body)
	}
	return v
}

// Rules are listed in the order in which they are tried, with their place and what would differ.
func TestRules(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "policy:\n  rules:\n    - { name: strict, mode: shadow, match: { capabilities: [kf_reply] }, action: refuse }\n")
	for i := range 8 {
		a.remember(decided(i, idOf(i, 1), wouldRefuse))
	}
	a.remember(decided(9, idOf(9, 1), strings.Replace(wouldRefuse, `"verdict":"refuse","reason":"rule_refuse"`, `"verdict":"pass","reason":"rule_pass"`, 1)))
	list := get[admin.RuleList](a, "/v1/rules")
	first, second := list.Rules[0], list.Rules[1]
	if first.Name != "strict" || first.From != "own" || first.At != "admin.yaml:12" || first.Mode != "shadow" || first.Action != "refuse" || !first.Holds || first.HiddenBy != "" {
		t.Errorf("%+v", first)
	}
	if second.From != "reply-only-2024" || !strings.HasPrefix(second.At, "rulesets/reply-only-2024.yaml:") || second.Mode != "enforce" || second.Shadow != nil {
		t.Errorf("%+v", second)
	}
	if want := []string{idOf(7, 1), idOf(6, 1), idOf(5, 1), idOf(4, 1), idOf(3, 1)}; !slices.Equal(first.Examples, want) || first.Shadow == nil || fmt.Sprint(first.Shadow.CorpID) != "[{wwLapsed 8}]" {
		t.Errorf("examples %v, %+v", first.Examples, first.Shadow)
	}
	if list.Ruleset != "reply-only-2024" || list.Next != nil || list.Mode != "enforce" || list.Since == "" || list.Gateway != "10.0.0.1:9090" {
		t.Errorf("%+v", list)
	}
	r := a.call("GET", "/v1/rules", "")
	if again := a.call("GET", "/v1/rules", "", "If-None-Match: "+r.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("the same list again: HTTP %d", again.Code)
	}
}

// parted returns a source of one part.
func parted(name, status string) func(context.Context) []admin.HealthPart {
	return func(context.Context) []admin.HealthPart {
		return []admin.HealthPart{{Name: name, Status: status, Text: "it is " + status, Doc: "docs/redis.md"}}
	}
}

// The worst part is the health of a gateway. Gateways that do not answer, or have another
// configuration, are rows of their own.
func TestHealthOfParts(t *testing.T) {
	t.Parallel()
	a, b := newAPI(t, keys), newAPI(t, keys)
	a.admin.Sources.Parts = []func(context.Context) []admin.HealthPart{parted("redis", admin.StatusOK)}
	b.admin.Sources.Parts = []func(context.Context) []admin.HealthPart{parted("redis", admin.StatusOK)}
	if h := get[admin.Health](a, "/v1/health", withReadKey); h.Status != admin.StatusOK || len(h.Parts) != 1 || len(h.Gateways) != 1 || h.Gateways[0].Config != a.gateway.hash {
		t.Errorf("alone: %+v", h)
	}
	other, quiet := b.served(), silent(t)
	a.admin.Keys.Peers = []string{other}
	h := get[admin.Health](a, "/v1/health", withReadKey)
	if last := h.Parts[len(h.Parts)-1]; h.Status != admin.StatusOK || last.Name != "gateways" || last.Status != admin.StatusOK || *last.Count != 2 {
		t.Errorf("with another: %+v", h)
	}
	if g := h.Gateways[1]; g.ID != other || g.Status != admin.StatusOK || g.Seen == "" || g.Error != "" {
		t.Errorf("the other: %+v", g)
	}
	b.admin.Sources.Parts = []func(context.Context) []admin.HealthPart{parted("redis", admin.StatusFailed)}
	h = get[admin.Health](a, "/v1/health", withReadKey)
	if last := h.Parts[len(h.Parts)-1]; h.Status != admin.StatusAttention || last.Code != "gateways_differ" || last.Text != other+" need attention" || h.Gateways[1].Status != admin.StatusFailed {
		t.Errorf("with one that failed: %+v", h)
	}
	b.admin.Sources.Parts = nil
	b.gateway.hash = "another"
	a.admin.Keys.Peers = []string{other, quiet}
	h = get[admin.Health](a, "/v1/health", withReadKey)
	last := h.Parts[len(h.Parts)-1]
	if h.Status != admin.StatusAttention || last.Code != "gateways_differ" || last.Text != quiet+" do not answer; "+other+" have another configuration in force" ||
		fmt.Sprint(last.Values) != fmt.Sprintf("map[other_config:[%s] other_version:[] silent:[%s] unwell:[]]", other, quiet) {
		t.Errorf("with a silent one: %+v", h)
	}
	if g := h.Gateways[2]; g.ID != quiet || g.Status != admin.StatusFailed || g.Seen != "" || g.Error != "no answer within 500ms" {
		t.Errorf("the silent one: %+v", g)
	}
}

// The overview counts accounts and decisions of all gateways, and says first what is most urgent.
func TestOverview(t *testing.T) {
	t.Parallel()
	a, b := newAPI(t, keys), newAPI(t, keys)
	counts := func(judged, refused int) func() admin.DecisionCounts {
		return func() admin.DecisionCounts {
			return admin.DecisionCounts{Since: "2026-11-21T16:00:00.000Z", Judged: judged, Refused: refused, ByHour: []int{0, refused}, By: []admin.RefusedCount{{Capability: "moments", Reason: "rule_refuse", Count: refused}}}
		}
	}
	a.admin.Sources = admin.Sources{
		Decisions: counts(100, 7), Parts: []func(context.Context) []admin.HealthPart{parted("journal", admin.StatusAttention)},
	}
	b.admin.Sources.Decisions = counts(50, 3)
	a.wrote("wwLapsed", "wk", "wmSoon", -47*time.Hour-30*time.Minute)
	a.wrote("wwLapsed", "wk", "wmLater", -time.Hour)
	a.admin.Keys.Peers = []string{b.served(), "127.0.0.1:1"}
	o := get[admin.Overview](a, "/v1/overview", withReadKey)
	if want := (admin.AccountCounts{Total: 4, Active: 1, Grace: 1, Lapsed: 1, Free: 1}); o.Accounts != want {
		t.Errorf("accounts %+v, want %+v", o.Accounts, want)
	}
	if d := o.Decisions; d.Judged != 150 || d.Refused != 10 || fmt.Sprint(d.ByHour) != "[0 10]" || fmt.Sprint(d.By) != "[{moments rule_refuse 10}]" {
		t.Errorf("decisions %+v", d)
	}
	var kinds []string
	for _, at := range o.Attention {
		kinds = append(kinds, at.Level+" "+at.Kind+" "+at.CorpID+" "+at.URL)
	}
	if want := []string{"urgent closing wwLapsed closing?within=1h", "urgent stops wwGrace accounts/wwGrace", "soon journal  health"}; !slices.Equal(kinds, want) {
		t.Errorf("attention %q", kinds)
	}
	if o.Waiting == nil || o.Waiting.Hour != 1 || o.Waiting.All != 2 || o.Health != admin.StatusAttention || o.Unwell != 2 || o.RedisDown != "" || len(o.Partial) != 1 || o.Partial[0].Gateway != "127.0.0.1:1" {
		t.Errorf("%+v, waiting %+v", o, o.Waiting)
	}
	if first := o.Attention[0]; first.At != "2026-11-22T12:30:00.000Z" || first.Name != "Lapsed" {
		t.Errorf("the chat that closes first: %+v", first)
	}
	plain := newAPI(t, "")
	if r := plain.call("GET", "/v1/overview", ""); r.Code != http.StatusOK || strings.Contains(r.body, `"partial"`) {
		t.Errorf("without sources: HTTP %d %s", r.Code, r.body)
	}
}

// The overview tells when an account that is nearly full will be, and which entity's contacts seem
// to move.
func TestOverviewOfContacts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	siblingsAroundALapse(a)
	deer := a.admin.Histories
	accounts := a.gateway.gate.Config.Accounts
	total := 4800
	a.with(append(slices.Clone(accounts), config.Account{CorpID: "wwFull", Contacts: &config.Contacts{Purchased: new(5000), Total: &total, CountedAt: start}}))
	a.admin.Histories = func(ctx context.Context, corps []string) (map[string][]contacts.Day, error) {
		all, err := deer(ctx, corps)
		all["wwFull"] = history(4500, 4800)
		return all, err
	}
	o := get[admin.Overview](a, "/v1/overview")
	var told []string
	for _, at := range o.Attention {
		told = append(told, at.Kind+" "+at.CorpID+at.Entity+" "+at.FullOn+" "+at.URL)
	}
	// wwDeer has more than the free contacts, but it has lapsed.
	want := []string{"contacts wwFull 2026-12-12 contacts?corp_id=wwFull", "moves 鹿鸣集团  entities/%E9%B9%BF%E9%B8%A3%E9%9B%86%E5%9B%A2"}
	if !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

// replayed waits for the end of a job.
func (a *api) replayed(id string) (job admin.Replay) {
	a.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if job = get[admin.Replay](a, "/v1/replays/"+id); job.State != admin.ReplayRunning {
			return job
		}
	}
	a.Fatalf("%s does not end", id)
	return job
}

const yamlType = "Content-Type: application/yaml"

// A candidate judges past calls once more, in memory or in the files.
func TestReplaysOfCandidates(t *testing.T) {
	t.Parallel()
	candidate := "policy:\n  rules:\n    - { name: open, match: { capabilities: [kf_reply] }, action: pass }\n"
	asked, err := json.Marshal(map[string]string{"candidate": candidate})
	if err != nil {
		t.Fatal(err)
	}
	facts := refusedReply + `,"channel":"wk","recipients":1,"customers":["wm"],"windows":[{"state":"closed"}]`
	for _, source := range []string{"memory", "files"} {
		more := ""
		if source == "files" {
			more = "log: { decisions: decisions.log }\n"
		}
		a := newAPI(t, more)
		a.remember(decided(0, idOf(0, 1), facts), decided(1, idOf(1, 1), refusedReply))
		if source == "files" {
			a.gateway.newest, a.gateway.file, a.gateway.budget = nil, logged(t, 2, 500), 300<<10 // several pages
		}
		for _, request := range [][2]string{{candidate, yamlType}, {string(asked), "Content-Type: application/json"}} {
			r := a.call("POST", "/v1/replays", request[0], request[1])
			var begun struct{ ID string }
			if err := json.Unmarshal([]byte(r.body), &begun); err != nil || r.Code != http.StatusAccepted || r.Header().Get("Location") != "/v1/replays/"+begun.ID {
				t.Fatalf("HTTP %d %s", r.Code, r.body)
			}
			job := a.replayed(begun.ID)
			records := map[string]int{"memory": 2, "files": 1000}[source]
			if job.State != admin.ReplayDone || job.Records != records || job.Passed != records || job.Refused+job.Undecided != 0 || job.Source != source || job.More || job.From != "2026-11-22T12:00:00.000Z" {
				t.Errorf("%s: %+v", source, job)
			}
			if by := job.By[0]; by.CorpID != "wwLapsed" || by.Account != "Lapsed" || by.Passed != records {
				t.Errorf("%s: by %+v", source, job.By)
			}
		}
	}
}

// What is no candidate is refused, and so is a second one while one is under way.
func TestReplayRefusals(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "log: { decisions: decisions.log }\n")
	for name, c := range map[string]struct {
		body, kind string
		status     int
		code       string
	}{
		"a form":    {"a=b", "Content-Type: application/x-www-form-urlencoded", 415, "not_yaml"},
		"a mistake": {"policy: { rulset: x }", yamlType, 422, "bad_config"},
		"nothing":   {" \n", yamlType, 422, "bad_config"},
		"no text":   {`{"candidate":""}`, "Content-Type: application/json", 422, "bad_config"},
		"too large": {strings.Repeat("#", 1<<20+1), yamlType, 413, "too_large"},
		"a rule":    {"policy: { rules: [{ name: x, action: pass, match: { accounts: [wwNone] } }] }", yamlType, 422, "bad_config"},
		"a file":    {"policy: { ruleset: '${HOME}' }", yamlType, 422, "bad_config"},
	} {
		r := a.call("POST", "/v1/replays", c.body, c.kind)
		if code, message := r.failure(t); r.Code != c.status || code != c.code || strings.Contains(message, "/root") {
			t.Errorf("%s: HTTP %d %s", name, r.Code, r.body)
		}
	}
	if r := a.call("GET", "/v1/replays/none", ""); r.Code != http.StatusNotFound {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	for _, key := range []string{"", changeKey} {
		keyed := newAPI(t, keys)
		for _, r := range []answer{
			keyed.call("POST", "/v1/replays", "policy: {}", yamlType, "Authorization: Bearer "+key), keyed.call("GET", "/v1/replays/none", "", "Authorization: Bearer "+key),
			keyed.call("GET", "/v1/decisions/"+idOf(0, 1), "", "Authorization: Bearer "+key),
		} {
			if r.Code != http.StatusUnauthorized {
				t.Errorf("with the key %q: HTTP %d %s", key, r.Code, r.body)
			}
		}
	}
	a.gateway.hold = make(chan struct{})
	first := a.call("POST", "/v1/replays", "policy: {}", yamlType)
	r := a.call("POST", "/v1/replays", "policy: {}", yamlType)
	if code, _ := r.failure(t); first.Code != http.StatusAccepted || r.Code != http.StatusTooManyRequests || code != "too_many" || r.Header().Get("Retry-After") == "" {
		t.Errorf("a second one: HTTP %d, then %d %s", first.Code, r.Code, r.body)
	}
	close(a.gateway.hold)
	var begun struct{ ID string }
	if err := json.Unmarshal([]byte(first.body), &begun); err != nil {
		t.Fatal(err)
	}
	if job := a.replayed(begun.ID); job.State != admin.ReplayDone || job.Records != 0 {
		t.Errorf("%+v", job)
	}
}

package admin_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/admin"
	"replygate/record"
)

// decided is a decision record as a log has it, made a number of seconds after start.
func decided(second int, id, more string) string {
	at := start.Add(time.Duration(second) * time.Second).Format("2006-01-02T15:04:05.000Z")
	return fmt.Sprintf(`{"level":"info","time":%q,"msg":"decision","id":%q,"at":%q,"corp_id":"wwLapsed","account":"Lapsed","standing":"lapsed",`+
		`"endpoint":"/cgi-bin/kf/send_msg","capability":"kf_reply",%s}`, at, id, at, more)
}

const (
	refusedReply = `"verdict":"refuse","reason":"window_closed","rule":"reply-inside-the-window","forwarded":false,"errcode":95002,"read":true`
	passedReply  = `"verdict":"pass","reason":"window_open","rule":"reply-inside-the-window","forwarded":true,"read":true`
	wouldRefuse  = passedReply + `,"shadow":{"verdict":"refuse","reason":"rule_refuse","rule":"strict"}`
)

// idOf is the id of the decision of a second. of tells gateways apart.
func idOf(second, of int) string {
	return fmt.Sprintf("%011x%05x", start.Add(time.Duration(second)*time.Second).UnixMilli(), of)
}

// remember puts records into a gateway's memory.
func (a *api) remember(lines ...string) {
	for _, l := range lines {
		a.gateway.newest = append(a.gateway.newest, []byte(l))
	}
}

func (a *api) decisions(query string, headers ...string) (list admin.DecisionList) {
	a.Helper()
	r := a.call("GET", "/v1/decisions?"+query, "", headers...)
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.Code != http.StatusOK {
		a.Fatalf("%s: HTTP %d %s", query, r.Code, r.body)
	}
	return list
}

// listed returns the ids of rows.
func listed(rows []admin.DecisionRow) (ids []string) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// all follows the cursors of a list to its end and returns the ids in their order.
func (a *api) all(query string) (ids []string) {
	a.Helper()
	next := ""
	for range 1000 {
		list := a.decisions(query + "&cursor=" + url.QueryEscape(next))
		ids = append(ids, listed(list.Decisions)...)
		if next = list.Next; next == "" {
			return ids
		}
	}
	a.Fatalf("%s has no end", query)
	return nil
}

// logged writes a log of one decision a second into files, of which all but the last are rotated,
// and returns its name.
func logged(t *testing.T, files, each int) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "decisions.log")
	for f := range files {
		var text strings.Builder
		for i := f * each; i < (f+1)*each; i++ {
			text.WriteString(decided(i, idOf(i, 1), refusedReply) + "\n")
		}
		name := path
		if f < files-1 {
			name = filepath.Join(dir, "decisions-"+start.Add(time.Duration((f+1)*each)*time.Second).Format("2006-01-02T15-04-05.000")+".log")
		}
		if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// The pages of a list go through memory and the rotated files: no decision is left out or shown
// twice, however small the pages and the reading of one page are.
func TestDecisionPages(t *testing.T) {
	t.Parallel()
	const files, each = 3, 400
	a := newAPI(t, "")
	a.gateway.file, a.gateway.since = logged(t, files, each), start.Add(1100*time.Second)
	for i := 1050; i < files*each; i++ { // the first of them are in the files too
		a.remember(decided(i, idOf(i, 1), refusedReply))
	}
	var want []string
	for i := files*each - 1; i >= 0; i-- {
		want = append(want, idOf(i, 1))
	}
	for _, budget := range []int64{1 << 30, 300 << 10} {
		a.gateway.budget = budget
		for _, limit := range []int{7, 50, 200} {
			if got := a.all(fmt.Sprintf("limit=%d", limit)); !slices.Equal(got, want) {
				t.Errorf("budget %d, limit %d: %d decisions, want %d", budget, limit, len(got), len(want))
			}
		}
	}
	from, to := start.Add(100*time.Second).Format(time.RFC3339), start.Add(1150*time.Second).Format(time.RFC3339)
	if got := a.all("from=" + from + "&to=" + to); !slices.Equal(got, want[files*each-1150:files*each-100]) {
		t.Errorf("from and to: %d decisions", len(got))
	}
	r := a.call("GET", "/v1/decisions?format=csv", "")
	if rows := strings.Split(strings.TrimSpace(r.body), "\n"); r.Code != http.StatusOK || len(rows) != files*each+1 || !strings.HasPrefix(rows[0], "id,time,at,gateway,corp_id") {
		t.Errorf("HTTP %d, %d rows of CSV: %s", r.Code, len(rows), rows[0])
	}
}

// Filters select, facets count what they select, and the rows are as in the log.
func TestDecisionFilters(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	other := strings.NewReplacer("wwLapsed", "wwGrace", "kf_reply", "moments", "/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/add_moment_task").Replace(decided(3, idOf(3, 1), `"verdict":"refuse","reason":"rule_refuse","rule":"no-moments","forwarded":false,"client":"crm"`))
	a.remember(decided(0, idOf(0, 1), refusedReply), decided(1, idOf(1, 1), passedReply), decided(2, idOf(2, 1), wouldRefuse), other,
		decided(4, idOf(4, 1), `"verdict":"unsure","reason":"store_unavailable","rule":"\"quoted\"","forwarded":true`))
	a.gateway.records = map[string]string{idOf(2, 1): string(a.gateway.newest[2])}
	for query, want := range map[string]string{
		"":                                     "4 3 2 1 0",
		"verdict=refuse":                       "3 0",
		"verdict=unsure":                       "4",
		"corp_id=wwGrace":                      "3",
		"reason=window_open":                   "2 1",
		"endpoint=/cgi-bin/kf/send_msg":        "4 2 1 0",
		"capability=moments":                   "3",
		"rule=no-moments":                      "3",
		"rule=strict":                          "2",
		"rule=%22quoted%22":                    "4",
		"client=crm":                           "3",
		"shadow=1":                             "2",
		"shadow=1&rule=no-moments":             "",
		"id=" + idOf(2, 1):                     "2",
		"id=" + idOf(9, 1):                     "",
		"id=" + idOf(2, 1) + "&verdict=refuse": "",
		"from=2026-11-22T12:00:02Z&to=2026-11-22T12:00:04Z": "3 2",
		"from=2026-11-22T20:00:02%2B08:00":                  "4 3 2",
		"corp_id=wwNone":                                    "",
	} {
		list := a.decisions(query)
		var got []string
		for _, r := range list.Decisions {
			at, _ := record.IDTime(r.ID)
			got = append(got, fmt.Sprint(int(at.Sub(start).Seconds())))
			if r.Gateway != "10.0.0.1:9090" || r.Time != r.At {
				t.Errorf("%s: %+v", query, r)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %q, want %q", query, text, want)
		}
	}
	list := a.decisions("")
	if got := fmt.Sprint(list.Facets); got != "{[{window_open 2} {rule_refuse 1} {store_unavailable 1} {window_closed 1}] [{/cgi-bin/kf/send_msg 4} {/cgi-bin/externalcontact/add_moment_task 1}] [{wwLapsed 4} {wwGrace 1}]}" {
		t.Errorf("facets %s", got)
	}
	for query, code := range map[string]string{
		"verdict=maybe": "bad_query", "shadow=yes": "bad_query", "id=12": "bad_query", "from=today": "bad_query", "peer=2": "bad_query", "limit=201": "bad_query",
		"sort=id": "bad_query", "nothing=1": "bad_query", "cursor=x": "bad_cursor", "cursor=" + idOf(1, 1): "bad_cursor",
	} {
		r := a.call("GET", "/v1/decisions?"+query, "")
		if got, _ := r.failure(t); r.Code != http.StatusBadRequest || got != code {
			t.Errorf("%s: HTTP %d %s", query, r.Code, r.body)
		}
	}
}

// A cursor that was changed anywhere is none.
func TestDecisionCursorTampering(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.remember(decided(0, idOf(0, 1), refusedReply), decided(1, idOf(1, 1), refusedReply))
	next := a.decisions("limit=1").Next
	for i := range next {
		changed := []byte(next)
		if changed[i]++; changed[i] > 'z' {
			changed[i] = 'A'
		}
		r := a.call("GET", "/v1/decisions?limit=1&cursor="+url.QueryEscape(string(changed)), "")
		if code, _ := r.failure(t); r.Code != http.StatusBadRequest || code != "bad_cursor" {
			t.Errorf("byte %d: HTTP %d %s", i, r.Code, r.body)
		}
	}
}

// silent is the address of a gateway that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// served is the address at which an API is served.
func (a *api) served() string {
	server := httptest.NewServer(a.handler)
	a.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

const withReadKey = "Authorization: Bearer " + readKey

// The decisions of all gateways are one list, in which those of gateways that do not answer, or
// have another key, are missing and named.
func TestDecisionsOfSeveralGateways(t *testing.T) {
	t.Parallel()
	a, b, strange := newAPI(t, keys), newAPI(t, keys), newAPI(t, strings.ReplaceAll(keys, readKey, "another-read-key-0123"))
	var want []string
	for i := range 120 {
		of := []*api{a, b}[i%2]
		of.remember(decided(i, idOf(i, i%2), refusedReply))
		want = append([]string{idOf(i, i%2)}, want...)
	}
	quiet := silent(t)
	other, unknown := b.served(), strange.served()
	a.admin.Keys.Peers = []string{other, quiet, unknown, "127.0.0.1:1"}
	b.admin.Keys.Peers = []string{"127.0.0.1:2"} // is not asked on behalf of another
	var got []string
	next := ""
	for {
		list := a.decisions("limit=50&cursor="+url.QueryEscape(next), withReadKey)
		got = append(got, listed(list.Decisions)...)
		var missing []string
		for _, m := range list.Partial {
			missing = append(missing, m.Gateway+" "+m.Error)
		}
		if text := strings.Join(missing, "; "); text != quiet+" no answer within 500ms; "+unknown+" it has another admin.read_key; 127.0.0.1:1 no connection" {
			t.Errorf("missing are %s", text)
		}
		if list.Facets.Reason[0].Count != 120 {
			t.Errorf("facets %v", list.Facets)
		}
		if next = list.Next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d decisions, want %d", len(got), len(want))
	}
	rows := a.decisions("limit=2", withReadKey).Decisions
	if rows[0].Gateway != other || rows[1].Gateway != "10.0.0.1:9090" {
		t.Errorf("%+v", rows)
	}

	b.gateway.records = map[string]string{idOf(1, 1): decided(1, idOf(1, 1), refusedReply)}
	r := a.call("GET", "/v1/decisions/"+idOf(1, 1), "", withReadKey)
	var found admin.FoundDecision
	if err := json.Unmarshal([]byte(r.body), &found); err != nil || r.Code != http.StatusOK || found.Gateway != other {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
	r = a.call("GET", "/v1/decisions/"+idOf(500, 1), "", withReadKey)
	if code, message := r.failure(t); code != "no_decision" || !strings.Contains(message, "looked on 2 gateways") || !strings.Contains(message, quiet+" did not answer") {
		t.Errorf("HTTP %d %s", r.Code, r.body)
	}
}

// A gateway's answer is bounded: one that is too long, or none of a gateway, is as good as none.
func TestPeersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"its answer cannot be read: is it a gateway of this version?": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"its answer is larger than 8 MiB":                             func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8<<20+1)) },
		"it answered HTTP 302": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:3/", http.StatusFound)
		},
		"it answered HTTP 503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	} {
		server := httptest.NewServer(answer)
		a := newAPI(t, "")
		a.admin.Keys.Peers = []string{strings.TrimPrefix(server.URL, "http://")}
		if list := a.decisions(""); len(list.Partial) != 1 || list.Partial[0].Error != name {
			t.Errorf("%s: %+v", name, list.Partial)
		}
		server.Close()
	}
}

// What an undecided record lacks is said, and the same call is judged now by what is known now.
func TestDecisionNow(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	id := idOf(0, 1)
	line := decided(0, id, refusedReply+`,"channel":"wk","recipients":1,"customers":["wm"],"windows":[{"state":"closed"}]`)
	a.gateway.records = map[string]string{
		id:         line,
		idOf(1, 1): decided(1, idOf(1, 1), strings.Replace(refusedReply, `,"read":true`, "", 1)),
		idOf(2, 1): decided(2, idOf(2, 1), refusedReply+`,"channel":"wk","recipients":1,"customers":["h:0123"],"windows":[{"state":"closed"}]`),
	}
	find := func(id string) (found admin.FoundDecision) {
		t.Helper()
		r := a.call("GET", "/v1/decisions/"+id, "")
		if err := json.Unmarshal([]byte(r.body), &found); err != nil || r.Code != http.StatusOK {
			t.Fatalf("HTTP %d %s", r.Code, r.body)
		}
		return found
	}
	if f := find(id); f.Undecided != "" || f.Explain.Undecided || f.Explain.Reason != "window_closed" || len(f.Explain.Rules) == 0 || f.Now == nil || f.Now.Reason != "window_closed" {
		t.Errorf("%+v", f)
	}
	a.wrote("wwLapsed", "wk", "wm", -time.Minute)
	if f := find(id); f.Explain.Reason != "window_closed" || f.Now == nil || *f.Now != (admin.DecisionNow{Verdict: "pass", Rule: "reply-inside-the-window", Reason: "window_open"}) {
		t.Errorf("after a message: %+v", f)
	}
	if left := a.replied("wwLapsed", "wk", "wm", 1); left != 4 {
		t.Errorf("looking counted a reply: %d are left", left)
	}
	if f := find(idOf(1, 1)); f.Undecided == "" || !f.Explain.Undecided || f.Now != nil {
		t.Errorf("without facts: %+v", f)
	}
	if f := find(idOf(2, 1)); f.Undecided != "" || f.Now != nil {
		t.Errorf("with a hashed id: %+v", f)
	}
}

// BenchmarkDecisions is a page of a full memory, without and with a filter.
func BenchmarkDecisions(b *testing.B) {
	lines := make([][]byte, 50_000)
	for i := range lines {
		reason := []string{"window_closed", "rule_refuse", "replies_used_up"}[i%3]
		lines[i] = []byte(strings.Replace(decided(i, idOf(i, 1), refusedReply+`,"note":"`+strings.Repeat("x", 300)+`"`), "window_closed", reason, 1))
	}
	for name, query := range map[string]string{"all": "", "filtered": "reason=replies_used_up&corp_id=wwLapsed&verdict=refuse"} {
		b.Run(name, func(b *testing.B) {
			a := &admin.Admin{Gateway: &gateway{newest: lines}, Now: time.Now, Gatherer: prometheus.NewRegistry()}
			handler := a.Handler()
			for b.Loop() {
				req, w := httptest.NewRequest(http.MethodGet, "/v1/decisions?"+query, nil), httptest.NewRecorder()
				if handler.ServeHTTP(w, req); w.Code != http.StatusOK {
					b.Fatalf("HTTP %d %s", w.Code, w.Body)
				}
			}
		})
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/events"
	"replygate/store/storetest"
)

// listener reads GET /v1/events of a gateway.
type listener struct {
	*testing.T
	resp  *http.Response
	lines *bufio.Scanner
	last  string // the position of the last event
}

// seenEvent is an event as a listener reads it.
type seenEvent struct {
	kind string // event:
	Type string
	ID   string
	Data struct {
		CorpID    string `json:"corp_id"`
		Customer  string
		Before    string
		ClosesAt  string `json:"closes_at"`
		Reachable bool   `json:"reachable_after"`
		Oldest    string
		Hash      string
		Changed   []string
		Error     string
		From, To  string

		ID, Verdict, Reason, Gateway string
		Dropped                      *int
	}
	Oldest string
}

// listen begins to listen, after a position unless that is "".
func (r *rig) listen(g *gateway, query, after string) *listener {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+g.control.Addr().String()+"/v1/events?"+query, nil)
	if err != nil {
		r.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		r.Fatalf("HTTP %d %v", resp.StatusCode, resp.Header)
	}
	return &listener{T: r.T, resp: resp, lines: bufio.NewScanner(resp.Body)}
}

// next returns the next event; ok is false at the end of the stream.
func (l *listener) next() (e seenEvent, ok bool) {
	l.Helper()
	late := time.AfterFunc(40*time.Second, func() { l.resp.Body.Close() })
	defer late.Stop()
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			l.last = value
		case "event":
			e.kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				l.Fatalf("%s: %v", value, err)
			}
		case "":
			if e.kind != "" {
				return e, true
			}
		}
	}
	return e, false
}

// chats reads events of chats, as "CUSTOMER TYPE BEFORE", sorted.
func (l *listener) chats(n int) (all []string) {
	l.Helper()
	for range n {
		e, ok := l.next()
		if !ok {
			l.Fatalf("the stream ends after %q", all)
		}
		if e.kind != e.Type || e.Data.CorpID != corpID || e.Data.ClosesAt == "" || e.Data.Reachable {
			l.Errorf("%+v", e)
		}
		all = append(all, strings.TrimSpace(e.Data.Customer+" "+strings.TrimPrefix(e.Type, "window.")+" "+e.Data.Before))
	}
	slices.Sort(all)
	return all
}

func (l *listener) wants(want ...string) {
	l.Helper()
	if got := l.chats(len(want)); !slices.Equal(got, want) {
		l.Errorf("%q, want %q", got, want)
	}
}

// A chat that waits is announced at each distance, and when it closes unanswered. One that is
// answered is not, even in its last moment.
func TestEventsOfChats(t *testing.T) {
	server := storetest.Start(t)
	r := newRig(t, server.Config(), nil)
	for _, customer := range []string{"wmA", "wmB", "wmC", "wmD"} {
		r.writes(customer)
	}
	closes := r.clock.Now().Add(48 * time.Hour)
	r.reply("wmB", "pass", "window_open")
	r.awaitsAnswer("the answer", "", "wmA", "wmC", "wmD")
	l := r.listen(r.gateway, "types=window.*&corp_id="+corpID, "")
	r.clock.Set(closes.Add(-4 * time.Hour))
	l.wants("wmA closing 4h", "wmC closing 4h", "wmD closing 4h")
	r.clock.Set(closes.Add(-50 * time.Minute)) // late: 1h was due before
	l.wants("wmA closing 1h", "wmC closing 1h", "wmD closing 1h")
	r.clock.Set(closes.Add(-15 * time.Minute))
	l.wants("wmA closing 15m", "wmC closing 15m", "wmD closing 15m")
	r.token = ""
	r.reply("wmC", "pass", "window_open")
	r.awaitsAnswer("the answer", "", "wmA", "wmD")
	open := func(n int) func() bool {
		return func() bool { return numberOf(server, "zcard", "rg:{events}:closing") == n }
	}
	r.clock.Set(closes.Add(-10 * time.Second))
	r.await("the look that finds wmC answered", open(2))
	r.reply("wmD", "pass", "window_open")
	r.awaitsAnswer("the answer", "", "wmA")
	r.clock.Set(closes.Add(-time.Second))
	r.await("the last look at wmD", open(1))
	r.clock.Set(closes.Add(time.Second))
	l.wants("wmA closed_unanswered")
	r.await("the end", open(0))
	if n := r.loggedEvents("window."); n != 10 {
		t.Errorf("%d events in the log", n)
	}
	if metrics := string(r.adminCall("GET", "/metrics", "").body); !strings.Contains(metrics, `replygate_events_logged_total{type="window.closed_unanswered"} 1`) || !strings.Contains(metrics, "replygate_events_listeners 1") {
		t.Error("the metrics do not tell of it")
	}
}

// A gateway dies while it logs: the listener goes on at another one where it was, and gets every
// event; none is in the log twice.
func TestEventsOverAGatewaysDeath(t *testing.T) {
	server := storetest.Start(t)
	r := newRig(t, server.Config(), nil)
	dying, stop := r.startApart(server.Config(), nil)
	r.acquainted(r.gateway, 2)
	const many = 9 // fewer than tell that replies bypass the gateway
	wait := func(from int) (names []string) {
		for n := range many {
			names = append(names, fmt.Sprintf("wm%02d", from+n))
			r.writes(names[n])
		}
		return names
	}
	first := wait(0)
	r.clock.Advance(time.Hour)
	second := wait(many)
	r.awaitsAnswer("all", "limit=200", append(first, second...)...)
	l := r.listen(dying, "types=window.closing", "")
	r.clock.Advance(43 * time.Hour)
	got := l.chats(5)
	stopped := stop()
	r.clock.Advance(time.Hour) // the second ones are due, and the first once more
	for {
		e, ok := l.next()
		if !ok {
			break
		}
		got = append(got, e.Data.Customer+" closing "+e.Data.Before)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	l = r.listen(r.gateway, "types=window.closing", l.last)
	for len(got) < 2*many {
		e, ok := l.next()
		if !ok {
			t.Fatalf("the stream ends after %q", got)
		}
		got = append(got, e.Data.Customer+" closing "+e.Data.Before)
	}
	var want []string
	for _, name := range append(first, second...) {
		want = append(want, name+" closing 4h")
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	r.await("the log", func() bool { return r.loggedEvents(events.WindowClosing) == 2*many })
}

// loggedEvents returns how many events of types with a prefix are in the log.
func (r *rig) loggedEvents(prefix string) (n int) {
	r.Helper()
	all, err := r.gateway.events.log.Read(r.Context(), "", 1000)
	if err != nil {
		r.Fatal(err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Type, prefix) {
			n++
		}
	}
	return n
}

// numberOf runs a command whose answer is a number.
func numberOf(s *storetest.Server, args ...string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(s.CLI(args...)))
	return n
}

// Reloads are events, the errors of a rejected configuration too; an account that lapses, at the
// very second. What is asked for wrongly is refused.
func TestEventsOfAGateway(t *testing.T) {
	f := newFileRig(t)
	l := f.listen(f.gateway, "types=config.*", "")
	f.writes(passDetails)
	if a := f.reloads(); a.StatusCode != 200 {
		t.Fatalf("%s", a.body)
	}
	if e, ok := l.next(); !ok || e.Type != events.ConfigReloaded || len(e.Data.Hash) != 16 || !slices.Contains(e.Data.Changed, "policy.rules") {
		t.Errorf("%+v", e)
	}
	f.writes("policy: { mode: sometimes }\n")
	f.reloads()
	if e, ok := l.next(); !ok || e.Type != events.ConfigRejected || !strings.Contains(e.Data.Error, "sometimes") {
		t.Errorf("%+v", e)
	}
	again := f.listen(f.gateway, "types=config.rejected&after=0", "")
	if e, ok := again.next(); !ok || e.Type != events.ConfigRejected {
		t.Errorf("%+v", e)
	}
	lost := f.listen(f.gateway, "", "1-1")
	if e, ok := lost.next(); !ok || e.kind != "reset" || !events.IsPosition(e.Oldest) {
		t.Errorf("%+v", e)
	}
	if e, ok := lost.next(); !ok || e.Type != events.ConfigReloaded {
		t.Errorf("%+v", e)
	}
	for query, want := range map[string]string{"types=weather.*": "bad_query", "after=yesterday": "bad_query", "corp=x": "bad_query"} {
		if a := f.adminCall("GET", "/v1/events?"+query, ""); a.StatusCode != 400 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: HTTP %d %s", query, a.StatusCode, a.body)
		}
	}
	if a := f.adminCall("HEAD", "/v1/events", ""); a.StatusCode != 200 {
		t.Errorf("HEAD: HTTP %d", a.StatusCode)
	}
}

// Without Redis nobody can listen; what a gateway alone knows is logged when Redis is back, and a
// listener that was there before stays.
func TestEventsWithoutRedis(t *testing.T) {
	server := storetest.Start(t)
	r := newRig(t, server.Config(), func(c *config.Config) {
		c.Admin.ReadKey = "the-read-key"
		c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: time.Now().Add(10 * 24 * time.Hour)}
	})
	if a := r.adminCall("GET", "/v1/events", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("HTTP %d", a.StatusCode)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs output
	printed := make(chan error, 1)
	go func() {
		to := tail{client: client{base: "http://" + r.gateway.control.Addr().String(), read: "the-read-key"}, query: map[string][]string{"after": {"0"}}, s: streams{out: &out, err: &errs}}
		printed <- to.run(ctx)
	}()
	prints := func(what string) {
		t.Helper()
		r.await(what, func() bool { return strings.Contains(out.String(), what) })
	}
	prints("account.expires_soon  corp_id=" + corpID)
	server.Down()
	r.await("the outage", func() bool { return !r.gateway.store.Up() })
	if a := r.adminCall("GET", "/v1/events", "", "Authorization: Bearer the-read-key"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	r.clock.Advance(2 * time.Minute)
	time.Sleep(1500 * time.Millisecond) // the look that finds it has no sign of its own
	server.Up()
	prints("store.down")
	r.clock.Advance(2 * time.Minute)
	prints("store.up")
	if cancel(); <-printed != nil {
		t.Errorf("tail ends with an error: %s", errs.String())
	}
	if code, _, text := cli(t, "events", "tail", "--admin", "127.0.0.1:1"); code != exitBad || !strings.Contains(text, "no gateway answers") {
		t.Errorf("exit %d %s", code, text)
	}
	if os.Getenv("REPLYGATE_ADMIN_READ_KEY") == "" {
		if code, _, text := cli(t, "events", "tail", "--admin", r.gateway.control.Addr().String()); code != exitBad || !strings.Contains(text, "wants a key") {
			t.Errorf("exit %d %s", code, text)
		}
	}
}

// Refused calls are events for a listener that names them, with their decision record, and for no
// other one.
func TestEventsOfRefusedCalls(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	l := r.listen(r.gateway, "types=decision.refused", "")
	seen := make(chan seenEvent, 1)
	go func() {
		e, _ := l.next()
		seen <- e
	}()
	var e seenEvent
	r.await("the event", func() bool {
		r.reply("wmNever", "refuse", "window_closed") // until the gateway knows that somebody listens
		select {
		case e = <-seen:
			return true
		default:
			return false
		}
	})
	if d := e.Data; e.kind != events.DecisionRefused || d.CorpID != corpID || d.Verdict != "refuse" || d.Reason != "window_closed" || d.Gateway == "" || d.Dropped == nil || len(d.ID) != 16 {
		t.Errorf("%+v", e)
	}
	if a := r.adminCall("GET", "/v1/decisions/"+e.Data.ID, ""); a.StatusCode != 200 {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	all := events.Filter{}
	if entries, err := r.gateway.events.log.Read(t.Context(), "", 10); err != nil || len(entries) == 0 || all.Matches(&entries[0]) {
		t.Errorf("%+v %v", entries, err)
	}
}

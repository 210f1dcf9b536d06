package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// resources are the reads of the admin API about the account of the tests; %s is the id of a
// decision.
var resources = []string{
	"/readyz", "/v1/windows", "/v1/windows?corp_id=" + corpID, "/v1/windows?corp_id=" + corpID + "&channel=" + channel + "&customer=" + wrote,
	"/v1/closing", "/v1/accounts", "/v1/accounts?sort=name", "/v1/accounts/" + corpID, "/v1/calendar", "/v1/entities", "/v1/entities/golden",
	"/v1/contacts", "/v1/contacts/count?corp_id=" + corpID, "/v1/rehearsal?corp_id=" + corpID, "/v1/config", "/v1/backfills?corp_id=" + corpID,
	"/v1/decisions", "/v1/decisions/%s", "/v1/rules", "/v1/health", "/v1/overview",
	"/v1/accounts?format=csv", "/v1/closing?format=csv", "/v1/contacts?format=csv", "/v1/decisions?format=csv", "/v1/rehearsal?format=csv&corp_id=" + corpID,
	"/v1/entities?format=csv",
}

// pagesOfConsole are its pages, likewise.
var pagesOfConsole = []string{
	"", "closing", "accounts", "accounts/calendar", "accounts/" + corpID, "contacts", "entities/golden", "rehearsal", "rehearsal?corp_id=" + corpID,
	"windows", "windows?corp_id=" + corpID, "windows?corp_id=" + corpID + "&channel=" + channel + "&customer=" + wrote,
	"decisions", "decisions/%s", "rules", "health", "settings",
}

// signIn opens a session of the console, and returns its cookie.
func (r *rig) signIn(key string) string {
	r.Helper()
	body := url.Values{"key": {key}}.Encode()
	a := raw(r, r.gateway.control.Addr().String(), "POST /console/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n"+body)
	cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	if cookie == "" {
		r.Fatalf("no session: HTTP %d", a.StatusCode)
	}
	return cookie
}

// see reads all resources with the read key, and all pages in some languages. It returns the
// answers by path.
func (r *rig) see(key, cookie, decision string, langs ...string) map[string]answer {
	r.Helper()
	all := map[string]answer{}
	for _, path := range resources {
		path = strings.ReplaceAll(path, "%s", decision)
		all[path] = r.adminCall("GET", path, "", "Authorization: Bearer "+key)
	}
	for _, path := range pagesOfConsole {
		path = "/console/" + strings.ReplaceAll(path, "%s", decision)
		for _, lang := range langs {
			all[path+" in "+lang] = r.adminCall("GET", path, "", "Cookie: "+cookie+"; replygate-lang="+lang)
		}
	}
	return all
}

// newestDecision is the id of a decision on record.
func (r *rig) newestDecision(key string) string {
	r.Helper()
	var list struct{ Decisions []struct{ ID string } }
	a := r.adminCall("GET", "/v1/decisions?limit=1", "", "Authorization: Bearer "+key)
	if err := json.Unmarshal(a.body, &list); err != nil || len(list.Decisions) == 0 {
		r.Fatalf("no decision: HTTP %d %s", a.StatusCode, a.body)
	}
	return list.Decisions[0].ID
}

// silent is the address of a gateway that takes connections and does not answer.
func silent(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// awayFrom says how a page is without Redis. Those that are not here have their answer from memory.
var awayFrom = map[string]int{
	"": http.StatusOK, "accounts/" + corpID: http.StatusOK, "health": http.StatusOK, "contacts": http.StatusOK, // but for a part, and they say so
	"closing": http.StatusServiceUnavailable, "entities/golden": http.StatusServiceUnavailable,
	"rehearsal?corp_id=" + corpID: http.StatusServiceUnavailable, "windows": http.StatusServiceUnavailable, "windows?corp_id=" + corpID: http.StatusServiceUnavailable,
	"windows?corp_id=" + corpID + "&channel=" + channel + "&customer=" + wrote: http.StatusServiceUnavailable,
}

// ofAllGateways are the pages that name a gateway which does not answer, and exportOfAllGateways is
// the resource that is not served without it.
var ofAllGateways = []string{"", "decisions", "health"}

const exportOfAllGateways = "/v1/decisions?format=csv"

// Every page and every resource answers while Redis is away and another gateway is silent, and a
// page says what it lacks.
func TestScreensWithoutRedis(t *testing.T) {
	const key = "screens-read-key"
	server, quiet := storetest.Start(t), silent(t)
	redis := server.Config()
	redis.Timeout = 300 * time.Millisecond
	r := newRig(t, redis, func(c *config.Config) {
		c.Admin = config.Admin{ReadKey: key, ChangeKey: key + "2", MetricsKey: key + "3", Peers: []string{quiet}}
	})
	r.acquainted(r.gateway, 1)
	r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
	r.sync()
	r.reply(wrote, "pass", "window_open")
	r.reply("wmNobody", "refuse", "window_closed")
	cookie, decision := r.signIn(key), r.newestDecision(key)
	look := func(away bool, lang string) {
		t.Helper()
		all := r.see(key, cookie, decision, lang)
		for _, path := range pagesOfConsole {
			a, want := all["/console/"+strings.ReplaceAll(path, "%s", decision)+" in "+lang], http.StatusOK
			_, body, _ := strings.Cut(string(a.body), "<main")
			if status, lacks := awayFrom[path]; away && lacks {
				if want = status; !strings.Contains(body, "Redis") {
					t.Errorf("%q does not say that Redis is away: %s", path, body)
				}
			}
			if a.StatusCode != want {
				t.Errorf("%q: HTTP %d, want %d (away: %t): %.500s", path, a.StatusCode, want, away, body)
			}
			if slices.Contains(ofAllGateways, path) && !strings.Contains(body, quiet) {
				t.Errorf("%q does not name the silent gateway (away: %t): %s", path, away, body)
			}
		}
		for _, path := range resources {
			a := all[strings.ReplaceAll(path, "%s", decision)]
			if path == exportOfAllGateways { // it has the records of all gateways, or fails
				if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(a.body), quiet) {
					t.Errorf("%s: HTTP %d %s (away: %t)", path, a.StatusCode, a.body, away)
				}
				continue
			}
			if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusNotFound && !(away && a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "") {
				t.Errorf("%s: HTTP %d %s (away: %t)", path, a.StatusCode, a.body, away)
			}
		}
	}
	look(false, "en")
	server.Down()
	r.await("the gateway to know", func() bool { return !r.gateway.store.Up() })
	look(true, "zh")
}

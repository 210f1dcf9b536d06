package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/window"
)

// fillJournal writes messages until the journal of a gateway whose Redis is away is full.
func (r *rig) fillJournal() {
	r.Helper()
	for page := range 100 {
		facts := make([]window.Fact, 1000)
		for i := range facts {
			k := window.Key{Corp: corpID, Channel: channel, Customer: fmt.Sprintf("wmFull%d.%d", page, i)}
			facts[i] = window.Fact{Key: k, At: r.clock.Now()}
		}
		if _, err := r.gateway.windows.Record(context.Background(), facts); err != nil {
			return
		}
	}
	r.Fatal("the journal is never full")
}

// ownLines counts the lines of the gateway's own log by level and message.
func (r *rig) ownLines() map[string]int {
	r.Helper()
	n := map[string]int{}
	for line := range strings.Lines(r.log()) {
		var l struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			r.Fatalf("%q: %v", line, err)
		}
		switch l.Msg {
		case "request", "callback", "decision":
		default:
			n[l.Level+" "+l.Msg]++
		}
	}
	return n
}

// However often bots, WeCom and operators repeat what fails while Redis is away, the log has a line
// or two about each failure.
func TestOutageDoesNotFloodTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	for _, test := range []struct {
		name   string
		before func(r *rig) // once Redis is away
		want   []string     // lines that must be among those of the log
	}{
		{"a journal with room", func(*rig) {}, nil},
		{"a full journal", (*rig).fillJournal, []string{
			"warn a callback could not be recorded: WeCom will send it again",
			"warn customers' messages or codes passed unrecorded: replies without an open window are history_incomplete there until a window's length is over",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := storetest.Start(t)
			r, _, app := callbackRig(t, server.Config(), func(c *config.Config) {
				c.Policy.UnsureWait, c.Journal.MaxBytes = 0, 64<<10
			})
			forged := app
			forged.Token = "another-token"
			r.platform.CustomerEnters(corpID, channel, wrote)
			r.platform.DeliveryFails(corpID, channel, wrote, 4)
			r.token = r.fetchToken(r.gateway)
			server.Down()
			r.await("the gateway to notice", func() bool { return !r.gateway.store.Up() })
			test.before(r)
			for i := range 50 {
				customer := fmt.Sprint("wmRepeated", i)
				r.fetchToken(r.gateway)
				r.platform.CustomerWrites(corpID, channel, customer, "hello")
				if a := r.sync(); a.Errcode != 0 {
					t.Fatalf("a page: %s", a.body)
				}
				for _, plain := range []string{
					event("customer_acquisition.customer_start_chat", corpID, customer, r.clock.Now(), false),
					event("change_external_contact.edit_external_contact", corpID, customer, r.clock.Now(), false),
				} {
					for _, by := range []func() error{
						func() error { _, err := app.Deliver(r.clock.Now(), plain); return err },
						func() error { _, err := forged.Deliver(r.clock.Now(), plain); return err },
						func() error { _, err := app.Deliver(r.clock.Now().Add(-time.Hour), plain); return err },
					} {
						if err := by(); err != nil {
							t.Fatal(err)
						}
					}
				}
				r.reply("wmOther", "unsure", "store_unavailable")
				if a := r.call("GET", "/cgi-bin/externalcontact/get?external_userid=wmA", ""); a.Gate.Verdict != "refuse" {
					t.Fatalf("customer details: %s", a.body)
				}
				r.gateway.admin.ErrorLog.Printf("http: Accept error: try %d: too many open files; retrying in 1s", i) // as the server does
				if a := r.adminCall("POST", "/v1/reload", "{}"); a.StatusCode != 422 {
					t.Fatalf("a reload without a file: HTTP %d %s", a.StatusCode, a.body)
				}
			}
			lines := r.ownLines()
			for line, n := range lines {
				if n > 2 {
					t.Errorf("%d lines %q", n, line)
				}
			}
			for _, want := range append(test.want,
				"error redis is away",
				"error the configuration could not be reloaded: the one before it stays in force",
				"warn a callback is not signed with the token of its path: nothing of it was recorded; copy the token from WeCom's console unless the callback is a forgery",
				"warn a callback's timestamp is more than ten minutes off: nothing of it was recorded; check this machine's clock",
				"warn a token is known to this gateway alone until redis takes it",
				"warn the admin listener's server reports an error",
			) {
				if lines[want] == 0 {
					t.Errorf("no line %q, but\n%v", want, lines)
				}
			}
		})
	}
}

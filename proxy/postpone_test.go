package proxy_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/window"
)

// journaled gives the gateway windows with a journal, as one that held its lease a moment ago.
func (r *harness) journaled(size int64) *store.Journal {
	r.Helper()
	j, _, _, err := store.OpenJournal(filepath.Join(r.TempDir(), "journal"), size)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { j.Close() })
	j.Stamp(r.clock.Now())
	r.gateway.Windows = window.NewShared(r.rdb, reachable{}, j, window.Settings{
		Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: time.Second, Now: r.clock.Now, CorpOf: r.gateway.CorpOf,
	})
	return j
}

// reachable is a Redis that has answered once.
type reachable struct{}

func (reachable) Checked() bool                     { return true }
func (reachable) MultiKey() bool                    { return true }
func (reachable) RedisTime(string, time.Time) int64 { return 0 }

// kinds returns the first bytes of the journal's records, sorted.
func kinds(t *testing.T, j *store.Journal) string {
	t.Helper()
	records, _, err := j.Read(j.Start(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, record := range records {
		all = append(all, record[0])
		if bytes.Contains(record, []byte("tokenT")) {
			t.Errorf("the journal has a token: %s", record)
		}
	}
	slices.Sort(all)
	return string(all)
}

// What an answer says goes to the journal if Redis cannot be asked whose it is, and only then.
func TestAnswersWhoseCorpRedisKnows(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	message, code := itemOf(3, "wk1", wmLi, now), eventOf(now, of("wk1", wmLi, "enter_session")+`,"welcome_code":"C"`)
	const trans = "/cgi-bin/kf/service_state/trans"
	for _, test := range []struct {
		name    string
		change  func(*config.Config)
		call    ask
		answer  string
		journal string
		counts  string
	}{
		{"a message", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(message), "P", "recorded 1"},
		{"a code", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(code), "P", ""},
		{"an item that cannot be read", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(itemOf(3, "wk1", "", now)), "P", "unreadable 1"},
		{"an answer that cannot be read", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, "[]", "P", "unreadable 1"},
		{"an empty page", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(), "", ""},
		{"a servicer's message", nil, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(itemOf(5, "wk1", wmLi, now)), "", ""},
		{"the setting names the corp", func(c *config.Config) { c.UnknownToken = corpActive }, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(message), "P", "recorded 1"},
		{"the setting names the only account", func(c *config.Config) { c.UnknownToken, c.Accounts = corpLapsed, c.Accounts[1:] }, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(message), "M", "recorded 1"},
		{"the path names the corp", nil, ask{target: "/corp/wwLapsed" + pull + "?access_token=tokenT", body: "{}"}, pageOf(message), "M", "recorded 1"},
		{"a refused token", func(c *config.Config) { c.UnknownToken = config.Refuse }, ask{target: pull + "?access_token=tokenT", body: "{}"}, pageOf(message), "P", "recorded 1"},
		{"the code of a transition", nil, ask{target: trans + "?access_token=tokenT", body: transition("wk1", wmLi, 2)}, `{"errcode":0,"errmsg":"ok","msg_code":"CODE"}`, "P", ""},
		{"its code without a customer", nil, ask{target: trans + "?access_token=tokenT", body: transition("wk1", "", 2)}, `{"errcode":0,"errmsg":"ok","msg_code":"CODE"}`, "P", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, test.change)
			r.clock.Set(now)
			j := r.journaled(1 << 20)
			path, _, _ := strings.Cut(strings.TrimPrefix(test.call.target, "/corp/wwLapsed"), "?")
			r.replies(path, 200, test.answer)
			r.redis.away.Store(true)
			var got answer
			moved := r.moved(func() { got = r.ask(test.call) })
			if got.body != test.answer {
				t.Errorf("the bot reads %s", got.body)
			}
			if all := kinds(t, j); all != test.journal {
				t.Errorf("the journal has %q, want %q", all, test.journal)
			}
			counts := ""
			for name, n := range moved {
				if result, ok := strings.CutPrefix(name, `replygate_inbound_total{result="`); ok {
					counts += fmt.Sprint(strings.TrimSuffix(result, `",source="sync_msg"}`), " ", n)
				}
			}
			if counts != test.counts {
				t.Errorf("counted %q, want %q", counts, test.counts)
			}
			if n := r.log.FilterMessageSnippet("passed unrecorded").Len(); n != 0 {
				t.Errorf("%d lines say that something passed unrecorded", n)
			}
			r.redis.away.Store(false)
			if gaps := r.gaps(); gaps != "" {
				t.Errorf("gaps %q", gaps)
			}
		})
	}
}

// If the journal does not take a page either, it marks the gaps of its channels, as does one whose
// token Redis does not know.
func TestPageThatTheJournalDoesNotTake(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	j := r.journaled(60)
	call := ask{target: pull + "?access_token=tokenT", body: "{}"}
	page := pageOf(itemOf(3, "wk1", wmLi, r.clock.Now()))
	r.redis.away.Store(true)
	if counts := r.pulled(call, page); counts != "unattributed 1" || !j.Empty() {
		t.Errorf("counted %q", counts)
	}
	if n := r.log.FilterMessageSnippet("passed unrecorded").Len(); n != 1 {
		t.Errorf("%d lines say that something passed unrecorded", n)
	}
	if n := r.log.FilterMessage("whose a page is cannot be asked later: the journal did not take it").Len(); n != 1 {
		t.Errorf("%d lines", n)
	}
	r.redis.away.Store(false)
	r.gateway.Windows = window.NewEmbedded(r.rdb, reachable{}, window.Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: time.Second, Now: r.clock.Now})
	if counts := r.pulled(call, page); counts != "unattributed 1" {
		t.Errorf("Redis does not know the token: counted %q", counts)
	}
	if gaps := r.gaps(); gaps != "wk1" {
		t.Errorf("gaps %q", gaps)
	}
}

// The corp of a postponed page is its token's, else the one that owns its channels. Nothing is told
// before Redis answers.
func TestCorpOf(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.Accounts[0].Channels = []string{"wkListed"} })
	other := newTokens(r) // of another gateway, so that this one has to ask Redis
	if err := other.Learn(t.Context(), "tokenT", corpLapsed, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := other.LearnChannels(t.Context(), corpLapsed, []string{"wk1", "wk2"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ token, channels, want string }{
		{"tokenT", "", corpLapsed},
		{"tokenT", "wkListed", corpLapsed},
		{"unknown", "", ""},
		{"unknown", "wk1", corpLapsed},
		{"unknown", "wk1 wk2 wk3", corpLapsed},
		{"unknown", "wkListed", corpActive},
		{"unknown", "wkListed wk1", ""},
		{"unknown", "wk3", ""},
	} {
		r.gateway.Tokens = newTokens(r) // a restarted one
		r.redis.away.Store(true)
		channels := strings.Fields(test.channels)
		if corp, err := r.gateway.CorpOf(t.Context(), account.HashToken(test.token), channels); err == nil {
			t.Errorf("%s, %q: %q without Redis", test.token, channels, corp)
		}
		r.redis.away.Store(false)
		if corp, err := r.gateway.CorpOf(t.Context(), account.HashToken(test.token), channels); err != nil || corp != test.want {
			t.Errorf("%s, %q: %q, %v; want %q", test.token, channels, corp, err, test.want)
		}
	}
	r.reconfigure(func(c *config.Config) { c.UnknownToken = corpActive })
	for token, want := range map[string]string{"tokenT": corpLapsed, "unknown": corpActive} {
		r.gateway.Tokens = newTokens(r)
		if corp, err := r.gateway.CorpOf(t.Context(), account.HashToken(token), []string{"wk1"}); err != nil || corp != want {
			t.Errorf("%s by the setting: %q, %v; want %q", token, corp, err, want)
		}
	}
}

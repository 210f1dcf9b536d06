package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// The user of docs/redis.md, who may touch the prefix alone, is enough for the whole story: Redis
// notes each command that it denies.
func TestLimitedUser(t *testing.T) {
	page, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, found := strings.Cut(string(page), "    user replygate ")
	rules, _, _ = strings.Cut(rules, "\n")
	if !found {
		t.Fatal("docs/redis.md has no user")
	}
	body := func(t *testing.T, without string, redis config.Redis, servers ...*storetest.Server) {
		for _, s := range servers {
			s.CLI(append([]string{"acl", "setuser", "replygate"}, strings.Fields(rules)...)...)
			if without != "" {
				s.CLI("acl", "setuser", "replygate", "-"+without)
			}
		}
		redis.Username, redis.Password = "replygate", "a-long-password"
		r := newRig(t, redis, nil)
		r.start(redis, nil)
		r.acquainted(r.gateway, 2)
		r.reply(wrote, "refuse", "window_closed")
		r.writes(wrote)
		r.reply(wrote, "pass", "window_open")
		r.platform.FailNext("/cgi-bin/kf/send_msg", 45009, 95001, 95002)
		for range 2 { // given back; used up
			r.reply(wrote, "pass", "window_open")
		}
		r.reply(wrote, "refuse", "replies_used_up")
		code := r.platform.CustomerEnters(corpID, channel, "wmNew")
		r.sync()
		r.onEvent(code, "pass", "code_live")
		if a := r.adminCall("GET", "/v1/windows?scan=1&corp_id="+corpID, ""); !strings.Contains(string(a.body), wrote) {
			t.Errorf("windows: %s", a.body)
		}
		for _, change := range []string{"open", "close"} {
			if a := r.adminCall("POST", "/v1/windows/"+change, `{"corp_id":"`+corpID+`","channel":"`+channel+`","customer":"wmByHand","reason":"a call"}`); a.StatusCode != 200 {
				t.Errorf("%s: HTTP %d %s", change, a.StatusCode, a.body)
			}
		}
		for _, s := range servers {
			denied := s.CLI("acl", "log")
			for _, entry := range strings.Split(denied, "reason")[1:] {
				policy := strings.Contains(entry, "config|get") // that of memory is then not checked
				if expected := without != "" && strings.Contains(entry, without); !policy && !expected {
					t.Errorf("denied: %s", entry)
				}
			}
		}
	}
	t.Run("single", func(t *testing.T) {
		server := storetest.Start(t)
		body(t, "", server.Config(), server)
	})
	t.Run("without TIME", func(t *testing.T) { // what is late is then done
		server := storetest.Start(t)
		body(t, "time", server.Config(), server)
	})
	t.Run("cluster", func(t *testing.T) {
		c, nodes := storetest.StartCluster(t, 0)
		body(t, "", c, nodes...)
	})
}

// Behind a proxy over shards a script may have one key alone, whether the proxy says so or not:
// replies of the same moment are counted all the same.
func TestRedisBehindAProxy(t *testing.T) {
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			redis := storetest.StartShards(t, strict)
			r := newRig(t, redis, nil)
			if r.gateway.store.MultiKey() {
				t.Error("the proxy is taken for one Redis")
			}
			findings, err := store.Inspect(t.Context(), redis, time.Now)
			if says := fmt.Sprint(findings); err != nil || !strings.Contains(says, "of one key at a time") {
				t.Errorf("check --live says %s, %v", says, err)
			}
			r.acquainted(r.gateway, 1)
			customers := make([]string, 64)
			for i := range customers {
				customers[i] = fmt.Sprint("wmShard", i)
				r.platform.CustomerWrites(corpID, channel, customers[i], "hello")
			}
			r.sync()
			for left := range 6 {
				var sent sync.WaitGroup
				for _, customer := range customers {
					sent.Go(func() {
						a := r.call("POST", sendMsg, replyTo(customer))
						want, verdict := fmt.Sprint(4-left), "pass"
						if left == 5 {
							want, verdict = "0", "refuse"
						}
						if got := a.Header.Get("Replygate-Replies-Left"); got != want || a.Header.Get("Replygate-Verdict") != verdict {
							t.Errorf("reply %d: %s replies left: %s", left, got, a.body)
						}
					})
				}
				sent.Wait()
			}
			r.reply("wmStranger", "refuse", "window_closed")
		})
	}
}

// Redis over TLS, with a CA of its own.
func TestRedisOverTLS(t *testing.T) {
	ca, cert, key := certificate(t)
	plain := storetest.Start(t, "--tls-port", port(t, storetest.FreeAddr(t)), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no")
	redis := plain.Config()
	redis.Addrs, redis.TLS, redis.CAFile = []string{"127.0.0.1:" + strings.TrimSpace(lastLine(plain.CLI("config", "get", "tls-port")))}, true, ca
	r := newRig(t, redis, nil)
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	redis.CAFile = ""
	distrustful := r.start(redis, nil) // does not trust the server: to it Redis is away
	if distrustful.store.Up() {
		t.Error("a server with a strange certificate is trusted")
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// A frozen Redis keeps no call waiting for longer than its timeout, and soon not even for that.
func TestFrozenRedisKeepsNobodyWaiting(t *testing.T) {
	const timeout = 300 * time.Millisecond
	server := storetest.Start(t)
	redis := server.Config()
	redis.Timeout = timeout
	r := newRig(t, redis, waitFor(0)) // only for Redis itself
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	second := r.start(redis, func(c *config.Config) { c.UnknownToken, c.Policy.UnsureWait = config.Refuse, 0 })
	server.Signal(syscall.SIGSTOP)
	defer server.Signal(syscall.SIGCONT)
	slow := 0
	for i := range 20 {
		began := time.Now()
		if i%2 == 0 {
			r.reply(wrote, "pass", "window_remembered")
		} else {
			r.reply("wmOther", "unsure", "store_unavailable")
		}
		if i%5 == 0 { // a gateway that must first ask whose the token is
			if a := r.callAt(second, "POST", "/cgi-bin/kf/send_msg", replyTo("wmOther")); a.Gate.Verdict != "unsure" {
				t.Errorf("%s", a.body)
			}
		}
		took := time.Since(began)
		if took > 5*2*(timeout+300*time.Millisecond) {
			t.Errorf("call %d took %s", i, took)
		}
		if took > timeout {
			slow++
		}
	}
	if slow > 15 {
		t.Errorf("%d of 20 calls waited for a Redis that is known to be away", slow)
	}
	if n := strings.Count(r.log(), `"msg":"redis is away"`); n > 1 {
		t.Errorf("said %d times", n)
	}
}

// A journal that was written for another kind of store ends the start: nothing in it would ever be
// used.
func TestJournalOfAnotherMode(t *testing.T) {
	server := storetest.Start(t)
	embedded := storetest.Embedded(t)
	journal := storetest.Journal(t, embedded)
	j, _, _, err := store.OpenJournal(journal.Path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Append([]byte(`K{"key":"rg:x","string":"1"}`)), j.Close()); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Listen, c.Redis, c.Journal = config.Listen{API: "127.0.0.1:0", Admin: "127.0.0.1:0"}, server.Config(), journal
	set, err := compile("test", &c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(t.Context(), set, time.Now, streams{out: io.Discard, err: io.Discard}); err == nil || !strings.Contains(err.Error(), "written with redis.mode embedded") {
		t.Errorf("the start: %v", err)
	}
}

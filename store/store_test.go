package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// slow skips a test of faults of real processes in -short mode.
func slow(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: " + why)
	}
}

func open(t *testing.T, c config.Redis, now func() time.Time) *store.Client {
	t.Helper()
	s, err := store.Open(t.Context(), c, storetest.Journal(t, c), now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotSurvivesRestart(t *testing.T) {
	clock := wecomtest.NewClock()
	c := storetest.Embedded(t)
	s := open(t, c, clock.Now)
	ctx := t.Context()
	s.Set(ctx, "rg:since", "12345", 0)
	s.Set(ctx, "rg:token:short", "ww1", time.Hour)
	s.HSet(ctx, "rg:window:{a:b:c}", "last", "99", "sent", "1,2")
	s.PExpireAt(ctx, "rg:window:{a:b:c}", clock.Now().Add(48*time.Hour))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Hour) // while the gateway was down
	s = open(t, c, clock.Now)
	defer s.Close()
	if got := s.Get(ctx, "rg:since").Val(); got != "12345" {
		t.Errorf("since = %q", got)
	}
	if n := s.Exists(ctx, "rg:token:short").Val(); n != 0 {
		t.Error("an expired token is back")
	}
	if h := s.HGetAll(ctx, "rg:window:{a:b:c}").Val(); h["last"] != "99" || h["sent"] != "1,2" {
		t.Errorf("window = %v", h)
	}
	if ttl := s.PTTL(ctx, "rg:window:{a:b:c}").Val(); ttl > 46*time.Hour || ttl < 46*time.Hour-time.Minute {
		t.Errorf("PTTL = %s, want 46h", ttl)
	}
}

// crash copies the files of a store at this moment, as a kill would leave them.
func crash(t *testing.T, c config.Redis) config.Redis {
	t.Helper()
	copied := storetest.Embedded(t)
	for _, ending := range []string{"", ".journal"} {
		data, err := os.ReadFile(c.Snapshot + ending)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied.Snapshot+ending, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// A crash loses no acknowledged change: the journal has those since the snapshot.
func TestCrashLosesNothing(t *testing.T) {
	clock := wecomtest.NewClock()
	c := storetest.Embedded(t)
	s := open(t, c, clock.Now)
	defer s.Close()
	ctx := t.Context()
	s.Set(ctx, "rg:since", "12345", 0)
	s.HSet(ctx, "rg:window:{a:b:c}", "last", "99")
	s.PExpireAt(ctx, "rg:window:{a:b:c}", clock.Now().Add(48*time.Hour))
	s.Set(ctx, "rg:gone", "1", 0)
	s.Del(ctx, "rg:gone")
	script := redis.NewScript("return redis.call('HSET', KEYS[1], 'sent', ARGV[1])")
	if err := script.Run(ctx, s, []string{"rg:window:{a:b:c}"}, "100,101").Err(); err != nil {
		t.Fatal(err)
	}
	p := s.Pipeline()
	for i := range 2000 {
		p.Set(ctx, fmt.Sprint("rg:many:", i), i, time.Hour)
	}
	if _, err := p.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	crashed := open(t, crash(t, c), clock.Now)
	defer crashed.Close()
	if got := crashed.Get(ctx, "rg:since").Val(); got != "12345" {
		t.Errorf("since = %q", got)
	}
	if h := crashed.HGetAll(ctx, "rg:window:{a:b:c}").Val(); h["last"] != "99" || h["sent"] != "100,101" {
		t.Errorf("window = %v", h)
	}
	if ttl := crashed.PTTL(ctx, "rg:window:{a:b:c}").Val(); ttl < 47*time.Hour {
		t.Errorf("PTTL = %s", ttl)
	}
	if n := crashed.Exists(ctx, "rg:gone").Val(); n != 0 {
		t.Error("a deleted key is back")
	}
	if n := crashed.Get(ctx, "rg:many:1999").Val(); n != "1999" {
		t.Errorf("the last of many is %q", n)
	}
	if n := crashed.Journal.End(); n > 1000 {
		t.Errorf("after the snapshot of the start the journal has %d bytes", n)
	}
}

// If the journal is missing or damaged, rg:since is deleted: messages may be lost.
func TestLostJournalDeletesSince(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone": os.Remove,
		"damaged": func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := storetest.Embedded(t)
			s := open(t, c, time.Now)
			defer s.Close()
			ctx := t.Context()
			s.Set(ctx, "rg:since", "12345", 0)
			for i := range 10 {
				s.Set(ctx, "rg:x", i, 0)
			}
			files := crash(t, c)
			if err := damage(files.Snapshot + ".journal"); err != nil {
				t.Fatal(err)
			}
			crashed := open(t, files, time.Now)
			defer crashed.Close()
			if n := crashed.Exists(ctx, "rg:since").Val(); n != 0 {
				t.Error("rg:since is still there")
			}
		})
	}
}

// Two gateways cannot share a journal, or a snapshot.
func TestJournalIsLocked(t *testing.T) {
	c := storetest.Embedded(t)
	s := open(t, c, time.Now)
	defer s.Close()
	if _, err := store.Open(t.Context(), c, storetest.Journal(t, c), time.Now, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "another gateway uses") {
		t.Errorf("%v", err)
	}
}

// With concurrent writers and snapshots, a crash keeps the newest value of every key.
func TestSnapshotsDuringChanges(t *testing.T) {
	c := storetest.Embedded(t)
	s := open(t, c, time.Now)
	defer s.Close()
	ctx := t.Context()
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 300 {
				s.Set(ctx, fmt.Sprint("rg:w", w), i, 0)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if err := s.Embedded.Save(); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	crashed := open(t, crash(t, c), time.Now)
	defer crashed.Close()
	for w := range 4 {
		if got := crashed.Get(ctx, fmt.Sprint("rg:w", w)).Val(); got != "299" {
			t.Errorf("writer %d: %q", w, got)
		}
	}
}

func TestInvalidSnapshot(t *testing.T) {
	c := storetest.Embedded(t)
	if err := os.WriteFile(c.Snapshot, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), c, storetest.Journal(t, c), time.Now, zap.NewNop())
	if err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Fatalf("Open = %v", err)
	}
}

func TestEmbeddedKeysExpire(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	s.Set(t.Context(), "rg:x", "1", time.Hour)
	clock.Advance(time.Hour)
	s.Embedded.Tick()
	if n := s.Exists(t.Context(), "rg:x").Val(); n != 0 {
		t.Error("the key did not expire with the gateway's clock")
	}
}

func TestEmbeddedIsReachable(t *testing.T) {
	c := storetest.Embedded(t)
	c.Listen = "127.0.0.1:0"
	s := storetest.Open(t, c, time.Now)
	s.Set(t.Context(), "rg:x", "1", 0)
	outside := storetest.Open(t, config.Redis{Mode: config.RedisSingle, Addrs: []string{s.Embedded.Addr()}, Timeout: time.Second, Prefix: "rg:"}, time.Now)
	if got := outside.Get(t.Context(), "rg:x").Val(); got != "1" {
		t.Errorf("through the listener: %q", got)
	}
}

// An unusable Redis fails the start.
func TestUnusable(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		with func(*config.Redis)
		want string
	}{
		"no password":    {[]string{"--requirepass", "right"}, func(*config.Redis) {}, "NOAUTH"},
		"wrong password": {[]string{"--requirepass", "right"}, func(c *config.Redis) { c.Password = "wrong" }, "WRONGPASS"},
		"evicting":       {[]string{"--maxmemory-policy", "allkeys-lru"}, func(*config.Redis) {}, "noeviction"},
		"missing rights": {[]string{"--user", "gw", "on", ">pw", "~other:*", "+@all"}, func(c *config.Redis) { c.Username, c.Password = "gw", "pw" }, "NOPERM"},
		"no scripts":     {[]string{"--user", "gw", "on", ">pw", "~*", "+@all", "-@scripting"}, func(c *config.Redis) { c.Username, c.Password = "gw", "pw" }, "EVAL"},
		"usable":         {[]string{"--requirepass", "right"}, func(c *config.Redis) { c.Password = "right" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := storetest.Start(t, test.args...).Config()
			test.with(&c)
			s, err := store.Open(t.Context(), c, storetest.Journal(t, c), time.Now, zap.NewNop())
			if test.want == "" {
				if err != nil || !s.Up() {
					t.Fatalf("Open = %v", err)
				}
				s.Close()
				return
			}
			if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open = %v, want ErrUnusable with %q", err, test.want)
			}
		})
	}
}

func TestNewerLayout(t *testing.T) {
	server := storetest.Start(t)
	s := storetest.Open(t, server.Config(), time.Now)
	s.Set(t.Context(), "rg:layout", store.Layout+1, 0)
	if _, err := store.Open(t.Context(), server.Config(), storetest.Journal(t, server.Config()), time.Now, zap.NewNop()); !errors.Is(err, store.ErrUnusable) {
		t.Fatalf("Open = %v, want ErrUnusable", err)
	}
}

func TestAwayAtStart(t *testing.T) {
	slow(t, "waits for a probe")
	server := storetest.Start(t)
	server.Down()
	c := server.Config()
	c.Timeout = 100 * time.Millisecond
	s := storetest.Open(t, c, time.Now)
	if s.Up() || s.Checked() {
		t.Fatal("a store that is away is up, or checked")
	}
	server.Up()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !s.Up() {
		select {
		case <-ctx.Done():
			t.Fatal("the store does not notice that Redis is back")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !s.Checked() || !s.MultiKey() {
		t.Errorf("it is up: checked %v, several keys %v", s.Checked(), s.MultiKey())
	}
	server.Down()
	for s.Up() {
		select {
		case <-ctx.Done():
			t.Fatal("the store does not notice that Redis is away again")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if !s.Checked() {
		t.Error("what was found out about Redis is forgotten while it is away")
	}
}

// Answers follows the commands that are sent anyway.
func TestAnswers(t *testing.T) {
	slow(t, "kills redis-server")
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 300 * time.Millisecond
	s := storetest.Open(t, c, time.Now)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	get := func(what string, ctx context.Context, want error, answers bool) {
		t.Helper()
		err := s.Get(ctx, "rg:nothing").Err()
		if want != nil && !errors.Is(err, want) || want == nil && err == nil || s.Answers() != answers {
			t.Errorf("%s: %v, answers %v", what, err, s.Answers())
		}
	}
	get("a missing key is an answer", t.Context(), redis.Nil, true)
	get("a canceled command changes nothing", canceled, context.Canceled, true)
	server.Down()
	get("Redis is away", t.Context(), nil, false)
	get("a canceled command changes nothing", canceled, nil, false)
	server.Up()
	for deadline := time.Now().Add(20 * time.Second); !s.Answers(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not noticed that Redis is back")
		}
	}
}

// Ticks by fractions of a millisecond do not add up to an early expiry.
func TestTicksKeepFractions(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(time.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	s.Set(t.Context(), "rg:x", "1", time.Hour)
	for range 10_000 {
		clock.Advance(1_100_999 * time.Nanosecond)
		s.Embedded.Tick()
	}
	if ttl := s.PTTL(t.Context(), "rg:x").Val(); ttl < time.Hour-12*time.Second {
		t.Errorf("after 11 s %s are left", ttl)
	}
}

// Sentinels may require a password of their own.
func TestSentinelPassword(t *testing.T) {
	slow(t, "starts a sentinel")
	c, _, _, sentinel := storetest.StartSentinel(t)
	sentinel.CLI("acl", "setuser", "default", ">of-the-sentinel")
	c.SentinelPassword = "of-the-sentinel"
	if s := storetest.Open(t, c, time.Now); !s.Up() {
		t.Error("it is away")
	}
	for _, wrong := range []config.Secret{"", "of-another"} {
		c.SentinelPassword = wrong
		_, err := store.Open(t.Context(), c, storetest.Journal(t, c), time.Now, zap.NewNop())
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "redis.sentinel_password") {
			t.Errorf("with %q: %v", wrong, err)
		}
	}
}

// What the journal did not take is lost in a crash, so records begin anew then; a snapshot has it.
func TestChangeThatTheJournalDidNotTake(t *testing.T) {
	clock := wecomtest.NewClock()
	for _, saved := range []bool{false, true} {
		c := storetest.Embedded(t)
		jc := storetest.Journal(t, c)
		jc.MaxBytes = 300
		s, err := store.Open(t.Context(), c, jc, clock.Now, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s.Set(t.Context(), "rg:since", "12345", 0)
		p := s.Pipeline()
		p.Set(t.Context(), "rg:gap:ww1", strings.Repeat("9", 300), 0)
		if _, err := p.Exec(t.Context()); !errors.Is(err, store.ErrJournalFull) {
			t.Fatal(err)
		}
		if saved {
			if err := s.Embedded.Save(); err != nil {
				t.Fatal(err)
			}
		}
		after := open(t, crash(t, c), clock.Now)
		since, gap := after.Get(t.Context(), "rg:since").Val(), after.Exists(t.Context(), "rg:gap:ww1").Val()
		if saved != (since == "12345") || saved != (gap == 1) {
			t.Errorf("saved %v: since %q, %d gaps", saved, since, gap)
		}
		after.Close()
		s.Close()
	}
}

// After an outage a Redis that answers is up, also if it cannot serve as it should: the log tells
// that once.
func TestUnusableAfterAnOutage(t *testing.T) {
	slow(t, "waits for probes")
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	c := server.Config()
	c.Addrs = []string{wire.Addr().String()}
	core, logged := observer.New(zap.ErrorLevel)
	s, err := store.Open(t.Context(), c, storetest.Journal(t, c), time.Now, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	becomes := func(up bool) {
		t.Helper()
		for began := time.Now(); s.Up() != up; time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("up is %v", s.Up())
			}
		}
	}
	wire.Cut()
	becomes(false)
	server.CLI("config", "set", "maxmemory-policy", "allkeys-lru")
	wire.Heal()
	becomes(true)
	for before := s.PingTime(); s.PingTime() == before; time.Sleep(20 * time.Millisecond) { // one more probe
		if t.Context().Err() != nil {
			t.Fatal("no probe")
		}
	}
	if all := logged.FilterMessageSnippet("cannot serve").All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()), "maxmemory-policy") {
		t.Errorf("logged: %v", logged.All())
	}
	if !s.Up() {
		t.Error("it is down again")
	}
}

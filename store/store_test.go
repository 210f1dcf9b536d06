package store_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

func open(t *testing.T, c config.Redis, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), c, now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotOutlivesARestart(t *testing.T) {
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
		t.Error("a token outlived its time")
	}
	if h := s.HGetAll(ctx, "rg:window:{a:b:c}").Val(); h["last"] != "99" || h["sent"] != "1,2" {
		t.Errorf("window = %v", h)
	}
	if ttl := s.PTTL(ctx, "rg:window:{a:b:c}").Val(); ttl > 46*time.Hour || ttl < 46*time.Hour-time.Minute {
		t.Errorf("PTTL = %s, want 46h", ttl)
	}
}

// What came after the last snapshot is lost with a crash, so records begin anew.
func TestCrashForgetsSince(t *testing.T) {
	clock := wecomtest.NewClock()
	c := storetest.Embedded(t)
	s := open(t, c, clock.Now)
	s.Set(t.Context(), "rg:since", "12345", 0)
	s.HSet(t.Context(), "rg:window:{a:b:c}", "last", "99")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, c, clock.Now) // writes a snapshot that is not clean, and is never closed
	crashed := open(t, c, clock.Now)
	defer crashed.Close()
	if n := crashed.Exists(t.Context(), "rg:since").Val(); n != 0 {
		t.Error("records claim to be complete after a crash")
	}
	if n := crashed.Exists(t.Context(), "rg:window:{a:b:c}").Val(); n != 1 {
		t.Error("a window of the snapshot is gone")
	}
}

func TestSnapshotThatIsNone(t *testing.T) {
	c := storetest.Embedded(t)
	if err := os.WriteFile(c.Snapshot, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), c, time.Now, zap.NewNop())
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

// A Redis that answers but cannot serve ends the start; one that is away does not.
func TestUnfit(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		with func(*config.Redis)
		want string
	}{
		"no password":      {[]string{"--requirepass", "right"}, func(*config.Redis) {}, "NOAUTH"},
		"wrong password":   {[]string{"--requirepass", "right"}, func(c *config.Redis) { c.Password = "wrong" }, "WRONGPASS"},
		"evicting":         {[]string{"--maxmemory-policy", "allkeys-lru"}, func(*config.Redis) {}, "noeviction"},
		"missing rights":   {[]string{"--user", "gw", "on", ">pw", "~other:*", "+@all"}, func(c *config.Redis) { c.Username, c.Password = "gw", "pw" }, "NOPERM"},
		"all as it should": {[]string{"--requirepass", "right"}, func(c *config.Redis) { c.Password = "right" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := storetest.Start(t, test.args...).Config()
			test.with(&c)
			s, err := store.Open(t.Context(), c, time.Now, zap.NewNop())
			if test.want == "" {
				if err != nil || !s.Up() {
					t.Fatalf("Open = %v", err)
				}
				s.Close()
				return
			}
			if !errors.Is(err, store.ErrUnfit) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open = %v, want ErrUnfit with %q", err, test.want)
			}
		})
	}
}

func TestNewerLayout(t *testing.T) {
	server := storetest.Start(t)
	s := storetest.Open(t, server.Config(), time.Now)
	s.Set(t.Context(), "rg:layout", store.Layout+1, 0)
	if _, err := store.Open(t.Context(), server.Config(), time.Now, zap.NewNop()); !errors.Is(err, store.ErrUnfit) {
		t.Fatalf("Open = %v, want ErrUnfit", err)
	}
}

func TestAwayAtStart(t *testing.T) {
	server := storetest.Start(t)
	server.Down()
	c := server.Config()
	c.Timeout = 100 * time.Millisecond
	s := storetest.Open(t, c, time.Now)
	if s.Up() {
		t.Fatal("a store that is away is up")
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
}

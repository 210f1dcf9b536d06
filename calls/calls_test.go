package calls_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/calls"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const corp = "wwCounted"

var reply = calls.Call{Corp: corp, Path: "/cgi-bin/kf/send_msg", Client: "bot"}

// clock is one that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
	return at
}

func newCounters(s *store.Client, c *clock) *calls.Counters {
	return calls.New(s.UniversalClient, "rg:", 5*time.Second, c.now)
}

func flush(t testing.TB, c *calls.Counters) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// read returns the lines of a corp as text: path client: numbers.
func read(t testing.TB, c *calls.Counters, days int, corp string) (all []string) {
	t.Helper()
	found, err := c.Read(t.Context(), days, corp)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range found[corp] {
		all = append(all, fmt.Sprintf("%s %s: %d %d %d %d %d", l.Path, l.Client, l.Calls, l.Refused, l.Ambiguous, l.Inside, l.Outside))
	}
	slices.Sort(all)
	return all
}

func expect(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// The counts of two gateways add up, by day, path and client, in keys of a week that expire.
func TestCountsInRedis(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-29T23:59:59+08:00") // a Sunday
	storetest.Each(t, at.now, func(t *testing.T, _ config.Redis, s *store.Client) {
		now = at.set("2026-11-29T23:59:59+08:00")
		one, other := newCounters(s, at), newCounters(s, at)
		one.Count(now, reply, calls.Inside)
		other.Count(now, reply, 0)
		odd := calls.Call{Corp: corp, Path: "*", Client: "a:b%c"}
		other.Count(now, odd, calls.Refused|calls.Ambiguous)
		now = at.set("2026-11-30T00:00:00+08:00")
		other.Count(now, reply, calls.Refused|calls.Outside)
		flush(t, one)
		flush(t, other)
		for key, want := range map[string]map[string]string{
			"rg:calls:{wwCounted}:2026-W48": {
				"2026-11-29:/cgi-bin/kf/send_msg:bot": "2", "2026-11-29:/cgi-bin/kf/send_msg:bot:inside": "1",
				"2026-11-29:*:a%3Ab%25c": "1", "2026-11-29:*:a%3Ab%25c:refused": "1", "2026-11-29:*:a%3Ab%25c:ambiguous": "1",
			},
			"rg:calls:{wwCounted}:2026-W49": {
				"2026-11-30:/cgi-bin/kf/send_msg:bot": "1", "2026-11-30:/cgi-bin/kf/send_msg:bot:refused": "1", "2026-11-30:/cgi-bin/kf/send_msg:bot:outside": "1",
			},
			"rg:calls-sum:2026-11-29": {"wwCounted": "3", "wwCounted:refused": "1"},
			"rg:calls-sum:2026-11-30": {"wwCounted": "1", "wwCounted:refused": "1"},
		} {
			if got := s.HGetAll(t.Context(), key).Val(); !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", key, got, want)
			}
			if ttl := s.TTL(t.Context(), key).Val(); ttl < 34*24*time.Hour || ttl > 35*24*time.Hour {
				t.Errorf("%s expires in %s", key, ttl)
			}
		}
		expect(t, "one day", read(t, one, 1, corp), "/cgi-bin/kf/send_msg bot: 1 1 0 0 1")
		expect(t, "two days", read(t, one, 2, corp), "* a:b%c: 1 1 1 0 0", "/cgi-bin/kf/send_msg bot: 3 1 0 1 1")
		expect(t, "another corp", read(t, one, 7, "wwOther"))
	})
}

// A week after the calls they are no longer among those of the last seven days; the year ends.
func TestDaysAndWeeks(t *testing.T) {
	at := &clock{}
	at.set("2026-12-25T12:00:00+08:00")
	s := storetest.Open(t, storetest.Embedded(t), at.now)
	c := newCounters(s, at)
	for day := 25; day < 25+14; day++ {
		now := time.Date(2026, 12, day, 12, 0, 0, 0, time.FixedZone("", 8*3600))
		at.set(now.Format(time.RFC3339))
		c.Count(now, reply, 0)
	}
	flush(t, c)
	expect(t, "seven days", read(t, c, 7, corp), "/cgi-bin/kf/send_msg bot: 7 0 0 0 0")
	expect(t, "28 days", read(t, c, 28, corp), "/cgi-bin/kf/send_msg bot: 14 0 0 0 0")
	if n := s.HLen(t.Context(), "rg:calls:{wwCounted}:2026-W53").Val(); n != 7 { // Monday to January 3
		t.Errorf("%d days are in the last week of 2026", n)
	}
	at.set("2027-01-13T00:00:00+08:00")
	expect(t, "six days later", read(t, c, 7, corp), "/cgi-bin/kf/send_msg bot: 1 0 0 0 0")
	at.set("2027-01-14T00:00:00+08:00")
	expect(t, "seven days later", read(t, c, 7, corp))
}

// What Redis did not take is kept, and written once when it is back.
func TestRedisAwayAndBack(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	server := storetest.Start(t)
	s := storetest.Open(t, server.Config(), time.Now)
	c := newCounters(s, at)
	c.Count(now, reply, 0)
	flush(t, c)
	server.CLI("CONFIG", "SET", "appendonly", "yes")
	server.Await("aof_rewrite_in_progress:0", "INFO", "persistence")
	server.Down()
	for range 3 {
		c.Count(now, reply, calls.Refused)
		if err := c.Flush(t.Context()); err == nil {
			t.Fatal("there is no Redis to write to")
		}
	}
	if _, err := c.Read(t.Context(), 7, corp); err == nil {
		t.Error("counts are read without Redis")
	}
	server.Up()
	for deadline := time.Now().Add(30 * time.Second); c.Flush(t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Redis is back, and takes nothing")
		}
	}
	got := read(t, c, 7, corp)
	sum := s.HGet(t.Context(), "rg:calls-sum:2026-11-30", corp).Val()
	if want := fmt.Sprintf("/cgi-bin/kf/send_msg bot: %s 3 0 0 0", sum); !slices.Equal(got, []string{want}) || sum != "4" && sum != "3" { // the first write may not be on disk
		t.Errorf("%q, in all %s", got, sum)
	}
	if full, lost := c.Uncounted(); full+lost != 0 {
		t.Errorf("%d had no place, %d are lost", full, lost)
	}
}

// brokenOff lets Redis carry out pipelines and then breaks the connection before the answer.
type brokenOff struct{ redis.Hook }

func (brokenOff) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (brokenOff) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (brokenOff) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if cmds[0].Name() != "hincrby" {
			return err
		}
		for _, cmd := range cmds {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

// Counts whose write broke off are not written again: Redis may have them.
func TestNothingIsCountedTwice(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	server := storetest.Start(t)
	s := storetest.Open(t, server.Config(), time.Now)
	breaks := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = breaks.Close() })
	breaks.AddHook(brokenOff{})
	c := calls.New(breaks, "rg:", 5*time.Second, at.now)
	for range 5 {
		c.Count(now, reply, 0)
	}
	if c.Flush(t.Context()) == nil {
		t.Error("a write that broke off counts as done")
	}
	flush(t, c) // there is nothing left to write
	if _, lost := c.Uncounted(); lost != 5 {
		t.Errorf("%d calls count as lost", lost)
	}
	expect(t, "another gateway", read(t, newCounters(s, at), 7, corp), "/cgi-bin/kf/send_msg bot: 5 0 0 0 0")
}

// A key of another type does not stop the others, and is not tried for ever.
func TestKeyOfAnotherType(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	s := storetest.Open(t, storetest.Start(t).Config(), at.now)
	if err := s.Set(t.Context(), "rg:calls:{wwCounted}:2026-W49", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c := newCounters(s, at)
	other := calls.Call{Corp: "wwOther", Path: "*", Client: "bot"}
	c.Count(now, reply, 0)
	c.Count(now, other, 0)
	flush(t, c)
	expect(t, "the broken one", read(t, c, 7, corp))
	expect(t, "the other", read(t, c, 7, "wwOther"), "* bot: 1 0 0 0 0")
	if _, lost := c.Uncounted(); lost != 1 {
		t.Errorf("%d calls count as lost", lost)
	}
}

// At most MaxNames kinds of calls are in memory; more count as other, by account, and in the end
// not at all.
func TestNamesAreBounded(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	s := storetest.Open(t, storetest.Embedded(t), at.now)
	c := newCounters(s, at)
	for i := range calls.MaxNames {
		c.Count(now, calls.Call{Corp: corp, Path: fmt.Sprintf("/%d", i), Client: "bot"}, 0)
	}
	c.Count(now, reply, calls.Refused)
	c.Count(now, calls.Call{Corp: corp, Path: "/0", Client: "bot"}, 0) // it has its place
	for i := range calls.MaxNames {
		c.Count(now, calls.Call{Corp: fmt.Sprintf("ww%d", i), Path: "*", Client: "bot"}, 0)
	}
	if full, _ := c.Uncounted(); full != 1 {
		t.Errorf("%d calls had no place, want 1", full)
	}
	c.Empty()
	for i := range 3 { // there is place again
		c.Count(now, calls.Call{Corp: "wwAgain", Path: fmt.Sprintf("/%d", i), Client: "bot"}, 0)
	}
	expect(t, "other", read(t, c, 7, "wwAgain"), "/0 bot: 1 0 0 0 0", "/1 bot: 1 0 0 0 0", "/2 bot: 1 0 0 0 0")

	c = newCounters(s, at)
	for i := range calls.MaxNames + 3 {
		c.Count(now, calls.Call{Corp: fmt.Sprintf("ww%d", i%4), Path: fmt.Sprintf("/%d", i), Client: "bot"}, 0)
	}
	left := c.Empty()
	if n := left[calls.Call{Corp: "ww0", Path: calls.Other, Client: calls.Other}].Calls; n != 1 {
		t.Errorf("%d calls of ww0 are other, want 1", n)
	}
	if len(left) != calls.MaxNames+3 {
		t.Errorf("%d names", len(left))
	}
}

// The activity is that of seven days, of all gateways, and is read without a scan.
func TestActivity(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-23T12:00:00+08:00")
	server := storetest.Start(t)
	s := storetest.Open(t, server.Config(), at.now)
	c, other := newCounters(s, at), newCounters(s, at)
	if _, _, known := c.Activity(corp); known {
		t.Error("the activity is known before Redis was read")
	}
	for i := range 8 {
		now = at.set(fmt.Sprintf("2026-11-%dT12:00:00+08:00", 23+i))
		other.Count(now, reply, 0)
		other.Count(now, reply, calls.Refused)
		flush(t, other)
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := int64(2 * min(i+1, 7))
		if made, refused, known := c.Activity(corp); !known || made != want || refused != want/2 {
			t.Errorf("day %d: %d calls, %d refused, known %v; want %d", i, made, refused, known, want)
		}
	}
	late := now.Add(-24 * time.Hour) // of yesterday, written after midnight
	other.Count(late, calls.Call{Corp: "wwLate", Path: "*", Client: "bot"}, 0)
	flush(t, other)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if made, _, _ := c.Activity("wwLate"); made != 1 {
		t.Errorf("%d late calls", made)
	}
	if stats := server.CLI("INFO", "commandstats"); strings.Contains(stats, "cmdstat_scan") || strings.Contains(stats, "cmdstat_keys:") {
		t.Errorf("Redis was scanned:\n%s", stats)
	}
}

// Run writes what was counted when it is told to end.
func TestRunWritesAtTheEnd(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	s := storetest.Open(t, storetest.Embedded(t), at.now)
	c := newCounters(s, at)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	c.Count(now, reply, 0)
	c.Note(now, reply, calls.Inside)
	cancel()
	<-done
	expect(t, "at the end", read(t, newCounters(s, at), 1, corp), "/cgi-bin/kf/send_msg bot: 1 0 0 1 0")
}

// Calls are counted while others are written: none is missing, none is there twice.
func TestCountingWhileWriting(t *testing.T) {
	at := &clock{}
	now := at.set("2026-11-30T12:00:00+08:00")
	s := storetest.Open(t, storetest.Embedded(t), at.now)
	c := newCounters(s, at)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				c.Count(now, reply, 0)
			}
		})
	}
	for range 20 {
		flush(t, c)
	}
	all.Wait()
	expect(t, "after all", read(t, c, 1, corp), "/cgi-bin/kf/send_msg bot: 4000 0 0 0 0")
}

func BenchmarkCount(b *testing.B) {
	c := calls.New(nil, "rg:", time.Second, time.Now)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Count(now, reply, 0)
		}
	})
}

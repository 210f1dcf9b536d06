package window

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store/storetest"
)

// The fake Redis of the model answers random exchanges as lease.lua does in a real one.
func TestFakeAgreesWithRedis(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: storetest.Start(t).Config().Addrs[0], MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	s := &Store{rdb: rdb, Settings: Settings{Prefix: "rg:", Timeout: 30 * time.Second}}
	p := &partition{tag: "0"}
	ask := func(e exchange) leaseAnswer {
		a, err := s.exchange(t.Context(), p, e)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	run := ask(exchange{action: readLeases, ids: []string{"g0"}}).run
	sequences, written := 300, 0
	if testing.Short() {
		sequences = 30
	}
	for n := range sequences {
		random := rand.New(rand.NewPCG(11, uint64(n)))
		must(t, rdb.FlushAll(t.Context()).Err())
		must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
		var fake fakeState
		var now time.Duration
		values := map[string]string{} // the leases that were written last
		for step := range 25 {
			switch random.IntN(12) {
			case 0: // the leases expire
				now += leaseTTL
				for i := range fakeGateways {
					must(t, rdb.Del(t.Context(), leaseKey(i)).Err())
				}
			case 1:
				fake.evicts = !fake.evicts
				must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", map[bool]string{true: "allkeys-lru", false: "noeviction"}[fake.evicts]).Err())
			}
			e := randomExchange(random, run, values, step)
			want, got := fake.exchange(now, run, e), ask(e)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("sequence %d: %+v: redis answers %+v, the fake one %+v", n, e, got, want)
			}
			if got.done && e.action != leaveLease {
				written++
				values[e.ids[0]] = e.next + " " + run
				key := leaseKey(fakeIndex(e.ids[0]))
				if left := rdb.PTTL(t.Context(), key).Val(); left > leaseTTL || left == -1 {
					t.Fatalf("%s expires in %s", key, left)
				}
				// The real lease must not expire before the fake one, however slow the machine is.
				must(t, rdb.Set(t.Context(), key, values[e.ids[0]], 0).Err())
			}
		}
	}
	if written < sequences*5 {
		t.Errorf("only %d exchanges wrote a lease", written)
	}
}

func leaseKey(i int) string { return "rg:lease:{0}:" + fakeID(i) }

// randomExchange is one that a gateway might send, or nearly.
func randomExchange(random *rand.Rand, run string, values map[string]string, step int) exchange {
	choose := func(all ...string) string { return all[random.IntN(len(all))] }
	order := random.Perm(fakeGateways)[:1+random.IntN(fakeGateways)]
	e := exchange{action: choose(readLeases, watchLeases, joinLease, joinLease, renewLease, renewLease, renewLease, leaveLease)}
	for i, n := range order {
		if e.ids = append(e.ids, fakeID(n)); i > 0 && random.IntN(4) == 0 {
			e.remove = append(e.remove, fakeID(n))
		}
	}
	boot := "boot" + choose("1", "2")
	switch e.action {
	case joinLease:
		e.next, e.entry = fmt.Sprintf("joining %s.1 %d", boot, step), boot+" 0"
	case renewLease, leaveLease:
		e.run = choose(run, run, run, run, "", "another")
		e.value = choose(values[e.ids[0]], values[e.ids[0]], values[e.ids[0]], "", "held boot3.1 1 "+run)
		e.next, e.entry = fmt.Sprintf("held %s.1 %d", boot, step), fmt.Sprintf("%s %d", boot, 1_800_000_000_000+step)
		if e.action == leaveLease {
			e.next, e.entry = "", e.entry+" left"
		}
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

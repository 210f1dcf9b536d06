package contacts_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/wecom"
	"replygate/wecom/wecomtest"
)

const corp = "wwMeter"

// meterRig is a meter before a simulated WeCom, with a clock that its waits move.
type meterRig struct {
	*testing.T
	*contacts.Meter
	clock    *wecomtest.Clock
	platform *wecomtest.Platform
	broken   func(path string, call int) error // of a call, unless nil
	calls    int
	slept    []time.Duration
	mu       sync.Mutex
}

func newMeterRig(t *testing.T) *meterRig {
	r := &meterRig{T: t, clock: wecomtest.NewClock()}
	r.clock.Set(start)
	r.platform = wecomtest.New(r.clock.Now)
	r.platform.AddCorp(corp, "the-secret", "wk")
	redis := storetest.Open(t, storetest.Embedded(t), r.clock.Now)
	book := account.NewBook([]config.Account{{CorpID: corp, Subscription: &config.Subscription{Never: true}}})
	log := record.RateLimit(zap.NewNop(), r.clock.Now)
	observer := (&contacts.Observer{
		Store: contacts.NewStore(redis.UniversalClient, "rg:", 5*time.Second), Counts: account.NewCounts(), Log: log,
		Accounts: func() *account.Book { return book }, Tally: func(string, string) {},
		OwnerOf: func(context.Context, string) (string, account.Owner) { return "", account.Unknown },
	}).Init()
	book.UseCounts(observer.Counts, 6*time.Hour)
	r.Meter = (&contacts.Meter{
		Calls: r, Observer: observer, Log: log, Now: r.clock.Now, Sleep: r.sleep,
		Targets: func() ([]contacts.Target, time.Duration) {
			return []contacts.Target{{Corp: corp, Secret: "the-secret"}}, 6 * time.Hour
		},
	}).Init()
	return r
}

// Call hands a call to the platform without a network.
func (r *meterRig) Call(ctx context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	r.mu.Lock()
	r.calls++
	n := r.calls
	r.mu.Unlock()
	if r.broken != nil {
		if err := r.broken(path, n); err != nil {
			return 0, nil, err
		}
	}
	method := http.MethodGet
	if len(body) > 0 {
		method = http.MethodPost
	}
	w := httptest.NewRecorder()
	r.platform.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path+"?"+query.Encode(), bytes.NewReader(body)))
	return w.Code, w.Body.Bytes(), nil
}

func (r *meterRig) sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		r.clock.Advance(d)
		r.mu.Lock()
		r.slept = append(r.slept, d)
		r.mu.Unlock()
	}
	return ctx.Err()
}

// round makes the counts that are due, and returns what became of that of corp.
func (r *meterRig) round() contacts.Progress {
	r.Helper()
	r.Round(r.Context())
	p, _ := r.Progress(corp)
	return p
}

func (r *meterRig) counted(p contacts.Progress, want int) {
	r.Helper()
	if p.Count == nil || p.Count.Total != want || p.Failure != nil || p.Ended.IsZero() {
		r.Fatalf("%+v %v, want %d", p, p.Failure, want)
	}
	n, known := r.Observer.Accounts().Find(corp).Counted()
	if !known || n.Total != want || n.Source != account.Metered {
		r.Errorf("%+v", n)
	}
}

// A pass counts persons, not rows, and the next one is due after meter.every, whoever counted.
func TestMeter(t *testing.T) {
	r := newMeterRig(t)
	r.platform.SetContacts(corp, 2345, 3)
	r.platform.AddOther(corp, "zhangsan", "nobody knows", "")
	r.platform.AddHalf(corp, "zhangsan", "wmHalf")
	p := r.round()
	r.counted(p, 2346)
	if p.Pages != 8 || p.Count.Customers != 2345 {
		t.Errorf("%+v", p)
	}
	calls := r.calls
	if r.clock.Advance(6*time.Hour - time.Minute); r.round().Ended != p.Ended || r.calls != calls {
		t.Error("it counted before meter.every was over")
	}
	r.clock.Advance(time.Minute)
	r.platform.SetContacts(corp, 5, 1)
	p = r.round()
	r.counted(p, 6)
	if p.Before != 2346 {
		t.Errorf("%+v", p)
	}
	if _, err := r.Observer.Store.Put(t.Context(), corp, contacts.Count{Count: account.Count{Total: 7, AsOf: r.clock.Now().Add(3 * time.Hour), Source: account.Metered}}); err != nil {
		t.Fatal(err)
	}
	calls = r.calls
	if r.clock.Advance(8 * time.Hour); r.round().Ended != p.Ended || r.calls != calls {
		t.Error("it counted although another gateway had")
	}
}

// Limits, failures, expired tokens and expired cursors do not make a wrong count. The pages before
// are kept wherever the platform allows it.
func TestMeterAgainstLimits(t *testing.T) {
	page := func(n int, err error) func(string, int) error { // fails the n-th call
		return func(_ string, call int) error {
			if call == n {
				return err
			}
			return nil
		}
	}
	for _, test := range []struct {
		name    string
		prepare func(r *meterRig)
		calls   int // of contact_list that reached the platform
		slept   time.Duration
	}{
		{"none", func(*meterRig) {}, 5, 0},
		{"the minute's limit", func(r *meterRig) { r.platform.SetLimit(wecom.PathContactList, wecomtest.Limit{Minute: 3}) }, 6, time.Minute},
		{"too many at once", func(r *meterRig) { r.platform.FailNext(wecom.PathContactList, 45033, 45033) }, 7, time.Second},
		{"busy", func(r *meterRig) { r.platform.FailNext(wecom.PathContactList, -1) }, 6, time.Second},
		{"an expired token", func(r *meterRig) { r.platform.FailNext(wecom.PathContactList, 42001) }, 6, 0},
		{"an invalid token", func(r *meterRig) { r.platform.FailNext(wecom.PathContactList, 40014) }, 6, 0},
		{"an answer that is lost", func(r *meterRig) { r.broken = page(4, errors.New("broke off")) }, 5, time.Second},
		{"gettoken does not answer", func(r *meterRig) { r.broken = page(1, errors.New("broke off")) }, 5, time.Second},
		{"an expired cursor", func(r *meterRig) {
			r.broken = func(_ string, call int) error {
				if call == 4 {
					r.clock.Advance(time.Hour)
				}
				return nil
			}
		}, 8, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newMeterRig(t)
			r.platform.SetContacts(corp, 2500, 2)
			test.prepare(r)
			r.counted(r.round(), 2500)
			if n := r.platform.Count(wecom.PathContactList); n != test.calls {
				t.Errorf("%d pages were asked for, want %d", n, test.calls)
			}
			var longest time.Duration
			for _, d := range r.slept {
				longest = max(longest, d)
			}
			if longest < test.slept {
				t.Errorf("the longest wait is %s, want %s", longest, test.slept)
			}
		})
	}
}

// Where no count comes about, the reason and the remedy are stored, and the account is tried again
// after an hour.
func TestMeterCannotCount(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(r *meterRig)
		want    contacts.Failure
	}{
		{"not allowed", func(r *meterRig) { r.platform.Refuse(corp, wecom.PathContactList, 48002) }, contacts.Failure{Reason: contacts.Refused, Errcode: 48002}},
		{"not from this address", func(r *meterRig) { r.platform.Refuse(corp, wecom.PathContactList, 60020) }, contacts.Failure{Reason: contacts.Refused, Errcode: 60020}},
		{"the hour's limit", func(r *meterRig) { r.platform.SetLimit(wecom.PathContactList, wecomtest.Limit{Hour: 2}) }, contacts.Failure{Reason: contacts.Limited, Errcode: 45009}},
		{"always too many at once", func(r *meterRig) { r.platform.Refuse(corp, wecom.PathContactList, 45033) }, contacts.Failure{Reason: contacts.Limited, Errcode: 45033}},
		{"away", func(r *meterRig) { r.broken = func(string, int) error { return errors.New("away") } }, contacts.Failure{Reason: contacts.Unreachable}},
		{"a wrong secret", func(r *meterRig) { r.platform.FailNext(wecom.PathGetToken, 40001) }, contacts.Failure{Reason: contacts.Refused, Errcode: 40001}},
		{"not JSON", func(r *meterRig) {
			r.platform.Answer(wecom.PathContactList, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
		}, contacts.Failure{Reason: contacts.Unreadable}},
		{"without end", func(r *meterRig) {
			contacts.LimitPeople(r.T, 1500)
		}, contacts.Failure{Reason: contacts.Incomplete}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newMeterRig(t)
			r.platform.SetContacts(corp, 2500, 2)
			test.prepare(r)
			p := r.round()
			if p.Failure == nil || p.Failure.Reason != test.want.Reason || p.Failure.Errcode != test.want.Errcode || p.Count != nil || p.Failure.Remedy() == "" || p.Failure.Why() == "" {
				t.Fatalf("%+v %+v", p, p.Failure)
			}
			if _, known := r.Observer.Accounts().Find(corp).Counted(); known {
				t.Error("there is a count")
			}
			if err := r.Observer.Refresh(t.Context(), r.clock.Now()); err != nil {
				t.Fatal(err)
			}
			if s := r.Observer.State(corp); s.Failure.Reason != p.Failure.Reason || s.Failure.Errcode != p.Failure.Errcode || !s.Failure.At.Equal(p.Failure.At) {
				t.Errorf("%+v is stored, want %+v", s.Failure, *p.Failure)
			}
			calls := r.calls
			if r.round(); r.calls != calls {
				t.Error("it was tried again at once")
			}
			r.clock.Advance(time.Hour)
			if r.round(); r.calls == calls {
				t.Error("it was not tried again")
			}
		})
	}
}

// A pass that is interrupted, as by a stop or another gateway that took over, leaves no count and
// no blame.
func TestMeterIsInterrupted(t *testing.T) {
	r := newMeterRig(t)
	r.platform.SetContacts(corp, 2500, 2)
	ctx, cancel := context.WithCancel(t.Context())
	r.broken = func(_ string, call int) error {
		if call == 3 {
			cancel()
		}
		return nil
	}
	r.Round(ctx)
	if p, _ := r.Progress(corp); p.Count != nil || p.Failure == nil || p.Failure.Reason != contacts.Interrupted {
		t.Errorf("%+v", p)
	}
	if s := r.Observer.State(corp); s != (contacts.State{}) {
		t.Errorf("%+v", s)
	}
	r.broken = nil
	r.counted(r.round(), 2500)
}

// 200,000 contacts are counted below 64 MB, answers included, and within WeCom's limits.
func TestMeterCountsManyContacts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 200 pages")
	}
	r := newMeterRig(t)
	r.platform.SetContacts(corp, 200_000, 1)
	live := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before, most := live(), uint64(0)
	r.broken = func(_ string, call int) error {
		if call%4 == 0 {
			most = max(most, live())
			r.platform.Forget()
		}
		return nil
	}
	p := r.round()
	r.counted(p, 200_000)
	used := (most - min(before, most)) >> 20
	t.Logf("%d MB, %s by the clock", used, p.Ended.Sub(p.Began))
	if used >= 64 {
		t.Errorf("it took %d MB", used)
	}
	if p.Pages != 200 || p.Ended.Sub(p.Began) < 9*time.Second {
		t.Errorf("%d pages in %s: more than WeCom allows", p.Pages, p.Ended.Sub(p.Began))
	}
}

// A panic ends one count, and not the process.
func TestAPanicEndsOneCount(t *testing.T) {
	r := newMeterRig(t)
	r.platform.SetContacts(corp, 10, 1)
	r.broken = func(string, int) error { panic("a bug of ours") }
	if p := r.round(); p.Count != nil || p.Failure == nil || p.Failure.Reason != contacts.Incomplete || p.Ended.IsZero() {
		t.Errorf("%+v", p)
	}
	r.broken = nil
	r.clock.Advance(2 * time.Hour)
	r.counted(r.round(), 10)
}

package backfill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/backfill"
	"replygate/config"
	"replygate/record"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const corp = "wwReplay"

// scene is a corp on a simulated WeCom, and the store of the gateways that replay its messages.
type scene struct {
	*testing.T
	clock    *wecomtest.Clock
	platform *wecomtest.Platform
	server   *httptest.Server
	store    *store.Client
	windows  *window.Store

	mu      sync.Mutex
	secrets []config.Secret
	known   []string             // channels that were seen elsewhere
	own     []time.Time          // calls of kf/sync_msg by replays
	step    func(now time.Time)  // runs in each second that a replay waits
	page    func(channel string) // runs when a page was recorded
}

// newScene begins records now, in front of channels on which customers wrote before.
func newScene(t *testing.T, channels int) *scene {
	s := newPlatform(t, channels)
	s.store = storetest.Open(t, storetest.Embedded(t), s.clock.Now)
	s.windows = window.NewEmbedded(s.store.UniversalClient, s.store, s.settings())
	s.gap("rg:since", s.clock.Now())
	return s
}

func (s *scene) settings() window.Settings {
	return window.Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: 5 * time.Second, Now: s.clock.Now}
}

// newPlatform is a scene without a store.
func newPlatform(t *testing.T, channels int) *scene {
	s := &scene{T: t, clock: wecomtest.NewClock(), secrets: []config.Secret{"s-all"}}
	s.clock.Set(time.Now().Truncate(time.Second))
	s.platform = wecomtest.New(s.clock.Now)
	var names []string
	for i := range channels {
		names = append(names, fmt.Sprintf("wk%d", i))
	}
	s.platform.AddCorp(corp, "s-all", names...)
	for i, name := range names {
		s.platform.CustomerWroteAt(corp, name, fmt.Sprintf("wm%d", i), "hello", s.clock.Now().Add(-time.Hour))
	}
	s.platform.SetLimit(wecom.PathSyncMsg, wecomtest.Limit{Minute: 10, AtOnce: 1})
	s.server = s.platform.Start()
	t.Cleanup(s.server.Close)
	return s
}

func (s *scene) gap(key string, at time.Time) {
	s.Helper()
	if err := s.store.Set(s.Context(), key, at.UnixMilli(), 0).Err(); err != nil {
		s.Fatal(err)
	}
}

// replayer is that of one more gateway. Its log is returned.
func (s *scene) replayer() (*backfill.Replayer, *observer.ObservedLogs) {
	core, lines := observer.New(zapcore.InfoLevel)
	return &backfill.Replayer{
		Windows: s.windows, Redis: s.store.UniversalClient, Prefix: "rg:", Timeout: 5 * time.Second,
		Budget: backfill.NewBudget(s.clock.Now), Log: record.RateLimit(zap.New(core), s.clock.Now),
		Accounts: func() []backfill.Account {
			s.mu.Lock()
			defer s.mu.Unlock()
			return []backfill.Account{{Corp: corp, Secrets: slices.Clone(s.secrets)}}
		},
		Connect: func(context.Context) (backfill.Calls, error) { return s, nil },
		Record:  s.record,
		Learn:   func(context.Context, string, []string) {},
		Channels: func(context.Context, string) ([]string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.known), nil
		},
		Now: s.clock.Now, Sleep: s.sleep,
	}, lines
}

// Call sends a call to the simulated WeCom.
func (s *scene) Call(ctx context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	if path == wecom.PathSyncMsg {
		s.mu.Lock()
		s.own = append(s.own, s.clock.Now())
		s.mu.Unlock()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.URL+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.server.Client().Do(req)
	if err != nil {
		return 0, nil, errors.New("no answer")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// record records a page as a gateway does, in short.
func (s *scene) record(ctx context.Context, corp, channel string, answer []byte) {
	page, err := wecom.ReadPage(bytes.NewReader(answer))
	if err != nil {
		s.lose(window.Loss{Corp: corp, Channel: channel, Messages: true})
	}
	var facts []window.Fact
	for _, m := range page.Messages {
		facts = append(facts, window.Fact{Key: window.Key{Corp: corp, Channel: m.Channel, Customer: m.Customer}, At: m.At})
	}
	if _, err := s.windows.Record(ctx, facts); err != nil {
		s.Error(err)
	}
	for _, u := range page.Unreadable {
		s.lose(window.Loss{Corp: corp, Channel: channel, Messages: true, Item: &window.Item{At: u.At, ID: u.ID}})
	}
	if s.page != nil {
		s.page(channel)
	}
}

func (s *scene) lose(l window.Loss) {
	if _, err := s.windows.RecordGaps(context.Background(), l); err != nil {
		s.Error(err)
	}
}

// sleep lets the time pass, second by second.
func (s *scene) sleep(ctx context.Context, d time.Duration) error {
	for range int(d / time.Second) {
		if ctx.Err() != nil {
			break
		}
		s.clock.Advance(time.Second)
		if s.step != nil {
			s.step(s.clock.Now())
		}
	}
	return ctx.Err()
}

// run runs replayers until something holds.
func (s *scene) run(what string, done func() bool, all ...*backfill.Replayer) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	var running sync.WaitGroup
	for _, r := range all {
		running.Go(func() { r.Run(ctx) })
	}
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Errorf("waited in vain for %s", what)
			break
		}
	}
	cancel()
	running.Wait()
}

// complete reports whether channels, or the whole corp for "", are complete.
func (s *scene) complete(channels ...string) bool {
	for _, c := range channels {
		if is, _, err := s.windows.Complete(context.Background(), corp, c); err != nil || !is {
			return false
		}
	}
	return true
}

// busiest returns the most of the times within a minute.
func busiest(times []time.Time) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	for i, t := range times {
		n := 0
		for n < len(times)-i && times[i+n].Sub(t) < time.Minute {
			n++
		}
		most = max(most, n)
	}
	return most
}

// logged returns the lines of a log with a text.
func logged(lines *observer.ObservedLogs, text string) (found []observer.LoggedEntry) {
	return lines.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, text) }).All()
}

// status returns the status of the corp.
func (s *scene) status(r *backfill.Replayer) backfill.Status {
	s.Helper()
	st, err := r.Status(s.Context(), corp, s.secrets)
	if err != nil {
		s.Fatal(err)
	}
	return st
}

// A first day is complete within minutes, at nine calls a minute; what is complete stays alone.
func TestReplayCompletesAFirstDay(t *testing.T) {
	s := newScene(t, 30)
	began := s.clock.Now()
	r, lines := s.replayer()
	if st := s.status(r); st.State != backfill.None || len(st.Secrets) != 1 {
		t.Errorf("before: %+v", st)
	}
	s.run("a complete corp", func() bool { return s.complete("") && len(logged(lines, "is over")) > 0 }, r)
	if took := s.clock.Now().Sub(began); took > 5*time.Minute {
		t.Errorf("it took %s", took)
	}
	if n := busiest(s.own); n > 9 || len(s.own) != 30 {
		t.Errorf("%d calls for 30 channels, %d of them within a minute", len(s.own), n)
	}
	if e, found, err := s.windows.Show(t.Context(), window.Key{Corp: corp, Channel: "wk7", Customer: "wm7"}); err != nil || !found || e.State != window.Open {
		t.Errorf("the window of a customer: %+v, %v", e, err)
	}
	st := s.status(r)
	if st.State != backfill.Complete || st.Complete != 30 || st.Channels != 30 || st.Messages != 30 {
		t.Errorf("after: %+v", st)
	}
	if c := r.Counts(); c.Running != 0 || c.Calls != 30 || c.Messages != 30 || c.Results["complete"] != 30 {
		t.Errorf("counts: %+v", c)
	}
	over := logged(lines, "is over")
	if len(logged(lines, "replaying kf/sync_msg")) != 1 || len(over) != 1 || over[0].ContextMap()["complete"] != int64(30) {
		t.Errorf("logged %v", lines.All())
	}
	s.run("a second start", func() bool { return s.store.Exists(t.Context(), "rg:leader:replay").Val() == 1 }, r)
	if len(s.own) != 30 {
		t.Errorf("%d calls after all was complete", len(s.own))
	}
}

// Bots that pull without the token of a callback never meet WeCom's limit because of a replay.
func TestReplayLeavesBotsTheirCalls(t *testing.T) {
	for _, bots := range []int{0, 1, 4, 8, 9} {
		t.Run(fmt.Sprintf("%d a minute", bots), func(t *testing.T) {
			s := newScene(t, 20)
			r, _ := s.replayer()
			token := s.platform.Issue(corp)
			refused, began := 0, s.clock.Now()
			var pulled []time.Time
			s.step = func(now time.Time) {
				second := int(now.Sub(began) / time.Second)
				if second*bots/60 == (second-1)*bots/60 {
					return
				}
				answer := post(t, s.server.URL+wecom.PathSyncMsg+"?access_token="+token, `{"limit":1}`)
				limited := strings.Contains(answer, `"errcode":45009`)
				if limited {
					refused++
				}
				pulled = append(pulled, now)
				r.Budget.Pulled(corp, now, false, limited)
			}
			s.run("the end of the replay", func() bool {
				took := s.clock.Now().Sub(began)
				return s.complete("") || took > 40*time.Minute || bots > 8 && took >= 11*time.Minute // it has given up
			}, r)
			if all := slices.Concat(s.own, pulled); busiest(all) > 10 || refused > 0 {
				t.Errorf("%d calls within a minute, a bot was refused %d times", busiest(all), refused)
			}
			if done := s.complete(""); done != (bots <= 8) {
				t.Errorf("complete: %v, after %s", done, s.clock.Now().Sub(began))
			}
		})
	}
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(answer)
}

// After 45009, to a bot or to a replay, nothing is called for a minute.
func TestReplayAfter45009(t *testing.T) {
	for _, c := range []struct {
		name    string
		limited func(s *scene, r *backfill.Replayer)
	}{
		{"of a bot", func(s *scene, r *backfill.Replayer) {
			s.page = func(channel string) {
				if channel == "wk1" {
					r.Budget.Pulled(corp, s.clock.Now(), true, true)
				}
			}
		}},
		{"of a replay", func(s *scene, _ *backfill.Replayer) { s.platform.FailNext(wecom.PathSyncMsg, 0, 0, 45009) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 4)
			r, _ := s.replayer()
			c.limited(s, r)
			s.run("a complete corp", func() bool { return s.complete("") }, r)
			times := s.own
			slices.SortFunc(times, time.Time.Compare)
			longest := time.Duration(0)
			for i := range len(times) - 1 {
				longest = max(longest, times[i+1].Sub(times[i]))
			}
			if longest < time.Minute {
				t.Errorf("calls at %v", times)
			}
		})
	}
}

// WeCom refuses a secret: the gap stays, the log and the status say why and what to do. Another
// secret, given by a reload, ends it.
func TestReplayWithARefusedSecret(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(s *scene)
		code    int
		remedy  string
	}{
		{"a wrong secret", func(s *scene) { s.secrets = []config.Secret{"s-wrong"} }, 40001, "the secret is wrong"},
		{"an address that is not trusted", func(s *scene) { s.platform.Refuse(corp, "/cgi-bin/kf/account/list", 60020) }, 60020, "does not trust the address"},
		{"no permission", func(s *scene) { s.platform.Refuse(corp, wecom.PathSyncMsg, 48002) }, 48002, "may not use WeChat Customer Service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 1)
			c.prepare(s)
			r, lines := s.replayer()
			s.run("a refusal", func() bool { return s.status(r).State == backfill.Failed }, r)
			st := s.status(r)
			if one := st.Secrets[0]; one.Errcode != c.code || !strings.Contains(one.Error, c.remedy) || one.Number != 1 || s.complete("wk0") {
				t.Errorf("%+v", st)
			}
			warned := logged(lines, c.remedy)
			if len(warned) != 1 || warned[0].Level != zapcore.WarnLevel || warned[0].ContextMap()["errcode"] != int64(c.code) {
				t.Errorf("logged %v", lines.All())
			}
			for _, e := range lines.All() {
				if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "s-wrong") || strings.Contains(text, "s-all") {
					t.Errorf("a secret in the log: %s", text)
				}
			}
			if keys := s.store.Get(t.Context(), "rg:replay:"+corp).Val(); strings.Contains(keys, "s-wrong") || strings.Contains(keys, "s-all") {
				t.Errorf("a secret in Redis: %s", keys)
			}
			s.platform.Refuse(corp, "/cgi-bin/kf/account/list", 0)
			s.platform.Refuse(corp, wecom.PathSyncMsg, 0)
			s.platform.AddApp(corp, "s-new", "wk0")
			s.mu.Lock()
			s.secrets = []config.Secret{"s-new"}
			s.mu.Unlock()
			s.run("a complete corp", func() bool { return s.complete("", "wk0") }, r)
			if st := s.status(r); st.State != backfill.Complete {
				t.Errorf("after: %+v", st)
			}
		})
	}
}

// A panic ends one replay, and not the process: the corp is visited again.
func TestAPanicEndsOneReplay(t *testing.T) {
	s := newScene(t, 1)
	r, lines := s.replayer()
	s.page = func(string) { panic("a bug of ours") }
	s.run("a panic", func() bool { return len(logged(lines, "BUG")) > 0 }, r)
	s.page = nil
	s.run("a complete corp", func() bool { return s.complete("", "wk0") }, r)
}

// A secret ends the gaps of the channels that it can see, and of no others. A second one, added
// while the replayer runs, ends theirs; then the corp is complete.
func TestReplayOfSomeChannels(t *testing.T) {
	s := newScene(t, 2)
	s.platform.AddApp(corp, "s-one", "wk0")
	s.platform.AddApp(corp, "s-two", "wk1")
	s.secrets, s.known = []config.Secret{"s-one"}, []string{"wk1"}
	r, lines := s.replayer()
	step := 0
	s.run("both", func() bool {
		if step == 0 && len(logged(lines, "is over")) > 0 {
			step = 1
			if !s.complete("wk0") || s.complete("wk1") || s.complete("") {
				t.Errorf("one secret: wk0 %v, wk1 %v, all %v", s.complete("wk0"), s.complete("wk1"), s.complete(""))
			}
			if got := logged(lines, "is over")[0].ContextMap()["incomplete"]; fmt.Sprint(got) != "[wk1]" {
				t.Errorf("incomplete: %v", got)
			}
			s.mu.Lock()
			s.secrets = append(s.secrets, "s-two")
			s.mu.Unlock()
			r.Wake()
		}
		return step == 1 && s.complete("wk0", "wk1", "")
	}, r)
	if len(s.own) != 2 {
		t.Errorf("%d calls for two channels", len(s.own))
	}
}

// A gap that is marked while its channel is replayed stays; the next replay ends it.
func TestReplayMissesNothing(t *testing.T) {
	s := newScene(t, 2)
	r, lines := s.replayer()
	lost := false
	s.page = func(channel string) {
		if channel == "wk1" && !lost {
			lost = true
			s.clock.Advance(time.Second)
			s.lose(window.Loss{Corp: corp, Channel: "wk1", Messages: true})
		}
	}
	s.run("the first replay", func() bool { return len(logged(lines, "is over")) > 0 }, r)
	if !s.complete("wk0") || s.complete("wk1") || s.complete("") || r.Counts().Results["missed"] != 1 {
		t.Errorf("wk0 %v, wk1 %v, all %v, %+v", s.complete("wk0"), s.complete("wk1"), s.complete(""), r.Counts())
	}
	s.clock.Advance(2 * time.Minute)
	s.run("the second replay", func() bool { return s.complete("wk1", "") }, r)
	if len(s.own) != 3 {
		t.Errorf("%d calls: wk0 was complete", len(s.own))
	}
}

// Items that cannot be read do not stop a replay, and keep their gap; a page that breaks off is
// pulled again later.
func TestReplayOverUnreadablePages(t *testing.T) {
	s := newScene(t, 2)
	broken := true
	s.platform.Answer(wecom.PathSyncMsg, func(w http.ResponseWriter, rq *http.Request) {
		body, _ := io.ReadAll(rq.Body)
		item := ""
		if strings.Contains(string(body), "wk0") {
			item = fmt.Sprintf(`{"msgid":"u","open_kfid":"wk0","send_time":%d,"origin":3}`, s.clock.Now().Add(-time.Hour).Unix())
		} else if broken {
			fmt.Fprint(w, "<html>")
			return
		}
		fmt.Fprintf(w, `{"errcode":0,"has_more":0,"next_cursor":"c","msg_list":[%s]}`, item)
	})
	r, lines := s.replayer()
	s.run("the first replay", func() bool { return len(logged(lines, "is over")) > 0 }, r)
	if st := s.status(r); st.State == backfill.Complete || st.List[0].State != backfill.Incomplete || st.List[1].State != backfill.Waiting || st.Unreadable == 0 {
		t.Errorf("%+v", st)
	}
	if r.Counts().Results["unreadable"] != 1 {
		t.Errorf("%+v", r.Counts())
	}
	broken = false
	s.clock.Advance(2 * time.Minute)
	s.run("the second replay", func() bool { return s.complete("wk1") }, r)
	if st := s.status(r); st.State != backfill.Incomplete || s.complete("wk0") {
		t.Errorf("%+v", st)
	}
	s.clock.Advance(48 * time.Hour)
	if !s.complete("wk0", "") {
		t.Error("the gap of an item does not end by time")
	}
}

// Of two gateways one replays. When it ends half way, the other one goes on where it was.
func TestReplayOfTwoGateways(t *testing.T) {
	s := newScene(t, 6)
	pages := map[string]int{}
	first, _ := s.replayer()
	second, lines := s.replayer()
	third := make(chan struct{})
	s.page = func(channel string) {
		pages[channel]++
		if len(pages) == 3 && pages[channel] == 1 {
			close(third)
			s.clock.Advance(30 * time.Second) // while the other one takes over
		}
	}
	s.run("three pages", func() bool {
		select {
		case <-third:
			return true
		default:
			return false
		}
	}, first)
	if s.complete("") {
		t.Fatal("all was replayed before the first gateway ended")
	}
	s.run("a complete corp", func() bool { return s.complete("") && len(logged(lines, "is over")) > 0 }, second)
	repeated := 0
	for _, n := range pages {
		repeated += n - 1
	}
	if len(pages) != 6 || repeated > 1 || busiest(s.own) > 9 {
		t.Errorf("pages %v, %d within a minute", pages, busiest(s.own))
	}
	began := len(s.own)
	s.clock.Advance(time.Minute)
	s.gap("rg:since", s.clock.Now())
	s.run("a complete corp", func() bool { return s.complete("") }, first, second)
	if len(s.own) != began+6 {
		t.Errorf("two gateways together made %d calls for 6 channels", len(s.own)-began)
	}
}

// A run ends with its context, also while WeCom does not answer.
func TestReplayEnds(t *testing.T) {
	s := newScene(t, 1)
	release := s.platform.Hold(wecom.PathSyncMsg)
	defer release()
	r, _ := s.replayer()
	s.run("a call", func() bool { return s.platform.Count(wecom.PathSyncMsg) == 1 }, r)
	if s.complete("wk0") {
		t.Error("complete without an answer")
	}
}

// gateway is one of several on one Redis. What it does as a replayer ends when it dies.
type gateway struct {
	*scene
	mortal *storetest.Mortal
}

// gateway starts one more, with its own connections and leases.
func (s *scene) gateway(c config.Redis) (*gateway, *backfill.Replayer) {
	s.Helper()
	own := &scene{T: s.T, clock: s.clock, platform: s.platform, server: s.server, secrets: s.secrets, store: storetest.Open(s, c, s.clock.Now)}
	journal, _, _, err := store.OpenJournal(filepath.Join(s.TempDir(), "journal"), 1<<20)
	if err != nil {
		s.Fatal(err)
	}
	set := s.settings()
	set.Timeout = 500 * time.Millisecond
	own.windows = window.NewShared(own.store.UniversalClient, own.store, journal, set)
	g := &gateway{own, storetest.NewMortal(own.store.UniversalClient, nil)}
	ctx, stop := context.WithCancel(s.Context())
	var running sync.WaitGroup
	running.Go(func() { own.windows.Run(ctx) })
	s.Cleanup(func() { stop(); running.Wait(); journal.Close() })
	await(s, "its lease", func() bool { return own.windows.Status().Held })
	r, _ := own.replayer()
	r.Connect = func(context.Context) (backfill.Calls, error) { return g, nil }
	return g, r
}

// Call is the scene's while the gateway lives.
func (g *gateway) Call(ctx context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	if g.mortal.Dead() {
		return 0, nil, errors.New("killed")
	}
	return g.scene.Call(ctx, path, query, body)
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The gateway that replays is killed half way, alone or together with the primary of Redis. Another
// one goes on, completes the corp, and asks WeCom for hardly anything twice.
func TestReplayOutlivesItsGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts servers and waits for a leader")
	}
	for _, failover := range []bool{false, true} {
		t.Run(fmt.Sprintf("failover=%v", failover), func(t *testing.T) {
			t.Parallel()
			s := newPlatform(t, 6)
			var c config.Redis
			fault := func() {}
			if failover {
				redis, master, replica, _ := storetest.StartSentinel(t)
				c, fault = redis, func() {
					master.Down()
					replica.Await("role:master", "info", "replication")
				}
			} else {
				c = storetest.Start(t).Config()
			}
			first, one := s.gateway(c)
			second, other := s.gateway(c)
			second.gap("rg:since", s.clock.Now())
			pages := map[string]int{}
			first.page = func(channel string) {
				if pages[channel]++; len(pages) == 3 {
					first.mortal.Die()
				}
			}
			second.page = func(channel string) { pages[channel]++ }
			first.run("the death", first.mortal.Dead, one)
			if second.store.Exists(t.Context(), "rg:leader:replay").Val() != 1 {
				t.Error("the leader has given its lock back: it is not dead")
			}
			fault()
			s.clock.Advance(30 * time.Second)                      // while the other one takes over
			await(t, "the end of the leader's term", func() bool { // which is 15 seconds
				return second.store.PExpire(t.Context(), "rg:leader:replay", time.Millisecond).Err() == nil
			})
			second.run("a complete corp", func() bool {
				is, _, err := second.windows.HistorySince(context.Background(), corp, "")
				return err == nil && is
			}, other)
			repeated := 0
			for channel, n := range pages {
				repeated += n - 1
				k := window.Key{Corp: corp, Channel: channel, Customer: "wm" + channel[2:]}
				if e, found, err := second.windows.Show(t.Context(), k); err != nil || !found || e.State != window.Open {
					t.Errorf("the window of %s: %+v, %v", k.Customer, e, err)
				}
			}
			if calls := slices.Concat(first.own, second.own); len(pages) != 6 || repeated > 3 || busiest(calls) > 10 {
				t.Errorf("pages %v, %d within a minute", pages, busiest(calls))
			}
		})
	}
}

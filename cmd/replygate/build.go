package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"replygate/account"
	"replygate/admin"
	"replygate/backfill"
	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/outbox"
	"replygate/proxy"
	"replygate/record"
	"replygate/store"
	"replygate/trace"
	"replygate/upstream"
	"replygate/window"
)

// settings is a configuration with all that is compiled from it.
type settings struct {
	path string
	hash string // of the files that it was read from; "" if one of them could not be read
	gate.Gate
	receivers proxy.Receivers
	level     zapcore.Level // log.level
}

// load reads and compiles the configuration at path. With an error its hash is set all the same.
func load(path string) (settings, error) {
	c, hash, err := config.Load(path)
	if err != nil {
		return settings{hash: hash}, err
	}
	set, err := compile(path, c)
	set.hash = hash
	return set, err
}

// compile makes everything of a configuration that can fail.
func compile(path string, c *config.Config) (s settings, err error) {
	s.path = path
	if s.Gate, err = gate.New(path, c); err != nil {
		return s, err
	}
	if err = outbox.Check(path, c); err != nil {
		return s, err
	}
	if s.receivers, err = proxy.NewReceivers(c.Callbacks); err != nil {
		return s, err
	}
	if s.level, err = zapcore.ParseLevel(c.Log.Level); err != nil {
		err = fmt.Errorf("log.level: %w", err)
	}
	return s, err
}

// gateway is a built gateway, listening.
type gateway struct {
	settings // those it was built with; handler has those in force
	reloader
	handler  *proxy.Gateway
	store    *store.Client
	windows  *window.Store
	contacts contactBook
	events   eventBook
	calls    *calls.Counters
	replays  *backfill.Replayer
	upstream *upstream.Upstream
	traces   *trace.Tracer // nil: no call is traced
	traced   *prometheus.CounterVec
	faces    []face
	admin    *http.Server
	api      net.Listener
	callback net.Listener // nil without callbacks
	control  net.Listener
	log      *zap.Logger
	limited  *record.RateLimited // log, for lines that can repeat
	draining atomic.Bool
	hangups  chan os.Signal // each reloads the configuration
	logs     *logs
	measured prometheus.Gatherer // the metrics of the handler
	day      *today
	began    time.Time
	done     sync.WaitGroup
}

// face is a server with its listener.
type face struct {
	server *fasthttp.Server
	on     net.Listener
}

// build opens what a gateway needs, wires it and opens its listeners. It is the one place that
// knows every package. After an error nothing stays open.
func build(ctx context.Context, s settings, now func() time.Time, std streams) (_ *gateway, err error) {
	g := &gateway{settings: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.release())
		}
	}()
	if err := g.open(ctx, now, std); err != nil {
		return nil, err
	}
	g.wire(now)
	g.use(s)
	g.readContacts(ctx)
	if err := g.listen(now); err != nil {
		return nil, err
	}
	g.saveList(false)
	return g, nil
}

// open opens the logs, Redis with its journal, and the upstream.
func (g *gateway) open(ctx context.Context, now func() time.Time, std streams) (err error) {
	c := g.Config
	if g.logs, err = openLogs(c, g.level, std); err != nil {
		return err
	}
	g.log, g.logs.began = g.logs.own, now()
	g.limited = record.RateLimit(g.log, now)
	g.readList(now())
	if g.store, err = store.Open(ctx, c.Redis, c.Journal, now, g.log); err != nil {
		return err
	}
	if g.upstream, err = upstream.New(c.Upstream); err != nil {
		return err
	}
	if err = g.openTraces(); err != nil {
		return err
	}
	g.windows = newWindows(g.store, window.Settings{
		Prefix: c.Redis.Prefix, Length: c.Window.Length, Replies: c.Window.Replies, Timeout: g.store.Timeout, Now: now, Log: g.limited,
		IndexAll: c.Console.Index == config.IndexAll,
		CorpOf: func(ctx context.Context, tokenHash string, channels []string) (string, error) {
			return g.handler.CorpOf(ctx, tokenHash, channels) // wired before windows.Run asks
		},
	})
	if err := g.windows.CheckJournal(); err != nil {
		return fmt.Errorf("journal.path: %w", err)
	}
	if err := g.windows.Acquire(ctx); err != nil {
		g.log.Warn("no lease yet: redis is away", zap.Error(err))
	}
	if _, _, err := g.windows.Complete(ctx, "", ""); err != nil {
		g.log.Warn("records begin once redis is back", zap.Error(err))
	}
	return nil
}

// wire makes the handler of calls and the admin server.
func (g *gateway) wire(now func() time.Time) {
	registry := prometheus.NewRegistry()
	g.calls = calls.New(g.store.UniversalClient, g.Config.Redis.Prefix, g.store.Timeout, now)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	measured := prometheus.NewRegistry()
	registry.MustRegister(measured)
	g.measured, g.began, g.day = measured, now(), &today{metrics: measured, zone: zoneOf(g.Config.Console), now: now}
	g.handler = &proxy.Gateway{
		Windows: g.windows, Upstream: g.upstream, Metrics: proxy.NewMetrics(measured), Bypass: proxy.NewBypass(),
		Tokens: account.NewTokens(g.store.UniversalClient, g.Config.Redis.Prefix, g.store.Timeout, now),
		Access: g.logs.access, Decisions: g.logs.decisions, Refusals: g.logs.refusals, Log: g.limited, Now: now, Draining: g.draining.Load,
		RedisAnswers: g.store.Answers, Calls: g.calls, Traces: g.traces,
	}
	g.openContacts(now)
	g.handler.Contacts = g.contacts.observer
	g.openEvents(now)
	g.handler.Observer = proxy.NewObserver(g.handler)
	g.replays = g.newReplays(now)
	g.handler.Pulled = g.replays.Budget.Pulled
	registerReplays(registry, g.replays)
	g.registerGauges(registry, now)
	g.registerContacts(registry, now)
	g.registerEvents(registry)
	registry.MustRegister(g.traced)
	g.admin = g.withConsole(&admin.Admin{
		Keys: g.Config.Admin, Loopback: config.Loopback(g.Config.Listen.Admin), Gateway: operated{g}, Windows: g.windows, Calls: g.calls, Activity: g.activity, Events: g.events.feed, Deliveries: g.events.outbox,
		Contacts: g.contacts.observer, Meter: g.contacts.meter, Counted: g.contacts.observer.State, Histories: g.contacts.observer.Store.Histories,
		Gatherer: registry, Audit: g.logs.audit, Now: now, Sources: g.sources(),
	}).Server()
	g.admin.ErrorLog = log.New(serverErrors{g.limited}, "", 0)
}

// serverErrors logs the errors of the admin server. Clients can cause them, and their texts have
// addresses, so the text is a field.
type serverErrors struct{ log *record.RateLimited }

func (e serverErrors) Write(line []byte) (int, error) {
	e.log.Warn("the admin listener's server reports an error", zap.ByteString("error", bytes.TrimSpace(line)))
	return len(line), nil
}

// listen opens the listeners. Without callbacks theirs stays closed.
func (g *gateway) listen(now func() time.Time) (err error) {
	c := g.Config.Listen
	if g.api, err = proxy.Listen("listen.api", c.API, c.TLS, now, g.log); err != nil {
		return err
	}
	g.faces = append(g.faces, face{g.handler.APIServer(), g.api})
	if len(g.Config.Callbacks) > 0 {
		if g.callback, err = proxy.Listen("listen.callback", c.Callback, c.TLS, now, g.log); err != nil {
			return err
		}
		g.faces = append(g.faces, face{g.handler.CallbackServer(), g.callback})
	}
	if g.control, err = net.Listen("tcp", c.Admin); err != nil {
		return fmt.Errorf("listen.admin: %w", err)
	}
	return nil
}

// newWindows keeps the windows in an opened Redis.
func newWindows(s *store.Client, settings window.Settings) *window.Store {
	if s.Embedded != nil {
		return window.NewEmbedded(s.UniversalClient, s, settings)
	}
	return window.NewShared(s.UniversalClient, s, s.Journal, settings)
}

// serve answers calls until ctx ends or a server fails, then stops.
func (g *gateway) serve(ctx context.Context) error {
	failed := make(chan error, 1+len(g.faces))
	for _, f := range g.faces {
		g.done.Go(func() { failed <- f.server.Serve(f.on) })
	}
	g.done.Go(func() { failed <- g.admin.Serve(g.control) })
	background, stopBackground := context.WithCancel(context.Background())
	g.done.Go(func() { g.windows.Run(background) })
	g.done.Go(func() { g.handler.Tokens.Run(background, g.limited) })
	g.done.Go(func() { g.calls.Run(background) })
	g.done.Go(func() { g.windows.RunWaiting(background) })
	observing, stopObserving := context.WithCancel(context.Background())
	observed := make(chan struct{})
	go func() { defer close(observed); g.handler.Observer.Run(observing) }()
	g.done.Go(func() { g.watchFiles(background) })
	g.runContacts(background)
	g.runEvents(background)
	g.done.Go(func() { g.day.run(background) })
	replaying, stopReplays := context.WithCancel(ctx) // it ends at once, and not after the last call
	g.done.Go(func() { g.replays.Run(replaying) })
	g.log.Info("serving", zap.String("version", buildVersion()), zap.String("api", g.api.Addr().String()), zap.String("callback", g.callbackAddress()), zap.String("admin", g.control.Addr().String()),
		zap.String("upstream", g.Config.Upstream.URL), zap.Int("accounts", len(g.Accounts.All())))
	g.runNotifications(background)
	var err error
	var until time.Time // the end of the grace
	select {
	case <-ctx.Done():
		g.draining.Store(true) // readiness says so, and answers close their connections
		until = time.Now().Add(g.Config.Shutdown.Grace)
		g.notify("STOPPING=1")
		g.log.Info("stopping")
		time.Sleep(g.Config.Shutdown.LameDuck)
	case err = <-failed:
		until = time.Now().Add(lastExport)
	}
	stopReplays()
	g.stop()
	g.done.Go(func() { g.closeTraces(until) })
	stopObserving() // what it still writes needs the leases
	<-observed
	stopBackground()
	g.done.Wait()
	g.saveList(true)
	return errors.Join(err, g.release())
}

// stop lets running calls end until shutdown.grace is over. Calls that still wait for WeCom then
// get their 504.
func (g *gateway) stop() {
	left := max(g.Config.Shutdown.Grace-g.Config.Shutdown.LameDuck, time.Millisecond)
	aborted := time.AfterFunc(left, g.upstream.Abort)
	defer aborted.Stop()
	grace, cancel := context.WithTimeout(context.Background(), left+answerTime)
	defer cancel()
	var stopping sync.WaitGroup
	for _, f := range g.faces {
		stopping.Go(func() {
			if err := f.server.ShutdownWithContext(grace); err != nil {
				g.log.Warn("calls were still running when the grace ended", zap.Error(err))
			}
		})
	}
	stopping.Wait()
	for _, f := range g.faces {
		_ = f.on.Close() // a server that was told to stop before it began would serve on
	}
	_ = g.admin.Shutdown(grace)
}

// answerTime is how long answers may take to be written after the grace.
const answerTime = 2 * time.Second

func (g *gateway) callbackAddress() string {
	if g.callback == nil {
		return ""
	}
	return g.callback.Addr().String()
}

// release closes what build opened.
func (g *gateway) release() error {
	var all []error
	for _, f := range g.faces {
		_ = f.on.Close() // closed already after a serve
	}
	if g.handler != nil && g.handler.Current() != nil {
		g.handler.Current().Receivers.Close()
	}
	if g.control != nil {
		_ = g.control.Close()
	}
	if g.upstream != nil {
		g.upstream.Close()
	}
	g.closeTraces(time.Time{}) // after a serve it is closed already
	if g.store != nil {
		all = append(all, g.store.Close())
	}
	if g.logs != nil {
		all = append(all, g.logs.Close())
	}
	return errors.Join(all...)
}

// activity returns what went through the gateways for an account, from memory.
func (g *gateway) activity(corp string) (a admin.Activity, known bool) {
	if made, refused, counted := g.calls.Activity(corp); counted {
		a.Calls7d, a.Refused7d, known = new(int(made)), new(int(refused)), true
	}
	if n, told := g.windows.Waiting(corp); told {
		a.Waiting, known = &n, true
	}
	return a, known
}

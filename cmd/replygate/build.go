package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/gate"
	"replygate/proxy"
	"replygate/store"
	"replygate/upstream"
	"replygate/window"
)

// settings is a configuration with all that is compiled from it.
type settings struct {
	path string
	hash string // of its files
	gate.Gate
}

// load reads and compiles the configuration at path.
func load(path string) (settings, error) {
	data, err := config.Read(path)
	if err != nil {
		return settings{}, err
	}
	c, err := config.Parse(path, data)
	if err != nil {
		return settings{}, err
	}
	set, err := compile(path, c)
	if err != nil {
		return settings{}, err
	}
	set.hash, err = hashOfFiles(path, c.AccountsFile)
	return set, err
}

func compile(path string, c *config.Config) (settings, error) {
	g, err := gate.New(path, c)
	return settings{path: path, Gate: g}, err
}

// gateway is a built gateway, listening.
type gateway struct {
	settings // those it was built with; handler has those in force
	reloader
	handler  *proxy.Gateway
	store    *store.Client
	windows  *window.Store
	upstream *upstream.Upstream
	faces    []face
	admin    *http.Server
	api      net.Listener
	callback net.Listener // nil without callbacks
	control  net.Listener
	log      *zap.Logger
	draining atomic.Bool
	logs     *logs
	done     sync.WaitGroup
}

// face is a server with its listener.
type face struct {
	server *fasthttp.Server
	on     net.Listener
}

// build wires a gateway and opens its listeners. It is the one place that knows every package.
func build(ctx context.Context, s settings, now func() time.Time, std streams) (_ *gateway, err error) {
	g := &gateway{settings: s}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	c := s.Config
	if g.logs, err = openLogs(c, std); err != nil {
		return nil, err
	}
	g.log = g.logs.own
	if g.store, err = store.Open(ctx, c.Redis, c.Journal, now, g.log); err != nil {
		return nil, err
	}
	if g.upstream, err = upstream.New(c.Upstream); err != nil {
		return nil, err
	}
	g.windows = newWindows(g.store, window.Settings{
		Prefix: c.Redis.Prefix, Length: c.Window.Length, Replies: c.Window.Replies, Timeout: g.store.Timeout, Now: now, Log: g.log,
	})
	if err := g.windows.CheckJournal(); err != nil {
		return nil, fmt.Errorf("journal.path: %w", err)
	}
	if _, _, err := g.windows.Complete(ctx, "", ""); err != nil {
		g.log.Warn("records begin once redis is back", zap.Error(err))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := proxy.NewMetrics(registry)
	pulls := proxy.NewBypass()
	g.handler = &proxy.Gateway{
		Windows: g.windows, Upstream: g.upstream, Metrics: metrics, Bypass: pulls,
		Tokens: account.NewTokens(g.store.UniversalClient, c.Redis.Prefix, g.store.Timeout, now),
		Access: g.logs.access, Decisions: g.logs.decisions, Refusals: g.logs.refusals, Log: g.log, Now: now, Draining: g.draining.Load,
		RedisAnswers: g.store.Answers,
	}
	registerGauges(registry, g, pulls, now)
	if err := g.use(s); err != nil {
		return nil, err
	}
	g.admin = (&admin.Admin{
		Keys: c.Admin, Loopback: config.Loopback(c.Listen.Admin), Gateway: operated{g}, Windows: g.windows,
		Gatherer: registry, Audit: g.log, Now: now,
	}).Server()
	g.admin.ErrorLog = zap.NewStdLog(g.log)
	if g.api, err = proxy.Listen("listen.api", c.Listen.API, c.Listen.TLS, now, g.log); err != nil {
		return nil, err
	}
	g.faces = append(g.faces, face{g.handler.APIServer(), g.api})
	if len(c.Callbacks) > 0 {
		if g.callback, err = proxy.Listen("listen.callback", c.Listen.Callback, c.Listen.TLS, now, g.log); err != nil {
			return nil, err
		}
		g.faces = append(g.faces, face{g.handler.CallbackServer(), g.callback})
	}
	if g.control, err = net.Listen("tcp", c.Listen.Admin); err != nil {
		return nil, fmt.Errorf("listen.admin: %w", err)
	}
	return g, nil
}

// newWindows keeps the windows in an opened Redis.
func newWindows(s *store.Client, settings window.Settings) *window.Store {
	if s.Embedded != nil {
		return window.NewEmbedded(s.UniversalClient, s, settings)
	}
	return window.NewShared(s.UniversalClient, s, s.Journal, settings)
}

// registerGauges adds what is read when asked.
func registerGauges(r *prometheus.Registry, g *gateway, pulls *proxy.Bypass, now func() time.Time) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_channels_bypassed", Help: "Channels with replies through the gateway whose messages nobody pulls through it.",
	}, func() float64 { return float64(pulls.Bypassed()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_history_incomplete", Help: "1 while a missing window proves nothing, of whatever account, but for channels with a backfill.",
	}, func() float64 {
		if complete, _, err := g.windows.Complete(context.Background(), "", ""); err == nil && complete {
			return 0
		}
		return 1
	}))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_config_stale", Help: "1 if the configuration's file has mistakes, so that an older one is in force.",
	}, func() float64 {
		if _, stale := g.version(); stale {
			return 1
		}
		return 0
	}))
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "replygate_log_records_dropped_total", Help: "Records that their file or stream did not take in time; they went to standard error.",
	}, func() float64 { return float64(g.logs.Unlogged()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_journal_bytes", Help: "What the journal holds: facts that Redis has not taken, or the embedded store's changes since its snapshot.",
	}, func() float64 { return float64(g.store.Journal.End() - g.store.Journal.Start()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_redis_clock_skew_seconds", Help: "How far Redis's clock is ahead of the gateway's; alarm from 1 on, either way.",
	}, func() float64 { return g.store.Skew().Seconds() }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_wecom_clock_skew_seconds", Help: "How far WeCom's clock is ahead of the gateway's, as far as answers prove; alarm from 5 on, either way.",
	}, func() float64 { return g.handler.Skew().Seconds() }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_unsure_waiting", Help: "Replies that wait, since Redis does not tell about them just now.",
	}, func() float64 { return float64(g.handler.Waiting()) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_redis_up", Help: "1 if Redis answered when last asked.",
	}, func() float64 {
		if g.store.Up() {
			return 1
		}
		return 0
	}))
	for _, standing := range account.Standings() {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "replygate_accounts", Help: "Accounts by standing.", ConstLabels: prometheus.Labels{"standing": string(standing)},
		}, func() (n float64) {
			for _, a := range g.accounts().All() {
				if a.Standing(now()) == standing {
					n++
				}
			}
			return n
		}))
	}
}

// serve answers until ctx ends, then stops in order: it says so in readiness and closes connections
// after their answers for lame_duck, lets running calls end until grace is over, answers the rest
// that their outcome is unknown, and writes its state.
func (g *gateway) serve(ctx context.Context) error {
	failed := make(chan error, 1+len(g.faces))
	for _, f := range g.faces {
		g.done.Go(func() { failed <- f.server.Serve(f.on) })
	}
	g.done.Go(func() { failed <- g.admin.Serve(g.control) })
	keeping, stopKeeping := context.WithCancel(context.Background())
	g.done.Go(func() { g.windows.Run(keeping) })
	g.done.Go(func() { g.windows.RunHeartbeat(keeping) })
	g.done.Go(func() { g.watchFile(keeping) })
	g.log.Info("serving", zap.String("api", g.api.Addr().String()), zap.String("callback", g.callbackAddress()), zap.String("admin", g.control.Addr().String()),
		zap.String("upstream", g.Config.Upstream.URL), zap.Int("accounts", len(g.Accounts.All())))
	var err error
	select {
	case <-ctx.Done():
		g.draining.Store(true)
		g.log.Info("stopping")
		time.Sleep(g.Config.Shutdown.LameDuck)
	case err = <-failed:
	}
	left := max(g.Config.Shutdown.Grace-g.Config.Shutdown.LameDuck, time.Millisecond)
	aborted := time.AfterFunc(left, g.upstream.Abort) // calls that still wait for WeCom get their 504
	defer aborted.Stop()
	grace, cancel := context.WithTimeout(context.Background(), left+lastWords)
	defer cancel()
	var stopping sync.WaitGroup
	for _, f := range g.faces {
		stopping.Go(func() {
			if stopped := f.server.ShutdownWithContext(grace); stopped != nil {
				g.log.Warn("calls were still running when the grace ended", zap.Error(stopped))
			}
		})
	}
	stopping.Wait()
	for _, f := range g.faces {
		_ = f.on.Close() // a server that was told to stop before it began would serve on
	}
	_ = g.admin.Shutdown(grace)
	stopKeeping()
	g.done.Wait()
	return errors.Join(err, g.release())
}

// lastWords is how long answers may take to be written once the grace is over.
const lastWords = 2 * time.Second

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
	if g.store != nil {
		all = append(all, g.store.Close())
	}
	if g.logs != nil {
		all = append(all, g.logs.Close())
	}
	return errors.Join(all...)
}

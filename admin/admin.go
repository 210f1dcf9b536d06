// Package admin serves the HTTP API for operators and their tools: health, metrics, windows,
// accounts, explanations, and changes such as reported messages and reloads.
//
// It does not serve bots and does not forward anything to WeCom. It has a listener of its own.
package admin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"replygate/backfill"
	"replygate/calls"
	"replygate/config"
	"replygate/contacts"
	"replygate/events"
	"replygate/gate"
	"replygate/window"
)

// Admin serves the admin listener.
type Admin struct {
	Keys       config.Admin
	Loopback   bool // the listener is on loopback: a Host must name this machine
	Gateway    Gateway
	Windows    *window.Store
	Contacts   *contacts.Observer
	Meter      *contacts.Meter
	Calls      *calls.Counters
	Events     *events.Feed        // of GET /v1/events
	Deliveries Deliveries          // of POST /v1/webhooks/NAME/…
	Gatherer   prometheus.Gatherer // of GET /metrics
	Audit      *zap.Logger         // gets a record of every change
	Now        func() time.Time
	Zone       *time.Location                      // of dates; nil: China's
	Sources    Sources                             // what other parts tell
	Origin     string                              // console.origin: one more Host and Origin that is ours
	Console    func(api http.Handler) http.Handler // puts the pages for people before the API; nil: none

	// Counted returns what is stored of an account's contacts. It answers from memory, since lists ask
	// it for every account. nil: nothing is stored.
	Counted func(corpID string) contacts.State
	// Histories returns the days on which accounts were counted, oldest first. nil: they never were.
	Histories func(ctx context.Context, corpIDs []string) (map[string][]contacts.Day, error)
	// Activity returns what went through the gateway for an account; false: not known. It answers from
	// memory. nil: nothing is known.
	Activity func(corpID string) (Activity, bool)

	// Lookup resolves the names of Keys.Peers; network is ip4 or ip6. nil: the system's resolver.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	instance  string          // tells this process from others
	stopping  context.Context // ends when the server shuts down
	stops     stopsInForce
	scanning  sync.Mutex // held while GET /v1/windows?scan=1 scans Redis
	exporting sync.Mutex // held by the one export that runs
	replays   replays
	counted   kept[[]peerAnswer[Overview]]
	ruled     kept[[]peerAnswer[RuleList]]
	stored    kept[storedNumbers]
	moves     kept[[]Attention]
	reloaded  lastReload
	changes   windowChanges
}

// Gateway is the running gateway as the admin API sees it. Its methods are called concurrently.
type Gateway interface {
	// Gate returns the configuration in force, compiled.
	Gate() *gate.Gate
	// InForce returns the configuration in force and its hash, with no reload between the two.
	InForce() (c *config.Config, hash string)
	// RedisUp reports whether Redis answered when it was last asked.
	RedisUp() bool
	// Draining reports whether the gateway is shutting down.
	Draining() bool
	// Bypassed returns the number of channels whose messages do not pass through the gateway
	// although replies on them do.
	Bypassed() int
	// Channels returns the known channels of a corp: the configured ones, and those that were seen.
	Channels(ctx context.Context, corp string) ([]string, error)
	// Replays returns how far the gateways have completed the records of a corp by themselves;
	// configured is false if they have no secret for that.
	Replays(ctx context.Context, corp string) (s backfill.Status, configured bool, err error)
	// Replaying returns what this gateway has completed by itself; configured is false if no account
	// has a secret for that.
	Replaying() (c backfill.Counts, configured bool)
	// CountReported counts the messages that POST /v1/inbound recorded.
	CountReported(window.Tally)
	// Version returns the hash of the configuration in force, and whether it is stale: the files
	// have mistakes or their reload is held, so that an older configuration stays in force.
	Version() (hash string, stale bool)
	// Problems tells in sentences what is wrong with the configuration's files.
	Problems() []string
	// Reload reads the configuration again, unless it is held; see Reloaded. With a hash other than
	// "" it does so only while the configuration in force has that hash, with Held.Confirm only if
	// the reload is still the held one; else the error is ErrOtherVersion or ErrNotHeld.
	// Reloaded.Config is set also with an error.
	Reload(ifMatch string) (Reloaded, error)
	// ConfigFile returns the path of the configuration.
	ConfigFile() string
	// GateSince returns what Gate does, and since when it is in force.
	GateSince() (*gate.Gate, time.Time)
	// Address returns the address of the admin listener, by which this gateway is told from others.
	Address() string
	// Self tells of this gateway what the others are told: its version, its configuration and when it
	// began.
	Self() GatewayHealth
	// NewestDecisions returns the newest decision records, the oldest first, which must not be
	// changed: all since an instant but passes, and one in a hundred of these.
	NewestDecisions() (lines [][]byte, since time.Time)
	// OlderDecisions calls visit with the lines of the log's files up to an instant, the newest first,
	// as far as one page may read. more is true if lines are left, and packed lists files that were
	// passed over. The search ends with ctx.
	OlderDecisions(ctx context.Context, until time.Time, visit func(line []byte) bool) (more bool, packed []string, err error)
	// Decision finds the record of a decision, and returns it with its source: memory, or a file. It
	// returns nil if there is none on record. The search ends with ctx.
	Decision(ctx context.Context, id string, at time.Time) (line []byte, source string, err error)
}

// ErrOtherVersion means that the configuration in force is not the one that a reload expected,
// ErrNotHeld that the reload to be confirmed is not the one that was held.
var (
	ErrOtherVersion = errors.New("another configuration is in force")
	ErrNotHeld      = errors.New("another reload was held")
)

const (
	maxBody    = 1 << 20 // bytes of a request body
	maxReports = 1000    // messages in one POST /v1/inbound
	maxList    = 1000    // windows in one answer of GET /v1/windows
)

// Server returns a server with a timeout for each phase of a request.
func (a *Admin) Server() *http.Server {
	stop, cancel := context.WithCancel(context.Background())
	a.replays.stop, a.stopping = stop, stop
	s := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	s.RegisterOnShutdown(cancel)
	return s
}

// route is one operation of the API.
type route struct {
	method, path string
	handler      http.Handler
}

// routes are the operations of the API, each with the key that it needs. Health and readiness need
// none: load balancers and orchestrators call them, and they show nothing secret.
func (a *Admin) routes() []route {
	read := func(method, path string, h http.HandlerFunc) route {
		return route{method, path, a.keyed(a.Keys.ReadKey, h)}
	}
	change := func(path string, h http.HandlerFunc) route {
		return route{"POST", path, a.keyed(a.Keys.ChangeKey, h)}
	}
	return []route{
		{"GET", "/healthz", http.HandlerFunc(a.health)},
		{"GET", "/readyz", http.HandlerFunc(a.ready)},
		{"GET", "/metrics", a.keyed(a.Keys.MetricsKey, promhttp.HandlerFor(a.Gatherer, promhttp.HandlerOpts{}).ServeHTTP)},
		read("GET", "/v1/openapi.json", a.openAPI),
		read("GET", "/v1/windows", a.windows),
		read("GET", "/v1/closing", a.closing),
		read("GET", "/v1/accounts", a.accounts),
		read("GET", "/v1/accounts/{corp}", a.account),
		read("GET", "/v1/calendar", a.calendar),
		read("GET", "/v1/entities", a.entities),
		read("GET", "/v1/entities/{name}", a.entity),
		read("GET", "/v1/contacts", a.contacts),
		read("GET", "/v1/contacts/count", a.contactCount),
		change("/v1/contacts/count", a.countContacts),
		read("GET", "/v1/events", a.events),
		read("GET", "/v1/rehearsal", a.rehearsal),
		read("GET", "/v1/config", a.settings),
		read("GET", "/v1/backfills", a.backfills),
		read("GET", "/v1/decisions", a.decisions),
		read("GET", "/v1/decisions/{id}", a.decision),
		read("GET", "/v1/rules", a.rules),
		read("GET", "/v1/health", a.partsHealth),
		read("GET", "/v1/overview", a.overview),
		read("POST", "/v1/replays", a.startReplay),
		read("GET", "/v1/replays/{id}", a.replay),
		read("POST", "/v1/explain", a.explain),
		read("POST", "/v1/preflight", a.preflight),
		change("/v1/inbound", a.inbound),
		change("/v1/windows/open", a.openWindow),
		change("/v1/windows/close", a.closeWindow),
		change("/v1/reload", a.reload),
		change("/v1/webhooks/{name}/test", a.testWebhook),
		change("/v1/webhooks/{name}/resend", a.resendWebhook),
		change("/v1/backfill", a.backfill),
	}
}

// Handler routes the admin API.
func (a *Admin) Handler() http.Handler {
	a.instance = rand.Text()
	mux, methods := http.NewServeMux(), map[string][]string{}
	for _, r := range a.routes() {
		mux.Handle(r.method+" "+r.path, r.handler)
		methods[r.path] = append(methods[r.path], allowed[r.method]...)
	}
	for path, of := range methods {
		mux.HandleFunc(path, notAllowed(strings.Join(of, ", ")))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusNotFound, "not_found", "the admin API has no such path: docs/http.md lists those it has")
	})
	var handler http.Handler = mux
	if a.Console != nil {
		handler = a.Console(mux)
	}
	handler = a.guarded(handler)
	if Observe != nil {
		handler = Observe(handler)
	}
	return handler
}

// notAllowed answers a path's other methods.
func notAllowed(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", methods)
		fail(w, http.StatusMethodNotAllowed, "method_not_allowed", "call this path with "+methods)
	}
}

// allowed are the methods of a path by the method of its handler, which for GET takes HEAD too.
var allowed = map[string][]string{"GET": {"GET", "HEAD"}, "POST": {"POST"}}

// guarded rejects requests that a web page in the operator's browser could cause: a Host that is
// not this machine's (DNS rebinding), and an Origin of another site. Those of console.origin are
// ours too.
func (a *Admin) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(instanceHeader, a.instance)
		if a.Loopback && !config.LocalHost(r.Host) && !sameOrigin(a.Origin, r.Host) {
			fail(w, http.StatusForbidden, "bad_host", "call the admin API by a loopback address or localhost, or through a proxy by console.origin")
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && origin != a.Origin && !sameOrigin(origin, r.Host) {
			fail(w, http.StatusForbidden, "bad_origin", "the admin API is not for other sites' pages")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == host
}

// keyed requires the key, unless it is empty. The comparison takes constant time.
func (a *Admin) keyed(key config.Secret, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if key != "" && subtle.ConstantTimeCompare([]byte(given), []byte(key.Reveal())) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, "unauthorized", "send the right key as Authorization: Bearer KEY")
			return
		}
		next(w, r)
	})
}

func (a *Admin) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readiness is the answer of GET /readyz.
type readiness struct {
	Ready bool   `json:"ready"`
	Redis string `json:"redis"` // up, or down: the gateway keeps serving, see docs/redis.md
	// Degraded says why refusals because a message is missing are unsure, one sentence for each
	// cause.
	Degraded []string `json:"degraded,omitempty"`
	History  string   `json:"history"` // complete, incomplete or unknown
	Since    string   `json:"since,omitempty"`
	Past     int      `json:"channels_bypassed"` // replies pass the gateway, messages do not
	Config   string   `json:"config"`            // hash of the configuration in force
	Stale    bool     `json:"config_stale"`      // the files have mistakes or are held, an older one is in force
	// Problems says what is wrong with the configuration's files, one sentence for each.
	Problems []string   `json:"config_problems,omitempty"`
	Replays  *replaying `json:"replays,omitempty"` // absent if no account has a secret for them
	Stop     bool       `json:"stopping"`
}

// replaying is what readiness tells of the records that this gateway completes by itself.
type replaying struct {
	Running int64 `json:"running"`
	Refused int   `json:"secrets_refused"`
}

// ready answers 503 only while the gateway shuts down. Without Redis it still serves most calls, so
// a load balancer must not remove it: an outage of Redis would become an outage of everything.
func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	draining := a.Gateway.Draining()
	s := readiness{Ready: !draining, Stop: draining, Redis: "down", History: "unknown", Past: a.Gateway.Bypassed()}
	s.Config, s.Stale = a.Gateway.Version()
	s.Problems = a.Gateway.Problems()
	if c, configured := a.Gateway.Replaying(); configured {
		s.Replays = &replaying{c.Running, c.Refused}
	}
	for _, cause := range a.Windows.Status().Causes {
		s.Degraded = append(s.Degraded, window.Sentence(cause))
	}
	if a.Gateway.RedisUp() {
		s.Redis = "up"
		if complete, since, err := a.Windows.Complete(r.Context(), "", ""); err == nil {
			s.Since, s.History = stamp(since), "incomplete"
			if complete {
				s.History = "complete"
			}
		}
	}
	status := http.StatusOK
	if !s.Ready {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, s)
}

// storeAway answers a request that Redis did not carry out.
func storeAway(w http.ResponseWriter, err error) {
	if errors.Is(err, window.ErrNoWindow) {
		fail(w, http.StatusConflict, "broken", err.Error())
		return
	}
	w.Header().Set("Retry-After", "2")
	fail(w, http.StatusServiceUnavailable, "store_unavailable", "Redis does not answer; try again")
}

// stamp formats a time as RFC 3339 in UTC, to the millisecond.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// Stamp formats a time as the JSON of the API has it: RFC 3339 in UTC, to the millisecond, "" for
// the zero time.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // people read it too
	_ = e.Encode(v)        // fails only if the client has gone
}

// Failure is the body of every error response.
type Failure struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func fail(w http.ResponseWriter, status int, code, message string) {
	var f Failure
	f.Error.Code, f.Error.Message = code, message
	reply(w, status, f)
}

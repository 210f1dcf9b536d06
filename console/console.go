// Package console serves the pages of the admin listener that are for people: what needs attention,
// accounts, chats, decisions, rules, and the state of the gateway.
//
// It does not read Redis, logs or the gateway: every number on a page is the answer of a call of
// the admin API, which the console makes in the process, without the network.
package console

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"replygate/config"
)

//go:embed templates assets texts.en.yaml texts.zh.yaml
var files embed.FS

// Settings is what a console is made of.
type Settings struct {
	Keys     config.Admin
	Config   config.Console
	Language func() string // policy.language: for browsers that ask for no language of ours
	Window   time.Duration // window.length; 0: 48 hours
	Now      func() time.Time
}

// Console serves the pages, and passes every other request on to the admin API.
type Console struct {
	Settings
	api       http.Handler
	zone      *time.Location
	languages map[string]*language
	assets    map[string]asset // by name in a URL
	tries     tries
	pages     *http.ServeMux
	sameSite  *http.CrossOriginProtection
}

// asset is a file that browsers keep: its name has a hash of its content.
type asset struct {
	kind string
	data []byte
}

// New returns a console, to be put before an admin API by Over.
func New(s Settings) (*Console, error) {
	zone, err := time.LoadLocation(s.Config.Timezone)
	if err != nil {
		return nil, fmt.Errorf("console.timezone: %w", err)
	}
	s.Window = cmp.Or(s.Window, 48*time.Hour)
	c := &Console{Settings: s, zone: zone, languages: map[string]*language{}, assets: map[string]asset{}, sameSite: http.NewCrossOriginProtection()}
	if s.Config.Origin != "" {
		if err := c.sameSite.AddTrustedOrigin(s.Config.Origin); err != nil {
			return nil, fmt.Errorf("console.origin: %w", err)
		}
	}
	names := c.readAssets()
	for _, code := range languageCodes {
		l, err := newLanguage(code, zone, s.Window, names)
		if err != nil {
			return nil, err
		}
		c.languages[code] = l
	}
	c.pages = c.routes()
	return c, nil
}

// Over puts the console before an admin API. It must be called once, before the first request.
func (c *Console) Over(api http.Handler) http.Handler {
	c.api = api
	return c
}

// readAssets reads the embedded assets and returns the name in URLs of each.
func (c *Console) readAssets() map[string]string {
	names := map[string]string{}
	all, err := fs.ReadDir(files, "assets")
	if err != nil {
		panic("BUG: no assets are embedded: " + err.Error())
	}
	for _, f := range all {
		data, err := files.ReadFile("assets/" + f.Name())
		if err != nil {
			panic("BUG: an embedded asset cannot be read: " + err.Error())
		}
		hash := sha256.Sum256(data)
		base, ext, _ := strings.Cut(f.Name(), ".")
		name := base + "." + hex.EncodeToString(hash[:6]) + "." + ext
		kind := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}[ext]
		c.assets[name] = asset{kind, data}
		names[f.Name()] = name
	}
	return names
}

// policyOfContent lets a page load from its own host alone, and nothing inline.
const policyOfContent = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves the console below /console/ and leads to it from /. All else is the API's.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	inside := r.URL.Path == "/console" || strings.HasPrefix(r.URL.Path, "/console/")
	if r.URL.Path != "/" && !inside {
		c.serveAPI(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policyOfContent)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	switch name := strings.TrimPrefix(r.URL.Path, "/console/assets/"); {
	case r.URL.Path == "/" || r.URL.Path == "/console":
		redirect(w, "console/")
	case name != r.URL.Path:
		c.serveAsset(w, r, name)
	default:
		c.servePage(w, r)
	}
}

// serveAPI passes a request on to the admin API. The failure of an export that a person has asked
// for is a page.
func (c *Console) serveAPI(w http.ResponseWriter, r *http.Request) {
	byPerson := r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") && r.URL.Query().Get("format") == "csv" && c.may(r, scopeRead)
	if !byPerson {
		c.api.ServeHTTP(w, c.authorized(r))
		return
	}
	out := exportWriter{ResponseWriter: w}
	c.api.ServeHTTP(&out, c.authorized(r))
	if out.failed.status == 0 {
		return
	}
	q := c.newRequest(w, r)
	q.root = "../console/"
	f := out.failed.decode(nil)
	page := errorPage{f.Code, q.failed(f), "", "../" + strings.TrimPrefix(r.URL.Path, "/") + "?" + r.URL.RawQuery}
	if f.Code == "too_many" {
		page.Text = q.text("busy")
	}
	w.Header().Set("Content-Security-Policy", policyOfContent)
	q.render(f.Status, "error", page)
}

// exportWriter passes an export through, and keeps a failure.
type exportWriter struct {
	http.ResponseWriter
	failed answer
}

func (e *exportWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		e.failed.status = status
		return
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *exportWriter) Write(p []byte) (int, error) {
	if e.failed.status != 0 {
		return e.failed.body.Write(p)
	}
	return e.ResponseWriter.Write(p)
}

// Unwrap lets an export move its deadlines.
func (e *exportWriter) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// redirect sends the browser to a relative URL, so that a proxy may serve the console below a path
// of its own.
func redirect(w http.ResponseWriter, url string) {
	w.Header().Set("Location", url)
	w.WriteHeader(http.StatusSeeOther)
}

func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := c.assets[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
}

// servePage serves a page to a browser that has signed in, and the sign-in to any other.
func (c *Console) servePage(w http.ResponseWriter, r *http.Request) {
	q := c.newRequest(w, r)
	if err := c.sameSite.Check(r); err != nil {
		q.fail(&failure{Status: http.StatusForbidden, Code: "bad_origin", Message: q.text("error.origin")})
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		q.fail(&failure{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: r.Method})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	switch {
	case path.Clean(r.URL.Path) == "/console/login":
		c.serveLogin(q)
	case r.URL.Path == "/console/accounts.ics":
		c.serveCalendar(q)
	case !q.signedIn && r.Header.Get(liveHeader) != "":
		w.WriteHeader(http.StatusUnauthorized) // the script says so on the page that it cannot refresh
	case !q.signedIn:
		redirect(w, q.root+"login?next="+template.URLQueryEscaper(q.here()))
	default:
		c.pages.ServeHTTP(w, r.WithContext(withRequest(r.Context(), q)))
	}
}

const (
	// maxForm bounds the body of a form: that of a candidate configuration is the largest.
	maxForm = 1<<20 + 64<<10
	// liveHeader marks the requests of console.js, which refreshes a page.
	liveHeader = "Console-Live"
	// timeHeader tells it the time of a page that has not changed: as a number, with its zone, and in
	// words.
	timeHeader = "Console-Time"
)

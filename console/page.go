package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// language is a language with its texts and the pages compiled for it.
type language struct {
	code string
	texts
	zone  *time.Location
	pages map[string]*template.Template // by the name of their file
}

// newLanguage compiles all pages for a language. window is the length of a window, and assets has
// the names of assets in URLs.
func newLanguage(code string, zone *time.Location, window time.Duration, assets map[string]string) (*language, error) {
	t, err := readTexts(code, window)
	if err != nil {
		return nil, err
	}
	l := &language{code: code, texts: t, zone: zone, pages: map[string]*template.Template{}}
	frame, err := template.New("frame").Funcs(l.functions(assets)).ParseFS(files, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	all, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, file := range all {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")
		if name == "frame" || name == "parts" {
			continue
		}
		page, err := frame.Clone()
		if err == nil {
			page, err = page.ParseFS(files, file)
		}
		if err != nil {
			return nil, err
		}
		l.pages[name] = page
	}
	return l, nil
}

// functions are those of the templates.
func (l *language) functions(assets map[string]string) template.FuncMap {
	return template.FuncMap{
		"t":      l.text,
		"n":      number,
		"left":   l.left,
		"asset":  func(name string) string { return assets[name] },
		"icon":   icon,
		"shape":  shape,
		"bar":    bar,
		"spark":  spark,
		"hist":   histogram,
		"short":  shortID,
		"date":   func(t time.Time) string { return t.In(l.zone).Format("2006-01-02") },
		"day":    func(t time.Time) string { return t.In(l.zone).Format("01-02 15:04") },
		"clock":  func(t time.Time) string { return t.In(l.zone).Format("15:04:05") },
		"minute": l.minute,
		"second": func(t time.Time) string { return t.In(l.zone).Format("2006-01-02 15:04:05") },
		"hour":   l.hour,
		"iso":    func(t time.Time) string { return t.In(l.zone).Format(time.RFC3339) },
		"list":   func(all ...any) []any { return all },
		"join":   strings.Join,
		"path":   url.PathEscape, // one segment: a template alone leaves its / # and ? as they are
		"words":  l.words,
		"value":  func(v any) string { return fmt.Sprint(v) },
		"who":    l.gateways,
	}
}

// missing is a gateway whose numbers are not in an answer.
type missing struct{ Gateway, Error string }

// gateways names gateways in one line.
func (l *language) gateways(all []missing) string {
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.Gateway
	}
	return strings.Join(names, l.text("comma"))
}

// hour is an hour of the API's in the zone of the console, and itself if it is none.
func (l *language) hour(text string) string {
	t, err := time.Parse("2006-01-02T15:04Z", text)
	if err != nil {
		return text
	}
	return l.minute(t)
}

// minute is a time in a sentence.
func (l *language) minute(t time.Time) string { return t.In(l.zone).Format("2006-01-02 15:04") }

// words are the texts of several keys with a prefix, in one line.
func (l *language) words(prefix string, keys []string) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = l.text(prefix + k)
	}
	return strings.Join(all, l.text("comma"))
}

// shortID shortens an id for a table; the whole one is in its title.
func shortID(id string) string {
	if len(id) <= 18 {
		return id
	}
	return id[:10] + "…" + id[len(id)-6:]
}

// request is one request for a page.
type request struct {
	c *Console
	w http.ResponseWriter
	r *http.Request
	*language
	root     string    // the relative URL of /console/
	now      time.Time // of the page: all its times count from here
	signedIn bool
	changing bool   // the change key came with this very request
	reading  bool   // a ticket opens this page, without a session
	ifMatch  string // sent with changes

	around *overview // the overview as the frame shows it, once it was asked for
}

type requestKey struct{}

func withRequest(ctx context.Context, q *request) context.Context {
	return context.WithValue(ctx, requestKey{}, q)
}

func (c *Console) newRequest(w http.ResponseWriter, r *http.Request) *request {
	q := &request{c: c, w: w, r: r, language: c.chooseLanguage(w, r), root: "./", now: c.Now(), signedIn: c.may(r, scopeRead)}
	if depth := strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/console/"), "/"); depth > 0 {
		q.root = strings.Repeat("../", depth)
	}
	return q
}

// page is what the frame shows around every page.
type page struct {
	*request
	Name      string
	Status    int
	Groups    []navGroup
	RedisDown instant // since when Redis does not answer; zero: it does
	Data      any
	Main      template.HTML // what the frame is around
	Tag       string        // of Main
}

// Root is the relative URL of the console's first page.
func (p page) Root() string { return p.root }

// Now is the time of the page.
func (p page) Now() time.Time { return p.now }

// WeekBegan is since when the calls of seven days are counted: six midnights ago in China.
func (p page) WeekBegan() time.Time {
	const zone, day = 8 * time.Hour, 24 * time.Hour
	return p.now.UTC().Add(zone).Truncate(day).Add(-zone - 6*day)
}

// Code is the language of the page as in ?lang=.
func (p page) Code() string { return p.code }

// Lang is the language of the page for HTML.
func (p page) Lang() string { return map[string]string{"en": "en", "zh": "zh-Hans"}[p.code] }

// OtherLang is the other language, and its link.
func (p page) OtherLang() (other struct{ Code, URL string }) {
	other.Code = languageCodes[0]
	if p.code == other.Code {
		other.Code = languageCodes[1]
	}
	other.URL = p.with("lang", other.Code)
	if p.r.Method == http.MethodPost { // the answer to a form has no URL of its own
		other.URL = p.root + other.URL
	}
	return other
}

// Zone is the name of the time zone in the language of the page.
func (p page) Zone() string { return p.text("zone." + strings.ReplaceAll(p.zone.String(), "/", "_")) }

// SignedIn reports whether the page has a way to sign out.
func (p page) SignedIn() bool { return p.signedIn && p.c.Keys.ReadKey != "" }

// Live reports whether console.js refreshes the page.
func (p page) Live() bool {
	return p.Status == http.StatusOK && p.r.Method == http.MethodGet && p.Name != "login"
}

// MayChange reports whether forms need not ask for the change key.
func (p page) MayChange() bool { return p.c.may(p.r, scopeChange) }

// Arg is a parameter of the page's URL.
func (p page) Arg(name string) string { return p.r.URL.Query().Get(name) }

// With is the link to this page with another value of a parameter, from its first row on.
func (p page) With(name, value string) string { return p.with(name, value) }

// History tells that records are complete only since a time.
func (p page) History(since instant) string {
	return p.text("history", "t", p.minute(since.Time), "left", p.left(since.Add(p.c.Window).Sub(p.now)))
}

// DaysSince is how many whole days ago a time was.
func (p page) DaysSince(at instant) int { return int(p.now.Sub(at.Time) / (24 * time.Hour)) }

// CSV is the link to all rows of a list as CSV, with the filters of the page. more has pairs of a
// parameter and a value.
func (p page) CSV(list string, more ...string) string {
	v := p.r.URL.Query()
	v.Del("lang")
	v.Del("cursor")
	v.Del("limit")
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	v.Set("format", "csv")
	return p.root + "../v1/" + list + "?" + v.Encode()
}

// with is the URL of the page with another value of a parameter; with "" it is without the
// parameter.
func (q *request) with(name, value string) string {
	v := q.r.URL.Query()
	v.Del("lang")
	v.Del("cursor")
	if value == "" {
		v.Del(name)
	} else {
		v.Set(name, value)
	}
	return "?" + v.Encode()
}

// here is the path of the page with its query, relative to the console.
func (q *request) here() string {
	if q.r.Method != http.MethodGet {
		return "./"
	}
	v := q.r.URL.Query()
	v.Del("lang")
	at := "./" + strings.TrimPrefix(q.r.URL.EscapedPath(), "/console/")
	if len(v) > 0 {
		at += "?" + v.Encode()
	}
	return at
}

// render writes a page whole.
func (q *request) render(status int, name string, data any) {
	var b bytes.Buffer
	p := page{request: q, Name: name, Status: status, Data: data}
	if q.signedIn {
		o := q.overview()
		p.Groups, p.RedisDown = q.c.nav(name, o.counts()), o.RedisDown
	}
	t := q.pages[name]
	if t == nil {
		panic("BUG: there is no page " + name)
	}
	write := func(part string) {
		if err := t.ExecuteTemplate(&b, part, p); err != nil {
			panic("BUG: page " + name + ": " + err.Error()) // http.Server logs it and closes the connection
		}
	}
	write("main")
	p.Main, p.Tag = template.HTML(b.String()), p.tag(b.Bytes())
	if p.unchanged() {
		return
	}
	b.Reset()
	write("frame")
	q.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.w.Header().Set("Content-Language", p.Lang())
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(b.Bytes()) // fails only if the browser has gone
	}
}

// tag is the ETag of a page, by all that console.js refreshes but the time.
func (p page) tag(main []byte) string {
	sum := sha256.New()
	_, _ = fmt.Fprint(sum, p.code, p.Name, p.Status, p.RedisDown)
	_, _ = sum.Write(main)
	return `W/"` + hex.EncodeToString(sum.Sum(nil)[:8]) + `"`
}

// unchanged answers console.js if the page is still as it has it: with the time alone, since it
// shows as of when the page is.
func (p page) unchanged() bool {
	h := p.w.Header()
	if !p.Live() {
		return false
	}
	h.Set("ETag", p.Tag)
	if p.r.Header.Get(liveHeader) == "" || p.r.Header.Get("If-None-Match") != p.Tag {
		return false
	}
	h.Set(timeHeader, fmt.Sprintf("%d %s %s", p.now.Unix(), p.now.In(p.zone).Format(time.RFC3339), p.minute(p.now)))
	p.w.WriteHeader(http.StatusNotModified)
	return true
}

// fail writes a page that tells what went wrong, and what to do.
func (q *request) fail(f *failure) {
	detail := ""
	if f.Code == "bad_query" { // it says which parameter
		detail = f.Message
	}
	q.render(f.Status, "error", errorPage{f.Code, q.failed(f), detail, q.here()})
}

// failed words a failure in the language of the page, if it has words for it.
func (q *request) failed(f *failure) string {
	if q.has("error." + f.Code) {
		return q.text("error." + f.Code)
	}
	return f.Message
}

// errorPage tells about a failure. Again is the link to try again.
type errorPage struct{ Code, Text, Detail, Again string }

package console

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"replygate/config"
)

// The scopes of a signed value. Each is signed by a key of its own.
const (
	scopeRead     = "read"     // a session: all pages
	scopeChange   = "change"   // besides: the forms that change something
	scopeCalendar = "calendar" // the address of a calendar, in a calendar program
)

// changeTime is how long the change key is not asked for again.
const changeTime = 10 * time.Minute

// cookieNames are those of a session and of the right to change, by scope. Over TLS a prefix makes
// browsers reject what another host or plain HTTP has set.
var cookieNames = map[string]string{scopeRead: "replygate", scopeChange: "replygate-change"}

const securePrefix = "__Host-"

// signature signs a value for a scope. Its key is derived from the keys of the configuration, so
// that a changed key ends every session, and any gateway with the same keys accepts it.
func (c *Console) signature(scope, value string) string {
	secret := c.Keys.ReadKey.Reveal()
	if scope == scopeChange {
		secret += "\x00" + c.Keys.ChangeKey.Reveal()
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "replygate console "+scope, sha256.Size)
	if err != nil {
		panic("BUG: a key of 32 bytes cannot be derived: " + err.Error())
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ticket returns a signed value that is good until a time: v1.EXPIRY.SCOPE.SIGNATURE.
func (c *Console) ticket(scope string, until time.Time) string {
	value := "v1." + strconv.FormatInt(until.Unix(), 10) + "." + scope
	return value + "." + c.signature(scope, value)
}

// valid reports whether a ticket is ours, of the scope, and still good.
func (c *Console) valid(ticket, scope string) bool {
	i := strings.LastIndexByte(ticket, '.')
	if i < 0 {
		return false
	}
	value, given := ticket[:i], ticket[i+1:]
	if !hmac.Equal([]byte(given), []byte(c.signature(scope, value))) {
		return false
	}
	parts := strings.Split(value, ".")
	if len(parts) != 3 || parts[0] != "v1" || parts[2] != scope {
		return false
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	return err == nil && c.Now().Unix() < until
}

// key returns the key in the configuration that a scope means.
func (c *Console) key(scope string) config.Secret {
	if scope == scopeChange {
		return c.Keys.ChangeKey
	}
	return c.Keys.ReadKey
}

// may reports whether a request has a scope: by its cookie, or because no key protects it.
func (c *Console) may(r *http.Request, scope string) bool {
	if c.key(scope) == "" {
		return true
	}
	for _, name := range []string{securePrefix + cookieNames[scope], cookieNames[scope]} {
		for _, cookie := range r.CookiesNamed(name) {
			if c.valid(cookie.Value, scope) {
				return true
			}
		}
	}
	return false
}

// authorized lets a signed-in browser read the API, for links to JSON and CSV.
func (c *Console) authorized(r *http.Request) *http.Request {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reads || r.Header.Get("Authorization") != "" || c.Keys.ReadKey == "" || !strings.HasPrefix(r.URL.Path, "/v1/") || !c.may(r, scopeRead) {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+c.Keys.ReadKey.Reveal())
	return r
}

// overTLS reports whether the browser reaches the console by console.origin with https. A proxy may
// replace the Host; forms have the Origin too.
func (c *Console) overTLS(r *http.Request) bool {
	u, err := url.Parse(c.Config.Origin)
	return err == nil && u.Scheme == "https" && (r.Host == u.Host || r.Header.Get("Origin") == c.Config.Origin)
}

// grant gives the browser a cookie for a scope.
func (c *Console) grant(q *request, scope string, length time.Duration) {
	cookie := http.Cookie{Name: cookieNames[scope], Value: c.ticket(scope, c.Now().Add(length)), Path: "/", MaxAge: int(length / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if c.overTLS(q.r) {
		cookie.Name, cookie.Secure = securePrefix+cookie.Name, true
	}
	http.SetCookie(q.w, &cookie)
}

// signOut deletes the cookies.
func (c *Console) signOut(q *request) {
	for _, name := range cookieNames {
		http.SetCookie(q.w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.SetCookie(q.w, &http.Cookie{Name: securePrefix + name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
	}
	redirect(q.w, "login")
}

// check compares a key that a person typed with that of a scope, and counts wrong ones. The failure
// is nil if it is right.
func (c *Console) check(q *request, scope, typed string) *failure {
	from, _, err := net.SplitHostPort(q.r.RemoteAddr)
	if err != nil {
		from = q.r.RemoteAddr
	}
	if wait := c.tries.wait(from, c.Now()); wait > 0 {
		seconds := int(wait/time.Second) + 1
		q.w.Header().Set("Retry-After", strconv.Itoa(seconds))
		return &failure{Status: http.StatusTooManyRequests, Code: "too_many_tries", Message: q.text("login.many", "s", seconds)}
	}
	want, given := sha256.Sum256([]byte(c.key(scope).Reveal())), sha256.Sum256([]byte(typed))
	if subtle.ConstantTimeCompare(want[:], given[:]) != 1 {
		c.tries.failed(from, c.Now())
		return &failure{Status: http.StatusUnauthorized, Code: "unauthorized", Message: q.text("login.wrong")}
	}
	return nil
}

// mayChange reports whether a form may change something: by the right that the browser has, or by
// the change key in the form, which gives that right for some minutes.
func (q *request) mayChange() *failure {
	if q.c.may(q.r, scopeChange) {
		return nil
	}
	if f := q.c.check(q, scopeChange, q.r.PostFormValue("key")); f != nil {
		return f
	}
	q.c.grant(q, scopeChange, changeTime)
	q.changing = true
	return nil
}

// serveLogin serves the sign-in form and takes the read key. A person who needs no key is sent on.
func (c *Console) serveLogin(q *request) {
	next := localPath(q.r.FormValue("next"))
	if q.r.Method != http.MethodPost {
		if q.signedIn {
			redirect(q.w, next)
			return
		}
		q.render(http.StatusOK, "login", loginPage{Next: next, Unsafe: !c.overTLS(q.r) && !config.LocalHost(q.r.Host)})
		return
	}
	page := loginPage{Next: next}
	if page.Unsafe = !c.overTLS(q.r) && !config.LocalHost(q.r.Host); page.Unsafe {
		q.render(http.StatusForbidden, "login", page)
		return
	}
	if wrong := c.check(q, scopeRead, q.r.PostFormValue("key")); wrong != nil {
		page.Wrong = wrong.Message
		q.render(wrong.Status, "login", page)
		return
	}
	c.grant(q, scopeRead, c.Config.Session)
	redirect(q.w, next)
}

// loginPage is the sign-in form.
type loginPage struct {
	Next   string
	Wrong  string
	Unsafe bool // neither TLS nor this machine: the key would travel in the clear
}

// localPath returns a path inside the console, relative to it; "./" for anything else.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || next != strings.TrimSpace(next) || u.IsAbs() || u.Host != "" || u.User != nil || strings.HasPrefix(next, "/") || strings.ContainsAny(next, "\\\r\n") ||
		strings.Contains(u.Path, "..") || strings.HasPrefix(u.Path, "login") || next == "" {
		return "./"
	}
	return next
}

const (
	triesAllowed = 5
	triesTime    = time.Minute
	maxAddresses = 10_000 // that failed within triesTime; when there are more, nobody signs in
)

// tries counts the wrong keys of each address.
type tries struct {
	mu    sync.Mutex
	wrong map[string]*failures
}

type failures struct {
	n     int
	since time.Time
}

// wait returns how long an address must wait before its next try.
func (t *tries) wait(from string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	for address, f := range t.wrong {
		if now.Sub(f.since) >= triesTime {
			delete(t.wrong, address)
		}
	}
	f := t.wrong[from]
	switch {
	case f == nil && len(t.wrong) >= maxAddresses:
		return triesTime
	case f == nil || f.n < triesAllowed:
		return 0
	}
	return f.since.Add(triesTime).Sub(now)
}

func (t *tries) failed(from string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wrong == nil {
		t.wrong = map[string]*failures{}
	}
	f := t.wrong[from]
	if f == nil {
		f = &failures{since: now}
		t.wrong[from] = f
	}
	f.n++
}

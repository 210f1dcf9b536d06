package console_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is one process for all tests; each tab of newTab has cookies of its own.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "replygate-console-")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	endBrowser = func() {
		stop()
		stopAllocator()
		_ = os.RemoveAll(dir)
	}
	return ctx, chromedp.Do(ctx)
})

var endBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	endBrowser()
	os.Exit(code)
}

// tab is a tab of the browser over a console.
type tab struct {
	*testing.T
	ctx  context.Context // ends with a test, or a subtest
	all  context.Context // ends with the tab
	rig  *rig
	base string // the URL of the console, ending in /

	mu       sync.Mutex
	problems []string // errors in the browser's console, and requests to other hosts
}

// newTab opens a tab in a browser context of its own, signed in unless cookie is "". It skips the
// test where there is no browser.
func newTab(t *testing.T, r *rig, base, cookie string) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no browser: ", err)
	}
	w := &tab{T: t, rig: r, base: base}
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.hear))
	t.Cleanup(cancel)
	w.all = ctx
	w.on(t)
	if name, value, ok := strings.Cut(cookie, "="); ok {
		w.cookie(name, value)
	}
	return w
}

// serve serves a console to browsers.
func (t *rig) serve() (base string) {
	server := httptest.NewServer(t)
	t.Cleanup(server.Close)
	return server.URL + "/console/"
}

// hear gathers what a page must not do.
func (t *tab) hear(event any) {
	problem := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			problem = e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		problem = e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			problem = fmt.Sprint("console.", e.Type)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, strings.TrimSuffix(t.base, "console/")) && !strings.HasPrefix(e.Request.URL, "data:") {
			problem = "a request to " + e.Request.URL
		}
	}
	if problem != "" {
		t.mu.Lock()
		t.problems = append(t.problems, problem)
		t.mu.Unlock()
	}
}

// told returns the problems since it was called last.
func (t *tab) told() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.problems
	t.problems = nil
	return all
}

func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(t.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func (t *tab) open(path string) {
	t.Helper()
	t.do(chromedp.Navigate(t.base + path))
}

func (t *tab) cookie(name, value string) {
	t.Helper()
	if _, err := chromedp.Call(t.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: t.base}); err != nil {
		t.Fatal(err)
	}
}

// look makes the tab as wide as a screen, and light or dark.
func (t *tab) look(width int64, scheme string) {
	t.Helper()
	t.do(chromedp.EmulateViewport(width, 900))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}
	if _, err := chromedp.Call(t.ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

func (t *tab) withoutScripts(off bool) {
	t.Helper()
	if _, err := chromedp.Call(t.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off}); err != nil {
		t.Fatal(err)
	}
}

// eval runs an expression in the page.
func eval[T any](t *tab, expression string) T {
	t.Helper()
	v, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%.80s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true in the page. While the browser goes from page to page the
// expression may fail.
func (t *tab) await(expression string) {
	t.Helper()
	for {
		done, err := chromedp.Run(t.ctx, chromedp.Evaluate[bool](expression))
		if done && err == nil {
			return
		}
		select {
		case <-t.ctx.Done():
			t.Fatalf("never true: %s (%v)", expression, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// axe is the accessibility checker that runs in the pages.
func axe(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../testdata/console/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../testdata/console/axe/sha256sums")
	if sum := sha256.Sum256(data); err != nil || !strings.HasPrefix(string(sums), hex.EncodeToString(sum[:])) {
		t.Fatalf("axe.min.js is not the file of the package (%v)", err)
	}
	return string(data)
}

// violations runs axe by some rules and returns what it finds, a line each.
const violations = `axe.run(document, {resultTypes: ['violations'], runOnly: %s}).then(
	(r) => r.violations.map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary).join(' | ')))`

// The colours alone differ between a light and a dark page.
const (
	allRules    = `['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']`
	colourRules = `{type: 'rule', values: ['color-contrast', 'link-in-text-block']}`
)

// rows are the texts of all rows of tables and lists, but for what only scripts do: copying and
// counting down.
const rows = `[...document.querySelectorAll('main tr, main li')].map((el) => {
	const row = el.cloneNode(true);
	row.querySelectorAll('button, .count-down').forEach((part) => part.remove());
	return row.textContent.replace(/\s+/g, ' ').trim();
})`

// Every page, in both languages, light and dark, on a wide and a narrow screen: no fault of
// accessibility, nothing in the browser's console, nothing from elsewhere, nothing cut off; and
// without scripts the same rows.
func TestEveryScreen(t *testing.T) {
	r := newRig(t, nil)
	base, cookie, source := r.serve(), r.signIn(), axe(t)
	for _, lang := range []string{"en", "zh"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			w := newTab(t, r, base, cookie)
			w.cookie("replygate-lang", lang)
			for _, s := range screens {
				if strings.Contains(s.path, "?") && !strings.HasPrefix(s.path, "windows?") {
					continue // the same page with other rows
				}
				name := cmp.Or(strings.ReplaceAll(s.path, "/", "-"), "overview")
				t.Run(name, func(t *testing.T) {
					w.on(t).check(strings.ReplaceAll(s.path, "鹿鸣实业", url.PathEscape("鹿鸣实业")), source)
				})
			}
		})
	}
}

// on is the tab in a test or subtest, which may take so long on a busy machine.
func (t *tab) on(test *testing.T) *tab {
	var cancel context.CancelFunc
	t.ctx, cancel = context.WithTimeout(t.all, 3*time.Minute)
	test.Cleanup(cancel)
	t.T = test
	return t
}

// check checks one page; source is that of axe.
func (t *tab) check(path, source string) {
	t.look(1360, "light")
	t.withoutScripts(true)
	t.open(path)
	without := eval[[]string](t, rows)
	t.withoutScripts(false)
	t.open(path)
	if with := eval[[]string](t, rows); !slices.Equal(with, without) {
		t.Errorf("with scripts the rows are\n%q\nwithout\n%q", with, without)
	}
	_ = eval[bool](t, source+";true")
	for _, width := range []int64{1360, 390} {
		for scheme, rules := range map[string]string{"light": allRules, "dark": colourRules} {
			t.look(width, scheme)
			for _, v := range eval[[]string](t, fmt.Sprintf(violations, rules)) {
				t.Errorf("%d px, %s: %s", width, scheme, v)
			}
		}
		if cut := eval[int](t, `document.documentElement.scrollWidth - innerWidth`); cut > 0 {
			t.Errorf("at %d px %d px are cut off", width, cut)
		}
	}
	for _, p := range t.told() {
		t.Error(p)
	}
}

// Tab reaches every control of a page, in the order of the page, and the first one skips to the
// content.
func TestKeyboard(t *testing.T) {
	r := newRig(t, nil)
	w := newTab(t, r, r.serve(), r.signIn())
	for _, path := range []string{"accounts", "closing"} {
		w.open(path)
		w.await(`document.documentElement.dataset.ready === '1'`)
		controls := eval[int](w, `window.controls = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')].filter((el) => el.checkVisibility()), controls.length`)
		w.do(chromedp.KeyEvent(kb.Tab))
		if text := eval[string](w, `document.activeElement.className`); text != "skip" {
			w.Errorf("%s: the first control is %q", path, text)
		}
		reached := []int{eval[int](w, `controls.indexOf(document.activeElement)`)}
		for range controls - 1 {
			w.do(chromedp.KeyEvent(kb.Tab))
			reached = append(reached, eval[int](w, `controls.indexOf(document.activeElement)`))
		}
		if !slices.IsSorted(reached) || len(slices.Compact(reached)) != controls || reached[0] != 0 {
			w.Errorf("%s: of %d controls Tab reaches %v", path, controls, reached)
		}
	}
}

// A refresh puts in place what has changed, and leaves alone the field that somebody types in.
func TestLiveRefresh(t *testing.T) {
	r := newRig(t, nil)
	changed, away := false, false
	var mu sync.Mutex
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if away && req.URL.Path == "/v1/accounts" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error":{"code":"store_unavailable","message":"Redis does not answer"}}`))
			return true
		}
		if changed && req.URL.Path == "/v1/accounts" {
			_, _ = w.Write([]byte(`{"accounts":[{"corp_id":"wwNew","name":"New one","standing":"lapsed","stops":[]}],"total":1}`))
			return true
		}
		return false
	}
	set := func(v *bool, to bool) {
		mu.Lock()
		defer mu.Unlock()
		*v = to
	}
	w := newTab(t, r, r.serve(), r.signIn())
	w.open("accounts")
	w.await(`document.documentElement.dataset.ready === '1'`)
	w.do(chromedp.SendKeys(chromedp.CSS(`main input[name=q]`), "蓝桥"))
	set(&changed, true)
	refresh := `dispatchEvent(new Event('console-refresh'))`
	_ = eval[bool](w, refresh)
	w.await(`document.querySelector('main').innerText.includes('New one')`)
	if got := eval[string](w, `document.activeElement.name + '=' + document.activeElement.value`); got != "q=蓝桥" {
		t.Errorf("the field that had the focus is %q", got)
	}
	set(&away, true)
	_ = eval[bool](w, refresh)
	w.await(`!document.getElementById('stale').hidden`)
	set(&away, false)
	r.pass(9 * time.Hour)
	_ = eval[bool](w, refresh)
	w.await(`!document.getElementById('ended').hidden`)
	if !eval[bool](w, `document.querySelector('main').innerText.includes('New one')`) {
		t.Error("the rows are gone when the session has ended")
	}
}

// A person signs in with the key and arrives where they wanted to go, and signs out.
func TestSignInByHand(t *testing.T) {
	r := newRig(t, nil)
	w := newTab(t, r, r.serve(), "")
	w.open("settings")
	w.await(`location.pathname === '/console/login'`)
	submit := func(key string) {
		w.do(chromedp.SendKeys(chromedp.CSS(`input[name=key]`), key+kb.Enter))
	}
	submit("wrong")
	w.await(`document.getElementById('wrong') !== null`)
	submit(readKey)
	w.await(`location.pathname === '/console/settings' && document.title.startsWith('Settings')`)
	if got := eval[string](w, `document.cookie`); got != "" {
		t.Errorf("scripts see the cookie %s", got)
	}
	w.do(chromedp.SendKeys(chromedp.CSS(`main input[name=key]`), changeKey+kb.Enter))
	w.await(`document.querySelector('main').innerText.includes('policy.mode.')`)
	w.do(chromedp.Click(chromedp.CSS(`form.out button`)))
	w.await(`location.pathname === '/console/login'`)
	w.open("accounts")
	w.await(`location.pathname === '/console/login'`)
}

// A page of another site can neither post to the console nor show it in a frame.
func TestForeignPage(t *testing.T) {
	r := newRig(t, nil)
	base := r.serve()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<iframe src="%ssettings"></iframe><form method="post" action="%ssettings/reload"><input name="key" value="%s"><button id="go">go</button></form>`, base, base, changeKey)
	}))
	defer foreign.Close()
	w := newTab(t, r, base, r.signIn())
	w.do(chromedp.Navigate(strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1)), chromedp.Click(chromedp.CSS("#go")))
	w.await(`location.href.startsWith('` + base + `')`)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range r.asked {
		if strings.HasPrefix(call, "POST") {
			t.Errorf("the API was asked %s", call)
		}
	}
	if !slices.ContainsFunc(w.told(), func(p string) bool { return strings.Contains(p, "frame-ancestors") || strings.Contains(p, "frame") }) {
		t.Error("the browser does not refuse the frame")
	}
}

// pictured are the pages of a running demo that docs/images shows. The decision is the
// first one on the list.
var pictured = map[string]string{
	"overview": "", "closing": "closing?within=6h", "accounts": "accounts", "decision": "decisions?verdict=refuse&reason=window_closed",
	"rehearsal": "rehearsal?corp_id=ww61e0f7b38a2c9d54",
}

// With CONSOLE_SCREENSHOTS=DIR it writes pictures of every page over the test data, to be looked
// at. With CONSOLE_URL too, the console of a running demo, it writes those of docs/images.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("CONSOLE_SCREENSHOTS")
	if dir == "" {
		t.Skip("CONSOLE_SCREENSHOTS names no folder")
	}
	if demo := os.Getenv("CONSOLE_URL"); demo != "" {
		w := newTab(t, nil, demo, "")
		w.look(1360, "light")
		for _, lang := range []string{"zh", "en"} {
			w.cookie("replygate-lang", lang)
			for name, path := range pictured {
				w.open(path)
				if name == "decision" {
					w.do(chromedp.Navigate(eval[string](w, `document.querySelector('main td a[href*="decisions/"]').href`)))
				}
				w.shoot(filepath.Join(dir, name+"."+lang), 1100)
			}
		}
		return
	}
	r := newRig(t, nil)
	w := newTab(t, r, r.serve(), r.signIn())
	for _, s := range screens {
		for _, c := range []struct {
			lang, scheme string
			width        int64
		}{{"zh", "light", 1360}, {"en", "dark", 1360}, {"zh", "light", 390}} {
			w.on(t).cookie("replygate-lang", c.lang)
			w.look(c.width, c.scheme)
			w.open(strings.ReplaceAll(s.path, "鹿鸣实业", url.PathEscape("鹿鸣实业")))
			name := cmp.Or(strings.NewReplacer("/", "-", "?", "-", "=", "-", "&", "-").Replace(s.path), "overview")
			w.shoot(filepath.Join(dir, fmt.Sprintf("%s.%s.%s.%d", name, c.lang, c.scheme, c.width)), 10_000)
		}
	}
}

// shoot writes a picture of the page, of so many pixels in height at most.
func (t *tab) shoot(file string, most float64) {
	t.Helper()
	size := eval[[]float64](t, `[document.documentElement.clientWidth, document.documentElement.scrollHeight]`)
	quality := int64(80)
	shot, err := chromedp.Call(t.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatWebp, Quality: &quality, CaptureBeyondViewport: new(true),
		Clip: &page.Viewport{Width: size[0], Height: min(size[1], most), Scale: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".webp", shot.Data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The pictures of the docs are there, in both languages, and small.
func TestPictures(t *testing.T) {
	size := int64(0)
	for name := range pictured {
		for _, lang := range []string{"zh", "en"} {
			f, err := os.Stat(filepath.Join("../docs/images", name+"."+lang+".webp"))
			if err != nil {
				t.Fatal(err)
			}
			size += f.Size()
		}
	}
	if size > 1<<20 {
		t.Errorf("%d bytes", size)
	}
}

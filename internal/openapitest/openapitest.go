// Package openapitest compares the responses of the admin API in tests with its description,
// admin/openapi.yaml. Whatever is not described there, a path, a status, a header or a member,
// fails the tests of the package.
//
// It sees the responses of this process alone, at the one place that all admin listeners share.
package openapitest

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"replygate/admin"
)

// maxShown bounds how many differences are printed.
const maxShown = 50

// watch collects what differs.
type watch struct {
	document *Document
	compared atomic.Int64
	pending  sync.WaitGroup // comparisons that go on beside the tests, some of which measure time

	mu    sync.Mutex
	found map[string]bool
}

// Watch compares every response of the admin API from now on. The function that it returns takes
// the exit code of the tests, and turns 0 into 1 if something differed.
func Watch() (result func(code int) int) {
	document, err := Parse(admin.OpenAPI())
	if err != nil {
		panic("admin/openapi.yaml: " + err.Error())
	}
	w := &watch{document: document, found: map[string]bool{}}
	admin.Observe = func(next http.Handler) http.Handler {
		return document.Over(next, func(request string, differs func() error) {
			w.pending.Go(func() {
				w.compared.Add(1)
				if err := differs(); err != nil {
					w.print(request, err)
				}
			})
		})
	}
	return func(code int) int {
		w.pending.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if code == 0 && len(w.found) > 0 {
			fmt.Fprintf(os.Stderr, "FAIL: of %d responses of the admin API, some differ from admin/openapi.yaml in the %d ways above\n", w.compared.Load(), len(w.found))
			return 1
		}
		return code
	}
}

// print prints a difference once.
func (w *watch) print(request string, err error) {
	text := err.Error()
	w.mu.Lock()
	defer w.mu.Unlock()
	where, _, _ := strings.Cut(request, "?")
	if key := where + text; !w.found[key] {
		if w.found[key] = true; len(w.found) <= maxShown {
			fmt.Fprintf(os.Stderr, "openapi: %s: %s\n", request, text)
		}
	}
}

// Over wraps the handler of the API. It calls answered with each request and what tells how the
// response differs from the document.
func (d *Document) Over(next http.Handler, answered func(request string, differs func() error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; path == "/" || path == "/console" || strings.HasPrefix(path, "/console/") {
			next.ServeHTTP(w, r)
			return
		}
		x := d.exchange(w, r)
		next.ServeHTTP(x, r) // one that breaks off panics, and has no response to compare
		x.head(http.StatusOK)
		answered(fmt.Sprintf("%s %s: %d", r.Method, x.target, x.status), x.check)
	})
}

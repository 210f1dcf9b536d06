package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A page that has not changed is not sent again to console.js, only its time; one that has changed
// is, and so is every page that a person asks for.
func TestUnchangedPages(t *testing.T) {
	r := newRig(t, nil)
	cookie := r.signIn()
	total := "312"
	r.api = func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != "/v1/accounts" {
			return false
		}
		_, _ = w.Write([]byte(`{"accounts":[],"total":` + total + `}`))
		return true
	}
	tag := r.call("GET", "/console/accounts", nil, "Cookie", cookie).Header.Get("ETag")
	again := func(header ...string) *http.Response {
		return r.call("GET", "/console/accounts", nil, append([]string{"Cookie", cookie, "If-None-Match", tag}, header...)...)
	}
	r.pass(15 * time.Second)
	res := again("Console-Live", "1")
	if res.StatusCode != http.StatusNotModified || text(res) != "" || !strings.HasSuffix(res.Header.Get("Console-Time"), " 2026-11-29T21:30:15+08:00 2026-11-29 21:30") {
		t.Errorf("the same page: HTTP %d, time %q", res.StatusCode, res.Header.Get("Console-Time"))
	}
	if res := again(); res.StatusCode != http.StatusOK {
		t.Errorf("a person gets HTTP %d", res.StatusCode)
	}
	total = "313"
	if res := again("Console-Live", "1"); res.StatusCode != http.StatusOK || res.Header.Get("ETag") == tag || !strings.Contains(text(res), "313") {
		t.Errorf("a page that has changed: HTTP %d", res.StatusCode)
	}
}

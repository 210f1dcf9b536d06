package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An export in which decisions would be missing is none: it fails before the first row, and breaks
// off after it.
func TestExportsAreWhole(t *testing.T) {
	t.Parallel()
	const files, each = 2, 300
	for name, c := range map[string]struct {
		query string
		with  func(t *testing.T, a *api)
		want  string // status and code
	}{
		"a silent gateway":              {"", func(t *testing.T, a *api) { a.admin.Keys.Peers = []string{silent(t)} }, "503 incomplete"},
		"a packed file and no row":      {"&reason=none", packed, "503 incomplete"},
		"a packed file after some rows": {"", packed, "broken off"},
		"a packed file before from":     {"&from=" + start.Add(time.Second).Format(time.RFC3339), packed, "200"},
		"a log that is being searched":  {"", func(_ *testing.T, a *api) { a.gateway.busy = true }, "429 too_many"},
		"a log that cannot be read":     {"", func(_ *testing.T, a *api) { a.gateway.file, a.gateway.unreadable = "", os.ErrPermission }, "503 incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, "")
			a.gateway.file, a.gateway.budget, a.gateway.since = logged(t, files, each), 1<<30, start.Add(files*each*time.Second)
			c.with(t, a)
			if got := exported(t, a, "/v1/decisions?format=csv"+c.query); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// packed adds a file that was packed to the log.
func packed(t *testing.T, a *api) {
	name := "decisions-" + start.Format("2006-01-02T15-04-05.000") + ".log.gz"
	if err := os.WriteFile(filepath.Join(filepath.Dir(a.gateway.file), name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// exported returns how an export ends: its status, and the code of an error, or that it broke off.
func exported(t *testing.T, a *api, path string) (end string) {
	defer func() {
		if what := recover(); what != nil {
			if end = "broken off"; what != http.ErrAbortHandler {
				panic(what)
			}
		}
	}()
	r := a.call("GET", path, "")
	if r.Code == http.StatusOK {
		return "200"
	}
	code, _ := r.failure(t)
	return fmt.Sprint(r.Code, " ", code)
}

// deadlines is a client's connection that counts how often the time for its answer is extended.
type deadlines struct {
	*httptest.ResponseRecorder
	extended int
}

func (d *deadlines) SetWriteDeadline(time.Time) error {
	d.extended++
	return nil
}

// Each page that is read extends the time for an export, also one without rows.
func TestExportOfRareRows(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.gateway.file, a.gateway.budget, a.gateway.since = logged(t, 4, 1000), 400<<10, start.Add(4000*time.Second)
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	req := httptest.NewRequest("GET", "/v1/decisions?format=csv&reason=none", nil)
	req.Host = "localhost:9090"
	a.handler.ServeHTTP(d, req)
	if rows := strings.Count(d.Body.String(), "\n"); d.Code != http.StatusOK || rows != 1 || d.extended < 4 {
		t.Errorf("HTTP %d, %d rows, extended %d times", d.Code, rows, d.extended)
	}
}

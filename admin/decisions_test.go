package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"replygate/record"
)

// A decision is found by its id in either letter case. One that is not found, or not looked for, is
// an error that says so.
func TestDecision(t *testing.T) {
	t.Parallel()
	const id, upper = "1a21fee66cf4c3e1", "1A21FEE66CF4C3E1"
	line := `{"msg":"decision","id":"` + id + `"}`
	for name, c := range map[string]struct {
		id     string
		failed error // of the search in the files
		status int
		code   string
	}{
		"as in the record": {id, nil, 200, ""},
		"in upper case":    {upper, nil, 200, ""},
		"no id":            {id[1:], nil, 400, "bad_id"},
		"not there":        {"1a21fee66cf4c3e2", nil, 404, "no_decision"},
		"too much to read": {"1a21fee66cf4c3e2", fmt.Errorf("log: %w", record.ErrTooMuch), 503, "too_much_to_read"},
		"broken":           {"1a21fee66cf4c3e2", errors.New("no gzip"), 500, "unreadable_log"},
	} {
		a := newAPI(t, "")
		a.gateway.records = map[string]string{id: line}
		r := a.call("GET", "/v1/decisions/"+c.id, "")
		if c.status == http.StatusOK {
			if r.Code != http.StatusOK || !strings.Contains(r.body, `"decision":`+line) {
				t.Errorf("%s: HTTP %d %s", name, r.Code, r.body)
			}
			continue
		}
		a.gateway.unreadable = c.failed
		r = a.call("GET", "/v1/decisions/"+c.id, "")
		if code, _ := r.failure(t); r.Code != c.status || code != c.code {
			t.Errorf("%s: HTTP %d %s", name, r.Code, r.body)
		}
	}
}

package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// askTime bounds one call of the API for a page: a page that waits longer is sent with that part in
// its failed state.
const askTime = 2 * time.Second

// failure is an error that a page shows. Code is that of the API.
type failure struct {
	Status  int
	Code    string
	Message string
}

func (f *failure) Error() string { return f.Message }

// answer collects a response of the API.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// get calls the API with GET and decodes its answer.
func (q *request) get(path string, query url.Values, into any) *failure {
	return q.ask(http.MethodGet, path, query, nil, into)
}

// ask calls the API as the person who is signed in and decodes its answer. The API sees the address
// of the browser, for its audit records.
func (q *request) ask(method, path string, query url.Values, in, into any) *failure {
	ctx, cancel := context.WithTimeout(q.r.Context(), askTime)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return &failure{http.StatusInternalServerError, "bug", err.Error()}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, &body)
	if err != nil {
		return &failure{http.StatusBadRequest, "bad_query", err.Error()}
	}
	r.URL.RawQuery, r.RemoteAddr = query.Encode(), q.r.RemoteAddr
	r.RequestURI = r.URL.RequestURI()
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.ifMatch != "" {
		r.Header.Set("If-Match", q.ifMatch)
	}
	scope := scopeRead
	if changes(path) && method == http.MethodPost {
		scope = scopeChange
	}
	if q.c.may(q.r, scope) || q.changing && scope == scopeChange || q.reading && scope == scopeRead {
		r.Header.Set("Authorization", "Bearer "+q.c.key(scope).Reveal())
	}
	a := answer{header: http.Header{}}
	q.c.api.ServeHTTP(&a, r)
	return a.decode(into)
}

// jsonText is the JSON of a value as a text.
func jsonText(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// changes reports whether POST of a path changes something, so that it requires the change key.
func changes(path string) bool {
	return strings.HasPrefix(path, "/v1/windows/") || path == "/v1/reload"
}

// decode reads an answer of the API, or the error in it.
func (a *answer) decode(into any) *failure {
	if a.status/100 == 2 {
		if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
			return &failure{http.StatusInternalServerError, "bug", fmt.Sprintf("the answer of the API cannot be read: %v", err)}
		}
		return nil
	}
	var f struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body.Bytes(), &f); err != nil || f.Error.Code == "" {
		return &failure{http.StatusInternalServerError, "bug", fmt.Sprintf("the API answers %d", a.status)}
	}
	if into != nil { // an error may carry data too, as a held reload does
		_ = json.Unmarshal(a.body.Bytes(), into)
	}
	return &failure{a.status, f.Error.Code, f.Error.Message}
}

// instant is a time in an answer; "" is the zero time.
type instant struct{ time.Time }

func (i *instant) UnmarshalJSON(data []byte) error {
	if s := string(data); s == `""` || s == "null" {
		i.Time = time.Time{}
		return nil
	}
	return json.Unmarshal(data, &i.Time)
}

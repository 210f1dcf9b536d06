package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"replygate/account"
	"replygate/admin"
	"replygate/events"
	"replygate/internal/openapitest"
	"replygate/outbox"
)

func describedAPI(t *testing.T) *openapitest.Document {
	t.Helper()
	d, err := openapitest.Parse(admin.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The document has the form that testdata/openapi/document.schema.json gives, which is OpenAPI 3.1
// as far as the document needs it, and all its schemas are JSON Schema.
func TestOpenAPIDocument(t *testing.T) {
	t.Parallel()
	read := func(text []byte) any {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	form, err := os.ReadFile("../testdata/openapi/document.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("form.json", read(form)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("form.json")
	if err != nil {
		t.Fatal(err)
	}
	document := read(admin.OpenAPI())
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	d := describedAPI(t)
	places, used := walkDocument(document, "")
	if len(places) < 200 {
		t.Errorf("only %d schemas are found", len(places))
	}
	for _, place := range places {
		if err := d.Compile(place); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	components := document.(map[string]any)["components"].(map[string]any)
	for kind, all := range components {
		for name := range all.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !used[ref] {
				t.Errorf("nothing uses %s", ref)
			}
		}
	}
	for ref := range used {
		at := document
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			inside, _ := at.(map[string]any)
			at = inside[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	ids := regexp.MustCompile(`"operationId":"(\w+)"`).FindAllStringSubmatch(string(admin.OpenAPI()), -1)
	slices.SortFunc(ids, func(x, y []string) int { return strings.Compare(x[1], y[1]) })
	if n := len(slices.CompactFunc(slices.Clone(ids), func(x, y []string) bool { return x[1] == y[1] })); n != len(ids) || n != len(d.Operations()) {
		t.Errorf("%d of %d ids of %d operations are different", n, len(ids), len(d.Operations()))
	}
}

// walkDocument returns the places of all schemas of a document, and what its references name.
func walkDocument(v any, place string) (schemas []string, used map[string]bool) {
	used = map[string]bool{}
	var walk func(v any, place string)
	walk = func(v any, place string) {
		switch v := v.(type) {
		case map[string]any:
			if ref, _ := v["$ref"].(string); ref != "" {
				used[ref] = true
			}
			for name, inside := range v {
				at := place + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
				if name == "schema" || place == "/components/schemas" {
					schemas = append(schemas, at)
				}
				walk(inside, at)
			}
		case []any:
			for i, inside := range v {
				walk(inside, place+"/"+strconv.Itoa(i))
			}
		}
	}
	walk(v, place)
	return schemas, used
}

// The document has the operations that the API serves, and no others.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	served := newAPI(t, "").admin.Routes()
	slices.Sort(served)
	if described := describedAPI(t).Operations(); !slices.Equal(served, described) {
		t.Errorf("served    %q\ndescribed %q", served, described)
	}
}

// noWebhooks are the webhooks of a configuration without any.
type noWebhooks struct{}

func (noWebhooks) Test(context.Context, string) (outbox.Tested, error) {
	return outbox.Tested{}, outbox.ErrUnknown
}

func (noWebhooks) Resend(context.Context, string, time.Time) (int, bool, error) {
	return 0, false, outbox.ErrUnknown
}

// placeholders are values for the parts of paths in requests.
var placeholders = strings.NewReplacer("{corp}", "wwLapsed", "{name}", "acme", "{id}", "1a21fee66cf4c3e1")

// Every operation wants the key that the document names.
func TestOpenAPIKeys(t *testing.T) {
	t.Parallel()
	a, d := newAPI(t, keys), describedAPI(t)
	a.gateway.reload = func() (admin.Reloaded, error) { return admin.Reloaded{}, errors.New("no file") }
	a.admin.Deliveries = noWebhooks{}
	all := map[string]string{"readKey": readKey, "changeKey": changeKey, "metricsKey": metricsKey, "": ""}
	for _, operation := range d.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		if path == "/v1/events" {
			method = http.MethodHead // it goes on for ever
		}
		for name, key := range all {
			r := a.call(method, placeholders.Replace(path), "{", "Authorization: Bearer "+key)
			if wanted := d.Key(operation); (r.Code != http.StatusUnauthorized) != (wanted == "" || wanted == name) {
				t.Errorf("%s with the key %q: HTTP %d, and the document says %q", operation, name, r.Code, wanted)
			}
		}
	}
}

// Every parameter in the query that an operation takes is in the document, and no other.
func TestOpenAPIParameters(t *testing.T) {
	t.Parallel()
	a, d := newAPI(t, ""), describedAPI(t)
	allowed := regexp.MustCompile(`allowed are ([a-z_, ]*)`)
	n := 0
	for _, operation := range d.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		if method == http.MethodPost && !strings.HasPrefix(path, "/v1/webhooks/") || !strings.HasPrefix(path, "/v1/") {
			continue // they read no query
		}
		r := a.call(method, placeholders.Replace(path)+"?zz=1", "")
		found := allowed.FindStringSubmatch(r.body)
		if r.Code != http.StatusBadRequest || found == nil {
			t.Errorf("%s takes any parameter: HTTP %d %s", operation, r.Code, r.body)
			continue
		}
		taken := strings.FieldsFunc(found[1], func(c rune) bool { return c == ',' || c == ' ' })
		if slices.Sort(taken); !slices.Equal(taken, d.QueryParameters(operation)) {
			t.Errorf("%s takes %q, the document has %q", operation, taken, d.QueryParameters(operation))
		}
		n += len(taken)
	}
	if n < 60 {
		t.Errorf("only %d parameters are found", n)
	}
}

// What the document enumerates is what the code knows.
func TestOpenAPIWords(t *testing.T) {
	t.Parallel()
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Enum       []string
				OneOf      []map[string]string
				Properties map[string]struct {
					Const string
					Enum  []string
				}
			}
		}
	}
	if err := json.Unmarshal(admin.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	schemas := document.Components.Schemas
	same := func(what string, is, want []string) {
		slices.Sort(is)
		slices.Sort(want)
		if !slices.Equal(is, want) {
			t.Errorf("%s: the document has %q, the code %q", what, is, want)
		}
	}
	var standings, types []string
	for _, s := range account.Standings() {
		standings = append(standings, string(s))
	}
	same("standings", schemas["Standing"].Enum, standings)
	for _, one := range schemas["Event"].OneOf {
		kind := schemas[strings.TrimPrefix(one["$ref"], "#/components/schemas/")].Properties["type"]
		types = append(types, slices.DeleteFunc(append(kind.Enum, kind.Const), func(s string) bool { return s == "" })...)
	}
	same("events", types, slices.DeleteFunc(events.Types(), func(s string) bool { return s == events.Test }))
}

// The document is served with the read key.
func TestOpenAPIServed(t *testing.T) {
	t.Parallel()
	a := newAPI(t, keys)
	r := a.call("GET", "/v1/openapi.json", "", withReadKey)
	var served, checkedIn any
	if err := errors.Join(json.Unmarshal([]byte(r.body), &served), json.Unmarshal(admin.OpenAPI(), &checkedIn)); err != nil || r.Code != http.StatusOK || !reflect.DeepEqual(served, checkedIn) {
		t.Errorf("HTTP %d, %v, %.100s", r.Code, err, r.body)
	}
	if again := a.call("GET", "/v1/openapi.json", "", withReadKey, "If-None-Match: "+r.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("the same document again: HTTP %d", again.Code)
	}
}

// A response that differs from the document in any way is found.
func TestOpenAPIFindsDifferences(t *testing.T) {
	t.Parallel()
	d := describedAPI(t)
	type response struct {
		name, request string
		status        int
		header        http.Header
		body          string
	}
	kind := func(text string, more ...string) http.Header {
		h := http.Header{"Content-Type": {text}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	const inJSON = "application/json; charset=utf-8"
	failed := func(code string) string { return `{"error":{"code":"` + code + `","message":"m"}}` }
	for _, c := range []response{
		{"", "GET /healthz", 200, kind(inJSON), `{"status":"ok"}`},
		{"", "HEAD /healthz", 200, kind(inJSON), ``},
		{"a member", "GET /healthz", 200, kind(inJSON), `{"status":"ok","more":1}`},
		{"a value", "GET /healthz", 200, kind(inJSON), `{"status":"fine"}`},
		{"a missing member", "GET /healthz", 200, kind(inJSON), `{}`},
		{"no JSON", "GET /healthz", 200, kind(inJSON), `{"status":"ok"}}`},
		{"another type", "GET /healthz", 200, kind("text/plain"), `{"status":"ok"}`},
		{"a status", "GET /healthz", 204, nil, ``},
		{"a parameter", "GET /v1/calendar?day=1", 200, kind(inJSON, "ETag", "x"), `{"days":[],"from":"2026-11-22","to":"2026-11-22","timezone":"UTC","as_of":"2026-11-22T12:00:00.000Z"}`},
		{"", "GET /v1/calendar?from=2026-11-22", 200, kind(inJSON, "ETag", "x"), `{"days":[],"from":"2026-11-22","to":"2026-11-22","timezone":"UTC","as_of":"2026-11-22T12:00:00.000Z"}`},
		{"a missing header", "GET /v1/calendar", 200, kind(inJSON), `{"days":[],"from":"2026-11-22","to":"2026-11-22","timezone":"UTC","as_of":"2026-11-22T12:00:00.000Z"}`},
		{"an instant", "GET /v1/calendar", 200, kind(inJSON, "ETag", "x"), `{"days":[],"from":"2026-11-22","to":"2026-11-22","timezone":"UTC","as_of":"2026-11-22T12:00:00Z"}`},
		{"", "GET /v1/calendar", 304, http.Header{"Etag": {"x"}}, ``},
		{"a body of 304", "GET /v1/calendar", 304, http.Header{"Etag": {"x"}}, `{}`},
		{"", "GET /v1/calendar", 400, kind(inJSON), failed("bad_query")},
		{"a code", "GET /v1/calendar", 400, kind(inJSON), failed("bad_cursor")},
		{"", "GET /v1/none", 404, kind(inJSON), failed("not_found")},
		{"a path", "GET /v1/none", 200, kind(inJSON), `{}`},
		{"a path with an error of its own", "GET /v1/none", 404, kind(inJSON), failed("no_window")},
		{"a missing Retry-After", "GET /v1/closing", 503, kind(inJSON), failed("store_unavailable")},
		{"", "GET /v1/closing", 503, kind(inJSON, "Retry-After", "2"), failed("store_unavailable")},
		{"", "DELETE /v1/calendar", 405, kind(inJSON, "Allow", "GET, HEAD"), failed("method_not_allowed")},
		{"a method", "DELETE /v1/calendar", 200, kind(inJSON), `{}`},
		{"", "GET /v1/closing?format=csv", 200, kind("text/csv; charset=utf-8; header=present"), "corp_id,account,standing,channel,customer,last,closes,answered_by_bot,reachable_after,reachable_until\n"},
		{"a column", "GET /v1/closing?format=csv", 200, kind("text/csv"), "corp_id,account,standing,channel,customer,last,closes,answered_by_bot,reachable_after\n"},
		{"", "GET /v1/events", 200, kind("text/event-stream"), "retry: 3000\n\nevent: reset\ndata: {\"oldest\":\"1-0\"}\n\n:\nid: 1-0\n\nid: 1-0\nevent: webhook.disabled\ndata: {\"type\":\"webhook.disabled\",\"timestamp\":\"2026-11-22T12:00:00.000Z\",\"id\":\"evt_0123456789abcdef01234567\",\"data\":{\"name\":\"n\",\"why\":\"w\"}}\n\n"},
		{"a member of an event", "GET /v1/events", 200, kind("text/event-stream"), "id: 1-0\nevent: webhook.disabled\ndata: {\"type\":\"webhook.disabled\",\"timestamp\":\"2026-11-22T12:00:00.000Z\",\"id\":\"evt_0123456789abcdef01234567\",\"data\":{\"name\":\"n\",\"why\":\"w\",\"url\":\"u\"}}\n\n"},
		{"a type of events", "GET /v1/events", 200, kind("text/event-stream"), "id: 1-0\nevent: other\ndata: {\"type\":\"other\",\"timestamp\":\"2026-11-22T12:00:00.000Z\",\"id\":\"evt_0123456789abcdef01234567\",\"data\":{}}\n\n"},
	} {
		var difference error
		compared := 0
		h := d.Over(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range c.header {
				w.Header()[name] = values
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}), func(_ string, differs func() error) {
			difference = differs()
			compared++
		})
		method, target, _ := strings.Cut(c.request, " ")
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, target, nil))
		if (difference != nil) != (c.name != "") || compared != 1 {
			t.Errorf("%s, %q: %v", c.request, c.name, difference)
		}
	}
}

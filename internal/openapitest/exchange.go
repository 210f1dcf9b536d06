package openapitest

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxBody bounds what is kept of a request.
const maxBody = 2 << 20

// exchange is a request with its response, as the handler writes it.
type exchange struct {
	http.ResponseWriter
	document *Document
	request  *http.Request // as it came
	target   string
	sent     bytes.Buffer // what the handler read of the body
	status   int
	header   http.Header // when the head was written
	body     bytes.Buffer
}

// exchange begins to keep what the handler reads and writes.
func (d *Document) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, document: d, request: r.Clone(r.Context()), target: r.URL.RequestURI()}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &teeBody{r.Body, &x.sent}
	}
	return x
}

// teeBody keeps what is read of a request.
type teeBody struct {
	io.ReadCloser
	kept *bytes.Buffer
}

func (t *teeBody) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if t.kept.Len() < maxBody {
		t.kept.Write(p[:n])
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	x.head(status)
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	x.head(http.StatusOK)
	x.body.Write(p)
	return x.ResponseWriter.Write(p)
}

func (x *exchange) head(status int) {
	if x.status == 0 {
		x.status, x.header = status, x.Header().Clone()
	}
}

// check compares the exchange with the document.
func (x *exchange) check() error {
	d, r := x.document, x.request
	template := d.pathOf(r)
	clean := path.Clean(r.URL.Path)
	switch {
	case x.status/100 == 3 && x.status != http.StatusNotModified && clean != r.URL.Path:
		if to, err := url.Parse(x.header.Get("Location")); err != nil || to.Path != clean && to.Path != clean+"/" {
			return fmt.Errorf("it redirects to %q", x.header.Get("Location"))
		}
		return nil
	case template == "" || clean != r.URL.Path:
		return x.checkOther("x-unknown-path", http.StatusNotFound)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	operation, place := d.operation(method + " " + template)
	if operation == nil {
		return x.checkOther("x-other-method", http.StatusMethodNotAllowed)
	}
	response, described := member(operation, "responses")[fmt.Sprint(x.status)]
	if !described {
		return errors.New("this status is not described")
	}
	if err := x.checkResponse(d.resolved(response, fmt.Sprintf("%s/responses/%d", place, x.status))); err != nil {
		return err
	}
	if x.status/100 != 2 {
		return nil
	}
	return errors.Join(x.checkQuery(operation, place), x.checkSent(operation, place))
}

// checkOther compares the response to a request that no operation is for.
func (x *exchange) checkOther(name string, status int) error {
	if x.status == http.StatusForbidden {
		return x.checkResponse(x.document.resolved(object{"$ref": "#/components/responses/Forbidden"}, ""))
	}
	if x.status != status {
		return fmt.Errorf("no operation is described for this request, so %d is wanted", status)
	}
	return x.checkResponse(x.document.resolved(x.document.root[name], ""))
}

func (x *exchange) checkResponse(response object, place string) error {
	for name, h := range member(response, "headers") {
		header, at := x.document.resolved(h, place+"/headers/"+escaped(name))
		text := x.header.Get(name)
		if text == "" {
			if header["required"] == true {
				return fmt.Errorf("there is no header %s", name)
			}
			continue
		}
		if err := x.document.checkText(at+"/schema", header["schema"], text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	content := member(response, "content")
	if content == nil {
		if x.body.Len() > 0 {
			return fmt.Errorf("there is a body: %.100q", x.body.String())
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(x.header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type %q: %w", x.header.Get("Content-Type"), err)
	}
	if kind == "text/html" && x.forPerson() {
		return nil
	}
	media := member(content, kind)
	if media == nil {
		return fmt.Errorf("Content-Type %s is not described", kind)
	}
	if x.request.Method == http.MethodHead && x.body.Len() == 0 {
		return nil
	}
	text, err := x.text()
	if err != nil {
		return err
	}
	return x.checkBody(kind, media, place+"/content/"+escaped(kind), text)
}

// forPerson reports whether the console answers for the API: the failure of an export is a page.
func (x *exchange) forPerson() bool {
	return strings.Contains(x.request.Header.Get("Accept"), "text/html") && x.request.URL.Query().Get("format") == "csv"
}

// text returns the body without its encoding.
func (x *exchange) text() ([]byte, error) {
	if x.header.Get("Content-Encoding") != "gzip" {
		return x.body.Bytes(), nil
	}
	z, err := gzip.NewReader(&x.body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func (x *exchange) checkBody(kind string, media object, place string, text []byte) error {
	switch kind {
	case "application/json":
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		return x.document.check(place+"/schema", value)
	case "text/csv":
		head, err := csv.NewReader(bytes.NewReader(text)).Read()
		if want := words(media["x-columns"]); err != nil || !slices.Equal(head, want) {
			return fmt.Errorf("the columns are %s, want %s: %w", head, want, err)
		}
	case "text/event-stream":
		for message := range strings.SplitSeq(string(text), "\n\n") {
			if err := x.checkEvent(message, place+"/x-event"); err != nil {
				return fmt.Errorf("%w in %s", err, message)
			}
		}
	}
	return nil
}

// checkEvent compares one message of a stream; its last one may be incomplete.
func (x *exchange) checkEvent(message, place string) error {
	fields := map[string]string{}
	for line := range strings.SplitSeq(message, "\n") {
		if name, value, _ := strings.Cut(line, ":"); name != "" {
			fields[name] = strings.TrimPrefix(value, " ")
		}
	}
	for name := range fields {
		if !slices.Contains([]string{"retry", "id", "event", "data"}, name) {
			return fmt.Errorf("the field %q", name)
		}
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(fields["data"]))
	event, _ := value.(object)
	switch {
	case fields["event"] == "":
		return nil
	case err != nil:
		return err
	case fields["event"] == "reset":
		if _, position := event["oldest"].(string); !position || len(event) != 1 {
			return errors.New("no oldest position")
		}
		return nil
	case event["type"] != fields["event"] || fields["id"] == "":
		return errors.New("another type, or no position")
	}
	return x.document.check(place, value)
}

// checkQuery compares the query of a request that was answered with what is described.
func (x *exchange) checkQuery(operation object, place string) error {
	known := x.document.parameters(operation)
	for name, values := range x.request.URL.Query() {
		p := known[name]
		if p == nil {
			if x.request.Method == http.MethodPost || operation["parameters"] == nil && !strings.HasPrefix(x.request.URL.Path, "/v1/") {
				continue // the query is not read
			}
			return fmt.Errorf("the parameter %s is not described", name)
		}
		if values[0] == "" {
			continue
		}
		if err := x.document.checkText(x.parameterPlace(operation, place, name), p["schema"], values[0]); err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
	}
	return nil
}

// parameterPlace is the place of a parameter's schema.
func (x *exchange) parameterPlace(operation object, place, name string) string {
	for i, v := range operation["parameters"].([]any) {
		if p, at := x.document.resolved(v, fmt.Sprintf("%s/parameters/%d", place, i)); p["name"] == name && p["in"] == "query" {
			return at + "/schema"
		}
	}
	return ""
}

// checkSent compares the body of a request that was answered with what is described.
func (x *exchange) checkSent(operation object, place string) error {
	if x.sent.Len() == 0 || x.sent.Len() >= maxBody {
		return nil
	}
	body, at := x.document.resolved(operation["requestBody"], place+"/requestBody")
	kind, _, _ := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if member(member(body, "content"), kind) == nil {
		return fmt.Errorf("a body of the type %q is not described", kind)
	}
	if kind != "application/json" {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(x.sent.Bytes()))
	if err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	if err := x.document.check(at+"/content/application~1json/schema", value); err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	return nil
}

// words is a list of texts in the document.
func words(list any) (all []string) {
	items, _ := list.([]any)
	for _, item := range items {
		text, _ := item.(string)
		all = append(all, text)
	}
	return all
}

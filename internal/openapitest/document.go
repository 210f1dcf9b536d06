package openapitest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// object is a JSON object of the document.
type object = map[string]any

// Document is a description of an API in OpenAPI 3.1.
type Document struct {
	root     object
	routes   *http.ServeMux // only finds the path of a request
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by place
}

const resource = "openapi.json"

// Parse reads a document.
func Parse(text []byte) (*Document, error) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &Document{routes: http.NewServeMux(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.root, _ = root.(object)
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(resource, root); err != nil {
		return nil, err
	}
	for path := range d.paths() {
		d.routes.Handle(path, http.NotFoundHandler())
	}
	return d, nil
}

func (d *Document) paths() object { return member(d.root, "paths") }

// Operations lists the operations as METHOD PATH.
func (d *Document) Operations() (all []string) {
	for path, item := range d.paths() {
		for method := range item.(object) {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// QueryParameters returns the names of an operation's parameters in the query, sorted.
func (d *Document) QueryParameters(operation string) (names []string) {
	o, _ := d.operation(operation)
	for name := range d.parameters(o) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Key names the security scheme of an operation, "" if it needs no key.
func (d *Document) Key(operation string) string {
	o, _ := d.operation(operation)
	schemes, own := o["security"].([]any)
	if !own {
		schemes, _ = d.root["security"].([]any)
	}
	for _, s := range schemes {
		for name := range s.(object) {
			return name
		}
	}
	return ""
}

// operation returns an operation and its place.
func (d *Document) operation(name string) (o object, place string) {
	method, path, _ := strings.Cut(name, " ")
	method = strings.ToLower(method)
	return member(member(d.paths(), path), method), "/paths/" + escaped(path) + "/" + method
}

// pathOf returns the path of the document that a request is for, "" if it has none.
func (d *Document) pathOf(r *http.Request) string {
	_, pattern := d.routes.Handler(r)
	return pattern
}

// parameters returns the parameters in the query of an operation by their names.
func (d *Document) parameters(o object) map[string]object {
	all := map[string]object{}
	list, _ := o["parameters"].([]any)
	for _, p := range list {
		if p, _ := d.resolved(p, ""); p["in"] == "query" {
			all[p["name"].(string)] = p
		}
	}
	return all
}

// resolved follows the $ref of an object that is at a place.
func (d *Document) resolved(v any, place string) (object, string) {
	o, _ := v.(object)
	ref, _ := o["$ref"].(string)
	if ref == "" {
		return o, place
	}
	place = strings.TrimPrefix(ref, "#")
	at := d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(place, "/"), "/") {
		at = member(at, unescaped(name))
	}
	return at, place
}

// Compile compiles the schema at a place, a JSON pointer.
func (d *Document) Compile(place string) error {
	_, err := d.schema(place)
	return err
}

func (d *Document) schema(place string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.schemas[place]; known != nil {
		return known, nil
	}
	schema, err := d.compiler.Compile(resource + "#" + (&url.URL{Path: place}).EscapedPath())
	if err == nil {
		d.schemas[place] = schema
	}
	return schema, err
}

// check compares a value with the schema at a place.
func (d *Document) check(place string, value any) error {
	schema, err := d.schema(place)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// CheckBody compares the JSON of an answer to an operation that was carried out.
func (d *Document) CheckBody(method, path string, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	operation, place := d.operation(method + " " + d.pathOf(&http.Request{Method: method, URL: &url.URL{Path: path}}))
	for status, response := range member(operation, "responses") {
		if strings.HasPrefix(status, "2") {
			_, at := d.resolved(response, place+"/responses/"+status)
			return d.check(at+"/content/application~1json/schema", value)
		}
	}
	return fmt.Errorf("%s %s is not described", method, path)
}

// checkText compares a text of a query or header with the schema at a place.
func (d *Document) checkText(place string, schema any, text string) error {
	var value any = text
	if resolved, _ := d.resolved(schema, ""); resolved["type"] == "integer" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		value = n
	}
	return d.check(place, value)
}

func member(o object, name string) object {
	m, _ := o[name].(object)
	return m
}

// escaped writes a name as a part of a JSON pointer.
func escaped(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func unescaped(part string) string {
	return strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
}

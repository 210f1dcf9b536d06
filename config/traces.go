package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	maxTraceHeaders   = 16
	defaultTracesPath = "/v1/traces" // of OTLP over HTTP
)

// CollectorURL is where the spans go: the endpoint, with the path of OTLP if it has none. The
// endpoint must have been checked.
func (t Traces) CollectorURL() *url.URL {
	u := httpURL(t.Endpoint)
	if u != nil && !hasPath(u) {
		u.Path = defaultTracesPath
	}
	return u
}

// traces checks where spans go.
func (v validator) traces(c *Config) {
	t := c.Traces
	v.certificates("traces.ca_file", t.CAFile)
	if len(t.Headers) > maxTraceHeaders {
		v.report("traces.headers", fmt.Sprintf("traces.headers has %d headers", len(t.Headers)), fmt.Sprintf("give at most %d", maxTraceHeaders))
	}
	for i, h := range t.Headers {
		if _, _, ok := TraceHeader(h); !ok {
			v.report(fmt.Sprintf("traces.headers[%d]", i), "a header of traces.headers is not one",
				"write Name: value, like Authorization: Bearer KEY; Host, Connection and those of the content are the exporter's")
		}
	}
	if t.Endpoint == "" {
		return
	}
	u := httpURL(t.Endpoint)
	switch {
	case u == nil:
		v.report("traces.endpoint", "traces.endpoint is not a URL", "write http:// or https:// and the host and port of a collector, like http://127.0.0.1:4318")
	case hasExtras(u):
		v.report("traces.endpoint", "traces.endpoint has a query, a user or a fragment", "leave them out; what the collector wants to know of its senders goes into traces.headers_file")
	case u.Scheme == "http" && len(t.Headers) > 0 && !Loopback(net.JoinHostPort(u.Hostname(), "0")):
		v.report("traces.endpoint", "traces.endpoint is not https, and traces.headers would go there unencrypted", "write https://, or leave the headers out")
	}
}

// ownHeaders are those that the exporter writes, or that belong to one connection.
var ownHeaders = []string{"Host", "Connection", "Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding"}

var traceHeader = regexp.MustCompile("^([0-9A-Za-z!#$%&'*+.^_`|~-]{1,64}): ?([!-~](?:[ -~]*[!-~])?)$")

// TraceHeader returns the name and the value of a header of traces.headers.
func TraceHeader(s Secret) (name, value string, ok bool) {
	m := traceHeader.FindStringSubmatch(s.Reveal())
	if m == nil || slices.ContainsFunc(ownHeaders, func(own string) bool { return strings.EqualFold(own, m[1]) }) {
		return "", "", false
	}
	return m[1], m[2], true
}

// tokens returns the parts of the headers that are secret by themselves: an error of a collector
// may quote the key alone.
func (t Traces) tokens() (all []string) {
	for _, h := range t.Headers {
		if _, value, ok := TraceHeader(h); ok {
			all = append(all, value)
			if _, key, scheme := strings.Cut(value, " "); scheme {
				all = append(all, key)
			}
		}
	}
	return all
}

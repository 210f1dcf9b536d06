package wecom_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"replygate/wecom"
)

func TestReadPath(t *testing.T) {
	for _, c := range cases(t, "wecom/paths.tsv", 2) {
		path, want := c[0], c[1]
		r := wecom.ReadPath([]byte(path))
		lenient, ambiguous := strings.CutPrefix(want, "ambiguous:")
		if r.Ambiguous() != ambiguous {
			t.Errorf("%s: Ambiguous() = %v", path, r.Ambiguous())
			continue
		}
		if !ambiguous {
			if string(r.Endpoint.Capability) != want {
				t.Errorf("%s: %s, want %s", path, r.Endpoint.Capability, want)
			}
			continue
		}
		if r.Path != path {
			t.Errorf("%s: an ambiguous path changed to %s", path, r.Path)
		}
		if !slices.ContainsFunc(r.Readings, func(e *wecom.Endpoint) bool { return string(e.Capability) == lenient }) {
			t.Errorf("%s: no reading is %s", path, lenient)
		}
	}
}

// Paths of real clients and attackers with their canonical path, endpoint and readings.
func TestRoutes(t *testing.T) {
	t.Parallel()
	const send, details, customer = "/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/get", "/cgi-bin/kf/*"
	for _, test := range []struct{ path, canonical, endpoint, readings string }{
		{send, send, send, ""},
		{"/cgi-bin//kf/send_msg", send, send, ""},
		{"//cgi-bin/cgi-bin//kf///send_msg", send, send, ""},
		{"/cgi-bin/cgi-bin", "/cgi-bin/cgi-bin", "*", ""}, // nothing after it to be doubled for
		{"/cgi-bin/kf/new-path_2", "/cgi-bin/kf/new-path_2", customer, ""},
		{"/cgi-bin/kf", "/cgi-bin/kf", "*", ""},
		{"/x/cgi-bin/kf/send_msg", "/x/cgi-bin/kf/send_msg", "*", ""},
		{"/", "/", "*", ""},
		{"/cgi-bin/kf/send_msg/", "/cgi-bin/kf/send_msg/", "", send},
		{"/cgi-bin/KF/send_msg", "/cgi-bin/KF/send_msg", "", send},
		{"/cgi-bin/kf/send%5Fmsg", "/cgi-bin/kf/send%5Fmsg", "", send},
		{"/cgi-bin/kf/send%255fmsg", "/cgi-bin/kf/send%255fmsg", "", send},
		{`\cgi-bin\kf\send_msg`, `\cgi-bin\kf\send_msg`, "", send},
		{"/cgi-bin/x/../kf/send_msg", "/cgi-bin/x/../kf/send_msg", "", "* " + send},
		{"/cgi-bin/kf/send_msg#x", "/cgi-bin/kf/send_msg#x", "", customer + " " + send},
		{"/cgi-bin/kf;v=1/send_msg", "/cgi-bin/kf;v=1/send_msg", "", "* " + send},
		{"/cgi-bin/kf/send_msg%20", "/cgi-bin/kf/send_msg%20", "", customer + " " + send},
		{"/cgi-bin/externalcontact/./get", "/cgi-bin/externalcontact/./get", "", "/cgi-bin/externalcontact/* " + details},
		{"/cgi-bin/user/get.", "/cgi-bin/user/get.", "", "* /cgi-bin/user/get"},
		{"/über", "/über", "", "*"},
		{"", "", "", "*"},
		{"*", "*", "", "*"},
	} {
		r := wecom.ReadPath([]byte(test.path))
		endpoint, readings := "", []string{}
		if r.Endpoint != nil {
			endpoint = r.Endpoint.Path
		}
		for _, e := range r.Readings {
			readings = append(readings, e.Path)
		}
		slices.Sort(readings)
		if r.Path != test.canonical || endpoint != test.endpoint || strings.Join(readings, " ") != test.readings {
			t.Errorf("%s: %s, %q, readings %q; want %s, %q, %q", test.path, r.Path, endpoint, readings, test.canonical, test.endpoint, test.readings)
		}
		if r.Ambiguous() != (test.endpoint == "") {
			t.Errorf("%s: Ambiguous() = %v", test.path, r.Ambiguous())
		}
	}
}

// An encoded variant of any path of the catalogue has its endpoint among the readings.
func TestDisguisedPathsAreFound(t *testing.T) {
	t.Parallel()
	escapeAll := func(p string) string {
		var b strings.Builder
		for i := range len(p) {
			fmt.Fprintf(&b, "%%%02x", p[i])
		}
		return b.String()
	}
	disguises := map[string]func(string) string{
		"upper case":       strings.ToUpper,
		"final slash":      func(p string) string { return p + "/" },
		"dot segments":     func(p string) string { return strings.Replace(p, "/cgi-bin/", "/a/../cgi-bin/./", 1) },
		"parameters":       func(p string) string { return strings.ReplaceAll(p[1:], "/", ";a=b/") + ";c" },
		"backslashes":      func(p string) string { return strings.ReplaceAll(p, "/", `\`) },
		"escapes":          func(p string) string { return "/" + escapeAll(p[1:]) },
		"escapes twice":    func(p string) string { return "/" + strings.ReplaceAll(escapeAll(p[1:]), "%", "%25") },
		"fragment":         func(p string) string { return p + "%23/../../x" },
		"NUL":              func(p string) string { return p + "%00.html" },
		"blank at the end": func(p string) string { return p + "%09" },
	}
	for _, e := range wecom.Endpoints() {
		if e.Path == "/cgi-bin/batch/" { // the one documented path with a final slash, which is dropped
			continue
		}
		for name, disguise := range disguises {
			path := disguise(e.Path)
			if r := wecom.ReadPath([]byte(path)); !r.Ambiguous() || !slices.Contains(r.Readings, e) {
				t.Errorf("%s (%s): readings lack %s", path, name, e.Path)
			}
		}
	}
}

// A path of the catalogue is the common case.
func TestReadPathDoesNotAllocate(t *testing.T) {
	path := []byte(replyPath)
	if n := testing.AllocsPerRun(100, func() { _ = wecom.ReadPath(path) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

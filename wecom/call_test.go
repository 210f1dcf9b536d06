package wecom_test

import (
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

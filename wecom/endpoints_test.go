package wecom_test

import (
	"testing"

	"replygate/wecom"
)

func TestCatalogue(t *testing.T) {
	if n := len(wecom.Endpoints()); n != 955 {
		t.Errorf("%d endpoints, want 955", n)
	}
	for _, e := range wecom.Endpoints() {
		if r := wecom.ReadPath([]byte(e.Path)); r.Endpoint != e || r.Path != e.Path {
			t.Errorf("%s is read as %+v", e.Path, r)
		}
	}
	if n := len(wecom.Capabilities()); n != 43+1 {
		t.Errorf("%d capabilities", n)
	}
}

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An answer that is longer than any is not read to its end, and the error says so.
func TestTooLargeAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, maxAdminAnswer+1))
	}))
	defer server.Close()
	code, out, errs := cli(t, "config", "show", "--admin", server.URL)
	if code != exitBad || out != "" || !strings.Contains(errs, "the gateway's answer is larger than 16 MiB (--candidate FILE") {
		t.Errorf("exit %d %.200s %s", code, out, errs)
	}
}

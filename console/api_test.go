package console_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"replygate/admin"
	"replygate/internal/openapitest"
)

// The answers that these tests give for the API are as it gives them.
func TestAnswersAreOfTheAPI(t *testing.T) {
	t.Parallel()
	d, err := openapitest.Parse(admin.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../testdata/console/api/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	changes := []string{"/v1/explain", "/v1/reload", "/v1/replays", "/v1/windows/open", "/v1/windows/close"}
	for _, file := range files {
		path := "/" + strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".json"), "_", "/")
		if path == "/v1/rehearsal" {
			continue // it is the list and one account at once
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		method := "GET"
		if slices.Contains(changes, path) {
			method = "POST"
		}
		if err := d.CheckBody(method, path, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

package admin_test

import (
	"os"
	"testing"

	"replygate/internal/openapitest"
)

// TestMain compares every response with openapi.yaml.
func TestMain(m *testing.M) {
	compared := openapitest.Watch()
	os.Exit(compared(m.Run()))
}

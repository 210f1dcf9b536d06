package admin

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPIText []byte

// OpenAPI returns the description of the API, in OpenAPI 3.1 as JSON.
var OpenAPI = sync.OnceValue(func() []byte {
	var document any
	if err := yaml.Unmarshal(openAPIText, &document); err != nil {
		panic("BUG: openapi.yaml: " + err.Error())
	}
	text, err := json.Marshal(document)
	if err != nil {
		panic("BUG: openapi.yaml is not JSON: " + err.Error())
	}
	return text
})

// openAPI answers GET /v1/openapi.json.
func (a *Admin) openAPI(w http.ResponseWriter, r *http.Request) {
	if _, err := checkedValues(r); err != nil {
		failQuery(w, err)
		return
	}
	if document := json.RawMessage(OpenAPI()); !unchanged(w, r, document) {
		reply(w, http.StatusOK, document)
	}
}

// Observe, if it is set, wraps the handlers that Handler returns from then on. Tests set it to
// compare every response of their process with OpenAPI.
var Observe func(http.Handler) http.Handler

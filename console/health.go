package console

import (
	"net/http"

	"replygate/config"
)

// healthList is the answer of GET /v1/health.
type healthList struct {
	AsOf     instant      `json:"as_of"`
	Status   string       `json:"status"`
	Parts    []healthPart `json:"parts"`
	Gateways []struct {
		ID, Version, Config, Error string
		Since, Seen                instant
		Status                     string
	} `json:"gateways"`
	Partial []struct{ Gateway, Error string }
}

// healthPart is one part of the system.
type healthPart struct {
	Name   string  `json:"name"`
	Status string  `json:"status"` // ok, attention or failed
	Value  string  `json:"value"`
	Text   string  `json:"text"`
	Count  *int    `json:"count"`
	Since  instant `json:"since"`
	Doc    string  `json:"doc"`
}

// Icon is that of the part's status.
func (p healthPart) Icon() string {
	switch p.Status {
	case "failed":
		return "urgent"
	case "attention":
		return "attention"
	}
	return "ok"
}

// Class is that of the part's status.
func (p healthPart) Class() string { return iconClass[p.Icon()] }

func healthPage(q *request) {
	var view healthList
	if f := q.get("/v1/health", nil, &view); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "health", view)
}

// Why tells what is the matter with a part. The gateway words it in English; in another language
// the page has words of its own.
func (p page) Why(part healthPart) string {
	key := "health.why." + part.Name + "_" + part.Status
	if p.code != config.English && p.has(key) {
		return p.text(key)
	}
	return part.Text
}

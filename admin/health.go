package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The states of a part of a gateway, from good to bad.
const (
	StatusOK        = "ok"
	StatusAttention = "attention" // it works, and somebody should look at it
	StatusFailed    = "failed"
)

var statuses = []string{StatusOK, StatusAttention, StatusFailed}

// Health is the answer of GET /v1/health.
type Health struct {
	Status   string          `json:"status"` // that of the worst part
	Parts    []HealthPart    `json:"parts"`  // of this gateway
	Gateways []GatewayHealth `json:"gateways"`
	AsOf     string          `json:"as_of"`
}

// HealthPart is the state of one part of a gateway.
type HealthPart struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Text   string `json:"text"` // one sentence
	Code   string `json:"code"` // which sentence; with Values it can be said in any language
	Values Values `json:"values,omitempty"`
	Value  string `json:"value,omitempty"` // measured, with its unit
	Count  *int   `json:"count,omitempty"`
	Since  string `json:"since,omitempty"` // since when it is so
	Doc    string `json:"doc"`             // the page that tells what to do
}

// Values are what a sentence tells: numbers, times as RFC 3339, and lists of names.
type Values map[string]any

// GatewayHealth is one gateway as this one sees it.
type GatewayHealth struct {
	ID      string `json:"id"`     // the address of its admin listener
	Status  string `json:"status"` // failed if it does not answer
	Version string `json:"version"`
	Config  string `json:"config"` // hash of its configuration
	Since   string `json:"since"`  // when its process began
	Seen    string `json:"seen"`   // when it answered; "" if it did not
	Error   string `json:"error,omitempty"`
}

// Sources are what other parts of the gateway tell the overview and the health page. A nil function
// leaves its fields out.
type Sources struct {
	// Parts return parts of this gateway.
	Parts []func(context.Context) []HealthPart
	// Decisions counts the decisions of this gateway on the present day.
	Decisions func() DecisionCounts
	// Attention returns what else needs attention.
	Attention []func(context.Context) []Attention
}

// healthParts returns the parts of this gateway.
func (a *Admin) healthParts(ctx context.Context) []HealthPart {
	parts := []HealthPart{}
	for _, of := range a.Sources.Parts {
		parts = append(parts, of(ctx)...)
	}
	return parts
}

// worst returns the worst status of parts.
func worst(parts []HealthPart) string {
	at := 0
	for _, p := range parts {
		at = max(at, slices.Index(statuses, p.Status))
	}
	return statuses[at]
}

// partsHealth answers GET /v1/health.
func (a *Admin) partsHealth(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, fromPeer)
	if err != nil {
		failQuery(w, err)
		return
	}
	peer, err := isPeer(values)
	if err != nil {
		failQuery(w, err)
		return
	}
	h := a.readHealth(r.Context(), peer)
	seen := slices.Clone(h.Gateways)
	for i := range seen {
		seen[i].Seen = ""
	}
	if !unchanged(w, r, h.Status, h.Parts, seen) {
		reply(w, http.StatusOK, h)
	}
}

// readHealth tells how this gateway and the others are.
func (a *Admin) readHealth(ctx context.Context, peer bool) Health {
	var asked []peerAnswer[Health]
	if !peer {
		asked = askPeers[Health](ctx, a, "/v1/health", url.Values{})
	}
	h := Health{Parts: a.healthParts(ctx), AsOf: stamp(a.Now())}
	own := a.Gateway.Self()
	own.ID, own.Seen, own.Status = a.Gateway.Address(), h.AsOf, worst(h.Parts)
	h.Gateways = []GatewayHealth{own}
	for _, p := range asked {
		h.Gateways = append(h.Gateways, a.peerHealth(p))
	}
	if len(asked) > 0 {
		h.Parts = append(h.Parts, gatewaysPart(h.Gateways))
	}
	h.Status = worst(h.Parts)
	return h
}

// peerHealth is the row of another gateway.
func (a *Admin) peerHealth(p peerAnswer[Health]) GatewayHealth {
	if p.err == nil && len(p.value.Gateways) != 1 {
		p.err = errors.New("its answer cannot be read: is it a gateway of this version?")
	}
	if p.err != nil {
		return GatewayHealth{ID: p.gateway, Status: StatusFailed, Error: p.err.Error()}
	}
	row := p.value.Gateways[0]
	row.ID, row.Seen = p.gateway, stamp(a.Now())
	return row
}

// gatewaysPart tells whether the other gateways answer and are well, by the same configuration and
// version.
func gatewaysPart(all []GatewayHealth) HealthPart {
	part := HealthPart{Name: "gateways", Status: StatusOK, Count: new(int), Doc: "docs/scale.md"}
	*part.Count = len(all)
	silent, unwell, otherConfig, otherVersion := []string{}, []string{}, []string{}, []string{}
	for _, g := range all[1:] {
		switch {
		case g.Error != "":
			silent = append(silent, g.ID)
		case g.Status != StatusOK:
			unwell = append(unwell, g.ID)
		case g.Config != all[0].Config:
			otherConfig = append(otherConfig, g.ID)
		case g.Version != all[0].Version:
			otherVersion = append(otherVersion, g.ID)
		}
	}
	var found []string
	for _, kind := range []struct {
		who  []string
		what string
	}{{silent, "do not answer"}, {unwell, "need attention"}, {otherConfig, "have another configuration in force"}, {otherVersion, "run another version"}} {
		if len(kind.who) > 0 {
			found = append(found, fmt.Sprintf("%s %s", strings.Join(kind.who, ", "), kind.what))
		}
	}
	if len(found) == 0 {
		part.Code, part.Text = "gateways_alike", "all gateways answer and are well, by the same configuration"
		return part
	}
	part.Code, part.Text, part.Status = "gateways_differ", strings.Join(found, "; "), StatusAttention
	part.Values = Values{"silent": silent, "unwell": unwell, "other_config": otherConfig, "other_version": otherVersion}
	return part
}

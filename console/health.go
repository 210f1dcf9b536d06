package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// healthList is the answer of GET /v1/health.
type healthList struct {
	AsOf     instant      `json:"as_of"`
	Status   string       `json:"status"`
	Parts    []healthPart `json:"parts"`
	Gateways []struct {
		ID, Version, Config, Error string
		Since, Seen                instant
		Status                     healthStatus
	} `json:"gateways"`
	Partial []missing
}

// healthPart is one part of the system.
type healthPart struct {
	Name   string         `json:"name"`
	Status healthStatus   `json:"status"`
	Value  string         `json:"value"`
	Text   string         `json:"text"` // in English
	Code   string         `json:"code"`
	Values map[string]any `json:"values"`
	Count  *int           `json:"count"`
	Since  instant        `json:"since"`
	Doc    string         `json:"doc"`
}

// healthStatus is ok, attention or failed.
type healthStatus string

// Icon names the icon of a status.
func (s healthStatus) Icon() string {
	switch s {
	case "failed":
		return "urgent"
	case "attention":
		return "attention"
	}
	return "ok"
}

// Class is the CSS class of a status.
func (s healthStatus) Class() string { return iconClass[s.Icon()] }

func healthPage(q *request) {
	var view healthList
	if f := q.get("/v1/health", nil, &view); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "health", view)
}

// Why says in the language of the page how a part is. A sentence of a newer gateway is shown as the
// gateway words it.
func (p page) Why(part healthPart) string {
	key := "health.why." + part.Code
	if part.Code == "" || !p.has(key) {
		return part.Text
	}
	return p.text(key, p.healthValues(part)...)
}

// Measured is what was measured of a part.
func (p page) Measured(part healthPart) string {
	key := "health.value." + part.Name
	switch {
	case p.has(key) && len(part.Values) > 0:
		return p.text(key, p.healthValues(part)...)
	case part.Value != "":
		return part.Value
	case part.Count != nil:
		return number(*part.Count)
	}
	return p.text("health.status." + string(part.Status))
}

// Detail tells more about a part that works, "" if there is no more: of Redis what it says of
// itself.
func (p page) Detail(part healthPart) string {
	v := part.Values
	mode, told := v["mode"].(string)
	if part.Name != "redis" || !told {
		return ""
	}
	bytes := func(name string) float64 { n, _ := v[name].(float64); return n }
	facts := []string{p.text("health.redis.mode." + mode)}
	if role, _ := v["role"].(string); role != "" {
		facts = append(facts, p.text("health.redis.role."+role))
		memory := p.text("health.redis.memory", "used", bytesText(bytes("memory_bytes")), "max", bytesText(bytes("max_memory_bytes")))
		if bytes("max_memory_bytes") == 0 {
			memory = p.text("health.redis.unlimited", "used", bytesText(bytes("memory_bytes")))
		}
		key := "health.redis.appendonly.no"
		if on, _ := v["appendonly"].(bool); on {
			key = "health.redis.appendonly.yes"
		}
		facts = append(facts, memory, p.text("health.redis.policy", "policy", v["maxmemory_policy"]), p.text(key))
	}
	if n := int(bytes("primaries")); n > 1 {
		facts[0] = p.text("health.redis.primaries", "mode", facts[0], "n", n)
	}
	return strings.Join(facts, p.text("semicolon"))
}

// healthValues are the placeholders of a part's texts, as pairs.
func (p page) healthValues(part healthPart) (pairs []any) {
	for name, value := range part.Values {
		pairs = append(pairs, name, p.healthValue(name, value))
	}
	return pairs
}

// healthValue writes one value as its name tells what it is: a time, a size, a span or a list.
func (p page) healthValue(name string, value any) any {
	switch v := value.(type) {
	case float64:
		switch n := int(v); {
		case strings.HasSuffix(name, "bytes"):
			return bytesText(v)
		case strings.HasSuffix(name, "ms"):
			return strconv.Itoa(n) + " ms"
		default:
			return n
		}
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return p.minute(at)
		}
	case []any:
		words := make([]string, len(v))
		for i, word := range v {
			if words[i] = fmt.Sprint(word); name == "causes" {
				words[i] = p.text("health.cause." + words[i])
			}
		}
		if len(words) == 0 {
			return "–"
		}
		return strings.Join(words, p.text("semicolon"))
	}
	return fmt.Sprint(value)
}

// bytesText writes a number of bytes with the largest unit of which there is one.
func bytesText(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && n >= 1<<10 {
		n, units = n/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.3g %s", n, units[0])
}

package config_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"replygate/config"
)

// schema is the part of JSON Schema that ours uses.
type schema struct {
	Type                 any
	Pattern              string
	Enum                 []string
	AnyOf                []schema
	Items                *schema
	MinItems             int
	Properties           map[string]schema
	AdditionalProperties *bool
}

func readSchema(t *testing.T, words map[string][]string) schema {
	t.Helper()
	data, err := json.Marshal(config.Schema(words))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// at returns the schema of a dotted key; [] goes to the items of a list.
func (s schema) at(t *testing.T, key string) schema {
	t.Helper()
	for _, name := range strings.Split(key, ".") {
		name, list := strings.CutSuffix(name, "[]")
		p, ok := s.Properties[name]
		if !ok {
			t.Fatalf("%s: the schema lacks %s; it has %v", key, name, s.Properties)
		}
		if s = p; list {
			s = *s.Items
		}
	}
	return s
}

// accepts reports whether a string is valid.
func (s schema) accepts(text string) bool {
	if len(s.AnyOf) > 0 {
		return slices.ContainsFunc(s.AnyOf, func(one schema) bool { return one.accepts(text) })
	}
	if s.Enum != nil {
		return slices.Contains(s.Enum, text)
	}
	return strings.Contains(fmt.Sprint(s.Type), "string") && regexp.MustCompile(s.Pattern).MatchString(text)
}

func TestSchemaHasEveryKey(t *testing.T) {
	t.Parallel()
	s := readSchema(t, nil)
	for _, key := range config.Keys() {
		s.at(t, key)
	}
	for _, key := range []string{
		"accounts[].corp_id", "accounts[].contacts.total", "accounts[].contacts.counted_at",
		"accounts[].secrets.contact_file", "accounts[].secrets.kf[]", "accounts[].secrets.kf_file", "meter.warn[]", "accounts[].hosts[]",
		"callbacks[].receive_ids[]", "clients[].networks[]", "redis.addrs[]", "policy.rules[].match.capabilities[]",
		"policy.rules[].refusal.errcode", "redis.password_file", "callbacks[].token_file", "admin.read_key_file",
	} {
		s.at(t, key)
	}
	for section, absent := range map[string]string{
		"policy": "ruleset[]", "redis": "addrs_file", "listen": "where", "log": "level_file",
	} {
		if _, ok := s.at(t, section).Properties[absent]; ok {
			t.Errorf("%s has %s", section, absent)
		}
	}
}

func TestSchemaTypes(t *testing.T) {
	t.Parallel()
	s := readSchema(t, map[string][]string{"policy.mode": {"enforce", "shadow"}, "policy.rules.action": {"pass", "refuse"}})
	for key, want := range map[string]string{
		"log":                    "[object null]",
		"accounts":               "array",
		"accounts[]":             "[object null]",
		"accounts[].contacts":    "[object null]",
		"redis.addrs":            "array",
		"redis.tls":              "boolean",
		"redis.db":               "[integer string]",
		"window.length":          "string",
		"journal.max_bytes":      "string",
		"traces.sample":          "string",
		"traces.headers_file":    "string",
		"listen.api":             "[string number boolean]",
		"redis.password":         "[string number boolean]",
		"redis.password_file":    "string",
		"policy.rules[].percent": "[integer string]",
		"policy.rules[].from":    "string",
	} {
		if got := fmt.Sprint(s.at(t, key).Type); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	for _, key := range []string{"accounts", "redis.addrs", "policy.rules[].match.standings"} {
		if s.at(t, key).MinItems != 1 {
			t.Errorf("%s may be empty, which Parse refuses", key)
		}
	}
	for _, key := range []string{"log", "accounts[]", "policy.rules[].match"} {
		if more := s.at(t, key).AdditionalProperties; more == nil || *more {
			t.Errorf("%s may have unknown keys, which Parse refuses", key)
		}
	}
	both := s.at(t, "policy.ruleset").AnyOf
	if len(both) != 2 || both[0].Type == "array" || both[1].Type != "array" {
		t.Errorf("policy.ruleset is not a value or a list: %+v", both)
	}
	or := s.at(t, "accounts[].subscription").AnyOf
	if len(or) != 2 || fmt.Sprint(or[0].Enum) != "[none]" || or[1].Properties["expires_at"].Type != "string" {
		t.Errorf("accounts[].subscription is not none or a mapping: %+v", or)
	}
}

// An editor accepts what Parse accepts, and what the environment will fill in.
func TestSchemaValues(t *testing.T) {
	t.Parallel()
	s := readSchema(t, map[string][]string{"policy.mode": {"enforce", "shadow"}, "policy.rules.action": {"pass", "refuse"}})
	for _, c := range []struct {
		key, values string
		want        bool
	}{
		{"upstream.timeout", "30s 1.5s 1m30s 500ms 0 1h0m0.5s ${TIMEOUT} ${SECONDS}s", true},
		{"upstream.timeout", "30 -30s 2d s 1m30", false},
		{"journal.max_bytes", "64KB 1MB 2GB 70000B ${SIZE} ${SIZE}MB", true},
		{"journal.max_bytes", "64 64kb 1.5MB -1MB MB 1TB", false},
		{"meter.warn[]", "80% ${WARN}", true},
		{"meter.warn[]", "80 0.8 all%", false},
		{"redis.db", "${DB}", true},
		{"redis.db", "three", false},
		{"policy.mode", "enforce shadow ${MODE}", true},
		{"policy.mode", "shadwo Enforce off", false},
		{"policy.rules[].action", "pass refuse ${ACTION}", true},
		{"policy.rules[].action", "reject", false},
		{"policy.rules[].mode", "anything", true}, // without a list of words
		{"listen.api", "127.0.0.1:8080 nonsense", true},
	} {
		for _, value := range strings.Fields(c.values) {
			if got := s.at(t, c.key).accepts(value); got != c.want {
				t.Errorf("%s: %s: %v", c.key, value, got)
			}
		}
	}
	for _, d := range defaults {
		p := s.at(t, d.key)
		if fmt.Sprint(p.Type) == "string" && d.other != "" && !p.accepts(d.other) {
			t.Errorf("%s: %s is not accepted", d.key, d.other)
		}
	}
}

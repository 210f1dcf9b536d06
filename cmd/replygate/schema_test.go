package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"replygate/config"
)

// docs/replygate.schema.json is what check --schema prints.
func TestSchemaIsCheckedIn(t *testing.T) {
	code, out, errs := cli(t, "check", "--schema")
	if code != exitGood {
		t.Fatalf("exit %d: %s", code, errs)
	}
	there, err := os.ReadFile("../../docs/replygate.schema.json")
	if err != nil || string(there) != out {
		t.Errorf("write it anew: go run ./cmd/replygate check --schema > docs/replygate.schema.json (%v)", err)
	}
}

// The schema takes what the gateway takes, and finds what an editor can find.
func TestSchema(t *testing.T) {
	data, err := json.Marshal(configSchema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("replygate.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("replygate.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"accounts: [{ corp_id: ww1 }]\npolicy: { ruleset: [{ ruleset: off }] }\nredis: { password_file: x, db: \"${DB}\" }\nlog:\n"}
	pages, _ := filepath.Glob("../../docs/*.md")
	for _, page := range append(pages, "../../replygate.example.yaml") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(page, ".yaml") {
			good = append(good, string(text))
			continue
		}
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			good = append(good, block)
		}
	}
	for _, text := range good {
		if err := schema.Validate(plainYAML(t, text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, text := range []string{
		"lisen: {}", "accounts: { corp_id: ww1 }", "policy: { rules: [{ name: r, action: allow }] }", "window: { length: 48 }",
		"policy: { rules: [{ match: { capabilities: [mass_mesage] } }] }", "accounts: []", "redis: { mode: sentinal }", "limits: { judged_body: big }",
		"redis: { tls: yes please }", "window: { replies: five }",
	} {
		if schema.Validate(plainYAML(t, text)) == nil {
			t.Errorf("the schema takes %s", text)
		}
		if _, err := config.Parse("f", []byte(text)); err == nil && !strings.Contains(text, "rules") {
			t.Errorf("the gateway takes %s", text)
		}
	}
}

// plainYAML is a YAML text as JSON has it.
func plainYAML(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

package proxy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"replygate/account"
	"replygate/internal/recordtest"
	"replygate/wecom"
)

// schemaOf is what the tests read of a schema.
type schemaOf struct {
	Ref         string `json:"$ref"`
	Type        string
	Const       any
	Enum        []any
	AnyOf       []schemaOf
	Items       *schemaOf
	Description string
	Properties  map[string]schemaOf
	Defs        map[string]schemaOf `json:"$defs"`
}

func recordSchema(t *testing.T) (s schemaOf) {
	t.Helper()
	text, err := recordtest.Text()
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The words of the schema are those of the code.
func TestSchemaHasTheWordsOfTheCode(t *testing.T) {
	t.Parallel()
	found := func(file, pattern string) (words []string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			if list := regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(m[1], -1); strings.Contains(m[1], `"`) {
				for _, one := range list {
					words = append(words, one[1])
				}
				continue
			}
			words = append(words, m[1])
		}
		return words
	}
	var capabilities, standings []string
	for _, c := range wecom.Capabilities() {
		capabilities = append(capabilities, string(c))
	}
	for _, s := range account.Standings() {
		standings = append(standings, string(s))
	}
	connection := append(found("fault.go", `(?m)^\t+return "(\w+)"$`), timedOut)
	s := recordSchema(t)
	decision := s.Defs["decision"].Properties
	for name, c := range map[string]struct {
		schema schemaOf
		words  []string
	}{
		"reason":           {s.Defs["reason"], found("../policy/reason.go", `Reason = "(\w+)"`)},
		"wait":             {s.Defs["wait"], found("../policy/reason.go", `WaitOutcome = "(\w+)"`)},
		"capability":       {s.Defs["capability"], capabilities},
		"no capability":    {decision["capability"], append([]string{""}, capabilities...)},
		"standing":         {decision["standing"], append([]string{""}, standings...)},
		"attributed_by":    {decision["attributed_by"], found("../gate/attribute.go", `byNames = \[Ways\]string\{"none", "token", (.*)\}`)},
		"state":            {decision["windows"].Items.Properties["state"], found("../window/window.go", `stateNames = \[...\]string\{(.*)\}`)},
		"code_state":       {decision["code_state"], found("../window/code.go", `codeStateNames = \[...\]string\{(.*)\}`)},
		"code_kind":        {decision["code_kind"], found("../wecom/code.go", `CodeKind = "(\w+)"`)},
		"error_kind":       {s.Defs["error_kind"], append(found("fault.go", `(?m)^\t\w+ += "(\w+)"`), "unknown_token", callbackUnrecorded)},
		"connection_error": {s.Defs["connection_error"], connection},
		"callback_cause":   {s.Defs["callback_cause"], found("../wecom/verify.go", `Cause = "(\w+)"`)},
		"result":           {s.Defs["callback"].Properties["result"], found("callback.go", `(?m)^\tcallback\w+ += "(\w+)"`)},
		"method":           {s.Defs["method"], []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", method([]byte("x"))}},
	} {
		var words []string
		for _, w := range c.schema.Enum {
			words = append(words, w.(string))
		}
		slices.Sort(words)
		slices.Sort(c.words)
		if !slices.Equal(words, slices.Compact(c.words)) || len(words) < 5 {
			t.Errorf("%s: the schema has %q, the code %q", name, words, c.words)
		}
	}
}

// Every member has a description, and a row in the page of both languages.
func TestRecordsAreDocumented(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, page := range []string{"../docs/records.md", "../docs/zh/records.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, string(text))
	}
	s := recordSchema(t)
	var look func(at string, one schemaOf)
	look = func(at string, one schemaOf) {
		for name, p := range one.Properties {
			if p.Description == "" && s.Defs[strings.TrimPrefix(p.Ref, "#/$defs/")].Description == "" {
				t.Errorf("%s.%s has no description", at, name)
			}
			for i, page := range pages {
				if !strings.Contains(page, "`"+name+"`") {
					t.Errorf("page %d lacks %s of %s", i, name, at)
				}
			}
			look(at+"."+name, p)
			if p.Items != nil {
				look(at+"."+name, *p.Items)
			}
		}
	}
	for name, one := range s.Defs {
		look(name, one)
	}
}

// A record with an unknown member, a wrong type or a word of nobody's is found.
func TestSchemaFindsWrongRecords(t *testing.T) {
	t.Parallel()
	const access = `{"level":"info","time":"2026-11-22T10:00:00.000Z","msg":"request","method":"POST","path":"/cgi-bin/kf/send_msg","status":200,"duration_ms":1.5,"remote":"127.0.0.1"`
	const failed = `{"level":"info","time":"2026-11-22T10:00:00.000Z","msg":"decision","id":"54fda24f7aa4f3c3","at":"2026-11-22T10:00:00.000Z","corp_id":"","account":"","endpoint":"/x","verdict":"error","reason":"unknown_path","rule":"","forwarded":false,"errcode":990404,"remote":"::1"`
	for _, line := range []string{access + `}`, access + `,"client":"crm","verdict":"pass","decision_id":"54fda24f7aa4f3c3"}`, failed + `}`} {
		if err := recordtest.Check([]byte(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{
		access + `,"body":"hi"}`, access + `,"corp_id":7}`, access + `,"error_kind":"bad_luck"}`, access + `,"verdict":"pass"}`, access + `,"wait":"passed"}`,
		failed + `,"standing":"lapsed"}`, strings.Replace(access, "request", "answer", 1) + `}`, strings.Replace(access, "127.0.0.1", "127.0.0.1:80", 1) + `}`,
		strings.Replace(failed, `"error"`, `"refuse"`, 1) + `}`,
	} {
		if recordtest.Check([]byte(line)) == nil {
			t.Errorf("accepted: %s", line)
		}
	}
}

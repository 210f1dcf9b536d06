// Package recordtest checks in tests that the gateway's records are as docs/records.schema.json
// says.
//
// It does not check what is in a record, and no log line of the gateway's own.
package recordtest

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"replygate/record"
)

// Checker checks lines against the schema. It may be used concurrently, also by what outlives the
// test.
type Checker struct {
	mu    sync.Mutex
	wrong []string
	seen  map[uint64]bool // hashes of records that were right, without their digits
}

// New returns a Checker that fails the test at its end if a record was wrong.
func New(t testing.TB) *Checker {
	t.Helper()
	if _, err := schema(); err != nil {
		t.Fatal(err)
	}
	c := &Checker{seen: map[uint64]bool{}}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, w := range c.wrong[:min(len(c.wrong), 5)] {
			t.Error(w)
		}
	})
	return c
}

// Write checks the records among whole lines of JSON. It never fails.
func (c *Checker) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		switch record.Member(line[:min(len(line), 80)], "msg") {
		case "request", "callback", "decision":
			c.check(line)
		}
	}
	return len(lines), nil
}

// check checks a record, unless it differs from an earlier one only in the digits of its times,
// ids and numbers: a test may write a hundred thousand.
func (c *Checker) check(line []byte) {
	var rest []byte
	for _, b := range line {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			rest = append(rest, b)
		}
	}
	hash := maphash.Bytes(seed, rest)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[hash] {
		return
	}
	if err := Check(line); err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("a record is not as docs/records.schema.json says: %s%v", line, err))
		return
	}
	c.seen[hash] = true
}

var seed = maphash.MakeSeed()

// Check returns what of a record is not as the schema says.
func Check(line []byte) error {
	s, err := schema()
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := Text()
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("records.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("records.schema.json")
})

// Text returns the schema, from the root of the module above the test.
func Text() ([]byte, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return os.ReadFile(filepath.Join(dir, "docs", "records.schema.json"))
		}
	}
	return nil, fmt.Errorf("no go.mod above the test: %w", err)
}

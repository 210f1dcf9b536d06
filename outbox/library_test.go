package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// The library of Standard Webhooks accepts every signature, by either secret, and nothing that was
// changed or is old.
func TestSignatureAgainstTheLibrary(t *testing.T) {
	const dir = "../testdata/clients/standardwebhooks"
	node := storetest.Need(t, "node")
	storetest.NeedModule(t, dir, "standardwebhooks")
	type question struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
		accept  bool
	}
	var keys [][]byte
	for _, s := range []config.Secret{oldSigning, signing} {
		key, _ := config.SigningKey(s)
		keys = append(keys, key)
	}
	var asked []question
	for n := range 50 {
		body, id, at := fmt.Sprintf(`{"n":%d,"text":%q}`, n, strings.Repeat("消息 <&> ", n)), fmt.Sprintf("evt_%024x", n), time.Now()
		if n%7 == 6 {
			at = at.Add(-10 * time.Minute)
		}
		q := question{Secret: []string{signing, oldSigning}[n%2], Body: body, accept: n%7 != 6, Headers: map[string]string{
			"webhook-id": id, "webhook-timestamp": fmt.Sprint(at.Unix()), "webhook-signature": Sign(keys, id, at, []byte(body)),
		}}
		if n%5 == 4 {
			q.Body, q.accept = body+" ", false
		}
		asked = append(asked, q)
	}
	var in bytes.Buffer
	for _, q := range asked {
		if err := json.NewEncoder(&in).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(node, "oracle.js")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for n, q := range asked {
		var a struct{ Error string }
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if (a.Error == "") != q.accept {
			t.Errorf("%d: %q, want accepted: %t", n, a.Error, q.accept)
		}
	}
}

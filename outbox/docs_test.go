package outbox

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/events"
	"replygate/store/storetest"
)

// snippet returns the code of a language in docs/events.md.
func snippet(t *testing.T, language string) string {
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(page), "```"+language+"\n")
	code, _, closed := strings.Cut(code, "```\n")
	if !found || !closed {
		t.Fatalf("docs/events.md has no snippet in %s", language)
	}
	return code
}

// The receivers of the docs take what a webhook sends, by the old secret and by the new one, and
// nothing that is signed by another.
func TestReceiversOfTheDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a receiver is compiled")
	}
	const head = "package main\n\nimport (\n\t\"crypto/hmac\"\n\t\"crypto/sha256\"\n\t\"encoding/base64\"\n\t\"fmt\"\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n\t\"slices\"\n\t\"strconv\"\n\t\"strings\"\n\t\"time\"\n)\n\n" +
		"func main() { panic(http.ListenAndServe(\"127.0.0.1:9000\", http.HandlerFunc(receive))) }\n\n"
	for _, c := range []struct{ language, file, head string }{{"python", "receiver.py", ""}, {"go", "receiver.go", head}} {
		t.Run(c.language, func(t *testing.T) {
			address := storetest.FreeAddr(t)
			dir := t.TempDir()
			file := filepath.Join(dir, c.file)
			code := strings.ReplaceAll(c.head+snippet(t, c.language), "9000", address[strings.LastIndexByte(address, ':')+1:])
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			command := []string{"python3", file}
			if c.language == "go" {
				binary := filepath.Join(dir, "receiver")
				if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				command = []string{binary}
			} else {
				storetest.Need(t, "python3")
			}
			var printed strings.Builder
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "WEBHOOK_SECRET="+oldSigning), &printed, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := false
			end := func() {
				if !ended {
					ended = true
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			}
			t.Cleanup(end)
			r := embedded(t, to("http://"+address+"/"))
			r.await("the receiver", func() bool {
				conn, err := net.DialTimeout("tcp", address, time.Second)
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
			r.begins()
			id := r.logs(events.StoreUp, "", 1, map[string]string{"detail": "云"})[0]
			r.await("the delivery", func() bool { return r.Counted("crm").Delivered == 1 })
			wrong := r.Sinks().Webhooks[0]
			wrong.Secrets = []config.Secret{signing}
			if got := newWebhook(r.Outbox, wrong).send(t.Context(), "evt_1", []byte("{}")); got.status != http.StatusUnauthorized {
				t.Errorf("another secret: %+v", got)
			}
			r.advance(time.Hour) // the clock of the gateway is far ahead
			if got, err := r.Test(t.Context(), "crm"); err != nil || got.Status != http.StatusUnauthorized {
				t.Errorf("an old time: %+v %v", got, err)
			}
			end()
			if !strings.Contains(printed.String(), id) || strings.Count(printed.String(), "\n") != 1 {
				t.Errorf("it printed %q", printed.String())
			}
		})
	}
}

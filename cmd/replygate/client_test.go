package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

const nodeClient = "../../testdata/clients/node-easywechat"

// nodeBot is a bot on a WeCom client that nobody here wrote.
type nodeBot struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

// startNodeBot starts a bot that knows nothing of the gateway but the base URL.
func startNodeBot(t *testing.T, baseURL string) *nodeBot {
	t.Helper()
	node := storetest.Need(t, "node")
	storetest.NeedModule(t, nodeClient, "node-easywechat")
	cmd := exec.Command(node, "bot.js", baseURL, corpID, secret, t.TempDir())
	cmd.Dir, cmd.Stderr = nodeClient, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the bot: %v", err)
		}
	})
	return &nodeBot{t: t, in: in, out: bufio.NewScanner(out)}
}

// do has the bot make one call and returns what it read.
func (b *nodeBot) do(command map[string]any) map[string]any {
	b.t.Helper()
	if err := json.NewEncoder(b.in).Encode(command); err != nil {
		b.t.Fatal(err)
	}
	if !b.out.Scan() {
		b.t.Fatalf("the bot says nothing: %v", b.out.Err())
	}
	var answer map[string]any
	if err := json.Unmarshal(b.out.Bytes(), &answer); err != nil {
		b.t.Fatalf("the bot says %s", b.out.Bytes())
	}
	return answer
}

// wants makes a call and compares the errcode that the bot read.
func (b *nodeBot) wants(errcode int, command map[string]any) map[string]any {
	b.t.Helper()
	a := b.do(command)
	if got, ok := a["errcode"].(float64); !ok || int(got) != errcode {
		b.t.Fatalf("%v: the bot read %v, want errcode %d", command, a, errcode)
	}
	return a
}

// The story with node-easywechat: its base URL is the only change.
func TestNodeEasyWeChat(t *testing.T) {
	var expires time.Time
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Accounts[0].Subscription.ExpiresAt = c.Accounts[0].Subscription.ExpiresAt.Add(2 * time.Hour)
		expires = c.Accounts[0].Subscription.ExpiresAt
	})
	bot := startNodeBot(t, "http://"+r.gateway.api.Addr().String()+"/")
	mass := map[string]any{"do": "mass", "customer": wrote}
	reply := map[string]any{"do": "reply", "customer": wrote, "channel": channel, "text": "hello"}
	sync := map[string]any{"do": "sync", "channel": channel}
	upload := map[string]any{"do": "upload", "size": 300_000}

	bot.wants(0, mass)
	if a := bot.wants(0, upload); a["media_id"] == "" {
		t.Errorf("upload: %v", a)
	}
	if n := r.platform.Count("/cgi-bin/gettoken"); n != 1 {
		t.Errorf("%d tokens were fetched, the client's cache holds one", n)
	}

	r.clock.Set(expires)
	refused := bot.wants(48002, mass)
	if gate, ok := refused["replygate"].(map[string]any); !ok || gate["rule"] != "no-mass-messages" {
		t.Errorf("the refusal as the bot reads it: %v", refused)
	}
	bot.wants(95002, reply)
	r.platform.CustomerWrites(corpID, channel, wrote, "hello?")
	if page := bot.wants(0, sync); len(page["msg_list"].([]any)) != 1 {
		t.Errorf("sync: %v", page)
	}
	bot.wants(0, reply)
	bot.wants(0, upload)
	bot.wants(48002, mass)
	if n, m := r.platform.Count("/cgi-bin/kf/send_msg"), r.platform.Count("/cgi-bin/externalcontact/add_msg_template"); n != 1 || m != 1 {
		t.Errorf("%d replies and %d mass messages reached WeCom, want 1 and 1", n, m)
	}
}

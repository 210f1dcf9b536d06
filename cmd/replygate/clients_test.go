package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

const (
	clientsDir = "../../testdata/clients"
	getToken   = "/cgi-bin/gettoken"
	syncMsg    = "/cgi-bin/kf/sync_msg"
	details    = "/cgi-bin/externalcontact/get"
)

// clientBot is a bot on a WeCom client that nobody here wrote. All speak one protocol:
// testdata/clients/go/bot.
type clientBot struct {
	mu  sync.Mutex // one command at a time
	in  io.Writer
	out *bufio.Scanner
}

// startBot starts a bot that knows nothing of the gateway but the base URL.
func startBot(t *testing.T, client, baseURL string) *clientBot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // ends a bot that hangs
	cmd := botCommand(t, ctx, client)
	cmd.Args = append(cmd.Args, baseURL, corpID, secret, callbackToken, callbackKey, t.TempDir())
	cmd.Stderr = os.Stderr
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
		defer cancel()
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the bot: %v", err)
		}
	})
	return &clientBot{in: in, out: bufio.NewScanner(out)}
}

// botCommand is the program of a bot. One that neither npm nor the Go module proxy has is looked
// for in $REPLYGATE_BOTS, under the client's name.
func botCommand(t *testing.T, ctx context.Context, client string) *exec.Cmd {
	t.Helper()
	switch client {
	case "node-easywechat":
		dir := filepath.Join(clientsDir, client)
		node := storetest.Need(t, "node")
		storetest.NeedModule(t, dir, client)
		cmd := exec.CommandContext(ctx, node, "bot.js")
		cmd.Dir = dir
		return cmd
	case "silenceper":
		return exec.CommandContext(ctx, buildBot(t, client))
	}
	program := filepath.Join(os.Getenv("REPLYGATE_BOTS"), client)
	if os.Getenv("REPLYGATE_BOTS") == "" {
		t.Skip("tried by hand: put its bot into a folder and name that as REPLYGATE_BOTS")
	}
	return exec.CommandContext(ctx, program)
}

// buildBot builds a bot of the clients' own Go module.
func buildBot(t *testing.T, client string) string {
	t.Helper()
	dir, program := filepath.Join(clientsDir, "go"), filepath.Join(t.TempDir(), client)
	goTool := func(args ...string) ([]byte, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
		return cmd.CombinedOutput()
	}
	if out, err := goTool("list", "-deps", "./"+client); err != nil {
		missing := fmt.Sprintf("the modules of %s are missing: run go vet ./... there: %s", dir, out)
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	if out, err := goTool("build", "-o", program, "./"+client); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// seen is what the client's user sees of one call.
type seen struct {
	Errcode  *int
	Error    string
	Cannot   bool
	MediaID  string `json:"media_id"`
	Name     string
	Messages int
	Event    string
	Channel  string
	Reply    string
}

// code is the errcode as the table has it.
func (s seen) code() string {
	switch {
	case s.Cannot:
		return "none"
	case s.Errcode == nil:
		return "hidden"
	}
	return strconv.Itoa(*s.Errcode)
}

// ask has the bot do one thing and returns what its user sees.
func (b *clientBot) ask(command map[string]any) (seen, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s seen
	if err := json.NewEncoder(b.in).Encode(command); err != nil {
		return s, err
	}
	if !b.out.Scan() {
		return s, fmt.Errorf("the bot says nothing: %w", b.out.Err())
	}
	if err := json.Unmarshal(b.out.Bytes(), &s); err != nil {
		return s, fmt.Errorf("the bot says %s", b.out.Bytes())
	}
	return s, nil
}

// clientRig is one client's bot and its gateway, with a Redis that can be cut off and a callback
// that goes to the bot.
type clientRig struct {
	*rig
	client  string
	bot     *clientBot
	wire    *storetest.Wire
	expires time.Time
	read    chan seen // of the last callback
}

// newCorpRig is a gateway for two accounts, one of which is lapsed and has a host name and a
// channel of its own.
func newCorpRig(t *testing.T, client string) *clientRig {
	c := &clientRig{client: client}
	c.rig = newRig(t, storetest.Embedded(t), func(f *config.Config) {
		f.Accounts[0].Hosts, f.Accounts[0].Channels = []string{"localhost"}, []string{channel}
		f.Accounts = append(f.Accounts, config.Account{CorpID: "wwOther"})
	})
	return c
}

// starts starts the client's bot anew, with another base URL and a token that the gateway has never
// seen.
func (c *clientRig) starts(host, path string) {
	c.Helper()
	_, port, _ := net.SplitHostPort(c.gateway.api.Addr().String())
	c.bot = startBot(c.T, c.client, "http://"+net.JoinHostPort(host, port)+path)
	c.strange()
}

func newClientRig(t *testing.T, client string) *clientRig {
	c := &clientRig{client: client, read: make(chan seen, 1)}
	redis := storetest.Start(t).Config()
	c.wire = storetest.NewWire(t, redis.Addrs[0])
	redis.Addrs = []string{c.wire.Addr().String()}
	ready := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ready
		c.receive(w, r)
	}))
	t.Cleanup(receiver.Close)
	c.rig = newRig(t, redis, func(f *config.Config) {
		c.expires = f.Accounts[0].Subscription.ExpiresAt.Add(2 * time.Hour)
		f.Accounts[0].Subscription.ExpiresAt = c.expires
		f.Listen.Callback = "127.0.0.1:0"
		f.Callbacks = []config.Callback{{Path: "/callback/golden", Token: callbackToken, EncodingAESKey: callbackKey,
			ReceiveIDs: []string{corpID}, ForwardTo: receiver.URL + "/wecom"}}
	})
	c.bot = startBot(c.T, client, "http://"+c.gateway.api.Addr().String()+"/")
	close(ready)
	return c
}

// receive hands a callback to the bot, and answers what it answers.
func (c *clientRig) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	do := "callback"
	if r.Method == http.MethodGet {
		do = "verify"
	}
	s, err := c.bot.ask(map[string]any{"do": do, "query": r.URL.RawQuery, "body": string(body)})
	if err != nil || s.code() != "0" {
		http.Error(w, fmt.Sprint(s.Error, err), http.StatusForbidden)
		return
	}
	c.read <- s
	_, _ = io.WriteString(w, s.Reply)
}

// do has the bot do one thing.
func (c *clientRig) do(what string, with ...string) seen {
	c.Helper()
	command := map[string]any{"do": what, "channel": channel, "text": "hello", "size": 300_000}
	for i := 0; i+1 < len(with); i += 2 {
		command[with[i]] = with[i+1]
	}
	s, err := c.bot.ask(command)
	if err != nil {
		c.Fatal(err)
	}
	return s
}

// pull lets a customer write and the bot pull the messages.
func (c *clientRig) pull(customer string) seen {
	c.Helper()
	c.platform.CustomerWrites(corpID, channel, customer, "hello?")
	s := c.do("sync")
	if s.Errcode != nil && *s.Errcode == 0 && s.Messages == 0 {
		c.Errorf("no message was pulled: %+v", s)
	}
	return s
}

// strange gives the client a token that the gateway has never seen, as one that ran before the
// gateway came has.
func (c *clientRig) strange() {
	c.Helper()
	c.platform.Revoke(corpID)
	c.do("token", "token", c.platform.Issue(corpID))
}

// uploads uploads a file, and looks at it where it arrived.
func (c *clientRig) uploads() seen {
	c.Helper()
	s := c.do("upload")
	calls := c.platform.Calls()
	if last := calls[len(calls)-1]; s.MediaID == "" || last.Path != upload || last.Size < 300_000 {
		c.Errorf("%+v: %s of %d bytes", s, last.Path, last.Size)
	}
	return s
}

// callback sends the client a callback, or the check of its URL, through the gateway.
func (c *clientRig) callback(verify bool) seen {
	c.Helper()
	app := c.app("/callback/golden", corpID)
	plain := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><CreateTime>%d</CreateTime><MsgType><![CDATA[event]]></MsgType>"+
		"<Event><![CDATA[kf_msg_or_event]]></Event><Token><![CDATA[t]]></Token><OpenKfId><![CDATA[%s]]></OpenKfId></xml>", corpID, c.clock.Now().Unix(), channel)
	const echo = "1616140317555161061"
	deliver := func() (wecomtest.Delivered, error) { return app.Deliver(c.clock.Now(), plain) }
	if verify {
		deliver = func() (wecomtest.Delivered, error) { return app.Verify(c.clock.Now(), echo) }
	}
	d, err := deliver()
	if err != nil || d.Status != http.StatusOK {
		return seen{Error: fmt.Sprintf("HTTP %d %s, %v", d.Status, d.Body, err)}
	}
	s := <-c.read
	right := s.Reply == echo
	if !verify {
		right = s.Event == "kf_msg_or_event" && (s.Channel == channel || s.Channel == "") // not all show it
	}
	if !right || string(d.Body) != s.Reply {
		return seen{Error: fmt.Sprintf("the bot read %+v, WeCom got %s", s, d.Body)}
	}
	return seen{Errcode: new(int)}
}

// clientStep is a step of the table. path is the call that the table counts at WeCom.
type clientStep struct {
	name, path string
	do         func(*clientRig) seen
}

// clientSteps are the steps with one account, in order: each goes on from the one before.
var clientSteps = []clientStep{
	{"gettoken", getToken, func(c *clientRig) seen { return c.do("gettoken") }},
	{"mass send", massMsg, func(c *clientRig) seen { return c.do("mass", "customer", wrote) }},
	{"customer details", details, func(c *clientRig) seen { return c.do("details", "customer", wrote) }},
	{"media upload", upload, (*clientRig).uploads},
	{"expired token", massMsg, func(c *clientRig) seen {
		c.platform.Revoke(corpID)
		return c.do("mass", "customer", wrote)
	}},
	{"expired token, cache cleared", massMsg, func(c *clientRig) seen {
		c.do("forget")
		return c.do("mass", "customer", wrote)
	}},
	{"invalid token", massMsg, func(c *clientRig) seen {
		c.platform.Invalidate(corpID)
		return c.do("mass", "customer", wrote)
	}},
	{"invalid token, cache cleared", massMsg, func(c *clientRig) seen {
		c.do("forget")
		return c.do("mass", "customer", wrote)
	}},
	{"old token", massMsg, func(c *clientRig) seen {
		c.strange()
		return c.do("mass", "customer", wrote)
	}},
	{"pull", syncMsg, func(c *clientRig) seen { return c.pull(wrote) }},
	{"reply", sendMsg, func(c *clientRig) seen { return c.do("reply", "customer", wrote) }},
	{"callback URL check", "", func(c *clientRig) seen { return c.callback(true) }},
	{"callback", "", func(c *clientRig) seen { return c.callback(false) }},

	{"lapsed: mass send", massMsg, func(c *clientRig) seen {
		c.clock.Set(c.expires)
		return c.do("mass", "customer", wrote)
	}},
	{"lapsed: customer details", details, func(c *clientRig) seen { return c.do("details", "customer", wrote) }},
	{"lapsed: media upload", upload, (*clientRig).uploads},
	{"lapsed: reply, no window", sendMsg, func(c *clientRig) seen { return c.do("reply", "customer", "wmNeverWrote") }},
	{"lapsed: pull", syncMsg, func(c *clientRig) seen { return c.pull("wmLapsed") }},
	{"lapsed: reply", sendMsg, func(c *clientRig) seen { return c.do("reply", "customer", "wmLapsed") }},
	{"lapsed: business card", sendMsg, func(c *clientRig) seen { return c.do("card", "customer", "wmLapsed") }},
	{"lapsed: sixth reply", sendMsg, func(c *clientRig) seen {
		for range 4 {
			if s := c.do("reply", "customer", "wmLapsed"); s.Error != "" {
				return s
			}
		}
		return c.do("reply", "customer", "wmLapsed")
	}},
	{"lapsed: Redis away for 2 s", sendMsg, func(c *clientRig) seen {
		c.pull("wmAway")
		c.wire.Cut()
		back := time.AfterFunc(2*time.Second, c.wire.Heal)
		s := c.do("reply", "customer", "wmAway")
		if back.Stop() {
			c.wire.Heal()
			if s.code() == "0" {
				s.Error = "sent before Redis was back"
			}
		}
		return s
	}},
	{"lapsed: old token", sendMsg, func(c *clientRig) seen {
		c.pull("wmOld")
		c.strange()
		return c.do("reply", "customer", "wmOld")
	}},
	{"lapsed: expired token", sendMsg, func(c *clientRig) seen {
		c.do("forget")
		c.pull("wmExpired")
		c.platform.Revoke(corpID)
		return c.do("reply", "customer", "wmExpired")
	}},
}

// corpSteps are the steps with two accounts. The tokens are old ones: the gateway must find the
// corp by other means.
var corpSteps = []clientStep{
	{"two accounts: old token, mass send", massMsg, func(c *clientRig) seen {
		c.starts("127.0.0.1", "/")
		return c.do("mass", "customer", wrote)
	}},
	{"two accounts: the third time", massMsg, func(c *clientRig) seen {
		c.do("mass", "customer", wrote)
		return c.do("mass", "customer", wrote)
	}},
	{"two accounts: a known channel", sendMsg, func(c *clientRig) seen {
		c.writes(wrote) // pulled by another bot
		c.strange()
		return c.do("reply", "customer", wrote)
	}},
	{"two accounts: the corp in the path", massMsg, func(c *clientRig) seen {
		c.starts("127.0.0.1", "/corp/"+corpID+"/")
		return c.do("mass", "customer", wrote)
	}},
	{"two accounts: a host of its own", massMsg, func(c *clientRig) seen {
		c.starts("localhost", "/")
		return c.do("mass", "customer", wrote)
	}},
}

// clientRow is a row of testdata/clients/table.tsv: what one client's user sees of one step, and
// how often it reached WeCom.
type clientRow struct{ client, step, errcode, reached, says string }

func clientTable(t *testing.T) (all []clientRow) {
	t.Helper()
	for _, row := range lines(t, "clients/table.tsv", 5) {
		all = append(all, clientRow{row[0], row[1], row[2], row[3], row[4]})
	}
	return all
}

// clients are the clients of a table, in order.
func clients(rows []clientRow) (names []string) {
	for i, row := range rows {
		if i == 0 || rows[i-1].client != row.client {
			names = append(names, row.client)
		}
	}
	return names
}

// Every client goes through every step with nothing changed but its base URL.
func TestRealClients(t *testing.T) {
	table := clientTable(t)
	for _, client := range clients(table) {
		t.Run(client, func(t *testing.T) {
			var rows []clientRow
			for _, row := range table {
				if row.client == client {
					rows = append(rows, row)
				}
			}
			if len(rows) != len(clientSteps)+len(corpSteps) {
				t.Fatalf("%d rows for %d steps", len(rows), len(clientSteps)+len(corpSteps))
			}
			newClientRig(t, client).walk(clientSteps, rows)
			newCorpRig(t, client).walk(corpSteps, rows[len(clientSteps):])
		})
	}
}

// walk has a client take some steps, and compares what its user sees with the rows.
func (c *clientRig) walk(steps []clientStep, rows []clientRow) {
	c.Helper()
	for i, step := range steps {
		if rows[i].step != step.name {
			c.Fatalf("the row is for %q, the step is %q", rows[i].step, step.name)
		}
		before := c.platform.Count(step.path)
		s := step.do(c)
		got := clientRow{c.client, step.name, s.code(), strconv.Itoa(c.platform.Count(step.path) - before), s.Error}
		if !rows[i].holds(got) {
			c.Errorf("got  %+v\nwant %+v", got, rows[i])
		}
	}
}

// holds tells whether a row is as the table has it; the text of an error must contain what the
// table says.
func (want clientRow) holds(got clientRow) bool {
	says := want.says == "-" && got.says == "" || want.says != "-" && strings.Contains(got.says, want.says)
	got.says = want.says
	return got == want && says
}

// cell is a row as docs/clients.md shows it.
func (r clientRow) cell() string {
	switch {
	case r.errcode == "none":
		return "no such call"
	case r.errcode == "hidden":
		return "text alone"
	case r.errcode == "0" && r.reached == "2":
		return "refreshes, works"
	case r.errcode == "0":
		return "works"
	case r.reached == "0" && !strings.Contains(r.says, "rule="):
		return r.errcode + ", text lost"
	}
	return r.errcode
}

// pageTable returns the rows of the table of docs/clients.md whose first heading is given, headings
// first.
func pageTable(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n| "+heading+" |")
	if !found {
		t.Fatalf("docs/clients.md has no table of %s", heading)
	}
	for line := range strings.SplitSeq("| "+heading+" |"+rest, "\n") {
		if !strings.HasPrefix(line, "|") {
			return rows
		}
		if !strings.HasPrefix(line, "|---") {
			rows = append(rows, strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | "))
		}
	}
	return rows
}

// docs/clients.md shows what is tested, and calls tested what is.
func TestClientsPage(t *testing.T) {
	table := clientTable(t)
	page := pageTable(t, "step")
	for i, client := range clients(table) {
		if head := page[0][i+1]; !strings.Contains(strings.ToLower(head), client) || !strings.Contains(head, clientVersion(t, client)) {
			t.Errorf("column %d is headed %q, want %s %s", i+1, head, client, clientVersion(t, client))
		}
		known := "tried once"
		if clientVersion(t, client) != "" {
			known = "CI"
		}
		want := []string{known}
		for _, row := range table {
			if row.client == client {
				want = append(want, row.cell())
			}
		}
		var got []string
		for _, row := range page[1:] {
			got = append(got, row[i+1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", client, got, want)
		}
	}
	for i, step := range slices.Concat(clientSteps, corpSteps) {
		if page[i+2][0] != step.name {
			t.Errorf("row %d is %q, want %q", i+2, page[i+2][0], step.name)
		}
	}
	var programs []string
	types := map[string][]string{}
	for _, row := range lines(t, "clients/raw.tsv", 4) {
		sent := "none"
		if lines := contentTypes(unquoted(t, row[2])); len(lines) > 0 {
			sent = "`" + lines[0] + "`"
		}
		if row[1] != "by hand" && !slices.Contains(programs, row[1]) {
			programs = append(programs, row[1])
		}
		if !slices.Contains(types[row[1]], sent) {
			types[row[1]] = append(types[row[1]], sent)
		}
	}
	for _, row := range slices.Concat(pageTable(t, "client without refresh")[1:], pageTable(t, "client refused")[1:]) {
		client := strings.Fields(strings.Split(row[0], "/")[0])[0]
		if ci := row[len(row)-1] == "CI"; ci != (clientVersion(t, client) != "") {
			t.Errorf("%q: run by CI: %v", row, !ci)
		}
	}
	senders := pageTable(t, "program")[1:]
	if len(senders) != len(programs) {
		t.Fatalf("%d programs on the page, %d in the table", len(senders), len(programs))
	}
	for i, program := range programs {
		if want := []string{program, strings.Join(types[program], ", "), "CI"}; !slices.Equal(senders[i], want) {
			t.Errorf("got  %q\nwant %q", senders[i], want)
		}
	}
}

// clientVersion is the version of a client that the tests install; "" for one that they cannot
// have.
func clientVersion(t *testing.T, client string) string {
	t.Helper()
	pins := map[string]string{"node-easywechat": "node-easywechat/package.json", "silenceper": "go/go.mod"}
	if pins[client] == "" {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(clientsDir, pins[client]))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(client + `[^\n0-9]*?(?:/v\d+)? ?"?(v?\d+\.\d+\.\d+)`).FindStringSubmatch(string(data))
	if m == nil {
		t.Fatalf("%s does not pin %s", pins[client], client)
	}
	return m[1]
}

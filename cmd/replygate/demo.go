package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/wecom/wecomtest"
)

// demoCommand returns the command that plays the product's story.
func demoCommand(s streams) *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Gateway, simulated WeCom and Redis in one, nothing to install",
		Long: `Runs a gateway with a simulated WeCom and an embedded Redis, plays what happens when a
subscription ends, and prints each call with its verdict. Then it stays up: the console, whose
address it prints first, shows ten more companies whose customers and bots go on, and you can make
calls of your own with curl.`,
		Example: "  replygate demo\n  replygate demo --once",
		Args:    takes(0, 0),
		RunE:    func(c *cobra.Command, _ []string) error { return demo(c.Context(), once, s) },
	}
	c.Flags().BoolVar(&once, "once", false, "exit after the story")
	return c
}

// demo plays the product's story on a simulated WeCom, then stays up to be curled.
func demo(ctx context.Context, once bool, s streams) error {
	dir, err := os.MkdirTemp("", "replygate-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := openDemo(ctx, dir, once, s)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 2)
	go func() { served <- d.gateway.serve(ctx) }()
	go func() { served <- serveHTTP(ctx, d.wecom, d.platform.Control(d.clock)) }()
	d.say("The console: %s", d.console())
	told := d.story(ctx)
	if told == nil {
		told = d.settle(ctx)
	}
	if told == nil {
		told = d.lookAtConsole(ctx)
	}
	if told == nil && !once {
		d.clock.Run()
		d.sayWhatToCurl()
		d.live(ctx)
	}
	stop()
	return errors.Join(told, <-served, <-served)
}

// demonstration is the running demo.
type demonstration struct {
	out       io.Writer
	clock     *wecomtest.Clock
	platform  *wecomtest.Platform
	wecom     net.Listener
	gateway   *gateway
	bot       bot
	expires   time.Time // of the account's subscription
	companies []*company
}

// openDemo builds the demo on its usual ports, or on free ones if they are taken or the demo is not
// to be called from outside.
func openDemo(ctx context.Context, dir string, anyPort bool, s streams) (*demonstration, error) {
	d := &demonstration{out: s.out, clock: wecomtest.NewClock()}
	start := d.clock.Now().Truncate(time.Second)
	d.clock.Set(start)
	d.expires = start.Add(time.Hour)
	d.platform = wecomtest.New(d.clock.Now)
	d.platform.AddCorp(simCorp, simSecret, simChannel)
	d.companies = demoCompanies()
	for _, c := range d.companies {
		d.platform.AddCorp(c.ID, simSecret, c.channel(), c.secondChannel())
	}
	address := func(port string) string {
		if ln, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil && !anyPort {
			ln.Close()
			return "127.0.0.1:" + port
		} else if err == nil {
			ln.Close()
		}
		return "127.0.0.1:0"
	}
	var err error
	if d.wecom, err = net.Listen("tcp", address("8090")); err != nil {
		return nil, err
	}
	set, err := demoSettings{
		API: address("8080"), Admin: address("9090"), Redis: address("6379"), WeCom: d.wecom.Addr().String(), Dir: dir,
		Corp: simCorp, Expires: d.expires, Companies: d.companies, ends: d.expires.Add(48 * time.Hour),
	}.load()
	if err != nil {
		return nil, err
	}
	if d.gateway, err = build(ctx, set, d.clock.Now, s); err != nil {
		return nil, err
	}
	// An operator says that records reach back three days, so that a missing window means
	// something.
	since := start.Add(-72 * time.Hour).UnixMilli()
	if err := d.gateway.store.Set(ctx, set.Config.Redis.Prefix+"since", since, 0).Err(); err != nil {
		return nil, err
	}
	d.bot = bot{base: "http://" + d.gateway.api.Addr().String(), corp: simCorp}
	for _, c := range d.companies {
		c.kf = bot{base: d.bot.base, corp: c.ID, client: "kf-bot"}
		c.crm = bot{base: d.bot.base, corp: c.ID, client: "crm"}
	}
	return d, nil
}

// six are the calls that a lapsed account must not make.
var six = []step{
	{"mass send", "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["wmDemoCustomer"],"sender":"zhangsan","text":{"content":"sale!"}}`},
	{"group call", "/cgi-bin/externalcontact/groupchat/list", `{"limit":10}`},
	{"customer detail", "/cgi-bin/externalcontact/get?external_userid=wmDemoCustomer", ""},
	{"add a customer", "/cgi-bin/externalcontact/add_contact_way", `{"type":1,"scene":2,"user":["zhangsan"]}`},
	{"moments", "/cgi-bin/externalcontact/add_moment_task", `{"text":{"content":"look!"}}`},
	{"succession", "/cgi-bin/externalcontact/transfer_customer", `{"handover_userid":"zhangsan","takeover_userid":"lisi","external_userid":["wmDemoCustomer"]}`},
}

// step is one call of the story.
type step struct{ name, target, body string }

const (
	pathSync  = "/cgi-bin/kf/sync_msg"
	pathReply = "/cgi-bin/kf/send_msg"
)

func reply(customer string) step { return replyOn(simChannel, customer) }

func replyOn(channel, customer string) step {
	return step{"reply to " + customer, pathReply,
		fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text","text":{"content":"We are on it."}}`, customer, channel)}
}

// story plays the product's story and returns an error at the first call that ends otherwise than
// told.
func (d *demonstration) story(ctx context.Context) error {
	d.say("\nThe account %s is subscribed until %s. Its bot calls the gateway instead of WeCom.", simCorp, localTime(d.expires))
	if err := d.expectAll(ctx, six, "passed"); err != nil {
		return err
	}
	d.clock.Set(d.expires)
	d.say("\nThe subscription ends, and nobody renews it.")
	if err := d.expectAll(ctx, six, "refuse"); err != nil {
		return err
	}
	if err := d.expect(ctx, reply(simCustomer), "refuse"); err != nil {
		return err
	}
	wrote := d.clock.Now()
	if err := d.customerWrites(ctx); err != nil {
		return err
	}
	if err := d.expect(ctx, reply(simCustomer), "pass"); err != nil {
		return err
	}
	if err := d.expect(ctx, reply("wmSomebodyElse"), "refuse"); err != nil {
		return err
	}
	for _, edge := range []struct {
		after time.Duration
		want  string
	}{{48*time.Hour - time.Millisecond, "pass"}, {48 * time.Hour, "refuse"}} {
		d.clock.Set(wrote.Add(edge.after))
		d.say("\nIt is %s after the customer's message.", clockText(edge.after))
		if err := d.expect(ctx, reply(simCustomer), edge.want); err != nil {
			return err
		}
	}
	if err := d.customerWrites(ctx); err != nil {
		return err
	}
	return d.expect(ctx, reply(simCustomer), "pass")
}

func (d *demonstration) customerWrites(ctx context.Context) error {
	d.say("\nThe customer writes, and the bot pulls the message with kf/sync_msg.")
	d.platform.CustomerWrites(simCorp, simChannel, simCustomer, "hello?")
	return d.expect(ctx, step{"pull messages", pathSync, fmt.Sprintf(`{"open_kfid":%q}`, simChannel)}, "passed")
}

func (d *demonstration) expectAll(ctx context.Context, steps []step, want string) error {
	for _, s := range steps {
		if err := d.expect(ctx, s, want); err != nil {
			return err
		}
	}
	return nil
}

// expect makes one call, prints what became of it, and compares. "passed" is a call that was not
// judged.
func (d *demonstration) expect(ctx context.Context, s step, want string) error {
	before := d.taken(s)
	a, err := d.bot.call(ctx, s.target, s.body, nil)
	if err != nil {
		return err
	}
	taken := d.taken(s) - before
	d.print(s, a)
	if a.verdict != want || (taken == 1) != (want != "refuse") || (a.errcode == 0) != (want != "refuse") {
		return fmt.Errorf("demo: %s: verdict %s, errcode %d, taken by WeCom %d times; the story says %s", s.name, a.verdict, a.errcode, taken, want)
	}
	return nil
}

// taken counts the calls of a step that WeCom took; one with a token that had run out is not.
func (d *demonstration) taken(s step) (n int) {
	path, _, _ := strings.Cut(s.target, "?")
	for _, c := range d.platform.Calls() {
		if c.Path == path && c.Code == 0 {
			n++
		}
	}
	return n
}

func (d *demonstration) print(s step, a botAnswer) {
	line := fmt.Sprintf("  %-28s %-7s", s.name, a.verdict)
	if a.reason != "" {
		line += fmt.Sprintf(" %-16s", a.reason)
	}
	if closes, err := time.Parse(time.RFC3339, a.closes); err == nil && a.verdict == "pass" {
		line += fmt.Sprintf(" window open for %s, %s replies left", clockText(max(closes.Sub(d.clock.Now()), 0)), a.left)
	}
	if a.errcode != 0 {
		line += fmt.Sprintf(" errcode %d: %s", a.errcode, a.errmsg)
	}
	d.say("%s", strings.TrimRight(line, " "))
}

func (d *demonstration) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// clockText writes a duration as +47:59:59.999.
func clockText(t time.Duration) string {
	return fmt.Sprintf("%d:%02d:%02d.%03d", t/time.Hour, t/time.Minute%60, t/time.Second%60, t/time.Millisecond%1000)
}

// console is the address of the console.
func (d *demonstration) console() string {
	return "http://" + d.gateway.control.Addr().String() + "/console/"
}

// lookAtConsole fetches the list of accounts, and checks that each one is on it.
func (d *demonstration) lookAtConsole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.console()+"accounts", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("demo: the console answers %s: %w", resp.Status, err)
	}
	for _, a := range d.gateway.Config.Accounts {
		if !bytes.Contains(page, []byte(a.Name)) {
			return fmt.Errorf("demo: the console does not show %s", a.Name)
		}
	}
	d.say("\nThe console shows %d accounts: %s", len(d.gateway.Config.Accounts), d.console())
	return nil
}

// sayWhatToCurl tells a person how to go on by hand.
func (d *demonstration) sayWhatToCurl() {
	api, ctl := d.gateway.api.Addr().String(), d.gateway.control.Addr().String()
	d.say("\nThe demo stays up until Ctrl-C; its clock has moved to %s. Play on:", localTime(d.clock.Now()))
	d.say("\n  JSON='Content-Type: application/json'")
	d.say("  # a token, through the gateway")
	d.say(`  TOKEN=$(curl -s 'http://%s/cgi-bin/gettoken?corpid=%s&corpsecret=%s' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`, api, simCorp, simSecret)
	d.say("  # the customer writes, the bot pulls, the bot replies")
	d.say("  %s", curlWrites(d.wecom.Addr().String(), simCorp, simChannel))
	d.say(`  curl -s -H "$JSON" "http://%s/cgi-bin/kf/sync_msg?access_token=$TOKEN" -d '{"open_kfid":"%s"}'`, api, simChannel)
	d.say(`  curl -si -H "$JSON" "http://%s/cgi-bin/kf/send_msg?access_token=$TOKEN" -d '%s'`, api, reply(simCustomer).body)
	d.say("  # what the account may no longer do")
	d.say(`  curl -si -H "$JSON" "http://%s%s?access_token=$TOKEN" -d '%s'`, api, six[0].target, six[0].body)
	d.say("  # the clock, the windows, the metrics")
	d.say(`  curl -s http://%s/simulator/advance -d '{"by":"47h"}'`, d.wecom.Addr())
	d.say("  curl -s http://%s/v1/windows", ctl)
	d.say("  curl -s http://%s/metrics", ctl)
	if d.gateway.store.Embedded.Addr() != "" {
		host, port, _ := net.SplitHostPort(d.gateway.store.Embedded.Addr())
		d.say("  redis-cli -h %s -p %s --scan", host, port)
	}
}

// bot is the demo's bot: it fetches a token, and another when told that it has expired.
type bot struct {
	base   string
	corp   string
	client string // User-Agent
	token  string
}

// botAnswer is what the bot reads of an answer.
type botAnswer struct {
	errcode                       int
	errmsg                        string
	verdict, reason, closes, left string
}

// call makes one call with a token. It decodes the answer into into, unless that is nil.
func (b *bot) call(ctx context.Context, target, body string, into any) (botAnswer, error) {
	if into == nil {
		into = &struct{}{}
	}
	for range 3 {
		if b.token == "" {
			if err := b.fetchToken(ctx); err != nil {
				return botAnswer{}, err
			}
		}
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		a, err := b.do(ctx, target+separator+"access_token="+b.token, body, into)
		if err != nil || a.errcode != 42001 {
			return a, err
		}
		b.token = "" // expired: fetch another
	}
	return botAnswer{}, errors.New("demo: the bot's tokens expire at once")
}

func (b *bot) fetchToken(ctx context.Context) error {
	var t struct {
		AccessToken string `json:"access_token"`
	}
	q := url.Values{"corpid": {b.corp}, "corpsecret": {simSecret}}
	if _, err := b.do(ctx, "/cgi-bin/gettoken?"+q.Encode(), "", &t); err != nil {
		return err
	}
	b.token = t.AccessToken
	return nil
}

func (b *bot) do(ctx context.Context, target, body string, into any) (botAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+target, bytes.NewBufferString(body))
	if err != nil {
		return botAnswer{}, err
	}
	req.Header.Set("User-Agent", b.client)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return botAnswer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return botAnswer{}, err
	}
	var answer struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
	}
	if err := errors.Join(json.Unmarshal(data, &answer), json.Unmarshal(data, into)); err != nil {
		return botAnswer{}, fmt.Errorf("demo: an answer is no JSON: %w", err)
	}
	a := botAnswer{errcode: answer.Errcode, errmsg: answer.Errmsg, verdict: "passed"}
	if v := resp.Header.Get("Replygate-Verdict"); v != "" {
		a.verdict, a.reason = v, resp.Header.Get("Replygate-Reason")
		a.closes, a.left = resp.Header.Get("Replygate-Window-Closes"), resp.Header.Get("Replygate-Replies-Left")
	}
	return a, nil
}

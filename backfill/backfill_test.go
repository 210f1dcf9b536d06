package backfill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/backfill"
	"replygate/wecom"
)

// platform answers as WeCom does: by path, and for kf/sync_msg by channel and cursor.
type platform struct {
	tokens   int
	channels []string
	pages    map[string][]string // by channel, then by cursor "", "1", "2" …
	refuse   []string            // answers to the next pages, before any page
	fail     error               // of the next call
	log      []string
}

func (p *platform) Call(_ context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	p.log = append(p.log, strings.TrimSpace(path[strings.LastIndexByte(path, '/')+1:]+" "+string(body)))
	if err := p.fail; err != nil {
		p.fail = nil
		return 0, nil, err
	}
	answer := ""
	switch {
	case path == wecom.PathGetToken && query.Get("corpid") == "ww1" && query.Get("corpsecret") == "s3cret":
		p.tokens++
		answer = fmt.Sprintf(`{"errcode":0,"access_token":"T%d","expires_in":7200}`, p.tokens)
	case path == wecom.PathGetToken:
		answer = `{"errcode":40001,"errmsg":"invalid credential"}`
	case query.Get("access_token") != fmt.Sprintf("T%d", p.tokens):
		answer = `{"errcode":42001,"errmsg":"access_token expired"}`
	case strings.HasSuffix(path, "/kf/account/list"):
		answer = p.list(body)
	case len(p.refuse) > 0:
		answer, p.refuse = p.refuse[0], p.refuse[1:]
	default:
		answer = p.page(body)
	}
	if status, rest, ok := strings.Cut(answer, " HTTP "); ok {
		return len(status), []byte(rest), nil
	}
	return http.StatusOK, []byte(answer), nil
}

func (p *platform) list(body []byte) string {
	var ask struct{ Offset, Limit int }
	if err := json.Unmarshal(body, &ask); err != nil || ask.Limit < 1 || ask.Limit > 100 {
		return `{"errcode":40058,"errmsg":"invalid limit"}`
	}
	var some []string
	for _, c := range p.channels[min(ask.Offset, len(p.channels)):min(ask.Offset+ask.Limit, len(p.channels))] {
		some = append(some, `{"open_kfid":"`+c+`"}`)
	}
	return `{"errcode":0,"account_list":[` + strings.Join(some, ",") + `]}`
}

func (p *platform) page(body []byte) string {
	var ask struct {
		Cursor  string `json:"cursor"`
		Channel string `json:"open_kfid"`
	}
	if err := json.Unmarshal(body, &ask); err != nil {
		return `{"errcode":40058,"errmsg":"invalid body"}`
	}
	n := 0
	_, _ = fmt.Sscan(ask.Cursor, &n)
	return p.pages[ask.Channel][n]
}

// msg is a page with messages of so many customers.
func msgs(n int, next string, more int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"msgid":"m%d","open_kfid":"wkA","external_userid":"wm%d","send_time":1790000000,"origin":3,"msgtype":"text","text":{"content":"x"}}`, i, i)
	}
	return fmt.Sprintf(`{"errcode":0,"errmsg":"ok","next_cursor":%q,"has_more":%d,"msg_list":[%s]}`, next, more, strings.Join(items, ","))
}

// clock moves only when somebody sleeps.
type clock struct {
	now   time.Time
	slept []time.Duration
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		c.now = c.now.Add(d)
		c.slept = append(c.slept, d)
	}
	return ctx.Err()
}

func newPuller(p *platform, c *clock) (*backfill.Puller, *int) {
	saved := 0
	c.now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	return &backfill.Puller{
		Progress: &backfill.Progress{Corp: "ww1", Began: c.now}, Calls: p, Secret: "s3cret", Interval: time.Second,
		Save: func() error { saved++; return nil }, Now: func() time.Time { return c.now }, Sleep: c.sleep,
	}, &saved
}

// Every page of every channel is pulled once, at the pace that is set, and saved.
func TestRunPullsAllPages(t *testing.T) {
	p := &platform{channels: []string{"wkA", "wkB"}, pages: map[string][]string{
		"wkA": {msgs(3, "1", 1), msgs(2, "2", 1), msgs(0, "3", 0)},
		"wkB": {msgs(1, "1", 0)},
	}}
	c := &clock{}
	r, saved := newPuller(p, c)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Messages != 6 || r.Unreadable != 0 || r.Done() != 2 || *saved != 5 {
		t.Errorf("messages %d, unreadable %d, channels done %d, saved %d times", r.Messages, r.Unreadable, r.Done(), *saved)
	}
	want := []string{
		`gettoken`, `list {"offset":0,"limit":100}`,
		`sync_msg {"cursor":"","limit":1000,"open_kfid":"wkA"}`, `sync_msg {"cursor":"1","limit":1000,"open_kfid":"wkA"}`, `sync_msg {"cursor":"2","limit":1000,"open_kfid":"wkA"}`,
		`sync_msg {"cursor":"","limit":1000,"open_kfid":"wkB"}`,
	}
	if !slices.Equal(p.log, want) {
		t.Errorf("calls\n%s\nwant\n%s", strings.Join(p.log, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(c.slept, []time.Duration{time.Second, time.Second, time.Second}) {
		t.Errorf("slept %v between four pages", c.slept)
	}
}

// Corps with more than 100 channels have several pages of them.
func TestRunListsAllChannels(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 101, 250} {
		p := &platform{pages: map[string][]string{}}
		for i := range n {
			p.channels = append(p.channels, fmt.Sprintf("wk%d", i))
			p.pages[p.channels[i]] = []string{msgs(0, "1", 0)}
		}
		r, _ := newPuller(p, &clock{})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(r.Channels) != n || r.Done() != n {
			t.Errorf("%d channels listed, %d done, want %d", len(r.Channels), r.Done(), n)
		}
	}
}

// A run that ended early is continued from its last page, also after a restart: the progress is
// JSON.
func TestRunContinues(t *testing.T) {
	p := &platform{channels: []string{"wkA", "wkB"}, pages: map[string][]string{
		"wkA": {msgs(1, "1", 1), msgs(1, "2", 0)},
		"wkB": {msgs(1, "1", 0)},
	}}
	c := &clock{}
	r, _ := newPuller(p, c)
	broken := errors.New("the disk is full")
	pages := 0
	r.Save = func() error {
		if pages++; pages == 2 { // the list of channels, then the first page
			return broken
		}
		return nil
	}
	if err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("the first run: %v", err)
	}
	text, err := json.Marshal(r.Progress)
	if err != nil {
		t.Fatal(err)
	}
	next, _ := newPuller(p, c)
	if err := json.Unmarshal(text, next.Progress); err != nil {
		t.Fatal(err)
	}
	p.log = nil
	if err := next.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next.Messages != 3 || next.Done() != 2 || slices.ContainsFunc(p.log, func(l string) bool {
		return strings.HasPrefix(l, "list") || strings.Contains(l, `"cursor":"","limit":1000,"open_kfid":"wkA"`)
	}) {
		t.Errorf("%d messages, %d channels done, by %q", next.Messages, next.Done(), p.log)
	}
}

// What WeCom may answer to a page: after some answers the same page is pulled again, others end the
// run.
func TestRefusedPages(t *testing.T) {
	limited, busy, expired := `{"errcode":45009,"msg_list":[]}`, `{"errcode":-1,"errmsg":"system busy"}`, `{"errcode":42001}`
	cases := []struct {
		name   string
		refuse []string
		slept  time.Duration // in all, without the interval between pages
		tokens int
		err    string
	}{
		{"rate limit", []string{limited}, time.Minute, 1, ""},
		{"busy twice", []string{busy, busy}, 2 * time.Minute, 1, ""},
		{"expired token", []string{expired}, 0, 2, ""},
		{"invalid token", []string{`{"errcode":40014}`}, 0, 2, ""},
		{"nine times", slices.Repeat([]string{limited}, 9), 9 * time.Minute, 1, ""},
		{"ten times", slices.Repeat([]string{limited}, 10), 10 * time.Minute, 1, "channel wkA: WeCom refused its page 10 times"},
		{"another refusal", []string{`{"errcode":60030,"errmsg":"no permission"}`}, 0, 1, "/cgi-bin/kf/sync_msg: errcode 60030: no permission"},
		{"a refusal without text", []string{`{"errcode":60030}`}, 0, 1, "/cgi-bin/kf/sync_msg: errcode 60030: "},
		{"no JSON", []string{"xxx HTTP <html>"}, 0, 1, "/cgi-bin/kf/sync_msg: HTTP 3, and the answer is not JSON"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &platform{channels: []string{"wkA"}, pages: map[string][]string{"wkA": {msgs(2, "1", 0)}}, refuse: c.refuse}
			at := &clock{}
			r, _ := newPuller(p, at)
			r.Interval = 0
			err := r.Run(t.Context())
			if text := fmt.Sprint(err); c.err != "" && text != c.err || c.err == "" && err != nil {
				t.Fatalf("%v, want %q", err, c.err)
			}
			slept := time.Duration(0)
			for _, d := range at.slept {
				slept += d
			}
			if slept != c.slept || p.tokens != c.tokens || c.err == "" && r.Messages != 2 {
				t.Errorf("slept %s, %d tokens, %d messages", slept, p.tokens, r.Messages)
			}
		})
	}
}

// A page that is cut leaves its channel broken, and the pages after it are still pulled.
func TestBrokenPages(t *testing.T) {
	whole := msgs(2, "1", 1)
	cut := `{"errcode":0,"next_cursor":"1","has_more":1,"msg_list":[` + strings.Repeat(`{"msgid":"m","open_kfid":"wkA","external_userid":"wm1","send_time":1790000000,"origin":3,"msgtype":"text"},`, 2) + `{"msgid":`
	p := &platform{channels: []string{"wkA", "wkB"}, pages: map[string][]string{"wkA": {cut, msgs(1, "2", 0)}, "wkB": {whole, msgs(0, "2", 0)}}}
	r, _ := newPuller(p, &clock{})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := r.Channels[0], r.Channels[1]; !a.Broken || !a.Done || b.Broken || !b.Done || r.Messages != 5 {
		t.Errorf("%+v %+v, %d messages", a, b, r.Messages)
	}
}

// Items that may be messages and cannot be read are counted.
func TestUnreadableItems(t *testing.T) {
	page := `{"errcode":0,"next_cursor":"1","has_more":0,"msg_list":[{"msgid":"m","open_kfid":"wkA","origin":3,"msgtype":"text","send_time":1790000000},{"msgid":"n","open_kfid":"wkA","external_userid":"wm1","send_time":1790000000,"origin":3,"msgtype":"text"}]}`
	p := &platform{channels: []string{"wkA"}, pages: map[string][]string{"wkA": {page}}}
	r, _ := newPuller(p, &clock{})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Messages != 1 || r.Unreadable != 1 {
		t.Errorf("%d messages, %d unreadable", r.Messages, r.Unreadable)
	}
}

// A cursor that does not move would pull the same page for ever.
func TestRepeatedCursor(t *testing.T) {
	p := &platform{channels: []string{"wkA"}, pages: map[string][]string{"wkA": {msgs(1, "1", 1), msgs(1, "1", 1)}}}
	r, _ := newPuller(p, &clock{})
	if err := r.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "channel wkA: WeCom says that there are more pages") {
		t.Errorf("%v", err)
	}
}

// Failures before the first page: nothing is listed, and no error has the secret or a token in it.
func TestFailuresAtTheStart(t *testing.T) {
	p := &platform{channels: []string{"wkA"}}
	r, _ := newPuller(p, &clock{})
	r.Secret = "wrong-secret"
	var refused *backfill.Error
	if err := r.Run(t.Context()); !errors.As(err, &refused) || refused.Code != 40001 || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("a wrong secret: %v", err)
	}
	away := errors.New("no gateway answers")
	p.fail = away
	if err := r.Run(t.Context()); !errors.Is(err, away) {
		t.Errorf("no gateway: %v", err)
	}
	if len(r.Channels) > 0 {
		t.Errorf("channels %v", r.Channels)
	}
}

// A run ends with its context, also while it waits for WeCom's limit.
func TestRunEndsWithItsContext(t *testing.T) {
	p := &platform{channels: []string{"wkA"}, pages: map[string][]string{"wkA": {msgs(1, "1", 0)}}, refuse: []string{`{"errcode":45009}`}}
	c := &clock{}
	r, _ := newPuller(p, c)
	ctx, cancel := context.WithCancel(t.Context())
	r.Sleep = func(ctx context.Context, d time.Duration) error {
		if d == time.Minute {
			cancel()
		}
		return ctx.Err()
	}
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) || r.Messages != 0 {
		t.Errorf("%v, %d messages", err, r.Messages)
	}
}

package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/events"
	"replygate/store"
	"replygate/store/storetest"
)

// room is a group with a robot. It answers with an errcode.
type room struct {
	mu      sync.Mutex
	errcode int
	texts   []string
	at      []time.Time
}

func (g *room) Call(_ context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	var m struct {
		Msgtype  string
		Markdown struct{ Content string }
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Msgtype != "markdown" || path != "/cgi-bin/webhook/send" || query.Get("key") != "the-key" {
		return 0, nil, fmt.Errorf("%s %v %s", path, query, body)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.texts, g.at = append(g.texts, m.Markdown.Content), append(g.at, time.Now())
	return 200, fmt.Appendf(nil, `{"errcode":%d,"errmsg":"x"}`, g.errcode), nil
}

func (g *room) said() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string{}, g.texts...)
}

func (g *room) answers(errcode int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errcode = errcode
}

func robots(language string) config.Events {
	return config.Events{Robots: []config.Robot{{Name: "duty", Key: "the-key", Language: language}}}
}

// A robot gathers events for a minute, and says them once.
func TestRobot(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, c *store.Client) {
		g := &room{}
		r := newRig(t, c, robots(config.Chinese))
		r.WeCom = g
		r.begins()
		r.logs(events.WindowClosing, "wwA", 3, closing(time.Date(2026, 11, 29, 21, 37, 0, 0, time.UTC)))
		r.await("that they are seen", func() bool { all, err := r.readStatus(t.Context()); return err == nil && all[0].Due == 3 })
		time.Sleep(2 * passEvery) // so that they are in the digest
		if len(g.said()) != 0 {
			t.Fatalf("%q", g.said())
		}
		r.advance(gathered)
		r.await("the message", func() bool { return len(g.said()) == 1 })
		if got, want := g.said()[0], "**3 个会话将在 1 小时内关闭**\n> Acme East（已失效） 3 · 最早 21:37"; got != want {
			t.Errorf("%s", got)
		}
		r.await("the position", func() bool { all, err := r.readStatus(t.Context()); return err == nil && all[0].Due == 0 })
	})
}

// A storm is a few messages, from two gateways together, even if both believe that they lead; none
// is too long.
func TestStorm(t *testing.T) {
	t.Parallel()
	c := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	g := &room{}
	r := newRig(t, c, robots(config.English))
	r.WeCom = g
	r.begins()
	second := newLike(r)
	go second.Run(t.Context())
	began := time.Now()
	for n := range 100 {
		data := closing(time.Now())
		data["account"], data["before"] = fmt.Sprintf("Company %d with a name that is rather long, as they are", n), "15m"
		r.logs(events.WindowClosing, fmt.Sprintf("ww%d", n), 10, data)
		r.advance(time.Second)
		time.Sleep(50 * time.Millisecond)
	}
	r.advance(time.Minute)
	r.await("all", func() bool {
		r.advance(time.Second)
		all, err := r.readStatus(t.Context())
		return err == nil && all[0].Due == 0 && len(g.said()) > 0
	})
	said := g.said()
	if inAMinute := 1 + int(time.Minute/robotSpacing); inAMinute > 20 {
		t.Errorf("%d messages a minute", inAMinute)
	}
	if most := 1 + int(time.Since(began)/robotSpacing); len(said) > most {
		t.Errorf("%d messages, want at most %d", len(said), most)
	}
	for i, text := range said {
		if len(text) > maxMessage || strings.Count(text, "> ") > maxLines || !strings.HasPrefix(text, "**") {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		if i > 0 && g.at[i].Sub(g.at[i-1]) < time.Second {
			t.Errorf("%s between two messages", g.at[i].Sub(g.at[i-1]))
		}
	}
}

// A message that WeCom does not take is sent again later and later; a robot that is gone is
// disabled.
func TestRobotIsRefused(t *testing.T) {
	t.Parallel()
	g := &room{errcode: 45009}
	r := embedded(t, robots(config.English))
	r.WeCom = g
	r.begins()
	r.logs(events.StoreDown, "", 1, map[string]string{"gateway": "10.1.0.11:9090"})
	for n := 1; n <= 2; n++ {
		r.await(fmt.Sprintf("message %d", n), func() bool { r.advance(2 * time.Second); return len(g.said()) == n })
		r.await("the pause", func() bool {
			s, err := r.read(t.Context(), "duty")
			want := robotPause << (n - 1)
			return err == nil && s.slowed == n && s.until.Sub(r.Now()) > want-15*time.Second && s.until.Sub(r.Now()) <= want
		})
	}
	g.answers(93000)
	r.await("the end", func() bool {
		r.advance(2 * time.Second)
		s, err := r.read(t.Context(), "duty")
		return err == nil && s.disabled == "WeCom answers errcode 93000"
	})
	g.answers(0)
	var got Tested
	r.await("the test", func() (ok bool) {
		var err error
		got, err = r.Test(t.Context(), "duty")
		return err == nil
	})
	if !got.OK || !got.Enabled || g.said()[len(g.said())-1] != testText[config.English] {
		t.Errorf("%+v", got)
	}
	if _, err := r.Test(t.Context(), "duty"); err != ErrTooSoon {
		t.Errorf("%v", err)
	}
	r.await("what waited", func() bool {
		r.advance(2 * time.Second)
		return strings.Contains(g.said()[len(g.said())-1], "Redis does not answer: 1")
	})
	if strings.Contains(fmt.Sprint(r.readStatus(t.Context())), "the-key") {
		t.Error("the key shows")
	}
}

// Digests in both languages, of every type, and of more than a message holds.
func TestDigests(t *testing.T) {
	at := time.Date(2026, 11, 29, 13, 37, 0, 0, time.UTC)
	entry := func(kind, corp string, data map[string]any) *events.Entry {
		e := events.Event{Type: kind, At: at, Corp: corp, Data: data}
		text, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return &events.Entry{Type: kind, Corp: corp, JSON: text}
	}
	var d digest
	east := func(before string, closes time.Time) map[string]any {
		return map[string]any{"account": "云杉教育", "standing": "lapsed", "before": before, "closes_at": events.Stamp(closes)}
	}
	d.add(entry(events.AccountStopsSoon, "wwB", map[string]any{"account": "鹿鸣服饰", "stops_at": events.Stamp(at.Add(72 * time.Hour)), "days_left": 3}))
	d.add(entry(events.ContactsThreshold, "wwB", map[string]any{"account": "鹿鸣服饰", "total": 9012, "limit": 10000, "percent": 90}))
	d.add(entry(events.StandingChanged, "wwB", map[string]any{"account": "鹿鸣服饰", "from": "grace", "to": "lapsed"}))
	d.add(entry(events.WindowClosing, "wwA", east("1h", at.Add(time.Hour))))
	d.add(entry(events.WindowClosing, "wwA", east("1h", at)))
	d.add(entry(events.WindowClosing, "wwA", east("15m", at)))
	d.add(entry(events.WebhookDisabled, "", map[string]any{"name": "crm", "why": "HTTP *410*\n<script>"}))
	zone := time.FixedZone("CST", 8*3600)
	want := "**1 个会话将在 15 分钟内关闭**\n> 云杉教育（已失效） 1 · 21:37\n**2 个会话将在 1 小时内关闭**\n> 云杉教育（已失效） 2 · 最早 21:37\n" +
		"**1 个企业即将停用**\n> 鹿鸣服饰 · 剩 3 天 · 2026-12-02 21:37\n**1 次企业状态变更**\n> 鹿鸣服饰 · 宽限期 → 已失效\n**1 个企业的联系人接近上限**\n> 鹿鸣服饰 · 9012 / 10000 (90%)\n" +
		"**webhook 或机器人已停用：1**\n> crm · HTTP 410 (script)\n[查看](https://gate.example/console/)"
	if got := d.text(config.Chinese, zone, "https://gate.example/console/"); got != want || !d.urgent {
		t.Errorf("%s", got)
	}
	if got := d.text(config.English, zone, ""); !strings.HasPrefix(got, "**Chats that close within 15 minutes: 1**\n> 云杉教育 (lapsed) 1 · 21:37\n") {
		t.Errorf("%s", got)
	}
	var storm digest
	for n := range 20_000 {
		data := east("4h", at)
		data["account"] = strings.Repeat("长", 80)
		storm.add(entry(events.WindowClosing, fmt.Sprintf("ww%d", n%7000), data))
	}
	got := storm.text(config.Chinese, zone, "https://gate.example/console/")
	if len(got) > maxMessage || !strings.Contains(got, "还有 ") || !strings.HasSuffix(got, "[查看](https://gate.example/console/)") || strings.Contains(got, "\n\n") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	for _, kind := range events.Types() {
		for _, w := range []*wording{&english, &chinese} {
			if kind != events.Test && kind != events.WindowClosing && w.headings[kind] == "" {
				t.Errorf("%s has no heading", kind)
			}
		}
	}
}

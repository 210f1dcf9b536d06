package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

const (
	otherChannel = "wkOther"
	second       = "wkSecond" // another channel of the rig's company
	noMessage    = "wmNever"  // a customer who never wrote
)

// pageRig is a rig of two lapsed companies, the first with two channels.
type pageRig struct {
	*rig
	tokens map[string]string // by corp; "" is one that the gateway never saw
}

func twoCompanies(change func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		other := c.Accounts[0]
		other.CorpID, other.Name, other.Entity = otherCorp, "Other", "other"
		c.Accounts = append(c.Accounts, other)
		if change != nil {
			change(c)
		}
	}
}

func newPageRig(r *rig) *pageRig {
	r.Helper()
	r.platform.AddCorp(corpID, secret, channel, second)
	r.platform.AddCorp(otherCorp, "other-secret", otherChannel)
	p := &pageRig{rig: r, tokens: map[string]string{}}
	p.fetch()
	return p
}

// fetch fetches tokens of both companies through the gateway, and one past it.
func (p *pageRig) fetch() {
	p.Helper()
	p.platform.Revoke(otherCorp)
	p.tokens[""] = p.platform.Issue(otherCorp)
	p.platform.Revoke(otherCorp)
	for corp, key := range map[string]string{corpID: secret, otherCorp: "other-secret"} {
		p.platform.Revoke(corp)
		p.tokens[corp] = tokenOf(p, raw(p, p.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret="+key, "")))
	}
}

// eachPageRig runs body over every kind of store.
func eachPageRig(t *testing.T, change func(*config.Config), body func(p *pageRig)) {
	eachStore(t, twoCompanies(change), func(r *rig) { body(newPageRig(r)) })
}

// pull has a bot of a corp pull a page that WeCom answers with.
func (p *pageRig) pull(corp, request, page string) answer {
	p.Helper()
	return p.pullAt(p.gateway, corp, request, page)
}

func (p *pageRig) pullAt(g *gateway, corp, request, page string) answer {
	p.Helper()
	p.platform.Answer(syncMsg, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
	defer p.platform.Answer(syncMsg, nil)
	p.token = p.tokens[corp]
	a := p.callAt(g, "POST", syncMsg, request)
	if string(a.body) != page {
		p.Fatalf("the page changed: %.200q", a.body)
	}
	return a
}

// says wants the reason of a reply to a customer on a channel, through a gateway. On a busy machine
// two gateways may lose sight of each other for a moment: that says nothing yet.
func (p *pageRig) says(g *gateway, corp, channel, customer, reason string) {
	p.Helper()
	p.token = p.tokens[corp]
	var a answer
	p.await("the gateways to see each other", func() bool {
		a = p.callAt(g, "POST", "/cgi-bin/kf/send_msg", fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text","text":{"content":"hello"}}`, customer, channel))
		return a.Header.Get("Replygate-Reason") != "store_unavailable"
	})
	if got := a.Header.Get("Replygate-Reason"); got != reason {
		p.Fatalf("a reply to %s on %s of %s: %s, want %s: %s", customer, channel, corp, got, reason, a.body)
	}
}

// incomplete wants the gaps to be of these channels alone: written as corp/channel.
func (p *pageRig) incomplete(places ...string) {
	p.Helper()
	p.incompleteAt(p.gateway, places...)
}

func (p *pageRig) incompleteAt(g *gateway, places ...string) {
	p.Helper()
	for _, place := range []string{corpID + "/" + channel, corpID + "/" + second, otherCorp + "/" + otherChannel} {
		corp, channel, _ := strings.Cut(place, "/")
		reason := "window_closed"
		if strings.Contains(strings.Join(places, " "), place) {
			reason = "history_incomplete"
		}
		p.says(g, corp, channel, noMessage, reason)
	}
}

// counted tells whether the metrics have a line.
func (p *pageRig) counted(line string) bool {
	p.Helper()
	return strings.Contains(string(p.adminCall("GET", "/metrics", "").body), line+"\n")
}

// gapOf is the instant up to which records prove nothing, zero if there is none.
func (p *pageRig) gapOf(id string) time.Time {
	p.Helper()
	ms, err := p.gateway.store.Get(p.Context(), "rg:gap:"+id).Int64()
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// wroteOn is an item of a page: a customer's message.
func wroteOn(channel, customer string, at time.Time, more string) string {
	return fmt.Sprintf(`{"msgid":"id-%s","open_kfid":%q,"external_userid":%q,"send_time":%d,"origin":3,"msgtype":"text"%s}`, customer, channel, customer, at.Unix(), more)
}

func pageOf(items ...string) string {
	return `{"errcode":0,"errmsg":"ok","next_cursor":"c","has_more":0,"msg_list":[` + strings.Join(items, ",") + `]}`
}

// One odd character in one customer's text loses nobody's message, and nobody's history.
func TestOddTextsLoseNothing(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		for i, text := range []string{"a\x00b", "a\tb", "a\nb", "\x1b[1m", "\x01\x1f", "\xff\xfe", "\xe4\xbd", `\ud83d`, `cut \ude00`, "\\\"\x02"} {
			odd, plain := fmt.Sprintf("wmOdd%d", i), fmt.Sprintf("wmPlain%d", i)
			page := pageOf(wroteOn(channel, odd, p.clock.Now(), `,"text":{"content":"`+text+`"}`), wroteOn(channel, plain, p.clock.Now(), ""))
			p.pull(corpID, `{}`, []string{page, "\xEF\xBB\xBF" + page, page + "\x00\n"}[i%3])
			p.says(p.gateway, corpID, channel, odd, "window_open")
			p.says(p.gateway, corpID, channel, plain, "window_open")
		}
		p.pull(corpID, `{}`, `{"errcode":"0","errmsg":"ok","msg_list":null}`)
		p.pull(corpID, `{}`, strings.NewReplacer(`"origin":3`, `"origin":"3"`, `0,"errmsg"`, `0.0,"errmsg"`).Replace(pageOf(wroteOn(channel, "wmStrings", p.clock.Now(), ""))))
		p.says(p.gateway, corpID, channel, "wmStrings", "window_open")
		p.incomplete()
		if p.counted(`replygate_inbound_total{result="unreadable",source="sync_msg"} 1`) {
			p.Error("an item counts as unreadable")
		}
	})
}

// An answer that is no success opens nothing: no windows, no codes, no channel; and nothing is lost
// with it.
func TestFailedPagesSayNothing(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		enters := fmt.Sprintf(`{"msgid":"e","send_time":%d,"origin":4,"event":{"event_type":"enter_session","open_kfid":%q,"external_userid":"wmEnters","welcome_code":"W"}}`, p.clock.Now().Unix(), channel)
		for _, code := range []string{"-1", "45009", `"95007"`, "4.5009e4"} {
			items := `"msg_list":[` + wroteOn(channel, wrote, p.clock.Now(), "") + "," + enters + `,{"origin":3}]`
			for _, page := range []string{`{"errcode":` + code + `,` + items + `}`, `{` + items + `,"errcode":` + code + `}`, `{"errcode":` + code + `,"errmsg":"brok`} {
				p.pull(corpID, `{}`, page)
				p.pull("", `{}`, page)
			}
		}
		p.says(p.gateway, corpID, channel, wrote, "window_closed")
		p.token = p.tokens[corpID]
		p.onEvent("W", "refuse", "code_unknown")
		p.incomplete()
		if n := p.gateway.handler.Bypass.Bypassed(); n != 3 {
			p.Errorf("%d channels are bypassed, want 3: a page that failed is none", n)
		}
	})
}

// An item that cannot be read makes the records of its channel incomplete, from its own time on,
// and those of no other. The same page again moves nothing.
func TestUnreadableItems(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		at := p.clock.Now().Add(-time.Hour)
		good := wroteOn(second, "wmGood", p.clock.Now(), "")
		page := pageOf(strings.Replace(wroteOn(channel, "wmBad", at, ""), `"wmBad"`, `{"id":1}`, 1), good)
		p.pull(corpID, `{}`, page)
		p.incomplete(corpID + "/" + channel)
		p.says(p.gateway, corpID, second, "wmGood", "window_open")
		if got := p.gapOf(channel); !got.Equal(at) {
			p.Errorf("the gap is at %s, want %s", got, at)
		}
		if !p.counted(`replygate_inbound_total{result="unreadable",source="sync_msg"} 1`) {
			p.Error("the item is not counted")
		}
		p.clock.Advance(30 * time.Minute)
		p.pull(corpID, `{}`, page)
		p.pull(corpID, `{"open_kfid":"`+channel+`"}`, page)
		if got := p.gapOf(channel); !got.Equal(at) {
			p.Errorf("a page that came again moved the gap to %s", got)
		}
		if n := strings.Count(p.log(), `"how":"unreadable"`); n != 1 {
			p.Errorf("the log tells of it %d times", n)
		}
		p.clock.Set(at.Add(48*time.Hour - time.Millisecond))
		p.fetch()
		p.incomplete(corpID + "/" + channel)
		p.clock.Advance(time.Millisecond)
		p.incomplete()

		broken := pageOf(`{"msgid":"b1","open_kfid":"`+second+`","origin":3,"text":{"content":"5" wide"}}`, wroteOn(channel, "wmAfter", p.clock.Now(), ""))
		p.pull(corpID, `{}`, broken) // it has no time: it is lost now, once
		p.says(p.gateway, corpID, channel, "wmAfter", "window_open")
		p.incomplete(corpID + "/" + second)
		first := p.gapOf(second)
		p.clock.Advance(time.Minute)
		p.pull(corpID, `{}`, broken)
		if got := p.gapOf(second); !got.Equal(first) {
			p.Errorf("a page that came again moved the gap from %s to %s", first, got)
		}
		servicer := pageOf(`{"msgid":"s1","open_kfid":"`+channel+`","origin":5,"x":tru}`, `{"msgid":"s2","origin":5}`)
		p.pull(corpID, `{}`, servicer)
		p.incomplete(corpID + "/" + second)
		p.pull(corpID, `{}`, pageOf(`{"msgid":"c1","origin":3}`)) // on which channel nobody can tell
		p.incomplete(corpID+"/"+channel, corpID+"/"+second)
	})
}

// What is lost with a whole page is lost for the channel that the call names, else for the corp,
// and where that is not known for those of whom no page passed.
func TestLostPages(t *testing.T) {
	t.Parallel()
	all := []string{corpID + "/" + channel, corpID + "/" + second}
	for name, test := range map[string]struct {
		request, page string
		corp          string
		incomplete    []string
	}{
		"unreadable, of a channel":       {`{"open_kfid":"` + channel + `"}`, `{"errcode":0,"msg_list":[{"origin":`, corpID, all[:1]},
		"no JSON, of a channel":          {`{"open_kfid":"` + channel + `"}`, `<html>`, corpID, all[:1]},
		"unreadable, of a corp":          {`{}`, `{"errcode":0,"msg_list":[{"origin":3`, corpID, all},
		"a channel that is named oddly":  {`{"open_kfid":"` + channel + `","Open_KfID":"` + second + `"}`, ``, corpID, all},
		"over-long, of a channel":        {`{"open_kfid":"` + channel + `"}`, `{"errcode":0,"msg_list":[],"x":"` + strings.Repeat("x", 300<<10) + `"}`, corpID, all[:1]},
		"over-long, of a corp":           {``, `{"errcode":0,"msg_list":[],"x":"` + strings.Repeat("x", 300<<10) + `"}`, corpID, all},
		"unreadable, of nobody known":    {`{}`, `{"errcode":0,"msg_list":[{"origin":3`, "", []string{otherCorp + "/" + otherChannel}},
		"over-long, of a channel alone":  {`{"open_kfid":"` + otherChannel + `"}`, `{"errcode":0,"x":"` + strings.Repeat("x", 300<<10) + `"}`, "", []string{otherCorp + "/" + otherChannel}},
		"an item of nobody known":        {`{}`, pageOf(`{"msgid":"m","origin":3}`), "", []string{otherCorp + "/" + otherChannel}},
		"an item on a channel":           {`{}`, pageOf(`{"msgid":"m","origin":3,"open_kfid":"` + second + `"}`), "", all[1:]},
		"messages of nobody known":       {`{}`, pageOf(wroteOn(otherChannel, wrote, time.Now(), "")), "", []string{otherCorp + "/" + otherChannel}},
		"nothing of nobody known":        {`{}`, pageOf(), "", nil},
		"a servicer's, of nobody known":  {`{}`, pageOf(`{"msgid":"m","origin":5}`), "", nil},
		"an event without a code":        {`{}`, pageOf(`{"msgid":"m","send_time":1,"origin":4,"event":{"event_type":"user_recall_msg"}}`), corpID, nil},
		"an event that may hold a code":  {`{}`, pageOf(`{"msgid":"m","origin":4,"event":{"event_type":"enter_session","welcome_code":"W"}}`), corpID, nil},
		"a page that ends with an error": {`{}`, `{"errcode":45009,"msg_list":[{"origin":3`, corpID, nil},
	} {
		t.Run(name, func(t *testing.T) {
			eachPageRig(t, func(c *config.Config) { c.Limits.ReadAnswer = 256 << 10 }, func(p *pageRig) {
				p.pull(corpID, `{}`, pageOf()) // a page of its own
				p.incomplete()
				p.pull(test.corp, test.request, test.page)
				p.incomplete(test.incomplete...)
				p.clock.Advance(48*time.Hour - time.Second)
				p.fetch()
				p.incomplete(test.incomplete...)
				p.clock.Advance(time.Second)
				p.incomplete()
			})
		})
	}
}

// A message that is ahead of our clock opens nothing, and makes its channel's records incomplete,
// once.
func TestMessagesAhead(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		now := p.clock.Now()
		page := pageOf(wroteOn(channel, "wmAhead", now.Add(6*time.Minute), ""), wroteOn(second, "wmNear", now.Add(5*time.Minute), ""))
		p.pull(corpID, `{}`, page)
		p.says(p.gateway, corpID, channel, "wmAhead", "history_incomplete")
		p.says(p.gateway, corpID, second, "wmNear", "window_open")
		p.incomplete(corpID + "/" + channel)
		if !p.counted(`replygate_inbound_total{result="ahead",source="sync_msg"} 1`) {
			p.Error("the message is not counted")
		}
		p.clock.Advance(30 * time.Second)
		p.pull(corpID, `{}`, page)
		if got := p.gapOf(channel); !got.Equal(now) {
			p.Errorf("a page that came again moved the gap to %s", got)
		}
		p.clock.Advance(time.Minute)
		p.pull(corpID, `{}`, page)
		p.says(p.gateway, corpID, channel, "wmAhead", "window_open")
		at := p.clock.Now().Add(time.Hour).Format(time.RFC3339)
		p.adminCall("POST", "/v1/inbound", fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":%q,"customer":"wm","at":%q}]}`, otherCorp, otherChannel, at))
		p.incomplete(corpID+"/"+channel, otherCorp+"/"+otherChannel)
	})
}

// What one gateway could not record, the other one refuses nobody for, from the moment on at which
// the page has gone out. And pages through either are an account's own.
func TestGapsOfTwoGateways(t *testing.T) {
	for name, start := range map[string]func(*testing.T) config.Redis{
		"redis-server": func(t *testing.T) config.Redis { return storetest.Start(t).Config() },
		"cluster":      func(t *testing.T) config.Redis { return storetest.OneNode(t) },
	} {
		t.Run(name, func(t *testing.T) {
			redis := start(t)
			r := newRig(t, redis, twoCompanies(nil))
			second := r.start(redis, twoCompanies(nil))
			r.acquainted(r.gateway, 2)
			p := newPageRig(r)
			p.incomplete()
			p.incompleteAt(second)
			p.pullAt(second, corpID, `{}`, pageOf())
			p.pull("", `{}`, `<html>`)
			p.incompleteAt(second, otherCorp+"/"+otherChannel)
			for i := range 20 {
				channel := fmt.Sprintf("wkMany%d", i)
				p.says(second, corpID, channel, noMessage, "window_closed")
				p.pull(corpID, `{"open_kfid":"`+channel+`"}`, `<html>`)
				p.says(second, corpID, channel, noMessage, "history_incomplete")
			}
			page := pageOf(`{"msgid":"m","open_kfid":"` + channel + `","origin":3}`)
			p.pull(corpID, `{}`, page)
			marked := p.gapOf(channel)
			p.clock.Advance(time.Minute)
			p.pullAt(second, corpID, `{}`, page)
			if got := p.gapOf(channel); marked.IsZero() || !got.Equal(marked) {
				t.Errorf("the other gateway moved the gap from %s to %s", marked, got)
			}
		})
	}
}

// A backfill ends the gaps of the channels that it reads. Items that cannot be read keep theirs,
// and do not stop it.
func TestBackfillEndsGaps(t *testing.T) {
	eachPageRig(t, nil, func(p *pageRig) {
		lost := p.clock.Now()
		p.platform.CustomerWroteAt(corpID, channel, wrote, "hello", lost)
		p.pull(corpID, `{}`, `<html>`)
		p.pull(otherCorp, `{}`, `<html>`)
		p.incomplete(corpID+"/"+channel, corpID+"/"+second, otherCorp+"/"+otherChannel)
		p.clock.Advance(time.Minute)
		p.backfills()
		p.incomplete(otherCorp + "/" + otherChannel)
		p.says(p.gateway, corpID, channel, wrote, "window_open")
		if a := p.adminCall("GET", "/v1/windows?corp_id="+corpID, ""); !strings.Contains(string(a.body), `"incomplete":false`) {
			p.Errorf("%s", a.body)
		}

		p.clock.Advance(time.Minute)
		p.pull(corpID, `{"open_kfid":"`+channel+`"}`, `<html>`)
		p.incomplete(corpID+"/"+channel, otherCorp+"/"+otherChannel)
		for _, query := range []string{"corp_id=" + corpID, "corp_id=" + corpID + "&channel=" + channel + "&customer=" + wrote} {
			if a := p.adminCall("GET", "/v1/windows?"+query, ""); !strings.Contains(string(a.body), `"incomplete":true`) {
				p.Errorf("%s: %s", query, a.body)
			}
		}
		dated, undated := p.clock.Now().Add(-time.Hour), false
		p.platform.Answer(syncMsg, func(w http.ResponseWriter, rq *http.Request) { // as WeCom has it, from now on
			body := make([]byte, 1<<10)
			n, _ := rq.Body.Read(body)
			item := fmt.Sprintf(`{"msgid":"u1","open_kfid":%q,"send_time":%d,"origin":3,"text":{"content":"\x"}}`, channel, dated.Unix())
			if strings.Contains(string(body[:n]), second) {
				item = ""
				if undated {
					item = `{"msgid":"u2","open_kfid":"` + second + `","origin":3}`
				}
			}
			fmt.Fprintf(w, "{\"errcode\":\"0\",\"errmsg\":\"o\x01k\",\"has_more\":0.0,\"next_cursor\":\"c\",\"msg_list\":[%s]}", item)
		})
		p.clock.Advance(time.Minute)
		p.backfills()
		p.incomplete(corpID+"/"+channel, otherCorp+"/"+otherChannel)
		undated = true
		p.backfills()
		p.incomplete(corpID+"/"+channel, corpID+"/"+second, otherCorp+"/"+otherChannel)
		p.clock.Set(dated.Add(48 * time.Hour))
		p.fetch()
		p.incomplete(corpID+"/"+second, otherCorp+"/"+otherChannel)
	})
}

// A channel whose page breaks off stays as it is; the others are complete by the backfill.
func TestBackfillOverABrokenPage(t *testing.T) {
	p := newPageRig(newRig(t, storetest.Embedded(t), twoCompanies(nil)))
	p.pull(corpID, `{}`, `<html>`)
	p.clock.Advance(time.Minute)
	p.platform.Answer(syncMsg, func(w http.ResponseWriter, rq *http.Request) {
		body := make([]byte, 1<<10)
		if n, _ := rq.Body.Read(body); strings.Contains(string(body[:n]), second) {
			fmt.Fprint(w, pageOf(wroteOn(second, wrote, p.clock.Now(), "")))
			return
		}
		fmt.Fprint(w, `{"errcode":0,"has_more":0,"next_cursor":"c","msg_list":[`+wroteOn(channel, wrote, p.clock.Now(), "")+`,{"origin":3,"x`)
	})
	code, out, errs := cli(t, p.backfillArgs()...)
	if code != exitBad || !strings.Contains(out, "2 messages of customers on 2 channels") || !strings.Contains(out, "the records of 1 are complete") || !strings.Contains(errs, "channel "+channel+": WeCom gave a page that cannot be read") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	p.incomplete(corpID + "/" + channel)
	p.says(p.gateway, corpID, channel, wrote, "window_open")
	p.says(p.gateway, corpID, second, wrote, "window_open")
	for _, bad := range []string{
		`{"corp_id":"` + corpID + `","began":"` + p.clock.Now().Format(time.RFC3339) + `"}`,
		`{"corp_id":"` + corpID + `","began":"` + p.clock.Now().Format(time.RFC3339) + `","channels":[""]}`,
	} {
		if a := p.adminCall("POST", "/v1/backfill", bad); a.StatusCode != 400 || !strings.Contains(string(a.body), "bad_channels") {
			t.Errorf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
}

// What neither Redis nor the journal takes marks the gap of its channel once Redis is back; so does
// a callback, for its corp.
func TestUnrecordedMessagesMarkGaps(t *testing.T) {
	server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	r, _, app := callbackRig(t, server.Config(), twoCompanies(func(c *config.Config) {
		c.Redis.Timeout, c.Journal.MaxBytes = 300*time.Millisecond, 4<<10
	}))
	p := newPageRig(r)
	p.incomplete()
	server.Down()
	for i := range 100 { // until the journal is full
		p.pull(otherCorp, `{}`, pageOf(wroteOn(otherChannel, fmt.Sprintf("wmMany%d", i), p.clock.Now(), "")))
	}
	lost := event("customer_acquisition.customer_start_chat", corpID, wrote, p.clock.Now(), false)
	if d, err := app.Deliver(p.clock.Now(), lost); err != nil || d.Status != http.StatusServiceUnavailable {
		t.Fatalf("HTTP %d, %v", d.Status, err)
	}
	server.Up()
	r.await("the journal to be in Redis", r.gateway.store.Journal.Empty)
	r.await("the gaps to be in Redis", func() bool { return !p.gapOf(otherChannel).IsZero() && !p.gapOf(corpID).IsZero() })
	r.await("the gateway to recover", func() bool { return len(r.gateway.windows.Status().Causes) == 0 })
	p.incomplete(corpID+"/"+channel, corpID+"/"+second, otherCorp+"/"+otherChannel)
	if !p.gapOf(otherCorp).IsZero() {
		t.Error("a page marks a gap of its whole corp")
	}
}

// An account that was not listed before begins with a gap of its own.
func TestNewAccountBeginsWithAGap(t *testing.T) {
	f := newFileRig(t)
	p := &pageRig{rig: f.rig, tokens: map[string]string{}}
	f.platform.AddCorp(corpID, secret, channel, second)
	f.platform.AddCorp(otherCorp, "other-secret", otherChannel)
	p.fetch()
	p.says(p.gateway, corpID, channel, noMessage, "window_closed")
	p.says(p.gateway, otherCorp, otherChannel, noMessage, "unlisted_account")
	f.base += "  - { corp_id: " + otherCorp + ", subscription: { expires_at: 2020-01-01T00:00:00Z } }\n"
	f.writes("")
	if a := f.reloads(); a.StatusCode != 200 {
		t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
	}
	p.incomplete(otherCorp + "/" + otherChannel)
	f.writes("policy: { language: zh }\n")
	if a := f.reloads(); a.StatusCode != 200 {
		t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
	}
	p.clock.Advance(48 * time.Hour)
	p.fetch()
	p.incomplete()
}

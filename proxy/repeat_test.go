package proxy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"replygate/config"
	"replygate/wecom"
	"replygate/window"
)

// trimming is the path of the calls that the gateway of TestRepeatedLines sends without some of
// their customers.
const trimming = "/cgi-bin/kf/customer/batchget"

func repeating(c *config.Config) {
	named(c)
	withCallback("", corpLapsed)(c)
	c.Policy.Rules = []config.Rule{{
		Name: word("some"), Action: word("reply"), Partial: word(config.Trim), Match: config.Match{Endpoints: []config.Word{word(trimming)}},
	}}
}

// Whatever calls, pages and callbacks repeat is logged once a minute, and the next line says how
// often it was not.
func TestRepeatedLines(t *testing.T) {
	t.Parallel()
	const times = 50
	away := func(r *harness) { r.redis.away.Store(true) }
	back := func(r *harness) { r.redis.away.Store(false) }
	// rejected has WeCom reject a call, and Redis away when it does.
	rejected := func(r *harness, path string) {
		r.platform.Answer(path, func(w http.ResponseWriter, _ *http.Request) {
			away(r)
			_, _ = w.Write([]byte(`{"errcode":40058}`))
		})
	}
	panics := func(r *harness) { r.gateway.Tokens, r.gateway.Windows = nil, nil } // a bug of ours
	for _, test := range []struct {
		line   string
		before func(r *harness)                      // the first
		do     func(r *harness, token string, n int) // what is repeated
	}{
		{"BUG: a request panicked", panics, func(r *harness, token string, _ int) { r.reply(token, wkLapsed, wmLi) }},
		{"BUG: a callback panicked", panics, func(r *harness, _ string, _ int) {
			r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
		}},
		{"a callback is for a receiver that its path does not list: nothing of it was recorded; add it to receive_ids if it is yours", nil, func(r *harness, _ string, _ int) {
			r.deliver(r.app("wwElse"), acquisition(corpLapsed, wmLi, r.clock.Now()))
		}},
		{"a callback could not be recorded: WeCom will send it again", away, func(r *harness, _ string, _ int) {
			r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
		}},
		{"the gap is noted in this gateway alone: redis did not take it", away, func(r *harness, _ string, _ int) {
			r.deliver(r.app(corpLapsed), acquisition(corpLapsed, wmLi, r.clock.Now()))
		}},
		{"the gap is noted in this gateway alone: redis did not take it", away, func(r *harness, token string, _ int) {
			r.pulled(ask{target: pull + "?access_token=" + token, body: "{}"}, pageOf(itemOf(3, wkLapsed, wmLi, r.clock.Now())))
		}},
		{"redis did not take whose channels are: it is told with the next page", away, func(r *harness, token string, n int) {
			r.pulled(ask{target: pull + "?access_token=" + token, body: "{}"}, pageOf(itemOf(3, fmt.Sprint("wk", n), wmLi, r.clock.Now())))
		}},
		{"customers' messages or codes passed unrecorded: replies without an open window are history_incomplete there until a window's length is over", nil,
			func(r *harness, token string, n int) { // each moves the gap
				at := r.clock.Now().Add(time.Duration(n) * time.Second)
				r.pulled(ask{target: pull + "?access_token=" + token, body: "{}"}, pageOf(itemOf(3, wkLapsed, "", at)))
			}},
		{"a window could not be corrected by WeCom's later word", away, func(r *harness, token string, _ int) {
			failed := eventOf(r.clock.Now(), of(wkLapsed, wmLi, "msg_send_fail")+`,"fail_type":4`)
			r.pulled(ask{target: pull + "?access_token=" + token, body: "{}"}, pageOf(failed))
		}},
		{"a token is known to this gateway alone until redis takes it", func(r *harness) {
			r.replies(wecom.PathGetToken, 200, `{"errcode":0,"access_token":"T","expires_in":7200}`)
			away(r)
		}, func(r *harness, _ string, _ int) {
			r.ask(ask{target: wecom.PathGetToken + "?corpid=wwLapsed&corpsecret=s"})
		}},
		{"a reply could not be settled: at worst one fewer is left", func(r *harness) { rejected(r, sendMsg) }, func(r *harness, token string, n int) {
			back(r)
			r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: fmt.Sprint("wm", n)}, r.clock.Now())
			r.reply(token, wkLapsed, fmt.Sprint("wm", n))
		}},
		{"a one-time code could not be given back: it counts as used", func(r *harness) { rejected(r, onEvent) }, func(r *harness, token string, n int) {
			back(r)
			code := fmt.Sprint("C", n)
			learnt := window.LearntCode{Text: code, Code: window.Code{
				Key: window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, Kind: "enter_session", Deadline: r.clock.Now().Add(20 * time.Second),
			}}
			if err := r.gateway.Windows.LearnCodes(r.Context(), []window.LearntCode{learnt}); err != nil {
				r.Fatal(err)
			}
			r.post(onEvent, token, `{"code":"`+code+`","msgtype":"text"}`)
		}},
		{"a call went on without some of its customers, and the answer could not say so", func(r *harness) {
			r.wrote(window.Key{Corp: corpLapsed, Customer: "wmA"}, r.clock.Now())
			r.replies(trimming, 200, `{"errcode":0,,}`)
		}, func(r *harness, token string, _ int) {
			r.post(trimming, token, `{"external_userid_list":["wmX","wmA"]}`)
		}},
		{"a call names another account than the one that its token belongs to: it counts as the token's", nil, func(r *harness, token string, _ int) {
			r.ask(ask{target: "/corp/wwActive" + details + "?access_token=" + token})
		}},
		{"a call names two accounts, and its token is unknown: it is refused", nil, func(r *harness, _ string, _ int) {
			r.ask(ask{host: "active.example", target: "/corp/wwLapsed" + details + "?access_token=u"})
		}},
	} {
		r := newHarness(t, repeating)
		token := r.token(corpLapsed)
		if test.before != nil {
			test.before(r)
		}
		for n := range times {
			test.do(r, token, n)
		}
		if lines := r.log.FilterMessage(test.line).All(); len(lines) != 1 || lines[0].ContextMap()["suppressed"] != nil {
			t.Errorf("%s: the log has %v", test.line, lines)
			continue
		}
		for _, line := range r.log.All() {
			if n := r.log.FilterMessage(line.Message).Len(); n > 1 {
				t.Errorf("%s: %d lines %q", test.line, n, line.Message)
			}
		}
		r.log.TakeAll()
		r.clock.Advance(time.Minute)
		test.do(r, token, times)
		if lines := r.log.FilterMessage(test.line).All(); len(lines) != 1 || lines[0].ContextMap()["suppressed"] != int64(times-1) {
			t.Errorf("%s: a minute later the log has %v, want %d suppressed", test.line, lines, times-1)
		}
	}
}

package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/window"
)

const pathPreflight = "/replygate/preflight"

// preflight asks what would become of calls, as members of "calls".
func (r *harness) preflight(token string, calls ...string) answer {
	r.Helper()
	return r.post(pathPreflight, token, `{"calls":[`+strings.Join(calls, ",")+`]}`)
}

func question(customer string) string {
	return fmt.Sprintf(`{"channel":%q,"customer":%q}`, wkLapsed, customer)
}

// A preflight answers each question in its place, sends nothing, and uses up no reply.
func TestPreflightAnswers(t *testing.T) {
	t.Parallel()
	r := newHarness(t, func(c *config.Config) { c.Window.Replies = 2 })
	at := func(d time.Duration) string { return r.clock.Now().Add(d).UTC().Format("2006-01-02T15:04:05.000Z") }
	li := window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}
	r.wrote(li, r.clock.Now().Add(-time.Hour))
	lapsed := r.token(corpLapsed)
	mass := `{"endpoint":"/cgi-bin/externalcontact/add_msg_template"}`
	for _, test := range []struct {
		name, token string
		calls       []string
		want        string // results
	}{
		{"one", lapsed, []string{question(wmLi)},
			`{"verdict":"pass","rule":"reply-inside-the-window","reason":"window_open","window_closes":"` + at(47*time.Hour) + `","replies_left":2}`},
		{"the same customer again", lapsed, []string{question(wmLi)},
			`{"verdict":"pass","rule":"reply-inside-the-window","reason":"window_open","window_closes":"` + at(47*time.Hour) + `","replies_left":2}`},
		{"several", lapsed, []string{mass, question("wmNever"), `{"endpoint":"/cgi-bin/user/get"}`},
			`{"verdict":"refuse","rule":"no-mass-messages","reason":"rule_refuse"},` +
				`{"verdict":"refuse","rule":"reply-inside-the-window","reason":"window_closed","replies_left":0},` +
				`{"verdict":"pass","rule":"not-customer-contact","reason":"not_judged"}`},
		{"another account", r.token(corpActive), []string{mass}, `{"verdict":"pass","rule":"in-good-standing","reason":"not_judged"}`},
	} {
		a := r.preflight(test.token, test.calls...)
		if want := `{"errcode":0,"errmsg":"ok","results":[` + test.want + `]}`; a.status != 200 || a.body != want {
			t.Errorf("%s: HTTP %d %s\nwant %s", test.name, a.status, a.body, want)
		}
		if a.header.Get("Content-Type") != "application/json; charset=UTF-8" || a.header.Get("Replygate-Verdict") != "" || a.header.Get("Error-Code") != "" {
			t.Errorf("%s: headers %v", test.name, a.header)
		}
	}
	if calls := r.platform.Calls(); len(calls) != 0 {
		t.Errorf("WeCom got %v", calls)
	}
	if got := r.records.take(t, "decision"); len(got) != 0 {
		t.Errorf("decisions are on record: %v", got)
	}
	for left := 1; left >= 0; left-- { // both replies are still there
		if a := r.reply(lapsed, wkLapsed, wmLi); a.header.Get("Replygate-Replies-Left") != fmt.Sprint(left) {
			t.Errorf("after the preflights a reply leaves %s: %s", a.header.Get("Replygate-Replies-Left"), a.body)
		}
	}
}

// A preflight that cannot be answered says how to ask, and is recorded as a failure, not as a
// decision about a call.
func TestPreflightRequests(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed := r.token(corpLapsed)
	request := func(method, query, body string) string {
		return fmt.Sprintf("%s %s?%s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", method, pathPreflight, query, len(body), body)
	}
	known := "access_token=" + lapsed
	const shape = `send {"calls":[{"endpoint","channel","customer"}]}: `
	for _, test := range []struct {
		name, request string
		status, code  int
		reason, text  string // the text's beginning
	}{
		{"a GET", request("GET", known, ""), 405, 990404, "method_not_allowed", "a preflight is a POST; id="},
		{"a PUT", request("PUT", known, `{"calls":[{}]}`), 405, 990404, "method_not_allowed", "a preflight is a POST; id="},
		{"an empty body", request("POST", known, ""), 200, 40058, "malformed_preflight", shape},
		{"no JSON", request("POST", known, "calls"), 200, 40058, "malformed_preflight", shape},
		{"no object", request("POST", known, `[{}]`), 200, 40058, "malformed_preflight", shape},
		{"JSON that ends early", request("POST", known, `{"calls":[{}]`), 200, 40058, "malformed_preflight", shape},
		{"more than one value", request("POST", known, `{"calls":[{}]}{}`), 200, 40058, "malformed_preflight", shape},
		{"a member twice", request("POST", known, `{"calls":[{}],"calls":[{}]}`), 200, 40058, "malformed_preflight", shape},
		{"an unknown member", request("POST", known, `{"calls":[{"custmer":"wm"}]}`), 200, 40058, "malformed_preflight", shape},
		{"a customer that is no string", request("POST", known, `{"calls":[{"customer":1}]}`), 200, 40058, "malformed_preflight", shape},
		{"a text that is no UTF-8", request("POST", known, "{\"calls\":[{\"customer\":\"\xff\"}]}"), 200, 40058, "malformed_preflight", shape},
		{"no calls", request("POST", known, `{"calls":[]}`), 200, 40058, "malformed_preflight", shape + `send {"calls":[…]} with 1 to 1000 calls; id=`},
		{"too many calls", request("POST", known, `{"calls":[`+strings.Repeat("{},", 1000)+`{}]}`), 200, 40058, "malformed_preflight", shape + `send {"calls":[…]} with 1 to 1000 calls; id=`},
		{"a long id", request("POST", known, `{"calls":[{},{"customer":"`+strings.Repeat("w", 129)+`"}]}`), 200, 40058, "malformed_preflight", shape + "calls[1]: an id has more than 128 bytes; id="},
		{"more than a megabyte", request("POST", known, `{"calls":[`+strings.Repeat(" ", 1<<20)+`]}`), 413, 990413, "body_too_large", "the body is larger than the 1MB that the gateway takes for this call; nothing was sent; id="},
		{"a chunk that is none", "POST " + pathPreflight + "?" + known + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, 990400, "malformed_body", "the chunks of the body are malformed; nothing was sent; id="},
	} {
		r.records.take(t, "")
		a := r.send(r.api, test.request)
		if a.status != test.status || a.Errcode != test.code || a.Replygate.Reason != test.reason || a.Replygate.Verdict != "error" || !strings.HasPrefix(a.Errmsg, test.text) {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.body)
		}
		r.records.mu.Lock()
		n := len(r.records.lines)
		r.records.mu.Unlock()
		got := r.records.take(t, "decision")
		if n != 2 || len(got) != 1 || got[0]["verdict"] != "error" || got[0]["reason"] != test.reason || got[0]["forwarded"] != false || got[0]["id"] != a.Replygate.DecisionID {
			t.Errorf("%s: of %d records %v", test.name, n, got)
		}
	}
}

// A thousand questions are answered, and no more; a body of a megabyte is read.
func TestPreflightBounds(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	calls := make([]string, 1000)
	for i := range calls {
		calls[i] = question(fmt.Sprint("wm", i%7))
	}
	r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: "wm3"}, r.clock.Now())
	a := r.preflight(r.token(corpLapsed), append(calls[:999:999], calls[999]+strings.Repeat(" ", 1<<20-len(strings.Join(calls, ","))-len(`{"calls":[]}`)))...)
	if a.status != 200 || strings.Count(a.body, `"verdict"`) != 1000 {
		t.Fatalf("HTTP %d %.300s", a.status, a.body)
	}
	open := 0
	for i := range calls {
		if i%7 == 3 {
			open++
		}
	}
	if n := strings.Count(a.body, `"window_open"`); n != open {
		t.Errorf("%d windows are open, want %d", n, open)
	}
}

// The corp of a preflight is the one that its token, or the setting, names.
func TestPreflightCallers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, query  string
		unknown      string // the setting unknown_token
		status, code int
		verdict      string
		reason       string // of a failure or refusal; "" if it is answered
	}{
		{"an unknown token", "access_token=nobody", config.Refuse, 200, 48002, "refuse", "unknown_token"},
		{"an unknown token that passes", "access_token=nobody", config.Pass, 200, 48002, "error", "unknown_token"},
		{"an unknown token of one corp", "access_token=nobody", corpLapsed, 200, 0, "", ""},
		{"an unknown token at first", "access_token=nobody", config.Reauthenticate, 200, 42001, "refuse", "unknown_token"},
		{"no token", "", config.Auto, 200, 41001, "refuse", "missing_token"},
		{"two tokens", "access_token=a&access_token=b", config.Auto, 400, 990400, "refuse", "ambiguous_credential"},
	} {
		r := newHarness(t, func(c *config.Config) { c.UnknownToken = test.unknown })
		body := `{"calls":[` + question(wmLi) + `]}`
		a := r.send(r.api, fmt.Sprintf("POST %s?%s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", pathPreflight, test.query, len(body), body))
		if a.status != test.status || a.Errcode != test.code || a.Replygate.Reason != test.reason || a.Replygate.Verdict != test.verdict {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.body)
		}
		if got := r.records.take(t, "request"); len(got) != 1 || got[0]["path"] != pathPreflight {
			t.Errorf("%s: records %v", test.name, got)
		}
	}
}

// What names an account is no secret, unlike its token: a preflight with an unknown token tells
// nobody when customers wrote, whatever the call would count as.
func TestPreflightTellsNoStranger(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, host string
		change     func(*config.Config)
	}{
		{"the only account", "g", func(c *config.Config) { c.Accounts = c.Accounts[1:] }},
		{"an account named by the Host", "lapsed.example", named},
	} {
		r := newHarness(t, test.change)
		r.wrote(window.Key{Corp: corpLapsed, Channel: wkLapsed, Customer: wmLi}, r.clock.Now())
		ask := ask{target: pathPreflight + "?access_token=made-up", host: test.host, body: `{"calls":[` + question(wmLi) + `]}`}
		for _, want := range []int{42001, 42001, 48002} { // as for any unknown token
			if a := r.ask(ask); a.Errcode != want || a.Replygate.Reason != "unknown_token" || strings.Contains(a.body, "window") {
				t.Errorf("%s: %s, want %d", test.name, a.body, want)
			}
		}
		ask.target = pathPreflight + "?access_token=" + r.token(corpLapsed)
		if a := r.ask(ask); !strings.Contains(a.body, `"window_open"`) {
			t.Errorf("%s: with its token: %s", test.name, a.body)
		}
	}
}

// While Redis is away nobody can tell whose an unknown token is. A preflight says so at once: it
// does not wait like a reply.
func TestPreflightOfAnUnknownTokenWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){"two accounts": nil, "the only account": func(c *config.Config) { c.Accounts = c.Accounts[1:] }} {
		r := newHarness(t, func(c *config.Config) {
			if change != nil {
				change(c)
			}
			c.Policy.UnsureWait = time.Minute
		})
		r.redis.away.Store(true)
		if a := r.preflight("made-up", question(wmLi)); a.Errcode != -1 || a.Replygate.Reason != "store_unavailable" {
			t.Errorf("%s: HTTP %d %q", name, a.status, a.body)
		}
	}
}

// While Redis is away, a preflight says so, and does not call a window closed.
func TestPreflightWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	lapsed := r.token(corpLapsed)
	r.redis.away.Store(true)
	want := `{"verdict":"unsure","rule":"reply-inside-the-window","reason":"store_unavailable"}`
	if a := r.preflight(lapsed, question(wmLi)); a.status != 200 || a.body != `{"errcode":0,"errmsg":"ok","results":[`+want+`]}` {
		t.Errorf("HTTP %d %s", a.status, a.body)
	}
}

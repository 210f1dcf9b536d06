package wecomtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/wecom/wecomtest"
)

// A clock runs until it is stopped, and can be moved in both states.
func TestClock(t *testing.T) {
	t.Parallel()
	c := wecomtest.NewClock()
	if d := time.Since(c.Now()); d < 0 || d > 10*time.Second {
		t.Errorf("a new clock is off by %v", d)
	}
	first := c.Now()
	for began := time.Now(); !c.Now().After(first); {
		if time.Since(began) > 30*time.Second {
			t.Fatal("a new clock does not run")
		}
	}
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	c.Set(at)
	if !c.Now().Equal(at) {
		t.Errorf("set to %v: %v", at, c.Now())
	}
	c.Advance(47 * time.Hour)
	if want := at.Add(47 * time.Hour); !c.Now().Equal(want) {
		t.Errorf("advanced to %v: %v", want, c.Now())
	}
	at = c.Now()
	time.Sleep(5 * time.Millisecond) // the clock must not count the time in which it was stopped
	before := time.Now()
	c.Run()
	if passed := c.Now().Sub(at); passed > time.Since(before) {
		t.Errorf("restarted: %v passed at once", passed)
	}
	for began := time.Now(); !c.Now().After(at); {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the clock does not run again")
		}
	}
	c.Run() // of a running clock changes nothing
	c.Advance(time.Hour)
	if d := c.Now().Sub(at); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("advanced by an hour while running: %v", d)
	}
}

func TestClockConcurrently(t *testing.T) {
	t.Parallel()
	c := wecomtest.NewClock()
	at := time.Unix(1700000000, 0)
	c.Set(at)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				c.Advance(time.Millisecond)
				_ = c.Now()
			}
		})
	}
	all.Wait()
	if want := at.Add(8 * time.Second); !c.Now().Equal(want) {
		t.Errorf("%v, want %v", c.Now(), want)
	}
}

// console serves a platform with its control endpoints. call returns the status and the body.
func console(t *testing.T) (*wecomtest.Platform, *wecomtest.Clock, func(method, path, body string) (int, string)) {
	t.Helper()
	clock := wecomtest.NewClock()
	clock.Set(time.Unix(1700000000, 0))
	p := wecomtest.New(clock.Now)
	p.AddCorp("ww1", "s", "wk1")
	h := p.Control(clock)
	return p, clock, func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
}

func TestControlWrites(t *testing.T) {
	t.Parallel()
	p, clock, call := console(t)
	status, body := call("POST", "/simulator/customer-writes", `{"corp_id":"ww1","channel":"wk1","customer":"wmA","text":"你好"}`)
	var got struct {
		ID   string `json:"msgid"`
		Time int64  `json:"send_time"`
	}
	if err := json.Unmarshal([]byte(body), &got); status != http.StatusOK || err != nil || got.ID == "" || got.Time != clock.Now().Unix() {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	token := p.Issue("ww1")
	if _, page := call("POST", "/cgi-bin/kf/sync_msg?access_token="+token, `{}`); !strings.Contains(page, got.ID) || !strings.Contains(page, "你好") || !strings.Contains(page, `"wmA"`) {
		t.Errorf("the message is not in %s", page)
	}
	if _, answer := call("POST", "/cgi-bin/kf/send_msg?access_token="+token, send); !strings.Contains(answer, `"errcode":0`) {
		t.Errorf("the window is not open: %s", answer)
	}
}

// Malformed requests are answered with the correct form.
func TestControlErrors(t *testing.T) {
	t.Parallel()
	_, clock, call := console(t)
	before := clock.Now()
	for _, test := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "/simulator/customer-writes", `{"corp_id":"ww2","channel":"wk1"}`, 404, `the simulated WeCom has no corp "ww2" with a channel "wk1"`},
		{"POST", "/simulator/customer-writes", `{"corp_id":"ww1","channel":"wk2"}`, 404, `the simulated WeCom has no corp "ww1" with a channel "wk2"`},
		{"POST", "/simulator/customer-writes", `{}`, 404, `the simulated WeCom has no corp "" with a channel ""`},
		{"POST", "/simulator/customer-writes", `corp_id=ww1`, 400, "send a JSON object with corp_id, channel, customer and text"},
		{"POST", "/simulator/customer-writes", ``, 400, "send a JSON object with corp_id, channel, customer and text"},
		{"POST", "/simulator/customer-writes", `{"corp_id":"ww1","channel":"wk1","text":"` + strings.Repeat("x", 64<<10) + `"}`, 400, "send a JSON object with corp_id, channel, customer and text"},
		{"GET", "/simulator/customer-writes", ``, 405, "Method Not Allowed"},
		{"POST", "/simulator/contacts", `{"corp_id":"ww2","contacts":5}`, 404, `the simulated WeCom has no corp "ww2"`},
		{"POST", "/simulator/contacts", `{"corp_id":"ww1"}`, 400, `send {"corp_id":"…","contacts":1999}`},
		{"POST", "/simulator/contacts", `{"corp_id":"ww1","contacts":-1}`, 400, `send {"corp_id":"…","contacts":1999}`},
		{"POST", "/simulator/contacts", `{"corp_id":"ww1","contacts":10000001}`, 400, `send {"corp_id":"…","contacts":1999}`},
		{"POST", "/simulator/contacts", `contacts=5`, 400, `send {"corp_id":"…","contacts":1999}`},
		{"POST", "/simulator/advance", `{"by":"soon"}`, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/advance", `{"by":47}`, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/advance", `{"by":"-1h"}`, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/advance", `{}`, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/advance", ``, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/advance", `{"x":"` + strings.Repeat("x", 1<<10) + `","by":"1h"}`, 400, `send {"by":"47h"}`},
		{"POST", "/simulator/calls", ``, 405, "Method Not Allowed"},
		{"GET", "/simulator/other", ``, 404, "404 page not found"},
		{"GET", "/", ``, 404, "404 page not found"},
	} {
		if status, body := call(test.method, test.path, test.body); status != test.status || body != test.text {
			t.Errorf("%s %s %.40s: %d %s", test.method, test.path, test.body, status, body)
		}
	}
	if !clock.Now().Equal(before) {
		t.Errorf("the clock moved to %v", clock.Now())
	}
}

func TestControlAdvances(t *testing.T) {
	t.Parallel()
	p, clock, call := console(t)
	before := clock.Now()
	p.CustomerWrites("ww1", "wk1", "wmA", "hello")
	status, body := call("POST", "/simulator/advance", `{"by":"47h30m"}`)
	want := before.Add(47*time.Hour + 30*time.Minute)
	if status != http.StatusOK || body != `{"now":"`+want.Format(time.RFC3339)+`"}` || !clock.Now().Equal(want) {
		t.Errorf("%d %s", status, body)
	}
	if _, answer := call("POST", "/cgi-bin/kf/send_msg?access_token="+p.Issue("ww1"), send); !strings.Contains(answer, `"errcode":0`) {
		t.Errorf("inside the window: %s", answer)
	}
	call("POST", "/simulator/advance", `{"by":"30m"}`)
	if _, answer := call("POST", "/cgi-bin/kf/send_msg?access_token="+p.Issue("ww1"), send); !strings.Contains(answer, `"errcode":95002`) {
		t.Errorf("after the window: %s", answer)
	}
}

// The number of contacts can be set, also to none.
func TestControlContacts(t *testing.T) {
	t.Parallel()
	p, _, call := console(t)
	for _, n := range []string{"1999", "2001", "0"} {
		status, body := call("POST", "/simulator/contacts", `{"corp_id":"ww1","contacts":`+n+`}`)
		if status != http.StatusOK || body != `{"contacts":`+n+`}` || strconv.Itoa(p.Contacts("ww1")) != n {
			t.Errorf("%s: %d %s", n, status, body)
		}
	}
}

// The calls are listed with the first kilobyte of their bodies.
func TestControlLists(t *testing.T) {
	t.Parallel()
	p, _, call := console(t)
	if status, body := call("GET", "/simulator/calls", ""); status != http.StatusOK || body != `[]` {
		t.Errorf("%d %s", status, body)
	}
	call("POST", "/cgi-bin/message/send?access_token="+p.Issue("ww1"), strings.Repeat("x", 2000))
	call("GET", "/cgi-bin/user/get?access_token=bad", "")
	_, body := call("GET", "/simulator/calls", "")
	want := `[{"method":"POST","path":"/cgi-bin/message/send","corp_id":"ww1","errcode":0,"body":"` + strings.Repeat("x", 1024) + `"},{"method":"GET","path":"/cgi-bin/user/get","errcode":40014}]`
	if body != want {
		t.Errorf("%s", body)
	}
}

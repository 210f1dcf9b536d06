package wecomtest_test

import (
	"testing"
	"time"

	"replygate/wecom"
	"replygate/wecom/wecomtest"
)

// A corp that calls too often gets 45009 for the unit of the limit, other corps and paths do not.
func TestFrequency(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s2")
	mine, other := p.token, p.Issue("ww2")
	p.SetLimit(wecom.PathContactList, wecomtest.Limit{Minute: 3, Hour: 7})
	calls := func(token string, codes ...int) {
		t.Helper()
		p.token = token
		for _, code := range codes {
			p.expect(code, wecom.PathContactList, `{}`)
		}
	}
	calls(mine, 0, 0, 0, 45009, 45009)
	calls(other, 0, 0, 0)
	p.token = mine
	p.expect(0, "/cgi-bin/user/get", "")
	p.clock.Advance(time.Minute - time.Second)
	calls(mine, 45009)
	p.clock.Advance(time.Second)
	calls(mine, 0, 0, 0)
	p.clock.Advance(time.Minute)
	calls(mine, 0, 45009) // the hour
	p.clock.Advance(59 * time.Minute)
	calls(mine, 45009)
	p.clock.Advance(time.Minute)
	calls(mine, 0, 0, 0, 45009)
	p.SetLimit(wecom.PathContactList, wecomtest.Limit{})
	calls(mine, 0, 0, 0, 0, 0)
}

// By default contact_list has the limits of DOC 90454, in a minute and in an hour.
func TestDefaultFrequency(t *testing.T) {
	t.Parallel()
	p := start(t)
	for minute := range 15 {
		for n := range 10_000 {
			if code := p.Call("ww1", wecom.PathContactList); code != 0 {
				t.Fatalf("call %d in minute %d: errcode %d", n, minute, code)
			}
		}
		if code := p.Call("ww1", wecom.PathContactList); minute == 0 && code != wecom.CodeFrequency {
			t.Errorf("call 10,001 in a minute: errcode %d", code)
		}
		p.clock.Advance(time.Minute)
	}
	if code := p.Call("ww1", wecom.PathContactList); code != wecom.CodeFrequency {
		t.Errorf("call 150,001 in an hour: errcode %d", code)
	}
}

// More than five calls at the same time get 45033, until one has been answered.
func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	release := p.Hold(wecom.PathContactList)
	answers := make(chan int)
	for range 5 {
		go func() { answers <- p.page("", 1).Errcode }()
	}
	for p.Count(wecom.PathContactList) < 5 {
		time.Sleep(time.Millisecond)
	}
	if page := p.page("", 1); page.Errcode != wecom.CodeConcurrency {
		t.Errorf("the sixth: errcode %d", page.Errcode)
	}
	p.expect(0, "/cgi-bin/user/get", "")
	release()
	release() // again changes nothing
	for range 5 {
		if code := <-answers; code != 0 {
			t.Errorf("a held call: errcode %d", code)
		}
	}
	if page := p.page("", 1); page.Errcode != 0 {
		t.Errorf("after all were answered: errcode %d", page.Errcode)
	}
}

// An app that may not call a path gets the same errcode each time.
func TestRefuse(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.AddCorp("ww2", "s2")
	p.Refuse("ww1", wecom.PathContactList, 48002)
	for range 2 {
		p.expect(48002, wecom.PathContactList, `{}`)
	}
	p.expect(0, "/cgi-bin/user/get", "")
	mine := p.token
	p.token = p.Issue("ww2")
	p.expect(0, wecom.PathContactList, `{}`)
	p.token = mine
	p.Refuse("ww1", wecom.PathContactList, 0)
	p.expect(0, wecom.PathContactList, `{}`)
}

package proxy

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"replygate/record"
)

func TestClockAhead(t *testing.T) {
	at := func(s float64) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	for _, test := range []struct{ second, began, ended, ahead float64 }{
		{10, 10.2, 10.3, 0},
		{10, 9.9, 9.9, 0.1},
		{10, 8, 13, 0}, // a slow answer proves little
		{10, 5, 7, 3},
		{10, 10.999, 11, 0},
		{10, 11, 11, 0}, // it may have shown 10.999
		{10, 14, 14.5, -3},
	} {
		want := time.Duration(test.ahead * float64(time.Second))
		if got := clockAhead(at(test.second), at(test.began), at(test.ended)); (got - want).Abs() > time.Microsecond {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// A clock that differs is told of once, and one answer in ten seconds is looked at.
func TestSkew(t *testing.T) {
	core, told := observer.New(zap.InfoLevel)
	now := time.Unix(1_700_000_000, 0)
	at := func() time.Time { return now }
	g := &Gateway{Log: record.RateLimit(zap.New(core), at), Now: at}
	answered := func(date string) {
		var h fasthttp.ResponseHeader
		if err := h.Read(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\ndate: " + date + "\r\n\r\n"))); err != nil {
			t.Fatal(err)
		}
		g.lookAtClock(&h, now)
	}
	for _, step := range []struct {
		later, differs time.Duration
		ahead          time.Duration
		told           int
	}{
		{0, 0, 0, 0},
		{9 * time.Second, time.Hour, 0, 0}, // not looked at
		{time.Second, time.Hour, time.Hour, 1},
		{time.Minute, time.Hour, time.Hour, 1},
		{time.Minute, 2 * time.Second, 2 * time.Second, 1},
		{time.Minute, -time.Hour, time.Second - time.Hour, 2},
		{time.Minute, 0, 0, 2},
		{10 * time.Second, time.Hour, time.Hour, 3}, // more than a minute after the last line
		{10 * time.Second, 0, 0, 3},
		{10 * time.Second, time.Hour, time.Hour, 3}, // it goes to and fro
		{10 * time.Second, 0, 0, 3},
		{time.Minute, time.Hour, time.Hour, 4},
		{time.Minute, 0, 0, 4},
	} {
		now = now.Add(step.later)
		answered(now.Add(step.differs).UTC().Format(http.TimeFormat))
		if g.Skew() != step.ahead || told.Len() != step.told {
			t.Errorf("%+v: ahead %v, told %d times", step, g.Skew(), told.Len())
		}
	}
	now = now.Add(time.Minute)
	if answered("soon"); g.Skew() != 0 {
		t.Errorf("ahead %v by a Date that is none", g.Skew())
	}
}

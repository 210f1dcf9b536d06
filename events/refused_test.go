package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/record"
	"replygate/store/storetest"
)

// refusal is a decision record as a Tap shows it.
func refusal(at time.Time, verdict, more string) []byte {
	return fmt.Appendf(nil, `"id":%q,"corp_id":"wwA","account":"Acme East","verdict":%q,"reason":"rule_refuse","rule":"r","forwarded":false,"errcode":48002%s}`, record.NewID(at), verdict, more)
}

// Refused calls are events once somebody asks for them: 50 a second, and the next one tells how
// many there were besides. Nobody gets them who did not name them.
func TestRefused(t *testing.T) {
	l := logIn(storetest.Open(t, storetest.Embedded(t), time.Now))
	feed := &Feed{Log: l}
	now := time.Now()
	var asked []string
	newRefused := func() *Refused {
		return &Refused{
			Log: l, Feed: feed, Now: func() time.Time { return now }, Errors: record.RateLimit(zap.NewNop(), time.Now),
			Gateway: func() string { return "10.1.0.11:9090" }, Asked: func() []string { return asked },
		}
	}
	r := newRefused()
	for _, asked = range [][]string{nil, {"*"}, {"window.*", StoreDown}} {
		r.ask(t.Context())
		r.Add(refusal(now, "refuse", ""))
		if len(r.waiting) != 0 {
			t.Fatalf("%q ask for refused calls", asked)
		}
		now = now.Add(askEvery)
	}
	asked = []string{"decision.*"}
	r.ask(t.Context())
	r.Add(refusal(now, "pass", ""))
	r.Add([]byte(strings.Replace(string(refusal(now, "refuse", "")), "false", "true", 1))) // in shadow
	for range refusedPerSecond + 7 {
		r.Add(refusal(now, "refuse", ""))
	}
	now = now.Add(time.Second)
	r.Add(refusal(now, "refuse", fmt.Sprintf(`,"user_agent":%q`, strings.Repeat("x", maxRefusedRecord))))
	r.Add(refusal(now, "refuse", ""))
	r.Add(refusal(now, "refuse", ""))
	r.flush(t.Context())
	entries := must(l.Read(t.Context(), "", 100))
	if len(entries) != refusedPerSecond+2 || len(r.waiting) != 0 {
		t.Fatalf("%d events", len(entries))
	}
	for i, want := range map[int]string{0: `"dropped":0`, refusedPerSecond: `"dropped":8`, refusedPerSecond + 1: `"dropped":0`} {
		if text := string(entries[i].JSON); !strings.Contains(text, `"data":{"gateway":"10.1.0.11:9090",`+want+`,"id":"`) || !strings.HasSuffix(text, `"errcode":48002}}`) || entries[i].Corp != "wwA" {
			t.Errorf("%s, want %s", text, want)
		}
	}
	r.flush(t.Context())
	all, named := Filter{}, Filter{Types: []string{DecisionRefused}}
	if star := (Filter{Types: []string{"*"}}); all.Matches(&entries[0]) || star.Matches(&entries[0]) || !named.Matches(&entries[0]) {
		t.Error("who gets it")
	}
	asked = nil
	now = now.Add(askEvery)
	if r.ask(t.Context()); r.on.Load() {
		t.Error("nobody asks any more")
	}
	// A listener at one gateway has the others log too.
	listener := must(feed.Listen(t.Context(), named))
	r.ask(t.Context())
	other := newRefused()
	other.Feed = &Feed{Log: l}
	other.ask(t.Context())
	if !r.on.Load() || !other.on.Load() {
		t.Errorf("with a listener: %t %t", r.on.Load(), other.on.Load())
	}
	listener.Close()
}

// A storm of refusals leaves the log room for other events: an hour has so many, also if no second
// has too many.
func TestRefusedOfAnHour(t *testing.T) {
	const most = MaxEvents / refusedOfLog
	now := time.Now().Truncate(time.Hour)
	r := &Refused{Log: &Log{most: MaxEvents}, Now: func() time.Time { return now }, Gateway: func() string { return "g" }}
	r.on.Store(true)
	taken := 0
	storm := func(seconds int) int {
		was := taken
		for range seconds {
			for range refusedPerSecond {
				r.Add(refusal(now, "refuse", ""))
			}
			taken += len(r.waiting)
			r.waiting = nil
			now = now.Add(time.Second)
		}
		return taken - was
	}
	if n := storm(3600); n != most {
		t.Errorf("%d in an hour", n)
	}
	if want := 3600*refusedPerSecond - most; r.dropped != want {
		t.Errorf("%d are told of as dropped, want %d", r.dropped, want)
	}
	if n := storm(2); n != 2*refusedPerSecond {
		t.Errorf("%d in two seconds of the next hour", n)
	}
}

// While Redis is away few refused calls wait, and the others are counted.
func TestRefusedAreBounded(t *testing.T) {
	now := time.Now()
	r := &Refused{Log: &Log{most: MaxEvents}, Now: func() time.Time { return now }, Gateway: func() string { return "g" }}
	r.on.Store(true)
	for range 10 {
		for range refusedPerSecond {
			r.Add(refusal(now, "refuse", ""))
		}
		now = now.Add(time.Second)
	}
	if len(r.waiting) != maxRefused || r.dropped != 10*refusedPerSecond-maxRefused {
		t.Errorf("%d wait, %d dropped", len(r.waiting), r.dropped)
	}
}

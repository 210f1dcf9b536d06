package events

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store/storetest"
)

// losesAnswers is a connection that breaks after Redis has carried out a command.
type losesAnswers struct {
	next int // commands whose answer is lost
}

func (h *losesAnswers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *losesAnswers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if h.next > 0 && err == nil {
			h.next--
			err = errors.New("the connection broke")
			cmd.SetErr(err)
		}
		return err
	}
}

func (h *losesAnswers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// An append whose answer is lost is repeated, and logged once.
func TestAnswerOfAnAppendIsLost(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: storetest.Start(t).Addr()})
	defer c.Close()
	h := &losesAnswers{}
	c.AddHook(h)
	l := logIn(c)
	appendAll(t, l, event(StoreUp, "", 0)) // the script is there
	w := &Watch{Log: l, known: map[string]string{}}
	h.next = 1
	change := []Event{
		{Type: StandingChanged, At: time.Now(), Key: []string{"wwA", "", "lapsed"}, Field: "standing:wwA", Value: "lapsed"},
		event(WindowClosing, "wwA", 1),
	}
	if err := w.append(t.Context(), change); err == nil {
		t.Fatal("no answer was lost")
	}
	if err := w.append(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if n := len(must(l.Read(t.Context(), "", 10))); n != 3 || w.known["standing:wwA"] != "lapsed" {
		t.Errorf("%d entries, %v", n, w.known)
	}
}

// A Redis that comes back without its newest events gets them again, with the ids that they had.
func TestRedisLosesTheEnd(t *testing.T) {
	server := storetest.Start(t)
	l := logIn(storetest.Open(t, server.Config(), time.Now))
	a, b := event(WindowClosing, "wwA", 1), event(WindowClosing, "wwA", 2)
	appendAll(t, l, a)
	dump := server.Dump()
	appendAll(t, l, b)
	before := must(l.Read(t.Context(), "", 10))
	server.Restore(dump)
	var results []Result
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the client connects again
		var err error
		if results, err = l.Append(t.Context(), a, b); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	after := must(l.Read(t.Context(), "", 10))
	if results[0] != Known || results[1] != Appended || len(after) != 2 || string(after[1].JSON) != string(before[1].JSON) {
		t.Errorf("%v %+v", results, after)
	}
}

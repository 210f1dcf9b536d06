package window_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/window"
)

// learn stores a code.
func (b *bench) learn(text string, c window.Code) {
	b.Helper()
	if err := b.LearnCodes(b.Context(), []window.LearntCode{{Code: c, Text: text}}); err != nil {
		b.Fatal(err)
	}
}

// known asks until the answer is not unsure, unless that is what the test wants.
func known(want window.CodeState, ask func() window.CodeAnswer) window.CodeAnswer {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if a := ask(); a.State != window.CodeUnavailable || want == window.CodeUnavailable || time.Now().After(deadline) {
			return a
		}
	}
}

// consume expects the state of a consumed code.
func (b *bench) consume(corp, text string, want window.CodeState) window.CodeAnswer {
	b.Helper()
	a := known(want, func() window.CodeAnswer { return b.ConsumeCode(b.Context(), corp, text) })
	if a.State != want {
		b.Fatalf("ConsumeCode(%s, %s) = state %d, want %d", corp, text, a.State, want)
	}
	return a
}

// lostAnswers runs commands on keys with a prefix, and loses their answers.
type lostAnswers struct {
	prefix string
	on     atomic.Bool
}

func (l *lostAnswers) DialHook(next redis.DialHook) redis.DialHook { return next }
func (l *lostAnswers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil {
			return err
		}
		return l.lose([]redis.Cmder{cmd}, nil)
	}
}

func (l *lostAnswers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return l.lose(cmds, next(ctx, cmds)) }
}

func (l *lostAnswers) lose(cmds []redis.Cmder, err error) error {
	for _, cmd := range cmds {
		if cmd.Err() == nil && l.on.Load() && strings.Contains(fmt.Sprint(cmd.Args()), l.prefix) {
			err = io.EOF // as of a connection that is reset: go-redis may send the command again
			cmd.SetErr(err)
		}
	}
	return err
}

// A code that Redis has marked as used without telling is not used: nothing was sent with it. So it
// may be used once more, by this gateway alone.
func TestCodeWhoseAnswerIsLost(t *testing.T) {
	each(t, 5, func(b *bench) {
		l := &lostAnswers{prefix: "rg:code:"}
		addHook(b.T, b.rdb, l)
		b.learn("CODE", window.Code{Key: li, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)})
		other := b.other()
		l.on.Store(true)
		for range 2 {
			b.consume(li.Corp, "CODE", window.CodeUnavailable)
		}
		l.on.Store(false)
		if a := other.ConsumeCode(b.Context(), li.Corp, "CODE"); a.State != window.CodeUsed {
			b.Errorf("through another gateway: %s", a.State)
		}
		b.consume(li.Corp, "CODE", window.CodeTaken)
		b.consume(li.Corp, "CODE", window.CodeUsed)
	})
}

func TestCodeIsUsedOnce(t *testing.T) {
	each(t, 5, func(b *bench) {
		code := window.Code{Key: window.Key{Corp: "ww1", Channel: "wk:1", Customer: "wm:used"}, Kind: "enter_session", Deadline: b.clock.Now().Add(20 * time.Second)}
		b.consume("ww1", "CODE", window.CodeUnknown)
		b.learn("CODE", code)
		b.consume("ww", "CODE", window.CodeUnknown) // another corp's
		b.consume("ww1:wk", "CODE", window.CodeUnknown)
		a := b.consume("ww1", "CODE", window.CodeTaken)
		if a.Code != code {
			b.Fatalf("the code is %+v, want %+v", a.Code, code)
		}
		b.learn("CODE", code) // a replay frees nothing
		if again := b.consume("ww1", "CODE", window.CodeUsed); again.Code != code {
			b.Fatalf("the used code is %+v", again.Code)
		}
		if err := b.RestoreCode(b.Context(), a); err != nil {
			b.Fatal(err)
		}
		b.consume("ww1", "CODE", window.CodeTaken)
	})
}

func TestCorpOfCode(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.learn("CODE", window.Code{Key: li, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)})
		for range 2 { // also once it is used
			for code, want := range map[string]string{"CODE": li.Corp, "ELSE": "", "": ""} {
				corp, err := b.CorpOfCode(b.Context(), code)
				for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
					corp, err = b.CorpOfCode(b.Context(), code) // unsure for a moment
				}
				if corp != want || err != nil {
					b.Fatalf("%q belongs to %q, %v; want %q", code, corp, err, want)
				}
			}
			b.ConsumeCode(b.Context(), li.Corp, "CODE")
		}
	})
}

// Of many concurrent calls exactly one gets the code.
func TestCodeRace(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.learn("RACE", window.Code{Key: li, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)})
		var taken atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if b.ConsumeCode(b.Context(), "ww1", "RACE").State == window.CodeTaken {
					taken.Add(1)
				}
			})
		}
		all.Wait()
		if taken.Load() != 1 {
			b.Fatalf("taken %d times", taken.Load())
		}
	})
}

// A delivery failure changes the window of the message that the reply answered, and no later one.
func TestDeliveryFailureCorrectsTheWindow(t *testing.T) {
	each(t, 5, func(b *bench) {
		correct := func(at time.Time, o window.Outcome) {
			b.Helper()
			if err := b.Correct(b.Context(), window.Correction{Key: li, At: at, Outcome: o}); err != nil {
				b.Fatal(err)
			}
		}
		peek := func(want window.State) {
			b.Helper()
			if a := settled(want, func() window.Answer { return b.Peek(b.Context(), li)[0] }); a.State != want {
				b.Fatalf("state %d, want %d", a.State, want)
			}
		}
		at := b.clock.Now()
		b.clock.Advance(time.Hour)
		correct(at.Add(time.Hour), window.WindowClosed) // nothing on record: nothing to correct
		b.wrote(li, at)
		correct(at.Add(59*time.Second), window.WindowClosed) // may be about an older message
		peek(window.Open)
		correct(at.Add(2*time.Minute), window.QuotaExhausted)
		peek(window.Exhausted)
		b.wrote(li, at.Add(time.Minute))
		peek(window.Open)
		correct(at.Add(2*time.Minute), window.QuotaExhausted) // replayed: a message of 12:01 and an event of 12:02
		peek(window.Exhausted)
		b.wrote(li, at.Add(3*time.Minute))
		peek(window.Open)
		correct(at.Add(2*time.Minute), window.WindowClosed)
		peek(window.Open)
		correct(at.Add(5*time.Minute), window.WindowClosed)
		peek(window.ClosedByPlatform)
		b.wrote(li, at.Add(3*time.Minute)) // replayed
		peek(window.ClosedByPlatform)
		b.wrote(li, at.Add(6*time.Minute))
		peek(window.Open)
	})
}

func TestOperatorClosesAndOpens(t *testing.T) {
	each(t, 5, func(b *bench) {
		if found, err := b.Close(b.Context(), li); found || err != nil {
			b.Fatalf("closed a window that does not exist: %v, %v", found, err)
		}
		at := b.clock.Now()
		b.wrote(li, at)
		b.reserve(li, window.Open, 4)
		if found, err := b.Close(b.Context(), li); !found || err != nil {
			b.Fatalf("Close = %v, %v", found, err)
		}
		b.reserve(li, window.ClosedByPlatform, 0)
		b.clock.Advance(time.Second)
		b.wrote(li, b.clock.Now())
		b.reserve(li, window.Open, 4)
	})
}

// A code that was never seen is unknown only with a complete history; one of another corp is
// unknown in any case.
func TestUnknownCodes(t *testing.T) {
	each(t, 5, func(b *bench) {
		states := func(corp string, want window.CodeState) {
			b.Helper()
			b.consume(corp, "NEVER", want)
			if a := known(want, func() window.CodeAnswer { return b.PeekCode(b.Context(), corp, "NEVER") }); a.State != want || !a.Asked() {
				b.Fatalf("PeekCode(%s) = %s, want %s", corp, a.State, want)
			}
		}
		theirs := window.Code{Key: window.Key{Corp: "ww2", Channel: "wk2", Customer: "wm"}, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)}
		b.learn("FRESH", theirs)
		b.learn("USED", theirs)
		b.consume("ww2", "USED", window.CodeTaken)
		states("ww1", window.CodeUnknown)
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk1", Messages: true, Codes: true})
		states("ww1", window.CodeIncomplete)
		states("ww2", window.CodeUnknown)
		if err := b.ListAccounts(b.Context(), []string{"ww4"}, []string{"ww4"}); err != nil {
			b.Fatal(err)
		}
		b.lose(true, window.Loss{Corp: "ww3", Codes: true}, window.Loss{Channel: "wk4", Messages: true, Codes: true}, window.Loss{Channel: "wk5", Messages: true})
		states("ww3", window.CodeIncomplete)
		states("ww4", window.CodeIncomplete)
		states("ww5", window.CodeUnknown) // no codes were lost
		b.peek(window.Closed, on("ww3", "wk3"), on("ww4", "wk3"))
		b.since(-time.Hour)
		states("ww2", window.CodeIncomplete)
		for _, corp := range []string{"ww1", "ww3"} {
			for _, code := range []string{"FRESH", "USED"} {
				b.consume(corp, code, window.CodeUnknown)
				if a := b.PeekCode(b.Context(), corp, code); a.State != window.CodeUnknown {
					b.Errorf("%s's code for %s: %s", code, corp, a.State)
				}
			}
		}
		b.consume("ww2", "FRESH", window.CodeTaken)
		if err := b.ListAccounts(b.Context(), []string{"ww6"}, []string{"ww1"}); err != nil { // its records begin now
			b.Fatal(err)
		}
		states("ww6", window.CodeIncomplete)
		b.clock.Advance(length)
		states("ww1", window.CodeUnknown)
	})
}

package record

import (
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Each message is logged once a minute, and says how often it was not.
func TestRateLimited(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.InfoLevel)
	now := time.Unix(1_700_000_000, 0)
	l := RateLimit(zap.New(core), func() time.Time { return now })
	const none = -1
	for i, step := range []struct {
		log        func(string, ...zap.Field)
		message    string
		later      time.Duration
		level      zapcore.Level
		suppressed int64 // none: no line
	}{
		{l.Warn, "a", 0, zapcore.WarnLevel, 0},
		{l.Warn, "a", time.Second, 0, none},
		{l.Error, "b", 0, zapcore.ErrorLevel, 0}, // another kind
		{l.Warn, "a", 58 * time.Second, 0, none},
		{l.Warn, "a", time.Second, zapcore.WarnLevel, 2},
		{l.Warn, "a", time.Minute, zapcore.WarnLevel, 0},
		{l.Error, "b", 0, zapcore.ErrorLevel, 0},
		{l.Error, "b", 0, 0, none},
		{l.Error, "b", -time.Hour, zapcore.ErrorLevel, 1}, // the clock was set back
		{l.Info, "c", 0, zapcore.InfoLevel, 0},
		{l.Unlimited.Info, "c", 0, zapcore.InfoLevel, 0},
		{l.Unlimited.Info, "c", 0, zapcore.InfoLevel, 0},
	} {
		now = now.Add(step.later)
		step.log(step.message, zap.String("field", "value"))
		lines := seen.TakeAll()
		if step.suppressed == none {
			if len(lines) != 0 {
				t.Errorf("step %d: logged %v", i, lines)
			}
			continue
		}
		want := map[string]any{"field": "value"}
		if step.suppressed > 0 {
			want["suppressed"] = step.suppressed
		}
		if len(lines) != 1 || lines[0].Level != step.level || lines[0].Message != step.message || !reflect.DeepEqual(lines[0].ContextMap(), want) {
			t.Errorf("step %d: logged %v, want %v", i, lines, want)
		}
	}
}

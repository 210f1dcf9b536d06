package record

import (
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// RateLimited writes log lines that calls can repeat without end: one a minute of each message. The
// next one says in "suppressed" how many were left out. Messages must be constants, so that their
// number is bounded; what varies belongs in fields.
type RateLimited struct {
	Unlimited *zap.Logger // for lines that nothing repeats, such as one for each change of a state

	now   func() time.Time
	mu    sync.Mutex
	lines map[string]*repeated
}

// repeated is what is known of one message.
type repeated struct {
	last       time.Time // when it was logged
	suppressed int       // since then
}

// RateLimit returns a RateLimited that writes to log.
func RateLimit(log *zap.Logger, now func() time.Time) *RateLimited {
	return &RateLimited{Unlimited: log, now: now, lines: map[string]*repeated{}}
}

// Info logs at info, at most once a minute for each message.
func (l *RateLimited) Info(message string, fields ...zap.Field) {
	l.limit(l.Unlimited.Info, message, fields)
}

// Warn logs at warn, at most once a minute for each message.
func (l *RateLimited) Warn(message string, fields ...zap.Field) {
	l.limit(l.Unlimited.Warn, message, fields)
}

// Error logs at error, at most once a minute for each message.
func (l *RateLimited) Error(message string, fields ...zap.Field) {
	l.limit(l.Unlimited.Error, message, fields)
}

// Panicked logs what recover returned, with the stack.
func (l *RateLimited) Panicked(message string, p any) {
	l.Error(message, zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
}

// Recover, deferred, logs a panic and ends it, so that it ends one piece of background work and not
// the process.
func (l *RateLimited) Recover(message string) {
	if p := recover(); p != nil {
		l.Panicked(message, p)
	}
}

func (l *RateLimited) limit(log func(string, ...zap.Field), message string, fields []zap.Field) {
	suppressed, due := l.due(message)
	if suppressed > 0 {
		fields = append(fields, zap.Int("suppressed", suppressed))
	}
	if due {
		log(message, fields...)
	}
}

// due reports whether a line of this message may be logged now, and how many were suppressed since
// the last one. A clock that was set back does not silence it.
func (l *RateLimited) due(message string) (suppressed int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	line, known := l.lines[message]
	if known && now.Sub(line.last).Abs() < time.Minute {
		line.suppressed++
		return 0, false
	}
	if known {
		suppressed = line.suppressed
	}
	l.lines[message] = &repeated{last: now}
	return suppressed, true
}

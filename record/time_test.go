package record_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"replygate/record"
)

func TestAppendTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, want string }{
		{"2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000Z"},
		{"2026-11-22T10:00:00.0009Z", "2026-11-22T10:00:00.000Z"}, // cut, not rounded
		{"2026-11-22T10:00:00.9999Z", "2026-11-22T10:00:00.999Z"},
		{"2026-11-22T00:30:00+08:00", "2026-11-21T16:30:00.000Z"},
		{"2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00.000Z"},
		{"2028-02-29T23:59:59.5Z", "2028-02-29T23:59:59.500Z"},
		{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"},
		{"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(record.AppendTime([]byte("at "), at)); got != "at "+c.want {
			t.Errorf("%s: %s, want %s", c.at, got, c.want)
		}
	}
}

func TestAppendTimeAsPackageTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at := time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("", 8*3600))
		got, want := string(record.AppendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
		if got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestEncodeTime(t *testing.T) {
	t.Parallel()
	to := &stream{}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{TimeKey: "time", EncodeTime: record.EncodeTime, SkipLineEnding: true})
	log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(to), zap.InfoLevel), zap.WithClock(fixedClock{}))
	log.Info("a line")
	if got := to.text(); got != `{"time":"2026-11-22T10:00:00.007Z"}` {
		t.Error(got)
	}
}

type fixedClock struct{}

func (fixedClock) Now() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 7e6, time.UTC) }

func (fixedClock) NewTicker(time.Duration) *time.Ticker { panic("unused") }

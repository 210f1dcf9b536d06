package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"

	"replygate/config"
	"replygate/record"
)

const (
	rememberBytes = 8 << 20  // of the newest decision records, kept to be found by their id
	listedRecords = 50_000   // newest decision records kept to be listed
	listedBytes   = 64 << 20 // of these
	backwardBytes = 64 << 20 // read of the files for one page of older ones
)

// logs are the gateway's streams of records. All of them pass the one redactor.
type logs struct {
	own       *zap.Logger // what happens to the gateway, to standard error
	audit     *zap.Logger // changes by the admin API, in the same stream: all of them, however many
	access    *record.Log // one record a request, to standard output; off above info
	decisions *record.Log // one record a judged call that goes on
	refusals  *record.Log // one record a judged call that does not: it waits a little for room
	level     zap.AtomicLevel
	recent    *record.Recent
	listed    *record.Ring
	tap       record.Tap    // of decision records on their way out
	began     time.Time     // of this process: files alone have earlier records
	searching chan struct{} // full while the files are searched: one search at a time
	redactor  *record.Redactor
	sinks     []*record.Sink
	files     []io.Closer
}

func openLogs(c *config.Config, level zapcore.Level, std streams) (*logs, error) {
	e := zap.NewProductionEncoderConfig()
	e.TimeKey, e.EncodeTime = "time", record.EncodeTime
	redactor := record.NewRedactor(c.Secrets()...)
	l := &logs{redactor: redactor, recent: record.NewRecent(rememberBytes), searching: make(chan struct{}, 1), level: zap.NewAtomicLevel()}
	l.listed = record.NewRing(listedRecords, listedBytes, isListed)
	console, encoder := c.Log.Format == "console", zapcore.NewJSONEncoder(e)
	if console {
		encoder = zapcore.NewConsoleEncoder(e)
	}
	errs := redactor.Redacting(std.err)
	own := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(errs)), l.level)
	l.audit = zap.New(own)
	l.own = zap.New(zapcore.NewSamplerWithOptions(own, time.Second, 20, 1000))
	stdout := std.out
	if c.Log.Decisions == "stdout" {
		stdout = l.recent.Through(l.listed.Through(l.tap.Through(stdout)))
	}
	out := l.sink(redactor.RedactingRecords(stdout), errs)
	l.access = record.NewLog(out.Hasty(), console)
	l.setLevel(level)
	if c.Log.Decisions == "stdout" {
		l.decisions, l.refusals = record.NewLog(out.Hasty(), console), record.NewLog(out, console)
		return l, nil
	}
	f, err := os.OpenFile(c.Log.Decisions, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) // finds out now whether it can be written
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log.decisions: %w: name a file in a folder that the gateway may write", err), l.Close())
	}
	f.Close()
	file := &lumberjack.Logger{Filename: c.Log.Decisions, MaxSize: int(c.Log.MaxSize >> 20), MaxBackups: c.Log.MaxFiles}
	l.files = append(l.files, file)
	decisions := l.sink(redactor.RedactingRecords(l.recent.Through(l.listed.Through(l.tap.Through(file)))), errs)
	l.decisions, l.refusals = record.NewLog(decisions.Hasty(), false), record.NewLog(decisions, false)
	return l, nil
}

// setLevel puts log.level in force, at the start and at a reload. Access records are info.
func (l *logs) setLevel(level zapcore.Level) {
	l.level.SetLevel(level)
	l.access.Enable(level <= zapcore.InfoLevel)
}

func (l *logs) sink(to, instead io.Writer) *record.Sink {
	s := record.NewSink(to, instead)
	l.sinks = append(l.sinks, s)
	return s
}

// Unlogged counts the records that went to standard error instead.
func (l *logs) Unlogged() (n uint64) {
	for _, s := range l.sinks {
		n += s.Unlogged()
	}
	return n
}

// Sync waits until all records are written.
func (l *logs) Sync() {
	for _, s := range l.sinks {
		_ = s.Sync() // it only waits
	}
}

// Close writes what is left.
func (l *logs) Close() error {
	var all []error
	for _, s := range l.sinks {
		all = append(all, s.Close())
	}
	for _, f := range l.files {
		all = append(all, f.Close())
	}
	return errors.Join(all...)
}

// find looks for the record of a decision in memory, then in the files of a log. It returns its
// source too: memory, or the file. A record is written once its call has ended. Searches of the
// files wait for each other, since each may read and unpack much; ctx ends the wait too.
func (l *logs) find(ctx context.Context, id string, at time.Time, path string, timeout time.Duration) (line []byte, source string, err error) {
	l.Sync()
	if line := l.recent.Find(id); line != nil {
		return line, "memory", nil
	}
	if line := l.listed.Find(id); line != nil {
		return line, "memory", nil
	}
	if path == "stdout" {
		return nil, "", nil
	}
	select {
	case l.searching <- struct{}{}:
		defer func() { <-l.searching }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	return record.FindInFiles(ctx, path, id, at, timeout+time.Minute)
}

// isListed selects the decision records that are listed from memory: all but passes, and one in a
// hundred of those, by its id.
func isListed(line []byte) bool {
	if record.Member(line, "verdict") != "pass" || bytes.Contains(line, shadowMember) || bytes.Contains(line, faultMember) {
		return true
	}
	id := record.Member(line, "id")
	n, err := strconv.ParseUint(id[max(0, len(id)-5):], 16, 32) // what follows the time counts ids
	return err != nil || n%100 == 0
}

var shadowMember, faultMember = []byte(`,"shadow":{"`), []byte(`,"fault":"`)

// newest returns the records that are listed from memory, the oldest first, and since when they are
// complete.
func (l *logs) newest() (lines [][]byte, since time.Time) {
	l.Sync()
	lines, since = l.listed.Lines()
	if since.Before(l.began) {
		since = l.began
	}
	return lines, since
}

// older calls visit with the lines of the log's files up to an instant, the newest first, as far as
// one page of a list may read. more is true if lines are left, and packed lists the files that were
// passed over.
func (l *logs) older(ctx context.Context, path string, until time.Time, visit func(line []byte) bool) (more bool, packed []string, err error) {
	if path == "stdout" {
		return false, nil, nil
	}
	select {
	case l.searching <- struct{}{}:
		defer func() { <-l.searching }()
	case <-ctx.Done():
		return true, nil, ctx.Err()
	}
	l.Sync()
	b := record.Backward{Path: path, Until: until, Bytes: backwardBytes}
	more, err = b.Read(ctx, visit)
	return more, b.Packed, err
}

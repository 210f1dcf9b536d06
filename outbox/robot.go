package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"replygate/config"
	"replygate/events"
)

// RobotSeconds is about how long a robot must be left alone after a message.
const RobotSeconds = 4

const (
	robotPath    = "/cgi-bin/webhook/send"
	robotSpacing = 3200 * time.Millisecond // between messages: WeCom takes 20 a minute (DOC 91770)
	gathered     = time.Minute             // how long events are gathered for a digest
	urgently     = 10 * time.Second        // if a chat closes within 15 minutes
	robotPause   = time.Minute             // after a message that was not taken, doubled each time
	maxRobotWait = time.Hour
)

// robot sends digests to one robot of a group.
type robot struct {
	*Outbox
	name     string
	key      string
	language string
	match    events.Filter
	target   string

	base   string // the position that the digest begins after
	readTo string // and the one it ends at
	digest digest
	first  time.Time // when its first event was read
}

func newRobot(o *Outbox, c config.Robot) *robot {
	return &robot{Outbox: o, name: c.Name, key: c.Key.Reveal(), language: c.Language, match: filterOf(c.Types, c.Accounts), target: targetOf(c.Key.Reveal())}
}

// pass gathers what is new in the log, and sends it when it is time. The position moves once the
// digest is sent, so that another gateway gathers it again if this one ends before.
func (r *robot) pass(ctx context.Context) error {
	s, err := r.open(ctx, r.name, r.target)
	if err != nil || s.disabled != "" {
		return err
	}
	if s.position != r.base {
		r.begin(s.position)
	}
	if err := r.gather(ctx); err != nil {
		return err
	}
	now := r.Now()
	wait := gathered
	if r.digest.urgent {
		wait = urgently
	}
	switch {
	case r.digest.total == 0 && r.readTo != r.base:
		return r.advance(ctx)
	case r.digest.total == 0, now.Before(r.first.Add(wait)), now.Before(s.until):
		return nil
	}
	free, err := r.reserve(ctx, r.name)
	if err != nil || !free {
		return err
	}
	attempt, done := lasting(ctx)
	defer done()
	return r.settle(ctx, s, r.send(attempt, r.digest.text(r.language, r.Zone(), r.Link())))
}

// begin begins a new digest after a position.
func (r *robot) begin(position string) {
	r.base, r.readTo, r.digest, r.first = position, position, digest{}, time.Time{}
}

// gather reads what is new into the digest.
func (r *robot) gather(ctx context.Context) error {
	for range maxReads {
		entries, err := r.Log.Read(ctx, r.readTo, readAtOnce)
		if err != nil {
			return err
		}
		for i := range entries {
			if r.match.Matches(&entries[i]) {
				if r.digest.total == 0 {
					r.first = r.Now()
				}
				r.digest.add(&entries[i])
			}
			r.readTo = entries[i].Position
		}
		if len(entries) < readAtOnce {
			return nil
		}
	}
	return nil
}

// advance moves the position to the end of the digest.
func (r *robot) advance(ctx context.Context) error {
	if _, err := r.take(ctx, r.name, r.base, r.readTo, nil); err != nil {
		return err
	}
	r.begin(r.readTo) // if another gateway moved it, the next pass reads where to
	return nil
}

// settle notes what came of a message.
func (r *robot) settle(ctx context.Context, s state, sent outcome) error {
	if sent.ok {
		r.count(r.name, func(c *Counts) { c.Delivered++ })
		if err := r.advance(ctx); err != nil {
			return err
		}
		return r.clear(ctx, r.name)
	}
	if ctx.Err() != nil {
		return nil
	}
	r.count(r.name, func(c *Counts) { c.Failed++ })
	now := r.Now()
	pause := min(robotPause<<min(s.slowed, 10), maxRobotWait)
	fields := []any{fieldError, sent.why, fieldUntil, now.Add(pause).UnixMilli(), fieldSlowed, s.slowed + 1}
	if s.failing.IsZero() {
		fields = append(fields, fieldFailing, now.UnixMilli())
	}
	if sent.gone {
		if err := r.disabled(ctx, r.name, sent.why, r.readTo); err != nil {
			return err
		}
		fields = append(fields, fieldDisabled, sent.why)
	}
	return r.set(ctx, r.name, fields...)
}

// The errcodes with which WeCom says that a robot is not there, or is turned off.
const (
	badRobot     = 93000
	robotStopped = 93004
)

// send sends one message.
func (r *robot) send(ctx context.Context, text string) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	body, err := json.Marshal(map[string]any{"msgtype": "markdown", "markdown": map[string]string{"content": text}})
	if err != nil {
		return outcome{why: err.Error()}
	}
	status, answer, err := r.WeCom.Call(ctx, robotPath, url.Values{"key": {r.key}}, body)
	if err != nil {
		return outcome{why: reason(err)}
	}
	said := struct{ Errcode *int }{}
	switch {
	case status != http.StatusOK, json.Unmarshal(answer, &said) != nil, said.Errcode == nil:
		return outcome{status: status, why: fmt.Sprintf("HTTP %d without an errcode", status)}
	case *said.Errcode == 0:
		return outcome{status: status, ok: true}
	}
	return outcome{status: status, why: fmt.Sprintf("WeCom answers errcode %d", *said.Errcode), gone: *said.Errcode == badRobot || *said.Errcode == robotStopped}
}

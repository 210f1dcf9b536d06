package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"replygate/events"
)

const (
	eventWrite   = 10 * time.Second // for one write to a listener
	eventComment = 15 * time.Second // between comments, so that proxies keep the connection
	eventRetry   = 3000             // ms after which a listener comes back
)

// eventQuery is the query of GET /v1/events.
type eventQuery struct {
	match events.Filter
	after string // a position; "": from now on
}

// events streams the log of events as server-sent events, from the position that the listener had
// last.
func (a *Admin) events(w http.ResponseWriter, r *http.Request) {
	q, err := a.readEventQuery(r)
	if err != nil {
		failQuery(w, err)
		return
	}
	if r.Method == http.MethodHead {
		eventHeader(w)
		return
	}
	l, err := a.Events.Listen(r.Context(), q.match)
	switch {
	case errors.Is(err, events.ErrTooMany):
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusTooManyRequests, "too_many", fmt.Sprintf("this gateway has %d listeners already; ask another one, or come back", events.MaxListeners))
		return
	case err != nil:
		storeAway(w, err)
		return
	}
	defer l.Close()
	oldest, newest, err := a.Events.Log.Bounds(r.Context())
	if err != nil {
		storeAway(w, err)
		return
	}
	// The server's deadlines are for short requests.
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		fail(w, http.StatusInternalServerError, "no_stream", "this connection cannot be kept open")
		return
	}
	eventHeader(w)
	s := eventStream{to: w, control: c}
	s.write(fmt.Appendf(nil, "retry: %d\n\n", eventRetry))
	if q.after != "" {
		after := q.after
		if lost(after, oldest, newest) {
			text, _ := json.Marshal(map[string]string{"oldest": oldest})
			s.write(fmt.Appendf(nil, "event: reset\ndata: %s\n\n", text))
			after = ""
		}
		if l.Replay(r.Context(), after, s.send) != nil {
			return // it resumes by its position
		}
	}
	a.follow(r.Context(), l, &s)
}

// follow sends what comes until the listener, or the server, goes.
func (a *Admin) follow(ctx context.Context, l *events.Listener, s *eventStream) {
	comment := time.NewTicker(eventComment)
	defer comment.Stop()
	var stopping <-chan struct{}
	if a.stopping != nil {
		stopping = a.stopping.Done()
	}
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			return
		case e, open := <-l.C:
			if !open {
				return
			}
			_ = s.send(e)
		case <-comment.C:
			text := []byte(":\n\n")
			if at, ok := l.Position(); ok && at != "" { // an id alone moves the listener's position
				text = fmt.Appendf(nil, ":\nid: %s\n\n", at)
			}
			s.write(text)
		}
	}
}

// lost reports whether events after a position may be missing in the log.
func lost(after, oldest, newest string) bool {
	fromStart := !events.Before("0", after)
	return !fromStart && (events.Before(after, oldest) || events.Before(newest, after))
}

// readEventQuery reads the filters and the position, of which the listener's own decides.
func (a *Admin) readEventQuery(r *http.Request) (q eventQuery, err error) {
	values, err := checkedValues(r, "types", "corp_id", "after")
	if err != nil {
		return q, err
	}
	if text := values.Get("types"); text != "" {
		q.match.Types = strings.Split(text, ",")
		for _, pattern := range q.match.Types {
			if err := events.CheckType(pattern); err != nil {
				return q, badQueryf("types: %v", err)
			}
		}
	}
	if corp := values.Get("corp_id"); corp != "" {
		q.match.Corps = []string{corp}
	}
	q.after = values.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		q.after = last
	}
	if q.after != "" && !events.IsPosition(q.after) {
		return q, badQueryf("after, or Last-Event-ID, must be the id of an event in the stream, like 1795959000123-0, or 0 for the beginning")
	}
	return q, nil
}

func eventHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
}

// eventStream writes server-sent events. After an error it writes nothing more.
type eventStream struct {
	to      http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *eventStream) send(e events.Entry) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", e.Position, e.Type, e.JSON)
	s.write(b.Bytes())
	return s.err
}

func (s *eventStream) write(text []byte) {
	if s.err == nil {
		s.err = s.control.SetWriteDeadline(time.Now().Add(eventWrite))
	}
	if s.err == nil {
		_, s.err = s.to.Write(text)
	}
	if s.err == nil {
		s.err = s.control.Flush()
	}
}

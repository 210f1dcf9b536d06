package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/events"
)

// eventsCommand returns the commands about the events of a running gateway.
func eventsCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "events",
		Short:   "What happens, as it happens",
		Example: "  replygate events tail --types 'window.*'",
	}, eventsTailCommand(s))
}

func eventsTailCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the events of a running gateway as they come",
		Long: `Prints events as they come, until it is stopped. When the connection is lost it comes back and
goes on where it was.`,
		Example:           "  replygate events tail --types 'window.*,account.*'\n  replygate events tail --after 0 --json",
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print each event as a line of JSON")
	flags := map[string]*string{
		"types":   c.Flags().String("types", "", "only events of these `TYPES`, separated by commas, like window.*"),
		"corp_id": c.Flags().String("corp", "", "only of the account with this `CORP` id"),
		"after":   c.Flags().String("after", "", "begin after this `POSITION` (the id of an event in the stream); 0: all that is kept"),
	}
	oneOf(c, "types", events.Types()...)
	withValues(c, "corp", "after")
	c.RunE = func(c *cobra.Command, _ []string) error {
		gateway, err := connect()
		if err != nil {
			return err
		}
		t := tail{client: gateway, query: url.Values{}, asJSON: *asJSON, s: s}
		for name, value := range flags {
			if *value != "" {
				t.query.Set(name, *value)
			}
		}
		return t.run(c.Context())
	}
	return c
}

const (
	tailSilence = time.Minute // without a comment: the connection is lost
	tailPause   = 3 * time.Second
	maxLine     = 64 << 10 // of an answer
)

// tail prints a stream of events.
type tail struct {
	client
	query  url.Values
	asJSON bool
	s      streams

	last  string // the position of the last event
	pause time.Duration
}

// run follows the stream until ctx ends. Only the first connection must succeed.
func (t *tail) run(ctx context.Context) error {
	t.pause = tailPause
	for began := false; ; {
		err := t.follow(ctx, &began)
		switch {
		case ctx.Err() != nil:
			return nil
		case !began, errors.Is(err, errRefused):
			return err
		}
		fmt.Fprintf(t.s.err, "the connection is lost (%v): coming back in %s\n", err, t.pause)
		if sleep(ctx, t.pause) != nil {
			return nil
		}
	}
}

// errRefused means that the gateway will never answer this request otherwise.
var errRefused = errors.New("refused")

// follow reads one connection to its end.
func (t *tail) follow(ctx context.Context, began *bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(tailSilence, cancel)
	defer silence.Stop()
	resp, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	*began = true
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	var kind, data string
	for lines.Scan() {
		silence.Reset(tailSilence)
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			kind = value
		case "data":
			data = value
		case "id":
			t.last = value
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				t.pause = time.Duration(ms) * time.Millisecond
			}
		case "": // the end of an event, or a comment
			if data != "" {
				if err := t.print(kind, data); err != nil {
					return err
				}
			}
			kind, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return errors.New("it broke off")
	}
	return io.EOF
}

// open asks for the stream from the last position on.
func (t *tail) open(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+"/v1/events?"+t.query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: --admin: %w", errUsage, err)
	}
	if t.read != "" {
		req.Header.Set("Authorization", "Bearer "+t.read.Reveal())
	}
	if t.last != "" {
		req.Header.Set("Last-Event-ID", t.last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: is it running, and is this its listen.admin?", t.base)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	err = failure(resp.StatusCode, answer)
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		err = refusal{err}
	}
	return nil, err
}

// refusal is an answer that would be the same again.
type refusal struct{ error }

func (refusal) Is(target error) bool { return target == errRefused }

// print prints one event.
func (t *tail) print(kind, data string) error {
	if kind == "reset" {
		fmt.Fprintln(t.s.err, "events before these are no longer kept: some may be missing")
		return nil
	}
	if t.asJSON {
		_, err := fmt.Fprintln(t.s.out, data)
		return err
	}
	var e struct {
		Timestamp string
		Data      json.RawMessage
	}
	if json.Unmarshal([]byte(data), &e) != nil {
		return unreadable(errors.New("an event is no JSON"))
	}
	all, err := members(e.Data)
	if err != nil {
		return unreadable(err)
	}
	var text strings.Builder
	for _, m := range all {
		if value := m.text(); value != "" && value != `""` {
			fmt.Fprintf(&text, "  %s=%s", m.name, printable(value))
		}
	}
	_, err = fmt.Fprintf(t.s.out, "%s  %s%s\n", local(e.Timestamp), printable(kind), text.String())
	return err
}

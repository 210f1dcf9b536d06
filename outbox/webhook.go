package outbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/events"
)

const (
	maxDue        = 10_000 // events that wait for one webhook
	attemptTime   = 15 * time.Second
	connectTime   = 10 * time.Second
	restTime      = 2 * time.Second // for the body of an answer
	atOnce        = 4               // requests to one webhook
	batch         = 32              // events
	maxBatches    = 10              // before others are taken over
	maxAnswer     = 64 << 10
	maxHead       = 16 << 10
	maxRetryAfter = 24 * time.Hour
	maxPause      = 5 * time.Minute
	givesUpAfter  = 5 * 24 * time.Hour // without a success: disabled
	maxWhy        = 200                // bytes of an error
)

// schedule is when each attempt is made, after the one before it: that of Standard Webhooks.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Sign returns the signature of one attempt after Standard Webhooks 1.0.0, with one entry for each
// key.
func Sign(keys [][]byte, id string, at time.Time, body []byte) string {
	var all []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// webhook delivers to one webhook.
type webhook struct {
	*Outbox
	name   string
	url    string
	keys   [][]byte
	match  events.Filter
	target string
}

func newWebhook(o *Outbox, c config.Webhook) *webhook {
	w := &webhook{Outbox: o, name: c.Name, url: c.URL, match: filterOf(c.Types, c.Accounts), target: targetOf(c.URL)}
	for _, s := range c.Secrets {
		if key, ok := config.SigningKey(s); ok {
			w.keys = append(w.keys, key)
		}
	}
	return w
}

// pass takes over what is new in the log, and sends what is due.
func (w *webhook) pass(ctx context.Context) error {
	s, err := w.open(ctx, w.name, w.target)
	if err != nil || s.disabled != "" {
		return err
	}
	if err := w.takeNew(ctx, s.position); err != nil {
		return err
	}
	for range maxBatches {
		if ctx.Err() != nil || w.Now().Before(s.until) {
			return nil
		}
		n, err := w.sendDue(ctx, s)
		if err != nil || n < batch {
			return err
		}
		if s, err = w.read(ctx, w.name); err != nil || s.disabled != "" {
			return err
		}
	}
	return nil
}

// takeNew has what is new in the log wait for its delivery.
func (w *webhook) takeNew(ctx context.Context, from string) error {
	for range maxReads {
		entries, err := w.Log.Read(ctx, from, readAtOnce)
		if err != nil || len(entries) == 0 {
			return err
		}
		var some []pending
		for _, e := range entries {
			if w.match.Matches(&e) {
				some = append(some, pending{position: e.Position, kind: e.Type})
			}
		}
		to := entries[len(entries)-1].Position
		moved, err := w.take(ctx, w.name, from, to, some)
		if err != nil || !moved {
			return err
		}
		n, err := w.limit(ctx, w.name)
		if err != nil {
			return err
		}
		if n > 0 {
			w.giveUp(w.name, Full, n)
			w.Errors.Warn("more events wait for a webhook than may: the oldest are given up", zap.String("to", w.name), zap.Int("events", n))
		}
		if from = to; len(entries) < readAtOnce {
			return nil
		}
	}
	return nil
}

// sendDue sends some of what is due, and returns how many were looked at. While the endpoint fails
// they go one by one, and end with the first that slows it down.
func (w *webhook) sendDue(ctx context.Context, s state) (n int, err error) {
	some, err := w.due(ctx, w.name, batch)
	if err != nil || len(some) == 0 {
		return 0, err
	}
	entries, err := w.entries(ctx, some)
	if err != nil {
		return 0, err
	}
	workers := atOnce
	if !s.failing.IsZero() {
		workers = 1
	}
	work := make(chan pending)
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	var mu sync.Mutex
	for range workers {
		group.Go(func() {
			for p := range work {
				slow, problem := w.deliver(ctx, s, p, entries)
				if slow || problem != nil {
					stop()
				}
				mu.Lock()
				err = errors.Join(err, problem)
				mu.Unlock()
			}
		})
	}
feeding:
	for _, p := range some {
		select {
		case <-stopping.Done():
			break feeding
		case work <- p:
			n++
		}
	}
	close(work)
	group.Wait()
	return n, err
}

// entries returns the events at the positions of some that wait.
func (w *webhook) entries(ctx context.Context, some []pending) (map[string]events.Entry, error) {
	var positions []string
	for _, p := range some {
		positions = append(positions, p.position)
	}
	found, err := w.Log.Get(ctx, positions)
	if err != nil {
		return nil, err
	}
	all := map[string]events.Entry{}
	for _, e := range found {
		all[e.Position] = e
	}
	return all, nil
}

// deliver makes one attempt for an event. slow reports that no other should be made for now.
func (w *webhook) deliver(ctx context.Context, s state, p pending, entries map[string]events.Entry) (slow bool, err error) {
	e, kept := entries[p.position]
	if !kept {
		w.giveUp(w.name, Gone, 1)
		return false, w.remove(ctx, w.name, p)
	}
	if p.attempt > 0 && outdated(&e, w.Now()) {
		w.giveUp(w.name, Outdated, 1)
		return false, w.remove(ctx, w.name, p)
	}
	attempt, done := lasting(ctx)
	defer done()
	r := w.send(attempt, idOf(&e), e.JSON)
	switch {
	case r.ok:
		w.count(w.name, func(c *Counts) { c.Delivered++ })
		if err := w.remove(ctx, w.name, p); err != nil {
			return false, err
		}
		if !s.failing.IsZero() || s.slowed > 0 || s.failure != "" {
			return false, w.clear(ctx, w.name)
		}
		return false, nil
	case ctx.Err() != nil: // it was cut short: the next gateway makes this attempt again
		return true, nil
	}
	return w.fail(ctx, s, p, r)
}

// fail notes an attempt that failed, and what follows from it.
func (w *webhook) fail(ctx context.Context, s state, p pending, r outcome) (slow bool, err error) {
	w.count(w.name, func(c *Counts) { c.Failed++ })
	now := w.Now()
	fields := map[string]any{fieldError: r.why}
	next := p.attempt + 1
	last := next >= len(schedule) && !r.gone
	at := now
	if !last {
		at = now.Add(jittered(schedule[min(next, len(schedule)-1)], p))
	}
	if r.slow {
		pause := min(time.Second<<min(s.slowed, 20), maxPause)
		until := now.Add(max(pause, min(r.retryAfter, maxRetryAfter)))
		fields[fieldUntil], fields[fieldSlowed] = until.UnixMilli(), s.slowed+1
		if at.Before(until) {
			at = until
		}
	}
	why := ""
	switch {
	case r.gone:
		why = "the endpoint answered 410: it is gone"
	case !s.failing.IsZero() && now.Sub(s.failing) >= givesUpAfter:
		why = "no delivery succeeded for five days; the last one: " + r.why
	}
	if why != "" {
		if err := w.disabled(ctx, w.name, why, s.position+"@"+now.Truncate(time.Minute).String()); err != nil {
			return true, err
		}
		fields[fieldDisabled] = why
	}
	if last {
		w.giveUp(w.name, Exhausted, 1)
	}
	return r.slow || why != "", w.failed(ctx, w.name, p, now, at, last, fields)
}

// DisabledData is the data of webhook.disabled.
type DisabledData struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// disabled logs that a sink is disabled, for the others to tell. cause makes the event one of its
// own.
func (o *Outbox) disabled(ctx context.Context, name, why, cause string) error {
	o.Errors.Warn("no more events are sent: a test that succeeds enables it again", zap.String("to", name), zap.String("why", why))
	_, err := o.Log.Append(context.WithoutCancel(ctx), events.Event{
		Type: events.WebhookDisabled, At: o.Now(), Key: []string{name, cause}, Data: DisabledData{Name: name, Why: why},
	})
	return err
}

// jittered moves a time by up to a tenth, differently for each attempt, so that what failed
// together does not come back together.
func jittered(d time.Duration, p pending) time.Duration {
	h := fnv.New64a()
	_, _ = io.WriteString(h, p.member())
	part := float64(h.Sum64()%2001)/1000 - 1 // -1 to 1
	return d + time.Duration(part*float64(d)/10)
}

// outdated reports whether an event announced something that is over.
func outdated(e *events.Entry, now time.Time) bool {
	if e.Type != events.WindowClosing {
		return false
	}
	var form struct {
		Data struct {
			ClosesAt time.Time `json:"closes_at"`
		}
	}
	return json.Unmarshal(e.JSON, &form) == nil && !form.Data.ClosesAt.IsZero() && !now.Before(form.Data.ClosesAt)
}

func idOf(e *events.Entry) string {
	var form struct{ ID string }
	_ = json.Unmarshal(e.JSON, &form) // the log has JSON alone
	return form.ID
}

// patience is how long one attempt may take.
func (o *Outbox) patience() time.Duration { return cmp.Or(o.Patience, attemptTime) }

// outcome is what came of one attempt.
type outcome struct {
	ok         bool
	status     int    // 0: no answer
	why        string // what failed
	gone       bool   // nothing should be sent any more
	slow       bool   // the endpoint should be left alone for a while
	retryAfter time.Duration
}

// send makes one attempt. It follows no redirect, and reads no more of the answer than it must.
func (w *webhook) send(ctx context.Context, id string, body []byte) (r outcome) {
	ctx, cancel := context.WithTimeout(ctx, w.patience())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return outcome{why: "the URL cannot be used"}
	}
	now := w.Now()
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"replygate"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {Sign(w.keys, id, now, body)},
	}
	resp, err := w.roundTripper(req.URL.Scheme).RoundTrip(req)
	if err != nil {
		return outcome{why: reason(err), slow: true}
	}
	defer resp.Body.Close()
	// The rest of a short answer lets the connection be used again; what it says does not matter.
	late := time.AfterFunc(restTime, cancel)
	defer late.Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	r = outcome{status: resp.StatusCode, ok: resp.StatusCode/100 == 2}
	switch resp.StatusCode {
	case http.StatusGone:
		r.gone = true
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.slow, r.retryAfter = true, retryAfter(resp.Header.Get("Retry-After"), now)
	}
	switch {
	case r.ok:
	case resp.StatusCode/100 == 3:
		r.why = fmt.Sprintf("HTTP %d: redirects are not followed", r.status)
	default:
		r.why = fmt.Sprintf("HTTP %d", r.status)
	}
	return r
}

// retryAfter reads a Retry-After: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(max(0, min(n, int64(maxRetryAfter/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// reason tells why there is no answer, without the URL, which may have a secret in its query.
func reason(err error) string {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	text := err.Error()
	return text[:min(len(text), maxWhy)]
}

// roundTripper returns the connections for a URL's scheme.
func (o *Outbox) roundTripper(scheme string) http.RoundTripper {
	o.once.Do(func() {
		o.plain, o.secured = newTransport(onlyLoopback), newTransport(noMetadata)
		if o.CAs != nil {
			o.secured.TLSClientConfig = &tls.Config{RootCAs: o.CAs, MinVersion: tls.VersionTLS12}
		}
	})
	if scheme == "http" {
		return o.plain
	}
	return o.secured
}

// newTransport returns connections to addresses that are allowed. They are checked when a name has
// been resolved, so that no name leads elsewhere. No proxy of the environment is used.
func newTransport(allowed func(netip.Addr) error) *http.Transport {
	d := net.Dialer{Timeout: connectTime, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return allowed(at.Addr().Unmap().WithZone(""))
	}}
	return &http.Transport{
		DialContext: d.DialContext, TLSHandshakeTimeout: connectTime, MaxResponseHeaderBytes: maxHead,
		MaxConnsPerHost: 2 * atOnce, MaxIdleConnsPerHost: atOnce, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
}

// onlyLoopback allows this machine: plain HTTP would show ids of customers on the way.
func onlyLoopback(at netip.Addr) error {
	if at.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is not this machine: plain HTTP is for receivers on it", at)
}

// metadata are the addresses outside the link-local ones at which clouds have the credentials of a
// machine: those of AWS by IPv6, and of Alibaba Cloud.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200")}

// noMetadata refuses addresses that no receiver has, above all those of metadata services.
func noMetadata(at netip.Addr) error {
	if at.IsLinkLocalUnicast() || at.IsMulticast() || at.IsUnspecified() || slices.Contains(metadata, at) {
		return fmt.Errorf("%s is refused: link-local addresses, and those of metadata services, have no receivers", at)
	}
	return nil
}

package contacts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/record"
	"replygate/wecom"
)

// Calls sends calls to WeCom. Call sends a POST, or a GET if there is no body, and returns the HTTP
// status and the whole answer, which has at most MaxAnswer bytes. Its errors must not quote the
// query: it may hold a secret.
type Calls interface {
	Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error)
}

const (
	pageRows = 1000 // in one page; the upper limit is not documented

	// pageInterval is between two pages of one account: at most 1,200 calls a minute of the 10,000
	// that all of its programs may make together (DOC 90454).
	pageInterval = 50 * time.Millisecond

	// maxPasses bounds the passes of a round at the same time, and those that Ask asks for: together
	// 9,600 calls a minute of the 20,000 that one address may make (DOC 90454).
	maxPasses = 4

	limitPause = time.Minute // after 45009: WeCom counts calls by the minute
	maxLimits  = 3           // 45009 in a row: then it is the limit of an hour
	maxRetries = 6           // of one page for other reasons, with pauses of 1 s to 30 s
	maxBegun   = 3           // passes that one count may begin

	// retryAfter is when an account is tried again that could not be counted.
	retryAfter = time.Hour
)

// Target is an account that the gateway counts by itself.
type Target struct {
	Corp   string
	Secret config.Secret // of an app that may call contact_list
}

// Meter counts accounts by passes of its own. What is due follows from the stored counts alone,
// whoever made them. It is safe for concurrent use.
type Meter struct {
	Calls    Calls
	Observer *Observer
	Targets  func() (all []Target, every time.Duration) // by the configuration in force
	Log      *record.RateLimited

	// Now and Sleep are the clock. Sleep returns early, with an error, if its context ends.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error

	asked    chan Target // counts to be made now
	mu       sync.Mutex
	progress map[string]Progress
}

// Progress is how far the count of an account has come, or how its newest one ended.
type Progress struct {
	Corp         string
	Began, Ended time.Time // Ended is zero while it runs
	Pages        int
	People       int // distinct ones so far
	Before       int // people at the count before; 0: not known
	Count        *Count
	Failure      *Failure
}

// Errors of Ask.
var (
	ErrNoSecret = errors.New("the account has no secrets.contact")
	ErrBusy     = errors.New("other counts are under way")
)

// Init makes m ready for use, and returns it.
func (m *Meter) Init() *Meter {
	m.asked, m.progress = make(chan Target, maxPasses), map[string]Progress{}
	return m
}

// Ask has an account counted now by ServeAsked, unless a count of it runs in this process.
func (m *Meter) Ask(corp string) (Progress, error) {
	all, _ := m.Targets()
	for _, t := range all {
		if t.Corp != corp {
			continue
		}
		p, started := m.begin(corp)
		if !started {
			return p, nil
		}
		select {
		case m.asked <- t:
			return p, nil
		default:
			m.mu.Lock()
			delete(m.progress, corp)
			m.mu.Unlock()
			return Progress{}, ErrBusy
		}
	}
	return Progress{}, ErrNoSecret
}

// Progress returns how far the newest count of an account in this process has come.
func (m *Meter) Progress(corp string) (Progress, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, found := m.progress[corp]
	return p, found
}

// begin notes that a count of an account begins, unless one runs.
func (m *Meter) begin(corp string) (p Progress, started bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, found := m.progress[corp]; found && p.Ended.IsZero() {
		return p, false
	}
	p = Progress{Corp: corp, Began: m.Now(), Before: m.Observer.State(corp).Total}
	m.progress[corp] = p
	return p, true
}

func (m *Meter) update(corp string, change func(*Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.progress[corp]
	change(&p)
	m.progress[corp] = p
}

// ServeAsked makes the counts that Ask asks for, until ctx ends.
func (m *Meter) ServeAsked(ctx context.Context) {
	var workers sync.WaitGroup
	for range maxPasses {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case t := <-m.asked:
					m.count(ctx, t)
				}
			}
		})
	}
	workers.Wait()
}

// Round counts the accounts that are due, and returns when all are counted or ctx ends. Only one
// gateway should do so.
func (m *Meter) Round(ctx context.Context) {
	due := make(chan Target)
	var workers sync.WaitGroup
	for range maxPasses {
		workers.Go(func() {
			for t := range due {
				if _, started := m.begin(t.Corp); started {
					m.count(ctx, t)
				}
			}
		})
	}
	for _, t := range m.due(ctx) {
		select {
		case due <- t:
		case <-ctx.Done():
		}
	}
	close(due)
	workers.Wait()
}

// due returns the accounts that were not counted, by whomever, for the interval of the meter, and
// not tried for an hour.
func (m *Meter) due(ctx context.Context) (due []Target) {
	all, every := m.Targets()
	corps := make([]string, len(all))
	for i, t := range all {
		corps[i] = t.Corp
	}
	states, err := m.Observer.Store.Read(ctx, corps)
	if err != nil {
		return nil // what other gateways counted is not known
	}
	now := m.Now()
	for _, t := range all {
		s := states[t.Corp]
		counted := !s.AsOf.IsZero() && now.Sub(s.AsOf) < every
		tried := !s.Failure.At.IsZero() && now.Sub(s.Failure.At) < min(every, retryAfter)
		if !counted && !tried {
			due = append(due, t)
		}
	}
	return due
}

// count counts an account, which begin has noted.
func (m *Meter) count(ctx context.Context, t Target) {
	p := &puller{Meter: m, target: t}
	count, err := p.count(ctx)
	if err == nil {
		m.Observer.Finished(ctx, t.Corp, count)
		m.update(t.Corp, func(p *Progress) { p.Ended, p.Count, p.People = m.Now(), &count, count.Total })
		return
	}
	failure := failureOf(err)
	failure.At = m.Now().Truncate(time.Millisecond)
	if failure.Reason != Interrupted {
		m.Observer.Failed(ctx, t.Corp, failure)
		m.Log.Warn("the contacts of an account could not be counted", zap.String("corp_id", t.Corp), zap.String("reason", string(failure.Reason)),
			zap.Int("errcode", failure.Errcode), zap.String("remedy", failure.Remedy()))
	}
	m.update(t.Corp, func(p *Progress) { p.Ended, p.Failure = m.Now(), &failure })
}

// failureOf returns the Failure that an error of a count is.
func failureOf(err error) Failure {
	var f Failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Failure{Reason: Interrupted}
	}
	return Failure{Reason: Incomplete}
}

// puller makes the calls of one count.
type puller struct {
	*Meter
	target   Target
	token    string
	lastPage time.Time
}

// errAnew means that the pass must begin anew: its cursor has expired, or its ids are no longer
// comparable.
var errAnew = errors.New("contacts: the pass must begin anew")

// count makes passes until one comes to its end.
func (p *puller) count(ctx context.Context) (_ Count, err error) {
	err = Failure{Reason: Incomplete}
	defer p.Log.Recover("BUG: a count of contacts panicked")
	if err := p.fetchToken(ctx); err != nil {
		return Count{}, err
	}
	for range maxBegun {
		count, err := p.pass(ctx)
		if !errors.Is(err, errAnew) {
			return count, err
		}
	}
	return Count{}, Failure{Reason: Incomplete}
}

// pass walks over contact_list once. A page that fails for a while is asked for again, with its
// cursor: the people before it are kept.
func (p *puller) pass(ctx context.Context) (Count, error) {
	var pass Pass
	for !pass.Done() {
		answer, err := p.page(ctx, pass.Next())
		if err != nil {
			return Count{}, err
		}
		if err := pass.Add(pageOf(pass.Next(), answer), p.Now()); errors.Is(err, ErrTooLarge) {
			return Count{}, Failure{Reason: Incomplete}
		} else if err != nil {
			return Count{}, errAnew
		}
		p.update(p.target.Corp, func(g *Progress) { g.Pages, g.People = pass.Pages(), pass.People() })
	}
	count, _ := pass.Count()
	return count, nil
}

// page asks for a page until WeCom gives it, or will not.
func (p *puller) page(ctx context.Context, cursor string) (wecom.ContactPage, error) {
	var failure Failure
	for tries, limits := 0, 0; tries < maxRetries && limits < maxLimits; {
		if err := p.Sleep(ctx, p.lastPage.Add(pageInterval).Sub(p.Now())); err != nil {
			return wecom.ContactPage{}, err
		}
		p.lastPage = p.Now()
		answer, err := p.callPage(ctx, cursor)
		pause := min(time.Second<<tries, 30*time.Second)
		switch code := answer.Errcode; {
		case errors.Is(err, wecom.ErrUnreadable):
			failure = Failure{Reason: Unreadable}
		case err != nil || code == wecom.CodeBusy:
			failure = Failure{Reason: Unreachable}
		case code == wecom.CodeOK:
			return answer, nil
		case code == wecom.CodeFrequency:
			failure, pause = Failure{Reason: Limited, Errcode: code}, limitPause
			limits++
		case code == wecom.CodeConcurrency:
			failure = Failure{Reason: Limited, Errcode: code}
		case code == wecom.CodeTokenExpired || code == codeInvalidToken:
			failure, pause = Failure{Reason: Refused, Errcode: code}, 0
			if err := p.fetchToken(ctx); err != nil {
				return answer, err
			}
		case code == wecom.CodeParameter && cursor != "":
			return answer, errAnew
		default:
			return answer, Failure{Reason: Refused, Errcode: code}
		}
		if failure.Errcode != wecom.CodeFrequency {
			tries++
		}
		if err := p.Sleep(ctx, pause); err != nil {
			return answer, err
		}
	}
	return wecom.ContactPage{}, failure
}

const codeInvalidToken = 40014

// callPage calls contact_list once (DOC 99434).
func (p *puller) callPage(ctx context.Context, cursor string) (wecom.ContactPage, error) {
	body, err := json.Marshal(struct {
		Cursor string `json:"cursor,omitempty"`
		Limit  int    `json:"limit"`
	}{cursor, pageRows})
	if err != nil {
		return wecom.ContactPage{}, err
	}
	status, answer, err := p.Calls.Call(ctx, wecom.PathContactList, url.Values{"access_token": {p.token}}, body)
	switch {
	case ctx.Err() != nil:
		return wecom.ContactPage{}, ctx.Err()
	case err != nil:
		return wecom.ContactPage{}, err
	case status >= http.StatusInternalServerError:
		return wecom.ContactPage{Errcode: wecom.CodeBusy}, nil
	}
	return wecom.ReadContactPage(bytes.NewReader(answer))
}

// fetchToken gets an access token by gettoken (DOC 91039). No bot and no other gateway hears of it.
func (p *puller) fetchToken(ctx context.Context) error {
	query := url.Values{"corpid": {p.target.Corp}, "corpsecret": {p.target.Secret.Reveal()}}
	var failure Failure
	for tries := range maxRetries {
		status, answer, err := p.Calls.Call(ctx, wecom.PathGetToken, query, nil)
		var t struct {
			Errcode int    `json:"errcode"`
			Token   string `json:"access_token"`
		}
		switch {
		case err != nil || status >= http.StatusInternalServerError:
			failure = Failure{Reason: Unreachable}
		case wecom.ReadAnswer(answer, &t) != nil:
			failure = Failure{Reason: Unreadable}
		case t.Errcode == wecom.CodeBusy:
			failure = Failure{Reason: Unreachable}
		case t.Errcode == wecom.CodeFrequency || t.Errcode == wecom.CodeConcurrency:
			return Failure{Reason: Limited, Errcode: t.Errcode}
		case t.Errcode != wecom.CodeOK:
			return Failure{Reason: Refused, Errcode: t.Errcode}
		case t.Token == "":
			return Failure{Reason: Unreadable}
		default:
			p.token = t.Token
			return nil
		}
		if err := p.Sleep(ctx, min(time.Second<<tries, 30*time.Second)); err != nil {
			return err
		}
	}
	return failure
}

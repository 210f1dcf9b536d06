// Package backfill pulls what kf/sync_msg still has of a corp's messages, channel by channel: by a
// Puller for an operator's command, and by a Replayer for a gateway that has the secrets.
//
// It makes calls through an interface, and records nothing: what passes through the gateway is
// recorded there, and a Replayer hands pages on. Which gaps a backfill ends is package window's.
package backfill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"replygate/config"
	"replygate/wecom"
)

// Calls sends calls to WeCom. Call sends a POST, or a GET if there is no body, and returns the HTTP
// status and the whole answer. Its errors must not quote the query: it may hold a secret.
type Calls interface {
	Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error)
}

// Progress is how far a backfill has come. It can be stored as JSON and continued from.
type Progress struct {
	Corp       string    `json:"corp_id"`
	Began      time.Time `json:"began"` // by the gateway's clock
	Channels   []Channel `json:"channels"`
	Messages   int       `json:"messages"`   // of customers, pulled so far
	Unreadable int       `json:"unreadable"` // items that may be messages and could not be read
}

// Channel is the progress of one channel (open_kfid).
type Channel struct {
	Channel string    `json:"channel"`
	Began   time.Time `json:"began,omitzero"` // its first page was asked for
	Cursor  string    `json:"cursor"`         // of the next page, as WeCom returned it
	Done    bool      `json:"done"`           // the last page was pulled
	Broken  bool      `json:"broken"`         // a page could not be read to its end
}

// Done counts the channels of which the last page was pulled.
func (p *Progress) Done() (n int) {
	for _, c := range p.Channels {
		if c.Done {
			n++
		}
	}
	return n
}

// Puller runs the backfill of one corp.
type Puller struct {
	*Progress
	Calls    Calls
	Secret   config.Secret // of an app that may use the corp's WeChat Customer Service
	Interval time.Duration // between two pages, at least
	Save     func() error  // is called after every step; its error ends the run

	// Wait returns when a page may be pulled, Record gets each page before it is read, and Limited
	// is called when WeCom limits the rate. Each may be nil.
	Wait    func(context.Context) error
	Record  func(ctx context.Context, channel string, answer []byte)
	Limited func()

	// Now and Sleep are the clock. Sleep returns early, with an error, if its context ends.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error

	token    string
	lastPage time.Time
}

// Run pulls what is left of a backfill. If the progress has no channels, it lists the corp's
// channels first. After an error another Run continues from the last saved page.
func (p *Puller) Run(ctx context.Context) error {
	if err := p.fetchToken(ctx); err != nil {
		return err
	}
	if len(p.Channels) == 0 {
		names, err := p.listChannels(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			p.Channels = append(p.Channels, Channel{Channel: name})
		}
		if err := p.Save(); err != nil {
			return err
		}
	}
	for i := range p.Channels {
		if err := p.pullChannel(ctx, &p.Channels[i]); err != nil {
			return err
		}
	}
	return nil
}

// maxChannels bounds the channels of a corp; WeCom allows 5,000 (DOC 96404).
const maxChannels = 10_000

// listChannels lists the customer service accounts that the secret can see, by kf/account/list in
// pages of at most 100.
func (p *Puller) listChannels(ctx context.Context) (channels []string, err error) {
	const limit = 100
	for offset := 0; offset < maxChannels; offset += limit {
		var page struct {
			Accounts []struct {
				Channel string `json:"open_kfid"`
			} `json:"account_list"`
		}
		body := fmt.Appendf(nil, `{"offset":%d,"limit":%d}`, offset, limit)
		if err := p.callInto(ctx, "/cgi-bin/kf/account/list", p.withToken(), body, &page); err != nil {
			return nil, err
		}
		for _, a := range page.Accounts {
			channels = append(channels, a.Channel)
		}
		if len(page.Accounts) < limit {
			return channels, nil
		}
	}
	return nil, fmt.Errorf("kf/account/list names over %d channels", maxChannels)
}

// errRepeated ends a channel whose pages would never end.
var errRepeated = errors.New("WeCom says that there are more pages, and returns the cursor of the last one")

// pullChannel pulls the pages of a channel until WeCom has no more.
func (p *Puller) pullChannel(ctx context.Context, c *Channel) error {
	if c.Began.IsZero() {
		c.Began = p.Now()
	}
	for !c.Done {
		page, err := p.pullPage(ctx, c)
		switch repeated := page.More && page.Next == c.Cursor; {
		case errors.Is(err, wecom.ErrUnreadable): // later pages may still hold messages
			c.Broken, page.More = true, page.More && !repeated
		case err != nil:
			return err
		case repeated:
			return fmt.Errorf("channel %s: %w", c.Channel, errRepeated)
		}
		c.Cursor, c.Done = page.Next, !page.More
		p.Messages += len(page.Messages)
		for _, u := range page.Unreadable {
			if u.Message {
				p.Unreadable++
			}
		}
		if err := p.Save(); err != nil {
			return err
		}
	}
	return nil
}

// Answers of WeCom after which a page is pulled again.
const (
	codeInvalidToken = 40014

	maxAttempts    = 10 // for one page
	rateLimitPause = time.Minute
)

// pullPage pulls one page. It waits where WeCom limits the rate and renews an expired token.
func (p *Puller) pullPage(ctx context.Context, c *Channel) (page wecom.Page, err error) {
	body, err := json.Marshal(map[string]any{"cursor": c.Cursor, "limit": 1000, "open_kfid": c.Channel})
	if err != nil {
		return page, err
	}
	for range maxAttempts {
		if err := p.Sleep(ctx, p.lastPage.Add(p.Interval).Sub(p.Now())); err != nil {
			return page, err
		}
		if p.Wait != nil {
			if err := p.Wait(ctx); err != nil {
				return page, err
			}
		}
		p.lastPage = p.Now()
		answer, err := p.call(ctx, wecom.PathSyncMsg, p.withToken(), body)
		var refused *Error
		switch {
		case err == nil:
			if p.Record != nil {
				p.Record(ctx, c.Channel, answer)
			}
			return wecom.ReadPage(bytes.NewReader(answer))
		case !errors.As(err, &refused):
			return page, err
		case refused.Code == wecom.CodeRateLimited || refused.Code == wecom.CodeBusy:
			if p.Limited != nil && refused.Code == wecom.CodeRateLimited {
				p.Limited()
			}
			err = p.Sleep(ctx, rateLimitPause)
		case refused.Code == wecom.CodeTokenExpired || refused.Code == codeInvalidToken:
			err = p.fetchToken(ctx)
		}
		if err != nil {
			return page, err
		}
	}
	return page, fmt.Errorf("channel %s: WeCom refused its page %d times", c.Channel, maxAttempts)
}

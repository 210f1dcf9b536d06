package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/wecom"
)

const backfillUsage = "write: replygate windows backfill CORP --secret-file FILE"

// backfill is windows backfill CORP: it pulls, through the gateway as a bot would, what kf/sync_msg still
// has of the corp's messages, and then tells the gateway that its records are complete.
func backfill(ctx context.Context, args []string, s streams) error {
	f := flags("windows backfill", s)
	connect := clientFlags(f)
	api := f.String("api", "", "the gateway's api `URL` (default http://127.0.0.1:8080, or that of -c)")
	secretFile := f.String("secret-file", "", "`FILE` with the secret of the corp's WeChat Customer Service (default: the environment's REPLYGATE_CORP_SECRET)")
	state := f.String("state", "", "`FILE` that keeps how far it came (default replygate-backfill-CORP.json)")
	rate := f.Float64("rate", 1, "pages a second, at most: WeCom limits those that no callback asks for")
	words, err := parse(f, args, 1, 1)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, backfillUsage)
	}
	if *rate <= 0 || *rate > 100 {
		return fmt.Errorf("%w: --rate must be above 0 and at most 100", errUsage)
	}
	secret, err := corpSecret(*secretFile)
	if err != nil {
		return err
	}
	c, err := connect()
	if err != nil {
		return err
	}
	if *api != "" {
		c.api = strings.TrimSuffix(*api, "/")
	}
	if *state == "" {
		*state = "replygate-backfill-" + url.PathEscape(words[0]) + ".json"
	}
	b := &backfiller{
		client: c, corp: words[0], secret: secret, file: *state,
		pace: time.Duration(float64(time.Second) / *rate), bar: newProgress(s.err),
	}
	return b.run(ctx, s)
}

// corpSecret reads the secret of the corp's app.
func corpSecret(file string) (config.Secret, error) {
	if file == "" {
		if secret := os.Getenv("REPLYGATE_CORP_SECRET"); secret != "" {
			return config.Secret(secret), nil
		}
		return "", fmt.Errorf("%w: the corp's secret is missing; %s, or set REPLYGATE_CORP_SECRET", errUsage, backfillUsage)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--secret-file: %w", err)
	}
	return config.Secret(strings.TrimSpace(string(data))), nil
}

// backfiller is one run, or what is left of one that was interrupted.
type backfiller struct {
	client client
	corp   string
	secret config.Secret
	token  string
	file   string
	pace   time.Duration
	last   time.Time // of the last page
	bar    *progress
	done   backfillState
}

// backfillState is how far a backfill came, as its file keeps it.
type backfillState struct {
	Corp     string            `json:"corp_id"`
	Began    time.Time         `json:"began"` // by the gateway's clock
	Channels []channelBackfill `json:"channels"`
	Messages int               `json:"messages"`
}

type channelBackfill struct {
	Channel string `json:"channel"`
	Cursor  string `json:"cursor"`
	Done    bool   `json:"done"`
}

func (b *backfiller) run(ctx context.Context, s streams) error {
	resumed, err := b.resume(ctx)
	if err != nil {
		return err
	}
	if resumed {
		fmt.Fprintf(s.err, "going on with the backfill of %s\n", local(b.done.Began.Format(time.RFC3339Nano)))
	}
	if err := b.fetchToken(ctx); err != nil {
		return err
	}
	if !resumed {
		if err := b.listChannels(ctx); err != nil {
			return err
		}
	}
	for i := range b.done.Channels {
		if err := b.pull(ctx, &b.done.Channels[i]); err != nil {
			return fmt.Errorf("%w; run the same command again to go on", err)
		}
	}
	b.bar.end()
	var answer admin.Backfill
	if err := b.client.post(ctx, "/v1/backfill", admin.Backfill{CorpID: b.corp, Began: b.done.Began}, &answer); err != nil {
		_ = os.Remove(b.file) // what it keeps is of no use any more
		return err
	}
	fmt.Fprintf(s.out, "%s: %d messages of customers on %d channels went through the gateway; its records are complete\n", b.corp, b.done.Messages, len(b.done.Channels))
	return os.Remove(b.file)
}

// resume takes up an interrupted run, if there is one that is young enough to prove anything.
func (b *backfiller) resume(ctx context.Context) (bool, error) {
	var now admin.Backfill
	if err := b.client.post(ctx, "/v1/backfill", admin.Backfill{CorpID: b.corp}, &now); err != nil {
		return false, err
	}
	data, err := os.ReadFile(b.file)
	if err == nil {
		err = json.Unmarshal(data, &b.done)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("--state: %s cannot be read: %w", b.file, err)
	case b.done.Corp != b.corp:
		return false, fmt.Errorf("--state: %s is of another corp: name another file", b.file)
	case now.Began.Sub(b.done.Began) < 12*time.Hour:
		return true, nil
	}
	b.done = backfillState{Corp: b.corp, Began: now.Began}
	return false, b.save()
}

func (b *backfiller) save() error {
	data, err := json.Marshal(b.done)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.file+".new", data, 0o600); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	return os.Rename(b.file+".new", b.file)
}

// listChannels asks for the corp's kf accounts.
func (b *backfiller) listChannels(ctx context.Context) error {
	const limit = 100
	for offset := 0; ; offset += limit {
		var page struct {
			Accounts []struct {
				Channel string `json:"open_kfid"`
			} `json:"account_list"`
		}
		body := fmt.Sprintf(`{"offset":%d,"limit":%d}`, offset, limit)
		if err := b.call(ctx, "/cgi-bin/kf/account/list?access_token="+url.QueryEscape(b.token), body, &page); err != nil {
			return err
		}
		for _, a := range page.Accounts {
			b.done.Channels = append(b.done.Channels, channelBackfill{Channel: a.Channel})
		}
		if len(page.Accounts) < limit {
			return b.save()
		}
	}
}

// pull pages through what kf/sync_msg has of a channel.
func (b *backfiller) pull(ctx context.Context, c *channelBackfill) error {
	for !c.Done {
		page, err := b.page(ctx, c)
		if err != nil {
			return err
		}
		if page.More != 0 && page.Next == c.Cursor {
			return fmt.Errorf("channel %s: WeCom says that there is more, but not where", c.Channel)
		}
		c.Cursor, c.Done = page.Next, page.More == 0
		for _, m := range page.Messages {
			if m.Origin == 3 {
				b.done.Messages++
			}
		}
		if err := b.save(); err != nil {
			return err
		}
		b.show()
	}
	return nil
}

// syncPage is what a backfill needs of an answer of kf/sync_msg; the gateway reads the rest as it passes.
type syncPage struct {
	Next     string `json:"next_cursor"`
	More     int    `json:"has_more"`
	Messages []struct {
		Origin int `json:"origin"`
	} `json:"msg_list"`
}

// What WeCom may answer for a while.
const (
	codeTooOften  = 45009
	codeBadToken  = 40014
	maxPauses     = 10
	pauseTooOften = time.Minute
)

// page pulls one page, at the pace that is allowed.
func (b *backfiller) page(ctx context.Context, c *channelBackfill) (page syncPage, err error) {
	body, err := json.Marshal(map[string]any{"cursor": c.Cursor, "limit": 1000, "open_kfid": c.Channel})
	if err != nil {
		return page, err
	}
	for range maxPauses {
		if err := b.wait(ctx, time.Until(b.last.Add(b.pace))); err != nil {
			return page, err
		}
		b.last = time.Now()
		err = b.call(ctx, wecom.PathSyncMsg+"?access_token="+url.QueryEscape(b.token), string(body), &page)
		var refused *wecomError
		switch {
		case !errors.As(err, &refused):
			return page, err
		case refused.code == codeTooOften || refused.code == wecom.CodeBusy:
			err = b.wait(ctx, pauseTooOften)
		case refused.code == wecom.CodeTokenExpired || refused.code == codeBadToken:
			err = b.fetchToken(ctx)
		}
		if err != nil {
			return page, err
		}
	}
	return page, fmt.Errorf("channel %s: WeCom does not let it be pulled just now", c.Channel)
}

func (b *backfiller) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (b *backfiller) fetchToken(ctx context.Context) error {
	var t struct {
		Token string `json:"access_token"`
	}
	query := url.Values{"corpid": {b.corp}, "corpsecret": {b.secret.Reveal()}}
	if err := b.call(ctx, wecom.PathGetToken+"?"+query.Encode(), "", &t); err != nil {
		return err
	}
	b.token = t.Token
	return nil
}

// wecomError is an answer of WeCom, or of the gateway, that is no success.
type wecomError struct {
	path string
	code int
	text string
}

func (e *wecomError) Error() string {
	return fmt.Sprintf("%s: errcode %d: %s", e.path, e.code, e.text)
}

// call calls WeCom through the gateway. Its errors never quote the query: a secret stands there.
func (b *backfiller) call(ctx context.Context, target, body string, v any) error {
	path, _, _ := strings.Cut(target, "?")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, b.client.api+target, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: --api is not a URL", errUsage)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no gateway answers at %s: is this its listen.api?", b.client.api)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("%s: the answer broke off", path)
	}
	var code struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
	}
	if err := json.Unmarshal(answer, &code); err != nil {
		return fmt.Errorf("%s: HTTP %d, and no JSON", path, resp.StatusCode)
	}
	if code.Errcode != 0 {
		return &wecomError{path: path, code: code.Errcode, text: code.Errmsg}
	}
	return json.NewDecoder(bytes.NewReader(answer)).Decode(v)
}

// show moves the progress bar.
func (b *backfiller) show() {
	done := 0
	for _, c := range b.done.Channels {
		if c.Done {
			done++
		}
	}
	b.bar.show(done, len(b.done.Channels), fmt.Sprintf("%d of %d channels, %d messages", done, len(b.done.Channels), b.done.Messages))
}

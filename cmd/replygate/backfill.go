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

// backfill is windows backfill CORP: it pulls, through the gateway as a bot would, what kf/sync_msg
// still has of the corp's messages, and then tells the gateway that the records of its channels are
// complete.
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
	Odd      int               `json:"unreadable"` // items that may be messages
}

type channelBackfill struct {
	Channel string `json:"channel"`
	Cursor  string `json:"cursor"`
	Done    bool   `json:"done"`
	Broken  bool   `json:"broken"` // one of its pages could not be read to its end
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
	return b.finish(ctx, s)
}

// finish tells the gateway what was read, and the operator what is complete by it.
func (b *backfiller) finish(ctx context.Context, s streams) error {
	defer os.Remove(b.file) // a finished run is never resumed
	read := admin.Backfill{CorpID: b.corp, Began: b.done.Began}
	for _, c := range b.done.Channels {
		if c.Broken {
			fmt.Fprintf(s.err, "channel %s: WeCom gave a page that cannot be read to its end, so its records stay as they were\n", c.Channel)
		} else {
			read.Channels = append(read.Channels, c.Channel)
		}
	}
	switch {
	case len(b.done.Channels) == 0:
		return fmt.Errorf("%s: kf/account/list names no channel; its records stay as they were", b.corp)
	case len(read.Channels) == 0:
		return fmt.Errorf("%s: no channel could be read to its end; its records stay as they were", b.corp)
	}
	var answer admin.Backfill
	if err := b.client.post(ctx, "/v1/backfill", read, &answer); err != nil {
		return err
	}
	for _, c := range answer.Missed {
		fmt.Fprintf(s.err, "channel %s: messages passed unrecorded meanwhile, as the gateway's log says\n", c)
	}
	if b.done.Odd > 0 {
		fmt.Fprintf(s.err, "%d items could not be read: the history of their channels stays incomplete until they are older than a window\n", b.done.Odd)
	}
	fmt.Fprintf(s.out, "%s: %d messages of customers on %d channels went through the gateway; ", b.corp, b.done.Messages, len(b.done.Channels))
	if whole := len(b.done.Channels); len(answer.Channels) < whole {
		fmt.Fprintf(s.out, "the records of %d are complete\n", len(answer.Channels))
		return fmt.Errorf("the records of %d channels are not complete: begin again", whole-len(answer.Channels))
	}
	fmt.Fprintln(s.out, "its records are complete")
	return nil
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
		if err := b.callInto(ctx, "/cgi-bin/kf/account/list?access_token="+url.QueryEscape(b.token), body, &page); err != nil {
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
		switch stuck := page.More && page.Next == c.Cursor; {
		case errors.Is(err, wecom.ErrUnreadable): // later pages may still hold messages
			c.Broken, page.More = true, page.More && !stuck
		case err != nil:
			return err
		case stuck:
			return fmt.Errorf("channel %s: WeCom says that there is more, but not where", c.Channel)
		}
		c.Cursor, c.Done = page.Next, !page.More
		b.done.Messages += len(page.Messages)
		for _, u := range page.Unreadable {
			if u.Message {
				b.done.Odd++
			}
		}
		if err := b.save(); err != nil {
			return err
		}
		b.show()
	}
	return nil
}

// What WeCom may answer for a while.
const (
	codeTooOften  = 45009
	codeBadToken  = 40014
	maxPauses     = 10
	pauseTooOften = time.Minute
)

// page pulls one page, at the pace that is allowed.
func (b *backfiller) page(ctx context.Context, c *channelBackfill) (page wecom.Page, err error) {
	body, err := json.Marshal(map[string]any{"cursor": c.Cursor, "limit": 1000, "open_kfid": c.Channel})
	if err != nil {
		return page, err
	}
	for range maxPauses {
		if err := b.wait(ctx, time.Until(b.last.Add(b.pace))); err != nil {
			return page, err
		}
		b.last = time.Now()
		answer, err := b.call(ctx, wecom.PathSyncMsg+"?access_token="+url.QueryEscape(b.token), string(body))
		var refused *wecomError
		switch {
		case err == nil:
			return wecom.ReadPage(bytes.NewReader(answer))
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
	if err := b.callInto(ctx, wecom.PathGetToken+"?"+query.Encode(), "", &t); err != nil {
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

// callInto is call for an answer that is read into v.
func (b *backfiller) callInto(ctx context.Context, target, body string, v any) error {
	answer, err := b.call(ctx, target, body)
	if err != nil {
		return err
	}
	if err := wecom.ReadAnswer(answer, v); err != nil {
		path, _, _ := strings.Cut(target, "?")
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// call calls WeCom through the gateway, and returns the answer of a success. Its errors never quote
// the query: a secret stands there.
func (b *backfiller) call(ctx context.Context, target, body string) (answer []byte, err error) {
	path, _, _ := strings.Cut(target, "?")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, b.client.api+target, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: --api is not a URL", errUsage)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: is this its listen.api?", b.client.api)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("%s: the answer broke off", path)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("%s: HTTP %d, and an answer of more than %d bytes", path, resp.StatusCode, maxAnswer)
	}
	code, err := wecom.ReadErrcode(answer)
	if page := path == wecom.PathSyncMsg && resp.StatusCode == http.StatusOK; err != nil && !page { // of a page a part will do
		return nil, fmt.Errorf("%s: HTTP %d, and no JSON", path, resp.StatusCode)
	}
	if err == nil && code != wecom.CodeOK {
		var text struct {
			Errmsg string `json:"errmsg"`
		}
		_ = wecom.ReadAnswer(answer, &text) // without it the code must do
		return nil, &wecomError{path: path, code: code, text: text.Errmsg}
	}
	return answer, nil
}

const maxAnswer = 64 << 20 // bytes

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

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

	"github.com/spf13/cobra"

	"replygate/admin"
	"replygate/backfill"
	"replygate/config"
	"replygate/store"
)

// backfillOptions are the flags of windows backfill.
type backfillOptions struct {
	api, secretFile, state string
	rate                   float64
	status, asJSON         bool
}

// backfillCommand returns windows backfill.
func backfillCommand(s streams) *cobra.Command {
	var o backfillOptions
	c := &cobra.Command{
		Use:   "backfill CORP",
		Short: "Pull WeCom's last three days of messages again, to complete the records",
		Long: `Pulls what kf/sync_msg still has of the corp's messages through the gateway, as a bot would. The
records of the channels that it reads to their end are complete then; others, which the secret
cannot see, stay as they are, and are named. An interrupted run goes on where it was.

A gateway whose configuration has secrets.kf_file completes the records by itself. --status shows
how far it is.`,
		Annotations:       arguments("CORP", "the account's corp id"),
		Example:           "  replygate windows backfill ww0123456789abcdef --secret-file kf-secret -c replygate.yaml",
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	f := c.Flags()
	f.StringVar(&o.api, "api", "", "the gateway's api listener, `HOST:PORT` or a URL (default 127.0.0.1:8080, or that of -c)")
	f.StringVar(&o.secretFile, "secret-file", "", "`FILE` with the secret of the corp's WeChat Customer Service (default: the environment's REPLYGATE_CORP_SECRET)")
	f.StringVar(&o.state, "state", "", "`FILE` that keeps how far it came (default replygate-backfill-CORP.json)")
	f.Float64Var(&o.rate, "rate", 1, "at most `N` pages a second: WeCom limits those that no callback asks for")
	f.BoolVar(&o.status, "status", false, "pull nothing: show how far the gateway has completed the records by itself")
	f.BoolVar(&o.asJSON, "json", false, "with --status: print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		if o.status {
			return showReplays(c.Context(), connect, given[0], o.asJSON, s)
		}
		return backfillWindows(c.Context(), connect, o, given[0], s)
	}
	return c
}

// backfillWindows pulls what kf/sync_msg still has of a corp's messages. It then reports the
// channels to the gateway, whose records of them are complete.
func backfillWindows(ctx context.Context, connect func() (client, error), o backfillOptions, corp string, s streams) error {
	if !(o.rate > 0 && o.rate <= 100) {
		return fmt.Errorf("%w: --rate must be above 0 and at most 100", errUsage)
	}
	secret, err := corpSecret(o.secretFile)
	if err != nil {
		return err
	}
	c, err := connect()
	if err != nil {
		return err
	}
	if o.api != "" {
		if c.api, err = baseURL("api", o.api); err != nil {
			return err
		}
	}
	if o.state == "" {
		o.state = "replygate-backfill-" + url.PathEscape(corp) + ".json"
	}
	b := &backfiller{client: c, file: o.state, bar: newProgress(s.err), done: backfill.Progress{Corp: corp}}
	b.puller = &backfill.Puller{
		Progress: &b.done, Calls: c, Secret: secret, Interval: time.Duration(float64(time.Second) / o.rate),
		Save: b.save, Now: time.Now, Sleep: sleep,
	}
	return b.run(ctx, s)
}

// corpSecret reads the secret of the corp's app.
func corpSecret(file string) (config.Secret, error) {
	if file == "" {
		if secret := os.Getenv("REPLYGATE_CORP_SECRET"); secret != "" {
			return config.Secret(secret), nil
		}
		return "", fmt.Errorf("%w: the corp's secret is missing; write --secret-file FILE, or set REPLYGATE_CORP_SECRET", errUsage)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--secret-file: %w", err)
	}
	return config.Secret(strings.TrimSpace(string(data))), nil
}

// backfiller is one run of the command, or the rest of an interrupted one.
type backfiller struct {
	client client
	puller *backfill.Puller
	file   string // keeps the progress between runs
	bar    *progress
	done   backfill.Progress
}

func (b *backfiller) run(ctx context.Context, s streams) error {
	resumed, err := b.resume(ctx)
	if err != nil {
		return err
	}
	if resumed {
		fmt.Fprintf(s.err, "going on with the backfill of %s\n", local(b.done.Began.Format(time.RFC3339Nano)))
	}
	if err := b.puller.Run(ctx); err != nil && len(b.done.Channels) > 0 {
		return fmt.Errorf("%w; run the same command again to go on", err)
	} else if err != nil {
		return err
	}
	b.bar.end()
	return b.finish(ctx, s)
}

// finish tells the gateway what was read, and the operator what is complete by it. Then the run is
// over, and never resumed.
func (b *backfiller) finish(ctx context.Context, s streams) error {
	read := admin.Backfill{CorpID: b.done.Corp, Began: b.done.Began}
	for _, c := range b.done.Channels {
		if c.Broken {
			fmt.Fprintf(s.err, "channel %s: WeCom gave a page that cannot be read to its end, so its records stay as they were\n", c.Channel)
		} else {
			read.Channels = append(read.Channels, c.Channel)
		}
	}
	switch {
	case len(b.done.Channels) == 0:
		_ = os.Remove(b.file)
		return fmt.Errorf("%s: kf/account/list names no channel; its records stay as they were", b.done.Corp)
	case len(read.Channels) == 0:
		_ = os.Remove(b.file)
		return fmt.Errorf("%s: no channel could be read to its end; its records stay as they were", b.done.Corp)
	}
	var answer admin.Backfill
	if err := b.report(ctx, read, &answer); err != nil {
		return err
	}
	for _, c := range answer.Missed {
		fmt.Fprintf(s.err, "channel %s: messages passed unrecorded meanwhile, as the gateway's log says\n", c)
	}
	for _, c := range answer.Unseen {
		fmt.Fprintf(s.err, "channel %s: this secret cannot see it, so its records stay as they were: run the command with a secret that can\n", c)
	}
	if b.done.Unreadable > 0 {
		fmt.Fprintf(s.err, "%s could not be read: the history of their channels stays incomplete until they are older than a window\n", count(b.done.Unreadable, "item"))
	}
	fmt.Fprintf(s.out, "%s: %s of customers on %s went through the gateway; ", b.done.Corp, count(b.done.Messages, "message"), count(len(b.done.Channels), "channel"))
	if whole := len(b.done.Channels); len(answer.Channels) < whole {
		fmt.Fprintf(s.out, "the records of %d are complete\n", len(answer.Channels))
		return fmt.Errorf("the records of %s are not complete: begin again", count(whole-len(answer.Channels), "channel"))
	}
	if len(answer.Unseen) > 0 {
		fmt.Fprintf(s.out, "the records of these are complete, those of %s are not\n", count(len(answer.Unseen), "other channel"))
		return nil
	}
	fmt.Fprintln(s.out, "its records are complete")
	return nil
}

// report tells the gateway what was read. The progress is kept until the gateway has taken it, or
// said that it is worth nothing.
func (b *backfiller) report(ctx context.Context, read admin.Backfill, answer *admin.Backfill) error {
	err := b.client.post(ctx, "/v1/backfill", read, answer)
	var refused apiError
	if err != nil && !(errors.As(err, &refused) && (refused.code == "gap" || refused.code == "bad_time")) {
		return fmt.Errorf("%w; run the same command again to go on", err)
	}
	_ = os.Remove(b.file)
	return err
}

// showReplays shows how far the gateway has completed the records of a corp by itself.
func showReplays(ctx context.Context, connect func() (client, error), corp string, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var st backfill.Status
	if err := c.get(ctx, "/v1/backfills", url.Values{"corp_id": {corp}}, &st); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, st)
	}
	fmt.Fprintf(s.out, "%s: %s; the records of %d of %s are complete, %s of customers replayed\n",
		printable(st.CorpID), printable(st.State), st.Complete, count(st.Channels, "channel"), count(st.Messages, "message"))
	for _, one := range st.Secrets {
		if one.Error != "" {
			fmt.Fprintf(s.out, "secret %d: %s; tried again at %s\n", one.Number, printable(one.Error), local(one.Retry.Format(time.RFC3339Nano)))
		}
	}
	for _, ch := range st.List {
		if ch.State != backfill.Complete {
			fmt.Fprintf(s.out, "channel %s: %s\n", printable(ch.Channel), printable(ch.State))
		}
	}
	return nil
}

// resume takes up an interrupted run, if there is one that is young enough to prove anything.
func (b *backfiller) resume(ctx context.Context) (bool, error) {
	var now admin.Backfill
	if err := b.client.post(ctx, "/v1/backfill", admin.Backfill{CorpID: b.done.Corp}, &now); err != nil {
		return false, err
	}
	corp := b.done.Corp
	data, err := os.ReadFile(b.file)
	if err == nil {
		err = json.Unmarshal(data, &b.done)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("--state: %s cannot be read: %w", b.file, err)
	case b.done.Corp != corp:
		return false, fmt.Errorf("--state: %s belongs to another corp: name another file", b.file)
	case now.Began.Sub(b.done.Began) < 12*time.Hour:
		return true, nil
	}
	b.done = backfill.Progress{Corp: corp, Began: now.Began}
	return false, b.save()
}

// save writes the progress to its file, which outlives a crash, and moves the bar.
func (b *backfiller) save() error {
	data, err := json.Marshal(b.done)
	if err != nil {
		return err
	}
	if err := store.ReplaceFile(b.file, data); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	done, all := b.done.Done(), len(b.done.Channels)
	b.bar.show(done, all, fmt.Sprintf("%d of %s, %s", done, count(all, "channel"), count(b.done.Messages, "message")))
	return nil
}

// Call sends a call to WeCom through the gateway, as a bot would. Its errors never quote the query:
// a secret may be in it.
func (c client) Call(ctx context.Context, path string, query url.Values, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	method := http.MethodPost
	if len(body) == 0 {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, c.api+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: --api is not a URL", errUsage)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no gateway answers at %s: is this its listen.api?", c.api)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%s: the answer broke off", path)
	case len(answer) > maxAnswer:
		return 0, nil, fmt.Errorf("%s: HTTP %d, and an answer of more than %d bytes", path, resp.StatusCode, maxAnswer)
	}
	return resp.StatusCode, answer, nil
}

const maxAnswer = 64 << 20 // bytes

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"replygate/admin"
	"replygate/config"
	"replygate/window"
)

// explainOptions are the flags of explain.
type explainOptions struct {
	corp, body, contentType, client, at, language string
	candidate, wrote                              string
	json                                          bool
}

// explainCommand returns the command that tells why one call passes or not.
func explainCommand(s streams) *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain --corp CORP PATH",
		Short: "Tell why one call passes or not, and until when",
		Long: `Tells why one call passes or not, and until when: each rule tried, each fact read. It asks a
running gateway, or with --candidate judges by a configuration that is not in force.`,
		Annotations: arguments("PATH", "the call's path, with its query if it has one"),
		Example: `  replygate explain --corp ww0123456789abcdef '/cgi-bin/externalcontact/get?external_userid=wm1'
  replygate explain --corp ww0123456789abcdef --body @call.json /cgi-bin/kf/send_msg
  replygate explain --candidate new.yaml --wrote 3h --corp ww0123456789abcdef --body @call.json /cgi-bin/kf/send_msg`,
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.corp, "corp", "", "the `CORP` that calls")
	f.StringVar(&o.body, "body", "", "the `BODY` of the call, or @FILE")
	f.StringVar(&o.contentType, "content-type", "application/json", "the call's Content-`TYPE`")
	f.StringVar(&o.client, "client", "", "what the caller is, a `NAME` of clients")
	f.StringVar(&o.at, "at", "", "the `INSTANT` of the call, RFC 3339; default: now")
	f.StringVar(&o.language, "language", "", "`en` or zh; default: policy.language")
	f.StringVar(&o.candidate, "candidate", "", "judge by this configuration `FILE` instead of the one in force")
	f.StringVar(&o.wrote, "wrote", "", "with --candidate: take it that the customer wrote this `LONG` ago, instead of asking a gateway")
	yamlFile(c, "candidate")
	oneOf(c, "language", config.English, config.Chinese)
	c.RunE = func(c *cobra.Command, given []string) error {
		return explain(c.Context(), connect, o, given[0], s)
	}
	return c
}

// explain tells why one call passes or not: asked of a running gateway, or by a candidate
// configuration with the windows of a running one.
func explain(ctx context.Context, connect func() (client, error), o explainOptions, path string, s streams) error {
	in, err := o.call(path)
	if err != nil {
		return err
	}
	var out admin.Explanation
	if o.candidate == "" {
		c, err := connect()
		if err != nil {
			return err
		}
		if err := c.ask(ctx, "/v1/explain", in, &out); err != nil {
			return err
		}
	} else if out, err = explainCandidate(ctx, o.candidate, o.wrote, in, connect); err != nil {
		return err
	}
	if o.json {
		return printJSON(s.out, out)
	}
	return printExplanation(s.out, out, in)
}

// call makes the call of the flags.
func (o explainOptions) call(path string) (in admin.ExplainCall, err error) {
	in = admin.ExplainCall{CorpID: o.corp, Path: path, ContentType: o.contentType, Client: o.client, Language: o.language}
	if in.Body, err = bodyOf(o.body); err != nil {
		return in, err
	}
	if o.at != "" {
		if in.At, err = time.Parse(time.RFC3339Nano, o.at); err != nil {
			return in, fmt.Errorf("%w: --at %q is not an instant like 2026-11-22T10:00:00+08:00", errUsage, o.at)
		}
	}
	if o.corp == "" || !strings.HasPrefix(path, "/") {
		return in, fmt.Errorf("%w: give --corp, and a path like /cgi-bin/kf/send_msg", errUsage)
	}
	if o.language != "" && o.language != config.English && o.language != config.Chinese {
		return in, fmt.Errorf("%w: --language must be en or zh", errUsage)
	}
	return in, nil
}

// bodyOf reads a body given as text, or as @FILE.
func bodyOf(text string) (string, error) {
	file, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	data, err := os.ReadFile(file)
	return string(data), err
}

// explainCandidate judges by a configuration that is not in force.
func explainCandidate(ctx context.Context, file, wrote string, in admin.ExplainCall, connect func() (client, error)) (admin.Explanation, error) {
	set, err := load(file)
	if err != nil {
		return admin.Explanation{}, err
	}
	if in.At.IsZero() {
		in.At = time.Now()
	}
	chinese := set.Engine.Chinese()
	if in.Language != "" {
		chinese = in.Language == config.Chinese
	}
	if wrote != "" {
		ago, err := time.ParseDuration(wrote)
		if err != nil {
			return admin.Explanation{}, fmt.Errorf("%w: --wrote %q is not a duration like 3h", errUsage, wrote)
		}
		last := in.At.Add(-ago)
		w := window.Window{Last: last.UnixMilli()}
		assumed := assumedStore{window.Answer{State: w.Judge(in.At.UnixMilli(), set.Config.Window.Length, set.Config.Window.Replies), Last: last, Left: w.Left(set.Config.Window.Replies)}}
		return admin.ExplanationOf(set.Explain(ctx, in.Call(), assumed, chinese)), nil
	}
	c, err := connect()
	if err != nil {
		return admin.Explanation{}, err
	}
	remote := &remoteStore{client: c}
	e := set.Explain(ctx, in.Call(), remote, chinese)
	return admin.ExplanationOf(e), remote.err
}

// assumedStore says the same of every customer, and knows no codes.
type assumedStore struct{ window.Answer }

func (a assumedStore) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i := range keys {
		answers[i] = a.Answer
	}
	return answers
}

func (a assumedStore) Reserve(context.Context, window.Key) window.Answer { return a.Answer }

func (assumedStore) ConsumeCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{State: window.CodeUnavailable}
}

func (a assumedStore) PeekCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return a.ConsumeCode(ctx, corp, code)
}

// remoteStore asks a running gateway for windows. It does not know codes.
type remoteStore struct {
	assumedStore
	client client
	err    error // the first failure
}

var remoteStates = map[string]window.State{"open": window.Open, "full": window.Exhausted, "shut": window.ClosedByPlatform, "closed": window.Closed}

func (r *remoteStore) Peek(ctx context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i, k := range keys {
		a, err := r.peek(ctx, k)
		if err != nil {
			a = window.Answer{State: window.Unavailable, Left: -1}
			r.err = errors.Join(r.err, err)
		}
		answers[i] = a
	}
	return answers
}

func (r *remoteStore) Reserve(ctx context.Context, k window.Key) window.Answer {
	return r.Peek(ctx, k)[0]
}

func (r *remoteStore) peek(ctx context.Context, k window.Key) (window.Answer, error) {
	var list admin.WindowList
	err := r.client.get(ctx, "/v1/windows", url.Values{"corp_id": {k.Corp}, "channel": {k.Channel}, "customer": {k.Customer}}, &list)
	var refused apiError
	if errors.As(err, &refused) && refused.code == "no_window" {
		err = r.client.get(ctx, "/v1/windows", url.Values{"corp_id": {k.Corp}, "limit": {"1"}}, &list)
		if list.Incomplete {
			return window.Answer{State: window.Incomplete, Left: -1}, err
		}
		return window.Answer{State: window.Closed}, err
	}
	if err != nil || len(list.Windows) != 1 {
		return window.Answer{}, err
	}
	w := list.Windows[0]
	last, err := time.Parse(time.RFC3339Nano, w.Last)
	a := window.Answer{State: remoteStates[w.State], Last: last, Left: -1}
	if w.Left != nil {
		a.Left = *w.Left
	}
	return a, err
}

// labels of an explanation for people, in the two languages.
var labels = map[bool]struct{ answer, never, changes, shadow, rules, facts string }{
	false: {
		"answer   %d %s\n", "changes  not by itself", "changes  %s, in %s, if nobody writes or replies until then\n",
		"shadow   %s  %s, rule %s\n", "RULE\tMATCHED\tWHY", "FACT\tVALUE\tFROM",
	},
	true: {
		"应答     %d %s\n", "变化     不会自行变化", "变化     %s，%s后（如期间没有新的消息或回复）\n",
		"shadow   %s  %s，规则 %s\n", "规则\t匹配\t原因", "事实\t值\t来源",
	},
}

// printExplanation prints an explanation for people.
func printExplanation(w io.Writer, e admin.Explanation, in admin.ExplainCall) error {
	say := labels[in.Language == config.Chinese]
	rule := e.Rule
	if rule == "" {
		rule = "-"
	}
	fmt.Fprintf(w, "%s  %s, rule %s\n", e.Verdict, e.Reason, rule)
	if e.Errmsg != "" {
		fmt.Fprintf(w, say.answer, e.Errcode, e.Errmsg)
	}
	if e.ChangesAt == "" {
		fmt.Fprintln(w, say.never)
	} else {
		fmt.Fprintf(w, say.changes, local(e.ChangesAt), until(in.At, e.ChangesAt))
	}
	if would := e.Shadow; would != nil {
		fmt.Fprintf(w, say.shadow, would.Verdict, would.Reason, would.Rule)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\n"+say.rules)
	for _, r := range e.Rules {
		fmt.Fprintf(t, "%s\t%v\t%s\n", r.Name, r.Matched, r.Why)
	}
	fmt.Fprintln(t, "\n"+say.facts)
	for _, f := range e.Facts {
		fmt.Fprintf(t, "%s\t%v\t%s\n", f.Name, f.Value, f.Source)
	}
	return t.Flush()
}

// until writes how long it is from an instant, now if it is zero, to another one: 3 h 12 m.
func until(from time.Time, rfc3339 string) string {
	at, err := time.Parse(time.RFC3339Nano, rfc3339)
	if err != nil {
		return "?"
	}
	if from.IsZero() {
		from = time.Now()
	}
	d := at.Sub(from).Round(time.Second)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d m", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d m %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

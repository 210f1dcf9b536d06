package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/policy"
	"replygate/record"
	"replygate/replay"
	"replygate/wecom"
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
		Use:   "explain CALL",
		Short: "Tell why one call passes or not, and until when",
		Long: `Tells why one call passes or not, and until when: each rule tried, each fact read. It asks a
running gateway, or with --candidate judges by a configuration that is not in force.`,
		Annotations: arguments(
			"CALL", "the path of a call, with its query, and --corp for who calls;",
			"", "or the id of a past decision;",
			"", "or the line of the log that records one, as it is, as @FILE, or - for standard input"),
		Example: `  replygate explain --corp ww0123456789abcdef '/cgi-bin/externalcontact/get?external_userid=wm1'
  replygate explain --corp ww0123456789abcdef --body @call.json /cgi-bin/kf/send_msg
  replygate explain --candidate new.yaml --wrote 3h --corp ww0123456789abcdef --body @call.json /cgi-bin/kf/send_msg
  replygate explain 1a21fee66cf4c3e1
  grep '"verdict":"refuse"' decisions.log | tail -n 1 | replygate explain -`,
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
	f.StringVar(&o.at, "at", "", "the `INSTANT` of the call, RFC 3339 (default now)")
	languageFlag(c, &o.language)
	f.StringVar(&o.candidate, "candidate", "", "judge by this configuration `FILE` instead of the one in force")
	f.StringVar(&o.wrote, "wrote", "", "with --candidate: take it that the customer wrote this `LONG` ago, instead of asking a gateway")
	yamlFile(c, "candidate")
	withValues(c, "corp", "body", "content-type", "client", "at", "wrote")
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := checkExplainFlags(given[0], c.Flags().Changed); err != nil {
			return err
		}
		out, at, err := o.explain(c.Context(), connect, given[0])
		switch {
		case err != nil:
			return err
		case o.json:
			return printJSON(s.out, out)
		}
		return printExplanation(s.out, out, at)
	}
	return c
}

// languageFlag adds --language.
func languageFlag(c *cobra.Command, language *string) {
	c.Flags().StringVar(language, "language", "", "`LANGUAGE` of the texts, en or zh (default policy.language)")
	oneOf(c, "language", config.English, config.Chinese)
}

// checkLanguage wants a language that there is, or none.
func checkLanguage(language string) error {
	if language != "" && language != config.English && language != config.Chinese {
		return fmt.Errorf("%w: --language must be en or zh", errUsage)
	}
	return nil
}

// checkExplainFlags wants no flag that would be without effect.
func checkExplainFlags(call string, given func(flag string) bool) error {
	if given("wrote") && !given("candidate") {
		return fmt.Errorf("%w: --wrote is for --candidate: a running gateway knows when the customer wrote", errUsage)
	}
	if _, isID := record.IDTime(call); !isID && !isRecord(call) {
		return nil
	}
	for _, flag := range []string{"corp", "body", "content-type", "client", "at", "wrote"} {
		if given(flag) {
			return fmt.Errorf("%w: --%s is for a call that is given by its path: a record has its own", errUsage, flag)
		}
	}
	return nil
}

// isRecord reports whether an argument gives a record; see recordIn.
func isRecord(call string) bool {
	return strings.HasPrefix(call, "{") || strings.HasPrefix(call, "@") || call == "-"
}

// explain explains a call in one of its three forms, and returns the instant of the call.
func (o explainOptions) explain(ctx context.Context, connect func() (client, error), call string) (out admin.Explanation, at time.Time, err error) {
	if err := checkLanguage(o.language); err != nil {
		return out, at, err
	}
	if _, isID := record.IDTime(call); isID {
		return o.explainID(ctx, connect, call)
	}
	if isRecord(call) {
		line, err := recordIn(call)
		if err != nil {
			return out, at, err
		}
		return o.explainRecord(ctx, connect, line)
	}
	in, err := o.call(call)
	if err != nil {
		return out, at, err
	}
	if o.candidate != "" {
		out, err = o.byCandidate(ctx, in, connect)
		return out, in.At, err
	}
	c, err := connect()
	if err != nil {
		return out, at, err
	}
	err = c.ask(ctx, "/v1/explain", in, &out)
	return out, in.At, err
}

// explainID explains the call of a past decision, whose record the gateway has.
func (o explainOptions) explainID(ctx context.Context, connect func() (client, error), id string) (out admin.Explanation, at time.Time, err error) {
	c, err := connect()
	if err != nil {
		return out, at, err
	}
	var found admin.FoundDecision
	err = c.get(ctx, "/v1/decisions/"+id, url.Values{"language": {o.language}}, &found)
	switch {
	case err != nil:
		return out, at, err
	case o.candidate != "":
		return o.explainRecord(ctx, connect, found.Decision)
	case found.Undecided != "":
		return out, at, apiError{"undecided", "the call of this record cannot be judged once more: " + found.Undecided}
	}
	return found.Explain.Explanation, recordedAt(found.Decision), nil
}

// recordedAt is the instant of the call of a record; an access record has none.
func recordedAt(line []byte) time.Time {
	var recorded struct {
		At time.Time `json:"at"`
	}
	_ = json.Unmarshal(line, &recorded)
	return recorded.At
}

// maxRecords bounds a file with a record, and the body of a call.
const maxRecords = 16 << 20 // bytes

// recordIn reads a record: the text itself, @FILE, or - for standard input. It is the first line
// with a JSON object, since others may come from other programs, or precede it on a console.
func recordIn(text string) ([]byte, error) {
	data := []byte(text)
	var err error
	if file, named := strings.CutPrefix(text, "@"); named {
		data, err = readInput(file, maxRecords)
	} else if text == "-" {
		data, err = readInput(text, maxRecords)
	}
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(data) {
		if start := bytes.IndexByte(line, '{'); start >= 0 && json.Valid(line[start:]) {
			return line[start:], nil
		}
	}
	return nil, fmt.Errorf("%w: %q holds no record: give a line of log.decisions", errUsage, text)
}

// explainRecord explains the call of a record, by the rules in force or by a candidate.
func (o explainOptions) explainRecord(ctx context.Context, connect func() (client, error), line []byte) (out admin.Explanation, at time.Time, err error) {
	at = recordedAt(line)
	if o.candidate == "" {
		c, err := connect()
		if err != nil {
			return out, at, err
		}
		err = c.ask(ctx, "/v1/explain", admin.ExplainCall{Record: line, Language: o.language}, &out)
		return out, at, err
	}
	set, err := load(o.candidate)
	if err != nil {
		return out, at, err
	}
	chinese := o.chinese(set)
	e, err := replay.Explain(&set.Gate, line, chinese)
	if err != nil {
		return out, at, fmt.Errorf("the call of this record cannot be judged once more: %w", err)
	}
	return admin.ExplanationOf(e, chinese), at, nil
}

// chinese reports whether the texts are in Chinese: as --language says, else as the configuration.
func (o explainOptions) chinese(set settings) bool {
	if o.language == "" {
		return set.Engine.Chinese()
	}
	return o.language == config.Chinese
}

// call makes the call of the flags.
func (o explainOptions) call(path string) (in admin.ExplainCall, err error) {
	in = admin.ExplainCall{CorpID: o.corp, Path: path, ContentType: o.contentType, Client: o.client, Language: o.language}
	if in.Body, err = bodyOf(o.body); err != nil {
		return in, err
	}
	if in.At, err = instant("at", o.at); err != nil {
		return in, err
	}
	if o.corp == "" || !strings.HasPrefix(path, "/") {
		return in, fmt.Errorf("%w: give --corp, and a path like /cgi-bin/kf/send_msg; or the id or the record of a decision", errUsage)
	}
	return in, nil
}

// bodyOf reads a body given as text, or as @FILE.
func bodyOf(text string) (string, error) {
	file, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	data, err := readInput(file, maxRecords)
	return string(data), err
}

// byCandidate judges by a configuration that is not in force.
func (o explainOptions) byCandidate(ctx context.Context, in admin.ExplainCall, connect func() (client, error)) (admin.Explanation, error) {
	set, err := load(o.candidate)
	if err != nil {
		return admin.Explanation{}, err
	}
	if in.At.IsZero() {
		in.At = time.Now()
	}
	chinese := o.chinese(set)
	if o.wrote != "" {
		assumed, err := o.assume(set, in.At)
		if err != nil {
			return admin.Explanation{}, err
		}
		return admin.ExplanationOf(set.Explain(ctx, in.Call(), assumed, chinese), chinese), nil
	}
	c, err := connect()
	if err != nil {
		return admin.Explanation{}, err
	}
	remote := &remoteStore{client: c}
	e := set.Explain(ctx, in.Call(), remote, chinese)
	return admin.ExplanationOf(e, chinese), remote.err
}

// assume takes it that every customer wrote as long ago as --wrote says.
func (o explainOptions) assume(set settings, at time.Time) (assumedStore, error) {
	ago, err := time.ParseDuration(o.wrote)
	if err != nil {
		return assumedStore{}, fmt.Errorf("%w: --wrote %q is not a duration like 3h", errUsage, o.wrote)
	}
	last, limits := at.Add(-ago), set.Config.Window
	w := window.Window{Last: last.UnixMilli()}
	return assumedStore{window.Answer{State: w.Judge(at.UnixMilli(), limits.Length, limits.Replies), Last: last, Left: w.Left(limits.Replies)}}, nil
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
	err    error // what failed
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

// labels of an explanation for people.
type labels struct {
	decided, answer, never, changes, shadow string
	rule, matched, why                      string
	fact, value, from                       string
	yes, no, notTried                       string
	days, hours, minutes, seconds           string
	isTrue, isFalse, comma                  string
	sources                                 map[string]string // by their English name; others stay

	instant func(rfc3339 string) string     // writes an instant of the API
	titled  func(fact, value string) string // adds the title of a value to it; nil: values have none
}

var inEnglish = labels{
	decided: "%s  %s, rule %s\n", answer: "answer   %d %s\n", never: "changes  not by itself\n",
	changes: "changes  %s, in %s, if nobody writes or replies until then\n", shadow: "shadow   %s  %s, rule %s\n",
	rule: "RULE", matched: "MATCHED", why: "WHY", fact: "FACT", value: "VALUE", from: "FROM",
	yes: "yes", no: "no", notTried: "not tried",
	days: "%d days", hours: "%d h %d m", minutes: "%d m %d s", seconds: "%d s",
	isTrue: "true", isFalse: "false", comma: ", ",
	instant: local, // in the zone of whoever reads it
}

var inChinese = labels{
	decided: "%s  %s，规则 %s\n", answer: "应答     %d %s\n", never: "变化     不会自行变化\n",
	changes: "变化     %s，%s后（如期间没有新的消息或回复）\n", shadow: "影子     %s  %s，规则 %s\n",
	rule: "规则", matched: "匹配", why: "原因", fact: "事实", value: "值", from: "来源",
	yes: "是", no: "否", notTried: "未判断",
	days: "%d 天", hours: "%d 小时 %d 分", minutes: "%d 分 %d 秒", seconds: "%d 秒",
	isTrue: "是", isFalse: "否", comma: "、",
	instant: inBeijing, titled: titledInChinese,
	sources: map[string]string{
		"request": "请求", "configuration": "配置", "catalogue": "接口目录", "configuration and clock": "配置与时钟", "body": "请求体",
	},
}

func labelsOf(e admin.Explanation) *labels {
	if e.Language == config.Chinese {
		return &inChinese
	}
	return &inEnglish
}

// printExplanation prints an explanation for people; at is the instant of the call, zero for now.
func printExplanation(w io.Writer, e admin.Explanation, at time.Time) error {
	say := labelsOf(e)
	fmt.Fprintf(w, say.decided, e.Verdict, e.Reason, orDash(e.Rule))
	if e.Errmsg != "" {
		fmt.Fprintf(w, say.answer, e.Errcode, printable(e.Errmsg))
	}
	if e.ChangesAt == "" {
		fmt.Fprint(w, say.never)
	} else {
		fmt.Fprintf(w, say.changes, say.instant(e.ChangesAt), say.until(at, e.ChangesAt))
	}
	if would := e.Shadow; would != nil {
		fmt.Fprintf(w, say.shadow, would.Verdict, would.Reason, would.Rule)
	}
	fmt.Fprintln(w)
	if err := printRules(w, e); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return printFacts(w, e)
}

func printRules(w io.Writer, e admin.Explanation) error {
	say := labelsOf(e)
	var t table
	t.row(say.rule, say.matched, say.why)
	for _, r := range e.Rules {
		matched := say.notTried
		if r.Tried {
			matched = map[bool]string{true: say.yes, false: say.no}[r.Matched]
		}
		t.row(r.Name, matched, r.Why)
	}
	return t.print(w)
}

func printFacts(w io.Writer, e admin.Explanation) error {
	say := labelsOf(e)
	var t table
	t.row(say.fact, say.value, say.from)
	for _, f := range e.Facts {
		t.row(f.Name, say.valueOf(f), cmp.Or(say.sources[f.Source], f.Source))
	}
	return t.print(w)
}

// valueOf writes the value of a fact.
func (l *labels) valueOf(f admin.ReadFact) string {
	switch v := f.Value.(type) {
	case bool:
		return map[bool]string{true: l.isTrue, false: l.isFalse}[v]
	case []any:
		all := make([]string, len(v))
		for i := range v {
			all[i] = fmt.Sprint(v[i])
		}
		return strings.Join(all, l.comma)
	case []string: // of a candidate, whose explanation was not read from JSON
		return strings.Join(v, l.comma)
	}
	text := fmt.Sprint(f.Value)
	if l.titled != nil {
		text = l.titled(f.Name, text)
	}
	return l.instant(text)
}

// titledInChinese adds their title in Chinese to values that have one.
func titledInChinese(fact, value string) string {
	switch fact {
	case "call.capability", "call.also":
		return policy.Titled(wecom.Capability(value), true)
	case "account.standing":
		return policy.TitledStanding(account.Standing(value), true)
	}
	return value
}

// inBeijing writes an instant of the API in Chinese.
func inBeijing(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339Nano, rfc3339)
	if err != nil {
		return orDash(rfc3339)
	}
	return policy.InBeijing(t)
}

// until writes how long it is from an instant, now if it is zero, to another one: 3 h 12 m.
func (l *labels) until(from time.Time, rfc3339 string) string {
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
		return fmt.Sprintf(l.days, d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf(l.hours, d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf(l.minutes, d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf(l.seconds, d/time.Second)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/account"
	"replygate/admin"
	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/rehearsal"
	"replygate/replay"
)

// rehearseOptions are the flags of rehearse.
type rehearseOptions struct {
	corp, at, language string
	json, csv          bool
	on                 time.Time // of at; zero: each account's own stop
}

// rehearseCommand returns the command that tells what stops at the lapse.
func rehearseCommand(s streams) *cobra.Command {
	var o rehearseOptions
	c := &cobra.Command{
		Use:   "rehearse [LOG…]",
		Short: "Tell what stops at the lapse, by account, interface and bot",
		Long: `Tells which calls of the last days would be refused once an account has lapsed, which go on, how
many replies had an open window, and what to do. The rules of the configuration decide.

Without LOG a running gateway is asked, which has counted the calls of the last seven days: about
all accounts that stop within 30 days, each on its own day, or with --at about all accounts on one
day. With LOG the records of log.decisions are judged as if they came on that day, by the rules of
the configuration, without a gateway.`,
		Annotations: arguments("LOG…", "files of log.decisions, also packed (.gz), or - for standard input"),
		Example: `  replygate rehearse -c replygate.yaml
  replygate rehearse -c replygate.yaml --corp ww0123456789abcdef --at 2026-12-02 --language zh
  replygate rehearse -c replygate.yaml --csv decisions*.log > rehearsal.csv`,
		Args: takes(0, 1000),
	}
	connect := clientFlags(c)
	f := c.Flags()
	f.StringVar(&o.corp, "corp", "", "only the account with this `CORP` id")
	f.StringVar(&o.at, "at", "", "rehearse this `DATE`, like 2026-12-02, or an instant (default each account's own stop)")
	withValues(c, "corp", "at")
	languageFlag(c, &o.language)
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.csv, "csv", false, "print CSV")
	c.RunE = func(c *cobra.Command, logs []string) error {
		if err := o.check(); err != nil {
			return err
		}
		var list admin.RehearsalList
		var err error
		if len(logs) == 0 {
			list, err = o.askGateway(c.Context(), connect)
		} else {
			list, err = o.overLogs(f.Lookup("config").Value.String(), logs, s)
		}
		if err != nil {
			return err
		}
		return o.print(s.out, list)
	}
	return c
}

// check checks the flags.
func (o *rehearseOptions) check() (err error) {
	if err := checkLanguage(o.language); err != nil {
		return err
	}
	if o.json && o.csv {
		return fmt.Errorf("%w: give --json or --csv, not both", errUsage)
	}
	if o.at != "" {
		if o.on, err = rehearsal.ReadAt(o.at); err != nil {
			return fmt.Errorf("%w: --at %w", errUsage, err)
		}
	}
	return nil
}

// askGateway reads the rehearsal of a running gateway, page by page.
func (o rehearseOptions) askGateway(ctx context.Context, connect func() (client, error)) (all admin.RehearsalList, err error) {
	c, err := connect()
	if err != nil {
		return all, err
	}
	query := url.Values{"corp_id": {o.corp}, "at": {o.at}, "language": {o.language}, "limit": {"200"}}
	if o.corp != "" {
		var one rehearsal.Report
		err := c.get(ctx, "/v1/rehearsal", query, &one)
		all.Accounts, all.Unattributed = []rehearsal.Report{one}, one.Unattributed
		return all, err
	}
	for {
		var page admin.RehearsalList
		if err := c.get(ctx, "/v1/rehearsal", query, &page); err != nil {
			return all, err
		}
		page.Accounts = append(all.Accounts, page.Accounts...)
		if all = page; all.Next == "" {
			return all, nil
		}
		query.Set("cursor", all.Next)
	}
}

// overLogs rehearses the accounts of a configuration over past records.
func (o rehearseOptions) overLogs(file string, names []string, s streams) (list admin.RehearsalList, err error) {
	if file == "" {
		return list, fmt.Errorf("%w: name the configuration whose rules judge the logs: -c FILE", errUsage)
	}
	set, err := load(file)
	if err != nil {
		return list, err
	}
	if o.corp != "" && set.Accounts.Find(o.corp) == nil {
		return list, fmt.Errorf("%s has no account %s", file, o.corp)
	}
	logs, err := openAll(names)
	if err != nil {
		return list, err
	}
	defer logs.Close()
	now := time.Now()
	over := newLogRehearsal(o, &set.Gate, now)
	bar := newProgress(s.err)
	unreadable, err := replay.Rehearse(over.by.Gate(), logs, func(int64) {
		bar.show(int(logs.read>>10), int(logs.size>>10), fmt.Sprintf("%d MB of %d", logs.read>>20, logs.size>>20))
	}, over.at, over.add)
	bar.end()
	if unreadable > 0 {
		fmt.Fprintf(s.err, "%s could not be read\n", count(unreadable, "line"))
	}
	if list = over.list(now); err == nil && len(list.Accounts)+len(list.Unattributed) == 0 {
		err = errors.New("these logs hold no record of a call of these accounts: name files of log.decisions, or the gateway's standard output")
	}
	return list, err
}

// logRehearsal is a rehearsal over logs.
type logRehearsal struct {
	rehearseOptions
	gate     *gate.Gate
	by       *rehearsal.Rehearser
	accounts map[string]*loggedAccount
	unknown  map[calls.Call]int64 // calls whose account the records do not tell
}

type loggedAccount struct {
	*account.Account
	*rehearsal.Tally
	days map[string]bool
}

func newLogRehearsal(o rehearseOptions, g *gate.Gate, now time.Time) *logRehearsal {
	chinese := o.language == config.Chinese || o.language == "" && g.Engine.Chinese()
	return &logRehearsal{
		rehearseOptions: o, gate: g, by: rehearsal.New(g, now, chinese), accounts: map[string]*loggedAccount{}, unknown: map[calls.Call]int64{},
	}
}

// at returns the instant for which the calls of a corp are rehearsed.
func (l *logRehearsal) at(corp string) (time.Time, bool) {
	a := l.gate.Accounts.Find(corp)
	if corp != "" && (a == nil || l.corp != "" && l.corp != corp) {
		return time.Time{}, false
	}
	if a == nil || !l.on.IsZero() {
		return cmp.Or(l.on, time.Now()), true
	}
	return l.by.StopsAt(a), true
}

// add adds one recorded call.
func (l *logRehearsal) add(p replay.Past) {
	if p.CorpID == "" {
		l.unknown[calls.Call{Path: p.Path, Client: p.Client}]++
		return
	}
	a := l.accounts[p.CorpID]
	if a == nil {
		listed := l.gate.Accounts.Find(p.CorpID)
		at, _ := l.at(p.CorpID)
		a = &loggedAccount{Account: listed, Tally: l.by.Tally(listed, at), days: map[string]bool{}}
		l.accounts[p.CorpID] = a
	}
	a.Past(p.Path, p.Client, p.Decision, p.Lacks == nil)
	a.days[p.At.In(rehearsal.Zone).Format(time.DateOnly)] = true
}

func (l *logRehearsal) list(now time.Time) admin.RehearsalList {
	list := admin.RehearsalList{Accounts: []rehearsal.Report{}, ListEnd: admin.ListEnd{Total: new(len(l.accounts)), AsOf: now.UTC().Format(time.RFC3339)}}
	for _, a := range l.accounts {
		list.Accounts = append(list.Accounts, a.Report(len(a.days), true))
	}
	slices.SortFunc(list.Accounts, func(a, b rehearsal.Report) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.CorpID, b.CorpID))
	})
	var unknown []calls.Line
	for call, n := range l.unknown {
		unknown = append(unknown, calls.Line{Path: call.Path, Client: call.Client, Counts: calls.Counts{Calls: n}})
	}
	list.Unattributed = l.by.Unattributed(unknown)
	return list
}

// print prints a rehearsal; of one named account, its JSON is the account's own.
func (o rehearseOptions) print(w io.Writer, list admin.RehearsalList) error {
	switch {
	case o.json && o.corp != "" && len(list.Accounts) == 1:
		list.Accounts[0].Unattributed = list.Unattributed
		return printJSON(w, list.Accounts[0])
	case o.json:
		return printJSON(w, list)
	case o.csv:
		var rows []admin.RehearsalRow
		for _, r := range list.Accounts {
			rows = append(rows, admin.RehearsalRows(r)...)
		}
		return admin.WriteCSV(w, rows)
	}
	say := rehearsalLabelsOf(list)
	if len(list.Accounts) == 0 {
		fmt.Fprintln(w, say.nobody)
	}
	for i, r := range list.Accounts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printRehearsal(w, r, say); err != nil {
			return err
		}
	}
	if len(list.Unattributed) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", say.unattributed)
	var t table
	t.row(say.capability, say.meaning, say.client, say.calls, say.advice)
	for _, row := range list.Unattributed {
		t.row(string(row.Capability), row.Meaning, row.Client, strconv.FormatInt(row.Calls, 10), row.Advice)
	}
	return t.print(w)
}

// rehearsalLabels are the labels of a rehearsal for people.
type rehearsalLabels struct {
	nobody, unattributed, untold, shadow, unobserved                     string
	capability, meaning, client, calls, verdict, refused, inside, advice string
	verdicts                                                             map[gate.FateVerdict]string

	standing func(string) string
	instant  func(rfc3339 string) string
}

var rehearsalInEnglish = rehearsalLabels{
	nobody:       "No account stops within 30 days. Name one with --corp, or a day with --at.",
	unattributed: "Calls with tokens that the gateway does not know, of all accounts together:",
	untold:       "%s calls are not in the table: they cannot be told apart, or their path has several readings.\n",
	shadow:       "policy.mode is shadow: the gateway refuses nothing. This is what it would refuse with enforce.",
	unobserved:   "Not observed: %s of the replies, so whether their window was open is unknown.\n",
	capability:   "INTERFACE", meaning: "WHAT IT DOES", client: "BOT", calls: "CALLS", verdict: "THEN", refused: "REFUSED", inside: "IN WINDOW", advice: "WHAT TO DO",
	verdicts: map[gate.FateVerdict]string{
		gate.FateRefuse: "stops", gate.FateReply: "in the window", gate.FateUnsure: "cannot be told", gate.FatePass: "goes on",
	},
	standing: func(s string) string { return s }, instant: local,
}

var rehearsalInChinese = rehearsalLabels{
	nobody:       "30 天内没有企业停用。可用 --corp 指定企业，或用 --at 指定日期。",
	unattributed: "凭证归属不明的调用（所有企业合计）：",
	untold:       "%s 次调用未列入：无法区分，或其路径有多种解读。\n",
	shadow:       "policy.mode 为 shadow：网关不拒绝任何调用。以下为 enforce 时会拒绝的调用。",
	unobserved:   "%s 次回复未被观察，无法判断当时窗口是否打开。\n",
	capability:   "接口", meaning: "用途", client: "程序", calls: "调用", verdict: "届时", refused: "被拒绝", inside: "窗口内", advice: "怎么办",
	verdicts: map[gate.FateVerdict]string{
		gate.FateRefuse: "停用", gate.FateReply: "仅限窗口内", gate.FateUnsure: "无法判断", gate.FatePass: "照常",
	},
	standing: func(s string) string { return policy.TitledStanding(account.Standing(s), true) }, instant: inBeijing,
}

// rehearsalLabelsOf returns the labels in the language of the reports.
func rehearsalLabelsOf(list admin.RehearsalList) *rehearsalLabels {
	chinese := list.Language == config.Chinese
	if len(list.Accounts) > 0 { // one account alone comes without a language
		chinese = strings.HasSuffix(list.Accounts[0].Sentence, "。")
	}
	if chinese {
		return &rehearsalInChinese
	}
	return &rehearsalInEnglish
}

// printRehearsal prints the rehearsal of one account.
func printRehearsal(w io.Writer, r rehearsal.Report, say *rehearsalLabels) error {
	fmt.Fprintf(w, "%s  %s  %s  %s\n%s\n", r.CorpID, orDash(printable(r.Account)), say.standing(r.Standing), say.instant(r.At), printable(r.Sentence))
	if r.Shadow {
		fmt.Fprintln(w, say.shadow)
	}
	if len(r.By) > 0 {
		fmt.Fprintln(w)
	}
	var t table
	var unobserved int64
	for i, row := range r.By {
		if i == 0 {
			t.row(say.capability, say.meaning, say.client, say.calls, say.verdict, say.refused, say.inside, say.advice)
		}
		inside := "-"
		if row.InsideWindow != nil {
			inside = strconv.FormatInt(*row.InsideWindow, 10)
		}
		unobserved += row.Unobserved
		t.row(string(row.Capability), row.Meaning, row.Client, strconv.FormatInt(row.Calls, 10), say.verdicts[row.Verdict], strconv.FormatInt(row.Refused, 10), inside, orDash(row.Advice))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if unobserved > 0 {
		fmt.Fprintf(w, say.unobserved, strconv.FormatInt(unobserved, 10))
	}
	if r.Untold > 0 {
		fmt.Fprintf(w, say.untold, strconv.FormatInt(r.Untold, 10))
	}
	return nil
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replygate/proxy"
	"replygate/wecom"
)

// maxCopied bounds what is read of a copied callback; the gateway takes a body of 1 MiB.
const maxCopied = 2 << 20 // bytes

// callbacksCommand returns the command that compares a callback with those of a configuration.
func callbacksCommand(s streams) *cobra.Command {
	var o callbackOptions
	check := &cobra.Command{
		Use:   "check [URL [BODY]]",
		Short: "Tell which of token, key, receive id and age of a callback does not fit",
		Long: `Compares a callback of WeCom, as copied from the log of a proxy, with the callbacks of a
configuration, and tells for each which of token, key, receive id and age does not fit, and what to
change. Without arguments it reads the request, URL first, from standard input.

It prints no token, no key, and nothing of what a customer wrote.`,
		Annotations: arguments(
			"URL", "the URL with msg_signature, timestamp and nonce, or the line of a log that has it",
			"BODY", "the XML or JSON of a POST; a GET has its text, echostr, in the URL"),
		Example: `  replygate callbacks check -c replygate.yaml 'https://gateway.example/callback/acme?msg_signature=…&echostr=…'
  replygate callbacks check --at 2026-11-22T18:00:00+08:00 --request callback.txt`,
		Args:              takes(0, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	configFlag(check, &o.config, "the configuration `FILE`")
	f := check.Flags()
	f.StringVar(&o.request, "request", "", "read URL and body from this `FILE`")
	f.StringVar(&o.at, "at", "", "the `INSTANT` at which the callback came, RFC 3339 (default now)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	withValues(check, "at")
	check.RunE = func(_ *cobra.Command, words []string) error { return o.run(words, s) }
	return asGroup(&cobra.Command{
		Use:     "callbacks",
		Short:   "Find out why a callback of WeCom does not fit the configuration",
		Example: "  replygate callbacks check --request callback.txt",
	}, check)
}

// callbackOptions are the flags of callbacks check.
type callbackOptions struct {
	config, request, at string
	json                bool
}

func (o callbackOptions) run(words []string, s streams) error {
	at, err := instant("at", o.at)
	if err != nil {
		return err
	}
	if o.at == "" {
		at = time.Now()
	}
	if o.request != "" && len(words) > 0 {
		return fmt.Errorf("%w: give the callback as arguments or by --request, not both", errUsage)
	}
	set, err := load(o.config)
	if err != nil {
		return err
	}
	text, err := readCallback(words, o.request)
	if err != nil {
		return err
	}
	report, found := checkCallback(set, text, at)
	if errors.Is(found, errUsage) {
		return found
	}
	if o.json {
		err = printJSON(s.out, report)
	} else {
		err = report.print(s.out)
	}
	return cmp.Or(err, found)
}

// callbackReport is what callbacks check --json prints.
type callbackReport struct {
	OK        bool                  `json:"ok"`
	Path      string                `json:"path"`                // of the URL, "" if it has none
	Malformed string                `json:"malformed,omitempty"` // why nothing could be compared
	Callbacks []proxy.CallbackCheck `json:"callbacks"`           // the one with that path first
}

// checkCallback compares a copied callback with those of a configuration.
func checkCallback(set settings, text string, now time.Time) (callbackReport, error) {
	r := callbackReport{Callbacks: []proxy.CallbackCheck{}}
	if len(set.Config.Callbacks) == 0 {
		return r, errors.New("the configuration has no callbacks")
	}
	copied, err := readCopied(text)
	if err != nil {
		return r, err
	}
	r.Path = copied.path
	sealed, err := wecom.ReadSealed(copied.get, copied.query, copied.body)
	if err != nil {
		r.Malformed = err.Error()
		return r, err
	}
	if r.Callbacks, err = proxy.CheckCallback(&set.Gate, sealed, now); err != nil {
		return r, err
	}
	named := func(c proxy.CallbackCheck) bool { return c.Path == r.Path }
	switch i := slices.IndexFunc(r.Callbacks, named); {
	case i >= 0:
		first := r.Callbacks[i]
		r.Callbacks = slices.Insert(slices.Delete(r.Callbacks, i, i+1), 0, first)
		if !first.Fits {
			return r, fmt.Errorf("the callback does not fit %s: %s", first.Path, first.Cause)
		}
	case r.Path != "":
		return r, fmt.Errorf("no callback of the configuration has the path %s: the gateway answers 404", r.Path)
	case !slices.ContainsFunc(r.Callbacks, func(c proxy.CallbackCheck) bool { return c.Fits }):
		return r, errors.New("the callback fits none of the configuration")
	}
	r.OK = true
	return r, nil
}

// print writes the report for people: the callback with the path of the URL in full, each other one
// in a line; without a path all in full.
func (r callbackReport) print(w io.Writer) error {
	for i, c := range r.Callbacks {
		if r.Path != "" && (i > 0 || c.Path != r.Path) {
			fmt.Fprintf(w, "%s: %s\n", printable(c.Path), inShort(c))
			continue
		}
		fmt.Fprintf(w, "%s:\n", printable(c.Path))
		var t table
		for _, p := range c.Parts {
			t.row("  "+p.Part, string(p.Match), p.Says)
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

// inShort lists the parts of a check by how they match.
func inShort(c proxy.CallbackCheck) string {
	parts := map[proxy.Match][]string{}
	for _, p := range c.Parts {
		parts[p.Match] = append(parts[p.Match], p.Part)
	}
	var all []string
	for _, m := range []proxy.Match{proxy.Fits, proxy.Differs} {
		if len(parts[m]) > 0 {
			all = append(all, string(m)+": "+strings.Join(parts[m], ", "))
		}
	}
	return strings.Join(all, "; ")
}

// copiedCallback is a callback as an operator copies it from a log.
type copiedCallback struct {
	path        string // "" if only the query was copied
	get         bool
	query, body []byte
}

// readCopied finds a callback in a text: its URL, which may be a part of a log line, and after it
// its body, if it has one. Ampersands may be escaped as in JSON or HTML.
func readCopied(text string) (copiedCallback, error) {
	const signature = "msg_signature="
	found := strings.Index(text, signature)
	if found < 0 {
		return copiedCallback{}, fmt.Errorf("%w: the text has no URL with %s…: copy the whole request line of the callback, and its body", errUsage, signature)
	}
	isEnd := func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'`<>", r) }
	begin := strings.LastIndexFunc(text[:found], isEnd) + 1
	address, rest := text[begin:], ""
	if end := strings.IndexFunc(address, isEnd); end >= 0 {
		address, rest = address[:end], address[end:]
	}
	address = strings.NewReplacer(`\u0026`, "&", "&amp;", "&", `\/`, "/").Replace(address)
	if strings.HasPrefix(address, signature) {
		address = "?" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return copiedCallback{}, fmt.Errorf("%w: the URL of the callback cannot be read: copy it again", errUsage)
	}
	c := copiedCallback{path: u.EscapedPath(), query: []byte(u.RawQuery), body: bodyAfter(rest)}
	before := strings.Fields(strings.NewReplacer(`"`, " ", "'", " ").Replace(text[:begin]))
	method := ""
	if len(before) > 0 {
		method = before[len(before)-1]
	}
	c.get = method == "GET" || method != "POST" && c.body == nil && strings.Contains(u.RawQuery, "echostr=")
	if !c.get && c.body == nil {
		return c, fmt.Errorf("%w: the callback has neither an echostr nor a body: the signature covers the encrypted message, so give the body too", errUsage)
	}
	return c, nil
}

// bodyAfter finds the XML or JSON of a body in what follows the URL, nil if there is none.
func bodyAfter(rest string) []byte {
	if i := strings.Index(rest, "<xml"); i >= 0 {
		body := rest[i:]
		if end := strings.LastIndex(body, "</xml>"); end >= 0 {
			body = body[:end+len("</xml>")]
		}
		return []byte(body)
	}
	for rest != "" {
		_, rest, _ = strings.Cut(rest, "\n")
		if text := strings.TrimSpace(rest); strings.HasPrefix(text, "{") {
			return []byte(text)
		}
	}
	return nil
}

// readCallback returns the copied callback that a command line gives: as arguments, in a file, or
// else on standard input.
func readCallback(words []string, file string) (string, error) {
	if len(words) > 0 {
		return strings.Join(words, "\n"), nil
	}
	text, err := readInput(cmp.Or(file, "-"), maxCopied)
	return string(text), err
}

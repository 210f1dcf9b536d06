// Package ruletest runs rule tests: cases in YAML that say what happens on a clock, and what is to
// become of calls. They are judged by the engine that judges a bot's calls, over an embedded store,
// with a clock that the case moves.
//
// It opens no listener and sends nothing: a call that goes on counts as taken by WeCom.
package ruletest

import (
	"fmt"
	"strings"
	"time"

	"replygate/config"
	"replygate/window"
)

// Case is one test.
type Case struct {
	Name     config.Word      `yaml:"name"`
	Accounts []config.Account `yaml:"accounts"` // in place of the configuration's
	Start    time.Time        `yaml:"start"`    // of its clock; default: 2026-01-01T00:00:00Z
	History  config.Word      `yaml:"history"`  // complete (the default) or incomplete: whether a missing window proves anything
	Steps    []Step           `yaml:"steps"`
	At       config.Position
}

// Step is one thing that happens, or one call.
type Step struct {
	At       config.Word `yaml:"at"`      // +47h59m59s since start, or an instant; default: when the step before was
	Inbound  *Inbound    `yaml:"inbound"` // a customer writes
	Enters   *Enters     `yaml:"enters"`  // a customer opens the chat, which gives out a code
	Lapses   config.Word `yaml:"lapses"`  // the subscription of this corp ends, and its grace
	Renews   config.Word `yaml:"renews"`  // this corp pays: it never lapses
	Reload   config.Word `yaml:"reload"`  // this configuration is in force from now on
	Redis    config.Word `yaml:"redis"`   // down or up
	Call     *Call       `yaml:"call"`
	Times    *int        `yaml:"times"` // the call is made so often, and each time comes to the same; default: 1
	Want     *Want       `yaml:"want"`
	Position config.Position
}

// Inbound is a customer's message.
type Inbound struct {
	CorpID   string `yaml:"corp_id"` // default: the first account
	Channel  string `yaml:"channel"`
	Customer string `yaml:"customer"`
}

// Enters is a customer who opens the chat.
type Enters struct {
	CorpID   string `yaml:"corp_id"`
	Channel  string `yaml:"channel"`
	Customer string `yaml:"customer"`
	Code     string `yaml:"code"`
}

// Call is one API call.
type Call struct {
	CorpID      string `yaml:"corp_id"` // default: the first account
	Client      string `yaml:"client"`
	Path        string `yaml:"path"` // with the query, without a token
	ContentType string `yaml:"content_type"`
	Body        string `yaml:"body"`
}

// Want is what is to become of a call. What it leaves out is not looked at.
type Want struct {
	Verdict   config.Word `yaml:"verdict"`
	Rule      config.Word `yaml:"rule"`
	Reason    config.Word `yaml:"reason"`
	Forwarded config.Word `yaml:"forwarded"` // true or false
	Errcode   *int        `yaml:"errcode"`
	Errmsg    config.Word `yaml:"errmsg"` // stands in the answer's errmsg
	Shadow    config.Word `yaml:"shadow"` // the verdict that it would have been
	Left      *int        `yaml:"replies_left"`
	Position  config.Position
}

// defaultStart is when the clock of a case begins that does not say.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Parse reads a file of cases: a list. The error holds every config.Mistake found.
func Parse(file string, data []byte) ([]Case, error) {
	var cases []Case
	if err := config.Decode(file, data, &cases); err != nil {
		return nil, err
	}
	p := parser{file: file}
	for i := range cases {
		p.check(&cases[i])
	}
	return cases, p.mistakes.Err()
}

type parser struct {
	file     string
	mistakes config.Mistakes
}

func (p *parser) wrong(at config.Position, what, remedy string) {
	p.mistakes.Add(p.file, at, what, remedy)
}

func (p *parser) check(c *Case) {
	if c.Start.IsZero() {
		c.Start = defaultStart
	}
	if c.Name.Text == "" {
		p.wrong(c.At, "a case has no name", "name it: failures quote the name")
	}
	if len(c.Steps) == 0 {
		p.wrong(c.At, "case "+c.Name.Text+" has no steps", "write steps: with a call, and what is to become of it")
	}
	p.oneOf("history", c.History, "complete", "incomplete")
	now := c.Start
	for i := range c.Steps {
		s := &c.Steps[i]
		at, err := s.instant(c.Start, now)
		switch {
		case err != nil:
			p.wrong(s.At.At, err.Error(), "write +47h59m59s since the start, or an instant like 2026-10-01T00:00:00+08:00")
		case at.Before(now):
			p.wrong(s.At.At, "the step is before the one above it", "a clock does not go back: put the steps in their order")
		default:
			now = at
		}
		p.step(s)
	}
}

func (p *parser) step(s *Step) {
	n := 0
	for _, there := range []bool{s.Inbound != nil, s.Enters != nil, s.Lapses.Text != "", s.Renews.Text != "", s.Reload.Text != "", s.Redis.Text != "", s.Call != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		p.wrong(s.Position, fmt.Sprintf("a step says %d things", n), "write one of inbound, enters, lapses, renews, reload, redis and call")
	}
	p.oneOf("redis", s.Redis, "down", "up")
	if (s.Call == nil) != (s.Want == nil) {
		p.wrong(s.Position, "a step has only one of call and want", "say beside each call what is to become of it")
	}
	if s.Call != nil && !strings.HasPrefix(s.Call.Path, "/") {
		p.wrong(s.Position, "a call has no path", "write path: /cgi-bin/kf/send_msg, or another one as it stands in the request")
	}
	if s.Times != nil && s.Call == nil {
		p.wrong(s.Position, "times has no effect on a step without a call", "take it out, or write the step as often as it happens")
	}
	if s.Times != nil && (*s.Times < 1 || *s.Times > 10_000) {
		p.wrong(s.Position, fmt.Sprintf("times cannot be %d", *s.Times), "write 1 to 10000")
	}
	if s.Want != nil {
		p.oneOf("verdict", s.Want.Verdict, "pass", "refuse", "unsure")
		p.oneOf("shadow", s.Want.Shadow, "pass", "refuse", "unsure")
		p.oneOf("forwarded", s.Want.Forwarded, "true", "false")
	}
}

func (p *parser) oneOf(key string, w config.Word, known ...string) {
	for _, k := range known {
		if w.Text == "" || w.Text == k {
			return
		}
	}
	p.wrong(w.At, fmt.Sprintf("%s cannot be %q", key, w.Text), config.DidYouMean(w.Text, known))
}

// instant is when a step happens.
func (s *Step) instant(start, before time.Time) (time.Time, error) {
	text := s.At.Text
	if text == "" {
		return before, nil
	}
	if after, ok := strings.CutPrefix(text, "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil || d < 0 {
			return time.Time{}, fmt.Errorf("at cannot be %q", text)
		}
		return start.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("at cannot be %q", text)
	}
	return at, nil
}

// key is the window that a customer's message opens.
func (i *Inbound) key(corp string) window.Key {
	return window.Key{Corp: orElse(i.CorpID, corp), Channel: i.Channel, Customer: i.Customer}
}

func orElse(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// Package ruletest runs tests of rules: cases in YAML with a timeline of events and calls, and the
// expected decision of each call. Calls are decided by the gate that decides a bot's calls, over an
// embedded store, with a clock that the case moves.
//
// It opens no listener and sends nothing: a forwarded call counts as accepted by WeCom.
package ruletest

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"replygate/config"
	"replygate/window"
)

// Case is one test case.
type Case struct {
	Name     config.Word      `yaml:"name"`
	Accounts []config.Account `yaml:"accounts"` // instead of those of the configuration
	Start    time.Time        `yaml:"start"`    // of the clock; default: 2026-01-01T00:00:00Z
	History  config.Word      `yaml:"history"`  // complete (default) or incomplete: see docs/knowing.md
	Steps    []Step           `yaml:"steps"`
	At       config.Position
}

// Step is one event or one call.
type Step struct {
	At       config.Word `yaml:"at"`      // +47h59m59s after start, or RFC 3339; default: as the step before
	Inbound  *Inbound    `yaml:"inbound"` // a customer writes
	Enters   *Enters     `yaml:"enters"`  // a customer opens the chat, which issues a one-time code
	Lapses   config.Word `yaml:"lapses"`  // the subscription of this corp ends, without grace
	Renews   config.Word `yaml:"renews"`  // this corp pays and never lapses
	Reload   config.Word `yaml:"reload"`  // path of the configuration in force from now on
	Redis    config.Word `yaml:"redis"`   // down or up
	Call     *Call       `yaml:"call"`
	Times    *int        `yaml:"times"` // of the call, each with the same result; default: 1
	Want     *Want       `yaml:"want"`
	Position config.Position
}

// Inbound is a customer's message.
type Inbound struct {
	CorpID   string `yaml:"corp_id"` // default: the first account
	Channel  string `yaml:"channel"`
	Customer string `yaml:"customer"`
}

// Enters is the event of a customer who opens the chat.
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

// Want is the expected decision of a call. Fields that are absent are not compared.
type Want struct {
	Verdict   config.Word `yaml:"verdict"`
	Rule      config.Word `yaml:"rule"`
	Reason    config.Word `yaml:"reason"`
	Forwarded config.Word `yaml:"forwarded"` // true or false
	Errcode   *int        `yaml:"errcode"`
	Errmsg    config.Word `yaml:"errmsg"` // a part of errmsg
	Shadow    config.Word `yaml:"shadow"` // the verdict if rules in shadow were enforced
	Left      *int        `yaml:"replies_left"`
	Position  config.Position
}

// defaultStart is the start of a case that gives none.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Parse parses a YAML list of cases. The error holds every config.Mistake found; file is the name
// in them.
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
		p.wrong(c.At, "case "+c.Name.Text+" has no steps", "write steps, each with an event or with a call and want")
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
			p.wrong(s.At.At, "the step is before the one above it", "time does not go backwards: put the steps in order")
		default:
			now = at
		}
		p.step(s)
	}
}

func (p *parser) step(s *Step) {
	n := 0
	for _, given := range []bool{s.Inbound != nil, s.Enters != nil, s.Lapses.Text != "", s.Renews.Text != "", s.Reload.Text != "", s.Redis.Text != "", s.Call != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		p.wrong(s.Position, fmt.Sprintf("a step has %d events", n), "write one of inbound, enters, lapses, renews, reload, redis and call")
	}
	p.oneOf("redis", s.Redis, "down", "up")
	if (s.Call == nil) != (s.Want == nil) {
		p.wrong(s.Position, "a step has only one of call and want", "write want beside each call, and only there")
	}
	if s.Call != nil && !strings.HasPrefix(s.Call.Path, "/") {
		p.wrong(s.Position, "a call has no path", "write path: /cgi-bin/kf/send_msg, or another path as the bot sends it")
	}
	if s.Times != nil && s.Call == nil {
		p.wrong(s.Position, "times has no effect on a step without a call", "remove it, or repeat the step")
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

// instant returns the time of a step, which is that of the step before by default.
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

// key returns the window that the message opens. corp is the default.
func (i *Inbound) key(corp string) window.Key {
	return window.Key{Corp: cmp.Or(i.CorpID, corp), Channel: i.Channel, Customer: i.Customer}
}

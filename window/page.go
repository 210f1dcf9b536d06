package window

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"
)

// Unattributed is what an answer of WeCom says about customers of a corp that Redis could not be
// asked for. Its keys and losses have no corp.
type Unattributed struct {
	Token    string   // the hash of the call's access token
	Channels []string // the corp is their owner if the token is unknown; nil: the token alone tells
	Facts    []Fact
	Codes    []LearntCode
	Replies  []Reply
	Losses   []Loss // of what cannot be read
}

// page is an Unattributed in the journal, or a part of it.
type page struct {
	Token    string
	Channels []string
	Noted    int64    // unix ms
	Records  [][]byte // of what it holds, as in the journal
	holds    backlog
}

// encode returns the records of a page. It is divided, since the size of a record is limited.
func (p page) encode() (records [][]byte, err error) {
	all, err := p.holds.encode()
	if err != nil {
		return nil, err
	}
	for p.Records = range slices.Chunk(all, maxChunk) {
		text, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		records = append(records, append([]byte{recordPage}, text...))
	}
	return records, nil
}

// parsePage is the inverse of encode for one record.
func parsePage(text []byte) (p page, ok bool) {
	if json.Unmarshal(text, &p) != nil {
		return page{}, false
	}
	p.holds = newBacklog()
	for _, r := range p.Records {
		if len(r) == 0 || r[0] == recordPage || p.holds.decode(r) != nil {
			return page{}, false
		}
	}
	return p, true
}

// errCorpUnknown is why a page is in the journal.
var errCorpUnknown = errors.New("window: redis cannot be asked for the corp of a page")

// RecordUnattributed stores u in the journal until Redis can be asked for its corp. Once it returns
// nil, no gateway refuses a reply because of a record that is missing meanwhile.
func (s *Store) RecordUnattributed(u Unattributed) (Tally, error) {
	latest, ahead, t := s.sift(u.Facts)
	p := page{Token: u.Token, Channels: u.Channels, Noted: s.Now().UnixMilli(), holds: newBacklog()}
	p.holds.facts, p.holds.codes, p.holds.losses = latest, u.Codes, slices.Concat(u.Losses, ahead)
	p.holds.answers = s.answersOf(u.Replies)
	for i := range p.holds.losses {
		p.holds.losses[i].Noted = p.Noted
	}
	if p.holds.len()+len(p.holds.losses) == 0 {
		return t, nil
	}
	b := newBacklog()
	b.pages = []page{p}
	err := s.spill(b, errCorpUnknown)
	if err != nil && !errors.Is(err, ErrNotMember) {
		return Tally{}, err
	}
	return t, err
}

// attribute adds to b what a page holds, or the losses that it means if its corp stays unknown.
func (s *Store) attribute(ctx context.Context, b *backlog, p page) error {
	corp, err := s.CorpOf(ctx, p.Token, p.Channels)
	if err != nil {
		return fmt.Errorf("%w: %w", errCorpUnknown, err)
	}
	losses := p.holds.losses
	if corp == "" {
		losses = append(losses, p.losses()...)
		s.Log.Warn("the account of a page that was kept in the journal stays unknown: replies without an open window are history_incomplete on its channels until a window's length is over",
			zap.Strings("channels", p.channels()))
	}
	for _, l := range losses {
		l.Corp = corp
		b.losses = append(b.losses, l)
	}
	if corp == "" {
		return nil
	}
	for k, at := range p.holds.facts {
		k.Corp = corp
		b.facts[k] = max(b.facts[k], at)
	}
	for _, a := range p.holds.answers {
		a.of.Corp = corp
		b.answers = append(b.answers, a)
	}
	for _, c := range p.holds.codes {
		c.Key.Corp = corp
		b.codes = append(b.codes, c)
	}
	return nil
}

// channels returns the channels of a page's messages.
func (p page) channels() (all []string) {
	for k := range p.holds.facts {
		all = append(all, k.Channel)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// losses returns the losses of a page's messages and codes, without corps.
func (p page) losses() (all []Loss) {
	for _, channel := range p.channels() {
		all = append(all, Loss{Channel: channel, Messages: true, Reason: gapUnattributed, Noted: p.Noted})
	}
	if len(p.holds.codes) > 0 {
		all = append(all, Loss{Codes: true, Reason: gapUnattributed, Noted: p.Noted})
	}
	return all
}

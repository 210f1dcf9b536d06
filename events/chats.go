package events

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"replygate/window"
)

// Chats finds chats that close unanswered.
type Chats struct {
	Windows  *window.Store
	Observed func(corp string) bool // it can be told whether the account's chats are answered
	// Describe returns what is said about a chat, but for its times.
	Describe func(k window.Key, closes time.Time) ChatData

	log  *Log
	seen time.Time           // when the last look was; zero: everything must be read
	all  time.Time           // when everything was read last
	open map[window.Key]chat // those that close within the nearest distance, of the last look
	told map[string]int64    // ids that are in the log → until when they are asked for, unix ms
}

// ChatData is the data of window.closing and window.closed_unanswered.
type ChatData struct {
	CorpID         string `json:"corp_id"`
	Account        string `json:"account"`
	Standing       string `json:"standing"`
	Channel        string `json:"channel"`
	Customer       string `json:"customer"`
	Last           string `json:"last"` // the customer's last message
	ClosesAt       string `json:"closes_at"`
	Before         string `json:"before,omitempty"` // 4h, 1h or 15m; absent once it has closed
	ReachableAfter bool   `json:"reachable_after"`
	URL            string `json:"url,omitempty"`
}

// chat is a chat that waits for an answer.
type chat struct {
	key    window.Key
	last   int64 // unix ms
	waited bool  // it still waited in the last moment
}

func (c chat) member() string {
	text, _ := json.Marshal([]string{c.key.Corp, c.key.Channel, c.key.Customer})
	return string(text)
}

// distances are the times before the close at which a chat is announced.
var distances = []struct {
	name string
	time.Duration
}{{"15m", 15 * time.Minute}, {"1h", time.Hour}, {"4h", 4 * time.Hour}}

const (
	lastCheck = 1500 * time.Millisecond // before the close
	allEvery  = 5 * time.Minute         // all chats within the longest distance are read
	lookSlack = time.Minute             // by which a chat may be listed late
)

// begin takes over from the gateway that led before.
func (c *Chats) begin(ctx context.Context, l *Log) error {
	open, err := l.openChats(ctx)
	if err != nil {
		return err
	}
	c.seen, c.all = time.Time{}, time.Time{}
	c.log, c.open, c.told = l, map[window.Key]chat{}, map[string]int64{}
	for _, one := range open {
		c.open[one.key] = one
	}
	return nil
}

// look announces the chats that wait and have come within a distance since the last look, each once
// for each distance. After a pause it is the last one that is due. At times it reads all chats
// within the longest distance: one may have been recorded late, or wait again.
func (c *Chats) look(ctx context.Context, now time.Time) error {
	near := map[window.Key]chat{}
	visit := func(some []window.Entry) error { return c.announce(ctx, some, near, now) }
	longest := len(distances) - 1
	everything := c.seen.IsZero() || now.Before(c.seen) || now.Sub(c.all) >= allEvery
	if everything {
		if err := c.Windows.VisitByClose(ctx, c.query(distances[longest].Duration, nil), visit); err != nil {
			return err
		}
		c.all = now
	} else {
		if err := c.Windows.VisitByClose(ctx, c.query(distances[0].Duration, nil), visit); err != nil {
			return err
		}
		for _, d := range distances[1:] {
			from := c.seen.Add(d.Duration - lookSlack - c.Windows.Length)
			if err := c.Windows.VisitByClose(ctx, c.query(d.Duration, &from), visit); err != nil {
				return err
			}
		}
	}
	c.seen = now
	return c.keepNear(ctx, near, now)
}

// query asks for the chats that wait and close within a time, from that of a last message on.
func (c *Chats) query(within time.Duration, last *time.Time) window.Query {
	q := window.Query{Waiting: true, Within: within, Unobserved: func(corp string) bool { return !c.Observed(corp) }}
	if last != nil {
		q.After = &window.Position{Last: last.UnixMilli()}
	}
	return q
}

// announce logs chats that close, and adds those of the nearest distance to near.
func (c *Chats) announce(ctx context.Context, entries []window.Entry, near map[window.Key]chat, now time.Time) error {
	var all []Event
	var until []int64 // while each is announced, if it waits
	for _, e := range entries {
		left := e.Closes.Sub(now)
		if e.Broken || left <= 0 {
			continue
		}
		before, next := distances[len(distances)-1], time.Duration(0)
		for i := len(distances) - 1; i >= 0 && left <= distances[i].Duration; i-- {
			before, next = distances[i], 0
			if i > 0 {
				next = distances[i-1].Duration
			}
		}
		if left <= distances[0].Duration {
			near[e.Key] = chat{key: e.Key, last: e.Window.Last}
		}
		one := c.event(WindowClosing, e.Key, e.Window.Last, before.name, e.Closes.Add(-before.Duration))
		if _, logged := c.told[one.ID()]; !logged {
			all, until = append(all, one), append(until, e.Closes.Add(-next).UnixMilli())
		}
	}
	if _, err := c.log.Append(ctx, all...); err != nil {
		return err
	}
	for i := range all {
		c.told[all[i].ID()] = until[i]
	}
	return nil
}

// event is what is said about a chat at an instant.
func (c *Chats) event(kind string, k window.Key, last int64, before string, at time.Time) Event {
	wrote := time.UnixMilli(last)
	closes := wrote.Add(c.Windows.Length)
	data := c.Describe(k, closes)
	data.Last, data.ClosesAt, data.Before = Stamp(wrote), Stamp(closes), before
	return Event{Type: kind, At: at, Corp: k.Corp, Key: []string{k.Corp, k.Channel, k.Customer, strconv.FormatInt(last, 10), before}, Data: data}
}

// keepNear makes those of the last look the chats that may close unanswered.
func (c *Chats) keepNear(ctx context.Context, near map[window.Key]chat, now time.Time) error {
	var add, remove []chat
	for k, one := range near {
		if old, known := c.open[k]; !known || old.last != one.last {
			add = append(add, one)
		} else {
			near[k] = old
		}
	}
	for k, old := range c.open {
		if _, waits := near[k]; waits {
			continue
		}
		if c.closesAt(old).After(now) { // somebody has answered
			remove = append(remove, old)
		} else { // close has not seen it yet
			near[k] = old
		}
	}
	if err := c.log.keepOpenChats(ctx, add, remove); err != nil {
		return err
	}
	c.open = near
	for id, until := range c.told {
		if until < now.UnixMilli() {
			delete(c.told, id)
		}
	}
	return nil
}

func (c *Chats) closesAt(one chat) time.Time { return time.UnixMilli(one.last).Add(c.Windows.Length) }

// close looks once more at chats that are about to close, and logs those that have. One that was
// not looked at in its last moment counts as it was at the last look.
func (c *Chats) close(ctx context.Context, now time.Time) error {
	for k, one := range c.open {
		left := c.closesAt(one).Sub(now)
		switch {
		case left <= 0:
			e := c.event(ClosedUnanswered, k, one.last, "", c.closesAt(one))
			if _, err := c.log.Append(ctx, e); err != nil {
				return err
			}
		case left > lastCheck || one.waited:
			continue
		default:
			e, found, err := c.Windows.Show(ctx, k)
			if err != nil {
				return err
			}
			if one.waited = found && e.Window.Last == one.last && e.Window.Waiting(false); one.waited {
				c.open[k] = one
				continue
			}
		}
		if err := c.log.keepOpenChats(ctx, nil, []chat{one}); err != nil {
			return err
		}
		delete(c.open, k)
	}
	return nil
}

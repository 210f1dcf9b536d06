package events

import (
	"context"
	"strconv"
	"strings"
	"time"

	"replygate/window"
)

// Records finds when the records of customers' messages become incomplete, and complete again.
type Records struct {
	Corps func() []string
	// Since returns since when the records of corps are complete, in their order; "" asks for the
	// records of all corps.
	Since func(ctx context.Context, corps []string) ([]window.History, error)

	seen map[string]string // the states at the last look
}

// GapData is the data of records.gap and records.complete.
type GapData struct {
	CorpID string `json:"corp_id,omitempty"` // absent: all
	Since  string `json:"since"`             // before this time the records prove nothing
	Detail string `json:"detail"`
}

const (
	complete = "complete"
	gap      = "gap:"
)

// find returns what has changed, and was the same at the look before.
func (r *Records) find(ctx context.Context, known map[string]string, now time.Time) (all []Event, err error) {
	corps := append([]string{""}, r.Corps()...)
	histories, err := r.Since(ctx, corps)
	if err != nil {
		return nil, err
	}
	seen, ofAll := map[string]string{}, histories[0]
	for i, h := range histories {
		if i > 0 && !h.Complete && !ofAll.Complete && !h.Since.After(ofAll.Since) { // the gap is everybody's
			continue
		}
		all = append(all, r.change(corps[i], h.Complete, h.Since, seen, known, now)...)
	}
	r.seen = seen
	return all, nil
}

// change returns the event of one corp, if there is one. The first state that is seen is no change.
func (r *Records) change(corp string, whole bool, since time.Time, seen, known map[string]string, now time.Time) []Event {
	field := "records:" + corp
	is := complete
	if !whole {
		is = gap + strconv.FormatInt(since.UnixMilli(), 10)
	}
	seen[corp] = is
	was := known[field]
	state, _ := parseKnown(was)
	switch {
	case state == is || r.seen[corp] != is: // unchanged, or not settled yet
		return nil
	case was == "" && (whole || corp == ""):
		if corp != "" { // complete is what needs no word
			return nil
		}
		return []Event{{Field: field, Value: knownSince(is, now)}}
	}
	e := Event{Type: RecordsGap, At: since, Corp: corp, Key: []string{corp, was, is}, Field: field, Was: was, Value: knownSince(is, now)}
	data := GapData{CorpID: corp, Since: Stamp(since), Detail: "messages may have passed unrecorded: until the length of a window has passed since then, a missing message proves nothing"}
	if whole {
		e.Type, e.At = RecordsComplete, now
		data.Detail = "a missing message is a proof again"
		if before, ok := strings.CutPrefix(state, gap); ok {
			ms, _ := strconv.ParseInt(before, 10, 64)
			data.Since = Stamp(time.UnixMilli(ms))
		}
	}
	e.Data = data
	return []Event{e}
}

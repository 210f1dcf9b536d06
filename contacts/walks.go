package contacts

import (
	"slices"
	"sync"
	"time"
)

// maxWalks bounds the unfinished walks that one process follows.
const maxWalks = 256

// Walks follows the walks over contact_list that bots make through the gateway. Several bots, and
// several walks of one bot, may be under way at once. It is safe for concurrent use.
type Walks struct {
	mu   sync.Mutex
	open []*walk // the one whose page came last is the last
}

// walk is a Pass of one caller.
type walk struct {
	Pass
	corp, caller string
}

// Feed adds a page that a bot of a corp received at now. caller tells apart those whose pages must
// not be mixed, such as by the hash of the access token. Feed returns the count if the page ends a
// walk that was seen from its first page on.
func (w *Walks) Feed(corp, caller string, page Page, now time.Time) (Count, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(o *walk) bool { return now.Sub(o.began) >= PassLimit })
	current := &walk{corp: corp, caller: caller}
	if page.Cursor != "" {
		if current = w.take(corp, caller, page.Cursor); current == nil {
			return Count{}, false
		}
	}
	if current.Add(page, now) != nil {
		return Count{}, false
	}
	if count, done := current.Count(); done {
		return count, true
	}
	w.open = append(w.open, current)
	w.shrink()
	return Count{}, false
}

// take removes and returns the walk that a page with a cursor continues, or nil. The page may also
// repeat the newest one of a walk.
func (w *Walks) take(corp, caller, cursor string) *walk {
	for _, cursorOf := range []func(*walk) string{
		func(o *walk) string { return o.next },
		func(o *walk) string { return o.cursor },
	} {
		for i := len(w.open) - 1; i >= 0; i-- {
			if o := w.open[i]; o.corp == corp && o.caller == caller && cursorOf(o) == cursor {
				w.open = slices.Delete(w.open, i, i+1)
				return o
			}
		}
	}
	return nil
}

// shrink drops walks, beginning with the one that has waited longest for a page, until their number
// and memory are within bounds.
func (w *Walks) shrink() {
	people := 0
	for _, o := range w.open {
		people += o.People()
	}
	for len(w.open) > maxWalks || people > maxPeople {
		people -= w.open[0].People()
		w.open = slices.Delete(w.open, 0, 1)
	}
}

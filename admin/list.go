package admin

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Every list of the API takes limit, cursor, sort and format beside its own filters, and ends with
// ListEnd. A list is served in this order: readQuery checks the query; page sorts the rows in
// memory and cuts them, or the list reads from its store what follows listQuery.after; unchanged
// answers 304; reply sends the rest. With format=csv export streams all rows instead.

const (
	defaultLimit = 50
	maxLimit     = 200 // rows of one page
	maxQuery     = 256 // bytes of one value of a query, except for the cursor
	maxCursor    = 2048
)

// listing is what the query of one list may have besides limit, cursor, sort and format.
type listing struct {
	sorts   []string // the first is the default; one with "-" begins with the largest
	filters []string
	most    int // rows of one page, also if no limit is given; 0: maxLimit and defaultLimit
}

// listQuery is the query of a list, after its checks. Filters are among the values; an empty value
// is an absent one, since forms send all their fields.
type listQuery struct {
	url.Values
	limit int
	sort  string
	csv   bool
	after *position // of the row before the page; nil: the page is the first
	// at is when the first page was made. An order that depends on the clock must use it, so that the
	// pages belong together.
	at time.Time

	seal func(text []byte) []byte
}

// position is the place of a row in an order: by group, then number and text, then id. Rows of a
// lower group are first also where the largest number is; so unknown values can be last.
type position struct {
	Group  int     `json:"g,omitempty"`
	Number float64 `json:"n,omitempty"` // instants as unix ms
	Text   string  `json:"v,omitempty"`
	ID     string  `json:"id"` // unique in the list
}

// cursor is a position as it travels, as base64 of its JSON and a MAC. It holds a place in the
// order and not a number of rows, so rows that come, go or move make no other row appear twice or
// not at all.
type cursor struct {
	Sort string `json:"s"`
	At   int64  `json:"t"` // listQuery.at, unix ms
	position
}

// ListEnd is what every list's answer has besides its rows.
type ListEnd struct {
	Total   *int      `json:"total,omitempty"` // rows on all pages; nil: not known
	Next    string    `json:"next,omitempty"`  // the cursor of the next page; "": this one is the last
	AsOf    string    `json:"as_of"`
	Partial []Missing `json:"partial,omitempty"`
}

// Missing is a gateway whose rows are not in an answer.
type Missing struct {
	Gateway string `json:"gateway"`
	Error   string `json:"error"`
}

// badQuery is a mistake in a query: it says what is wrong and what is allowed.
type badQuery struct{ code, message string }

func (e badQuery) Error() string { return e.message }

func badQueryf(format string, values ...any) error {
	return badQuery{"bad_query", fmt.Sprintf(format, values...)}
}

// failQuery answers a request whose query has a mistake.
func failQuery(w http.ResponseWriter, err error) {
	bad := badQuery{"bad_query", err.Error()}
	errors.As(err, &bad)
	fail(w, http.StatusBadRequest, bad.code, bad.message)
}

// readQuery reads the query of a list. Its errors are for failQuery.
func (a *Admin) readQuery(r *http.Request, l listing) (listQuery, error) {
	values, err := checkedValues(r, append(slices.Clone(l.filters), "limit", "cursor", "sort", "format")...)
	if err != nil {
		return listQuery{}, err
	}
	q := listQuery{Values: values, limit: cmp.Or(l.most, defaultLimit), sort: l.sorts[0], at: a.Now(), seal: a.sealer(r.URL.Path)}
	if text := q.Get("limit"); text != "" {
		most := cmp.Or(l.most, maxLimit)
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > most {
			return q, badQueryf("limit must be 1 to %d", most)
		}
	}
	if text := q.Get("sort"); text != "" {
		if q.sort = text; !slices.Contains(l.sorts, text) {
			return q, badQueryf("sort must be one of %s", strings.Join(l.sorts, ", "))
		}
	}
	if text := q.Get("format"); text != "" {
		if q.csv = text == "csv"; !q.csv && text != "json" {
			return q, badQueryf("format must be json or csv")
		}
	}
	return q, q.readCursor()
}

// checkedValues returns the values of a query that may have the named parameters only, each once.
func checkedValues(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQueryf("the query is not well-formed: escape its values")
	}
	for name, given := range values {
		bound := maxQuery
		if name == "cursor" {
			bound = maxCursor
		}
		switch {
		case !slices.Contains(names, name):
			return nil, badQueryf("there is no parameter %.40q; allowed are %s", name, strings.Join(names, ", "))
		case len(given) > 1:
			return nil, badQueryf("%s is given %d times; give it once", name, len(given))
		case len(given[0]) > bound:
			return nil, badQueryf("%s is longer than %d bytes", name, bound)
		}
	}
	return values, nil
}

// sealer returns the function that computes the MAC of a list's cursors. Gateways with the same
// read key take each other's. A cursor opens nothing that its reader may not read anyway.
func (a *Admin) sealer(path string) func([]byte) []byte {
	return func(text []byte) []byte {
		mac := hmac.New(sha256.New, []byte("cursor "+path+"\n"+a.Keys.ReadKey.Reveal()))
		mac.Write(text)
		return mac.Sum(nil)[:macLen]
	}
}

const macLen = 12

func (q *listQuery) readCursor() error {
	text := q.Get("cursor")
	if text == "" {
		return nil
	}
	bad := badQuery{"bad_cursor", "this cursor is not one of this list and sort: begin again without it"}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) < macLen {
		return bad
	}
	data, mac := data[:len(data)-macLen], data[len(data)-macLen:]
	var c cursor
	if !hmac.Equal(mac, q.seal(data)) || json.Unmarshal(data, &c) != nil || c.Sort != q.sort {
		return bad
	}
	q.after, q.at = &c.position, time.UnixMilli(c.At)
	return nil
}

// cursor returns the cursor of the page after a row.
func (q listQuery) cursor(row position) string {
	data, err := json.Marshal(cursor{Sort: q.sort, At: q.at.UnixMilli(), position: row})
	if err != nil {
		panic("BUG: a position is not JSON: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(append(data, q.seal(data)...))
}

// compare orders two positions by the query's sort.
func (q *listQuery) compare(a, b *position) int {
	sign := 1
	if strings.HasPrefix(q.sort, "-") {
		sign = -1
	}
	if c := cmp.Or(cmp.Compare(a.Group, b.Group), sign*cmp.Compare(a.Number, b.Number)); c != 0 {
		return c
	}
	return cmp.Or(sign*cmp.Compare(a.Text, b.Text), cmp.Compare(a.ID, b.ID))
}

// page returns the rows of the page that the query is for, in its order, and the cursor of the next
// one. For CSV all rows are one page.
func page[T any](q listQuery, rows []T, at func(T) position) (cut []T, next string) {
	type placed struct {
		position
		row T
	}
	found := leading[placed]{n: q.limit + 1, compare: func(a, b placed) int { return q.compare(&a.position, &b.position) }}
	if q.csv {
		found.n = len(rows)
	}
	for _, row := range rows {
		if p := at(row); q.csv || q.after == nil || q.compare(q.after, &p) < 0 {
			found.add(placed{p, row})
		}
	}
	all := found.sorted()
	if !q.csv && len(all) > q.limit {
		all = all[:q.limit]
		next = q.cursor(all[q.limit-1].position)
	}
	cut = make([]T, len(all))
	for i, p := range all {
		cut[i] = p.row
	}
	return cut, next
}

// leading keeps the first n of many values in an order, since most rows are on no page.
type leading[T any] struct {
	n       int
	compare func(a, b T) int
	all     []T
	cut     bool // all is sorted and has n values
}

func (l *leading[T]) add(v T) {
	if l.cut && l.compare(v, l.all[l.n-1]) >= 0 {
		return
	}
	if l.all = append(l.all, v); len(l.all) >= 2*l.n {
		l.all, l.cut = l.sorted(), true
	}
}

// sorted returns the values.
func (l *leading[T]) sorted() []T {
	slices.SortStableFunc(l.all, l.compare)
	return l.all[:min(len(l.all), l.n)]
}

// unchanged sets the ETag of an answer that shows these values, and answers 304 to a caller that
// has it already. as_of and next must not be among the values: they differ each time.
func unchanged(w http.ResponseWriter, r *http.Request, shown ...any) bool {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(shown); err != nil {
		panic("BUG: an answer is not JSON: " + err.Error())
	}
	sum := sha256.Sum256(text.Bytes())
	tag := `W/"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	known := strings.Split(r.Header.Get("If-None-Match"), ",")
	if !slices.ContainsFunc(known, func(t string) bool { return "W/"+strings.TrimPrefix(strings.TrimSpace(t), "W/") == tag }) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

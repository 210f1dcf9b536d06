package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"replygate/record"
)

// DecisionList is the answer of GET /v1/decisions.
type DecisionList struct {
	Decisions []DecisionRow `json:"decisions"` // the newest first
	Facets    Facets        `json:"facets"`
	// Since is when the memory of this gateway begins: later decisions are listed from there, all
	// but passes and one in a hundred of these; earlier ones from its files. A query by id has none.
	Since string `json:"since,omitempty"`
	// MemoryOnly: log.decisions is stdout, so this gateway has no older decisions to list.
	MemoryOnly bool `json:"memory_only,omitempty"`
	ListEnd
}

// DecisionRow is a decision record in a list, with the names of the log.
type DecisionRow struct {
	ID         string   `json:"id"`
	Time       string   `json:"time"` // when the record was written; lists are in this order
	At         string   `json:"at"`   // when the call came
	Gateway    string   `json:"gateway"`
	CorpID     string   `json:"corp_id"`
	Account    string   `json:"account"`
	Standing   string   `json:"standing,omitempty"`
	Endpoint   string   `json:"endpoint"`
	Capability string   `json:"capability"`
	Verdict    string   `json:"verdict"` // pass, refuse or unsure; error if the gateway failed
	Reason     string   `json:"reason"`
	Rule       string   `json:"rule"`
	Forwarded  bool     `json:"forwarded"`
	Errcode    *int     `json:"errcode,omitempty"`
	Client     string   `json:"client,omitempty"`
	MsgType    string   `json:"msgtype,omitempty"`
	Channel    string   `json:"channel,omitempty"`
	Recipients int      `json:"recipients,omitempty"`
	Customers  []string `json:"customers,omitempty"`
	Closes     string   `json:"window_closes,omitempty"`
	Left       *int     `json:"replies_left,omitempty"`
	Wait       string   `json:"wait,omitempty"`
	Fault      string   `json:"fault,omitempty"`

	Shadow *ShadowDecision `json:"shadow,omitempty"`
}

// String is a decision in shadow as one cell of a table.
func (d ShadowDecision) String() string {
	return strings.TrimSpace(d.Verdict + " " + d.Reason + " " + d.Rule)
}

// Facets count the decisions in memory that match the query, by their most frequent values.
type Facets struct {
	Reason   []Facet `json:"reason"`
	Endpoint []Facet `json:"endpoint"`
	CorpID   []Facet `json:"corp_id"`
}

// Facet is one value with its number of decisions.
type Facet struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

const (
	maxFacets      = 10
	maxPeerFacets  = 200                    // told to another gateway, which adds them up
	readingTime    = 2 * time.Second        // of files for one page
	orderSlack     = 200 * time.Millisecond // lines of a file are that much out of order at most
	decisionsPath  = "/v1/decisions"
	decisionsOrder = "-time"
)

var decisionListing = listing{
	sorts:   []string{decisionsOrder},
	filters: []string{"id", "corp_id", "verdict", "reason", "endpoint", "capability", "rule", "client", "shadow", "from", "to", fromPeer},
}

// decisions answers GET /v1/decisions.
func (a *Admin) decisions(w http.ResponseWriter, r *http.Request) {
	q, f, err := a.decisionQuery(r)
	if err != nil {
		failQuery(w, err)
		return
	}
	if q.csv {
		export(a, w, "decisions", a.allDecisions(r.Context(), q, f))
		return
	}
	list, err := a.decisionPage(r.Context(), q, f)
	if err != nil {
		failWith(w, err)
		return
	}
	if !unchanged(w, r, list.Decisions, list.Facets, list.Partial, list.Next != "") {
		reply(w, http.StatusOK, list)
	}
}

func (a *Admin) decisionQuery(r *http.Request) (q listQuery, f decisionFilter, err error) {
	if q, err = a.readQuery(r, decisionListing); err != nil {
		return q, f, err
	}
	f, err = readDecisionFilter(q.Values)
	return q, f, err
}

// allDecisions yields all pages. One that lacks decisions is an error.
func (a *Admin) allDecisions(ctx context.Context, q listQuery, f decisionFilter) iter.Seq2[[]DecisionRow, error] {
	q.limit = maxLimit
	return func(yield func([]DecisionRow, error) bool) {
		for {
			list, err := a.decisionPage(ctx, q, f)
			if err == nil && len(list.Partial) > 0 {
				err = incomplete(list.Partial[0])
			}
			if !yield(list.Decisions, err) || err != nil || list.Next == "" {
				return
			}
			if q.Set("cursor", list.Next); q.readCursor() != nil {
				panic("BUG: a cursor of this gateway cannot be read")
			}
		}
	}
}

// incomplete is the error of an export in which decisions would be missing.
func incomplete(m Missing) error {
	return noResult{http.StatusServiceUnavailable, "incomplete", "decisions would be missing: " + m.Gateway + ": " + m.Error + "; name a later from, or read the list as JSON, which has the others"}
}

// decisionPage merges the decisions of this gateway and of the others.
func (a *Admin) decisionPage(ctx context.Context, q listQuery, f decisionFilter) (DecisionList, error) {
	var asked chan []peerAnswer[DecisionList]
	if !f.peer {
		asked = make(chan []peerAnswer[DecisionList], 1)
		go func() { asked <- askPeers[DecisionList](ctx, a, decisionsPath, a.peerQuery(q)) }()
	}
	own, err := a.ownDecisions(ctx, q, f)
	parts := []decisionPart{own}
	if !f.peer {
		for _, p := range <-asked {
			parts = append(parts, a.peerDecisions(p))
		}
	}
	if err != nil {
		return DecisionList{}, err
	}
	list := mergeDecisions(q, parts, f.peer)
	list.Since, list.AsOf = Stamp(own.since), stamp(a.Now())
	list.MemoryOnly = a.Gateway.Gate().Config.Log.Decisions == "stdout"
	return list, nil
}

// peerQuery is what the other gateways are asked for a page.
func (a *Admin) peerQuery(q listQuery) url.Values {
	values := maps.Clone(q.Values)
	values.Del("format")
	values.Del("cursor")
	values.Set("limit", strconv.Itoa(q.limit))
	if q.after != nil {
		q.seal = a.sealer(decisionsPath)
		values.Set("cursor", q.cursor(*q.after))
	}
	return values
}

// decisionPart are the decisions of one gateway for a page. They are complete down to the key
// covered, "" if there are no more.
type decisionPart struct {
	rows    []DecisionRow
	facets  Facets
	covered string
	missing []Missing
	since   time.Time // when the memory of this gateway begins
}

func (a *Admin) peerDecisions(p peerAnswer[DecisionList]) decisionPart {
	if p.err != nil {
		return decisionPart{missing: []Missing{p.missing()}}
	}
	part := decisionPart{rows: p.value.Decisions, facets: p.value.Facets}
	for i := range part.rows {
		part.rows[i].Gateway = p.gateway
	}
	if p.value.Next == "" {
		return part
	}
	next := listQuery{Values: url.Values{"cursor": {p.value.Next}}, sort: decisionsOrder, seal: a.sealer(decisionsPath)}
	if next.readCursor() != nil {
		return decisionPart{missing: []Missing{{p.gateway, "its cursor cannot be read: has it another admin.read_key?"}}}
	}
	part.covered = next.after.Text
	return part
}

// mergeDecisions makes a page of what the gateways have. It ends where one of them may have more.
func mergeDecisions(q listQuery, parts []decisionPart, peer bool) (list DecisionList) {
	list.Decisions = []DecisionRow{}
	covered := ""
	for _, p := range parts {
		covered = max(covered, p.covered)
		list.Decisions = append(list.Decisions, p.rows...)
		list.Partial = append(list.Partial, p.missing...)
	}
	list.Decisions = slices.DeleteFunc(list.Decisions, func(r DecisionRow) bool { return r.key() < covered })
	slices.SortFunc(list.Decisions, func(x, y DecisionRow) int { return cmp.Compare(y.key(), x.key()) })
	if len(list.Decisions) > q.limit {
		list.Decisions = list.Decisions[:q.limit]
		covered = list.Decisions[q.limit-1].key()
	}
	if covered != "" {
		list.Next = q.cursor(position{Text: covered, ID: covered})
	}
	most := maxFacets
	if peer {
		most = maxPeerFacets
	}
	list.Facets = sumFacets(parts, most)
	return list
}

// key orders decisions: by the time of their records, then by their ids.
func (r DecisionRow) key() string { return r.Time + r.ID }

func keyOf(line []byte) string { return record.Time(line) + record.Member(line, "id") }

// keyTime is the length of the time in a key.
const keyTime = len("2006-01-02T15:04:05.000Z")

// ownDecisions reads the decisions of this gateway: those in memory, then those in the files.
func (a *Admin) ownDecisions(ctx context.Context, q listQuery, f decisionFilter) (decisionPart, error) {
	if f.id != "" {
		return a.ownDecision(ctx, q, f)
	}
	r := decisionReader{filter: f, limit: q.limit}
	if q.after != nil {
		r.after = q.after.Text
	}
	lines, since := a.Gateway.NewestDecisions()
	for _, line := range slices.Backward(lines) {
		r.fromMemory(line)
	}
	part := decisionPart{facets: r.counts.facets(maxPeerFacets), since: since}
	if len(r.found) <= q.limit && !f.peer {
		if err := a.olderDecisions(ctx, &r, since, &part); err != nil {
			return part, err
		}
	}
	slices.SortFunc(r.found, func(x, y foundLine) int { return cmp.Compare(y.key, x.key) })
	if len(r.found) > q.limit {
		r.found = r.found[:q.limit]
		part.covered = max(part.covered, r.found[q.limit-1].key)
	}
	for _, l := range r.found {
		if row, ok := rowOf(l.line, l.key); ok {
			row.Gateway = a.Gateway.Address()
			part.rows = append(part.rows, row)
		}
	}
	return part, nil
}

// olderDecisions goes on in the files, from where the memory begins or the page does.
func (a *Admin) olderDecisions(ctx context.Context, r *decisionReader, since time.Time, part *decisionPart) error {
	r.enough, r.seen = "", make(map[string]bool, len(r.found))
	for _, l := range r.found {
		r.seen[l.key] = true
	}
	until := since
	if r.after != "" {
		if at, err := time.Parse(time.RFC3339Nano, r.after[:keyTime]); err == nil && at.Before(until) {
			until = at
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readingTime)
	defer cancel()
	more, packed, err := a.Gateway.OlderDecisions(ctx, until, r.fromFile)
	own := a.Gateway.Address()
	switch {
	case more && r.last == "":
		return noResult{http.StatusTooManyRequests, "too_many", "the files of the log are being searched for others; try again soon"}
	case err != nil:
		part.missing = append(part.missing, Missing{own, "the log cannot be read: " + err.Error()})
	case more && !r.ended: // as much as one page may read
		part.covered = shifted(r.last, orderSlack)
	}
	for _, name := range packed {
		part.missing = append(part.missing, Missing{own, name + " is packed: it is searched by id only"})
	}
	return nil
}

// shifted is the smallest key of a time after that of a key.
func shifted(key string, by time.Duration) string {
	if len(key) < keyTime {
		return ""
	}
	at, err := time.Parse(time.RFC3339Nano, key[:keyTime])
	if err != nil {
		return key
	}
	return stamp(at.Add(by))
}

// ownDecision is ownDecisions for a query that names an id.
func (a *Admin) ownDecision(ctx context.Context, q listQuery, f decisionFilter) (part decisionPart, err error) {
	at, _ := record.IDTime(f.id)
	line, _, err := a.Gateway.Decision(ctx, f.id, at)
	if err != nil {
		part.missing = []Missing{{a.Gateway.Address(), "the log cannot be read: " + err.Error()}}
		return part, nil
	}
	if line == nil || !f.matches(line) {
		return part, nil
	}
	var counts facetCounts
	counts.add(line)
	part.facets = counts.facets(maxPeerFacets)
	key := keyOf(line)
	if row, ok := rowOf(line, key); ok && (q.after == nil || key < q.after.Text) {
		row.Gateway = a.Gateway.Address()
		part.rows = []DecisionRow{row}
	}
	return part, nil
}

// rowOf reads a record. ok is false if the line is damaged.
func rowOf(line []byte, key string) (row DecisionRow, ok bool) {
	if json.Unmarshal(line, &row) != nil || len(key) < keyTime {
		return row, false
	}
	row.Time = key[:keyTime]
	return row, true
}

// foundLine is a record that matches a query.
type foundLine struct {
	key  string
	line []byte
}

// decisionReader collects the records of one page.
type decisionReader struct {
	filter decisionFilter
	limit  int
	after  string // the key of the row before the page
	found  []foundLine
	seen   map[string]bool // keys of found
	counts facetCounts
	last   string // the key of the last line read from a file
	enough string // the time before which no line can belong to the page; "" until it is full
	ended  bool   // all that can match is read
}

// fromMemory takes a record in memory.
func (r *decisionReader) fromMemory(line []byte) {
	if !r.filter.matches(line) {
		return
	}
	r.counts.add(line)
	if at := record.Raw(line, "time"); r.enough != "" && len(at) == keyTime && string(at) < r.enough {
		return
	}
	if key := keyOf(line); r.after == "" || key < r.after {
		r.add(key, line)
	}
}

// add adds a record to the page.
func (r *decisionReader) add(key string, line []byte) {
	r.found = append(r.found, foundLine{key, line})
	if r.enough == "" && len(r.found) > r.limit {
		r.enough = shifted(key, -orderSlack)
	}
}

// fromFile takes a line of a file, and reports whether earlier lines can belong to the page too.
func (r *decisionReader) fromFile(line []byte) bool {
	key := keyOf(line)
	if len(key) <= keyTime {
		return true
	}
	r.last = key
	at := key[:keyTime]
	if r.ended = r.filter.from != "" && at < r.filter.from && shifted(key, orderSlack) < r.filter.from; r.ended || at < r.enough {
		return false
	}
	if (r.after == "" || key < r.after) && !r.seen[key] && isDecision(line) && r.filter.matches(line) {
		r.add(key, bytes.Clone(line))
		r.seen[key] = true
	}
	return true
}

func isDecision(line []byte) bool {
	return record.Member(line[:min(len(line), 120)], "msg") == "decision"
}

// decisionFilter selects decision records.
type decisionFilter struct {
	id       string
	members  []struct{ name, value string }
	rule     string
	shadow   bool
	from, to string // as times are in records
	peer     bool
}

func readDecisionFilter(values url.Values) (f decisionFilter, err error) {
	for _, name := range []string{"corp_id", "verdict", "reason", "endpoint", "capability", "client"} {
		if value := values.Get(name); value != "" {
			f.members = append(f.members, struct{ name, value string }{name, value})
		}
	}
	f.rule = values.Get("rule")
	if f.id = strings.ToLower(values.Get("id")); f.id != "" {
		if _, isID := record.IDTime(f.id); !isID {
			return f, badQueryf("id must have 16 hexadecimal digits, like 1a21fee66cf4c3e1")
		}
	}
	if v := values.Get("verdict"); v != "" && !slices.Contains([]string{"pass", "refuse", "unsure", "error"}, v) {
		return f, badQueryf("verdict must be one of pass, refuse, unsure, error")
	}
	switch values.Get("shadow") {
	case "", "0":
	case "1":
		f.shadow = true
	default:
		return f, badQueryf("shadow must be 1, or absent")
	}
	for name, into := range map[string]*string{"from": &f.from, "to": &f.to} {
		if text := values.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return f, badQueryf("%s must be an instant like 2026-11-22T10:00:00+08:00, with its + escaped as %%2B", name)
			}
			*into = stamp(at)
		}
	}
	f.peer, err = isPeer(values)
	return f, err
}

var shadowStart = []byte(`,"shadow":{"`)

// matches reports whether a record is selected. A rule selects the decisions that it made, and
// those that it would have made in shadow.
func (f *decisionFilter) matches(line []byte) bool {
	for _, m := range f.members {
		if string(record.Raw(line, m.name)) != m.value {
			return false
		}
	}
	if f.id != "" && record.Member(line, "id") != f.id {
		return false
	}
	at := -1
	if f.shadow || f.rule != "" {
		at = bytes.Index(line, shadowStart)
	}
	if f.shadow && at < 0 {
		return false
	}
	if f.rule != "" && string(record.Raw(line, "rule")) != f.rule && (at < 0 || string(record.Raw(line[at:], "rule")) != f.rule) {
		return false
	}
	if f.from == "" && f.to == "" {
		return true
	}
	written := record.Time(line)
	return written >= f.from && (f.to == "" || written < f.to)
}

// facetCounts counts values.
type facetCounts struct{ reason, endpoint, corp map[string]*int }

func (c *facetCounts) add(line []byte) {
	if c.reason == nil {
		c.reason, c.endpoint, c.corp = map[string]*int{}, map[string]*int{}, map[string]*int{}
	}
	countIn(c.reason, record.Raw(line, "reason"))
	countIn(c.endpoint, record.Raw(line, "endpoint"))
	countIn(c.corp, record.Raw(line, "corp_id"))
}

// countIn counts a value. It makes a string of it only if it is new.
func countIn(counts map[string]*int, value []byte) {
	n := counts[string(value)]
	if n == nil {
		n = new(int)
		counts[string(value)] = n
	}
	*n++
}

func (c *facetCounts) facets(most int) Facets {
	return Facets{topFacets(c.reason, most), topFacets(c.endpoint, most), topFacets(c.corp, most)}
}

// topFacets returns the most frequent values.
func topFacets(counts map[string]*int, most int) []Facet {
	top := make([]Facet, 0, len(counts))
	for value, n := range counts {
		top = append(top, Facet{value, *n})
	}
	slices.SortFunc(top, func(x, y Facet) int { return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Value, y.Value)) })
	return top[:min(len(top), most)]
}

func sumFacets(parts []decisionPart, most int) Facets {
	sum := func(of func(Facets) []Facet) []Facet {
		var all [][]Facet
		for _, p := range parts {
			all = append(all, of(p.facets))
		}
		return addFacets(most, all...)
	}
	return Facets{
		Reason:   sum(func(f Facets) []Facet { return f.Reason }),
		Endpoint: sum(func(f Facets) []Facet { return f.Endpoint }),
		CorpID:   sum(func(f Facets) []Facet { return f.CorpID }),
	}
}

// addFacets adds up the counts of each value, and returns those of most.
func addFacets(most int, lists ...[]Facet) []Facet {
	counts := map[string]*int{}
	for _, list := range lists {
		for _, f := range list {
			if counts[f.Value] == nil {
				counts[f.Value] = new(int)
			}
			*counts[f.Value] += f.Count
		}
	}
	return topFacets(counts, most)
}

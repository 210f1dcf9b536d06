package contacts

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Callback is a callback about contacts, change_external_contact or change_external_chat, as it
// says it. Fields that the callback lacks are empty.
type Callback struct {
	Event          string // change_external_contact or change_external_chat
	ChangeType     string // such as add_external_contact, or update for a group
	UpdateDetail   string // of a group: add_member, del_member, …
	UserID         string // the member
	ExternalUserID string
	Source         string // DELETE_BY_TRANSFER if succession removed the relation
	ChatID         string
	MemChangeList  []string // ids of members and external people
	At             time.Time
}

// Change is what happened to a relation: a person with a member, or in a group.
type Change byte

// The changes. They are ordered for changes of the same second, in which their order is unknown.
const (
	Added   Change = '+'
	Moved   Change = '~' // the relation went to another member: the person stays
	Removed Change = '-'
)

// Move is one change of one relation.
type Move struct {
	Customer string // external_userid
	With     string // the member or the group
	Change   Change
	At       time.Time // whole seconds
}

// Moves returns the moves of a callback; most have none. A half-added customer is no contact yet,
// and one that deleted the member still is (wecom/callbacks.tsv has all kinds).
func (c Callback) Moves() []Move {
	switch c.Event {
	case "change_external_contact":
		change, counts := Added, c.ChangeType == "add_external_contact"
		if c.ChangeType == "del_external_contact" {
			change, counts = Removed, true
			if c.Source == "DELETE_BY_TRANSFER" {
				change = Moved
			}
		}
		if !counts || c.ExternalUserID == "" || c.UserID == "" {
			return nil
		}
		return []Move{{Customer: c.ExternalUserID, With: "member " + strings.ToLower(c.UserID), Change: change, At: c.At}}
	case "change_external_chat":
		change := map[string]Change{"add_member": Added, "del_member": Removed}[c.UpdateDetail]
		if change == 0 || c.ChangeType != "update" || c.ChatID == "" {
			return nil
		}
		var all []Move
		for _, id := range c.MemChangeList {
			if isExternal(id) {
				all = append(all, Move{Customer: id, With: "group " + c.ChatID, Change: change, At: c.At})
			}
		}
		return all
	}
	return nil
}

// isExternal reports whether an id in a group is that of an external person, not of a member.
func isExternal(id string) bool { return strings.HasPrefix(id, "wm") || strings.HasPrefix(id, "wo") }

// maxRelations bounds the relations of one person that are remembered.
const maxRelations = 16

// moved is what is remembered of one person since the last exact count: the first and the last
// change of each relation. So repeated and reordered callbacks lead to the same state.
type moved []relation

type relation struct {
	with        string // hashed
	first, last stamp
}

type stamp struct {
	change Change
	at     int64 // unix s
}

// add returns the state after a move. Of changes within one second the first is the addition and
// the last the removal, so that both together count for nothing.
func (m moved) add(v Move) moved {
	s := stamp{v.Change, v.At.Unix()}
	with := hashed(v.With)
	i := slices.IndexFunc(m, func(r relation) bool { return r.with == with })
	if i < 0 {
		if len(m) >= maxRelations {
			return m
		}
		m = append(slices.Clone(m), relation{with: with, first: s, last: s})
		slices.SortFunc(m, func(a, b relation) int { return strings.Compare(a.with, b.with) })
		return m
	}
	m = slices.Clone(m)
	if s.before(m[i].first) {
		m[i].first = s
	}
	if m[i].last.before(s) {
		m[i].last = s
	}
	return m
}

func (s stamp) before(o stamp) bool {
	if s.at != o.at {
		return s.at < o.at
	}
	return s.change.rank() < o.change.rank()
}

func (c Change) rank() int { return strings.IndexByte("+~-", byte(c)) }

// delta returns by how much the person changes the count: 1, 0 or -1. What is not remembered is
// taken as absent: a person whose first change is an addition was not a contact before.
func (m moved) delta() int {
	was, is := false, false
	newest := stamp{at: -1}
	for _, r := range m {
		was = was || r.first.change != Added
		is = is || r.last.change == Added
		if newest.at < r.last.at || newest.at == r.last.at && r.last.change == Moved {
			newest = r.last
		}
	}
	is = is || newest.change == Moved
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// apply returns what is remembered of a person after a move, and by how much the move changes the
// estimate. known is what is remembered so far, encoded; asOf is the exact count's, in unix ms. A
// move that is known, or that the count has seen, changes nothing.
func apply(known string, asOf int64, v Move) (after string, delta int) {
	if v.At.UnixMilli() <= asOf {
		return known, 0
	}
	before := parseMoved(known)
	m := before.add(v)
	return m.String(), m.delta() - before.delta()
}

// String encodes the state for Redis, like "Zm9vYmFyYmF6:+1764000000-1764000100", with a blank
// between relations.
func (m moved) String() string {
	parts := make([]string, len(m))
	for i, r := range m {
		parts[i] = fmt.Sprintf("%s:%c%d%c%d", r.with, r.first.change, r.first.at, r.last.change, r.last.at)
	}
	return strings.Join(parts, " ")
}

// parseMoved reads what String wrote. Relations that it cannot read are left out.
func parseMoved(text string) (m moved) {
	for part := range strings.FieldsSeq(text) {
		with, stamps, ok := strings.Cut(part, ":")
		cut := strings.LastIndexAny(stamps, "+~-")
		if !ok || cut <= 0 {
			continue
		}
		first, ok1 := parseStamp(stamps[:cut])
		last, ok2 := parseStamp(stamps[cut:])
		if ok1 && ok2 {
			m = append(m, relation{with: with, first: first, last: last})
		}
	}
	return m
}

func parseStamp(text string) (stamp, bool) {
	if len(text) < 2 || Change(text[0]).rank() < 0 {
		return stamp{}, false
	}
	at, err := strconv.ParseUint(text[1:], 10, 62)
	return stamp{Change(text[0]), int64(at)}, err == nil
}

// hashed shortens an id to 16 characters. Redis then holds no ids of customers or members here.
func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

package window

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// ids are ids that are hard to encode.
var ids = []string{"", "a", "A", "a:b", ":", "{a}", "}", "%", "%3A", "a%", "a b", "\x00", "\xff", "ü", "微信", "a,b", "last", strings.Repeat("x", 300)}

// randomID returns an id of random bytes.
func randomID(r *rand.Rand) string {
	b := make([]byte, r.IntN(12))
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return string(b)
}

// Every key is read back, keys of different identities differ, and each is one hash tag.
func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	all := slices.Clone(ids)
	for range 20 {
		all = append(all, randomID(r))
	}
	seen := map[string]Key{}
	for _, corp := range all {
		for _, channel := range all {
			for _, customer := range all {
				k := Key{Corp: corp, Channel: channel, Customer: customer}
				text := k.redisKey("rg:")
				if got, ok := parseKey("rg:", text); !ok || got != k {
					t.Fatalf("%q is read back as %+v, %v; want %+v", text, got, ok, k)
				}
				if other, found := seen[text]; found && other != k {
					t.Fatalf("%+v and %+v are both %q", k, other, text)
				}
				seen[text] = k
				if strings.Count(text, "{") != 1 || strings.Count(text, "}") != 1 || strings.IndexByte(text, '}') != len(text)-1 {
					t.Fatalf("%q is not one hash tag", text)
				}
			}
		}
	}
}

func TestParseKeyRejects(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "rg:", "rg:window:", "rg:window:{}", "rg:window:{a:b:c", "rg:window:a:b:c", "rg:window:{a:b}", "rg:window:{a:b:c:d}", "xx:window:{a:b:c}",
		"rg:windows:{a:b:c}", "rg:window:{a:b:%}", "rg:window:{a:b:%4}", "rg:window:{a:b:%zz}", "rg:since", "rg:code:{a:b:c}",
	} {
		if k, ok := parseKey("rg:", text); ok {
			t.Errorf("%q is read as %+v", text, k)
		}
	}
}

// An encoded id has safe bytes alone.
func TestEncodedIDIsSafe(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		text := string(appendEncoded([]byte("x"), string([]byte{byte(c)})))
		plain := strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@.-", rune(c))
		if plain != (len(text) == 2) || !plain && (len(text) != 4 || text[1] != '%') {
			t.Errorf("byte %d is encoded as %q", c, text[1:])
		}
	}
}

func TestIDListRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 1))
	for range 200 {
		list := []string{"first"}
		for range r.IntN(6) {
			list = append(list, "x"+randomID(r))
		}
		got := splitIDs(joinIDs(list))
		slices.Sort(got)
		slices.Sort(list)
		if !slices.Equal(got, list) {
			t.Fatalf("%q is read back as %q", list, got)
		}
		slices.Reverse(list)
		if joinIDs(list) != joinIDs(got) {
			t.Fatalf("the order of %q changes the text", list)
		}
	}
	if got := splitIDs("a,%,b,%4"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("of a damaged list %q is read", got)
	}
}

func TestNewAccounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ now, before, want []string }{
		{nil, nil, nil},
		{[]string{"a", "b"}, nil, []string{"a", "b"}},
		{[]string{"a", "b"}, []string{"a"}, []string{"b"}},
		{[]string{"a"}, []string{"a", "b"}, nil},
		{[]string{"b", "a", "c"}, []string{"c"}, []string{"b", "a"}},
	} {
		if got := newAccounts(c.now, c.before); !slices.Equal(got, c.want) {
			t.Errorf("of %q after %q %q are new, want %q", c.now, c.before, got, c.want)
		}
	}
}

// Every code's record is read back, to the millisecond.
func TestCodeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, corp := range ids {
		for _, customer := range ids {
			for _, deadline := range []int64{0, 1, 1_790_000_000_123} {
				c := Code{Key: Key{Corp: corp, Channel: "wk:1", Customer: customer}, Kind: "enter_session", Deadline: time.UnixMilli(deadline)}
				if got, ok := parseCode(c.encode()); !ok || got.Key != c.Key || got.Kind != c.Kind || !got.Deadline.Equal(c.Deadline) {
					t.Fatalf("%q is read back as %+v, %v; want %+v", c.encode(), got, ok, c)
				}
			}
		}
	}
	for _, text := range []string{"", "a:b:c", "a:b:c:kind", "a:b:c:kind:", "a:b:c:kind:soon", "a:b:c:kind:1:used", "%:b:c:kind:1", ":used"} {
		if c, ok := parseCode(text); ok {
			t.Errorf("%q is read as %+v", text, c)
		}
	}
}

// States and code states have distinct names, which are read back.
func TestStateNames(t *testing.T) {
	t.Parallel()
	for s := Closed; s <= Unproven; s++ {
		if got, ok := ReadState(s.String()); !ok || got != s {
			t.Errorf("%s is read as %s", s, got)
		}
	}
	for s := CodeUnknown; s <= CodeIncomplete; s++ {
		if got, ok := ReadCodeState(s.String()); !ok || got != s {
			t.Errorf("%s is read as %s", s, got)
		}
	}
	for _, name := range []string{"", "Open", "opened", "used "} {
		if s, ok := ReadState(name); ok || s != Closed {
			t.Errorf("%q is the state %s, %v; unknown names must be the safest one", name, s, ok)
		}
		if s, ok := ReadCodeState(name); ok || s != CodeUnknown {
			t.Errorf("%q is the code state %s, %v", name, s, ok)
		}
	}
}

// Messages, codes and losses are read back from journal records, of each customer the newest
// message.
func TestJournalRecordRoundTrip(t *testing.T) {
	t.Parallel()
	want := newBacklog()
	at := time.UnixMilli(1_790_000_000_123)
	for i, id := range ids {
		want.facts[Key{Corp: id, Channel: "wk", Customer: "wm"}] = int64(1_790_000_000_000 + i)
		want.codes = append(want.codes, LearntCode{Text: "code" + strings.ReplaceAll(id, "\x00", ""), Code: Code{Key: Key{Corp: id}, Kind: "to_queue", Deadline: time.UnixMilli(int64(i))}})
		if utf8.ValidString(id) { // ids in JSON are text
			want.losses = append(want.losses, Loss{Corp: id, Channel: id, All: i%5 == 0, Messages: i%2 == 0, Codes: i%3 == 0, Reason: "page", Noted: int64(i)},
				Loss{Channel: id, Item: &Item{ID: id, At: at.Add(time.Duration(i))}}, Loss{Corp: "ww1", Item: &Item{}})
		}
	}
	records, err := want.encode()
	if err != nil || len(records) != len(want.facts)+len(want.codes)+len(want.losses) {
		t.Fatalf("%d records, %v", len(records), err)
	}
	older, err := backlog{writes: writes{facts: map[Key]int64{{Corp: "a", Channel: "wk", Customer: "wm"}: 1}}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	got := newBacklog()
	for _, r := range slices.Concat(records, older) { // an older message comes last
		if err := got.decode(r); err != nil {
			t.Fatalf("%q: %v", r, err)
		}
	}
	if !maps.Equal(got.facts, want.facts) {
		t.Errorf("the messages are %v, want %v", got.facts, want.facts)
	}
	if len(got.codes) != len(want.codes) || len(got.losses) != len(want.losses) {
		t.Fatalf("%d codes and %d losses", len(got.codes), len(got.losses))
	}
	for i, c := range want.codes {
		if got.codes[i].Text != c.Text || got.codes[i].encode() != c.encode() {
			t.Errorf("code %d is read back as %+v, want %+v", i, got.codes[i], c)
		}
	}
	for i, l := range want.losses {
		g := got.losses[i]
		gotAt, gotItem := g.at(at)
		wantAt, wantItem := l.at(at)
		if g.Item, l.Item = nil, nil; !reflect.DeepEqual(g, l) || gotAt != wantAt || gotItem != wantItem {
			t.Errorf("loss %d is read back as %+v at %d, want %+v at %d", i, g, gotAt, l, wantAt)
		}
	}
}

func TestJournalRecordOfAnotherKind(t *testing.T) {
	t.Parallel()
	for _, r := range []string{
		"M", "M12345678", "M12345678a:b", "M12345678a:b:%", "C", "Ctext", "Ctext\x00a:b:c", "L", "L{", "L[]", `L{"Noted":"x"}`, "P", "P{", "P[]",
		`P{"Records":[""]}`, `P{"Records":["Wg=="]}`, `P{"Records":["UHt9"]}`, `P{"Records":[7]}`, `K{"key":"rg:a"}`, "\x00", "Zzzz",
	} {
		b := newBacklog()
		err := b.decode([]byte(r))
		if err == nil || !strings.Contains(err.Error(), "redis.mode embedded") || b.len()+len(b.losses)+len(b.pages) > 0 {
			t.Errorf("%q: %+v, %v", r, b, err)
		}
	}
}

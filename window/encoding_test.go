package window

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
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

// Messages and codes are read back from journal records, of each customer the newest message.
func TestJournalRecordRoundTrip(t *testing.T) {
	t.Parallel()
	facts := map[Key]int64{}
	var codes []LearntCode
	for i, id := range ids {
		facts[Key{Corp: id, Channel: "wk", Customer: "wm"}] = int64(1_790_000_000_000 + i)
		codes = append(codes, LearntCode{Text: "code" + strings.ReplaceAll(id, "\x00", ""), Code: Code{Key: Key{Corp: id}, Kind: "to_queue", Deadline: time.UnixMilli(int64(i))}})
	}
	gotFacts, gotCodes := map[Key]int64{}, []LearntCode(nil)
	records := encodeRecords(facts, codes)
	for _, r := range slices.Concat(records, encodeRecords(map[Key]int64{{Corp: "a", Channel: "wk", Customer: "wm"}: 1}, nil)) { // an older message comes last
		if err := readRecord(r, gotFacts, &gotCodes); err != nil {
			t.Fatalf("%q: %v", r, err)
		}
	}
	for k, at := range facts {
		if gotFacts[k] != at {
			t.Errorf("the message of %+v is at %d, want %d", k, gotFacts[k], at)
		}
	}
	if len(gotFacts) != len(facts) || len(gotCodes) != len(codes) {
		t.Fatalf("%d messages and %d codes", len(gotFacts), len(gotCodes))
	}
	for i, c := range codes {
		if gotCodes[i].Text != c.Text || gotCodes[i].encode() != c.encode() {
			t.Errorf("code %d is read back as %+v, want %+v", i, gotCodes[i], c)
		}
	}
}

func TestJournalRecordOfAnotherKind(t *testing.T) {
	t.Parallel()
	for _, r := range []string{"M", "M12345678", "M12345678a:b", "M12345678a:b:%", "C", "Ctext", "Ctext\x00a:b:c", `K{"key":"rg:a"}`, "\x00", "Zzzz"} {
		facts, codes := map[Key]int64{}, []LearntCode(nil)
		err := readRecord([]byte(r), facts, &codes)
		if err == nil || !strings.Contains(err.Error(), "redis.mode embedded") || len(facts)+len(codes) > 0 {
			t.Errorf("%q: %v, %v, %v", r, facts, codes, err)
		}
	}
}

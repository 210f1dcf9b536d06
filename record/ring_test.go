package record_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"replygate/record"
)

// ids returns the ids of lines.
func ids(lines [][]byte) string {
	var all []string
	for _, l := range lines {
		all = append(all, record.Member(l, "id"))
	}
	return strings.Join(all, " ")
}

// A ring holds the newest of the selected records within its bounds, and knows since when.
func TestRing(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	isRefusal := func(line []byte) bool { return record.Member(line, "verdict") == "refuse" }
	for name, c := range map[string]struct {
		records, memory, n int
		want               string
		since              time.Time
	}{
		"nothing yet":      {3, 1 << 20, 0, "", time.Time{}},
		"room for all":     {8, 1 << 20, 6, "id0 id2 id4", time.Time{}},
		"by records":       {3, 1 << 20, 10, "id4 id6 id8", at.Add(2 * time.Second)},
		"by bytes":         {50, 300, 10, "id4 id6 id8", at.Add(2 * time.Second)},
		"no room for one":  {50, 10, 10, "", time.Time{}},
		"around more once": {4, 1 << 20, 100, "id92 id94 id96 id98", at.Add(90 * time.Second)},
	} {
		var to bytes.Buffer
		r := record.NewRing(c.records, c.memory, isRefusal)
		w := r.Through(&to)
		var all strings.Builder
		for i := range c.n {
			verdict := []string{"refuse", "pass"}[i%2]
			line := decisionLine(false, at.Add(time.Duration(i)*time.Second), fmt.Sprintf("id%d", i), fmt.Sprintf(`"verdict":%q`, verdict))
			all.WriteString(line)
			if n, err := io.WriteString(w, line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		lines, since := r.Lines()
		if got := ids(lines); got != c.want || !since.Equal(c.since) {
			t.Errorf("%s: %q since %s, want %q since %s", name, got, since, c.want, c.since)
		}
		if to.String() != all.String() {
			t.Errorf("%s: the lines did not all go on", name)
		}
		for _, l := range lines {
			if id := record.Member(l, "id"); !bytes.Equal(r.Find(id), l) {
				t.Errorf("%s: %s is not found", name, id)
			}
		}
		if r.Find("id1") != nil {
			t.Errorf("%s: a pass is found", name)
		}
	}
}

// Members are read from lines of JSON without decoding them.
func TestMember(t *testing.T) {
	t.Parallel()
	line := []byte(`{"level":"info","time":"2026-11-30T10:00:00.123Z","id":"1a21fee66cf4c3e1","note":"say \"rule\":\"x\" \u4e2d","n":12,"ok":true,"list":["a"],"rule":"r1","shadow":{"rule":"r2"},"last":-1}`)
	for name, want := range map[string]string{
		"id": "1a21fee66cf4c3e1", "note": `say "rule":"x" 中`, "n": "12", "ok": "true", "rule": "r1", "last": "-1", "none": "", "x": "",
	} {
		if got := record.Member(line, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, broken := range []string{`{"id":"`, `{"id":"abc`, `{"id":`, `{"id"`, `{"id":"a\`, ``} {
		if got := record.Member([]byte(broken), "id"); got != "" {
			t.Errorf("%s: %q", broken, got)
		}
	}
}

// The time of a record is that of its line, or else that of its id.
func TestTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 10, 0, 0, 123e6, time.UTC)
	id := record.NewID(at)
	for line, want := range map[string]string{
		`{"level":"info","time":"2026-11-30T11:00:00.000Z","msg":"decision","id":"` + id + `"}`: "2026-11-30T11:00:00.000Z",
		`{"msg":"decision","id":"` + id + `"}`:                                                  "2026-11-30T10:00:00.123Z",
		`{"time":"yesterday","id":"` + id + `"}`:                                                "2026-11-30T10:00:00.123Z",
		`{"id":"none"}`:                                                                         "",
	} {
		if got := record.Time([]byte(line)); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// BenchmarkRing is what remembering a record costs the goroutine that writes the log: a refusal,
// which is kept, and a pass, which is not.
func BenchmarkRing(b *testing.B) {
	for _, verdict := range []string{"refuse", "pass"} {
		b.Run(verdict, func(b *testing.B) {
			line := []byte(decisionLine(false, time.Now(), record.NewID(time.Now()), fmt.Sprintf(`"verdict":%q,"x":%q`, verdict, strings.Repeat("x", 500))))
			w := record.NewRing(50_000, 64<<20, func(line []byte) bool { return record.Member(line, "verdict") != "pass" }).Through(io.Discard)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

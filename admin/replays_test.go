package admin

import (
	"context"
	"fmt"
	"testing"
	"time"

	"replygate/gate"
	"replygate/replay"
)

// Records of one moment are in any order, and each is judged once, also where reading is taken up
// again.
func TestReplayRunInDisorder(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	var lines []string // as in the file
	for i := range 2000 {
		at := began.Add(time.Duration(i) * time.Millisecond)
		if i%7 == 0 { // judged long before it was written
			at = at.Add(-150 * time.Millisecond)
		}
		lines = append(lines, fmt.Sprintf(`{"msg":"decision","time":"%s","id":"%016x"}`, stamp(at), i^3))
	}
	run := replayRun{ctx: context.Background(), gate: &gate.Gate{}, report: replay.NewReport(), left: 10_000, seen: map[string]bool{}}
	next := len(lines) - 1
	for from := len(lines) - 1; from >= 0; {
		for n := 0; n < 300 && next >= 0; n, next = n+1, next-1 {
			run.add([]byte(lines[next]))
		}
		if next < 0 {
			break
		}
		earliest, err := run.resume()
		if err != nil {
			t.Fatal(err)
		}
		// As record.Backward does: from a second after the time on, at the earliest where it left off.
		from = min(next+int(readAgain/time.Millisecond), len(lines)-1)
		if began.Add(time.Duration(next) * time.Millisecond).Before(earliest.Add(-readAgain)) {
			t.Fatalf("it goes on at %s", earliest)
		}
		for again := from; again > next; again-- { // read before
			run.add([]byte(lines[again]))
		}
	}
	if read := 10_000 - run.left; read != len(lines) {
		t.Errorf("%d of %d records are judged", read, len(lines))
	}
}

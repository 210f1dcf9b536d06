package record

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTimeString(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		at := time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("", 8*3600))
		if got, want := timeString(at), at.UTC().Format("2006-01-02T15:04:05.000Z07:00"); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

package calls

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

const (
	activityDays = 7
	refreshEvery = 3 // writes between two refreshes
)

// activity is how much each account called on the last days, as of the last refresh.
type activity struct {
	mu    sync.Mutex
	read  bool                      // at least once
	today int                       // of the last refresh
	days  map[int]map[string]Counts // by day and corp
	sums  map[string]Counts         // of all days
}

// Activity returns how many calls of a corp came in the last seven days, today included, and how
// many of them were refused. It reads memory, which Run refreshes every 30 seconds. known is false
// until Redis was read once.
func (c *Counters) Activity(corp string) (made, refused int64, known bool) {
	a := &c.activity
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := a.sums[corp]
	return sum.Calls, sum.Refused, a.read
}

// Refresh reads the activity of all corps: the sums of today and yesterday, and those of earlier
// days once a day. It does not scan.
func (c *Counters) Refresh(ctx context.Context) error {
	a := &c.activity
	today := dayOf(c.now())
	cmds := map[int]*redis.MapStringStringCmd{}
	err := c.pipelined(ctx, func(ctx context.Context, p redis.Pipeliner) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for day := today - activityDays + 1; day <= today; day++ {
			if day >= today-1 || a.today != today || a.days[day] == nil {
				cmds[day] = p.HGetAll(ctx, c.sumKey(day))
			}
		}
	})
	if err != nil {
		return fmt.Errorf("calls: read the sums of the days: %w", err)
	}
	fresh := make(map[int]map[string]Counts, len(cmds))
	for day, cmd := range cmds {
		fresh[day] = parseSums(cmd.Val())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for day := range a.days {
		if day <= today-activityDays || day > today {
			delete(a.days, day)
		}
	}
	for day, sums := range fresh {
		a.days[day] = sums
	}
	a.read, a.today, a.sums = true, today, map[string]Counts{}
	for _, sums := range a.days {
		for corp, sum := range sums {
			a.sums[corp] = a.sums[corp].Plus(sum)
		}
	}
	return nil
}

// parseSums reads the sums of one day by corp.
func parseSums(fields map[string]string) map[string]Counts {
	all := make(map[string]Counts, len(fields))
	for field, text := range fields {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue
		}
		corp, refused := strings.CutSuffix(field, ending(1))
		sum := all[corp]
		if refused {
			sum.Refused = n
		} else {
			sum.Calls = n
		}
		all[corp] = sum
	}
	return all
}

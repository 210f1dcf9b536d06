package outbox

import (
	"fmt"
	"strings"

	"replygate/config"
	"replygate/events"
)

// Check returns the mistakes in the types of events that a configuration names, as config.Mistakes.
// file is the name used in them.
func Check(file string, c *config.Config) error {
	var all config.Mistakes
	check := func(path string, types []string) {
		for i, t := range types {
			if err := events.CheckType(t); err != nil {
				at := fmt.Sprintf("%s.types[%d]", path, i)
				remedy := config.DidYouMean(t, events.Patterns())
				if !strings.HasPrefix(remedy, "did you mean") {
					remedy = "write one like " + events.WindowClosing + ", or a family like window.*"
				}
				all.Add(file, c.Where(at), fmt.Sprintf("%s: there is no type of events %.40q", at, t), remedy)
			}
		}
	}
	for i, w := range c.Events.Webhooks {
		check(fmt.Sprintf("events.webhooks[%d]", i), w.Types)
	}
	for i, r := range c.Events.Robots {
		check(fmt.Sprintf("events.robots[%d]", i), r.Types)
	}
	return all.Err()
}

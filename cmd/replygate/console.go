package main

import (
	"net/http"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/console"
)

// withConsole puts the console before the admin API, unless it is disabled. Its time zone is also
// that of dates in the API.
func (g *gateway) withConsole(a *admin.Admin) *admin.Admin {
	c := g.Config.Console
	if a.Zone = zoneOf(c); !c.Enabled {
		return a
	}
	pages, err := console.New(console.Settings{
		Keys: g.Config.Admin, Config: c, Window: g.Config.Window.Length, Now: a.Now,
		Language: func() string { return g.inForce().Config.Policy.Language },
	})
	if err != nil {
		panic("BUG: config accepts the settings of the console: " + err.Error())
	}
	a.Origin = c.Origin
	a.Console = func(api http.Handler) http.Handler { return pages.Over(api) }
	return a
}

// zoneOf returns console.timezone.
func zoneOf(c config.Console) *time.Location {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		panic("BUG: config accepts console.timezone: " + err.Error())
	}
	return zone
}

package console

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// screen is a page of the navigation. It is shown if the API serves the path that it shows.
type screen struct{ name, path, api string }

// navigation has the screens in groups, in the order of the page.
var navigation = []struct {
	name    string
	screens []screen
}{
	{"today", []screen{{"overview", "", "/v1/overview"}, {"closing", "closing", "/v1/closing"}}},
	{"accounts", []screen{{"accounts", "accounts", "/v1/accounts"}, {"contacts", "contacts", "/v1/contacts"}, {"rehearsal", "rehearsal", "/v1/rehearsal"}}},
	{"traffic", []screen{{"windows", "windows", "/v1/windows"}, {"decisions", "decisions", "/v1/decisions"}, {"rules", "rules", "/v1/rules"}}},
	{"gateway", []screen{{"health", "health", "/v1/health"}, {"settings", "settings", "/v1/config"}}},
}

// navGroup is a group of links as the frame shows it.
type navGroup struct {
	Name  string
	Links []navLink
}

type navLink struct {
	Name, Path string
	Current    bool
	Count      int  // of what needs attention
	Urgent     bool // and soon
}

// partOf names the page of the navigation to which another page belongs.
var partOf = map[string]string{"account": "accounts", "calendar": "accounts", "entity": "contacts", "entities": "contacts", "decision": "decisions", "replay": "rules"}

// nav returns the navigation of a page.
func (c *Console) nav(current string, counts map[string]int) (all []navGroup) {
	current = cmp.Or(partOf[current], current)
	for _, g := range navigation {
		group := navGroup{Name: g.name}
		for _, s := range g.screens {
			if c.serves(s.api) {
				group.Links = append(group.Links, navLink{s.name, s.path, s.name == current, counts[s.name], s.name == "closing"})
			}
		}
		if len(group.Links) > 0 {
			all = append(all, group)
		}
	}
	return all
}

// routes are the pages, for browsers that have signed in.
func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, page func(*request)) {
		mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
			q := r.Context().Value(requestKey{}).(*request)
			q.r = r // with the values of the path
			page(q)
		})
	}
	handle("GET /console/{$}", c.firstPage)
	handle("GET /console/closing", closingPage)
	handle("GET /console/accounts", accountsPage)
	handle("GET /console/accounts/calendar", subscribePage)
	handle("GET /console/accounts/{corp}", accountPage)
	handle("GET /console/contacts", contactsPage)
	handle("GET /console/entities", entitiesPage)
	handle("GET /console/entities/{name}", entityPage)
	handle("GET /console/rehearsal", rehearsalPage)
	handle("GET /console/windows", windowsPage)
	handle("POST /console/windows/open", changeWindow("open"))
	handle("POST /console/windows/close", changeWindow("close"))
	handle("GET /console/decisions", decisionsPage)
	handle("GET /console/decisions/{id}", decisionPage)
	handle("GET /console/rules", rulesPage)
	handle("POST /console/rules/replay", replayCandidate)
	handle("GET /console/replays/{id}", replayPage)
	handle("GET /console/health", healthPage)
	handle("GET /console/settings", settingsPage)
	handle("POST /console/settings/reload", reloadSettings)
	handle("GET /console/search", searchPage)
	handle("POST /console/logout", c.signOut)
	handle("/console/", func(q *request) {
		q.fail(&failure{Status: http.StatusNotFound, Code: "not_found"})
	})
	return mux
}

// firstPage is the overview.
func (c *Console) firstPage(q *request) {
	if !c.serves("/v1/overview") {
		redirect(q.w, "accounts")
		return
	}
	overviewPage(q)
}

// serves reports whether the API has a path.
func (c *Console) serves(path string) bool {
	mux, ok := c.api.(interface {
		Handler(*http.Request) (http.Handler, string)
	})
	if !ok {
		return true
	}
	_, pattern := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Host: "localhost"})
	return pattern != "/" && pattern != ""
}

var (
	decisionID = regexp.MustCompile(`^[0-9a-fA-F]{16}$`)
	customerID = regexp.MustCompile(`^w[mo][A-Za-z0-9_-]{20,}$`)
)

// searchPage leads from the search box to the page of what a person has typed.
func searchPage(q *request) {
	text := strings.TrimSpace(q.r.FormValue("q"))
	switch {
	case decisionID.MatchString(text):
		redirect(q.w, "decisions/"+strings.ToLower(text))
	case customerID.MatchString(text):
		redirect(q.w, "windows?customer="+text)
	default:
		redirect(q.w, "accounts?q="+escape(text))
	}
}

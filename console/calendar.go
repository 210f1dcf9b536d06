package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// calendarTime is how long the address of a calendar is good. Calendar programs cannot sign in.
const calendarTime = 400 * 24 * time.Hour

// subscribePage tells the address of the calendar, with the ticket that opens it.
func subscribePage(q *request) {
	ticket := ""
	if q.c.Keys.ReadKey != "" {
		ticket = "?token=" + q.c.ticket(scopeCalendar, q.now.Add(calendarTime))
	}
	q.render(http.StatusOK, "calendar", calendarView{"../accounts.ics" + ticket, q.c.address(q.r) + "/console/accounts.ics" + ticket})
}

// calendarView has the address of the calendar, relative and whole.
type calendarView struct{ Link, Address string }

// address is how browsers reach the listener.
func (c *Console) address(r *http.Request) string {
	if c.Config.Origin != "" {
		return c.Config.Origin
	}
	return "http://" + r.Host
}

// serveCalendar serves the ends of subscriptions and the stops of accounts as iCalendar (RFC 5545),
// with alarms 7, 3 and 1 days before. The caller must check the ticket.
func (c *Console) serveCalendar(q *request) {
	if c.Keys.ReadKey != "" && !q.signedIn && !c.valid(q.r.URL.Query().Get("token"), scopeCalendar) {
		q.fail(&failure{http.StatusUnauthorized, "unauthorized", q.text("session")})
		return
	}
	q.reading = true
	var b strings.Builder
	line := func(name, value string) { b.WriteString(foldLine(name + ":" + value)) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//replygate//console//"+strings.ToUpper(q.code))
	line("X-WR-CALNAME", escapeText(q.text("accounts.calendar")))
	for cursor := ""; ; {
		query := url.Values{"limit": {"200"}, "sort": {"stops"}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var list struct {
			Accounts []account
			Next     string
		}
		if f := q.get("/v1/accounts", query, &list); f != nil {
			q.fail(f)
			return
		}
		for _, a := range list.Accounts {
			q.event(line, a, "ends", a.Expires.Time)
			if a.LapsesTo != "free" {
				q.event(line, a, "stops", a.Lapses.Time)
			}
		}
		if cursor = list.Next; cursor == "" {
			break
		}
	}
	line("END", "VCALENDAR")
	q.w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	_, _ = q.w.Write([]byte(b.String())) // fails only if the program has gone
}

// event writes the event of one account, on the day of an instant that is not yet past.
func (q *request) event(line func(name, value string), a account, what string, at time.Time) {
	if at.Before(q.now) {
		return
	}
	title := q.text("ics."+what, "name", a.Title())
	line("BEGIN", "VEVENT")
	line("UID", what+"-"+a.CorpID+"@replygate")
	line("DTSTAMP", q.now.UTC().Format("20060102T150405Z"))
	line("DTSTART", at.UTC().Format("20060102T150405Z"))
	line("SUMMARY", escapeText(title))
	for _, days := range []int{7, 3, 1} {
		line("BEGIN", "VALARM")
		line("ACTION", "DISPLAY")
		line("TRIGGER", fmt.Sprintf("-P%dD", days))
		line("DESCRIPTION", escapeText(title))
		line("END", "VALARM")
	}
	line("END", "VEVENT")
}

// escapeText escapes a text value of iCalendar.
func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r", "", "\n", `\n`).Replace(s)
}

// foldLine ends a line of iCalendar, and folds it so that no part has more than 75 bytes.
func foldLine(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if size := len(string(r)); n+size > 75 {
			b.WriteString("\r\n ")
			n = 1
		}
		b.WriteRune(r)
		n += len(string(r))
	}
	return b.String() + "\r\n"
}

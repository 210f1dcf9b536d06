package console

import (
	"net/http"
	"net/url"
	"strings"
)

// note is a sentence on top of a page. Detail is what the gateway said, in English.
type note struct{ Class, Icon, Text, Detail string }

// setting is one value of the configuration, as GET /v1/config gives it.
type setting struct {
	Key    string
	Value  any
	Secret bool
	Source string
	File   string
	Line   int
	Env    string
}

// settingsView is the page of the settings in force.
type settingsView struct {
	File, Config string
	Loaded       instant // when it came into force
	By           string  // whom
	Accounts     int
	Groups       []settingGroup
	Notes        []note
}

// settingGroup has the settings of one section of the file.
type settingGroup struct {
	Name     string
	Settings []setting
}

// settingsPage shows every key with its value and where it comes from; accounts by their number.
func settingsPage(q *request) { showSettings(q, http.StatusOK) }

func showSettings(q *request, status int, notes ...note) {
	var list struct {
		File, Config string
		Accounts     int
		Settings     []setting
		By           string `json:"loaded_by"`
		From         string `json:"loaded_from"`
		Problems     []string
	}
	if f := q.get("/v1/config", url.Values{"accounts": {"count"}}, &list); f != nil {
		q.fail(f)
		return
	}
	view := settingsView{File: list.File, Config: list.Config, Accounts: list.Accounts, Notes: notes}
	var rules rulesView
	if q.get("/v1/rules", nil, &rules) == nil {
		view.Loaded = rules.Since
	}
	if list.By != "" {
		view.By = q.text("settings.by."+list.By, "from", list.From)
	}
	for _, p := range list.Problems { // which keep the newest files from being in force
		view.Notes = append(view.Notes, note{"bad", "urgent", q.text("attention.config"), p})
	}
	for _, s := range list.Settings {
		section, _, _ := strings.Cut(s.Key, ".")
		section, _, _ = strings.Cut(section, "[")
		if n := len(view.Groups); n == 0 || view.Groups[n-1].Name != section {
			view.Groups = append(view.Groups, settingGroup{Name: section})
		}
		last := &view.Groups[len(view.Groups)-1]
		last.Settings = append(last.Settings, s)
	}
	q.render(status, "settings", view)
}

// reloadSettings reads the configuration again, as long as the one on the page is in force.
func reloadSettings(q *request) {
	if f := q.mayChange(); f != nil {
		showSettings(q, f.Status, note{"bad", "urgent", q.failed(f), ""})
		return
	}
	var done struct {
		Changed  []string
		Warnings []string
	}
	q.ifMatch = q.r.PostFormValue("if_match")
	f := q.ask(http.MethodPost, "/v1/reload", nil, struct{}{}, &done)
	switch {
	case f != nil && f.Code == "held":
		showSettings(q, f.Status, note{"bad", "urgent", q.failed(f), f.Message})
	case f != nil:
		showSettings(q, f.Status, note{"bad", "urgent", q.failed(f), ""})
	default:
		text := q.text("settings.reloaded", "keys", strings.Join(done.Changed, ", "))
		if len(done.Changed) == 0 {
			text = q.text("settings.unchanged")
		}
		notes := []note{{Icon: "ok", Text: text}}
		for _, w := range done.Warnings {
			notes = append(notes, note{"warn", "attention", q.text("settings.warning"), w})
		}
		showSettings(q, http.StatusOK, notes...)
	}
}

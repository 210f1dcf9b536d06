package admin

import (
	"cmp"
	"net/http"
	"sync"
	"time"

	"replygate/config"
)

// The values of Setting.Source.
const (
	FromDefault     = "default"
	FromFile        = "file"
	FromEnvironment = "environment"
)

// Setting is one value of a configuration, and where it comes from.
type Setting struct {
	Key    string `json:"key"` // dotted, with the index of list items
	Value  any    `json:"value"`
	Secret bool   `json:"secret,omitempty"` // Value is set or unset
	Source string `json:"source"`           // default, file or environment
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Env    string `json:"env,omitempty"`
}

// SettingList is the answer of GET /v1/config.
type SettingList struct {
	File     string    `json:"file"`
	Config   string    `json:"config"` // hash
	Settings []Setting `json:"settings"`
	Accounts *int      `json:"accounts,omitempty"` // their number, in the place of their settings

	// What a running gateway tells besides.
	LoadedAt   string   `json:"loaded_at,omitempty"`   // when they came into force
	LoadedBy   string   `json:"loaded_by,omitempty"`   // start, file or api
	LoadedFrom string   `json:"loaded_from,omitempty"` // the caller's address, of api
	Problems   []string `json:"problems,omitempty"`    // what keeps the newest files from being in force
}

// The values of SettingList.LoadedBy.
const (
	LoadedAtStart = "start" // of the process
	LoadedByFile  = "file"  // the files changed, or the process got SIGHUP
	LoadedByAPI   = "api"   // POST /v1/reload
)

// lastReload is the last reload by the API.
type lastReload struct {
	mu   sync.Mutex
	at   time.Time // when its configuration came into force
	from string    // the caller's address
}

func (l *lastReload) note(at time.Time, from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.from = at, from
}

// startTime is within what time of the process's begin the first configuration is in force.
const startTime = time.Minute

// addLoaded tells when the settings came into force, and by whom.
func (a *Admin) addLoaded(list *SettingList) {
	_, at := a.Gateway.GateSince()
	list.LoadedAt, list.LoadedBy, list.Problems = Stamp(at), LoadedByFile, a.Gateway.Problems()
	a.reloaded.mu.Lock()
	defer a.reloaded.mu.Unlock()
	began, _ := time.Parse(time.RFC3339, a.Gateway.Self().Since)
	switch {
	case a.reloaded.at.Equal(at) && a.reloaded.from != "":
		list.LoadedBy, list.LoadedFrom = LoadedByAPI, a.reloaded.from
	case a.reloaded.from == "" && at.Sub(began) < startTime:
		list.LoadedBy = LoadedAtStart
	}
}

// SettingsOf lists the settings of a configuration that was read from a file.
func SettingsOf(file, hash string, c *config.Config) SettingList {
	list := SettingList{File: file, Config: hash, Settings: []Setting{}}
	for _, s := range c.Settings() {
		out := Setting{Key: s.Key, Value: s.Value, Secret: s.Secret, Source: FromDefault}
		switch {
		case s.From.Env != "":
			out.Source, out.Env = FromEnvironment, s.From.Env
		case s.From != config.Position{}:
			out.Source, out.File, out.Line = FromFile, cmp.Or(s.From.File, file), s.From.Line
		}
		list.Settings = append(list.Settings, out)
	}
	return list
}

// settings lists the settings in force; with accounts=count accounts by their number alone.
func (a *Admin) settings(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, "accounts")
	if err != nil {
		failQuery(w, err)
		return
	}
	c, hash := a.Gateway.InForce()
	file := a.Gateway.ConfigFile()
	shown, number := *c, (*int)(nil)
	switch values.Get("accounts") {
	case "":
	case "count":
		shown.Accounts, number = nil, new(len(c.Accounts))
	default:
		failQuery(w, badQueryf("accounts must be count, or absent"))
		return
	}
	list := SettingsOf(file, hash, &shown)
	list.Accounts = number
	a.addLoaded(&list)
	if !unchanged(w, r, list) {
		reply(w, http.StatusOK, list)
	}
}

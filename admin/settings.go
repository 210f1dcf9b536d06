package admin

import (
	"cmp"
	"net/http"

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
	switch values.Get("accounts") {
	case "":
		reply(w, http.StatusOK, SettingsOf(file, hash, c))
	case "count":
		others := *c
		others.Accounts = nil
		list := SettingsOf(file, hash, &others)
		list.Accounts = pointer(len(c.Accounts))
		reply(w, http.StatusOK, list)
	default:
		failQuery(w, badQueryf("accounts must be count, or absent"))
	}
}

package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readAccountsFile adds the accounts of accounts_file to those of the configuration.
func (d *decoder) readAccountsFile(c *Config) {
	if c.AccountsFile == "" {
		return
	}
	data, err := readNamed(c.AccountsFile, maxFileBytes)
	d.accounts, d.unread = data, err != nil
	if err != nil {
		d.report(d.where["accounts_file"], "accounts_file: "+err.Error(), "name a YAML or CSV file that the gateway can read")
		return
	}
	d.otherFile = c.AccountsFile
	defer func() { d.otherFile = "" }()
	text, bad := toUTF8(data)
	if bad != nil {
		d.problem(data, bad)
		return
	}
	first, mistakes := len(c.Accounts), len(d.mistakes)
	if strings.HasSuffix(strings.ToLower(c.AccountsFile), ".csv") {
		c.Accounts = append(c.Accounts, d.csvAccounts(text, first)...)
	} else if isCSV(text) {
		d.report(Position{File: d.otherFile}, "this is a CSV, and its name does not end in .csv", "rename it: any other name means YAML")
	} else if root, ok := d.document(data); ok {
		c.Accounts = append(c.Accounts, d.yamlAccounts(root, first)...)
	}
	if len(c.Accounts) == first && len(d.mistakes) == mistakes { // as a failed export leaves it
		d.report(Position{File: d.otherFile}, "accounts_file lists no account", "write it again with its accounts, or leave accounts_file out")
	}
}

// yamlAccounts reads a list of accounts, at the top or below the key accounts. first is the index
// of its first account in the configuration.
func (d *decoder) yamlAccounts(root *yaml.Node, first int) []Account {
	list := root
	if root.Kind == yaml.MappingNode && len(root.Content) == 2 && root.Content[0].Value == "accounts" {
		list = root.Content[1]
	}
	if root.Kind == yaml.MappingNode && len(root.Content) == 0 || list.Tag == "!!null" {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		d.report(d.position(root), "accounts_file must be a list of accounts", "write one per line after a dash: - { corp_id: ww… }")
		return nil
	}
	all := make([]Account, len(list.Content))
	for i, item := range list.Content {
		path := fmt.Sprintf("accounts[%d]", first+i)
		d.where[path] = d.position(item)
		d.walk(item, reflect.ValueOf(&all[i]).Elem(), path)
	}
	return all
}

// column is one column of a CSV of accounts.
type column struct {
	key   string // its key in a YAML configuration, below the account
	field func(*Account) any
}

// columns are the columns that a CSV of accounts may have, by name.
var columns = map[string]column{
	"corp_id":             {"corp_id", func(a *Account) any { return &a.CorpID }},
	"name":                {"name", func(a *Account) any { return &a.Name }},
	"entity":              {"entity", func(a *Account) any { return &a.Entity }},
	"expires_at":          {"subscription.expires_at", func(a *Account) any { return &a.subscription().ExpiresAt }},
	"grace":               {"subscription.grace", func(a *Account) any { return &a.subscription().Grace }},
	"contacts_free":       {"contacts.free", func(a *Account) any { return &a.contacts().Free }},
	"contacts_total":      {"contacts.total", func(a *Account) any { return &a.contacts().Total }},
	"subscription":        {"subscription", func(a *Account) any { return &a.subscription().Never }}, // none, or empty
	"contacts_purchased":  {"contacts.purchased", func(a *Account) any { return &a.contacts().Purchased }},
	"contacts_counted_at": {"contacts.counted_at", func(a *Account) any { return &a.contacts().CountedAt }},
	"hosts":               {"hosts", func(a *Account) any { return &a.Hosts }},       // separated by spaces
	"channels":            {"channels", func(a *Account) any { return &a.Channels }}, // likewise
}

func (a *Account) subscription() *Subscription {
	if a.Subscription == nil {
		a.Subscription = &Subscription{}
	}
	return a.Subscription
}

func (a *Account) contacts() *Contacts {
	if a.Contacts == nil {
		a.Contacts = &Contacts{}
	}
	return a.Contacts
}

// csvAccounts reads a CSV with a header line. An empty cell is an absent key, and a row of empty
// cells no account.
func (d *decoder) csvAccounts(text []byte, first int) []Account {
	source := newCSVSource(text, d.otherFile)
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.Comma = -1, rune(source.comma)
	at := func(field int) Position { return source.position(r.FieldPos(field)) }
	var header []string
	var all []Account
	for {
		row, err := r.Read()
		var parseErr *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			if header == nil {
				d.report(Position{File: d.otherFile}, "accounts_file is empty", "begin it with a header line: corp_id,name,entity,expires_at")
			}
			return all
		case errors.As(err, &parseErr):
			d.problem(text, source.syntaxProblem(parseErr))
			return all
		case err != nil:
			d.report(Position{File: d.otherFile}, err.Error(), "")
			return all
		case header == nil:
			if header = d.csvHeader(row, at); header == nil {
				return nil
			}
			continue
		case emptyRow(row):
			continue
		case len(row) != len(header):
			line, _ := r.FieldPos(0)
			d.report(source.rowProblem(row, line, len(header)))
			continue
		}
		a := Account{At: at(0)}
		path := fmt.Sprintf("accounts[%d]", first+len(all))
		d.where[path] = a.At
		for i, cell := range row {
			if cell = strings.TrimSpace(cell); cell == "" {
				continue
			}
			c := columns[header[i]]
			d.where[path+"."+c.key] = at(i)
			if list, ok := c.field(&a).(*[]string); ok {
				*list = strings.Fields(cell)
				continue
			}
			d.set(reflect.ValueOf(c.field(&a)).Elem(), Word{Text: cell, At: at(i)})
		}
		all = append(all, a)
	}
}

// maxHeader is how many columns are looked at one by one. More are no header line.
const maxHeader = 64

// csvHeader returns the names of the columns, or nil if one is unknown or given twice.
func (d *decoder) csvHeader(row []string, at func(int) Position) []string {
	known := []string{"corp_id", "name", "entity", "subscription", "expires_at", "grace", "contacts_free", "contacts_purchased", "contacts_total", "contacts_counted_at", "hosts", "channels"}
	if len(row) > maxHeader {
		d.report(at(0), fmt.Sprintf("the header line has %d columns", len(row)), "keep those of the known ones: "+strings.Join(known, ", "))
		return nil
	}
	header, valid := make([]string, len(row)), true
	for i, name := range row {
		header[i] = strings.TrimSpace(name)
		if _, ok := columns[header[i]]; !ok {
			remedy := DidYouMean(header[i], known)
			if header[i] == "" {
				remedy = "take the column out, or name it: " + strings.Join(known, ", ")
			}
			place := at(i)
			place.Col += widthAt(name)
			d.report(place, "unknown column "+strconv.Quote(header[i]), remedy)
			valid = false
		}
		for j := range i {
			if header[j] == header[i] {
				d.report(at(i), "column "+header[i]+" is given twice", "keep one")
				valid = false
			}
		}
	}
	if !valid {
		return nil
	}
	return header
}

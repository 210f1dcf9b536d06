package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// configCommand returns the command that shows the settings in force.
func configCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "config",
		Short:   "The settings in force, and where each comes from",
		Example: "  replygate config show",
	}, configShowCommand(s))
}

func configShowCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show every setting, its value, and where the value comes from",
		Long: `Shows every setting of a running gateway with its value, and where the value comes from: a line
of the file, an environment variable, or the default. Of a secret it tells only whether it is set.
With --candidate it shows what a configuration would mean if the gateway were started here.`,
		Example: `  replygate config show
  replygate config show --candidate replygate.yaml
  replygate config show --json | jq '.settings[] | select(.source != "default")'`,
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	candidate := c.Flags().String("candidate", "", "show this configuration `FILE` instead of the one in force")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	yamlFile(c, "candidate")
	c.RunE = func(c *cobra.Command, _ []string) error {
		list, err := settingsOf(c.Context(), connect, *candidate)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(s.out, list)
		}
		return printSettings(s.out, list)
	}
	return c
}

// settingsOf asks a running gateway for its settings, or reads a file.
func settingsOf(ctx context.Context, connect func() (client, error), candidate string) (list admin.SettingList, err error) {
	if candidate != "" {
		set, err := load(candidate)
		if err != nil {
			return list, err
		}
		return admin.SettingsOf(set.path, set.hash, set.Config), nil
	}
	c, err := connect()
	if err != nil {
		return list, err
	}
	err = c.get(ctx, "/v1/config", url.Values{}, &list)
	var answered apiError
	if err != nil && !errors.As(err, &answered) {
		err = fmt.Errorf("%w (--candidate FILE shows a file without a gateway)", err)
	}
	return list, err
}

// maxItems bounds the items of one list in a table; JSON has all.
const maxItems = 20

// listItem finds the list and the number of an item in a key like accounts[12].name.
var listItem = regexp.MustCompile(`^([a-z_.]+)\[(\d+)\]`)

// printSettings prints a table of settings.
func printSettings(w io.Writer, list admin.SettingList) error {
	var t table
	t.row("KEY", "VALUE", "FROM")
	cut := map[string]bool{} // lists
	for _, s := range list.Settings {
		if m := listItem.FindStringSubmatch(s.Key); m != nil {
			if n, _ := strconv.Atoi(m[2]); n >= maxItems {
				if !cut[m[1]] {
					t.row(m[1]+"[…]", "--json shows all", "")
				}
				cut[m[1]] = true
				continue
			}
		}
		t.row(s.Key, cmp.Or(fmt.Sprint(s.Value), `""`), origin(s))
	}
	return t.print(w)
}

// origin tells where a setting comes from: default, FILE:LINE or the environment variable.
func origin(s admin.Setting) string {
	switch s.Source {
	case admin.FromFile:
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	case admin.FromEnvironment:
		return "$" + s.Env
	}
	return s.Source
}

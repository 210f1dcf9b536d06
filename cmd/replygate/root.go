package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"replygate/config"
)

// errUsage says that the words of the command line are wrong.
var errUsage = errors.New("wrong usage")

// rootCommand returns the command line. Each command is in the file of its name.
func rootCommand(s streams) *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:           "replygate",
		Short:         "replygate stands between a company's bots and the WeCom API",
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
		Example: `  replygate demo
  replygate check -c replygate.yaml
  replygate serve -c replygate.yaml`,
	}
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run it"},
		&cobra.Group{ID: "rules", Title: "Test rules and configurations"},
		&cobra.Group{ID: "running", Title: "Ask and change a running gateway"},
		&cobra.Group{ID: "more", Title: "More"},
	)
	in := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
		}
		root.AddCommand(commands...)
	}
	in("run", serveCommand(s), demoCommand(s), simulateCommand(s))
	in("rules", checkCommand(s), testCommand(s), replayCommand(s), rehearseCommand(s), rulesetsCommand(s), callbacksCommand(s))
	in("running", explainCommand(s), decisionsCommand(s), windowsCommand(s), closingCommand(s), eventsCommand(s), webhooksCommand(s), accountsCommand(s), contactsCommand(s), entitiesCommand(s), configCommand(s), reloadCommand(s), healthCommand(s))
	in("more", completionCommand(s), versionCommand(s))
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID("more")
	root.CompletionOptions.DisableDefaultCmd = true // completionCommand is ours
	asGroup(root)
	choose := root.RunE
	root.RunE = func(c *cobra.Command, words []string) error {
		if version {
			return printVersion(s, false)
		}
		return choose(c, words)
	}
	root.Flags().BoolVar(&version, "version", false, "print which build this is")
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { printHelp(c.OutOrStdout(), c) })
	root.SetUsageFunc(func(c *cobra.Command) error { printHelp(c.OutOrStderr(), c); return nil })
	root.SetFlagErrorFunc(flagError)
	return root
}

// asGroup makes a command of which only the subcommands do something.
func asGroup(c *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	c.AddCommand(subcommands...)
	c.Args = cobra.ArbitraryArgs
	c.RunE = chooseCommand
	return c
}

// chooseCommand is what a command does whose subcommand is missing or unknown.
func chooseCommand(c *cobra.Command, words []string) error {
	known := commandNames(c)
	if len(words) == 0 {
		return fmt.Errorf("%w: name one of its commands: %s", errUsage, strings.Join(known, ", "))
	}
	return unknownWord("command", words[0], known)
}

// unknownWord is the error of a word that is none of the known ones.
func unknownWord(kind, given string, known []string) error {
	if near := config.Nearest(given, known); len(near) > 0 {
		return fmt.Errorf("%w: there is no %s %q: did you mean %s?", errUsage, kind, given, strings.Join(near, " or "))
	}
	return fmt.Errorf("%w: there is no %s %q: write one of %s", errUsage, kind, given, strings.Join(known, ", "))
}

func commandNames(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// takes wants least to most words after a command; its use line names them.
func takes(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		switch n := len(given); {
		case n < least:
			return fmt.Errorf("%w: an argument is missing: write %s", errUsage, c.UseLine())
		case n > most && most == 0:
			return fmt.Errorf("%w: unexpected argument %q: this command takes flags only", errUsage, given[0])
		case n > most:
			return fmt.Errorf("%w: unexpected argument %q: write %s", errUsage, given[most], c.UseLine())
		}
		return nil
	}
}

// flagError says what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case c.HasSubCommands() && c.Flags().NArg() > 0: // the flag belongs to a command that does not exist
		return chooseCommand(c, c.Flags().Args())
	case errors.As(err, &unknown):
		return unknownFlag(c, unknown)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return fmt.Errorf("%w: --%s %q is not %s", errUsage, f.Name, invalid.GetValue(), kinds[f.Value.Type()])
	case errors.As(err, &missing):
		value, _ := pflag.UnquoteUsage(missing.GetFlag())
		return fmt.Errorf("%w: --%s needs a value: write --%s %s", errUsage, missing.GetFlag().Name, missing.GetFlag().Name, value)
	}
	return fmt.Errorf("%w: %w", errUsage, err)
}

// kinds names the types of flags for people.
var kinds = map[string]string{"bool": "true or false", "int": "a whole number", "float64": "a number"}

// unknownFlag suggests the flag that was probably meant.
func unknownFlag(c *cobra.Command, err *pflag.NotExistError) error {
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	given, dashes := err.GetSpecifiedName(), "--"
	if letters := err.GetSpecifiedShortnames(); letters != "" {
		given, dashes = letters, "-"
	}
	said := fmt.Errorf("%w: there is no flag %s%s", errUsage, dashes, given)
	if name, _, _ := strings.Cut(given, "="); slices.Contains(known, name) {
		return fmt.Errorf("%w: did you mean --%s?", said, name)
	} else if near := config.Nearest(name, known); len(near) > 0 {
		return fmt.Errorf("%w: did you mean --%s?", said, strings.Join(near, " or --"))
	}
	return said
}

// configFlag adds -c.
func configFlag(c *cobra.Command, file *string, use string) {
	c.Flags().StringVarP(file, "config", "c", "replygate.yaml", use)
	yamlFile(c, "config")
}

// yamlFile completes a flag with names of YAML files.
func yamlFile(c *cobra.Command, flag string) {
	_ = c.MarkFlagFilename(flag, "yaml", "yml") // fails only without such a flag
}

// oneOf completes a flag with its values.
func oneOf(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// plainFlags takes the marks of value names out of the descriptions of flags, which completion
// shows as they are.
func plainFlags(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	for _, sub := range c.Commands() {
		plainFlags(sub)
	}
}

// withValues keeps a shell from completing the values of flags with the names of files.
func withValues(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
}

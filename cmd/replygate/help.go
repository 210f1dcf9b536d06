package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand returns the command that prints the help of another one.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "help [COMMAND…]",
		Short:       "Print the help of a command",
		Annotations: arguments("COMMAND", "the command, and its subcommand; default: replygate itself"),
		Example:     "  replygate help windows show",
		ValidArgsFunction: func(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, rest, err := c.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return commandNames(of), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, given []string) error {
			of, rest, err := c.Root().Find(given)
			switch {
			case err != nil:
				return fmt.Errorf("%w: %w", errUsage, err)
			case len(rest) > 0 && of.HasSubCommands():
				return chooseCommand(of, rest)
			}
			return of.Help()
		},
	}
}

// arguments describes the words that a command takes, for its help: name, description, and so on.
func arguments(pairs ...string) map[string]string {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "  %-*s   %s\n", width, pairs[i], pairs[i+1])
	}
	return map[string]string{argumentsKey: b.String()}
}

const argumentsKey = "arguments"

// printHelp prints what a command does, its words, subcommands and flags, and an example.
func printHelp(w io.Writer, c *cobra.Command) {
	c.InitDefaultHelpFlag()
	c.Flags().Lookup("help").Usage = "print this help"
	fmt.Fprintf(w, "%s\n\nUsage:\n", strings.TrimSpace(cmp.Or(c.Long, c.Short+".")))
	if c.HasSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND [flags]\n", c.CommandPath())
	} else {
		fmt.Fprintf(w, "  %s\n", c.UseLine())
	}
	if words := c.Annotations[argumentsKey]; words != "" {
		fmt.Fprintf(w, "\nArguments:\n%s", words)
	}
	printCommands(w, c)
	if c.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", c.Flags().FlagUsages())
	}
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	if c.HasSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help tells the arguments and flags of a command.\n", c.CommandPath())
	}
}

// printCommands lists the subcommands, by group if there are groups.
func printCommands(w io.Writer, c *cobra.Command) {
	list := func(title, group string) {
		fmt.Fprintf(w, "\n%s:\n", title)
		for _, sub := range c.Commands() {
			if sub.GroupID == group && (sub.IsAvailableCommand() || sub.Name() == "help") {
				fmt.Fprintf(w, "  %-*s   %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	for _, g := range c.Groups() {
		list(g.Title, g.ID)
	}
	if c.HasAvailableSubCommands() && len(c.Groups()) == 0 {
		list("Commands", "")
	}
}

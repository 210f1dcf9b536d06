package main

import (
	"github.com/spf13/cobra"
)

// completionCommand returns the command that prints a script by which a shell completes words.
func completionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:         "completion SHELL",
		Short:       "Print a script by which a shell completes commands and flags",
		Annotations: arguments("SHELL", "bash, zsh or fish"),
		Example: `  source <(replygate completion bash)                  # this session; needs the package bash-completion
  replygate completion bash > /etc/bash_completion.d/replygate
  replygate completion zsh > "${fpath[1]}/_replygate"
  replygate completion fish > ~/.config/fish/completions/replygate.fish`,
		Args:      takes(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, given []string) error {
			switch given[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(s.out, true)
			case "zsh":
				return c.Root().GenZshCompletion(s.out)
			case "fish":
				return c.Root().GenFishCompletion(s.out, true)
			}
			return unknownWord("shell", given[0], c.ValidArgs)
		},
	}
}

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// versionCommand returns the command that prints what was built.
func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  replygate version",
		Args:    takes(0, 0),
		RunE:    func(*cobra.Command, []string) error { return printVersion(s) },
	}
}

// printVersion prints the version of the build, and Go's.
func printVersion(s streams) error {
	fmt.Fprintf(s.out, "replygate %s, %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

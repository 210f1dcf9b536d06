package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

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

// printVersion prints the module's version, which in a build from a repository names its commit,
// and Go's.
func printVersion(s streams) error {
	built := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		built = info.Main.Version
	}
	fmt.Fprintf(s.out, "replygate %s, %s %s/%s\n", built, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

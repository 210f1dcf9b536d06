package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// buildInfo is what version prints.
type buildInfo struct {
	Version string `json:"version"` // of the module; in a build from a repository it names the commit
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// versionCommand returns the command that prints what was built.
func versionCommand(s streams) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  replygate version",
		Args:    takes(0, 0),
		RunE:    func(*cobra.Command, []string) error { return printVersion(s, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printVersion(s streams, asJSON bool) error {
	b := buildInfo{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
	if asJSON {
		return printJSON(s.out, b)
	}
	fmt.Fprintf(s.out, "replygate %s, %s %s/%s\n", b.Version, b.Go, b.OS, b.Arch)
	return nil
}

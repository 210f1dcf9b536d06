package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version prints what was built: the module's version, which in a build from a repository names its
// commit, and Go's.
func version(_ context.Context, args []string, s streams) error {
	if _, err := parse(flags("version", s), args, 0, 0); err != nil {
		return err
	}
	built := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		built = info.Main.Version
	}
	fmt.Fprintf(s.out, "replygate %s, %s %s/%s\n", built, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

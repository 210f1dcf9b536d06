package main

import (
	"runtime/debug"
	_ "time/tzdata" // TZ works in an image that holds the gateway alone
)

// release is the version that a build names: -ldflags "-X main.release=v1.2.3". Most builds name
// none: the go command knows theirs from the repository or the module.
var release string

// buildVersion returns the version of this build. One from a repository names its commit.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case release != "":
		return release
	case ok && info.Main.Version != "":
		return info.Main.Version
	}
	return "unknown"
}

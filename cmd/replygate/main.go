// Command replygate runs the gateway and its tools; see README.md.
//
// It parses arguments and wires packages together, and does not judge: what the gateway does is in
// those.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // console.timezone, also where the system has no time zones

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitGood  = 0
	exitBad   = 1 // an invalid configuration, a failed run
	exitUsage = 2
)

// streams are where a command writes.
type streams struct{ out, err io.Writer }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr}))
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := rootCommand(s)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		plainFlags(root)
	}
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	c, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errUsage):
		fmt.Fprintf(s.err, "%s: %v\n%s --help tells more\n", c.CommandPath(), err, c.CommandPath())
		return exitUsage
	}
	fmt.Fprintln(s.err, err)
	return exitBad
}

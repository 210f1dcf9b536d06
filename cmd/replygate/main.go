// Command replygate runs the gateway and its tools; see README.md.
//
// It parses arguments and wires packages together, and does not judge: what the gateway does is in
// those.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitGood  = 0
	exitBad   = 1 // an invalid configuration, a failed run
	exitUsage = 2
)

const usage = `replygate stands between a company's bots and the WeCom API.

    replygate serve -c replygate.yaml     run the gateway
    replygate demo [--once]               gateway, simulated WeCom and Redis in one, nothing to install
    replygate check -c FILE [--live]      find every mistake in a configuration, and what its Redis lacks
    replygate test -c FILE CASES…         rule tests: cases with a clock, and what is to become of their calls
    replygate explain --corp CORP PATH    why one call passes or not, and until when
    replygate replay -c FILE LOG…         what a configuration would have decided over past decision logs
    replygate windows list|show|open|close|backfill …   the reply windows of a running gateway
    replygate accounts list|show …        its accounts and their standing
    replygate rulesets list|show NAME     the rule sets that ship with the gateway, to be copied
    replygate simulate                    the simulated WeCom alone, for bot authors
    replygate version                     which build this is

replygate COMMAND -h tells the flags of a command.
`

// errUsage says that the words of the command line are wrong.
var errUsage = errors.New("wrong usage")

// streams are where a command writes.
type streams struct{ out, err io.Writer }

var commands = map[string]func(context.Context, []string, streams) error{
	"serve":    serve,
	"demo":     demo,
	"check":    check,
	"windows":  windows,
	"accounts": accounts,
	"simulate": simulate,
	"rulesets": rulesets,
	"explain":  explain,
	"test":     testRules,
	"replay":   replayLogs,
	"version":  version,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr}))
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(s.out, usage)
		if len(args) == 0 {
			return exitUsage
		}
		return exitGood
	}
	name := args[0]
	if name == "--version" {
		name = "version"
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(s.err, "replygate: there is no command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	err := command(ctx, args[1:], s)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitGood
	case errors.Is(err, errUsage):
		fmt.Fprintf(s.err, "replygate %s: %v\n", args[0], err)
		return exitUsage
	}
	fmt.Fprintln(s.err, err)
	return exitBad
}

// flags makes the flag set of a command.
func flags(name string, s streams) *flag.FlagSet {
	f := flag.NewFlagSet("replygate "+name, flag.ContinueOnError)
	f.SetOutput(s.err)
	return f
}

// parse reads the flags, which may be before, between and after the words, and returns the
// words; there must be least to most.
func parse(f *flag.FlagSet, args []string, least, most int) ([]string, error) {
	var words []string
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	if n := len(words); n < least || n > most {
		return nil, fmt.Errorf("%w: unexpected or missing words: %q", errUsage, words)
	}
	return words, nil
}

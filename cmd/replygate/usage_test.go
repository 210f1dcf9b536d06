package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"replygate/store/storetest"
)

// golden compares a text with a file of testdata/cli, or writes the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("../../testdata/cli", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// eachCommand visits all commands, with the words that name each.
func eachCommand(c *cobra.Command, visit func(c *cobra.Command, path []string)) {
	visit(c, strings.Fields(c.CommandPath())[1:])
	for _, sub := range c.Commands() {
		eachCommand(sub, visit)
	}
}

// The help of every command names its arguments and an example, and goes to standard output.
func TestHelp(t *testing.T) {
	seen := map[string]bool{}
	eachCommand(rootCommand(streams{io.Discard, io.Discard}), func(c *cobra.Command, path []string) {
		name := cmp.Or(strings.Join(path, "-"), "replygate")
		seen["help/"+name+".txt"] = true
		code, help, errs := cli(t, append(slices.Clone(path), "--help")...)
		if code != exitGood || errs != "" {
			t.Errorf("%s --help: exit %d %s", name, code, errs)
		}
		for _, args := range [][]string{append(slices.Clone(path), "-h"), append([]string{"help"}, path...)} {
			if code, out, errs := cli(t, args...); code != exitGood || out != help || errs != "" {
				t.Errorf("%q: exit %d %s%s", args, code, out, errs)
			}
		}
		golden(t, "help/"+name+".txt", help)
		for _, word := range regexp.MustCompile(`[A-Z]+`).FindAllString(c.Use, -1) {
			if !strings.Contains(c.Annotations[argumentsKey], "  "+word) {
				t.Errorf("the help of %s does not describe %s", name, word)
			}
		}
		if !strings.HasPrefix(c.Example, "  "+strings.TrimSpace("replygate "+strings.Join(path, " "))) && !strings.HasPrefix(c.Example, "  source") {
			t.Errorf("the example of %s shows something else: %s", name, c.Example)
		}
	})
	noOther(t, "help", seen)
}

// A command line that is wrong is answered on standard error, with exit code 2.
func TestUsageErrors(t *testing.T) {
	seen := map[string]bool{}
	eachCommand(rootCommand(streams{io.Discard, io.Discard}), func(c *cobra.Command, path []string) {
		name := cmp.Or(strings.Join(path, "-"), "replygate")
		seen["usage/"+name+".txt"] = true
		wrong := [][]string{{"--no-such-flag"}}
		for _, given := range [][]string{nil, {"1", "2", "3", "4"}} {
			if c.HasSubCommands() || c.ValidateArgs(given) != nil {
				wrong = append(wrong, given)
			}
		}
		var all strings.Builder
		for _, args := range wrong {
			all.WriteString(transcript(t, append(slices.Clone(path), args...)))
		}
		if n := strings.Count(all.String(), "[exit 2]\n"); n != len(wrong) {
			t.Errorf("%s: %d of %d command lines end with exit code 2", name, n, len(wrong))
		}
		golden(t, "usage/"+name+".txt", all.String())
	})
	noOther(t, "usage", seen)
}

// transcript runs a command line that is wrong, and returns it with its answer.
func transcript(t *testing.T, args []string) string {
	t.Helper()
	code, out, errs := cli(t, args...)
	if out != "" {
		t.Errorf("%q prints %q on standard output", args, out)
	}
	return fmt.Sprintf("$ %s\n%s[exit %d]\n\n", strings.Join(append([]string{"replygate"}, args...), " "), errs, code)
}

// Mistyped commands, flags and values, each with its answer.
func TestMistypedCommandLines(t *testing.T) {
	data, err := os.ReadFile("../../testdata/cli/mistyped.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	n := 0
	for _, line := range strings.Split(string(data), "\n") {
		if command, ok := strings.CutPrefix(line, "$ replygate"); ok {
			got.WriteString(transcript(t, strings.Fields(command)))
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d command lines", n)
	}
	golden(t, "mistyped.txt", got.String())
}

// What a shell completes after every command, and after the flags that have few values.
func TestCompletion(t *testing.T) {
	seen := map[string]bool{}
	eachCommand(rootCommand(streams{io.Discard, io.Discard}), func(c *cobra.Command, path []string) {
		name := cmp.Or(strings.Join(path, "-"), "replygate")
		seen["completion/"+name+".txt"] = true
		asked := [][]string{{""}, {"--"}}
		if c.Flags().Lookup("language") != nil {
			asked = append(asked, []string{"--language", ""})
		}
		if c.Flags().Lookup("config") != nil {
			asked = append(asked, []string{"-c", ""})
		}
		var all strings.Builder
		for _, words := range asked {
			code, out, _ := cli(t, append(append([]string{"__complete"}, path...), words...)...)
			if code != exitGood {
				t.Errorf("%s %q: exit %d", name, words, code)
			}
			fmt.Fprintf(&all, "$ replygate %s<TAB>\n%s\n", strings.Join(append(slices.Clone(path), words...), " "), out)
		}
		golden(t, "completion/"+name+".txt", all.String())
	})
	noOther(t, "completion", seen)
}

// noOther wants no golden file of a command that is gone.
func noOther(t *testing.T, folder string, seen map[string]bool) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join("../../testdata/cli", folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := folder + "/" + f.Name(); !seen[name] {
			t.Errorf("%s is the golden file of no command", name)
		}
	}
}

// The scripts for the shells are what these shells can read.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			code, script, errs := cli(t, "completion", shell)
			if code != exitGood || errs != "" || !strings.Contains(script, "__complete") {
				t.Fatalf("exit %d %s", code, errs)
			}
			if _, err := exec.LookPath(shell); err != nil && shell != "bash" {
				t.Skipf("%s is not installed: its script is not tried", shell)
			}
			storetest.Need(t, shell)
			check := exec.CommandContext(t.Context(), shell, "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("%v %s", err, out)
			}
		})
	}
}

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runMain runs the bench in a subprocess.
func runMain(t *testing.T, env []string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), mainVariable+"=1"), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Mistakes in the arguments end the bench with a line that names them, before anything is measured.
func TestArguments(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	missing := filepath.Join(empty, "missing")
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":            {nil, 1, "bench: name the program: -gateway ./replygate"},
		"no program":         {[]string{"-n", "3", "-c", "8"}, 1, "bench: name the program"},
		"an unknown flag":    {[]string{"-gateways", "x"}, 2, "flag provided but not defined: -gateways"},
		"no duration":        {[]string{"-d", "5"}, 2, `invalid value "5" for flag -d`},
		"no number":          {[]string{"-c", "many"}, 2, `invalid value "many" for flag -c`},
		"no time":            {[]string{"-gateway", "x", "-d", "0s"}, 1, "bench: -d is 0s, -c 64 and -n 1: all must be positive"},
		"no connection":      {[]string{"-gateway", "x", "-c", "0"}, 1, "bench: -d is 5s, -c 0 and -n 1: all must be positive"},
		"less than none":     {[]string{"-gateway", "x", "-c", "-1"}, 1, "bench: -d is 5s, -c -1 and -n 1: all must be positive"},
		"no round":           {[]string{"-gateway", "x", "-n", "0"}, 1, "bench: -d is 5s, -c 64 and -n 0: all must be positive"},
		"help":               {[]string{"-h"}, 0, "-gateway PROGRAM"},
		"a file in a void":   {[]string{"-gateway", "x", "-out", missing + "/file"}, 1, "bench: open " + missing + "/file: no such file"},
		"a folder as a file": {[]string{"-gateway", "x", "-out", empty}, 1, "bench: open " + empty + ": is a directory"},
		"a seed of nothing":  {[]string{"-seed", missing}, 1, "bench: open " + missing + "/tokens.map: no such file"},
		"no redis-server":    {[]string{"-gateway", "x"}, 1, `bench: redis-server: exec: "redis-server": executable file not found`},
	} {
		out, code := runMain(t, []string{"PATH=" + empty}, test.args...)
		if code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", name, code, test.code, test.want, out)
		}
	}
}

// A row in whose time no call is due has no figures.
func TestSendNothing(t *testing.T) {
	t.Parallel()
	k := kind{target: replyPath, body: open, errcode: "0"}
	_, err := send(row{k, load{clients: 1, rate: 1}}, "127.0.0.1:1", time.Millisecond, nil, nil)
	if err == nil || err.Error() != "no call was due in 1ms: raise -d" {
		t.Errorf("%v", err)
	}
}

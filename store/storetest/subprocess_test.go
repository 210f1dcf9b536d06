package storetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childVariable names the case of TestChild that a subprocess of this test program runs.
const childVariable = "STORETEST_CHILD"

// children are tests whose end is observed from outside: they skip, fail, or must leave nothing.
var children = map[string]func(t *testing.T){
	"need":         func(t *testing.T) { Need(t, "redis-server") },
	"start":        func(t *testing.T) { Start(t) },
	"node":         func(t *testing.T) { OneNode(t) },
	"module":       func(t *testing.T) { NeedModule(t, "sdk", "left-pad") },
	"without Main": func(t *testing.T) { OneNode(t) },
	"fails with a server": func(t *testing.T) {
		fmt.Println("address", Start(t).Addr())
		t.Fatal("a failure of the test itself")
	},
	"shares a node": func(t *testing.T) {
		fmt.Println("address", OneNode(t).Addrs[0])
	},
}

func TestChild(t *testing.T) {
	name := os.Getenv(childVariable)
	if name == "" {
		t.Skip("this is the body of a subprocess of other tests")
	}
	children[name](t)
}

// runChild runs a case of TestChild in a subprocess with more environment variables.
func runChild(t *testing.T, name string, env ...string) (output string, passed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestChild$")
	cmd.Env = append(append(os.Environ(), childVariable+"="+name), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// A missing program skips the test on a laptop, and fails it in CI.
func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, test := range []struct{ child, path, ci, want string }{
		{"need", empty, "", "--- SKIP: TestChild|redis-server is missing: install it to run this test"},
		{"need", empty, "false", "--- SKIP: TestChild|redis-server is missing: install it"},
		{"need", empty, "true", "--- FAIL: TestChild|redis-server is missing, and CI=true requires it"},
		{"start", empty, "", "--- SKIP: TestChild|redis-server is missing: install it"},
		{"start", empty, "true", "--- FAIL: TestChild|redis-server is missing, and CI=true requires it"},
		{"node", empty, "", "--- SKIP: TestChild|redis-server is missing: install it"},
		{"node", empty, "true", "--- FAIL: TestChild|redis-server is missing, and CI=true requires it"},
		{"module", empty, "", "--- SKIP: TestChild|left-pad is missing: npm ci --ignore-scripts --prefix sdk"},
		{"module", empty, "true", "--- FAIL: TestChild|left-pad is missing: npm ci --ignore-scripts --prefix sdk"},
		{"need", os.Getenv("PATH"), "true", "--- PASS: TestChild"},
	} {
		if test.path != empty {
			Need(t, "redis-server")
		}
		out, passed := runChild(t, test.child, "PATH="+test.path, "CI="+test.ci)
		for want := range strings.SplitSeq(test.want, "|") {
			if !strings.Contains(out, want) {
				t.Errorf("%s with CI=%q: want %q in\n%s", test.child, test.ci, want, out)
			}
		}
		if passed == strings.Contains(test.want, "FAIL") {
			t.Errorf("%s with CI=%q: passed is %v", test.child, test.ci, passed)
		}
	}
}

// The shared node is one that only Main stops, so OneNode insists on Main.
func TestOneNodeRequiresMain(t *testing.T) {
	t.Parallel()
	out, passed := runChild(t, "without Main")
	if passed || !strings.Contains(out, "let TestMain call storetest.Main") {
		t.Errorf("passed is %v:\n%s", passed, out)
	}
}

// No process and no folder survives a test program, whether its tests pass or fail.
func TestNothingSurvives(t *testing.T) {
	Need(t, "redis-server")
	t.Parallel()
	for child, passes := range map[string]bool{"fails with a server": false, "shares a node": true} {
		if testing.Short() && child == "shares a node" {
			continue // a new node takes two seconds to answer
		}
		tmp := t.TempDir()
		out, passed := runChild(t, child, "TMPDIR="+tmp)
		_, addr, printed := strings.Cut(out, "address ")
		if addr, _, _ = strings.Cut(addr, "\n"); passed != passes || !printed {
			t.Fatalf("%s: passed is %v:\n%s", child, passed, out)
		}
		if listens(addr) {
			t.Errorf("%s: %s is still served", child, addr)
		}
		if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: it leaves %q, %v", child, left, err)
		}
	}
}

// listens reports whether an address takes connections.
func listens(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

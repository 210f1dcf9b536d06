package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"replygate/store/storetest"
)

// The pages that a newcomer reads, and the script that does what they say.
const firstWalk = "../../docs/first-walk.sh"

var firstPages = []string{"../../README.md", "../../docs/getting-started.md"}

// The script does what the pages say, and nothing else: the same commands in the same words.
func TestFirstWalkIsDocumented(t *testing.T) {
	_, commands, ok := strings.Cut(contents(t, firstWalk), "\ncd replygate\n")
	if !ok {
		t.Fatal("the script does not go into the clone")
	}
	walked := commandLines(commands)
	var told []string
	for _, page := range firstPages {
		blocks := regexp.MustCompile("(?ms)^```bash\n(.*?)^```").FindAllStringSubmatch(contents(t, page), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no bash block", page)
		}
		for _, b := range blocks {
			told = append(told, commandLines(b[1])...)
		}
	}
	for _, line := range told {
		if !slices.Contains(walked, line) {
			t.Errorf("the pages say what %s does not do: %s", firstWalk, line)
		}
	}
	for _, line := range walked {
		if !slices.Contains(told, line) && line != "git status --short" && line != "set +v" {
			t.Errorf("%s does what no page says: %s", firstWalk, line)
		}
	}
}

// commandLines are the lines of a script without remarks.
func commandLines(script string) (all []string) {
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// A newcomer clones, builds, checks and serves, sees a first call pass and a first one refused, and
// leaves nothing in the clone. What is built is the last commit.
func TestFirstWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the walk builds a clone")
	}
	for _, program := range []string{"git", "bash", "curl"} {
		storetest.Need(t, program)
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	api, admin, wecom := freeAddress(t), freeAddress(t), freeAddress(t)
	script := strings.NewReplacer("127.0.0.1:8080", api, "127.0.0.1:9090", admin, "127.0.0.1:8090", wecom).Replace(contents(t, firstWalk))
	script = regexp.MustCompile(`(?m)^replygate simulate`).ReplaceAllString(script, "$0 --listen "+wecom)
	script = regexp.MustCompile(`(?m)^replygate (explain|windows) .*$`).ReplaceAllString(script, "$0 --admin http://"+admin)
	file := filepath.Join(t.TempDir(), "walk.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	walk := exec.CommandContext(t.Context(), "bash", file, repository)
	walk.Env = append(os.Environ(), "REPLYGATE_LISTEN_API="+api, "REPLYGATE_LISTEN_ADMIN="+admin,
		"CGO_ENABLED=0", "GOFLAGS=-trimpath") // as TestDockerfile builds, so that most of it is in the cache
	out, err := walk.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("what a newcomer sees:\n%s", out)
	seen := string(out)
	for _, want := range []string{
		"replygate.yaml: good: 1 account",
		`"ready":true`,
		"Replygate-Verdict: pass",
		`"errcode":48002`,
		"refuse  rule_refuse, rule ",
		"\nRULE ",
		"refuse  rule_refuse，规则 ",
		"\n规则 ",
		"wmLi",
	} {
		_, after, found := strings.Cut(seen, want)
		if !found {
			t.Fatalf("%q is missing, or comes too early, in:\n%s", want, out)
		}
		seen = after
	}
	if _, left, found := strings.Cut(seen, "git status --short\n"); !found || left != "set +v\n" {
		t.Errorf("the walk leaves in the clone:\n%s", left)
	}
}

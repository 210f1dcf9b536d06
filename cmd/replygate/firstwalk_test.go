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
	seen := walk(t, firstWalk)
	inOrder(t, seen,
		"replygate.yaml: good: 1 account",
		`"ready":true`,
		"Replygate-Verdict: pass",
		`"errcode":48002`,
		"refuse  rule_refuse, rule ",
		"\nRULE ",
		"refuse  rule_refuse，规则 ",
		"\n规则 ",
		"wmLi")
}

// The same for a newcomer who reads Chinese: the script runs the commands of the Chinese pages, and
// the bot and the operator read in Chinese why the call is refused.
func TestFirstWalkInChinese(t *testing.T) {
	seen := walk(t, "../../docs/zh/first-walk.sh", "README.zh-CN.md", "docs/zh/getting-started.md")
	if n := strings.Count(seen, "go build -o bin/replygate"); n != 1 {
		t.Errorf("the walk builds %d times", n)
	}
	inOrder(t, seen,
		"replygate.yaml: good: 1 account",
		`"ready":true`,
		"Replygate-Verdict: pass",
		`"errcode":48002`, // errmsg follows
		"不能使用此接口",
		"refuse  rule_refuse，规则 ", // in the language of the configuration
		"\n规则 ",
		"--language zh",
		"refuse  rule_refuse，规则 ",
		"wmLi")
}

// walk runs a script of the docs on ports of its own, with the pages whose commands it runs, and
// returns what it prints.
func walk(t *testing.T, script string, pages ...string) string {
	t.Helper()
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
	api, admin, wecom := storetest.FreeAddr(t), storetest.FreeAddr(t), storetest.FreeAddr(t)
	folder := t.TempDir()
	withPorts := func(text, name string) string {
		text = strings.NewReplacer("127.0.0.1:8080", api, "127.0.0.1:9090", admin, "127.0.0.1:8090", wecom).Replace(text)
		text = regexp.MustCompile(`(?m)^replygate simulate`).ReplaceAllString(text, "$0 --listen "+wecom)
		text = regexp.MustCompile(`(?m)^replygate (explain|windows) .*$`).ReplaceAllString(text, "$0 --admin http://"+admin)
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	text := contents(t, script)
	for _, page := range pages {
		if !strings.Contains(text, " "+page) {
			t.Fatalf("%s does not run the commands of %s", script, page)
		}
		text = strings.ReplaceAll(text, " "+page, " "+withPorts(contents(t, "../../"+page), filepath.Base(page)))
	}
	walk := exec.CommandContext(t.Context(), "bash", withPorts(text, "walk.sh"), repository)
	walk.Env = append(os.Environ(), "REPLYGATE_LISTEN_API="+api, "REPLYGATE_LISTEN_ADMIN="+admin,
		"CGO_ENABLED=0", "GOFLAGS=-trimpath") // as TestDockerfile builds, so that most of it is in the cache
	out, err := walk.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("what a newcomer sees:\n%s", out)
	if _, left, found := strings.Cut(string(out), "git status --short\n"); !found || left != "set +v\n" {
		t.Errorf("the walk leaves in the clone:\n%s", left)
	}
	return string(out)
}

// inOrder fails unless the texts come one after the other.
func inOrder(t *testing.T, seen string, texts ...string) {
	t.Helper()
	rest := seen
	for _, want := range texts {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, or comes too early, in:\n%s", want, seen)
		}
		rest = after
	}
}

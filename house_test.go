package replygate_test

import (
	"bufio"
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/config"
	"replygate/gate"
	"replygate/store/storetest"
)

// may says what each package may import of ours. Imports run one way; config is everybody's.
var may = map[string][]string{
	"config":          {},
	"store":           {"config"},
	"record":          {},
	"store/storetest": {"config", "store"},
	"window":          {"record", "store"},
	"wecom":           {},
	"wecom/wecomtest": {"wecom"},
	"backfill":        {"config", "record", "store", "wecom", "window"},
	"account":         {"config", "record", "store"},
	"contacts":        {"config", "account", "wecom", "record"},
	"policy":          {"config", "account", "wecom", "window"},
	"calls":           {"store"},
	"gate":            {"config", "account", "policy", "wecom", "window"},
	"ruletest":        {"config", "account", "gate", "policy", "store", "wecom", "window"},
	"rehearsal":       {"account", "calls", "gate", "policy", "wecom"},
	"events":          {"config", "account", "contacts", "record", "window"},
	"outbox":          {"account", "config", "events", "policy", "record"},
	"trace":           {"config", "record"},
	"trace/tracetest": {},
	"replay":          {"config", "gate", "policy", "wecom", "window"},
	"http1":           {},
	"upstream":        {"config", "http1"},
	"proxy":           {"config", "account", "calls", "gate", "http1", "policy", "record", "trace", "upstream", "wecom", "window", "contacts"},
	"admin":           {"config", "account", "calls", "contacts", "events", "gate", "outbox", "policy", "record", "rehearsal", "replay", "wecom", "window", "backfill"},
	"cmd/replygate":   {"backfill", "config", "record", "store", "window", "wecom", "wecom/wecomtest", "account", "contacts", "policy", "gate", "ruletest", "replay", "proxy", "upstream", "admin", "calls", "rehearsal", "console", "events", "outbox", "trace"},
	"console":         {"config"},
	"bench":           {},

	"internal/lineartest":  {},
	"internal/openapitest": {"admin"},
	"internal/recordtest":  {"record"},
}

// packages parses the non-test files of every package, by folder.
func packages(t *testing.T, visit func(dir, file string, imports []string, comment string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".work") {
			return fs.SkipDir
		}
		if d.IsDir() && path != "." {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil { // a module of its own
				return fs.SkipDir
			}
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, i := range f.Imports {
			imports = append(imports, strings.Trim(i.Path.Value, `"`))
		}
		visit(filepath.ToSlash(filepath.Dir(path)), path, imports, f.Doc.Text())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsRunOneWay(t *testing.T) {
	packages(t, func(dir, file string, imports []string, _ string) {
		allowed, known := may[dir]
		if !known {
			t.Errorf("%s: the house has no folder %s: name it in house_test.go", file, dir)
		}
		for _, i := range imports {
			if ours, ok := strings.CutPrefix(i, "replygate/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which lies the other way", file, ours)
			}
		}
	})
}

// Every package says what it is, and what it does not do.
func TestPackageComments(t *testing.T) {
	comments := map[string]string{}
	packages(t, func(dir, _ string, _ []string, comment string) { comments[dir] += comment })
	for dir, comment := range comments {
		first := "Package " + filepath.Base(dir)
		if strings.HasPrefix(dir, "cmd/") || dir == "bench" {
			first = "Command " + filepath.Base(dir)
		}
		if !strings.HasPrefix(comment, first+" ") {
			t.Errorf("%s: the package comment does not begin with %q", dir, first)
		}
		if !regexp.MustCompile(`\b(not|nothing|no|cannot|never)\b`).MatchString(comment) {
			t.Errorf("%s: the package comment does not say what the package does not do", dir)
		}
	}
}

// snippet is one fenced block of a page.
type snippet struct {
	page string
	line int
	kind string
	text string
}

func snippets(t *testing.T) []snippet {
	t.Helper()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	for _, page := range append(pages, "README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var open *snippet
		for i, line := range strings.Split(string(data), "\n") {
			switch kind, fence := strings.CutPrefix(line, "```"); {
			case fence && open == nil:
				open = &snippet{page: page, line: i + 1, kind: kind}
			case fence:
				all = append(all, *open)
				open = nil
			case open != nil:
				open.text += line + "\n"
			}
		}
		if open != nil {
			t.Errorf("%s:%d: a block is not closed", page, open.line)
		}
	}
	return all
}

// Every YAML block of the docs is a configuration that opens nothing unawares; where it has no
// accounts, one is added.
func TestDocsConfigurations(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "x")
	n := 0
	check := func(name, text string) {
		n++
		if !strings.Contains(text, "accounts:\n") {
			text += "\naccounts: [{ corp_id: ww0123456789abcdef }]\n"
		}
		c, err := config.Parse(name, []byte(text))
		var g gate.Gate
		if err == nil {
			g, err = gate.New(name, c)
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, w := range g.Warnings(name, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)) {
			t.Error(w)
		}
	}
	for _, s := range snippets(t) {
		if s.kind == "yaml" {
			check(fmt.Sprintf("%s:%d", s.page, s.line), s.text)
		}
	}
	example, err := os.ReadFile("replygate.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	check("replygate.example.yaml", string(example))
	if n < 5 {
		t.Errorf("only %d configurations were found", n)
	}
}

// docs/configuration.md shows every key, with its default.
func TestDocsShowEveryDefault(t *testing.T) {
	for _, s := range snippets(t) {
		if s.page != "docs/configuration.md" || !strings.Contains(s.text, "shutdown:") {
			continue
		}
		shown, err := config.Parse(s.page, []byte(s.text))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := config.Parse("plain", []byte("accounts: [{ corp_id: ww1 }]"))
		if err != nil {
			t.Fatal(err)
		}
		shown.Accounts, plain.Accounts = nil, nil
		shown.Callbacks, shown.Admin.Peers, shown.Events = nil, nil, config.Events{}
		shown.Traces.Endpoint, shown.Traces.Headers = "", nil
		if a, b := withoutPositions(*shown), withoutPositions(*plain); a != b {
			t.Errorf("the page shows\n%s\nthe defaults are\n%s", a, b)
		}
		for _, key := range config.Keys() {
			if name := key[strings.LastIndexByte(key, '.')+1:]; !strings.Contains(s.text, name+":") {
				t.Errorf("the page lacks %s", key)
			}
		}
		return
	}
	t.Fatal("docs/configuration.md has no block with all defaults")
}

func withoutPositions(c config.Config) string {
	data, err := yaml.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Every shell block of the docs runs beside a demo, and so do the commands that the demo prints.
// Those of docs/zh are not run: TestChinesePages shows that they are these, but for comments.
func TestDocsCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the commands of the docs take a minute")
	}
	storetest.Need(t, "curl")
	storetest.Need(t, "redis-cli")
	bin := t.TempDir()
	run(t, ".", nil, "go build -o "+bin+"/replygate ./cmd/replygate")
	told, ports := demo(t, bin+"/replygate")
	blocks := asWalks(snippets(t))
	blocks = append(blocks, snippet{page: "the output of the demo", kind: "sh", text: told})
	n := 0
	for _, s := range blocks {
		if s.kind != "sh" {
			continue
		}
		n++
		t.Run(fmt.Sprintf("%s:%d", filepath.Base(s.page), s.line), func(t *testing.T) {
			text := ports.Replace(s.text)
			text = regexp.MustCompile(`(?m)^replygate (windows|accounts) .*$`).ReplaceAllString(text, "$0 --admin http://"+ports.Replace("127.0.0.1:9090"))
			out := run(t, t.TempDir(), []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, text)
			if s.line == 0 && !(strings.Contains(out, "Replygate-Verdict: pass") && strings.Contains(out, "Replygate-Verdict: refuse")) {
				t.Errorf("what the demo says to try shows no pass, or no refusal:\n%s", out)
			}
		})
	}
	if n < 5 {
		t.Errorf("only %d shell blocks were found", n)
	}
}

// asWalks joins the shell blocks of a page in which each one continues the one before.
func asWalks(blocks []snippet) (all []snippet) {
	for _, s := range blocks {
		last := len(all) - 1
		if s.kind == "sh" && (s.page == "docs/changing-rules.md" || s.page == "docs/contacts.md") && last >= 0 && all[last].page == s.page && all[last].kind == "sh" {
			all[last].text += s.text
			continue
		}
		all = append(all, s)
	}
	return all
}

// demo starts the demo. It returns the commands that it prints, and a replacer of the default ports
// by the ones in use.
func demo(t *testing.T, program string) (told string, ports *strings.Replacer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // t.Context ends before the clean-up
	cmd := exec.CommandContext(ctx, program, "demo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo, told to stop: %v", err)
		}
		cancel()
	})
	lines := bufio.NewScanner(out)
	playing := false
	for lines.Scan() {
		line := lines.Text()
		playing = playing || strings.HasPrefix(line, "The demo stays up")
		if playing && strings.HasPrefix(line, "  ") {
			told += strings.TrimPrefix(line, "  ") + "\n"
		}
		if strings.Contains(line, "redis-cli") {
			break // the last line
		}
	}
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(told)
		if m == nil {
			t.Fatalf("the demo does not say %s:\n%s", pattern, told)
		}
		return m[1]
	}
	return told, strings.NewReplacer(
		"127.0.0.1:8080", find(`'http://([0-9.:]+)/cgi-bin/gettoken`),
		"127.0.0.1:8090", find(`http://([0-9.:]+)/simulator/customer-writes`),
		"127.0.0.1:9090", find(`http://([0-9.:]+)/metrics`),
		"-p 6379", "-p "+find(`redis-cli -h 127.0.0.1 -p (\d+)`),
	)
}

func run(t *testing.T, dir string, env []string, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // a script that failed may have left something running that holds its output
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // all that it left
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// The compose file keeps its promises: a Redis that loses nothing, a password, loopback alone, keys
// for the admin listener, files that can be replaced, a place for the state.
func TestComposeFile(t *testing.T) {
	data, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Services map[string]struct {
			Command     []string
			Ports       []string
			Volumes     []string
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	redis, gateway := strings.Join(f.Services["redis"].Command, " "), f.Services["replygate"]
	for _, want := range []string{"--appendonly yes", "--maxmemory-policy noeviction", "--requirepass ${REDIS_PASSWORD:?"} {
		if !strings.Contains(redis, want) {
			t.Errorf("redis is started without %s", want)
		}
	}
	if len(f.Services) != 2 {
		t.Errorf("%d services", len(f.Services))
	}
	for name, s := range f.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s is published at %s", name, p)
			}
		}
	}
	for _, port := range []string{"8080", "8081", "9090"} {
		if !slices.Contains(gateway.Ports, "127.0.0.1:"+port+":"+port) {
			t.Errorf("port %s is not published", port)
		}
	}
	for _, volume := range []string{"./conf:/etc/replygate:ro", "state:/data"} {
		if !slices.Contains(gateway.Volumes, volume) {
			t.Errorf("%s is not mounted", volume)
		}
	}
	for _, key := range []string{"READ", "CHANGE", "METRICS"} {
		if name := "REPLYGATE_ADMIN_" + key + "_KEY"; !strings.HasPrefix(gateway.Environment[name], "${"+name+":?") {
			t.Errorf("it starts without %s", name)
		}
	}
	if at := gateway.Environment["REPLYGATE_LISTEN_ADMIN"]; at != "0.0.0.0:9090" {
		t.Errorf("the admin listener is at %s", at)
	}
}

// The image is built by the command of the Dockerfile, runs as nobody, knows its version and all
// time zones, and starts and checks what it says.
func TestDockerfile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the image's build takes minutes without a cache")
	}
	data, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	build := regexp.MustCompile(`RUN (CGO_ENABLED=0 go build .*) -o /out/replygate (\./cmd/replygate)`).FindStringSubmatch(text)
	if build == nil || !strings.Contains(text, "\nUSER 65532:65532\n") || !strings.Contains(text, `ENTRYPOINT ["/replygate"]`) {
		t.Fatal("the Dockerfile does not build, or does not run as nobody")
	}
	bin := filepath.Join(t.TempDir(), "replygate")
	run(t, ".", []string{"VERSION=v1.2.3-image"}, build[1]+" -o "+bin+" "+build[2])
	file := filepath.Join(t.TempDir(), "replygate.yaml")
	if err := os.WriteFile(file, []byte("accounts: [{ corp_id: ww1 }]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, t.TempDir(), nil, bin+" check -c "+file)
	if out := run(t, ".", nil, bin+" version"); !strings.HasPrefix(out, "replygate v1.2.3-image, go") {
		t.Errorf("the version is %s", out)
	}
	if deps := run(t, ".", nil, "go list -deps "+build[2]); !strings.Contains(deps, "\ntime/tzdata\n") {
		t.Error("the image has no time zones")
	}
	if !strings.Contains(text, `HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["/replygate", "health"]`) {
		t.Error("the image has no health check")
	}
	if out := run(t, ".", nil, bin+" health --admin http://127.0.0.1:1 2>&1 || true"); !strings.HasPrefix(out, "no gateway answers at ") {
		t.Errorf("the health check says %s", out)
	}
}

// The targets of the Makefile are those that CONTRIBUTING.md names.
func TestMakefile(t *testing.T) {
	read := func(file, pattern string) (found []string) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			found = append(found, m[1])
		}
		slices.Sort(found)
		return found
	}
	targets, named := read("Makefile", `(?m)^([a-z]+):`), read("CONTRIBUTING.md", "(?m)^\\| `make ([a-z]+)` \\|")
	if len(targets) < 9 || !slices.Equal(targets, named) {
		t.Errorf("the Makefile has %v, CONTRIBUTING.md names %v", targets, named)
	}
}

// CI fuzzes every target but those of the end-to-end suite, which start gateways.
func TestEveryFuzzTargetRuns(t *testing.T) {
	data, err := os.ReadFile(".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range written(t, ".go") {
		dir := filepath.ToSlash(filepath.Dir(file))
		if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(dir, "cmd/") {
			continue
		}
		for _, id := range declared(t, file) {
			if !strings.HasPrefix(id.Name, "Fuzz") {
				continue
			}
			n++
			if target := dir + ":" + id.Name; !regexp.MustCompile(`\b` + target + `\b`).Match(data) {
				t.Errorf(".ci/run does not fuzz %s", target)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d fuzz targets were found", n)
	}
}

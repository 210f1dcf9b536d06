package replygate_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"replygate/store/storetest"
)

var update = flag.Bool("update", false, "write the generated files anew")

// productMetrics are the names of the metrics that the code registers: string constants that are
// such a name as a whole.
func productMetrics(t *testing.T) map[string]bool {
	t.Helper()
	whole, names := regexp.MustCompile(`^replygate_[a-z0-9_]+$`), map[string]bool{}
	packages(t, func(_, file string, _ []string, _ string) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if name, err := strconv.Unquote(lit.Value); err == nil && whole.MatchString(name) {
					names[name] = true
				}
			}
			return true
		})
	})
	if len(names) < 30 {
		t.Fatalf("only %d metrics were found", len(names))
	}
	return names
}

// docs/metrics.md has a line for each metric, and no others.
func TestEveryMetricIsDocumented(t *testing.T) {
	product, documented := productMetrics(t), map[string]bool{}
	for _, line := range lines(t, "docs/metrics.md") {
		if m := regexp.MustCompile("^\\| `(replygate_[a-z0-9_]+)` \\| (counter|gauge|histogram) \\|").FindStringSubmatch(line); m != nil {
			if documented[m[1]] {
				t.Errorf("docs/metrics.md has two lines for %s", m[1])
			}
			documented[m[1]] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(product)) {
		if !documented[name] {
			t.Errorf("docs/metrics.md has no line for %s: add one to a table there", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !product[name] {
			t.Errorf("docs/metrics.md has a line for %s, which is no metric of the gateway", name)
		}
	}
}

// Every metric that alerts, dashboards, pages and pictures name exists.
func TestNamedMetricsExist(t *testing.T) {
	product, named := productMetrics(t), regexp.MustCompile(`\breplygate_[a-z0-9]+(_[a-z0-9]+)*\b`)
	files := slices.DeleteFunc(written(t, ".md", ".yaml", ".json", ".svg"), func(file string) bool {
		return !strings.HasPrefix(file, "deploy/") && !strings.HasPrefix(file, "docs/") || strings.HasPrefix(file, "docs/decisions/")
	})
	for _, file := range files {
		for i, line := range lines(t, file) {
			for _, name := range named.FindAllString(line, -1) {
				if base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !product[name] && !product[base] {
					t.Errorf("%s:%d: there is no metric %s", file, i+1, name)
				}
			}
		}
	}
}

// alertRules are the alerts of a file of Prometheus's rules.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert       string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// Every alert fires in a test case, is on the page of metrics, and says what it means, what to do
// and where to read on.
func TestAlerts(t *testing.T) {
	var rules alertRules
	readYAML(t, "deploy/prometheus/alerts.yaml", &rules)
	cases := strings.Join(lines(t, "deploy/prometheus/alerts_test.yaml"), "\n")
	page := strings.Join(lines(t, "docs/metrics.md"), "\n")
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if !strings.Contains(cases, `{ labels: '{alertname="`+r.Alert+`"}', value: 1 }`) {
				t.Errorf("%s fires in no case of alerts_test.yaml", r.Alert)
			}
			if !regexp.MustCompile(`\b` + r.Alert + `\b`).MatchString(page) {
				t.Errorf("%s is not on docs/metrics.md", r.Alert)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s has the severity %q", r.Alert, r.Labels["severity"])
			}
			for _, key := range []string{"summary", "action"} {
				if r.Annotations[key] == "" {
					t.Errorf("%s has no %s", r.Alert, key)
				}
			}
			if at := r.Annotations["runbook"]; !headingExists(at) {
				t.Errorf("%s names %q, which is no heading of a page", r.Alert, at)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d alerts were found", n)
	}
	promtool(t, nil, "check", "rules", "deploy/prometheus/alerts.yaml")
	promtool(t, nil, "test", "rules", "deploy/prometheus/alerts_test.yaml")
}

// headingExists tells whether a link PAGE or PAGE#HEADING leads somewhere.
func headingExists(link string) bool {
	page, anchor, _ := strings.Cut(link, "#")
	data, err := os.ReadFile(page)
	if err != nil || anchor == "" {
		return err == nil
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(data), -1) {
		words := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(words, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// promtool runs Prometheus's tool.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), storetest.Need(t, "promtool"), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// The dashboards of deploy/grafana/dashboards.yaml, of which Grafana's files are made.
type (
	dashboard struct {
		File  string
		Title text
		Rows  []struct {
			Title  text
			Panels []panel
		}
	}
	panel struct {
		Title, Help text
		Kind        string // timeseries by default, or stat
		Alarm       string // of a stat: low (0 is red), or high (1 and more is red)
		Unit        string
		Queries     map[string]string // legend -> expression
	}
	text map[string]string // by language
)

var languages = []string{"en", "zh"}

// Grafana's files are those of dashboards.yaml, every panel has a title in each language, and
// Prometheus can read every expression.
func TestDashboards(t *testing.T) {
	var boards []dashboard
	readYAML(t, "deploy/grafana/dashboards.yaml", &boards)
	var rules []map[string]string
	for _, b := range boards {
		for _, language := range languages {
			file := fmt.Sprintf("deploy/grafana/%s.%s.json", b.File, language)
			made, err := json.MarshalIndent(b.grafana(t, language), "", " ")
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, '\n')
			if *update {
				if err := os.WriteFile(file, made, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, made) {
				t.Errorf("%s is not made of dashboards.yaml: go test . -run TestDashboards -update (%v)", file, err)
			}
		}
		for _, row := range b.Rows {
			for _, p := range row.Panels {
				for _, expr := range p.Queries {
					expr = strings.NewReplacer("$instance", ".*", "$__rate_interval", "5m").Replace(expr)
					rules = append(rules, map[string]string{"record": fmt.Sprintf("%s:panel%d", b.File, len(rules)), "expr": expr})
				}
			}
		}
	}
	if files, _ := filepath.Glob("deploy/grafana/*.json"); len(boards) < 2 || len(files) != len(boards)*len(languages) || len(rules) < 30 {
		t.Errorf("%d dashboards, %d files, %d expressions", len(boards), len(files), len(rules))
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	data, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", file)
}

// grafana is the dashboard as Grafana imports it.
func (b dashboard) grafana(t *testing.T, language string) map[string]any {
	t.Helper()
	in := func(s text, what string) string {
		for _, l := range languages {
			if s[l] == "" {
				t.Errorf("%s: a %s has no text in %s: %v", b.File, what, l, s)
			}
		}
		return s[language]
	}
	datasource := map[string]any{"type": "prometheus", "uid": "${datasource}"}
	var panels []any
	id, y := 0, 0
	add := func(kind, title string, x, width, height int, more map[string]any) {
		id++
		p := map[string]any{"id": id, "type": kind, "title": title, "gridPos": map[string]int{"x": x, "y": y, "w": width, "h": height}}
		maps.Copy(p, more)
		panels = append(panels, p)
	}
	for _, row := range b.Rows {
		add("row", in(row.Title, "row"), 0, 24, 1, nil)
		y++
		x, high := 0, 0
		for _, p := range row.Panels {
			kind, width, height := "timeseries", 8, 8
			if p.Kind == "stat" {
				kind, width, height = "stat", 4, 4
			}
			if x+width > 24 {
				x, y, high = 0, y+high, 0
			}
			more := map[string]any{"datasource": datasource, "targets": p.targets(), "fieldConfig": map[string]any{"defaults": p.defaults(t)}}
			if p.Help != nil {
				more["description"] = in(p.Help, "help")
			}
			if len(p.Queries) == 0 || p.Kind != "" && p.Kind != "stat" {
				t.Errorf("%s: the panel %s has no query, or the kind %q", b.File, p.Title, p.Kind)
			}
			add(kind, in(p.Title, "panel"), x, width, height, more)
			x, high = x+width, max(high, height)
		}
		y += high
	}
	all := map[string]any{"text": "All", "value": "$__all"}
	return map[string]any{
		"uid": "replygate-" + b.File + "-" + language, "title": in(b.Title, "dashboard"), "tags": []string{"replygate"},
		"schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s", "timezone": "browser",
		"time":   map[string]string{"from": "now-6h", "to": "now"},
		"panels": panels,
		"templating": map[string]any{"list": []any{
			map[string]any{"name": "datasource", "type": "datasource", "query": "prometheus"},
			map[string]any{
				"name": "instance", "type": "query", "datasource": datasource, "query": "label_values(replygate_build_info, instance)",
				"refresh": 2, "multi": true, "includeAll": true, "allValue": ".*", "current": all,
			},
		}},
	}
}

func (p panel) targets() (all []any) {
	for i, legend := range slices.Sorted(maps.Keys(p.Queries)) {
		all = append(all, map[string]any{"refId": string(rune('A' + i)), "legendFormat": legend, "expr": p.Queries[legend]})
	}
	return all
}

// defaults are the unit of a panel and the colours of a stat.
func (p panel) defaults(t *testing.T) map[string]any {
	t.Helper()
	d := map[string]any{"unit": p.Unit}
	if p.Unit == "" {
		d["unit"] = "short"
	}
	steps, known := map[string][]any{
		"":     nil,
		"low":  {map[string]any{"color": "red", "value": nil}, map[string]any{"color": "green", "value": 1}},
		"high": {map[string]any{"color": "green", "value": nil}, map[string]any{"color": "red", "value": 1}},
	}[p.Alarm]
	if !known {
		t.Errorf("%s: alarm is %q, not low or high", p.Title, p.Alarm)
	}
	if steps != nil {
		d["thresholds"] = map[string]any{"mode": "absolute", "steps": steps}
	}
	return d
}

package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"replygate/store/storetest"
)

// scrape makes calls of several kinds and returns /metrics.
func scrape(t *testing.T) string {
	t.Helper()
	r := newRig(t, storetest.Embedded(t), nil)
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	r.reply("wmOther", "refuse", "window_closed")
	return string(r.adminCall("GET", "/metrics", "").body)
}

// Prometheus's own linter finds nothing wrong with the metrics.
func TestMetricsAreWellNamed(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), storetest.Need(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// docs/metrics.md tells the type and the labels of each metric that a running gateway shows.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics, compared := scrape(t), 0
	for _, row := range regexp.MustCompile("(?m)^\\| `(replygate_\\w+)` \\| (\\w+) \\|([a-z_, ]*)\\|").FindAllStringSubmatch(string(page), -1) {
		name, kind, told := row[1], row[2], splitLabels(row[3])
		shown := regexp.MustCompile(`(?m)^# TYPE ` + name + ` (\w+)$`).FindStringSubmatch(metrics)
		series := regexp.MustCompile(`(?m)^` + name + `(?:_bucket)?(?:\{(.*)\})? `).FindStringSubmatch(metrics)
		if shown == nil || series == nil {
			continue // nothing was counted yet
		}
		compared++
		var labels []string
		for _, m := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(series[1], -1) {
			if m[1] != "le" {
				labels = append(labels, m[1])
			}
		}
		slices.Sort(labels)
		if shown[1] != kind || !slices.Equal(labels, told) {
			t.Errorf("%s is a %s with the labels %v, the page says %s with %v", name, shown[1], labels, kind, told)
		}
	}
	if compared < 25 {
		t.Errorf("only %d metrics were compared", compared)
	}
}

func splitLabels(cell string) (names []string) {
	for name := range strings.SplitSeq(cell, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

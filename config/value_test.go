package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"replygate/config"
)

func TestDurationErrors(t *testing.T) {
	for value, want := range map[string]string{
		"30":       `f:2:22: a duration needs a unit: write 30s, 30m or 30h`,
		"1.5":      `f:2:22: a duration needs a unit: write 1.5s, 1.5m or 1.5h`,
		"-5":       `f:2:22: "-5" is not a duration: write one like 500ms, 30s or 48h`,
		"inf":      `f:2:22: "inf" is not a duration: write one like 500ms, 30s or 48h`,
		"NaN":      `f:2:22: "NaN" is not a duration: write one like 500ms, 30s or 48h`,
		"1e3":      `f:2:22: "1e3" is not a duration: write one like 500ms, 30s or 48h`,
		"2d":       `f:2:22: "2d" is not a duration: write one like 500ms, 30s or 48h`,
		"5 s":      `f:2:22: "5 s" is not a duration: write one like 500ms, 30s or 48h`,
		"-5s":      `f:2:22: a duration cannot be negative`,
		"300000h":  "",
		"3000000h": `f:2:22: "3000000h" is not a duration: write one like 500ms, 30s or 48h`,
	} {
		if got := parseError(oneAccount + "upstream: { timeout: " + value + " }\n"); got != want {
			t.Errorf("%s\n got %s\nwant %s", value, got, want)
		}
	}
}

func TestSecretsPrintAsStars(t *testing.T) {
	s := struct{ Key config.Secret }{"hush"}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	all := string(data)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.Key) + fmt.Sprintf(verb, &s)
	}
	if strings.Contains(all, "hush") || strings.Contains(all, "68757368") {
		t.Errorf("a secret shows: %s", all)
	}
}

package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// Series by account exist only as far as the operator allows them.
func TestPerAccountMetrics(t *testing.T) {
	ends := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		allowed int
		want    string
	}{
		{0, ""},
		{2, `{corp_id="wwFirst"} 1.7908128e+09`},
		{3, `{corp_id="wwFirst"} 1.7908128e+09 {corp_id="wwThird"} 1.790856e+09`},
	} {
		r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
			c.Metrics.PerAccount = test.allowed
			c.Accounts = []config.Account{
				{CorpID: "wwFirst", Subscription: &config.Subscription{ExpiresAt: ends}},
				{CorpID: "wwNever"},
				{CorpID: "wwThird", Subscription: &config.Subscription{ExpiresAt: ends, Grace: 12 * time.Hour}},
			}
		})
		metrics := string(r.adminCall("GET", "/metrics", "").body)
		series := regexp.MustCompile(`(?m)^replygate_account_lapse_timestamp_seconds(\{.*)$`).FindAllStringSubmatch(metrics, -1)
		var got []string
		for _, s := range series {
			got = append(got, s[1])
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("per_account %d: %q, want %q", test.allowed, got, test.want)
		}
	}
}

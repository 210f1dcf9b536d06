package config_test

import (
	"testing"

	"replygate/config"
)

func TestHostNames(t *testing.T) {
	for host, want := range map[string]string{
		"Acme.Gateway.Internal":       "acme.gateway.internal",
		"acme.gateway.internal:8080":  "acme.gateway.internal",
		"acme.gateway.internal:":      "acme.gateway.internal",
		"acme.gateway.internal.":      "acme.gateway.internal",
		"acme.gateway.internal.:8080": "acme.gateway.internal",
		"10.0.0.1:80":                 "10.0.0.1",
		"[::1]:8080":                  "::1",
		"[FE80::1]":                   "fe80::1",
		"::1":                         "::1",
		"http://acme":                 "http://acme",
		"acme:eighty":                 "acme:eighty",
		"":                            "",
	} {
		if got := config.HostName(host); got != want {
			t.Errorf("HostName(%q) = %q, want %q", host, got, want)
		}
	}
}

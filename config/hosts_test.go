package config_test

import (
	"testing"

	"replygate/config"
)

func TestHostNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"acme.gateway.internal":       "acme.gateway.internal",
		"Acme.Gateway.Internal":       "acme.gateway.internal",
		"acme.gateway.internal:8080":  "acme.gateway.internal",
		"acme.gateway.internal:":      "acme.gateway.internal",
		"acme.gateway.internal.":      "acme.gateway.internal",
		"acme.gateway.internal.:8080": "acme.gateway.internal",
		"ACME.:80":                    "acme",
		"10.0.0.1:80":                 "10.0.0.1",
		"[::1]":                       "::1",
		"[::1]:":                      "::1",
		"[::1]:8080":                  "::1",
		"[FE80::1]":                   "fe80::1",
		"::1":                         "::1",
		"":                            "",
		".":                           "",
		":80":                         "",
		// What is no host stays as it is, so that it equals none.
		"http://acme": "http://acme",
		"acme:eighty": "acme:eighty",
		"acme:80:80":  "acme:80:80",
		"acme..":      "acme.",
		"[::1]x":      "[::1]x",
		"[::1":        "[::1",
		"[::1]80":     "[::1]80",
	} {
		if got := config.HostName(host); got != want {
			t.Errorf("HostName(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:80":          true,
		"127.255.0.9:80":        true,
		"[::1]:80":              true,
		"localhost:80":          true,
		"[::ffff:127.0.0.1]:80": true,
		"0.0.0.0:80":            false,
		":80":                   false,
		"[::]:80":               false,
		"10.0.0.1:80":           false,
		"128.0.0.1:80":          false,
		"localhost.:80":         false,
		"127.0.0.1.nip.io:80":   false,
		"gateway.internal:80":   false,
		"127.0.0.1":             false, // not an address
		"":                      false,
	} {
		if got := config.Loopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestLocalHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "localhost:9090": true, "127.0.0.1": true, "[::1]": true, "[::1]:9090": true,
		"": false, "localhost.example": false, "10.0.0.1:9090": false, "127.0.0.1.nip.io": false,
	} {
		if got := config.LocalHost(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

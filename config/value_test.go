package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"replygate/config"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"0":         0,
		"0s":        0,
		"500ms":     500 * time.Millisecond,
		"1500ms":    1500 * time.Millisecond,
		"1.5s":      1500 * time.Millisecond,
		"+3s":       3 * time.Second,
		"1m30s":     90 * time.Second,
		"48h":       48 * time.Hour,
		"1h0m0.5s":  time.Hour + 500*time.Millisecond,
		"250us":     250 * time.Microsecond,
		"2562047h":  2562047 * time.Hour, // about the longest that there is
		"'100ms'":   100 * time.Millisecond,
		"1000000ns": time.Millisecond,
	} {
		file := "accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-10-01T00:00:00Z, grace: " + value + " } }]\n"
		if got := parse(t, file).Accounts[0].Subscription.Grace; got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}

func TestDurationErrors(t *testing.T) {
	t.Parallel()
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

func TestSizes(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]config.Size{
		"65536B":       64 << 10,
		"64KB":         64 << 10,
		"64 KB":        64 << 10,
		"1MB":          1 << 20,
		"1024KB":       1 << 20,
		"2GB":          2 << 30,
		"'3GB'":        3 << 30,
		"0100KB":       100 << 10,
		"68719476736B": 64 << 30,
	} {
		if got := parse(t, oneAccount+"journal: { max_bytes: "+value+" }\n").Journal.MaxBytes; got != want {
			t.Errorf("%s: %d, want %d", value, got, want)
		}
	}
	for _, value := range []string{
		"1048576", "1 M", "1M", "1mb", "1Mb", "1MiB", "1.5MB", "-1MB", "MB", "B", " ", "1MB1", "0x10KB", "1_000KB",
		"9223372036854775808B", "9007199254740992KB", "8589934592GB", "∞GB",
	} {
		want := fmt.Sprintf("f:2:23: %q is not a size: write one like 64KB, 1MB or 2GB", value)
		if got := parseError(oneAccount + fmt.Sprintf("journal: { max_bytes: %q }\n", value)); got != want {
			t.Errorf("%s\n got %s\nwant %s", value, got, want)
		}
	}
}

// What String writes is read as the same size.
func TestSizeString(t *testing.T) {
	t.Parallel()
	for size, want := range map[config.Size]string{
		0: "0B", 1: "1B", 1023: "1023B", 1024: "1KB", 1025: "1025B", 1536: "1536B", 10 << 10: "10KB", 1<<20 - 1024: "1023KB",
		1 << 20: "1MB", 1536 << 10: "1536KB", 1 << 30: "1GB", 1025 << 20: "1025MB", 5 << 40: "5120GB", -1: "-1B",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d: %s, want %s", size, got, want)
		}
		if size < 64<<10 || size > 64<<30 {
			continue // out of the bounds of journal.max_bytes
		}
		if got := parse(t, oneAccount+"journal: { max_bytes: "+want+" }\n").Journal.MaxBytes; got != size {
			t.Errorf("%s is read as %d", want, got)
		}
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	file := func(value string) string {
		return "accounts: [{ corp_id: ww1, subscription: { expires_at: " + value + " } }]\n"
	}
	for value, want := range map[string]string{
		"2026-10-01T00:00:00+08:00":   "2026-09-30T16:00:00Z",
		"2026-10-01T00:00:00Z":        "2026-10-01T00:00:00Z",
		"'2026-10-01T00:00:00-00:30'": "2026-10-01T00:30:00Z",
		"2026-10-01T00:00:00.25Z":     "2026-10-01T00:00:00.25Z",
		"2028-02-29T00:00:00Z":        "2028-02-29T00:00:00Z",
	} {
		got := parse(t, file(value)).Accounts[0].Subscription.ExpiresAt
		if got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
	const other = "write one with its zone, like 2026-10-01T00:00:00+08:00"
	for value, remedy := range map[string]string{
		"2026-10-01":                "write 2026-10-01T00:00:00+08:00, the beginning of that day in China",
		"2026-10-01T00:00:00":       "write 2026-10-01T00:00:00+08:00 if that is the time in China",
		"2026-10-01 00:00:00+08:00": "write 2026-10-01T00:00:00+08:00",
		"2026-10-01T00:00:00+0800":  "write 2026-10-01T00:00:00+08:00",
		"2026/1/2 3:04:05.5 -0330":  "write 2026-01-02T03:04:05.5-03:30",
		"2026年1月2日 3:04Z":           "write 2026-01-02T03:04:00Z",
		"2026/1/2 +09":              "write 2026-01-02T00:00:00+09:00, the beginning of that day",
		"2027-02-29T00:00:00Z":      other,
		"2026-10-01T24:00:00Z":      other,
		"2026-13-01T00:00:00Z":      other,
		"1790812800":                other,
		"soon":                      other,
	} {
		want := fmt.Sprintf("f:1:56: %q is not an instant: %s", value, remedy)
		if got := parseError(file(value)); got != want {
			t.Errorf("%s\n got %s\nwant %s", value, got, want)
		}
	}
}

// A secret shows in no format, however deep it is.
func TestSecretsPrintAsStars(t *testing.T) {
	t.Parallel()
	const secret = "hush-7f"
	c := parse(t, oneAccount+"redis: { password: "+secret+" }\nadmin: { read_key: "+secret+" }\n")
	printed := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%-3v", "%T %[1]v"} {
		printed[verb] = fmt.Sprintf(verb, c.Redis.Password)
		printed[verb+" in a struct"] = fmt.Sprintf(verb, c.Redis)
		printed[verb+" in a pointer"] = fmt.Sprintf(verb, &c.Admin)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed["JSON"], printed["YAML"] = string(asJSON), string(asYAML)
	printed["an error"] = fmt.Errorf("key %s", c.Redis.Password).Error()
	for how, text := range printed {
		for _, leak := range []string{secret, "hush", fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
			if strings.Contains(text, leak) {
				t.Errorf("a secret shows as %s: %s", how, text)
			}
		}
		if !strings.Contains(text, "***") {
			t.Errorf("no secret shows as %s: %s", how, text)
		}
	}
	if got := c.Redis.Password.Reveal(); got != secret {
		t.Error(got)
	}
	if got := fmt.Sprintf("%v|%s|%q", config.Secret(""), config.Secret(""), config.Secret("")); got != "||" {
		t.Errorf("an empty secret prints as %s", got)
	}
}

// Every secret of a configuration is known to the redactor.
func TestSecrets(t *testing.T) {
	t.Parallel()
	c := parse(t, expand(`
admin: { read_key: s-read, change_key: s-change, metrics_key: s-metrics }
upstream: { proxy: 'http://s:p@proxy:1' }
redis: { password: s-redis, sentinel_password: s-sentinel, username: not-secret }
log: { ids_key: s-ids }
accounts: [{ corp_id: ww1, secrets: { contact: s-contact, kf: [s-kf-one, s-kf-two] } }]
callbacks:
  - { path: /a, token: s-token-a, encoding_aes_key: KEY, receive_ids: [ww1] }
  - { path: /b, token: s-token-b, encoding_aes_key: KEY, receive_ids: [ww1] }
`))
	got := c.Secrets()
	slices.Sort(got)
	want := []string{
		"http://s:p@proxy:1", expand("KEY"), expand("KEY"), "s-change", "s-contact", "s-ids", "s-kf-one", "s-kf-two", "s-metrics", "s-read", "s-redis", "s-sentinel", "s-token-a", "s-token-b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if none := parse(t, oneAccount).Secrets(); len(none) != 0 {
		t.Errorf("without secrets: %q", none)
	}
}

func TestCertPool(t *testing.T) {
	t.Parallel()
	if pool, err := config.CertPool(""); pool != nil || err != nil {
		t.Errorf("%v, %v", pool, err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct{ content, want string }{
		"good.pem":    {certificate, ""},
		"two.pem":     {"a comment\n" + certificate + certificate, ""},
		"empty.pem":   {"", "PATH holds no PEM certificate"},
		"text.pem":    {"a certificate", "PATH holds no PEM certificate"},
		"cut.pem":     {certificate[:200], "PATH holds no PEM certificate"},
		"long.pem":    {certificate + strings.Repeat("# a comment\n", 400_000), "read PATH: it is larger than 4MB"},
		"missing.pem": {"-", "open PATH: no such file or directory"},
	} {
		path := filepath.Join(dir, name)
		if c.content != "-" {
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pool, err := config.CertPool(path)
		if want := strings.ReplaceAll(c.want, "PATH", path); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if (pool == nil) != (err != nil) {
			t.Errorf("%s: pool %v with error %v", name, pool, err)
		}
	}
}

// A certificate and its key are read within the same bound.
func TestKeyPair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short := write("short.pem", certificate)
	long := write("long.pem", certificate+strings.Repeat("# a comment\n", 400_000))
	for want, pair := range map[string]config.TLS{
		"read " + long + ": it is larger than 4MB":                                  {CertFile: short, KeyFile: long},
		"open " + dir + "/none.pem: no such file or directory":                      {CertFile: dir + "/none.pem", KeyFile: long},
		"tls: found a certificate rather than a key in the PEM for the private key": {CertFile: short, KeyFile: short},
	} {
		if _, err := pair.KeyPair(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := (config.TLS{CertFile: long, KeyFile: short}).KeyPair(); err == nil || !strings.Contains(err.Error(), "larger than 4MB") {
		t.Errorf("a long certificate: %v", err)
	}
}

// certificate is self-signed, for the name test.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUYo35/nbpshZH1V3aDHgRmEDqQzgwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkxODQyNThaGA8yMTI2MTEwNTE4NDI1
OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPTo
rqmQ6gsLXrEaZnwC9ob/rKjOgTv8pBKVuO9rWYFQriChT3eql0mMM8bSYKneRu6A
mty8OCmxkOo1pPNgy6qjUzBRMB0GA1UdDgQWBBSTmtGnO7GaS5iU0V9qCmWokkWR
3jAfBgNVHSMEGDAWgBSTmtGnO7GaS5iU0V9qCmWokkWR3jAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDy1XyHb8MwMRGa9UCaHq/AjfIRWrIy9fhx
fwK7QqKGGAIgS4zS6yJ22S6Ny41IwIbuLQRqM3baGpe3xbsCKSWadsw=
-----END CERTIFICATE-----
`

// A fraction is written as a percent, and read as what it prints.
func TestFractions(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]config.Fraction{"0%": 0, "1%": 0.01, "0.1%": 0.001, "0.0001%": 0.000001, "12.5%": 0.125, "100%": 1, "100.0%": 1} {
		got := parse(t, oneAccount+"traces: { sample: "+value+" }\n").Traces.Sample
		if got != want {
			t.Errorf("%s: %v, want %v", value, float64(got), float64(want))
		}
		if again := parse(t, oneAccount+"traces: { sample: "+got.String()+" }\n").Traces.Sample; again != got {
			t.Errorf("%s prints as %s", value, got)
		}
	}
	for _, value := range []string{"1", "0.01", "101%", "100.1%", "-1%", "1 %", "%", "1e1%", ".5%", "0.00001%", "NaN%", "1％"} {
		if got := parseError(oneAccount + fmt.Sprintf("traces: { sample: %q }\n", value)); !strings.Contains(got, "is not a percent: ") {
			t.Errorf("%s: %s", value, got)
		}
	}
}

// Headers for the collector, and their parts that are secret by themselves, are among the secrets.
func TestTraceHeaders(t *testing.T) {
	t.Parallel()
	c := parse(t, oneAccount+"traces: { headers: ['Authorization: Bearer the-key', 'X-Key:other-key'] }\n")
	secrets := c.Secrets()
	for _, want := range []string{"Authorization: Bearer the-key", "Bearer the-key", "the-key", "other-key"} {
		if !slices.Contains(secrets, want) {
			t.Errorf("%q is not among %q", want, secrets)
		}
	}
	for _, bad := range []string{"", "X", "X:", "X: ", ": v", "X Y: v", "X: a\nY: b", "X: \x7f", "content-type: a", "Host: a"} {
		if _, _, ok := config.TraceHeader(config.Secret(bad)); ok {
			t.Errorf("%q passes", bad)
		}
	}
}

package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Secret is a string that prints as *** in every form; Reveal returns its text.
type Secret string

// Reveal returns the secret's text.
func (s Secret) Reveal() string { return string(s) }

// Format prints *** whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// MarshalText returns what String returns, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxCertificate bounds a file of certificates or a key: the bundle of a system has 220 KB.
const maxCertificate = 4 << 20

// KeyPair reads a certificate and its key, both PEM.
func (t TLS) KeyPair() (tls.Certificate, error) {
	certificate, err := read(t.CertFile, maxCertificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := read(t.KeyFile, maxCertificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, key)
}

// CertPool reads the PEM certificates of a ca_file. For an empty name it returns nil, which stands
// for the system's pool.
func CertPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := read(file, maxCertificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// Secrets returns all secrets of the configuration that are not empty, for redaction.
func (c *Config) Secrets() []string {
	var all []string
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[Secret]():
			if s := v.Interface().(Secret); s != "" {
				all = append(all, s.Reveal())
			}
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(*c))
	return append(all, c.Traces.tokens()...)
}

// Word is a string with its position in the file.
type Word struct {
	Text string
	At   Position
}

// Size is a number of bytes.
type Size int64

// Percent is a part of a whole, from 1 to 100.
type Percent int

// String writes the percent with its sign.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// MarshalText returns what String returns, for JSON and YAML.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// parsePercent parses a percent with its sign.
func parsePercent(s string) (Percent, error) {
	digits, sign := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(digits)
	if !sign || err != nil || digits != strconv.Itoa(n) || n < 1 || n > 100 {
		return 0, fmt.Errorf("%q is not a percent: write 1%% to 100%%, like 90%%", s)
	}
	return Percent(n), nil
}

// Fraction is a part of a whole, from 0 to 1. It is written as a percent: 0%, 0.1%, 100%.
type Fraction float64

// String writes the fraction as a percent.
func (f Fraction) String() string {
	return strconv.FormatFloat(math.Round(float64(f)*1e6)/1e4, 'f', -1, 64) + "%"
}

// MarshalText returns what String returns, for JSON and YAML.
func (f Fraction) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

var percent = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,4})?%$`)

// parseFraction parses a percent with up to four decimals.
func parseFraction(s string) (Fraction, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if !percent.MatchString(s) || err != nil || n > 100 {
		return 0, fmt.Errorf("%q is not a percent: write 0%% to 100%%, like 1%% or 0.1%%", s)
	}
	return Fraction(n / 100), nil
}

// plainNumber matches a duration without its unit.
var plainNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// parseDuration parses a duration with its unit, as time.ParseDuration, but not a negative one.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && s == "0":
		return 0, nil
	case err == nil && d < 0:
		return 0, errors.New("a duration cannot be negative")
	case err == nil:
		return d, nil
	}
	if plainNumber.MatchString(s) {
		return 0, fmt.Errorf("a duration needs a unit: write %ss, %sm or %sh", s, s, s)
	}
	return 0, fmt.Errorf("%q is not a duration: write one like 500ms, 30s or 48h", s)
}

// parseSize parses a size with its unit; KB, MB and GB are powers of 1,024.
func parseSize(s string) (Size, error) {
	units := []struct {
		suffix string
		bytes  int64
	}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1}}
	for _, u := range units {
		number, found := strings.CutSuffix(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size: write one like 64KB, 1MB or 2GB", s)
}

// String formats the size with the largest unit that divides it.
func (s Size) String() string {
	switch {
	case s > 0 && s%(1<<30) == 0:
		return fmt.Sprintf("%dGB", s>>30)
	case s > 0 && s%(1<<20) == 0:
		return fmt.Sprintf("%dMB", s>>20)
	case s > 0 && s%(1<<10) == 0:
		return fmt.Sprintf("%dKB", s>>10)
	}
	return fmt.Sprintf("%dB", int64(s))
}

// parseTime parses an instant in RFC 3339, which includes the zone.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err == nil {
		return t, nil
	}
	remedy := "write one with its zone, like 2026-10-01T00:00:00+08:00"
	if meant, ok := otherTime(s); ok {
		remedy = "write " + meant
	}
	return time.Time{}, fmt.Errorf("%q is not an instant: %s", s, remedy)
}

// commonTime matches instants as spreadsheets and people write them: the year, month and day first,
// then the time and the zone if they are given.
var commonTime = regexp.MustCompile(`^(\d{4})(?:([-/.]) ?(\d{1,2})([-/.]) ?(\d{1,2})|年 ?(\d{1,2}) ?月 ?(\d{1,2}) ?[日号]|(\d\d)(\d\d))` +
	`(?:[T ]? ?(\d{1,2})[:时](\d\d)(?:[:分](\d\d)?(\.\d+)?秒?)?)? ?(?:(Z)|(?:UTC|GMT)?([+-])(\d{1,2}):?(\d\d)?)?$`)

// otherTime converts an instant in another notation to RFC 3339, with a comment where a time or
// zone was missing. It takes the zone of China for a missing one.
func otherTime(s string) (string, bool) {
	m := commonTime.FindStringSubmatch(strings.TrimSpace(narrow(s)))
	if m == nil || m[2] != m[4] {
		return "", false
	}
	zone := "+08:00"
	switch {
	case m[14] != "":
		zone = "Z"
	case m[15] != "":
		zone = fmt.Sprintf("%s%02s:%02s", m[15], m[16], cmp.Or(m[17], "00"))
	}
	text := fmt.Sprintf("%s-%02s-%02sT%02s:%02s:%02s%s%s", m[1], m[3]+m[6]+m[8], m[5]+m[7]+m[9],
		cmp.Or(m[10], "00"), cmp.Or(m[11], "00"), cmp.Or(m[12], "00"), m[13], zone)
	if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
		return "", false
	}
	given, zoned := m[10] != "", m[14]+m[15] != ""
	switch {
	case !given && !zoned:
		text += ", the beginning of that day in China"
	case !given:
		text += ", the beginning of that day"
	case !zoned:
		text += " if that is the time in China"
	}
	return text, true
}

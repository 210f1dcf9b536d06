package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

const (
	maxSinks   = 50 // webhooks and robots
	maxSigning = 4  // secrets of a webhook
)

var sinkName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// events checks who is told of events. Which types there are is not known here.
func (v validator) events(c *Config) {
	names := map[string]bool{}
	if n := len(c.Events.Webhooks) + len(c.Events.Robots); n > maxSinks {
		v.report("events", fmt.Sprintf("events has %d webhooks and robots", n), fmt.Sprintf("give at most %d", maxSinks))
	}
	for i := range c.Events.Webhooks {
		w, path := &c.Events.Webhooks[i], fmt.Sprintf("events.webhooks[%d]", i)
		v.sink(c, path, w.Name, w.Accounts, names)
		v.webhookURL(path+".url", w.URL)
		v.signing(path+".secrets", w.Secrets)
	}
	for i := range c.Events.Robots {
		r, path := &c.Events.Robots[i], fmt.Sprintf("events.robots[%d]", i)
		v.sink(c, path, r.Name, r.Accounts, names)
		if r.Key == "" || strings.ContainsFunc(r.Key.Reveal(), func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("/?&=#", c) }) {
			v.report(path+".key", path+".key is not the key of a robot", "take what follows key= in the robot's webhook URL, or name a file with it as key_file")
		}
		if !v.given(path + ".language") {
			r.Language = Chinese
		}
		v.oneOf(path+".language", r.Language, English, Chinese)
	}
}

// sink checks what webhooks and robots have in common.
func (v validator) sink(c *Config, path, name string, accounts []string, names map[string]bool) {
	switch {
	case !sinkName.MatchString(name):
		v.report(path+".name", fmt.Sprintf("%s.name cannot be %q", path, name), "write 1 to 32 letters, digits and _ -")
	case names[name]:
		v.report(path+".name", fmt.Sprintf("%s.name: %s is the name of another webhook or robot", path, name), "give each a name of its own")
	}
	names[name] = true
	var corps []string
	for _, a := range c.Accounts {
		corps = append(corps, a.CorpID)
	}
	for i, corp := range accounts {
		if !slices.Contains(corps, corp) {
			v.report(fmt.Sprintf("%s.accounts[%d]", path, i), fmt.Sprintf("no account has the corp_id %q", corp), widthRemedy(corp, DidYouMean(corp, corps)))
		}
	}
}

// webhookURL checks the URL of a webhook. Events have ids of customers, so they travel in the clear
// within this machine only. An address that is link-local is refused here, a name when it is
// resolved.
func (v validator) webhookURL(path, value string) {
	u := httpURL(value)
	switch {
	case u == nil:
		v.report(path, path+" is not a URL", "write https://, a host and a path, like https://crm.example.com/replygate")
	case u.User != nil, u.Fragment != "":
		v.report(path, path+" has a user or a fragment", "leave them out: the signature tells the receiver who calls")
	case u.Scheme == "http" && !Loopback(net.JoinHostPort(u.Hostname(), "0")):
		v.report(path, path+" is not https", "write https://; http:// is for receivers on this machine, at a loopback address")
	default:
		if ip := net.ParseIP(u.Hostname()); ip != nil && (ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()) {
			v.report(path, path+" has an address that no receiver has", "write that of the receiver: link-local addresses are refused")
		}
	}
}

// signing checks the secrets of a webhook, as Standard Webhooks 1.0.0 writes them.
func (v validator) signing(path string, secrets []Secret) {
	const remedy = `write whsec_ and the base64 of 24 to 64 random bytes, as this prints: echo "whsec_$(openssl rand -base64 32)"`
	if len(secrets) == 0 {
		v.report(path, path+" is missing", "name a file with one secret a line as secrets_file; "+remedy)
	}
	if len(secrets) > maxSigning {
		v.report(path, fmt.Sprintf("%s has %d secrets", path, len(secrets)), "keep the new one, and the one before it while receivers change over")
	}
	for i, s := range secrets {
		if _, ok := SigningKey(s); !ok {
			v.report(fmt.Sprintf("%s[%d]", path, i), "a secret of a webhook is not one", remedy)
		}
	}
}

// SigningKey returns the bytes of a webhook's secret.
func SigningKey(s Secret) (key []byte, ok bool) {
	text, named := strings.CutPrefix(s.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	return key, named && err == nil && len(key) >= 24 && len(key) <= 64
}

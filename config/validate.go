package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validate checks well-formed values against their bounds and against each other.
func validate(c *Config, d *decoder) {
	if !d.bounded() {
		return
	}
	v := validator{d}
	v.listen(c)
	v.admin(c)
	v.upstream(c)
	v.redis(c)
	v.journal(c)
	v.window(c)
	v.accounts(c)
	v.callbacks(c)
	v.clients(c)
	v.unknownToken(c)
	v.oneOf("unlisted_account", c.UnlistedAccount, Refuse, Pass)
	v.policy(c)
	v.meter(c)
	v.metrics(c)
	v.limits(c)
	v.log(c)
	v.shutdown(c)
	v.console(c)
	v.events(c)
	v.traces(c)
	v.sameFiles(c)
}

// maxUnsureWait bounds policy.unsure_wait. Few HTTP clients wait longer than ten seconds.
const maxUnsureWait = 10 * time.Second

type validator struct{ d *decoder }

// report adds a mistake at a key, or at the nearest key above it that the file has.
func (v validator) report(path, what, remedy string) {
	for !v.given(path) && strings.Contains(path, ".") {
		path = path[:strings.LastIndexByte(path, '.')]
	}
	v.d.report(v.d.where[path], what, remedy)
}

func (v validator) oneOf(path, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.report(path, fmt.Sprintf("%s cannot be %q", path, value), DidYouMean(value, known))
	}
}

// given reports whether the file, a secret's file or the environment sets a key.
func (v validator) given(path string) bool {
	_, ok := v.d.where[path]
	return ok
}

func (v validator) listen(c *Config) {
	v.address("listen.api", c.Listen.API)
	v.address("listen.admin", c.Listen.Admin)
	v.distinct("listen.admin", c.Listen.Admin, "listen.api", c.Listen.API)
	if len(c.Callbacks) > 0 {
		v.address("listen.callback", c.Listen.Callback)
		v.distinct("listen.callback", c.Listen.Callback, "listen.api", c.Listen.API)
		v.distinct("listen.callback", c.Listen.Callback, "listen.admin", c.Listen.Admin)
	}
	v.keyPair(c.Listen.TLS)
}

func (v validator) keyPair(t TLS) {
	if t.CertFile == "" && t.KeyFile == "" {
		return
	}
	if t.CertFile == "" || t.KeyFile == "" {
		v.report("listen.tls", "listen.tls has only one of cert_file and key_file", "give both, or none for plain HTTP")
		return
	}
	if _, err := t.KeyPair(); err != nil {
		v.report("listen.tls", fmt.Sprintf("listen.tls: %v", err), "name a certificate and its key, both PEM, that the gateway can read")
	}
}

func (v validator) admin(c *Config) {
	keys := c.Admin.ReadKey != "" && c.Admin.ChangeKey != "" && c.Admin.MetricsKey != ""
	if !Loopback(c.Listen.Admin) && !keys {
		v.report("listen.admin", "listen.admin is reachable from other machines without keys",
			"use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key")
	}
	for i, peer := range c.Admin.Peers {
		v.peer(c, i, peer)
	}
}

// maxPeers bounds the gateways that one request asks.
const maxPeers = 64

func (v validator) peer(c *Config, i int, peer string) {
	path := v.itemPath("admin.peers", i)
	host, port, err := net.SplitHostPort(peer)
	switch {
	case !isAddress(peer), err != nil, host == "", port == "0":
		v.report(path, fmt.Sprintf("admin.peers[%d]: %q is not an address", i, peer), widthRemedy(peer, "write host:port of a gateway's admin listener, like 10.1.0.12:9090"))
	case slices.Contains(c.Admin.Peers[:i], peer):
		v.report(path, fmt.Sprintf("admin.peers[%d] is in the list already", i), "keep one of them")
	case i == maxPeers:
		v.report(path, fmt.Sprintf("admin.peers has more than %d gateways", maxPeers), "list fewer")
	}
}

// distinct reports two listeners on the same address.
func (v validator) distinct(path, address, otherPath, other string) {
	if address == other && !strings.HasSuffix(address, ":0") {
		v.report(path, path+" is the same address as "+otherPath, "give it a port of its own")
	}
}

func (v validator) certificates(path, file string) {
	if _, err := CertPool(file); err != nil {
		v.report(path, fmt.Sprintf("%s: %v", path, err), "name a PEM file with the certificates to trust, or leave it out for the system's")
	}
}

func (v validator) address(path, value string) {
	if !isAddress(value) {
		v.report(path, fmt.Sprintf("%s: %q is not an address", path, value), widthRemedy(value, "write host:port, like 127.0.0.1:8080"))
	}
}

// isAddress reports whether s is host:port with a numeric port; the host may be empty.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, "/ ") {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

// Loopback reports whether only this machine can reach an address, host:port. A name other than
// localhost does not count, whatever it resolves to.
func Loopback(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err == nil && LocalHost(address)
}

// LocalHost reports whether the Host of a request, with or without a port, is localhost or a
// loopback address.
func LocalHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v validator) upstream(c *Config) {
	u := httpURL(c.Upstream.URL)
	switch {
	case u == nil:
		v.report("upstream.url", fmt.Sprintf("upstream.url: %q is not a URL", c.Upstream.URL), "write http:// or https:// and a host, like https://qyapi.weixin.qq.com")
	case hasPath(u), hasExtras(u):
		v.report("upstream.url", "upstream.url has more than a host", "leave out path, query and user: the API paths are at its root")
	}
	v.certificates("upstream.ca_file", c.Upstream.CAFile)
	if c.Upstream.Proxy != "" && !isProxyURL(c.Upstream.Proxy.Reveal()) {
		v.report("upstream.proxy", "upstream.proxy is not the URL of a proxy", "write http:// with host and port, and user:password@ before the host if it requires them")
	}
	v.atLeast("upstream.timeout", c.Upstream.Timeout, 100*time.Millisecond)
}

// httpURL parses an http or https URL with a host; nil if s is not one.
func httpURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// hasPath reports whether a URL has a path other than "/".
func hasPath(u *url.URL) bool { return u.Path != "" && u.Path != "/" }

// hasExtras reports whether a URL has a query, a user or a fragment.
func hasExtras(u *url.URL) bool { return u.RawQuery != "" || u.User != nil || u.Fragment != "" }

// isProxyURL reports whether s is http://[user:password@]host:port.
func isProxyURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "http" && u.Port() != "" && !hasPath(u)
}

func (v validator) atLeast(path string, value, least time.Duration) {
	if value < least {
		v.report(path, fmt.Sprintf("%s cannot be %s", path, value), "it must be at least "+least.String())
	}
}

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,32}$`)

func (v validator) redis(c *Config) {
	r := c.Redis
	v.oneOf("redis.mode", r.Mode, RedisEmbedded, RedisSingle, RedisSentinel, RedisCluster)
	v.certificates("redis.ca_file", r.CAFile)
	v.atLeast("redis.timeout", r.Timeout, 10*time.Millisecond)
	if !prefixPattern.MatchString(r.Prefix) {
		v.report("redis.prefix", fmt.Sprintf("redis.prefix cannot be %q", r.Prefix), "use 1 to 32 letters, digits and _ . : -")
	}
	if r.Mode == RedisEmbedded {
		v.embeddedRedis(r)
		return
	}
	for i, a := range r.Addrs {
		v.address(fmt.Sprintf("redis.addrs[%d]", i), a)
	}
	switch {
	case r.Mode == RedisSingle && len(r.Addrs) != 1:
		v.report("redis.addrs", "redis.mode single takes one address", "for several write mode: sentinel or cluster")
	case r.Mode == RedisSentinel && r.MasterName == "":
		v.report("redis.master_name", "redis.master_name is missing", "name the master as in sentinel.conf, often mymaster")
	case r.Mode == RedisCluster && r.DB != 0:
		v.report("redis.db", "a Cluster has no databases", "leave redis.db out")
	}
}

func (v validator) embeddedRedis(r Redis) {
	if r.Snapshot == "" {
		v.report("redis.snapshot", "redis.snapshot is empty", "name a file: embedded windows would not survive a restart")
	}
	if r.Listen != "" && !Loopback(r.Listen) {
		v.report("redis.listen", "redis.listen must be a loopback address", "the embedded Redis has no password; write 127.0.0.1:6379")
	}
}

func (v validator) journal(c *Config) {
	if c.Journal.Path == "" {
		v.report("journal.path", "journal.path is empty", "name a file: without it an outage of Redis loses customers' messages")
	}
}

func (v validator) window(c *Config) {
	v.atLeast("window.length", c.Window.Length, time.Second)
	v.oneOf("window.observe", c.Window.Observe, ObserveAll, ObserveJudged)
	if c.Window.Replies < 0 || c.Window.Replies > 1000 {
		v.report("window.replies", fmt.Sprintf("window.replies cannot be %d", c.Window.Replies), "write 0 (not counted) to 1000; WeCom's own limit is 5")
	}
}

var corpPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (v validator) accounts(c *Config) {
	if len(c.Accounts) == 0 && c.AccountsFile == "" && !v.given("accounts") {
		v.d.report(Position{}, "accounts is missing", "list your companies: accounts: [{corp_id: ww…}]")
		return
	}
	first := map[string]Word{}
	hosts, channels := map[string]Position{}, map[string]Position{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		path := fmt.Sprintf("accounts[%d]", i)
		if a.CorpID == "" {
			v.d.report(a.At, path+" has no corp_id", "add the id that WeCom shows under My Company, ww…")
			continue
		}
		v.corpID(a, path+".corp_id", first)
		v.subscription(a, path)
		v.contacts(a, path)
		v.secrets(a, path)
		v.hosts(a, path, hosts)
		v.channels(a, path, channels)
	}
}

// corpID checks a corp id. first holds the id and position of each seen so far, in lower case.
func (v validator) corpID(a *Account, path string, first map[string]Word) {
	if !corpPattern.MatchString(a.CorpID) {
		v.report(path, fmt.Sprintf("%q is not a corp id", a.CorpID), widthRemedy(a.CorpID, "it is letters and digits, ww… or wx…"))
	}
	folded := strings.ToLower(a.CorpID)
	switch other, seen := first[folded]; {
	case seen && other.Text == a.CorpID:
		v.report(path, fmt.Sprintf("corp_id %s is given twice", a.CorpID), fmt.Sprintf("it is already in line %d%s; keep one", other.At.Line, inFile(other.At.File)))
	case seen:
		v.report(path, fmt.Sprintf("corp_id %s differs from %s in line %d%s only in letter case", a.CorpID, other.Text, other.At.Line, inFile(other.At.File)),
			"keep the one that WeCom shows under My Company: letter case matters")
	}
	first[folded] = Word{Text: a.CorpID, At: v.d.where[path]}
}

// inFile names the file of a position that is not in the configuration itself.
func inFile(file string) string {
	if file == "" {
		return ""
	}
	return " of " + file
}

func (v validator) subscription(a *Account, path string) {
	s := a.Subscription
	switch {
	case s == nil:
	case bool(s.Never) && (v.given(path+".subscription.expires_at") || v.given(path+".subscription.grace")): // of a CSV
		v.report(path+".subscription", "an account without a subscription has an end of it", "leave subscription empty, or expires_at and grace")
	case !bool(s.Never) && !v.given(path+".subscription.expires_at"):
		v.report(path+".subscription", "subscription has no expires_at",
			"give its end, like expires_at: 2026-10-01T00:00:00+08:00, or write subscription: none for an account that never had one")
	}
}

// contacts also fills in the default of contacts.free, which exists only in accounts with contacts.
func (v validator) contacts(a *Account, path string) {
	if a.Contacts == nil {
		return
	}
	if !v.given(path + ".contacts.free") {
		a.Contacts.Free = DefaultContactsFree
	}
	n := a.Contacts
	switch {
	case n.Free < 0, n.Total != nil && *n.Total < 0:
		v.report(path+".contacts", "a number of contacts is negative", "write 0 or more")
	case n.Purchased != nil && *n.Purchased < 1:
		v.report(path+".contacts.purchased", fmt.Sprintf("contacts.purchased cannot be %d", *n.Purchased), "write the limit that WeCom's console shows, or leave it out")
	case n.Total == nil && !n.CountedAt.IsZero():
		v.report(path+".contacts.counted_at", "contacts.counted_at has no contacts.total", "give the number that was counted then, or leave counted_at out")
	}
}

func (v validator) secrets(a *Account, path string) {
	const remedy = "take the secret of an app that may call customer contact from WeCom's console"
	switch text := a.Secrets.Contact.Reveal(); {
	case text == "" && v.given(path+".secrets.contact"):
		v.report(path+".secrets.contact", "secrets.contact is empty", remedy+", or leave it out")
	case strings.ContainsFunc(text, notOfWeCom):
		v.report(path+".secrets.contact", "secrets.contact has a blank or a character that WeCom's secrets never have", remedy)
	}
	v.kfSecrets(a.Secrets.Kf, path+".secrets.kf")
}

// notOfWeCom reports whether a character is in no secret or token of WeCom.
func notOfWeCom(r rune) bool { return r <= ' ' || r > '~' }

// kfSecrets reports secrets that cannot be WeCom's. No message quotes one.
func (v validator) kfSecrets(secrets []Secret, path string) {
	const remedy = "take the secret of an app that may call WeChat Customer Service from WeCom's console"
	for i, s := range secrets {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch text := s.Reveal(); {
		case text == "":
			v.report(at, "a secret of secrets.kf is empty", remedy)
		case strings.ContainsFunc(text, notOfWeCom):
			v.report(at, "a secret of secrets.kf has a blank or a character that WeCom's secrets never have", remedy+"; a file has one a line, and nothing else")
		case slices.Contains(secrets[:i], s):
			v.report(at, "a secret of secrets.kf is given twice", "keep one")
		}
	}
}

func (v validator) meter(c *Config) {
	const least, most = 10 * time.Minute, 48 * time.Hour
	if c.Meter.Every < least || c.Meter.Every > most {
		v.report("meter.every", fmt.Sprintf("meter.every cannot be %s", c.Meter.Every), "write 10m to 48h: a count is used for three times as long")
	}
}

// maxPerAccount bounds metrics.per_account: each account is a series of each such metric.
const maxPerAccount = 10_000

func (v validator) metrics(c *Config) {
	if n := c.Metrics.PerAccount; n < 0 || n > maxPerAccount {
		v.report("metrics.per_account", fmt.Sprintf("metrics.per_account cannot be %d", n), fmt.Sprintf("write for how many accounts /metrics has series of their own, at most %d; 0: for none", maxPerAccount))
	}
}

var (
	callbackPath = regexp.MustCompile(`^/[A-Za-z0-9_./-]*$`)
	aesKey       = regexp.MustCompile(`^[A-Za-z0-9+/]{43}$`)
)

func (v validator) callbacks(c *Config) {
	first := map[string]Position{}
	for i, cb := range c.Callbacks {
		path := fmt.Sprintf("callbacks[%d]", i)
		v.callbackPath(cb.Path, path+".path", first)
		const remedy = "take it from the callback's page in WeCom's console, or name a file as token_file"
		switch token := cb.Token.Reveal(); {
		case token == "":
			v.report(path+".token", path+".token is missing", remedy)
		case strings.ContainsFunc(token, notOfWeCom):
			v.report(path+".token", path+".token has a blank or a character that WeCom's tokens never have", remedy)
		}
		if !aesKey.MatchString(cb.EncodingAESKey.Reveal()) {
			v.report(path+".encoding_aes_key", path+".encoding_aes_key is not an EncodingAESKey", "it is 43 letters and digits, on the callback's page in WeCom's console")
		}
		if len(cb.ReceiveIDs) == 0 {
			v.report(path+".receive_ids", path+".receive_ids is missing", `list the corp id of an own app, the suite id and provider's corp id of a third party's, or "" for a robot`)
		}
		v.receiveIDs(path+".receive_ids", cb.ReceiveIDs, c.Accounts)
		v.forwardTo(path+".forward_to", cb.ForwardTo)
	}
}

// receiveIDs reports an id that differs from an account's corp id only in letter case. Other
// unknown ids may be those of suites and providers.
func (v validator) receiveIDs(path string, ids []string, accounts []Account) {
	for i, id := range ids {
		sameCorp := func(a Account) bool { return a.CorpID == id }
		foldedCorp := func(a Account) bool { return strings.EqualFold(a.CorpID, id) }
		if near := slices.IndexFunc(accounts, foldedCorp); near >= 0 && !slices.ContainsFunc(accounts, sameCorp) {
			v.report(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%s differs from the corp id %s only in letter case", id, accounts[near].CorpID), "write it as the account has it: letter case matters")
		}
	}
}

func (v validator) callbackPath(value, path string, first map[string]Position) {
	hasOddSegment := strings.Contains(value, "//") || strings.Contains(value, "/.")
	if !callbackPath.MatchString(value) || hasOddSegment {
		v.report(path, fmt.Sprintf("%s cannot be %q", path, value), "write the path of the URL that WeCom's console has, like /callback/acme")
	}
	if at, twice := first[value]; twice {
		v.report(path, fmt.Sprintf("callback %s is given twice", value), fmt.Sprintf("it is already in line %d; give each a path of its own", at.Line))
	}
	first[value] = v.d.where[path]
}

func (v validator) clients(c *Config) {
	first := map[string]bool{UnknownClient: true}
	for i, cl := range c.Clients {
		path := fmt.Sprintf("clients[%d]", i)
		if cl.Name == "" || first[cl.Name] {
			v.report(path+".name", fmt.Sprintf("%s.name cannot be %q", path, cl.Name), "give each client a name of its own; unknown is the name of callers that match none")
		}
		first[cl.Name] = true
		v.clientConditions(cl, path)
		for j, n := range cl.Networks {
			v.network(fmt.Sprintf("%s.networks[%d]", path, j), n)
		}
	}
}

func (v validator) clientConditions(cl Client, path string) {
	halfHeader := (cl.Header == "") != (cl.Contains == "")
	nothing := cl.Header == "" && len(cl.Networks) == 0
	if halfHeader || nothing {
		v.report(path, path+" does not describe a caller", "give header with contains, or networks, or all three")
	}
	if strings.ContainsFunc(cl.Header, notTokenChar) {
		v.report(path+".header", fmt.Sprintf("no header can be called %q", cl.Header), "write a name without spaces and colons, like User-Agent")
	}
}

func (v validator) network(path, value string) {
	switch p, err := netip.ParsePrefix(value); {
	case err != nil:
		v.report(path, fmt.Sprintf("%q is not a network", value), widthRemedy(value, "write an address and a length, like 10.1.0.0/16"))
	case p.Addr().Is4In6():
		v.report(path, fmt.Sprintf("no caller is in %s", value), "IPv4 callers have IPv4 addresses here: write the network as IPv4, like 10.1.0.0/16")
	}
}

// notTokenChar reports whether a header's name cannot contain r (RFC 9110, 5.6.2).
func notTokenChar(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func (v validator) forwardTo(path, value string) {
	if value == "" {
		return
	}
	u := httpURL(value)
	switch {
	case u == nil:
		v.report(path, path+" is not a URL", "write http:// or https://, a host and a path, like http://127.0.0.1:9000/wecom")
	case hasExtras(u):
		v.report(path, path+" has more than a host and a path", "leave out query, user and fragment: the query comes from WeCom")
	}
}

func (v validator) unknownToken(c *Config) {
	actions := []string{Auto, Reauthenticate, Refuse, Pass}
	var corps []string
	for _, a := range c.Accounts {
		corps = append(corps, a.CorpID)
	}
	known := slices.Concat(actions, corps)
	if slices.Contains(known, c.UnknownToken) {
		return
	}
	remedy := "write " + or(actions) + ", or the corp_id of an account: " + listing(c.UnknownToken, corps)
	if near := Nearest(c.UnknownToken, known); len(near) > 0 {
		remedy = "did you mean " + or(near) + "?"
	}
	v.report("unknown_token", fmt.Sprintf("unknown_token cannot be %q", c.UnknownToken), widthRemedy(c.UnknownToken, remedy))
}

func (v validator) policy(c *Config) {
	v.oneOf("policy.mode", c.Policy.Mode, Enforce, Shadow)
	v.oneOf("policy.on_unsure", c.Policy.OnUnsure, Busy, Pass)
	v.oneOf("policy.cold_start", c.Policy.ColdStart, Pass, Refuse)
	v.oneOf("policy.language", c.Policy.Language, English, Chinese)
	if c.Policy.UnsureWait > maxUnsureWait {
		v.report("policy.unsure_wait", fmt.Sprintf("policy.unsure_wait cannot be %s", c.Policy.UnsureWait),
			fmt.Sprintf("write 0s (not at all) to %s: the client of a bot must still be waiting for the answer when it ends", maxUnsureWait))
	}
}

func (v validator) limits(c *Config) {
	for _, l := range []struct {
		path        string
		value       Size
		least, most Size
	}{
		{"journal.max_bytes", c.Journal.MaxBytes, 64 << 10, 64 << 30},
		{"limits.judged_body", c.Limits.JudgedBody, 1 << 10, 64 << 20},
		{"limits.streamed_body", c.Limits.StreamedBody, 1 << 10, 16 << 30},
		{"limits.read_answer", c.Limits.ReadAnswer, 64 << 10, 1 << 30},
	} {
		if l.value < l.least || l.value > l.most {
			v.report(l.path, fmt.Sprintf("%s cannot be %s", l.path, l.value), fmt.Sprintf("write %s to %s", l.least, l.most))
		}
	}
}

func (v validator) log(c *Config) {
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "json", "console")
	v.oneOf("log.ids", c.Log.IDs, Plain, Hashed)
	if c.Log.IDs == Hashed && len(c.Log.IDsKey) < 16 {
		v.report("log.ids", "log.ids is hashed without a key", "give log.ids_key, or a file as log.ids_key_file, at least 16 characters: without a key the ids can be recovered by guessing")
	}
	if c.Log.Decisions == "" {
		v.report("log.decisions", "log.decisions is empty", "write stdout, or the name of a file")
	}
	if size := c.Log.MaxSize; size < 1<<20 || size > 64<<30 || size%(1<<20) != 0 {
		v.report("log.max_size", fmt.Sprintf("log.max_size cannot be %s", size), "write whole megabytes, 1MB to 64GB, like 100MB")
	}
	if n := c.Log.MaxFiles; n < 0 || n > 10_000 {
		v.report("log.max_files", fmt.Sprintf("log.max_files cannot be %d", n), "write how many rotated files to keep, 1 to 10000, or 0 for all")
	}
}

func (v validator) shutdown(c *Config) {
	if c.Shutdown.Grace < c.Shutdown.LameDuck {
		v.report("shutdown.grace", "shutdown.grace is shorter than shutdown.lame_duck", "grace counts from the signal: make it the longer one, like 8s")
	}
}

func (v validator) console(c *Config) {
	v.oneOf("console.index", c.Console.Index, IndexWaiting, IndexAll)
	if c.Console.Origin != "" {
		v.origin(c.Console.Origin)
	}
	if _, err := time.LoadLocation(c.Console.Timezone); err != nil || c.Console.Timezone == "" {
		v.report("console.timezone", fmt.Sprintf("console.timezone: no time zone is called %q", c.Console.Timezone), "write a name of the IANA time zone database, like Asia/Shanghai or UTC")
	}
	const least, most = time.Minute, 7 * 24 * time.Hour
	if c.Console.Session < least || c.Console.Session > most {
		v.report("console.session", fmt.Sprintf("console.session cannot be %s", c.Console.Session), "write 1m to 168h")
	}
}

// origin checks console.origin. Over plain HTTP the cookies of a console could be read on the way,
// so that is for loopback addresses only.
func (v validator) origin(value string) {
	switch u := httpURL(value); {
	case u == nil, u.Path != "", hasExtras(u), u.Scheme+"://"+u.Host != value:
		v.report("console.origin", fmt.Sprintf("console.origin: %q is not an origin", value), "write the scheme, host and port that browsers use, without a path, like https://replygate.example.com")
	case u.Scheme == "http" && !Loopback(net.JoinHostPort(u.Hostname(), "0")):
		v.report("console.origin", "console.origin is not https", "let the proxy before the console speak TLS: its cookie must not travel in the clear")
	}
}

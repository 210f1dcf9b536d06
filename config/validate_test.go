package config_test

import "testing"

// Addresses and certificates of the listeners.
func TestValidateListen(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`listen: { api: '127.0.0.1:0', callback: '127.0.0.1:0', admin: '127.0.0.1:0' }`, ""},
		{`listen: { api: ':8080' }`, ""},
		{`listen: { api: '[::1]:65535' }`, ""},
		{`listen: { api: gateway.internal:80 }`, ""},
		{`listen: { api: localhost }`,
			`f:2:16: listen.api: "localhost" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: '' }`, `f:2:16: listen.api: "" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: 'host:-1' }`,
			`f:2:16: listen.api: "host:-1" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: 'host:65536' }`,
			`f:2:16: listen.api: "host:65536" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: 'host:http' }`,
			`f:2:16: listen.api: "host:http" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: 'http://host:80' }`,
			`f:2:16: listen.api: "http://host:80" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: 'a b:80' }`,
			`f:2:16: listen.api: "a b:80" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { api: '::1:80' }`,
			`f:2:16: listen.api: "::1:80" is not an address: write host:port, like 127.0.0.1:8080`},
		{`listen: { callback: nonsense }`, ""},
		{`listen: { api: '127.0.0.1:9090' }`,
			`f:2:9: listen.admin is the same address as listen.api: give it a port of its own`},
		{`listen: { api: '127.0.0.1:0', admin: '127.0.0.1:0' }`, ""},
		{`listen: { api: '127.0.0.1:8081' }`, ""},
		{`listen: { admin: 'localhost:9090' }`, ""},
		{`listen: { admin: '[::1]:9090' }`, ""},
		{`listen: { admin: '127.8.8.8:9090' }`, ""},
		{`listen: { admin: '0.0.0.0:9090' }`,
			`f:2:18: listen.admin is reachable from other machines without keys: use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key`},
		{`listen: { admin: ':9090' }`,
			`f:2:18: listen.admin is reachable from other machines without keys: use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key`},
		{"listen: { admin: '10.0.0.1:9090' }\nadmin: { read_key: a, change_key: b }",
			`f:2:18: listen.admin is reachable from other machines without keys: use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key`},
		{"listen: { admin: '10.0.0.1:9090' }\nadmin: { read_key: a, metrics_key: c }",
			`f:2:18: listen.admin is reachable from other machines without keys: use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key`},
		{"listen: { admin: '10.0.0.1:9090' }\nadmin: { change_key: b, metrics_key: c }",
			`f:2:18: listen.admin is reachable from other machines without keys: use a loopback address, or set admin.read_key, admin.change_key and admin.metrics_key`},
		{"listen: { admin: '10.0.0.1:9090' }\nadmin: { read_key: a, change_key: b, metrics_key: c }", ""},
		{`listen: { tls: { cert_file: cert.pem } }`,
			`f:2:16: listen.tls has only one of cert_file and key_file: give both, or none for plain HTTP`},
		{`listen: { tls: { key_file: key.pem } }`,
			`f:2:16: listen.tls has only one of cert_file and key_file: give both, or none for plain HTTP`},
		{`listen: { tls: { cert_file: no.pem, key_file: no.pem } }`,
			`f:2:16: listen.tls: open no.pem: no such file or directory: name a certificate and its key, both PEM, that the gateway can read`},
	})
}

// The upstream's URL, proxy and timeout.
func TestValidateUpstream(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`upstream: { url: 'http://127.0.0.1:9' }`, ""},
		{`upstream: { url: 'https://qyapi.weixin.qq.com/' }`, ""},
		{`upstream: { url: qyapi.weixin.qq.com }`,
			`f:2:18: upstream.url: "qyapi.weixin.qq.com" is not a URL: write http:// or https:// and a host, like https://qyapi.weixin.qq.com`},
		{`upstream: { url: 'ftp://host' }`,
			`f:2:18: upstream.url: "ftp://host" is not a URL: write http:// or https:// and a host, like https://qyapi.weixin.qq.com`},
		{`upstream: { url: 'https://' }`,
			`f:2:18: upstream.url: "https://" is not a URL: write http:// or https:// and a host, like https://qyapi.weixin.qq.com`},
		{`upstream: { url: '' }`,
			`f:2:18: upstream.url: "" is not a URL: write http:// or https:// and a host, like https://qyapi.weixin.qq.com`},
		{`upstream: { url: 'https://a b' }`,
			`f:2:18: upstream.url: "https://a b" is not a URL: write http:// or https:// and a host, like https://qyapi.weixin.qq.com`},
		{`upstream: { url: 'https://host/cgi-bin' }`,
			`f:2:18: upstream.url has more than a host: leave out path, query and user: the API paths are at its root`},
		{`upstream: { url: 'https://host?a=1' }`,
			`f:2:18: upstream.url has more than a host: leave out path, query and user: the API paths are at its root`},
		{`upstream: { url: 'https://user@host' }`,
			`f:2:18: upstream.url has more than a host: leave out path, query and user: the API paths are at its root`},
		{`upstream: { url: 'https://host#a' }`,
			`f:2:18: upstream.url has more than a host: leave out path, query and user: the API paths are at its root`},
		{`upstream: { proxy: 'http://proxy.internal:3128' }`, ""},
		{`upstream: { proxy: 'http://user:word@proxy.internal:3128/' }`, ""},
		{`upstream: { proxy: 'http://proxy.internal' }`,
			`f:2:20: upstream.proxy is not the URL of a proxy: write http:// with host and port, and user:password@ before the host if it requires them`},
		{`upstream: { proxy: 'https://proxy.internal:3128' }`,
			`f:2:20: upstream.proxy is not the URL of a proxy: write http:// with host and port, and user:password@ before the host if it requires them`},
		{`upstream: { proxy: 'socks5://proxy.internal:3128' }`,
			`f:2:20: upstream.proxy is not the URL of a proxy: write http:// with host and port, and user:password@ before the host if it requires them`},
		{`upstream: { proxy: 'http://proxy.internal:3128/a' }`,
			`f:2:20: upstream.proxy is not the URL of a proxy: write http:// with host and port, and user:password@ before the host if it requires them`},
		{`upstream: { proxy: 'http://%zz:3128' }`,
			`f:2:20: upstream.proxy is not the URL of a proxy: write http:// with host and port, and user:password@ before the host if it requires them`},
		{`upstream: { timeout: 100ms }`, ""},
		{`upstream: { timeout: 99ms }`, `f:2:22: upstream.timeout cannot be 99ms: it must be at least 100ms`},
		{`upstream: { ca_file: no.pem }`,
			`f:2:22: upstream.ca_file: open no.pem: no such file or directory: name a PEM file with the certificates to trust, or leave it out for the system's`},
	})
}

// The modes of Redis and what each needs.
func TestValidateRedis(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`redis: { mode: embeded }`, `f:2:16: redis.mode cannot be "embeded": did you mean embedded?`},
		{`redis: { snapshot: '' }`,
			`f:2:20: redis.snapshot is empty: name a file: embedded windows would not survive a restart`},
		{`redis: { listen: '127.0.0.1:6379' }`, ""},
		{`redis: { listen: '0.0.0.0:6379' }`,
			`f:2:18: redis.listen must be a loopback address: the embedded Redis has no password; write 127.0.0.1:6379`},
		{`redis: { mode: single }`, ""},
		{`redis: { mode: single, snapshot: '', listen: '0.0.0.0:6379' }`, ""},
		{`redis: { mode: single, addrs: ['a:1', 'b:2'] }`,
			`f:2:31: redis.mode single takes one address: for several write mode: sentinel or cluster`},
		{`redis: { mode: single, addrs: ['a:1:2'] }`,
			`f:2:32: redis.addrs[0]: "a:1:2" is not an address: write host:port, like 127.0.0.1:8080`},
		{`redis: { mode: sentinel }`,
			`f:2:8: redis.master_name is missing: name the master as in sentinel.conf, often mymaster`},
		{`redis: { mode: sentinel, master_name: mymaster, db: 3, addrs: ['a:1', 'b:2', b] }`,
			`f:2:78: redis.addrs[2]: "b" is not an address: write host:port, like 127.0.0.1:8080`},
		{`redis: { mode: cluster, addrs: ['a:1', 'b:2'] }`, ""},
		{`redis: { mode: cluster, db: 1 }`, `f:2:29: a Cluster has no databases: leave redis.db out`},
		{`redis: { mode: embedded, db: 1, addrs: [nonsense] }`, ""},
		{`redis: { timeout: 10ms }`, ""},
		{`redis: { timeout: 9ms }`, `f:2:19: redis.timeout cannot be 9ms: it must be at least 10ms`},
		{`redis: { prefix: 'a-Z_0.9:' }`, ""},
		{`redis: { prefix: 12345678901234567890123456789012 }`, ""},
		{`redis: { prefix: 123456789012345678901234567890123 }`,
			`f:2:18: redis.prefix cannot be "123456789012345678901234567890123": use 1 to 32 letters, digits and _ . : -`},
		{`redis: { prefix: '' }`, `f:2:18: redis.prefix cannot be "": use 1 to 32 letters, digits and _ . : -`},
		{`redis: { prefix: 'rg*' }`,
			`f:2:18: redis.prefix cannot be "rg*": use 1 to 32 letters, digits and _ . : -`},
		{`redis: { prefix: 'rg{}' }`,
			`f:2:18: redis.prefix cannot be "rg{}": use 1 to 32 letters, digits and _ . : -`},
		{`redis: { ca_file: no.pem }`,
			`f:2:19: redis.ca_file: open no.pem: no such file or directory: name a PEM file with the certificates to trust, or leave it out for the system's`},
	})
}

// Numbers, sizes and durations at their bounds.
func TestValidateBounds(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`window: { length: 1s }`, ""},
		{`window: { length: 999ms }`, `f:2:19: window.length cannot be 999ms: it must be at least 1s`},
		{`window: { replies: 0 }`, ""},
		{`window: { replies: 1000 }`, ""},
		{`window: { replies: 1001 }`,
			`f:2:20: window.replies cannot be 1001: write 0 (not counted) to 1000; WeCom's own limit is 5`},
		{`window: { replies: -1 }`,
			`f:2:20: window.replies cannot be -1: write 0 (not counted) to 1000; WeCom's own limit is 5`},
		{`journal: { max_bytes: 64KB }`, ""},
		{`journal: { max_bytes: 65535B }`, `f:2:23: journal.max_bytes cannot be 65535B: write 64KB to 64GB`},
		{`journal: { max_bytes: 64GB }`, ""},
		{`journal: { max_bytes: 65GB }`, `f:2:23: journal.max_bytes cannot be 65GB: write 64KB to 64GB`},
		{`journal: { path: '' }`,
			`f:2:18: journal.path is empty: name a file: without it an outage of Redis loses customers' messages`},
		{`limits: { judged_body: 1KB, streamed_body: 1KB, read_answer: 64KB }`, ""},
		{`limits: { judged_body: 1023B, streamed_body: 1023B, read_answer: 63KB }`,
			"f:2:24: limits.judged_body cannot be 1023B: write 1KB to 64MB\n" +
				"f:2:46: limits.streamed_body cannot be 1023B: write 1KB to 16GB\n" +
				`f:2:66: limits.read_answer cannot be 63KB: write 64KB to 1GB`},
		{`limits: { judged_body: 64MB, streamed_body: 16GB, read_answer: 1GB }`, ""},
		{`limits: { judged_body: 65MB, streamed_body: 17GB, read_answer: 1025MB }`,
			"f:2:24: limits.judged_body cannot be 65MB: write 1KB to 64MB\n" +
				"f:2:45: limits.streamed_body cannot be 17GB: write 1KB to 16GB\n" +
				`f:2:64: limits.read_answer cannot be 1025MB: write 64KB to 1GB`},
		{`policy: { unsure_wait: 0s }`, ""},
		{`policy: { unsure_wait: 10s }`, ""},
		{`policy: { unsure_wait: 10.001s }`,
			`f:2:24: policy.unsure_wait cannot be 10.001s: write 0s (not at all) to 10s: the client of a bot must still be waiting for the answer when it ends`},
		{`shutdown: { lame_duck: 5s, grace: 5s }`, ""},
		{`shutdown: { lame_duck: 5s, grace: 4.999s }`,
			`f:2:35: shutdown.grace is shorter than shutdown.lame_duck: grace counts from the signal: make it the longer one, like 8s`},
		{`shutdown: { lame_duck: 9s }`,
			`f:2:11: shutdown.grace is shorter than shutdown.lame_duck: grace counts from the signal: make it the longer one, like 8s`},
	})
}

// The values of keys that take one of a few words.
func TestValidateWords(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`unlisted_account: pass`, ""},
		{`unlisted_account: refuse`, ""},
		{`unlisted_account: auto`, `f:2:19: unlisted_account cannot be "auto": known are refuse, pass`},
		{`unknown_token: reauthenticate`, ""},
		{`unknown_token: refuse`, ""},
		{`unknown_token: pass`, ""},
		{`unknown_token: ww1`, ""},
		{`unknown_token: ww2`, `f:2:16: unknown_token cannot be "ww2": did you mean ww1?`},
		{`unknown_token: reauthentikate`,
			`f:2:16: unknown_token cannot be "reauthentikate": did you mean reauthenticate?`},
		{`policy: { mode: shadow, on_unsure: pass, cold_start: refuse, language: zh }`, ""},
		{`policy: { mode: enforce, on_unsure: busy, cold_start: pass, language: en }`, ""},
		{`policy: { mode: shadwo }`, `f:2:17: policy.mode cannot be "shadwo": did you mean shadow?`},
		{`policy: { mode: Enforce }`, `f:2:17: policy.mode cannot be "Enforce": did you mean enforce?`},
		{`policy: { mode: '' }`, `f:2:17: policy.mode cannot be "": known are enforce, shadow`},
		{`policy: { on_unsure: refuse }`, `f:2:22: policy.on_unsure cannot be "refuse": known are busy, pass`},
		{`policy: { cold_start: busy }`, `f:2:23: policy.cold_start cannot be "busy": known are pass, refuse`},
		{`policy: { language: german }`, `f:2:21: policy.language cannot be "german": known are en, zh`},
		{`log: { level: debug, format: console, decisions: decisions.log }`, ""},
		{`log: { level: trace }`, `f:2:15: log.level cannot be "trace": known are debug, info, warn, error`},
		{`log: { level: warning }`, `f:2:15: log.level cannot be "warning": known are debug, info, warn, error`},
		{`log: { format: text }`, `f:2:16: log.format cannot be "text": known are json, console`},
		{`log: { decisions: '' }`, `f:2:19: log.decisions is empty: write stdout, or the name of a file`},
		{`log: { ids: hash }`, `f:2:13: log.ids cannot be "hash": did you mean hashed?`},
		{`log: { ids: hashed }`,
			`f:2:13: log.ids is hashed without a key: give log.ids_key, or a file as log.ids_key_file, at least 16 characters: without a key the ids can be recovered by guessing`},
		{`log: { ids: hashed, ids_key: 123456789012345 }`,
			`f:2:13: log.ids is hashed without a key: give log.ids_key, or a file as log.ids_key_file, at least 16 characters: without a key the ids can be recovered by guessing`},
		{`log: { ids: hashed, ids_key: 1234567890123456 }`, ""},
		{`log: { ids: plain, ids_key: short }`, ""},
	})
}

// What describes a client.
func TestValidateClients(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`clients: [{ name: crm, header: User-Agent, contains: crm }, { name: office, networks: [10.1.0.0/16, '2001:db8::/32'] }]`, ""},
		{`clients: [{ name: crm, header: X-Crm, contains: '1', networks: [0.0.0.0/0] }]`, ""},
		{`clients: [{ header: User-Agent, contains: crm }]`,
			`f:2:11: clients[0].name cannot be "": give each client a name of its own; unknown is the name of callers that match none`},
		{`clients: [{ name: unknown, header: User-Agent, contains: crm }]`,
			`f:2:19: clients[0].name cannot be "unknown": give each client a name of its own; unknown is the name of callers that match none`},
		{"clients:\n  - { name: crm, header: User-Agent, contains: crm }\n  - { name: crm, header: User-Agent, contains: other }",
			`f:4:13: clients[1].name cannot be "crm": give each client a name of its own; unknown is the name of callers that match none`},
		{`clients: [{ name: crm }]`,
			`f:2:11: clients[0] does not describe a caller: give header with contains, or networks, or all three`},
		{`clients: [{ name: crm, header: User-Agent }]`,
			`f:2:11: clients[0] does not describe a caller: give header with contains, or networks, or all three`},
		{`clients: [{ name: crm, contains: crm }]`,
			`f:2:11: clients[0] does not describe a caller: give header with contains, or networks, or all three`},
		{`clients: [{ name: crm, header: User-Agent, networks: [10.0.0.0/8] }]`,
			`f:2:11: clients[0] does not describe a caller: give header with contains, or networks, or all three`},
		{`clients: [{ name: crm, header: 'User Agent', contains: crm }]`,
			`f:2:32: no header can be called "User Agent": write a name without spaces and colons, like User-Agent`},
		{`clients: [{ name: crm, header: 'User-Agent:', contains: crm }]`,
			`f:2:32: no header can be called "User-Agent:": write a name without spaces and colons, like User-Agent`},
		{`clients: [{ name: crm, header: Ünicode, contains: crm }]`,
			`f:2:32: no header can be called "Ünicode": write a name without spaces and colons, like User-Agent`},
		{"clients: [{ name: crm, header: \"!#$%&'*+-.^_`|~09azAZ\", contains: crm }]", ""},
		{`clients: [{ name: crm, networks: [10.1.0.0] }]`,
			`f:2:35: "10.1.0.0" is not a network: write an address and a length, like 10.1.0.0/16`},
		{`clients: [{ name: crm, networks: [10.1.0.0/33] }]`,
			`f:2:35: "10.1.0.0/33" is not a network: write an address and a length, like 10.1.0.0/16`},
		{`clients: [{ name: crm, networks: [10.1.0.0/16, office] }]`,
			`f:2:48: "office" is not a network: write an address and a length, like 10.1.0.0/16`},
		{`clients: [{ name: crm, networks: ['::ffff:10.1.0.0/112'] }]`,
			`f:2:35: no caller is in ::ffff:10.1.0.0/112: IPv4 callers have IPv4 addresses here: write the network as IPv4, like 10.1.0.0/16`},
	})
}

// The callbacks' paths, keys, receivers and bots.
func TestValidateCallbacks(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`callbacks: [{ path: /callback/acme, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]`, ""},
		{`callbacks: [{ path: /, token: t, encoding_aes_key: KEY, receive_ids: [''] }]`, ""},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1], forward_to: 'http://127.0.0.1:9000/wecom' }]`, ""},
		{`callbacks: [{}]`,
			"f:2:13: callbacks[0].path cannot be \"\": write the path of the URL that WeCom's console has, like /callback/acme\n" +
				"f:2:13: callbacks[0].token is missing: take it from the callback's page in WeCom's console, or name a file as token_file\n" +
				"f:2:13: callbacks[0].encoding_aes_key is not an EncodingAESKey: it is 43 letters and digits, on the callback's page in WeCom's console\n" +
				`f:2:13: callbacks[0].receive_ids is missing: list the corp id of an own app, the suite id and provider's corp id of a third party's, or "" for a robot`},
		{`callbacks: [{ path: a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]`,
			`f:2:21: callbacks[0].path cannot be "a": write the path of the URL that WeCom's console has, like /callback/acme`},
		{`callbacks: [{ path: /a//b, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]`,
			`f:2:21: callbacks[0].path cannot be "/a//b": write the path of the URL that WeCom's console has, like /callback/acme`},
		{`callbacks: [{ path: /a/../b, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]`,
			`f:2:21: callbacks[0].path cannot be "/a/../b": write the path of the URL that WeCom's console has, like /callback/acme`},
		{`callbacks: [{ path: '/a?b', token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]`,
			`f:2:21: callbacks[0].path cannot be "/a?b": write the path of the URL that WeCom's console has, like /callback/acme`},
		{"callbacks:\n  - { path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }\n  - { path: /a, token: u, encoding_aes_key: KEY, receive_ids: [ww1] }",
			`f:4:13: callback /a is given twice: it is already in line 3; give each a path of its own`},
		{`callbacks: [{ path: /a, encoding_aes_key: KEY, receive_ids: [ww1] }]`,
			`f:2:13: callbacks[0].token is missing: take it from the callback's page in WeCom's console, or name a file as token_file`},
		{`callbacks: [{ path: /a, token: t, receive_ids: [ww1] }]`,
			`f:2:13: callbacks[0].encoding_aes_key is not an EncodingAESKey: it is 43 letters and digits, on the callback's page in WeCom's console`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEYx, receive_ids: [ww1] }]`,
			`f:2:53: callbacks[0].encoding_aes_key is not an EncodingAESKey: it is 43 letters and digits, on the callback's page in WeCom's console`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: '=KE', receive_ids: [ww1] }]`,
			`f:2:53: callbacks[0].encoding_aes_key is not an EncodingAESKey: it is 43 letters and digits, on the callback's page in WeCom's console`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY }]`,
			`f:2:13: callbacks[0].receive_ids is missing: list the corp id of an own app, the suite id and provider's corp id of a third party's, or "" for a robot`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1], forward_to: '127.0.0.1:9000' }]`,
			`f:2:130: callbacks[0].forward_to is not a URL: write http:// or https://, a host and a path, like http://127.0.0.1:9000/wecom`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1], forward_to: 'http://bot/a?b=c' }]`,
			`f:2:130: callbacks[0].forward_to has more than a host and a path: leave out query, user and fragment: the query comes from WeCom`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1], forward_to: 'http://u:p@bot/a' }]`,
			`f:2:130: callbacks[0].forward_to has more than a host and a path: leave out query, user and fragment: the query comes from WeCom`},
		{`callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1], forward_to: 'http://bot/a#b' }]`,
			`f:2:130: callbacks[0].forward_to has more than a host and a path: leave out query, user and fragment: the query comes from WeCom`},
		{"listen: { api: '127.0.0.1:8081' }\ncallbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]",
			`f:2:9: listen.callback is the same address as listen.api: give it a port of its own`},
		{"listen: { callback: '127.0.0.1:9090' }\ncallbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]",
			`f:2:21: listen.callback is the same address as listen.admin: give it a port of its own`},
		{"listen: { callback: nonsense }\ncallbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]",
			`f:2:21: listen.callback: "nonsense" is not an address: write host:port, like 127.0.0.1:8080`},
	})
}

// Ids, subscriptions, contacts, hosts and channels of accounts.
func TestValidateAccounts(t *testing.T) {
	t.Parallel()
	run(t, "", []fileCase{
		{`accounts: [{ corp_id: ww1 }]`, ""},
		{`accounts: [{ corp_id: ww_A-9 }, { corp_id: wx2, name: Acme, entity: Acme Ltd }]`, ""},
		{`{}`, `f:1:1: accounts is missing: list your companies: accounts: [{corp_id: ww…}]`},
		{`accounts:`, `f:1:10: accounts must be a list: write [a, b], or one item per line after a dash`},
		{`accounts: []`,
			`f:1:11: accounts is an empty list: write something into it, or leave the key out; in a match an absent list means any`},
		{`accounts: {}`, `f:1:11: accounts must be a list: write [a, b], or one item per line after a dash`},
		{`accounts: [{ name: Acme }]`,
			`f:1:12: accounts[0] has no corp_id: add the id that WeCom shows under My Company, ww…`},
		{`accounts: [{ corp_id: '' }]`,
			`f:1:12: accounts[0] has no corp_id: add the id that WeCom shows under My Company, ww…`},
		{`accounts: [{ corp_id: ww.1 }]`, `f:1:23: "ww.1" is not a corp id: it is letters and digits, ww… or wx…`},
		{`accounts: [{ corp_id: 'ww 1' }]`,
			`f:1:23: "ww 1" is not a corp id: it is letters and digits, ww… or wx…`},
		{`accounts: [{ corp_id: C64 }]`, ""},
		{`accounts: [{ corp_id: C65 }]`, `f:1:23: "C65" is not a corp id: it is letters and digits, ww… or wx…`},
		{`accounts: [{ corp_id: ww1 }, { corp_id: ww2 }, { corp_id: ww1 }]`,
			`f:1:59: corp_id ww1 is given twice: it is already in line 1; keep one`},
		{`accounts: [{ corp_id: ww1, subscription: {} }]`,
			`f:1:42: subscription has no expires_at: give its end, like expires_at: 2026-10-01T00:00:00+08:00`},
		{`accounts: [{ corp_id: ww1, subscription: { grace: 24h } }]`,
			`f:1:42: subscription has no expires_at: give its end, like expires_at: 2026-10-01T00:00:00+08:00`},
		{`accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-10-01 } }]`,
			`f:1:56: "2026-10-01" is not an instant: write one with its zone, like 2026-10-01T00:00:00+08:00`},
		{`accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-10-01T00:00:00Z, grace: 24 } }]`,
			`f:1:85: a duration needs a unit: write 24s, 24m or 24h`},
		{`accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-10-01T00:00:00Z, grace: 24h } }]`, ""},
		{`accounts: [{ corp_id: ww1, contacts: {} }]`, ""},
		{`accounts: [{ corp_id: ww1, contacts: { free: 0, total: 0 } }]`, ""},
		{`accounts: [{ corp_id: ww1, contacts: { free: -1 } }]`,
			`f:1:38: a number of contacts is negative: write 0 or more`},
		{`accounts: [{ corp_id: ww1, contacts: { total: -1 } }]`,
			`f:1:38: a number of contacts is negative: write 0 or more`},
		{`accounts: [{ corp_id: ww1, contacts: { total: 2.5 } }]`,
			`f:1:47: "2.5" is not a whole number: write only digits`},
		{`accounts: [{ corp_id: ww1, hosts: [acme.internal, 10.0.0.1, '[::1]:8080', a_b-c.d] }]`, ""},
		{`accounts: [{ corp_id: ww1, hosts: ['http://acme', 'acme/x', -acme, acme-, 'a b', ''] }]`,
			"f:1:36: \"http://acme\" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal\n" +
				"f:1:51: \"acme/x\" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal\n" +
				"f:1:61: \"-acme\" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal\n" +
				"f:1:68: \"acme-\" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal\n" +
				"f:1:75: \"a b\" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal\n" +
				`f:1:82: "" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal`},
		{`accounts: [{ corp_id: ww1, hosts: [H253] }]`, ""},
		{`accounts: [{ corp_id: ww1, hosts: [H254] }]`,
			`f:1:36: "H254" is not a host name: write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal`},
		{`accounts: [{ corp_id: ww1, hosts: [Acme.internal, 'acme.INTERNAL.:80'] }]`,
			`f:1:51: host acme.internal is given twice: it is already in line 1; only one account can have it`},
		{`accounts: [{ corp_id: ww1, hosts: [acme] }, { corp_id: ww2, hosts: [acme] }]`,
			`f:1:69: host acme is given twice: it is already in line 1; only one account can have it`},
		{`accounts: [{ corp_id: ww1, channels: [wkA, wka] }]`, ""},
		{`accounts: [{ corp_id: ww1, channels: [wkA] }, { corp_id: ww2, channels: [wkA] }]`,
			`f:1:74: channel wkA is given twice: it is already in line 1; only one account can have it`},
		{`accounts: [{ corp_id: ww1, channels: ['', 'wk 1', wkÄ] }]`,
			"f:1:39: \"\" is not the id of a kf account: write its open_kfid, wk…, at most 128 bytes\n" +
				"f:1:43: \"wk 1\" is not the id of a kf account: write its open_kfid, wk…, at most 128 bytes\n" +
				`f:1:51: "wkÄ" is not the id of a kf account: write its open_kfid, wk…, at most 128 bytes`},
		{`accounts: [{ corp_id: ww1, channels: [K128] }]`, ""},
		{`accounts: [{ corp_id: ww1, channels: [K129] }]`,
			`f:1:39: "K129" is not the id of a kf account: write its open_kfid, wk…, at most 128 bytes`},
	})
}

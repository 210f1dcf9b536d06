// Package config reads the operator's configuration file: its keys, their defaults, the environment
// variables that override them, and every mistake with its line, column and remedy.
//
// It does not open connections or start anything; the only other files it opens are those that the
// configuration names. It does not interpret rules: it keeps the text and position of each part of
// a rule, and package policy gives them their meaning.
package config

import (
	"time"
)

// Config is a complete configuration: a key that neither the file nor the environment sets has its
// default.
type Config struct {
	Listen          Listen     `yaml:"listen"`
	Admin           Admin      `yaml:"admin"`
	Upstream        Upstream   `yaml:"upstream"`
	Redis           Redis      `yaml:"redis"`
	Journal         Journal    `yaml:"journal"`
	Window          Window     `yaml:"window"`
	Accounts        []Account  `yaml:"accounts"`
	AccountsFile    string     `yaml:"accounts_file"` // more accounts: CSV if it ends in .csv, else YAML
	Callbacks       []Callback `yaml:"callbacks"`
	UnknownToken    string     `yaml:"unknown_token"`
	UnlistedAccount string     `yaml:"unlisted_account"`
	Policy          Policy     `yaml:"policy"`
	Meter           Meter      `yaml:"meter"`
	Metrics         Metrics    `yaml:"metrics"`
	Console         Console    `yaml:"console"`
	Events          Events     `yaml:"events"`
	Traces          Traces     `yaml:"traces"`
	Clients         []Client   `yaml:"clients"`
	Limits          Limits     `yaml:"limits"`
	Log             Log        `yaml:"log"`
	Shutdown        Shutdown   `yaml:"shutdown"`

	where map[string]Position
	files []NamedFile // of secrets
}

// Listen holds the addresses that the gateway listens on, host:port.
type Listen struct {
	API      string `yaml:"api"`
	Callback string `yaml:"callback"` // opened only if there are callbacks
	Admin    string `yaml:"admin"`
	TLS      TLS    `yaml:"tls"`
}

// TLS names the certificate of the API and callback listeners; both files or neither.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Admin holds the keys of the admin listener, sent as "Authorization: Bearer KEY". An empty key
// leaves its part of the API open, which is allowed only on a loopback address.
type Admin struct {
	ReadKey    Secret `yaml:"read_key"`
	ChangeKey  Secret `yaml:"change_key"`
	MetricsKey Secret `yaml:"metrics_key"`

	Peers []string `yaml:"peers"` // the admin listeners of the other gateways, host:port
}

// Upstream is the WeCom API and how it is reached.
type Upstream struct {
	URL     string        `yaml:"url"` // scheme://host[:port]
	Timeout time.Duration `yaml:"timeout"`
	CAFile  string        `yaml:"ca_file"`
	Proxy   Secret        `yaml:"proxy"` // http://[user:password@]host:port; empty: none
}

// The values of redis.mode.
const (
	RedisEmbedded = "embedded"
	RedisSingle   = "single"
	RedisSentinel = "sentinel"
	RedisCluster  = "cluster"
)

// Redis is the store of windows and tokens.
type Redis struct {
	Mode       string   `yaml:"mode"`
	Addrs      []string `yaml:"addrs"`
	MasterName string   `yaml:"master_name"`
	Username   string   `yaml:"username"`
	Password   Secret   `yaml:"password"`

	SentinelUsername string `yaml:"sentinel_username"` // for the sentinels themselves
	SentinelPassword Secret `yaml:"sentinel_password"`

	TLS      bool          `yaml:"tls"`
	CAFile   string        `yaml:"ca_file"`
	DB       int           `yaml:"db"`
	Timeout  time.Duration `yaml:"timeout"` // for one command
	Listen   string        `yaml:"listen"`
	Snapshot string        `yaml:"snapshot"`
	Prefix   string        `yaml:"prefix"`
}

// Journal is the write-ahead log of messages that Redis has not taken yet.
type Journal struct {
	Path     string `yaml:"path"`
	MaxBytes Size   `yaml:"max_bytes"`
}

// Window describes the reply window that a customer's message opens.
type Window struct {
	Length  time.Duration `yaml:"length"`
	Replies int           `yaml:"replies"` // per customer message; 0: not counted
	Observe string        `yaml:"observe"` // whose replies are looked at after their answer
}

// The values of window.observe: the replies of all accounts, or only of those that are judged.
const (
	ObserveAll    = "all"
	ObserveJudged = "judged"
)

// Console is the pages for people on the admin listener, and the lists that they show.
type Console struct {
	Enabled  bool          `yaml:"enabled"`
	Origin   string        `yaml:"origin"`   // scheme://host[:port] by which browsers reach it through a proxy; empty: directly
	Timezone string        `yaml:"timezone"` // of times and dates
	Session  time.Duration `yaml:"session"`  // after which a person must sign in again
	Index    string        `yaml:"index"`    // which windows are listed by the time at which they close
}

// The values of console.index.
const (
	IndexWaiting = "waiting" // chats that wait for an answer
	IndexAll     = "all"
)

// Account is one company on WeCom.
type Account struct {
	CorpID       string        `yaml:"corp_id"`
	Name         string        `yaml:"name"`
	Entity       string        `yaml:"entity"`
	Subscription *Subscription `yaml:"subscription"` // nil: never lapses
	Contacts     *Contacts     `yaml:"contacts"`
	Hosts        []string      `yaml:"hosts"`    // names by which its bots call the gateway
	Channels     []string      `yaml:"channels"` // its kf accounts, open_kfid
	Secrets      Secrets       `yaml:"secrets"`
	At           Position      `yaml:"-"`
}

// Subscription is the paid period of an account. Grace is the time between expiry and lapse.
type Subscription struct {
	ExpiresAt time.Time     `yaml:"expires_at"`
	Grace     time.Duration `yaml:"grace"`
	Never     None          `yaml:"-"` // subscription: none, the account never had one
}

// None is a field of a mapping that a file may replace by the word none.
type None bool

// Contacts holds the numbers of an account's external contacts, as WeCom counts them.
type Contacts struct {
	Free      int       `yaml:"free"`       // the allowance: 2,000 for a verified company
	Purchased *int      `yaml:"purchased"`  // the limit in WeCom's console; nil: not known
	Total     *int      `yaml:"total"`      // counted by hand; nil: not
	CountedAt time.Time `yaml:"counted_at"` // when; zero: before any other count
}

// Secrets are those with which the gateway calls WeCom for an account by itself.
type Secrets struct {
	Contact Secret   `yaml:"contact"` // of an app that may call customer contact: counts contacts
	Kf      []Secret `yaml:"kf"`      // of apps that may call WeChat Customer Service: complete the records
}

// Callback is one URL that WeCom calls with events.
type Callback struct {
	Path           string   `yaml:"path"`
	Token          Secret   `yaml:"token"`
	EncodingAESKey Secret   `yaml:"encoding_aes_key"`
	ReceiveIDs     []string `yaml:"receive_ids"` // corp, suite or provider's corp ids; "" for a robot
	ForwardTo      string   `yaml:"forward_to"`  // the bot's URL; empty: the gateway answers itself
	At             Position `yaml:"-"`
}

// The values of unknown_token, unlisted_account, policy.on_unsure and policy.cold_start.
const (
	Auto           = "auto" // unknown_token only: other parts of the call name the corp
	Reauthenticate = "reauthenticate"
	Refuse         = "refuse"
	Pass           = "pass"
	Busy           = "busy"
)

// The values of policy.mode and of a rule's mode.
const (
	Enforce = "enforce"
	Shadow  = "shadow" // decided and counted, not applied
)

// Trim is a value of a rule's partial, besides Refuse: the call is forwarded with the recipients
// that may be reached.
const Trim = "trim"

// The values of log.ids.
const (
	Plain  = "plain"
	Hashed = "hashed"
)

// The values of policy.language.
const (
	English = "en"
	Chinese = "zh"
)

// Policy decides what a lapsed account may do.
type Policy struct {
	Rulesets   []DatedRuleSet `yaml:"ruleset[]"` // the list form of ruleset, to change over on a date
	Ruleset    string         `yaml:"ruleset"`
	Mode       string         `yaml:"mode"`
	UnsureWait time.Duration  `yaml:"unsure_wait"` // how long an unsure reply waits; 0: not at all
	OnUnsure   string         `yaml:"on_unsure"`
	ColdStart  string         `yaml:"cold_start"`
	Language   string         `yaml:"language"` // of the texts of refusals
	Rules      []Rule         `yaml:"rules"`
}

// DatedRuleSet is a rule set with the instant from which it applies.
type DatedRuleSet struct {
	Ruleset Word      `yaml:"ruleset"`
	From    time.Time `yaml:"from"`
	At      Position  `yaml:"-"`
}

// Meter times how accounts with a contact secret are counted.
type Meter struct {
	Every time.Duration `yaml:"every"`
	Warn  []Percent     `yaml:"warn"` // of the limit, at which the operator is warned
}

// Metrics says which metrics have a series for each account.
type Metrics struct {
	PerAccount int `yaml:"per_account"` // for so many accounts, the first ones; 0: none
}

// Events says who is told of events.
type Events struct {
	Webhooks []Webhook `yaml:"webhooks"`
	Robots   []Robot   `yaml:"robots"`
}

// Webhook is a URL that gets events as signed requests.
type Webhook struct {
	Name     string   `yaml:"name"`
	URL      string   `yaml:"url"`
	Secrets  []Secret `yaml:"secrets"`  // whsec_ and base64; each signs, so that they can be changed
	Types    []string `yaml:"types"`    // full types, or families like window.*; empty: all
	Accounts []string `yaml:"accounts"` // corp ids; empty: all
	At       Position `yaml:"-"`
}

// Robot is a robot of a WeCom group that gets digests of events.
type Robot struct {
	Name     string   `yaml:"name"`
	Key      Secret   `yaml:"key"` // of its webhook URL
	Types    []string `yaml:"types"`
	Accounts []string `yaml:"accounts"`
	Language string   `yaml:"language"` // of the digests
	At       Position `yaml:"-"`
}

// Traces says where spans of calls go.
type Traces struct {
	Endpoint string   `yaml:"endpoint"` // of a collector that speaks OTLP over HTTP; empty: no call is traced
	Sample   Fraction `yaml:"sample"`   // of the calls whose bot says nothing of a trace
	Headers  []Secret `yaml:"headers"`  // of requests to the collector, each Name: value
	CAFile   string   `yaml:"ca_file"`
}

// Client describes one kind of caller. All conditions that are given must hold.
type Client struct {
	Name     string   `yaml:"name"`
	Header   string   `yaml:"header"` // the header that must contain Contains
	Contains string   `yaml:"contains"`
	Networks []string `yaml:"networks"` // the caller's address is in one of them
	At       Position `yaml:"-"`
}

// UnknownClient is the name of callers that match no client.
const UnknownClient = "unknown"

// RuleSet is a rule set as its file gives it.
type RuleSet struct {
	Opens []Word `yaml:"opens"` // kinds of customer messages that open a window
	Rules []Rule `yaml:"rules"`
}

// Rule is one rule as a file gives it; package policy gives its parts their meaning.
type Rule struct {
	Name    Word      `yaml:"name"`
	Match   Match     `yaml:"match"`
	From    time.Time `yaml:"from"`
	Until   time.Time `yaml:"until"`
	When    Word      `yaml:"when"`    // an expression over account, call and window
	Percent *int      `yaml:"percent"` // of customers; nil: all
	Action  Word      `yaml:"action"`
	Partial Word      `yaml:"partial"` // for a reply with several recipients: refuse or trim
	Mode    Word      `yaml:"mode"`    // enforce or shadow
	Refusal *Refusal  `yaml:"refusal"`
	At      Position  `yaml:"-"`
}

// Match selects the calls that a rule applies to. An absent list matches any.
type Match struct {
	Accounts     []Word `yaml:"accounts"`
	Entities     []Word `yaml:"entities"`
	Standings    []Word `yaml:"standings"`
	Capabilities []Word `yaml:"capabilities"`
	Endpoints    []Word `yaml:"endpoints"`
	MsgTypes     []Word `yaml:"msgtypes"`
	Clients      []Word `yaml:"clients"`
}

// Refusal is the answer of a rule, in place of the one of its reason.
type Refusal struct {
	Errcode int      `yaml:"errcode"`
	Errmsg  string   `yaml:"errmsg"`
	At      Position `yaml:"-"`
}

// Limits bounds what the gateway reads, in bytes.
type Limits struct {
	JudgedBody   Size `yaml:"judged_body"`
	StreamedBody Size `yaml:"streamed_body"`
	ReadAnswer   Size `yaml:"read_answer"`
}

// Log configures the gateway's own log and its decision records.
type Log struct {
	Level     string `yaml:"level"`
	Format    string `yaml:"format"`
	Decisions string `yaml:"decisions"` // stdout, or the name of a file
	MaxSize   Size   `yaml:"max_size"`  // at which that file is rotated, in whole megabytes
	MaxFiles  int    `yaml:"max_files"` // how many rotated files are kept; 0: all
	IDs       string `yaml:"ids"`       // of customers in decision records: plain or hashed
	IDsKey    Secret `yaml:"ids_key"`   // the key of the hash
}

// Shutdown times how the gateway stops, counted from the signal.
type Shutdown struct {
	LameDuck time.Duration `yaml:"lame_duck"`
	Grace    time.Duration `yaml:"grace"`
}

// Default returns the configuration of an empty file. It has no account, so Parse would reject it.
func Default() Config {
	return Config{
		Listen:          Listen{API: "127.0.0.1:8080", Callback: "127.0.0.1:8081", Admin: "127.0.0.1:9090"},
		Upstream:        Upstream{URL: "https://qyapi.weixin.qq.com", Timeout: 30 * time.Second},
		Redis:           Redis{Mode: RedisEmbedded, Addrs: []string{"127.0.0.1:6379"}, Timeout: 300 * time.Millisecond, Snapshot: "replygate.snapshot", Prefix: "rg:"},
		Journal:         Journal{Path: "replygate.journal", MaxBytes: 256 << 20},
		Window:          Window{Length: 48 * time.Hour, Replies: 5, Observe: ObserveAll},
		UnknownToken:    Auto,
		UnlistedAccount: Refuse,
		Policy:          Policy{Ruleset: "reply-only-2024", Mode: Enforce, UnsureWait: 3 * time.Second, OnUnsure: Busy, ColdStart: Pass, Language: English},
		Meter:           Meter{Every: 6 * time.Hour, Warn: []Percent{80, 90, 95}},
		Console:         Console{Enabled: true, Timezone: "Asia/Shanghai", Session: 8 * time.Hour, Index: IndexWaiting},
		Traces:          Traces{Sample: 0.01},
		Limits:          Limits{JudgedBody: 1 << 20, StreamedBody: 128 << 20, ReadAnswer: 64 << 20},
		Log:             Log{Level: "info", Format: "json", Decisions: "stdout", MaxSize: 100 << 20, MaxFiles: 10, IDs: Plain},
		Shutdown:        Shutdown{LameDuck: 2 * time.Second, Grace: 8 * time.Second},
	}
}

// DefaultContactsFree is WeCom's free allowance of external contacts for a verified company.
const DefaultContactsFree = 2000

// Where returns the position of a dotted key like "policy.ruleset", or the zero Position if neither
// the file nor the environment sets it.
func (c *Config) Where(key string) Position { return c.where[key] }

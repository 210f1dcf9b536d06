// Package config is the operator's file: its shape, its defaults, and the finding of every mistake
// in it with line, column and remedy.
//
// It builds nothing and opens nothing but the files that the configuration names. What the words of
// a rule mean is package policy's matter; this package only remembers where they stand.
package config

import (
	"time"
)

// Config is one configuration, complete: every key that the file and the environment left out has
// its default.
type Config struct {
	Listen          Listen     `yaml:"listen"`
	Admin           Admin      `yaml:"admin"`
	Upstream        Upstream   `yaml:"upstream"`
	Redis           Redis      `yaml:"redis"`
	Journal         Journal    `yaml:"journal"`
	Window          Window     `yaml:"window"`
	Accounts        []Account  `yaml:"accounts"`
	AccountsFile    string     `yaml:"accounts_file"` // more accounts: YAML, or CSV if its name ends in .csv
	Callbacks       []Callback `yaml:"callbacks"`
	UnknownToken    string     `yaml:"unknown_token"`
	UnlistedAccount string     `yaml:"unlisted_account"`
	Policy          Policy     `yaml:"policy"`
	Clients         []Client   `yaml:"clients"`
	Limits          Limits     `yaml:"limits"`
	Log             Log        `yaml:"log"`
	Shutdown        Shutdown   `yaml:"shutdown"`

	where map[string]Position
}

// Listen are the addresses that the gateway listens on, host:port.
type Listen struct {
	API      string `yaml:"api"`
	Callback string `yaml:"callback"` // opened if there are callbacks
	Admin    string `yaml:"admin"`
	TLS      TLS    `yaml:"tls"`
}

// TLS is the certificate of the api and the callback listener; both or none.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Admin are the keys of the admin listener, sent as "Authorization: Bearer KEY". An empty key asks
// for nothing, which only a loopback address may.
type Admin struct {
	ReadKey    Secret `yaml:"read_key"`
	ChangeKey  Secret `yaml:"change_key"`
	MetricsKey Secret `yaml:"metrics_key"`
}

// Upstream is WeCom.
type Upstream struct {
	URL     string        `yaml:"url"` // scheme://host[:port]
	Timeout time.Duration `yaml:"timeout"`
	CAFile  string        `yaml:"ca_file"`
	Proxy   Secret        `yaml:"proxy"` // http://[user:password@]host:port of an egress proxy; "": none
}

// Redis modes.
const (
	RedisEmbedded = "embedded"
	RedisSingle   = "single"
	RedisSentinel = "sentinel"
	RedisCluster  = "cluster"
)

// Redis is where windows and tokens are kept.
type Redis struct {
	Mode       string   `yaml:"mode"`
	Addrs      []string `yaml:"addrs"`
	MasterName string   `yaml:"master_name"`
	Username   string   `yaml:"username"`
	Password   Secret   `yaml:"password"`

	SentinelUsername string `yaml:"sentinel_username"` // what the sentinels themselves ask for
	SentinelPassword Secret `yaml:"sentinel_password"`

	TLS      bool          `yaml:"tls"`
	CAFile   string        `yaml:"ca_file"`
	DB       int           `yaml:"db"`
	Timeout  time.Duration `yaml:"timeout"` // for one command
	Listen   string        `yaml:"listen"`
	Snapshot string        `yaml:"snapshot"`
	Prefix   string        `yaml:"prefix"`
}

// Journal is the file that keeps what must not be lost with the process.
type Journal struct {
	Path     string `yaml:"path"`
	MaxBytes Size   `yaml:"max_bytes"`
}

// Window is the reply window.
type Window struct {
	Length  time.Duration `yaml:"length"`
	Replies int           `yaml:"replies"` // per customer message; 0: not counted
}

// Account is one company on WeCom.
type Account struct {
	CorpID       string        `yaml:"corp_id"`
	Name         string        `yaml:"name"`
	Entity       string        `yaml:"entity"`
	Subscription *Subscription `yaml:"subscription"` // nil: never lapses
	Contacts     *Contacts     `yaml:"contacts"`
	Hosts        []string      `yaml:"hosts"`    // names by which its bots call the gateway
	Channels     []string      `yaml:"channels"` // its kf accounts, open_kfid
	At           Position      `yaml:"-"`
}

// Subscription is how long the account is paid for.
type Subscription struct {
	ExpiresAt time.Time     `yaml:"expires_at"`
	Grace     time.Duration `yaml:"grace"`
}

// Contacts are the account's external contacts as WeCom counts them.
type Contacts struct {
	Free  int  `yaml:"free"`  // the allowance: 2,000 for a verified company
	Total *int `yaml:"total"` // nil: unknown
}

// Callback is one URL that WeCom calls.
type Callback struct {
	Path           string   `yaml:"path"`
	Token          Secret   `yaml:"token"`
	EncodingAESKey Secret   `yaml:"encoding_aes_key"`
	ReceiveIDs     []string `yaml:"receive_ids"` // corp, suite or provider's corp ids; "" for robots
	ForwardTo      string   `yaml:"forward_to"`  // the bot's URL; "": the gateway answers by itself
	At             Position `yaml:"-"`
}

// What unknown_token, unlisted_account, policy.on_unsure and policy.cold_start may say.
const (
	Auto           = "auto" // of unknown_token: the corp is found by what else the call says
	Reauthenticate = "reauthenticate"
	Refuse         = "refuse"
	Pass           = "pass"
	Busy           = "busy"
)

// What policy.mode and the mode of a rule may say.
const (
	Enforce = "enforce"
	Shadow  = "shadow" // judged and counted, not obeyed
)

// What partial of a rule may say, besides Refuse.
const Trim = "trim" // the call goes on with those who may be reached

// What log.ids may say.
const (
	Plain  = "plain"
	Hashed = "hashed"
)

// What policy.language may say.
const (
	English = "en"
	Chinese = "zh"
)

// Policy is what a lapsed account may do.
type Policy struct {
	Rulesets   []DatedRuleSet `yaml:"ruleset[]"` // in place of Ruleset, to change over on a date
	Ruleset    string         `yaml:"ruleset"`
	Mode       string         `yaml:"mode"`
	UnsureWait time.Duration  `yaml:"unsure_wait"` // how long a reply waits for a doubt to end; 0: not at all
	OnUnsure   string         `yaml:"on_unsure"`
	ColdStart  string         `yaml:"cold_start"`
	Language   string         `yaml:"language"` // of refusals
	Rules      []Rule         `yaml:"rules"`
}

// DatedRuleSet is a rule set with the instant from which it applies.
type DatedRuleSet struct {
	Ruleset Word      `yaml:"ruleset"`
	From    time.Time `yaml:"from"`
	At      Position  `yaml:"-"`
}

// Client is one kind of caller; all of its conditions must hold.
type Client struct {
	Name     string   `yaml:"name"`
	Header   string   `yaml:"header"` // that contains Contains
	Contains string   `yaml:"contains"`
	Networks []string `yaml:"networks"` // that the caller's address is in
	At       Position `yaml:"-"`
}

// UnknownClient is what a caller is that no client describes.
const UnknownClient = "unknown"

// RuleSet is a rule set as it stands in its file.
type RuleSet struct {
	Opens []Word `yaml:"opens"` // the kinds of customers' messages that open a window
	Rules []Rule `yaml:"rules"`
}

// Rule is one rule as it stands in a file; package policy gives its words their meaning.
type Rule struct {
	Name    Word      `yaml:"name"`
	Match   Match     `yaml:"match"`
	From    time.Time `yaml:"from"`
	Until   time.Time `yaml:"until"`
	When    Word      `yaml:"when"`    // an expression over account, call and window
	Percent *int      `yaml:"percent"` // of customers; nil: all
	Action  Word      `yaml:"action"`
	Partial Word      `yaml:"partial"` // of a reply with several recipients: refuse or trim
	Mode    Word      `yaml:"mode"`    // enforce or shadow
	Refusal *Refusal  `yaml:"refusal"`
	At      Position  `yaml:"-"`
}

// Match says which calls a rule is about. An absent list means any.
type Match struct {
	Accounts     []Word `yaml:"accounts"`
	Entities     []Word `yaml:"entities"`
	Standings    []Word `yaml:"standings"`
	Capabilities []Word `yaml:"capabilities"`
	Endpoints    []Word `yaml:"endpoints"`
	MsgTypes     []Word `yaml:"msgtypes"`
	Clients      []Word `yaml:"clients"`
}

// Refusal is a rule's own answer.
type Refusal struct {
	Errcode int      `yaml:"errcode"`
	Errmsg  string   `yaml:"errmsg"`
	At      Position `yaml:"-"`
}

// Limits bound what is read, in bytes.
type Limits struct {
	JudgedBody   Size `yaml:"judged_body"`
	StreamedBody Size `yaml:"streamed_body"`
	ReadAnswer   Size `yaml:"read_answer"`
}

// Log is the gateway's own log and its decision records.
type Log struct {
	Level     string `yaml:"level"`
	Format    string `yaml:"format"`
	Decisions string `yaml:"decisions"` // stdout, or a file
	IDs       string `yaml:"ids"`       // of customers in decision records: plain or hashed
	IDsKey    Secret `yaml:"ids_key"`   // that they are hashed with
}

// Shutdown is how the gateway stops.
type Shutdown struct {
	LameDuck time.Duration `yaml:"lame_duck"`
	Grace    time.Duration `yaml:"grace"`
}

// Default is the configuration of an empty file. It lacks an account, so it is not valid by itself.
func Default() Config {
	return Config{
		Listen:          Listen{API: "127.0.0.1:8080", Callback: "127.0.0.1:8081", Admin: "127.0.0.1:9090"},
		Upstream:        Upstream{URL: "https://qyapi.weixin.qq.com", Timeout: 30 * time.Second},
		Redis:           Redis{Mode: RedisEmbedded, Addrs: []string{"127.0.0.1:6379"}, Timeout: 300 * time.Millisecond, Snapshot: "replygate.snapshot", Prefix: "rg:"},
		Journal:         Journal{Path: "replygate.journal", MaxBytes: 256 << 20},
		Window:          Window{Length: 48 * time.Hour, Replies: 5},
		UnknownToken:    Auto,
		UnlistedAccount: Refuse,
		Policy:          Policy{Ruleset: "reply-only-2024", Mode: Enforce, UnsureWait: 3 * time.Second, OnUnsure: Busy, ColdStart: Pass, Language: English},
		Limits:          Limits{JudgedBody: 1 << 20, StreamedBody: 128 << 20, ReadAnswer: 64 << 20},
		Log:             Log{Level: "info", Format: "json", Decisions: "stdout", IDs: Plain},
		Shutdown:        Shutdown{LameDuck: 2 * time.Second, Grace: 8 * time.Second},
	}
}

// defaultContactsFree is the free scale of a verified company (S10).
const defaultContactsFree = 2000

// Where returns where a key stands, like "policy.ruleset"; the zero Position if the file lacks it.
func (c *Config) Where(key string) Position { return c.where[key] }

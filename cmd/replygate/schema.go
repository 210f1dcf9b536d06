package main

import (
	"replygate/account"
	"replygate/config"
	"replygate/events"
	"replygate/policy"
	"replygate/wecom"
)

// configSchema is the JSON Schema of the configuration, with the words that each key may say.
func configSchema() map[string]any {
	return config.Schema(map[string][]string{
		"redis.mode":                      {config.RedisEmbedded, config.RedisSingle, config.RedisSentinel, config.RedisCluster},
		"window.observe":                  {config.ObserveAll, config.ObserveJudged},
		"console.index":                   {config.IndexWaiting, config.IndexAll},
		"unlisted_account":                {config.Refuse, config.Pass},
		"policy.mode":                     {config.Enforce, config.Shadow},
		"policy.on_unsure":                {config.Busy, config.Pass},
		"policy.cold_start":               {config.Pass, config.Refuse},
		"policy.language":                 {config.English, config.Chinese},
		"policy.ruleset":                  policy.RuleSets(),
		"policy.ruleset.ruleset":          policy.RuleSets(),
		"policy.rules.action":             {"pass", "refuse", "reply"},
		"policy.rules.partial":            {config.Refuse, config.Trim},
		"policy.rules.mode":               {config.Enforce, config.Shadow},
		"policy.rules.match.standings":    words(account.Standings()),
		"policy.rules.match.capabilities": words(wecom.Capabilities()),
		"events.webhooks.types":           events.Patterns(),
		"events.robots.types":             events.Patterns(),
		"events.robots.language":          {config.English, config.Chinese},
		"log.level":                       {"debug", "info", "warn", "error"},
		"log.format":                      {"json", "console"},
		"log.ids":                         {config.Plain, config.Hashed},
	})
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}

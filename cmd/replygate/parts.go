package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"replygate/admin"
	"replygate/window"
)

// The pages that tell what to do about a part.
const (
	docRedis       = "docs/redis.md"
	docReliability = "docs/reliability.md"
	docCallbacks   = "docs/callbacks.md"
	docConfig      = "docs/changing-rules.md"
	docSettings    = "docs/configuration.md"
	docUnanswered  = "docs/unanswered.md"
	docEvents      = "docs/events.md"
)

const (
	redisSkewAlarm  = time.Second
	wecomSkewAlarm  = 5 * time.Second
	failingLately   = time.Minute // since WeCom last gave no answer
	certificateSoon = 14 * 24 * time.Hour
	unverifiedSoon  = time.Hour
)

// parts tells how each part of the gateway is.
func (g *gateway) parts(ctx context.Context) []admin.HealthPart {
	now := g.handler.Now()
	parts := []admin.HealthPart{
		g.redisPart(), g.leasePart(), g.recordsPart(ctx), g.journalPart(), g.clockPart(),
		g.bypassPart(), g.observationsPart(), g.configPart(), g.upstreamPart(now), g.logPart(),
	}
	if c := g.inForce().Config.Events; len(c.Webhooks)+len(c.Robots) > 0 {
		parts = append(parts, g.deliveriesPart())
	}
	if len(g.inForce().Config.Callbacks) > 0 {
		parts = append(parts, g.callbacksPart(now))
	}
	if file := g.Config.Listen.TLS.CertFile; file != "" {
		parts = append(parts, certificatePart(file, now))
	}
	return parts
}

// saying returns a part that says a sentence; code names it.
func saying(name, status, doc, code, text string) admin.HealthPart {
	return admin.HealthPart{Name: name, Status: status, Doc: doc, Code: code, Text: text}
}

func counted(p admin.HealthPart, n int) admin.HealthPart {
	p.Count = &n
	return p
}

// attentionIf is the status of a part that works.
func attentionIf(bad bool) string {
	if bad {
		return admin.StatusAttention
	}
	return admin.StatusOK
}

func (g *gateway) redisPart() admin.HealthPart {
	p := saying("redis", admin.StatusFailed, docReliability, "redis_down", "Redis does not answer: replies that need it are unsure, other calls go on")
	if g.store.Up() {
		p = saying("redis", admin.StatusOK, docRedis, "redis_up", "Redis answers")
		p.Value = fmt.Sprintf("%.1f ms", float64(g.store.PingTime().Microseconds())/1000)
	}
	if at := g.store.UpSince(); !at.IsZero() {
		p.Since = admin.Stamp(at)
	}
	state := g.store.State()
	p.Values = admin.Values{"mode": state.Mode}
	if state.Known {
		maps.Copy(p.Values, admin.Values{
			"primaries": state.Primaries, "role": state.Role, "memory_bytes": state.Memory, "max_memory_bytes": state.MaxMemory,
			"maxmemory_policy": state.Eviction, "appendonly": state.AppendOnly, "at": admin.Stamp(state.At),
		})
		if p.Status == admin.StatusOK && state.MaxMemory > 0 && state.Memory > state.MaxMemory/10*9 {
			values := p.Values
			p = saying("redis", admin.StatusAttention, docRedis, "redis_full", "Redis has used nine tenths of its maxmemory: once it is full, it takes no message")
			p.Value, p.Since, p.Values = fmt.Sprintf("%.1f ms", float64(g.store.PingTime().Microseconds())/1000), admin.Stamp(g.store.UpSince()), values
		}
	}
	return p
}

func (g *gateway) leasePart() admin.HealthPart {
	status := g.windows.Status()
	p := saying("lease", admin.StatusOK, docReliability, "lease_held", "a reply without an open window can be refused")
	if len(status.Causes) > 0 {
		var texts []string
		for _, cause := range status.Causes {
			texts = append(texts, window.Sentence(cause))
		}
		p = saying("lease", admin.StatusAttention, docReliability, "lease_unsure", strings.Join(texts, "; "))
		p.Values = admin.Values{"causes": status.Causes}
	}
	return counted(p, status.Members)
}

func (g *gateway) recordsPart(ctx context.Context) admin.HealthPart {
	if !g.store.Up() {
		return saying("records", admin.StatusAttention, docRedis, "records_unknown", "whether the records are complete cannot be read, since Redis does not answer")
	}
	ctx, cancel := context.WithTimeout(ctx, g.store.Timeout)
	defer cancel()
	complete, since, err := g.windows.HistorySince(ctx, "", "") // pages run no scripts
	switch {
	case err != nil:
		return saying("records", admin.StatusAttention, docRedis, "records_unknown", "whether the records are complete cannot be read from Redis")
	case complete:
		return saying("records", admin.StatusOK, docRedis, "records_complete", "the records of customers' messages are complete")
	}
	p := saying("records", admin.StatusAttention, docRedis, "records_incomplete", "the records of customers' messages are complete only since then, so a missing message proves nothing yet")
	p.Since = admin.Stamp(since)
	return p
}

func (g *gateway) journalPart() admin.HealthPart {
	size, most := g.store.Journal.End()-g.store.Journal.Start(), int64(g.Config.Journal.MaxBytes)
	p := saying("journal", admin.StatusOK, docRedis, "journal_empty", "the journal is empty")
	switch {
	case size > most/10*9:
		p = saying("journal", admin.StatusFailed, docReliability, "journal_full", "the journal is nearly full: once it is, callbacks are answered with 503")
	case g.store.Embedded != nil:
		p = saying("journal", admin.StatusOK, docRedis, "journal_snapshot", "the journal holds the changes since the snapshot")
	case size > 0:
		p = saying("journal", admin.StatusAttention, docReliability, "journal_waiting", "the journal holds messages that Redis lacks, and gives them to it")
	}
	p.Value, p.Values = bytesText(size)+" of "+bytesText(most), admin.Values{"bytes": size, "max_bytes": most}
	return p
}

// bytesText writes a number of bytes with the largest unit of which it has one.
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	unit, names := float64(n)/(1<<10), []string{"KiB", "MiB", "GiB", "TiB"}
	for len(names) > 1 && unit >= 1<<10 {
		unit, names = unit/(1<<10), names[1:]
	}
	return fmt.Sprintf("%.3g %s", unit, names[0])
}

func (g *gateway) clockPart() admin.HealthPart {
	redis, wecom := g.store.Skew(), g.handler.Skew()
	p := saying("clock", admin.StatusOK, docReliability, "clock_agrees", "the clocks of Redis, WeCom and this machine agree")
	switch {
	case redis.Abs() >= redisSkewAlarm:
		p = saying("clock", admin.StatusAttention, docReliability, "clock_of_redis", "Redis's clock and this machine's differ: set both by NTP")
	case wecom.Abs() >= wecomSkewAlarm:
		p = saying("clock", admin.StatusAttention, docReliability, "clock_of_wecom", "WeCom's clock and this machine's differ: set this one by NTP")
	}
	p.Value = fmt.Sprintf("Redis %d ms, WeCom %d ms", redis.Milliseconds(), wecom.Milliseconds())
	p.Values = admin.Values{"redis_ms": redis.Milliseconds(), "wecom_ms": wecom.Milliseconds()}
	return p
}

func (g *gateway) bypassPart() admin.HealthPart {
	n := g.handler.Bypass.Bypassed()
	p := saying("channels_bypassed", admin.StatusOK, docRedis, "bypassed_none", "every channel with replies is pulled through the gateway")
	if n > 0 {
		p = saying("channels_bypassed", admin.StatusAttention, docRedis, "bypassed_some", "replies on these channels pass the gateway, but nobody pulls their messages through it: let the bots call kf/sync_msg through it too")
	}
	return counted(p, n)
}

// observationsPart tells of replies that were not looked at, so that nobody can tell whether their
// chats are answered.
func (g *gateway) observationsPart() admin.HealthPart {
	n := int(g.handler.Observer.Dropped())
	p := saying("observations", admin.StatusOK, docUnanswered, "observations_all", "every reply that passed was looked at")
	if n > 0 {
		p = saying("observations", admin.StatusAttention, docUnanswered, "observations_dropped", "so many replies came at once that some were not looked at: it cannot be told whether their chats are answered")
	}
	return counted(p, n)
}

func (g *gateway) configPart() admin.HealthPart {
	hash, stale := g.version()
	problems := g.problems()
	p := saying("config", admin.StatusOK, docConfig, "config_in_force", "the configuration's files are in force")
	if stale || len(problems) > 0 {
		p = saying("config", admin.StatusAttention, docConfig, "config_stale", strings.Join(problems, "; "))
		p.Values = admin.Values{"problems": problems}
	}
	p.Value = hash
	return p
}

func (g *gateway) upstreamPart(now time.Time) admin.HealthPart {
	a := g.handler.Metrics.UpstreamActivity()
	p := saying("upstream", admin.StatusOK, docReliability, "upstream_answers", "WeCom answers")
	switch lately := !a.Bad.IsZero() && now.Sub(a.Bad) < failingLately; {
	case a.Good.IsZero() && a.Bad.IsZero():
		p = saying("upstream", admin.StatusOK, docReliability, "upstream_unused", "no call has been sent to WeCom yet")
	case lately && a.Bad.After(a.Good):
		p = saying("upstream", admin.StatusFailed, docReliability, "upstream_silent", "WeCom did not answer the last call")
		p.Since = admin.Stamp(a.Bad)
	case lately:
		p = saying("upstream", admin.StatusAttention, docReliability, "upstream_unsteady", "WeCom left calls of the last minute without an answer")
		p.Since = admin.Stamp(a.Bad)
	}
	p.Value = g.upstreamTimes()
	return p
}

// upstreamTimes tells how fast WeCom's answers were since the start, by bounds of the histogram.
func (g *gateway) upstreamTimes() string {
	families, _ := g.measured.Gather()
	for _, f := range families {
		if f.GetName() != "replygate_upstream_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			if n := h.GetSampleCount(); n > 0 && m.GetLabel()[0].GetValue() == "answered" {
				below := func(share float64) string {
					for _, b := range h.GetBucket() {
						if float64(b.GetCumulativeCount()) >= share*float64(n) {
							return fmt.Sprintf("%.4g ms", b.GetUpperBound()*1000)
						}
					}
					return "longer"
				}
				return "p50 " + below(.5) + ", p99 " + below(.99)
			}
		}
	}
	return ""
}

func (g *gateway) logPart() admin.HealthPart {
	n := int(g.logs.Unlogged())
	p := saying("log", admin.StatusOK, docReliability, "log_written", "every record was written")
	if n > 0 {
		p = saying("log", admin.StatusAttention, docReliability, "log_late", "records were not taken in time by their file or stream, and went to standard error")
	}
	return counted(p, n)
}

func (g *gateway) callbacksPart(now time.Time) admin.HealthPart {
	a := g.handler.Metrics.CallbackActivity()
	p := saying("callbacks", admin.StatusOK, docCallbacks, "callbacks_verified", "callbacks are verified")
	switch {
	case !a.Bad.IsZero() && now.Sub(a.Bad) < unverifiedSoon:
		p = saying("callbacks", admin.StatusAttention, docCallbacks, "callbacks_unverified", "a callback within the last hour could not be verified: the log has the cause")
	case a.Good.IsZero():
		p = saying("callbacks", admin.StatusOK, docCallbacks, "callbacks_none", "no callback has come yet")
	}
	if !a.Good.IsZero() {
		p.Since = admin.Stamp(a.Good)
		p.Value, p.Values = "last verified "+p.Since, admin.Values{"at": p.Since}
	}
	return p
}

// certificatePart tells for how long the certificate of the api and callback listeners is valid.
func certificatePart(file string, now time.Time) admin.HealthPart {
	data, err := os.ReadFile(file) // as large as it was when it was loaded
	block, _ := pem.Decode(data)
	if err != nil || block == nil {
		return saying("certificates", admin.StatusAttention, docSettings, "certificate_unreadable", "the file of listen.tls cannot be read: the certificate that was loaded stays in use")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return saying("certificates", admin.StatusAttention, docSettings, "certificate_missing", "the file of listen.tls holds no certificate: the one that was loaded stays in use")
	}
	left, until := cert.NotAfter.Sub(now), admin.Stamp(cert.NotAfter)
	p := saying("certificates", attentionIf(left < certificateSoon), docSettings, "certificate_valid", "the certificate is valid until "+until)
	if left <= 0 {
		p = saying("certificates", admin.StatusFailed, docSettings, "certificate_over", "the certificate is no longer valid: renew it")
	}
	days := int(left / (24 * time.Hour))
	p.Values = admin.Values{"at": until, "days": days}
	return counted(p, days)
}

// sources tells the admin API of the parts of the gateway.
func (g *gateway) sources() admin.Sources {
	return admin.Sources{Parts: []func(context.Context) []admin.HealthPart{g.parts}, Decisions: g.day.counts}
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
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
		g.bypassPart(), g.configPart(), g.upstreamPart(now), g.logPart(),
	}
	if len(g.inForce().Config.Callbacks) > 0 {
		parts = append(parts, g.callbacksPart(now))
	}
	if file := g.Config.Listen.TLS.CertFile; file != "" {
		parts = append(parts, certificatePart(file, now))
	}
	return parts
}

func part(name, status, doc, text string) admin.HealthPart {
	return admin.HealthPart{Name: name, Status: status, Doc: doc, Text: text}
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
	since := ""
	if at := g.store.UpSince(); !at.IsZero() {
		since = at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	p := part("redis", admin.StatusFailed, docReliability, "Redis does not answer: replies that need it are unsure, other calls go on")
	if g.store.Up() {
		p = part("redis", admin.StatusOK, docRedis, "Redis answers")
		p.Value = fmt.Sprintf("%.1f ms", float64(g.store.PingTime().Microseconds())/1000)
	}
	p.Since = since
	return p
}

func (g *gateway) leasePart() admin.HealthPart {
	status := g.windows.Status()
	p := part("lease", admin.StatusOK, docReliability, "a reply without an open window can be refused")
	if len(status.Causes) > 0 {
		var texts []string
		for _, cause := range status.Causes {
			texts = append(texts, window.Sentence(cause))
		}
		p = part("lease", admin.StatusAttention, docReliability, strings.Join(texts, "; "))
	}
	return counted(p, status.Members)
}

func (g *gateway) recordsPart(ctx context.Context) admin.HealthPart {
	if !g.store.Up() {
		return part("records", admin.StatusAttention, docRedis, "whether the records are complete cannot be read, since Redis does not answer")
	}
	ctx, cancel := context.WithTimeout(ctx, g.store.Timeout)
	defer cancel()
	complete, since, err := g.windows.Complete(ctx, "", "")
	switch {
	case err != nil:
		return part("records", admin.StatusAttention, docRedis, "whether the records are complete cannot be read from Redis")
	case complete:
		return part("records", admin.StatusOK, docRedis, "the records of customers' messages are complete")
	}
	p := part("records", admin.StatusAttention, docRedis, "the records of customers' messages are complete only since then, so a missing message proves nothing yet")
	p.Since = since.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	return p
}

func (g *gateway) journalPart() admin.HealthPart {
	size, most := g.store.Journal.End()-g.store.Journal.Start(), int64(g.Config.Journal.MaxBytes)
	p := part("journal", admin.StatusOK, docRedis, "the journal is empty")
	switch {
	case size > most/10*9:
		p = part("journal", admin.StatusFailed, docReliability, "the journal is nearly full: once it is, callbacks are answered with 503")
	case g.store.Embedded != nil:
		p = part("journal", admin.StatusOK, docRedis, "the journal holds the changes since the snapshot")
	case size > 0:
		p = part("journal", admin.StatusAttention, docReliability, "the journal holds messages that Redis lacks, and gives them to it")
	}
	p.Value = fmt.Sprintf("%d of %d bytes", size, most)
	return p
}

func (g *gateway) clockPart() admin.HealthPart {
	redis, wecom := g.store.Skew(), g.handler.Skew()
	p := part("clock", admin.StatusOK, docReliability, "the clocks of Redis, WeCom and this machine agree")
	switch {
	case redis.Abs() >= redisSkewAlarm:
		p = part("clock", admin.StatusAttention, docReliability, "Redis's clock and this machine's differ: set both by NTP")
	case wecom.Abs() >= wecomSkewAlarm:
		p = part("clock", admin.StatusAttention, docReliability, "WeCom's clock and this machine's differ: set this one by NTP")
	}
	p.Value = fmt.Sprintf("Redis %d ms, WeCom %d ms", redis.Milliseconds(), wecom.Milliseconds())
	return p
}

func (g *gateway) bypassPart() admin.HealthPart {
	n := g.handler.Bypass.Bypassed()
	p := part("channels_bypassed", attentionIf(n > 0), docRedis, "every channel with replies is pulled through the gateway")
	if n > 0 {
		p.Text = "replies on these channels pass the gateway, but nobody pulls their messages through it: let the bots call kf/sync_msg through it too"
	}
	return counted(p, n)
}

func (g *gateway) configPart() admin.HealthPart {
	hash, stale := g.version()
	problems := g.problems()
	p := part("config", attentionIf(stale || len(problems) > 0), docConfig, "the configuration's files are in force")
	if p.Status != admin.StatusOK {
		p.Text = strings.Join(problems, "; ")
	}
	p.Value = hash
	return p
}

func (g *gateway) upstreamPart(now time.Time) admin.HealthPart {
	a := g.handler.Metrics.UpstreamActivity()
	p := part("upstream", admin.StatusOK, docReliability, "WeCom answers")
	switch lately := !a.Bad.IsZero() && now.Sub(a.Bad) < failingLately; {
	case a.Good.IsZero() && a.Bad.IsZero():
		p.Text = "no call has been sent to WeCom yet"
	case lately && a.Bad.After(a.Good):
		p = part("upstream", admin.StatusFailed, docReliability, "WeCom did not answer the last call")
		p.Since = a.Bad.UTC().Format(time.RFC3339)
	case lately:
		p = part("upstream", admin.StatusAttention, docReliability, "WeCom left calls of the last minute without an answer")
		p.Since = a.Bad.UTC().Format(time.RFC3339)
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
	p := part("log", attentionIf(n > 0), docReliability, "every record was written")
	if n > 0 {
		p.Text = "records were not taken in time by their file or stream, and went to standard error"
	}
	return counted(p, n)
}

func (g *gateway) callbacksPart(now time.Time) admin.HealthPart {
	a := g.handler.Metrics.CallbackActivity()
	p := part("callbacks", admin.StatusOK, docCallbacks, "callbacks are verified")
	switch {
	case !a.Bad.IsZero() && now.Sub(a.Bad) < unverifiedSoon:
		p = part("callbacks", admin.StatusAttention, docCallbacks, "a callback within the last hour could not be verified: the log has the cause")
	case a.Good.IsZero():
		p.Text = "no callback has come yet"
	}
	if !a.Good.IsZero() {
		p.Since = a.Good.UTC().Format(time.RFC3339)
		p.Value = "last verified " + p.Since
	}
	return p
}

// certificatePart tells for how long the certificate of the api and callback listeners is valid.
func certificatePart(file string, now time.Time) admin.HealthPart {
	data, err := os.ReadFile(file) // as large as it was when it was loaded
	block, _ := pem.Decode(data)
	if err != nil || block == nil {
		return part("certificates", admin.StatusAttention, docSettings, "the file of listen.tls cannot be read: the certificate that was loaded stays in use")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return part("certificates", admin.StatusAttention, docSettings, "the file of listen.tls holds no certificate: the one that was loaded stays in use")
	}
	left := cert.NotAfter.Sub(now)
	p := part("certificates", attentionIf(left < certificateSoon), docSettings, "the certificate is valid until "+cert.NotAfter.UTC().Format(time.RFC3339))
	if left <= 0 {
		p = part("certificates", admin.StatusFailed, docSettings, "the certificate is no longer valid: renew it")
	}
	return counted(p, int(left/(24*time.Hour)))
}

// sources tells the admin API of the parts of the gateway.
func (g *gateway) sources() admin.Sources {
	return admin.Sources{Parts: []func(context.Context) []admin.HealthPart{g.parts}, Decisions: g.day.counts}
}

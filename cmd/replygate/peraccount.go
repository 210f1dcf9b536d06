package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/account"
)

// perAccount is a gauge with a series for each of the first metrics.per_account accounts. The
// number bounds the series, so it is the operator's.
type perAccount struct {
	g     *gateway
	desc  *prometheus.Desc
	value func(*account.Account) (v float64, known bool) // an account that has none has no series
}

func (g *gateway) registerPerAccount(r *prometheus.Registry, name, help string, value func(*account.Account) (v float64, known bool)) {
	r.MustRegister(perAccount{g, prometheus.NewDesc(name, help, []string{"corp_id"}, nil), value})
}

func (p perAccount) Describe(out chan<- *prometheus.Desc) { out <- p.desc }

func (p perAccount) Collect(out chan<- prometheus.Metric) {
	gate := p.g.inForce()
	accounts := gate.Accounts.All()
	for _, a := range accounts[:min(len(accounts), gate.Config.Metrics.PerAccount)] {
		if v, known := p.value(a); known {
			out <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, v, a.CorpID)
		}
	}
}

// lapseTimestamp is when an account lapses, in unix s.
func lapseTimestamp(a *account.Account) (float64, bool) {
	at := a.LapsesAt()
	return float64(at.UnixNano()) / float64(time.Second), !at.IsZero()
}

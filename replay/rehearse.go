package replay

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
)

// Past is a recorded call, decided as if it came at another instant.
type Past struct {
	CorpID   string // "" if the record does not tell
	Path     string
	Client   string
	At       time.Time       // when it came
	Decision policy.Decision // valid if Lacks is nil
	Lacks    error           // what the record does not hold of what decides
}

// Rehearse decides the records of logs as if each had come at the instant that at returns for its
// corp, its customers having written as long before it as they had. It calls each for every record
// of a call, one at a time, in no order. At returns false for a corp whose records are skipped. The
// other arguments and results are those of Run.
func Rehearse(g *gate.Gate, logs io.Reader, read func(bytes int64), at func(corp string) (time.Time, bool), each func(Past)) (unreadable int, err error) {
	batches := make(chan []byte, 2*runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for b := range batches {
				past, bad := rehearseAll(g, b, at)
				mu.Lock()
				unreadable += bad
				for _, p := range past {
					each(p)
				}
				mu.Unlock()
			}
		})
	}
	long, err := split(logs, batches, read)
	close(batches)
	workers.Wait()
	return unreadable + long, err
}

// rehearseAll decides the records of a batch of whole lines.
func rehearseAll(g *gate.Gate, batch []byte, at func(corp string) (time.Time, bool)) (all []Past, unreadable int) {
	for line := range bytes.Lines(batch) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		rec, err := readRecord(line)
		if errors.Is(err, errNoRecord) {
			continue
		} else if err != nil {
			unreadable++
			continue
		}
		then, wanted := at(rec.CorpID)
		if !wanted {
			continue
		}
		p := Past{CorpID: rec.CorpID, Path: rec.Endpoint, Client: rec.bot(g), At: rec.At}
		rec.move(then)
		p.Decision, p.Lacks = rec.judge(g)
		all = append(all, p)
	}
	return all, unreadable
}

// move makes the record one of a call at another instant. What customers did before moves with it.
func (r *record) move(to time.Time) {
	by := to.Sub(r.At).Milliseconds()
	r.At = to
	for i := range r.Windows {
		if r.Windows[i].Last > 0 {
			r.Windows[i].Last += by
		}
	}
	if r.Deadline > 0 {
		r.Deadline += by
	}
}

// bot returns the name of the caller's client, also if no rule needs it.
func (r *record) bot(g *gate.Gate) string {
	if addr, err := netip.ParseAddr(r.Remote); err == nil {
		if name, known := g.Clients.Find(addr, r.contains); known {
			return name
		}
	}
	if r.Client != "" {
		return r.Client
	}
	return config.UnknownClient
}

package gate

import (
	"time"

	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
)

// ObservesAll reports whether replies of all accounts are looked at, also of those that are not
// judged.
func (g *Gate) ObservesAll() bool { return g.Config.Window.Observe == config.ObserveAll }

// Observes reports whether the replies of an account are looked at, so that it can be told who
// waits for an answer.
func (g *Gate) Observes(corp string, at time.Time) bool {
	return g.ObservesAll() || g.Inspect(replyRoute, corp, "", at).Overall != policy.InspectNone
}

var replyRoute = wecom.ReadPath([]byte(wecom.PathSendMsg))

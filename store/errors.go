package store

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrorClass is what an error of a Redis command means for its caller, as a set of bits: READONLY,
// for one, is both an outage and a redirect.
type ErrorClass uint8

// The classes of an error. The zero ErrorClass is success, redis.Nil, or a caller that gave up.
const (
	Outage    ErrorClass = 1 << iota // Redis does not serve now: retry later
	Rejected                         // an error reply: Redis, or a proxy, answered and refused the command
	Redirect                         // the node did nothing, since another one has the key
	CrossSlot                        // a command with several keys was refused because they are not in one slot
	Unusable                         // credentials or rights are wrong: only the operator can repair it
)

// Has reports whether an error belongs to all of the given classes.
func (c ErrorClass) Has(class ErrorClass) bool { return c&class == class }

// errorPrefixes are the error replies that mean more than a refused command. Those of Redis are
// from its sources (src/server.c, createSharedObjects, and src/cluster.c); KVRocks writes "ERR "
// before some of them, which Classify drops.
var errorPrefixes = []struct {
	prefix string
	class  ErrorClass
}{
	{"READONLY", Outage | Redirect},
	{"LOADING", Outage},
	{"CLUSTERDOWN", Outage},
	{"MASTERDOWN", Outage},
	{"TRYAGAIN", Outage},
	{"BUSY ", Outage},
	{"OOM ", Outage},
	{"MISCONF", Outage},
	{"NOREPLICAS", Outage},
	{"MOVED", Redirect},
	{"ASK", Redirect},
}

// unusablePrefixes are the replies to wrong credentials or missing rights. They are looked for
// anywhere in an error, since go-redis joins what several sentinels replied.
var unusablePrefixes = []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR invalid password"}

// Classify returns the classes of an error of a Redis command, also of a wrapped one.
func Classify(err error) (class ErrorClass) {
	if err == nil || errors.Is(err, redis.Nil) {
		return 0
	}
	if unusableReply(err) != "" {
		class |= Unusable
	}
	var reply redis.Error
	switch {
	case errors.Is(err, redis.ErrClosed): // the client of a node that has left the Cluster
		return class | Outage | Redirect
	case errors.Is(err, context.Canceled):
		return class
	case !errors.As(err, &reply):
		return class | Outage
	}
	return class | Rejected | classifyReply(reply.Error())
}

// classifyReply returns the classes of an error reply beyond Rejected.
func classifyReply(text string) (class ErrorClass) {
	if strings.Contains(strings.ToLower(text), "slot") { // proxies have texts of their own for it
		class |= CrossSlot
	}
	text = strings.TrimPrefix(text, "ERR ")
	for _, e := range errorPrefixes {
		if strings.HasPrefix(text, e.prefix) {
			class |= e.class
		}
	}
	return class
}

// unusableReply returns the prefix that makes an error Unusable, "" if none does.
func unusableReply(err error) string {
	for _, prefix := range unusablePrefixes {
		if strings.Contains(err.Error(), prefix) {
			return prefix
		}
	}
	return ""
}

// fromSentinels reports whether the sentinels failed, before any master was known.
func fromSentinels(err error) bool { return strings.Contains(err.Error(), "sentinel") }

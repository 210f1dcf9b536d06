package policy

import (
	"fmt"
	"slices"
	"strings"

	"replygate/config"
	"replygate/wecom"
)

// unknownMsgTypes reports message types that WeCom's documentation does not have. They are not
// mistakes, since WeCom may add one at any time.
func (l *linter) unknownMsgTypes(r *Rule, source config.Rule) {
	all := slices.Clone(source.Match.MsgTypes)
	for _, t := range r.when.msgtypes {
		all = append(all, config.Word{Text: t, At: source.When.At})
	}
	for _, w := range all {
		if w.Text != "" && !slices.Contains(wecom.MsgTypes(), w.Text) {
			l.report(w.At, fmt.Sprintf("rule %s is about the msgtype %q, which WeCom does not document", r.Name, w.Text), config.DidYouMean(w.Text, wecom.MsgTypes()))
		}
	}
}

// entitiesByCase reports entities that differ only in letter case: the gateway takes them for two
// legal entities.
func (l *linter) entitiesByCase(accounts []config.Account) {
	first := map[string]string{}
	for _, a := range accounts {
		folded := strings.ToLower(a.Entity)
		if other, seen := first[folded]; seen && other != a.Entity {
			l.report(a.At, fmt.Sprintf("entity %s of %s differs from entity %s only in letter case", a.Entity, a.CorpID, other), "write both alike if they are one: letter case matters")
			continue
		}
		first[folded] = a.Entity
	}
}

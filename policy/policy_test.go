package policy_test

import (
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// engine compiles a configuration for the corps ww1 and ww2; rules is the YAML below policy.rules.
func engine(t *testing.T, more, rules string) (*policy.Engine, error) {
	t.Helper()
	text := "accounts: [{ corp_id: ww1, entity: acme }, { corp_id: ww2, entity: other }]\npolicy:\n  cold_start: pass\n"
	if more != "" {
		text += "  " + more + "\n"
	}
	if rules != "" {
		text += "  rules:\n" + rules
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return policy.New("test.yaml", c, account.NewBook(c.Accounts))
}

func must(t *testing.T, more, rules string) *policy.Engine {
	t.Helper()
	e, err := engine(t, more, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	now    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	lapsed = policy.Subject{CorpID: "ww1", Entity: "acme", Standing: account.Lapsed}
)

func call(path string, f wecom.Facts) policy.Call {
	return policy.Call{Who: lapsed, Endpoint: wecom.Lookup(path), Facts: f, At: now}
}

func decide(e *policy.Engine, c policy.Call, answers ...window.Answer) policy.Decision {
	return e.Decide(c, e.Match(c), policy.Evidence{Windows: answers})
}

// configured compiles a whole configuration.
func configured(t *testing.T, text string) *policy.Engine {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := policy.New("test.yaml", c, account.NewBook(c.Accounts))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

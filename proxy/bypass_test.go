package proxy

import (
	"fmt"
	"testing"

	"replygate/wecom"
)

func TestBypass(t *testing.T) {
	t.Parallel()
	of := func(channel string) wecom.Page {
		return wecom.Page{Messages: []wecom.Message{{Channel: channel}}}
	}
	b := NewBypass()
	for i, step := range []struct {
		page          *wecom.Page // nil: a reply
		corp, channel string
		first         bool
		bypassed      int
	}{
		{nil, "c1", "k1", true, 1},
		{nil, "c1", "k1", false, 1}, // reported already
		{nil, "c1", "k2", true, 2},
		{nil, "c2", "k1", true, 3}, // another corp's
		{ptr(of("k1")), "c1", "", false, 2},
		{nil, "c1", "k1", false, 2},
		{ptr(wecom.Page{}), "c1", "k2", false, 1}, // an empty page of the channel that the call names
		{ptr(wecom.Page{Codes: []wecom.Code{{Channel: "k3"}}}), "c1", "", false, 1},
		{nil, "c1", "k3", false, 1},
		{ptr(wecom.Page{}), "c2", "", false, 0}, // an empty page of all channels
		{nil, "c2", "k9", false, 0},
	} {
		if step.page != nil {
			b.pageSeen(step.corp, step.channel, *step.page)
		} else if first := b.replyWithoutPages(step.corp, step.channel); first != step.first {
			t.Errorf("step %d: first is %v", i, first)
		}
		if n := b.Bypassed(); n != step.bypassed {
			t.Errorf("step %d: %d channels are bypassed, want %d", i, n, step.bypassed)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestBypassIsBounded(t *testing.T) {
	t.Parallel()
	b := NewBypass()
	for i := range maxBypassed + 10 {
		b.replyWithoutPages("c", fmt.Sprint(i))
	}
	if n := b.Bypassed(); n != maxBypassed {
		t.Errorf("%d channels are watched", n)
	}
	b.pageSeen("c", "0", wecom.Page{}) // one that is watched still counts
	if n := b.Bypassed(); n != maxBypassed-1 {
		t.Errorf("then %d", n)
	}
}

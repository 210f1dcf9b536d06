package gate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"replygate/gate"
	"replygate/window"
)

// memory is a gate.Store that holds windows by customer and codes by text, and records what is done
// to it. A customer without a window has the zero one: closed, never wrote.
type memory struct {
	windows map[string]window.Answer
	codes   map[string]window.CodeAnswer
	did     []string
}

func (m *memory) note(what string, args ...any) { m.did = append(m.did, fmt.Sprintf(what, args...)) }

func (m *memory) Reserve(_ context.Context, k window.Key) window.Answer {
	m.note("reserve %s/%s/%s", k.Corp, k.Channel, k.Customer)
	a := m.windows[k.Customer]
	if a.State == window.Open {
		a.Left--
		m.windows[k.Customer] = a
	}
	return a
}

func (m *memory) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	var names []string
	answers := make([]window.Answer, len(keys))
	for i, k := range keys {
		names = append(names, k.Corp+"/"+k.Channel+"/"+k.Customer)
		answers[i] = m.windows[k.Customer]
	}
	m.note("peek %s", strings.Join(names, " "))
	return answers
}

func (m *memory) ConsumeCode(_ context.Context, corp, code string) window.CodeAnswer {
	m.note("consume %s/%s", corp, code)
	a := m.codes[code]
	if a.State == window.CodeTaken {
		m.codes[code] = window.CodeAnswer{State: window.CodeUsed, Code: a.Code}
	}
	return a
}

func (m *memory) PeekCode(_ context.Context, corp, code string) window.CodeAnswer {
	m.note("peek code %s/%s", corp, code)
	return m.codes[code]
}

// changed reports whether a reply was reserved or a code used up.
func (m *memory) changed() bool {
	return slices.ContainsFunc(m.did, func(s string) bool { return strings.HasPrefix(s, "reserve") || strings.HasPrefix(s, "consume") })
}

var _ gate.Store = (*memory)(nil)

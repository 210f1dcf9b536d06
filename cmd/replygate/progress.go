package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress is a bar on a terminal; elsewhere it is silent.
type progress struct {
	w     io.Writer
	shown bool
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: f}
		}
	}
	return &progress{w: io.Discard}
}

// show draws the bar anew.
func (p *progress) show(done, all int, text string) {
	const width = 30
	filled := width
	if all > 0 {
		filled = width * done / all
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r[%s%s] %s\x1b[K", strings.Repeat("#", filled), strings.Repeat(".", width-filled), text)
}

// end leaves the bar as it is and goes to the next line.
func (p *progress) end() {
	if p.shown {
		fmt.Fprintln(p.w)
	}
}

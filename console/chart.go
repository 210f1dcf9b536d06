package console

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
)

func escape(s string) string { return url.QueryEscape(s) }

// icons are drawings of 16 by 16, shapes those of standings, of 10 by 10: a standing is told by
// shape and word, never by colour alone.
var (
	icons = map[string]string{
		"urgent":    `<path d="M8 1 15.5 15H.5z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/><path d="M8 6v4M8 11.6v1.4" stroke="currentColor" stroke-width="1.6"/>`,
		"attention": `<circle cx="8" cy="8" r="6.8" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M8 4.5V8l2.4 1.6" fill="none" stroke="currentColor" stroke-width="1.6"/>`,
		"info":      `<circle cx="8" cy="8" r="6.8" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="M8 7v4.4M8 4.4V6" stroke="currentColor" stroke-width="1.6"/>`,
		"ok":        `<circle cx="8" cy="8" r="6.8" fill="none" stroke="currentColor" stroke-width="1.6"/><path d="m5 8.2 2.2 2.2L11.2 6" fill="none" stroke="currentColor" stroke-width="1.6"/>`,
	}
	iconClass = map[string]string{"urgent": "urgent", "attention": "soon", "info": "dim", "ok": "ok"}
	shapes    = map[string]string{
		"active": `<circle cx="5" cy="5" r="4.5" fill="currentColor"/>`,
		"grace":  `<circle cx="5" cy="5" r="4" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M5 1a4 4 0 0 1 0 8z" fill="currentColor"/>`,
		"lapsed": `<rect x=".5" y=".5" width="9" height="9" fill="currentColor"/>`,
		"free":   `<path d="M5 .5 9.5 5 5 9.5.5 5z" fill="none" stroke="currentColor" stroke-width="1.5"/>`,
		"full":   `<path d="M5 .8 9.6 9.2H.4z" fill="currentColor"/>`,
	}
)

// icon draws an icon: urgent, attention, info or ok.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="` + iconClass[name] + `" viewBox="0 0 16 16" aria-hidden="true">` + icons[name] + `</svg>`)
}

// shape draws the shape of a standing; of one that is not known, none.
func shape(standing string) template.HTML {
	return template.HTML(`<svg viewBox="0 0 10 10" aria-hidden="true">` + shapes[standing] + `</svg>`)
}

// part is a part of a bar; its class gives the colour.
type part struct {
	Class string
	N     int
}

// bar draws the parts of a whole beside each other. A part that is there is seen, however small.
func bar(label string, total int, parts []part) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bar" viewBox="0 0 1000 8" preserveAspectRatio="none" %s><rect class="track" width="1000" height="8"/>`, named(label))
	x := 0.0
	for _, p := range parts {
		if p.N <= 0 || total <= 0 || x >= 1000 {
			continue
		}
		width := min(max(float64(p.N)*1000/float64(total), 6), 1000-x)
		fmt.Fprintf(&b, `<rect class="f-%s" x="%.1f" width="%.1f" height="8"/>`, p.Class, x, width)
		x += width
		if len(parts) > 1 {
			x += 4
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// named are the attributes of a drawing with a label; without one it is decoration.
func named(label string) string {
	if label == "" {
		return `aria-hidden="true"`
	}
	return `role="img" aria-label="` + template.HTMLEscapeString(label) + `"`
}

// spark draws a line of values over time.
func spark(label string, values []int) template.HTML {
	const width, height = 300.0, 40.0
	top := 1
	for _, v := range values {
		top = max(top, v)
	}
	var line strings.Builder
	for i, v := range values {
		x, y := width*float64(i)/float64(max(len(values)-1, 1)), height-4-float64(v)*(height-8)/float64(top)
		fmt.Fprintf(&line, "%s%.1f,%.1f ", map[bool]string{true: "M", false: "L"}[i == 0], x, y)
	}
	points := strings.TrimSpace(line.String())
	if points == "" {
		points = "M0,36"
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 300 40" preserveAspectRatio="none" %s><path class="area" d="M0,40 L%s L300,40z"/><path class="line" d="%s"/></svg>`,
		named(label), strings.TrimPrefix(points, "M"), points))
}

// column is a column of a histogram; Label is below it, "" for none.
type column struct {
	Class, Label string
	N            int
}

// histogram draws columns with their numbers.
func histogram(label string, columns []column) template.HTML {
	const step, height = 40, 80.0
	top := 1
	for _, c := range columns {
		top = max(top, c.N)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="hist" viewBox="0 0 %d 118" %s><line x1="0" x2="%d" y1="96.5" y2="96.5"/>`, step*len(columns), named(label), step*len(columns))
	for i, c := range columns {
		x, h := i*step, float64(c.N)*height/float64(top)
		if c.N > 0 {
			fmt.Fprintf(&b, `<rect class="f-%s" x="%d" width="30" y="%.1f" height="%.1f" rx="2"/><text x="%d" y="%.1f" text-anchor="middle">%s</text>`, c.Class, x+5, 96-h, h, x+20, 91-h, number(c.N))
		}
		if c.Label != "" {
			fmt.Fprintf(&b, `<text x="%d" y="112" text-anchor="middle">%s</text>`, x+20, template.HTMLEscapeString(c.Label))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

package admin

import (
	"encoding/csv"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	exportEvery = 500              // rows after which an export is flushed
	exportStall = 30 * time.Second // that the client may take for so many rows
	exportLimit = 10 * time.Minute // for a whole export
)

// export streams rows as CSV: format=csv of a list. T is a struct, and its JSON names are the head
// line. One export runs at a time. If the first row cannot be read the answer says so. After that
// the connection breaks off, so that the client does not take a part for the whole.
func export[T any](a *Admin, w http.ResponseWriter, name string, rows iter.Seq2[T, error]) {
	if !a.exporting.TryLock() {
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusTooManyRequests, "too_many", "another export is running; try again soon")
		return
	}
	defer a.exporting.Unlock()
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out, conn, began := csv.NewWriter(w), http.NewResponseController(w), time.Now()
	extend := func() { _ = conn.SetWriteDeadline(time.Now().Add(exportStall)) } // a test's recorder has none
	extend()
	fields := columns(reflect.TypeFor[T]())
	_ = out.Write(head(fields))
	n := 0
	for row, err := range rows {
		if err != nil && n == 0 {
			w.Header().Del("Content-Disposition")
			storeAway(w, err)
			return
		}
		if err != nil || time.Since(began) > exportLimit {
			panic(http.ErrAbortHandler)
		}
		_ = out.Write(cells(fields, row))
		if n++; n%exportEvery != 0 {
			continue
		}
		if out.Flush(); out.Error() != nil {
			return // the client has gone
		}
		extend()
	}
	out.Flush()
}

// columns returns the fields of a row's type that its JSON has, those of embedded structs included.
func columns(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
		return f.Anonymous || jsonName(f) == "-"
	})
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func head(fields []reflect.StructField) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = jsonName(f)
	}
	return names
}

func cells(fields []reflect.StructField, row any) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = cell(reflect.ValueOf(row).FieldByIndex(f.Index))
	}
	return all
}

// cell formats a value: a nil pointer is empty, a list has blanks between its items.
func cell(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return cell(v.Elem())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return harmless(strings.Join(items, " "))
	case reflect.String:
		return harmless(v.String())
	case reflect.Struct:
		return harmless(fmt.Sprint(v.Interface())) // it has a String method
	}
	return fmt.Sprint(v.Interface())
}

// harmless puts an apostrophe before a text that a spreadsheet would take for a formula. Numbers
// are none.
func harmless(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

package admin

import (
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	exportStall = 30 * time.Second // in which a page must be read, and the client take it
	exportLimit = 10 * time.Minute // for a whole export
)

// export streams the rows of pages as CSV: format=csv of a list. T is a struct, and its JSON names
// are the head line. One export runs at a time. If a page cannot be read before the first row the
// answer says so. After that the connection breaks off, so that the client does not take a part for
// the whole. A page may have no rows.
func export[T any](a *Admin, w http.ResponseWriter, name string, pages iter.Seq2[[]T, error]) {
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
	begun := false
	for rows, err := range pages {
		if err != nil && !begun {
			w.Header().Del("Content-Disposition")
			failExport(w, err)
			return
		}
		if err != nil || time.Since(began) > exportLimit {
			panic(http.ErrAbortHandler)
		}
		extend()
		if len(rows) == 0 {
			continue
		}
		begun = true
		for _, row := range rows {
			_ = out.Write(cells(fields, row))
		}
		if out.Flush(); out.Error() != nil {
			return // the client has gone
		}
	}
	out.Flush()
}

// failExport answers an export that has no rows, since they cannot be read.
func failExport(w http.ResponseWriter, err error) {
	if p := (noResult{}); errors.As(err, &p) {
		failWith(w, err)
		return
	}
	storeAway(w, err)
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

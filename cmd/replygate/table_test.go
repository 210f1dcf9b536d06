package main

import (
	"bytes"
	"testing"
)

// Columns are aligned as a terminal shows them, and cells cannot move its cursor.
func TestTable(t *testing.T) {
	var table table
	table.row("NAME", "STATE", "LAST")
	table.row("Acme East", "lapsed", "")
	table.row("深圳示例科技有限公司", "lapsed", "2026-11-30")
	table.row("ｆｕｌｌ（全角）", "有效", "x")
	table.row("e\u0301te\u0301", "a\x1b[31mb\nc\u202ed", "y")
	var out bytes.Buffer
	if err := table.print(&out); err != nil {
		t.Fatal(err)
	}
	want := "NAME                  STATE        LAST\n" +
		"Acme East             lapsed\n" +
		"深圳示例科技有限公司  lapsed       2026-11-30\n" +
		"ｆｕｌｌ（全角）      有效         x\n" +
		"e\u0301te\u0301                   a�[31mb�c�d  y\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 accounts", 1: "1 account", 2: "2 accounts"} {
		if got := count(n, "account"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

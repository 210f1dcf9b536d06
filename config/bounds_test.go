package config

import "testing"

// Aliases can unfold a small file to more values than memory holds. The count starts near its
// bound, since a file that reaches the bound takes seconds to read.
func TestTooManyValues(t *testing.T) {
	const tooMany = "f:1:1: the file unfolds to too many values: use fewer aliases"
	const values = 5 // a list, two mappings, a corp_id in each
	for left, want := range map[int]string{values: "", values - 1: tooMany} {
		var list []Account
		d := newDecoder("f")
		d.nodes = maxNodes - left
		if got := text(d.readInto([]byte("- &a { corp_id: ww1 }\n- *a\n"), &list)); got != want {
			t.Errorf("Decode with room for %d: %q, want %q", left, got, want)
		}
		d = newDecoder("f")
		d.nodes = maxNodes - left - 1 // for the mapping that holds the list
		if _, err := d.readConfig([]byte("accounts: [&a { corp_id: ww1 }, { corp_id: ww2 }]\n")); text(err) != want {
			t.Errorf("Parse with room for %d: %v, want %q", left, err, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

package wecom_test

import (
	"strings"
	"testing"

	"replygate/wecom"
)

// A body that can be read as a form, with the types that declare one.
func TestCheckForm(t *testing.T) {
	for _, c := range cases(t, "wecom/forms.tsv", 4) {
		e, body := wecom.Lookup(c[0]), []byte(strings.ReplaceAll(c[2], `\n`, "\n"))
		f, err := e.ReadFacts(nil, body)
		if err != nil {
			err = wecom.ExplainForm(c[1], body, err)
		} else {
			err = e.CheckForm(c[1], body)
		}
		checkRead(t, c[1]+" "+c[2], f, err, c[3])
	}
}

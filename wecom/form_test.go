package wecom_test

import (
	"errors"
	"strings"
	"testing"

	"replygate/wecom"
)

// Bodies with the Content-Types that declare forms.
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

// Only a body that is a form, and declared as one, gets the error about forms.
func TestExplainForm(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	const form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for _, test := range []struct {
		types, body string
		isForm      bool
	}{
		{form, "touser=wmA&msgtype=text", true},
		{form, "touser=", true},
		{form, "=", true},
		{"APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8", "touser=wmA", true},
		{"application/json," + form, "touser=wmA", true},
		{multipart, "--b\r\nContent-Disposition: form-data; name=\"touser\"\r\n\r\nwmA\r\n--b--", true},
		{multipart, "touser=wmA", true},
		{form, "", false},
		{form, "touser", false},
		{form, "touser :x", false},
		{form, "to user=wmA", false},
		{form, `["a=b"]`, false},
		{form, `"a=b"`, false},
		{form, `{"touser":"wmA"`, false},
		{form, " \n{\"touser\":\"wmA\"", false},
		{form, "\xef\xbb\xbf{", false},
		{form, "touser\xff=wmA", false},
		{"application/json", "touser=wmA", false},
		{"text/plain", "touser=wmA", false},
		{"", "touser=wmA", false},
	} {
		err := wecom.ExplainForm(test.types, []byte(test.body), cause)
		if isForm := strings.Contains(err.Error(), "the body is a form; send JSON"); isForm != test.isForm || !isForm && err != cause {
			t.Errorf("%s %q: %v", test.types, test.body, err)
		}
	}
}

// A JSON body without form fields passes with any Content-Type.
func TestCheckFormOfPlainBodies(t *testing.T) {
	t.Parallel()
	body := []byte(`{"touser":"wmA","open_kfid":"wkA","msgtype":"text","text":{"content":"1 + 1 = 2 & 2; 50% off"}}`)
	for _, types := range []string{
		"", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=----x", "multipart/mixed; boundary=\"a b\"",
		"multipart/form-data; boundary", "form", "urlencoded", "application/json,multipart/form-data;boundary=b;boundary=c",
	} {
		if err := wecom.Lookup(replyPath).CheckForm(types, body); err != nil {
			t.Errorf("%s: %v", types, err)
		}
	}
}

// A delimiter of any boundary in the Content-Type makes a body ambiguous.
func TestCheckFormFindsParts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ types, text string }{
		{"multipart/form-data; boundary=AaB", "--aab"},
		{"multipart/form-data; boundary=\"AaB\"", "--AAB"},
		{"multipart/form-data; boundary='x'", "--'x'"},
		{"multipart/form-data; boundary=x; boundary=y", "--y"},
		{"multipart/form-data; charset=utf-8; boundary=x", "--x"},
		{"multipart/form-data; boundary=x,multipart/form-data; boundary=y", "--y"},
		{"multipart/form-data; boundary=", "--"},
		{"multipart/form-data", "CONTENT-disposition"},
	} {
		body := []byte(`{"touser":"wmA","text":{"content":"` + test.text + `"}}`)
		if err := wecom.Lookup(replyPath).CheckForm(test.types, body); err == nil || !strings.Contains(err.Error(), "multipart form") {
			t.Errorf("%s %s: %v", test.types, body, err)
		}
	}
}

// A form field must have the value of the JSON member of its name.
func TestCheckFormCompares(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path, body string
		good       bool
	}{
		{replyPath, `{"touser":"wmA","x":"&touser=wmA&"}`, true},
		{replyPath, `{"touser":"wm\u0041","x":"&touser=wmA&"}`, true},
		{replyPath, `{"touser":"wmA","x":"&touser=wm%41&"}`, true},
		{replyPath, `{"touser":"wmA","x":"&touser=wmA&touser=wmA;touser=wmA&"}`, true},
		{replyPath, `{"touser":"wmA","x":"&touser=wmA&touser=wmB&"}`, false},
		{replyPath, `{"touser":"wmA","x":"&touser&"}`, false},
		{replyPath, `{"touser":"wmA","x":"&touser=wma&"}`, false},
		{replyPath, `{"msgtype":"text","x":"&touser=&"}`, false}, // no member at all
		{replyPath, `{"touser":null,"x":"&touser=null&"}`, false},
		{replyPath, `{"touser":"wmA","x":"&touser_id=wmB&xtouser=wmB&"}`, true},
		{massPath, `{"external_userid":["a"],"x":"&external_userid=a&"}`, true},
		{massPath, `{"external_userid":[ "a" ],"x":"&external_userid[0]=a&"}`, true},
		{massPath, `{"external_userid":["a","b"],"x":"&external_userid=a&"}`, false},
		{massPath, `{"external_userid":[],"x":"&external_userid=&"}`, false},
		{massPath, `{"external_userid":["a"],"sender":"z","x":"&sender=y&"}`, true}, // only its type is checked
	} {
		if err := wecom.Lookup(test.path).CheckForm("application/x-www-form-urlencoded", []byte(test.body)); (err == nil) != test.good {
			t.Errorf("%s: %v", test.body, err)
		}
	}
}

package wecom_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"replygate/internal/lineartest"
	"replygate/wecom"
)

// contacts returns a page of contacts with the rows and more members.
func contacts(more string, rows ...string) string {
	return `{"errcode":0,"errmsg":"ok","info_list":[` + strings.Join(rows, ",") + `]` + more + `}`
}

// The sample of DOC 99434: a customer in a chat and in a group, and persons who are no customers.
func TestReadContactPage(t *testing.T) {
	t.Parallel()
	body := contacts(`,"next_cursor":"NEXT"`,
		`{"is_customer":false,"name":"**A","tmp_openid":"to-2","follow_userid":"clerk2","chat_name":"g2","add_time":1694418699}`,
		`{"is_customer":true,"tmp_openid":"to-1","external_userid":"wmA","follow_userid":"clerk1","add_time":1694418699}`,
		`{"is_customer":true,"tmp_openid":"to-1","external_userid":"wmA","chat_id":"wrG","add_time":1694418699}`)
	want := wecom.ContactPage{Next: "NEXT", Rows: []wecom.ContactRow{
		{TmpOpenID: "to-2", FollowUserID: "clerk2"},
		{TmpOpenID: "to-1", ExternalUserID: "wmA", IsCustomer: true, FollowUserID: "clerk1"},
		{TmpOpenID: "to-1", ExternalUserID: "wmA", IsCustomer: true, ChatID: "wrG"},
	}}
	for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body)), iotest.DataErrReader(strings.NewReader(body))} {
		if got, err := wecom.ReadContactPage(r); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// What may be on a page without harm to the count, and what makes the whole page unreadable. want
// has the tmp_openids in their order, ! for ErrUnreadable, and an errcode otherwise.
func TestReadContactPages(t *testing.T) {
	t.Parallel()
	const a, b = `{"is_customer":true,"tmp_openid":"A"}`, `{"is_customer":false,"tmp_openid":"B"}`
	row := func(more string) string { return `{"tmp_openid":"B",` + more + `}` }
	for name, test := range map[string]struct{ body, want string }{
		"two rows":                        {contacts(``, a, b), "A B"},
		"a person in two rows":            {contacts(``, a, b, a), "A B A"},
		"no row":                          {contacts(`,"next_cursor":""`), ""},
		"a page without rows, not last":   {contacts(`,"next_cursor":"C"`), ""},
		"no list beside a cursor":         {`{"errcode":0,"next_cursor":""}`, ""},
		"a null list beside a cursor":     {`{"errcode":0,"info_list":null,"next_cursor":"C"}`, ""},
		"another order":                   {`{"next_cursor":"C","info_list":[` + a + `],"errmsg":"ok","errcode":0}`, "A"},
		"a null cursor":                   {contacts(`,"next_cursor":null`, a), "A"},
		"members of tomorrow":             {contacts(`,"total":{"x":[1,2]}`, row(`"x":{"y":[null]}`), a), "B A"},
		"errcode in quotes":               {`{"errcode":"0","info_list":[` + a + `]}`, "A"},
		"a byte order mark":               {"\xEF\xBB\xBF" + contacts(``, a), "A"},
		"white space":                     {" \r\n" + contacts("\n,\t\"x\" : 1 ", "\n"+a+" ", b) + "\n", "A B"},
		"control characters in a name":    {contacts(``, row("\"name\":\"a\x00b\n\x1b[1m\""), a), "B A"},
		"control characters in a chat":    {contacts(``, row("\"chat_name\":\"\x01\""), a), "B A"},
		"bad UTF-8 in a name":             {contacts(``, row("\"name\":\"\xff\xc4\xe3\""), a), "B A"},
		"half a surrogate in a name":      {contacts(``, row(`"name":"\ud83d"`), a), "B A"},
		"a row in a name":                 {contacts(``, row(`"name":"},{\"tmp_openid\":\"X\"},{"`), a), "B A"},
		"a name in escapes":               {contacts(``, `{"tmp\u005fopenid":"\u0041"}`), "A"},
		"a member without an id":          {contacts(``, row(`"follow_userid":7,"external_userid":null,"chat_id":"a b"`)), "B"},
		"is_customer as a number":         {contacts(``, row(`"is_customer":1`), `{"tmp_openid":"A","is_customer":0}`), "B A"},
		"is_customer absent or null":      {contacts(``, `{"tmp_openid":"A"}`, row(`"is_customer":null`)), "A B"},
		"the longest id":                  {contacts(``, `{"tmp_openid":"`+strings.Repeat("x", wecom.MaxID)+`"}`), strings.Repeat("x", wecom.MaxID)},
		"too often":                       {`{"errcode":45009,"errmsg":"api freq out of limit"}`, "45009"},
		"too many at once":                {`{"errcode":45033,"errmsg":"x","info_list":[]}`, "45033"},
		"a failure with rows":             {`{"errcode":-1,"info_list":[` + a + `]}`, "-1"},
		"a failure after rows":            {`{"info_list":[` + a + `],"errcode":"48002"}`, "48002"},
		"a failure that is cut":           {`{"errcode":48002,"errmsg":"api for`, "48002"},
		"a failure of a partly read call": {`{"errcode":40058,"errmsg":"Warning: wrong json format. x"}`, "40058"},

		"a partly read call":         {strings.Replace(contacts(``, a), "ok", "Warning: wrong json format. ok", 1), "!"},
		"one with bad UTF-8":         {strings.Replace(contacts(``, a), "ok", "Warning: wrong json format. \xff", 1), "!"},
		"no errcode":                 {`{"info_list":[` + a + `],"next_cursor":""}`, "!"},
		"a null errcode":             {`{"errcode":null,"info_list":[` + a + `]}`, "!"},
		"an errcode that is none":    {`{"errcode":"x","info_list":[` + a + `]}`, "!"},
		"neither list nor cursor":    {`{"errcode":0,"errmsg":"ok"}`, "!"},
		"a null list alone":          {`{"errcode":0,"info_list":null}`, "!"},
		"a list that is an object":   {`{"errcode":0,"info_list":{},"next_cursor":""}`, "!"},
		"a list that is a text":      {`{"errcode":0,"info_list":"[]","next_cursor":""}`, "!"},
		"a list twice":               {contacts(`,"info_list":[]`, a), "!"},
		"a null list after a list":   {contacts(`,"info_list":null`, a), "!"},
		"a cursor twice":             {contacts(`,"next_cursor":"","next_cursor":"C"`, a), "!"},
		"an errcode twice":           {contacts(`,"errcode":0`, a), "!"},
		"a name twice, in escapes":   {contacts(`,"next_cursor":"C","next\u005fcursor":""`, a), "!"},
		"a cursor that is a number":  {contacts(`,"next_cursor":7`, a), "!"},
		"a cursor with a blank":      {contacts(`,"next_cursor":"a b"`, a), "!"},
		"a cursor with a control":    {contacts(",\"next_cursor\":\"a\x00\"", a), "!"},
		"a cursor in bad UTF-8":      {contacts(",\"next_cursor\":\"\xff\"", a), "!"},
		"a cursor longer than any":   {contacts(`,"next_cursor":"`+strings.Repeat("c", 1025)+`"`, a), "!"},
		"no person":                  {contacts(``, a, `{"is_customer":true}`), "!"},
		"a null person":              {contacts(``, a, `{"tmp_openid":null}`), "!"},
		"an empty person":            {contacts(``, a, `{"tmp_openid":""}`), "!"},
		"a person that is a number":  {contacts(``, a, `{"tmp_openid":7}`), "!"},
		"a person with a blank":      {contacts(``, a, `{"tmp_openid":"A "}`), "!"},
		"a person with a control":    {contacts(``, a, "{\"tmp_openid\":\"A\x00\"}"), "!"},
		"a person in bad UTF-8":      {contacts(``, a, "{\"tmp_openid\":\"A\xff\"}"), "!"},
		"a person longer than any":   {contacts(``, a, `{"tmp_openid":"`+strings.Repeat("x", wecom.MaxID+1)+`"}`), "!"},
		"a person twice in a row":    {contacts(``, a, `{"tmp_openid":"A","tmp_openid":"B"}`), "!"},
		"is_customer that is a text": {contacts(``, a, row(`"is_customer":"yes"`)), "!"},
		"a row that is a text":       {contacts(``, a, `"B"`), "!"},
		"a row that is null":         {contacts(``, a, `null`), "!"},
		"a row that is a list":       {contacts(``, a, `[]`), "!"},
		"a row that is broken":       {contacts(``, a, row(`"x":tru`)), "!"},
		"a quote in a name":          {contacts(``, a, row(`"name":"5" wide"`)), "!"},
		"a comma too many":           {contacts(``, a, b, ``), "!"},
		"a comma too few":            {contacts(``, a+b), "!"},
		"a comma at the end":         {contacts(`,`, a), "!"},
		"a comma at the beginning":   {`{,"errcode":0,"info_list":[]}`, "!"},
		"a member without a value":   {contacts(`,"x"`, a), "!"},
		"a member that is broken":    {contacts(`,"x":tru`, a), "!"},
		"a name that is a number":    {contacts(`,1:2`, a), "!"},
		"cut after a row":            {`{"errcode":0,"info_list":[` + a, "!"},
		"cut after the list":         {`{"errcode":0,"info_list":[` + a + `]`, "!"},
		"cut in a row":               {`{"errcode":0,"info_list":[` + a + `,{"tmp_open`, "!"},
		"something after the page":   {contacts(``, a) + "x", "!"},
		"a page after the page":      {contacts(``, a) + contacts(``, b), "!"},
		"a list":                     {`[` + contacts(``, a) + `]`, "!"},
		"an HTML page":               {`<html>`, "!"},
		"nothing":                    {``, "!"},
		"more rows than a page has":  {contacts(``, strings.Split(strings.Repeat(a+"\n", 10_001), "\n")[:10_001]...), "!"},
		"a value longer than any":    {contacts(`,"x":"`+strings.Repeat("x", 2<<20)+`"`, a), "!"},
		"a row longer than any":      {contacts(``, a, row(`"name":"`+strings.Repeat("x", 2<<20)+`"`)), "!"},
		"a row that is deep":         {contacts(``, a, row(`"x":`+nested(20_000))), "!"},
	} {
		page, err := wecom.ReadContactPage(strings.NewReader(test.body))
		var ids []string
		for _, r := range page.Rows {
			ids = append(ids, r.TmpOpenID)
		}
		got := strings.Join(ids, " ")
		switch {
		case err != nil:
			got = "!"
			if !errors.Is(err, wecom.ErrUnreadable) || !reflect.DeepEqual(page, wecom.ContactPage{}) {
				t.Errorf("%s: %+v, %v", name, page, err)
			}
		case page.Errcode != 0:
			got = fmt.Sprint(page.Errcode)
			if !reflect.DeepEqual(page, wecom.ContactPage{Errcode: page.Errcode}) {
				t.Errorf("%s: %+v", name, page)
			}
		}
		if got != test.want {
			t.Errorf("%s: %.100q, want %.100q", name, got, test.want)
		}
	}
}

// An aborted answer is unreadable wherever it ends.
func TestCutContactPages(t *testing.T) {
	t.Parallel()
	body := contacts(`,"next_cursor":"C"`, `{"is_customer":true,"tmp_openid":"A"}`, `{"tmp_openid":"B"}`)
	for n := range len(body) {
		if page, err := wecom.ReadContactPage(strings.NewReader(body[:n])); err == nil {
			t.Errorf("%s is read as %+v", body[:n], page)
		}
	}
	if _, err := wecom.ReadContactPage(strings.NewReader(body)); err != nil {
		t.Error(err)
	}
}

// The cursor of a call, ! if servers could read different ones.
func TestContactCursor(t *testing.T) {
	t.Parallel()
	call := func(body string) wecom.Sent { return wecom.Sent{Body: []byte(body), HasBody: true} }
	form := call(`{"x":"&cursor=D","cursor":"C"}`)
	form.Types = "application/x-www-form-urlencoded"
	packed := call(`{"cursor":"C"}`)
	packed.Encodings = "gzip"
	query := call(`{"cursor":"C"}`)
	query.Query = []byte("access_token=T&cursor=D")
	inName := call(`{"cursor":"C"}`)
	inName.Query = []byte("access_token=T&Cursor=D")
	for name, test := range map[string]struct {
		call wecom.Sent
		want string
	}{
		"the first page":          {call(`{"limit":1000}`), ""},
		"an empty cursor":         {call(`{"cursor":"","limit":1000}`), ""},
		"an empty object":         {call(`{}`), ""},
		"a later page":            {call(`{"cursor":"C1","limit":1000}`), "C1"},
		"base64 as PHP writes it": {call(`{"cursor":"a\/b+c=="}`), "a/b+c=="},
		"unicode escapes":         {call(`{"cursor":"\u0043"}`), "C"},
		"an unknown member":       {call(`{"x":{"cursor":"D"},"cursor":"C"}`), "C"},
		"the longest cursor":      {call(`{"cursor":"` + strings.Repeat("c", 1024) + `"}`), strings.Repeat("c", 1024)},
		"a longer one":            {call(`{"cursor":"` + strings.Repeat("c", 1025) + `"}`), "!"},
		"null":                    {call(`{"cursor":null}`), "!"},
		"a number":                {call(`{"cursor":7}`), "!"},
		"a blank":                 {call(`{"cursor":"C "}`), "!"},
		"a control character":     {call(`{"cursor":"C\u0000"}`), "!"},
		"a raw control character": {call("{\"x\":\"\n\",\"cursor\":\"C\"}"), "!"},
		"twice":                   {call(`{"cursor":"C","cursor":"D"}`), "!"},
		"another letter case":     {call(`{"Cursor":"C"}`), "!"},
		"a blank in the name":     {call(`{"cursor ":"C"}`), "!"},
		"not JSON":                {call(`cursor=C`), "!"},
		"cut":                     {call(`{"cursor":"C"`), "!"},
		"a byte order mark":       {call("\ufeff" + `{"cursor":"C"}`), "!"},
		"no body":                 {wecom.Sent{}, "!"},
		"a body that was long":    {wecom.Sent{HasBody: true}, "!"},
		"a form":                  {form, "!"},
		"compressed":              {packed, "!"},
		"in the query too":        {query, "!"},
		"in the query, in case":   {inName, "!"},
	} {
		got, ok := wecom.ContactCursor(test.call)
		if !ok {
			if got != "" {
				t.Errorf("%s: %q, but not ok", name, got)
			}
			got = "!"
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// hostileContacts has pages of about n bytes that cost the most to read.
var hostileContacts = map[string]func(n int) string{
	"rows":           func(n int) string { return contacts(``, rowsOf(n, `{"tmp_openid":"A"}`)...) },
	"empty rows":     func(n int) string { return contacts(``, rowsOf(n, `{}`)...) },
	"escapes":        func(n int) string { return contacts(``, `{"tmp_openid":"`+strings.Repeat(`\u0041`, n/6)+`"}`) },
	"controls":       func(n int) string { return contacts(``, `{"tmp_openid":"A","name":"`+strings.Repeat("\x01", n)+`"}`) },
	"a deep row":     func(n int) string { return contacts(``, `{"tmp_openid":"A","x":`+nested(min(n/2, 9000))+`}`) },
	"open brackets":  func(n int) string { return `{"errcode":0,"info_list":` + strings.Repeat("[", n) },
	"white space":    func(n int) string { return `{"errcode":0,` + strings.Repeat(" \x00", n/2) + `"info_list":[]}` },
	"members":        func(n int) string { return contacts(strings.Repeat(`,"x":1`, n/6)) },
	"names in a row": func(n int) string { return contacts(``, `{"tmp_openid":"A"`+distinct(n)+`}`) },
	"quotes":         func(n int) string { return contacts(``, rowsOf(n, `{"tmp_openid":"a"b"}`)...) },
	"a long string":  func(n int) string { return `{"errcode":0,"errmsg":"` + strings.Repeat(`\"`, n/2) },
}

// rowsOf returns as many copies of a row as fit in n bytes.
func rowsOf(n int, row string) []string { return slices.Repeat([]string{row}, n/(len(row)+1)) }

// distinct returns about n bytes of members with different names.
func distinct(n int) string {
	var b strings.Builder
	for i := range n / 13 {
		fmt.Fprintf(&b, `,"n%07d":1`, i)
	}
	return b.String()
}

// Reading a page takes linear time.
func TestContactPagesAreLinear(t *testing.T) {
	for shape, text := range hostileContacts {
		lineartest.Check(t, "page of "+shape, text, func(s string) { _, _ = wecom.ReadContactPage(strings.NewReader(s)) })
	}
}

// BenchmarkReadContactPage reads a page of 1,000 rows.
func BenchmarkReadContactPage(b *testing.B) {
	rows := make([]string, 1000)
	for i := range rows {
		rows[i] = fmt.Sprintf(`{"is_customer":true,"tmp_openid":"to%026d","external_userid":"wm%030d","follow_userid":"clerk%d","add_time":1694418699}`, i, i, i%40)
	}
	body := contacts(`,"next_cursor":"NEXT"`, rows...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if page, err := wecom.ReadContactPage(strings.NewReader(body)); err != nil || len(page.Rows) != 1000 {
			b.Fatal(err)
		}
	}
}

package wecom_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"replygate/wecom"
)

func TestCatalogue(t *testing.T) {
	if n := len(wecom.Endpoints()); n != 955 {
		t.Errorf("%d endpoints, want 955", n)
	}
	for _, e := range wecom.Endpoints() {
		if r := wecom.ReadPath([]byte(e.Path)); r.Endpoint != e || r.Path != e.Path {
			t.Errorf("%s is read as %+v", e.Path, r)
		}
	}
	if n := len(wecom.Capabilities()); n != 43+1 {
		t.Errorf("%d capabilities", n)
	}
}

// Each path has one row, in order, with a meaning, and is canonical.
func TestCatalogueRows(t *testing.T) {
	t.Parallel()
	previous := ""
	for _, e := range wecom.Endpoints() {
		switch {
		case e.Path <= previous:
			t.Errorf("%s follows %s", e.Path, previous)
		case !strings.HasPrefix(e.Path, "/cgi-bin/"):
			t.Errorf("%s is not below /cgi-bin/", e.Path)
		case strings.ToLower(e.Path) != e.Path || strings.ContainsAny(e.Path, " ?*%"):
			t.Errorf("%s is not canonical", e.Path)
		case e.Meaning == "" || e.Capability == "":
			t.Errorf("%s lacks a capability or a meaning: %+v", e.Path, e)
		case e.Capability == wecom.Uncatalogued || e.Capability == wecom.UncataloguedCustomer:
			t.Errorf("%s is in the catalogue as %s", e.Path, e.Capability)
		}
		previous = e.Path
	}
	if rows := strings.Count(wecom.EndpointsTable, "\n") - 1; rows != len(wecom.Endpoints()) {
		t.Errorf("%d rows for %d paths: a path occurs twice", rows, len(wecom.Endpoints()))
	}
}

// The capabilities of calls that a lapse can stop, and of similar paths.
func TestLookup(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]wecom.Capability{
		"/cgi-bin/kf/send_msg":                            wecom.KfReply,
		"/cgi-bin/kf/send_msg_on_event":                   wecom.KfEventReply,
		"/cgi-bin/kf/sync_msg":                            "kf_sync",
		"/cgi-bin/kf/add_contact_way":                     "kf_admin",
		"/cgi-bin/externalcontact/add_contact_way":        "add_customer",
		"/cgi-bin/externalcontact/add_msg_template":       "mass_message",
		"/cgi-bin/externalcontact/send_welcome_msg":       "welcome",
		"/cgi-bin/externalcontact/get":                    "customer_details",
		"/cgi-bin/externalcontact/mark_tag":               "customer_tags",
		"/cgi-bin/externalcontact/groupchat/transfer":     "succession",
		"/cgi-bin/externalcontact/add_moment_task":        "customer_moments",
		"/cgi-bin/externalcontact/groupchat/add_join_way": "group_join_way",
		"/cgi-bin/externalcontact/message/send":           "school_notice",
		"/cgi-bin/message/send":                           "internal_message",
		"/cgi-bin/gettoken":                               "token",
		"/cgi-bin/media/upload":                           "media",
		"/cgi-bin/externalcontact/not_there":              wecom.UncataloguedCustomer,
		"/cgi-bin/externalcontact/get/x":                  wecom.UncataloguedCustomer,
		"/cgi-bin/crm/not_there":                          wecom.UncataloguedCustomer,
		"/cgi-bin/kf/not_there":                           wecom.UncataloguedCustomer,
		"/cgi-bin/kf/":                                    wecom.UncataloguedCustomer,
		"/cgi-bin/kf":                                     wecom.Uncatalogued,
		"/cgi-bin/kfx/send_msg":                           wecom.Uncatalogued,
		"/kf/send_msg":                                    wecom.Uncatalogued,
		"/cgi-bin/send_msg":                               wecom.Uncatalogued,
		"/cgi-bin/user/not_there":                         wecom.Uncatalogued,
		"":                                                wecom.Uncatalogued,
	} {
		e := wecom.Lookup(path)
		if e.Capability != want {
			t.Errorf("%s: %s, want %s", path, e.Capability, want)
		}
		if e.Path != path && !strings.HasSuffix(e.Path, "*") {
			t.Errorf("%s is taken for %s", path, e.Path)
		}
	}
	for _, path := range []string{"/cgi-bin/kf/a", "/cgi-bin/crm/a", "/cgi-bin/externalcontact/a", "/cgi-bin/service/a", "/a"} {
		if e := wecom.Lookup(path); !slices.Contains(wecom.Uncatalogueds(), e) {
			t.Errorf("Uncatalogueds lack %s", e.Path)
		}
	}
	if n := len(wecom.Uncatalogueds()); n != 5 {
		t.Errorf("%d endpoints for paths that are not in the catalogue", n)
	}
}

// No rule of an operator applies to calls that fetch tokens, and to those of providers.
func TestNeverJudged(t *testing.T) {
	for path, want := range map[string]bool{
		"/cgi-bin/gettoken":                 true,
		"/cgi-bin/get_jsapi_ticket":         true,
		"/cgi-bin/corpgroup/corp/gettoken":  true,
		"/cgi-bin/service/get_corp_token":   true,
		"/cgi-bin/service/get_login_info":   true,
		"/cgi-bin/service/made_up":          true,
		"/cgi-bin/service":                  false,
		"/cgi-bin/license/create_order":     false,
		"/cgi-bin/webhook/send":             false,
		"/cgi-bin/user/get":                 false,
		"/cgi-bin/externalcontact/get":      false,
		"/cgi-bin/externalcontact/service/": false,
	} {
		if got := wecom.Lookup(path).NeverJudged(); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// The properties of endpoints that follow from recipients.tsv.
func TestEndpointShapes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ path, want string }{
		{replyPath, "says body msgtype customers also=[add_customer]"},
		{"/cgi-bin/kf/send", "says body msgtype customers also=[add_customer]"},
		{eventPath, "says body msgtype"},
		{massPath, "says body customers several rest implicit"},
		{"/cgi-bin/externalcontact/transfer_customer", "says body customers several rest also=[mass_message]"},
		{"/cgi-bin/externalcontact/resigned/transfer_customer", "says body customers several rest"},
		{"/cgi-bin/externalcontact/message/send", "says body msgtype customers several rest"},
		{"/cgi-bin/kf/customer/batchget", "says body customers several rest"},
		{"/cgi-bin/externalcontact/get", "says customers"},
		{"/cgi-bin/webhook/send", "says body msgtype"},
		{"/cgi-bin/aibot/response", "says body msgtype"},
		{"/cgi-bin/externalcontact/groupchat/get", "says body"},
		{"/cgi-bin/externalcontact/add_moment_task", "implicit"},
		{"/cgi-bin/externalcontact/list", "implicit"},
		{"/cgi-bin/user/get", ""},
		{"/cgi-bin/kf/not_there", ""},
	} {
		e := wecom.Lookup(test.path)
		var got []string
		for _, p := range []struct {
			name string
			has  bool
		}{
			{"says", e.Says()}, {"body", e.SaysInBody()}, {"msgtype", e.SaysMsgType()}, {"customers", e.NamesCustomers()},
			{"several", e.NamesSeveral()}, {"rest", e.ReportsRest()}, {"implicit", e.Bare().Implicit}, {fmt.Sprintf("also=%v", e.Also()), len(e.Also()) > 0},
		} {
			if p.has {
				got = append(got, p.name)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.path, got, test.want)
		}
	}
	for _, e := range wecom.Endpoints() {
		for _, also := range e.Also() {
			if !slices.Contains(wecom.Capabilities(), also) {
				t.Errorf("%s: the capability %s does not exist", e.Path, also)
			}
		}
		if e.ReportsRest() && !e.NamesSeveral() {
			t.Errorf("%s reports a rest of customers that it cannot name", e.Path)
		}
		if (e.SaysInBody() || e.NamesCustomers() || e.SaysMsgType()) && !e.Says() {
			t.Errorf("%s: Says() is false", e.Path)
		}
	}
}

// Hypothetical facts are adjusted to what a call of the endpoint can express.
func TestPlausible(t *testing.T) {
	t.Parallel()
	one := []string{"wmA"}
	for _, test := range []struct {
		path  string
		asked wecom.Facts
		want  string
	}{
		{replyPath, wecom.Facts{Customers: one, Channel: "wk"}, "channel=wk customers=[wmA] msgtype=text"},
		{replyPath, wecom.Facts{Customers: one, MsgType: "image"}, "customers=[wmA] msgtype=image"},
		{replyPath, wecom.Facts{MsgType: "business_card"}, "msgtype=business_card also=add_customer"},
		{replyPath, wecom.Facts{MsgType: "CA_Link"}, "msgtype=CA_Link also=add_customer"},
		{massPath, wecom.Facts{Customers: one, MsgType: "text"}, "customers=[wmA]"},
		{massPath, wecom.Facts{MsgType: "text"}, "implicit"},
		{massPath, wecom.Facts{Customers: one, Implicit: true}, "customers=[wmA]"},
		{"/cgi-bin/externalcontact/list", wecom.Facts{Customers: one}, "implicit"},
		{"/cgi-bin/user/get", wecom.Facts{Customers: one, MsgType: "text", Implicit: true}, ""},
	} {
		if got := read(wecom.Lookup(test.path).Plausible(test.asked)); got != test.want {
			t.Errorf("%s %+v: %q, want %q", test.path, test.asked, got, test.want)
		}
	}
	if one[0] != "wmA" {
		t.Error("the facts asked about were changed")
	}
}

// A malformed embedded table panics with the cause.
func TestBrokenTables(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct {
		load func()
		want string
	}{
		"a column too few":   {func() { wecom.Rows("a\tb\n1\n", 2) }, "row 2 has 1 columns, not 2"},
		"a column too many":  {func() { wecom.Rows("a\tb\n1\t2\n1\t2\t3\n", 2) }, "row 3 has 3 columns, not 2"},
		"a field too deep":   {func() { wecom.AddField("customer", "a.b.c", "") }, "field a.b.c"},
		"a field of no name": {func() { wecom.AddField("customer", "[]", "") }, "field"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "BUG: ") || !strings.Contains(got, broken.want) {
					t.Errorf("%s, want %s", got, broken.want)
				}
			}()
			broken.load()
		})
	}
	if got := wecom.Rows("a\tb\n1\t2\n\t\n", 2); !slices.EqualFunc(got, [][]string{{"1", "2"}, {"", ""}}, slices.Equal) {
		t.Errorf("%q", got)
	}
}

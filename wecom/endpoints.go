package wecom

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// Capability is what an API call can do to a customer: the class of its endpoint.
type Capability string

// The capabilities that the code itself needs to name; the others stand in the catalogue alone.
const (
	KfReply      Capability = "kf_reply"       // a message to one customer, inside the reply window
	KfEventReply Capability = "kf_event_reply" // a message that answers an event by its one-time code

	// Uncatalogued is a path that the catalogue lacks, outside the customer interfaces.
	Uncatalogued Capability = "uncatalogued"
	// UncataloguedCustomer is a path that the catalogue lacks, below a prefix that WeCom keeps for
	// customers: externalcontact/, crm/ and kf/. WeCom adds paths there often.
	UncataloguedCustomer Capability = "uncatalogued_customer"
)

// Paths whose answers the gateway reads, besides those that hand out tokens.
const (
	PathSyncMsg    = "/cgi-bin/kf/sync_msg"
	PathStateTrans = "/cgi-bin/kf/service_state/trans"
)

// Endpoint is one path of the WeCom server API.
type Endpoint struct {
	Path       string // canonical, as in the catalogue; a prefix with "*" for the uncatalogued
	Capability Capability
	Meaning    string // a few words for people
	fields     fields
}

// Role is what a field of a call says about whom the call reaches.
type Role string

// The roles of recipients.tsv.
const (
	roleCustomer Role = "customer" // external_userid of the customer reached
	roleChannel  Role = "channel"  // open_kfid through which it is reached
	roleGroup    Role = "group"    // chat_id of a customer group
	roleMember   Role = "member"   // someone else who implies customers
	roleEveryone Role = "everyone" // non-zero: everybody
	roleCode     Role = "code"     // a one-time code or task id that stands for the recipient
	roleMsgType  Role = "msgtype"  // the kind of message
	roleAlso     Role = "also"     // a second capability that the call has if the field says so
	roleScope    Role = "scope"    // with another value than the usual one the call ignores the customers that it names
	roleTyped    Role = "typed"    // not read, but checked: readers that are strict about types go on after it
	roleImplicit Role = "implicit" // without any recipient the call chooses them by itself
	roleRest     Role = "rest"     // of the answer: lists whom the call did not reach
)

// field says where in a call something stands.
type field struct {
	role  Role
	query bool     // in the query string, else in the JSON body
	path  []string // member names from the top of the body, at most two
	list  bool     // an array of strings, else a string (or number for everyone)
	equal string   // also: the value that counts, "" for any but the empty one; scope: the usual value
	value Capability
}

// fields are the fields of one endpoint that the gateway reads.
type fields struct {
	body, query []field
	implicit    bool
	customers   bool         // some field names customers
	also        []Capability // of the fields
	rest        *field       // of the answer: whom it did not reach
}

// list is the field of the body that names several customers, nil if there is none.
func (fs *fields) list() *field {
	for i := range fs.body {
		if f := &fs.body[i]; f.role == roleCustomer && f.list && len(f.path) == 1 {
			return f
		}
	}
	return nil
}

//go:embed endpoints.tsv
var endpointsTSV string

//go:embed recipients.tsv
var recipientsTSV string

var catalogue = mustCatalogue()

// Lookup returns the endpoint of a canonical path. A path that the catalogue lacks gets
// UncataloguedCustomer or Uncatalogued. It never matches on a last segment: kf/add_contact_way and
// externalcontact/add_contact_way are different things.
func Lookup(path string) *Endpoint {
	if e, ok := catalogue[path]; ok {
		return e
	}
	return uncatalogued(path)
}

var (
	unknownElsewhere = &Endpoint{Path: "*", Capability: Uncatalogued, Meaning: "a path that the catalogue lacks"}
	unknownCustomer  = map[string]*Endpoint{
		"/cgi-bin/externalcontact/": customerPrefix("/cgi-bin/externalcontact/"),
		"/cgi-bin/crm/":             customerPrefix("/cgi-bin/crm/"),
		"/cgi-bin/kf/":              customerPrefix("/cgi-bin/kf/"),
	}
)

// Uncatalogueds are what Lookup returns for paths that the catalogue lacks.
func Uncatalogueds() []*Endpoint {
	all := []*Endpoint{unknownElsewhere}
	for _, e := range unknownCustomer {
		all = append(all, e)
	}
	return all
}

func customerPrefix(p string) *Endpoint {
	return &Endpoint{Path: p + "*", Capability: UncataloguedCustomer, Meaning: "a customer interface that the catalogue lacks"}
}

func uncatalogued(path string) *Endpoint {
	for prefix, e := range unknownCustomer {
		if strings.HasPrefix(path, prefix) {
			return e
		}
	}
	return unknownElsewhere
}

// Endpoints returns the whole catalogue in the order of its paths.
func Endpoints() []*Endpoint {
	all := make([]*Endpoint, 0, len(catalogue))
	for _, e := range catalogue {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Capabilities returns every capability there is, sorted.
func Capabilities() []Capability {
	seen := map[Capability]bool{Uncatalogued: true, UncataloguedCustomer: true}
	for _, e := range catalogue {
		seen[e.Capability] = true
	}
	all := make([]Capability, 0, len(seen))
	for c := range seen {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// NamesCustomers tells whether a call of e can say which customers it reaches.
func (e *Endpoint) NamesCustomers() bool { return e.fields.customers }

// Says tells whether a call of e has anything to read: then Facts depend on what it says.
func (e *Endpoint) Says() bool { return len(e.fields.body)+len(e.fields.query) > 0 }

// SaysInBody tells whether the body of a call of e has anything to read.
func (e *Endpoint) SaysInBody() bool { return len(e.fields.body) > 0 }

// SaysMsgType tells whether a call of e has a msgtype.
func (e *Endpoint) SaysMsgType() bool {
	return slices.ContainsFunc(e.fields.body, func(f field) bool { return f.role == roleMsgType })
}

// Bare are the facts of a call of e of which nothing is read.
func (e *Endpoint) Bare() Facts { return Facts{Implicit: e.fields.implicit} }

// Plausible fits what is asked of a call of e to what such a call can say: a msgtype where it has
// one, text if none is given, a second capability by it, and customers where it names them.
func (e *Endpoint) Plausible(f Facts) Facts {
	if e.SaysMsgType() && f.MsgType == "" {
		f.MsgType = "text"
	} else if !e.SaysMsgType() {
		f.MsgType = ""
	}
	for i := range e.fields.body {
		if fd := &e.fields.body[i]; fd.role == roleAlso && fd.equal != "" && strings.EqualFold(f.MsgType, fd.equal) {
			f.Also = fd.value
		}
	}
	if !e.NamesCustomers() {
		f.Customers = nil
	}
	f.Implicit = e.fields.implicit && len(f.Customers) == 0
	return f
}

// NamesSeveral tells whether a call of e can name more than one customer.
func (e *Endpoint) NamesSeveral() bool { return e.fields.list() != nil }

// ReportsRest tells whether the answer to a call of e can say whom it did not reach.
func (e *Endpoint) ReportsRest() bool { return e.fields.rest != nil }

// Also returns the capabilities that a call of e may have besides its own, depending on its body.
func (e *Endpoint) Also() []Capability { return e.fields.also }

func mustCatalogue() map[string]*Endpoint {
	c := make(map[string]*Endpoint, 1024)
	for _, row := range rows(endpointsTSV, 3) {
		c[row[0]] = &Endpoint{Path: row[0], Capability: Capability(row[1]), Meaning: row[2]}
	}
	for _, row := range rows(recipientsTSV, 4) {
		e, ok := c[row[0]]
		if !ok {
			panic("BUG: recipients.tsv names a path that endpoints.tsv lacks: " + row[0])
		}
		e.fields.add(Role(row[1]), row[2], row[3])
	}
	return c
}

// rows splits an embedded table into its rows, without the head line.
func rows(tsv string, columns int) [][]string {
	var out [][]string
	for i, line := range strings.Split(strings.TrimSuffix(tsv, "\n"), "\n") {
		row := strings.Split(line, "\t")
		if len(row) != columns {
			panic(fmt.Sprintf("BUG: table row %d has %d columns, not %d", i+1, len(row), columns))
		}
		if i > 0 {
			out = append(out, row)
		}
	}
	return out
}

// add takes one row of recipients.tsv: "?name" stands in the query, "a.b" below a, "a[]" is a list,
// "a=v" counts where it has that value, or of a scope where it has another. Of a rest the value is
// the errcode beside each id, if each is an object; of a typed field it is its type, string or
// bool.
func (fs *fields) add(role Role, spec, value string) {
	if role == roleImplicit {
		fs.implicit = true
		return
	}
	f := field{role: role, value: Capability(value)}
	spec, f.query = strings.CutPrefix(spec, "?")
	spec, f.equal, _ = strings.Cut(spec, "=")
	spec, f.list = strings.CutSuffix(spec, "[]")
	if role == roleRest {
		f.path = []string{spec}
		fs.rest = &f
		return
	}
	fs.customers = fs.customers || role == roleCustomer
	if role == roleAlso && !slices.Contains(fs.also, f.value) {
		fs.also = append(fs.also, f.value)
	}
	f.path = strings.Split(spec, ".")
	if len(f.path) > 2 || spec == "" {
		panic("BUG: recipients.tsv: field " + spec)
	}
	if f.query {
		fs.query = append(fs.query, f)
		return
	}
	fs.body = append(fs.body, f)
}

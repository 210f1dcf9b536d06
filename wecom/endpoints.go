package wecom

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// Capability is the class of an endpoint: what a call can do to a customer.
type Capability string

// The capabilities that the code refers to; the others are in endpoints.tsv only.
const (
	KfReply      Capability = "kf_reply"       // a message to one customer, inside the reply window
	KfEventReply Capability = "kf_event_reply" // a message that answers an event with a one-time code
	TokenCalls   Capability = "token"          // a call that fetches a token or a ticket

	// Uncatalogued is the capability of paths outside the customer interfaces that are not in the
	// catalogue.
	Uncatalogued Capability = "uncatalogued"
	// UncataloguedCustomer is the capability of paths below externalcontact/, crm/ and kf/, the
	// customer interfaces, that are not in the catalogue. WeCom often adds paths there.
	UncataloguedCustomer Capability = "uncatalogued_customer"
)

// Paths whose answers the gateway reads, besides those that issue tokens.
const (
	PathSyncMsg     = "/cgi-bin/kf/sync_msg"
	PathStateTrans  = "/cgi-bin/kf/service_state/trans"
	PathContactList = "/cgi-bin/externalcontact/contact_list"
)

// Endpoint is one path of the WeCom server API.
type Endpoint struct {
	Path       string // canonical; a prefix with "*" if the path is not in the catalogue
	Capability Capability
	Meaning    string // a few words for users
	fields     fields
}

// Role is the meaning of a field of a call for the question whom the call reaches.
type Role string

// The roles of recipients.tsv.
const (
	roleCustomer Role = "customer" // external_userid of the customer reached
	roleChannel  Role = "channel"  // open_kfid through which the customer is reached
	roleGroup    Role = "group"    // chat_id of a customer group
	roleMember   Role = "member"   // another id that reaches unnamed customers
	roleEveryone Role = "everyone" // if non-zero, the call reaches all customers
	roleCode     Role = "code"     // a one-time code or task id that identifies the recipient
	roleMsgType  Role = "msgtype"  // the kind of message
	roleAlso     Role = "also"     // with this value the call has a second capability
	roleScope    Role = "scope"    // with another value than this the call ignores its customers
	roleTyped    Role = "typed"    // only the type is checked: strict parsers do not stop there
	roleImplicit Role = "implicit" // a call that names nobody reaches recipients of WeCom's choice
	roleRest     Role = "rest"     // in the answer: whom the call did not reach
)

// field is one row of recipients.tsv: the location and role of a value in a call.
type field struct {
	role  Role
	query bool     // in the query string, otherwise in the JSON body
	path  []string // member names from the top of the body, at most two
	list  bool     // an array of strings, otherwise a string (or a number for everyone)
	equal string   // also: the value that matters, "" for any non-empty one; scope: the usual value
	value Capability
}

// fields are the fields of one endpoint that the gateway reads.
type fields struct {
	body, query []field
	implicit    bool
	customers   bool         // a field names customers
	also        []Capability // the capabilities of the fields with roleAlso
	rest        *field       // the field with roleRest
}

// list returns the field of the body that lists customers, nil if there is none.
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

// Lookup returns the endpoint of a canonical path. For a path that is not in the catalogue it is
// one of Uncatalogueds. Paths are compared whole: kf/add_contact_way is not
// externalcontact/add_contact_way.
func Lookup(path string) *Endpoint {
	if e, ok := catalogue[path]; ok {
		return e
	}
	return uncatalogued(path)
}

var (
	unknownElsewhere = &Endpoint{Path: "*", Capability: Uncatalogued, Meaning: "a path that the catalogue lacks"}
	unknownService   = &Endpoint{Path: servicePrefix + "*", Capability: Uncatalogued, Meaning: "a provider's interface that the catalogue lacks"}
	unknownCustomer  = map[string]*Endpoint{
		"/cgi-bin/externalcontact/": customerPrefix("/cgi-bin/externalcontact/"),
		"/cgi-bin/crm/":             customerPrefix("/cgi-bin/crm/"),
		"/cgi-bin/kf/":              customerPrefix("/cgi-bin/kf/"),
	}
)

// Uncatalogueds returns the endpoints that Lookup returns for paths that are not in the catalogue.
func Uncatalogueds() []*Endpoint {
	all := []*Endpoint{unknownElsewhere, unknownService}
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
	if strings.HasPrefix(path, servicePrefix) {
		return unknownService
	}
	return unknownElsewhere
}

// servicePrefix begins the interfaces of providers.
const servicePrefix = "/cgi-bin/service/"

// NeverJudged reports whether no rule of an operator applies to calls of e: those that fetch tokens
// and tickets, and those of providers, which carry a suite or provider token and belong to no corp.
func (e *Endpoint) NeverJudged() bool {
	return e.Capability == TokenCalls || strings.HasPrefix(e.Path, servicePrefix)
}

// Endpoints returns the catalogue sorted by path.
func Endpoints() []*Endpoint {
	all := make([]*Endpoint, 0, len(catalogue))
	for _, e := range catalogue {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Capabilities returns all capabilities, sorted.
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

// NamesCustomers reports whether a call of e can name the customers that it reaches.
func (e *Endpoint) NamesCustomers() bool { return e.fields.customers }

// Says reports whether the Facts of a call of e depend on its query or body.
func (e *Endpoint) Says() bool { return len(e.fields.body)+len(e.fields.query) > 0 }

// SaysInBody reports whether the Facts of a call of e depend on its body.
func (e *Endpoint) SaysInBody() bool { return len(e.fields.body) > 0 }

// SaysMsgType reports whether a call of e has a msgtype.
func (e *Endpoint) SaysMsgType() bool {
	return slices.ContainsFunc(e.fields.body, func(f field) bool { return f.role == roleMsgType })
}

// Bare returns the Facts of a call of e whose query and body are not read.
func (e *Endpoint) Bare() Facts { return Facts{Implicit: e.fields.implicit} }

// Plausible adjusts hypothetical facts to what a call of e can express: a msgtype only if the call
// has one, "text" by default; the second capability that the msgtype implies; customers only if the
// call can name them; and Implicit.
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

// NamesSeveral reports whether a call of e can name more than one customer.
func (e *Endpoint) NamesSeveral() bool { return e.fields.list() != nil }

// ReportsRest reports whether the answer to a call of e can list whom the call did not reach.
func (e *Endpoint) ReportsRest() bool { return e.fields.rest != nil }

// Also returns the additional capabilities that the body of a call of e can give it.
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

// rows splits an embedded table into rows of fields, without the header line.
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

// add adds one row of recipients.tsv. The spec "?name" is in the query, "a.b" is the member b of a,
// "a[]" is a list, and "a=v" sets the value to compare with. value is the second capability of
// roleAlso, the type (string or bool) of roleTyped, and for roleRest the errcode in each item of a
// list of objects, or "".
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

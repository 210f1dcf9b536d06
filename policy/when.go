package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
	"replygate/window"
)

// maxWhen is the maximum length of an expression in bytes, and whenMemory the memory budget of one
// evaluation (see vm.VM).
const (
	maxWhen    = 2000
	whenMemory = 10_000
)

// facts is the environment of a when. It has no clock: from and until serve that.
type facts struct {
	Account accountFacts `expr:"account"`
	Call    callFacts    `expr:"call"`
	Window  windowFacts  `expr:"window"`
}

type accountFacts struct {
	CorpID        string `expr:"corp_id"`
	Name          string `expr:"name"`
	Entity        string `expr:"entity"`
	Standing      string `expr:"standing"`
	Contacts      *int   `expr:"contacts"` // an expression that meets nil fails: the call is unsure
	ContactsKnown bool   `expr:"contacts_known"`
	ContactsFree  *int   `expr:"contacts_free"`
}

type callFacts struct {
	Endpoint   string `expr:"endpoint"`
	Capability string `expr:"capability"`
	Client     string `expr:"client"`
	Channel    string `expr:"channel"`
	MsgType    string `expr:"msgtype"`
	Customers  int    `expr:"customers"`
	Groups     int    `expr:"groups"`
	Implicit   bool   `expr:"implicit"`
}

type windowFacts struct {
	State       string `expr:"state"`
	Open        bool   `expr:"open"`
	RepliesLeft *int   `expr:"replies_left"`
}

// NoWindow is the window.state of a call that names no customer.
const NoWindow = "none"

var stateNames = map[window.State]string{
	window.Open: "open", window.Cached: "open", window.Exhausted: "full", window.ClosedByPlatform: "shut",
	window.Closed: "closed", window.Incomplete: "incomplete",
}

// condition is a compiled when. The zero condition always holds.
type condition struct {
	source      string
	program     *vm.Program
	facts       []string // that it uses
	usesBody    bool     // it uses a fact of the body
	usesWindows bool     // it uses a fact of the window
	msgtypes    []string // with which it compares call.msgtype
}

var errNoWindow = errors.New("redis cannot be asked for the window just now")

// uses reports whether the condition uses a fact.
func (w *condition) uses(fact string) bool { return slices.Contains(w.facts, fact) }

// holds evaluates the condition for a call. It fails with errNoWindow, or if the expression uses an
// unknown number or divides by zero.
func (w *condition) holds(c *Call, capability wecom.Capability) (bool, error) {
	if w.program == nil {
		return true, nil
	}
	f := facts{Account: factsOf(c.Who), Call: callFacts{
		Endpoint: c.Endpoint.Path, Capability: string(capability), Client: c.Who.Client, Channel: c.Facts.Channel,
		MsgType: c.Facts.MsgType, Customers: len(c.Facts.Customers), Groups: len(c.Facts.Groups), Implicit: c.Facts.Implicit,
	}}
	if w.usesWindows {
		var known bool
		if f.Window, known = windowOf(c.Windows); !known {
			return false, errNoWindow
		}
	}
	machine := vm.VM{MemoryBudget: whenMemory}
	result, err := machine.Run(w.program, &f)
	if err != nil {
		return false, errors.New(plainMessage(err))
	}
	return result.(bool), nil
}

// plainMessage is the message of an expr error, without the excerpt of the source.
func plainMessage(err error) string {
	var at *file.Error
	if !errors.As(err, &at) {
		return err.Error()
	}
	return strings.ReplaceAll(at.Message, "<nil>", "an unknown number")
}

func factsOf(who Subject) accountFacts {
	f := accountFacts{CorpID: who.CorpID, Entity: who.Entity, Standing: string(who.Standing)}
	if a := who.Account; a != nil {
		f.Name = a.Name
		if free, total, known := a.Contacts(); known {
			f.Contacts, f.ContactsFree, f.ContactsKnown = &total, &free, true
		}
	}
	return f
}

// windowOf returns the window facts of a call, of several customers those of the worst window.
// known is false if Redis could not be read.
func windowOf(answers []window.Answer) (f windowFacts, known bool) {
	if len(answers) == 0 {
		return windowFacts{State: NoWindow}, true
	}
	a := worst(answers)
	if a.State == window.Unavailable || a.State == window.Unproven {
		return f, false
	}
	f = windowFacts{State: stateNames[a.State], Open: stateNames[a.State] == "open"}
	if a.Left >= 0 {
		f.RepliesLeft = &a.Left
	}
	return f, true
}

// Facts lists the facts that a when may use, as in docs/rules.md.
func Facts() []string {
	return []string{
		"account.corp_id", "account.name", "account.entity", "account.standing", "account.contacts", "account.contacts_known",
		"account.contacts_free", "call.endpoint", "call.capability", "call.client", "call.channel", "call.msgtype", "call.customers",
		"call.groups", "call.implicit", "window.state", "window.open", "window.replies_left",
	}
}

// bodyFacts are the facts that are read from the body.
var bodyFacts = []string{"call.channel", "call.msgtype", "call.customers", "call.groups", "call.implicit"}

// when compiles the expression of a rule.
func (c *compiler) when(w config.Word) condition {
	if w == (config.Word{}) {
		return condition{}
	}
	if strings.TrimSpace(w.Text) == "" {
		c.mistake(w.At, "when is empty", "write an expression, or take when out: the rule then needs none")
		return condition{}
	}
	if len(w.Text) > maxWhen {
		c.mistake(w.At, fmt.Sprintf("when has %d bytes", len(w.Text)), fmt.Sprintf("write at most %d; several rules are easier to read than one long expression", maxWhen))
		return condition{}
	}
	tree, err := parser.Parse(w.Text)
	if err != nil {
		c.whenMistake(w, err)
		return condition{}
	}
	out := condition{source: w.Text}
	checker := exprChecker{compiler: c, at: w.At, out: &out}
	ast.Walk(&tree.Node, &checker)
	if checker.failed {
		return condition{}
	}
	out.program, err = expr.Compile(w.Text, expr.Env(&facts{}), expr.AsBool(), expr.DisableAllBuiltins())
	if err != nil {
		c.whenMistake(w, err)
		return condition{}
	}
	return out
}

// whenMistake records an error of the expr parser or type checker.
func (c *compiler) whenMistake(w config.Word, err error) {
	what, column := err.Error(), 0
	var at *file.Error
	if errors.As(err, &at) {
		what, column = at.Message, at.Column+1
	}
	remedy := "docs/rules.md lists the facts of account, call and window, and what they can be compared with"
	if column > 0 {
		what += fmt.Sprintf(", at character %d", column)
	}
	c.mistake(w.At, "when: "+what, remedy)
}

// exprChecker walks an expression. It rejects syntax that comparing facts does not need, collects
// the facts used, and checks literals against the values that a fact can have.
type exprChecker struct {
	*compiler
	at     config.Position
	out    *condition
	failed bool
}

func (i *exprChecker) reject(what, remedy string) {
	i.failed = true
	i.compiler.mistake(i.at, "when: "+what, remedy)
}

// operators are the binary operators that an expression may use.
var operators = []string{
	"and", "or", "&&", "||", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "startsWith", "endsWith", "+", "-", "*", "/", "%",
}

// Visit checks one node.
func (i *exprChecker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode, *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.ArrayNode, *ast.ConditionalNode, *ast.UnaryNode:
	case *ast.MemberNode:
		i.member(n)
	case *ast.BinaryNode:
		if !slices.Contains(operators, n.Operator) {
			i.reject(n.Operator+" is not among the operators", "compare facts with == != < <= > >= in contains startsWith endsWith, and join with && || not")
		}
		if equal := n.Operator == "==" || n.Operator == "!="; equal && (mayBeUnknown(n.Left) || mayBeUnknown(n.Right)) {
			i.reject(n.Operator+" with a number that may be unknown", "write <= or >=: an unknown number then leaves the call unsure")
		}
		if slices.Contains([]string{"==", "!=", "in", "not in"}, n.Operator) {
			i.compare(n.Left, n.Right)
			i.compare(n.Right, n.Left)
		}
	default:
		i.reject("functions, lists of facts and variables are not part of it", "compare facts with literals, and join with && || not")
	}
}

// member records the fact that a node uses.
func (i *exprChecker) member(n *ast.MemberNode) {
	name := factName(n)
	if !slices.Contains(Facts(), name) {
		if name == "" {
			name = "a fact without a plain name"
		}
		i.reject("there is no fact "+name, config.DidYouMean(name, Facts()))
		return
	}
	i.out.facts = append(i.out.facts, name)
	i.out.usesBody = i.out.usesBody || slices.Contains(bodyFacts, name) || strings.HasPrefix(name, "window.")
	i.out.usesWindows = i.out.usesWindows || strings.HasPrefix(name, "window.")
}

// factName returns the name of a fact, like account.standing; "" for any other node.
func factName(n ast.Node) string {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return ""
	}
	base, ok := m.Node.(*ast.IdentifierNode)
	property, plain := m.Property.(*ast.StringNode)
	if !ok || !plain || m.Optional {
		return ""
	}
	return base.Value + "." + property.Value
}

// mayBeUnknown reports whether a fact is a number that can be unknown (nil).
func mayBeUnknown(n ast.Node) bool {
	return slices.Contains([]string{"account.contacts", "account.contacts_free", "window.replies_left"}, factName(n))
}

// compare checks the literals that a fact is compared with.
func (i *exprChecker) compare(fact, with ast.Node) {
	name := factName(fact)
	literals := []ast.Node{with}
	if list, ok := with.(*ast.ArrayNode); ok {
		literals = list.Nodes
	}
	known := i.valuesOf(name)
	for _, l := range literals {
		s, ok := l.(*ast.StringNode)
		switch {
		case !ok:
		case name == "call.msgtype":
			i.out.msgtypes = append(i.out.msgtypes, s.Value)
		case known != nil && !slices.Contains(known, s.Value):
			i.reject(fmt.Sprintf("%s is never %q", name, s.Value), suggestion(strings.TrimPrefix(name, "call."), s.Value, known))
		}
	}
}

// valuesOf lists the values that a fact can have; nil if they are not limited.
func (c *compiler) valuesOf(fact string) []string {
	switch fact {
	case "account.standing":
		return toStrings(account.Standings())
	case "call.capability":
		return toStrings(wecom.Capabilities())
	case "call.endpoint":
		return paths()
	case "window.state":
		return []string{"open", "full", "shut", "closed", "incomplete", NoWindow}
	case "call.client":
		return c.clients
	case "account.corp_id", "account.entity":
		if c.accounts == nil {
			return nil
		}
		corps, entities := c.accountNames()
		if fact == "account.corp_id" {
			return corps
		}
		return entities
	}
	return nil
}

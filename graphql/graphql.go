package graphql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Options adjusts Load.
type Options struct {
	// Client gives the client that @rpc fields of a service use. Load asks for
	// it; it is not used before the first operation. Required if the schema has
	// an @rpc.
	Client func(service string) *connect.Client
	// Resolvers are Go functions for fields that no mapping can express, by
	// "Type.field". Default: none.
	Resolvers map[string]Resolver
	// Introspection lets clients read the schema. Default: they cannot.
	Introspection bool
	// Anonymous makes root fields without @auth public. Default: they need a
	// caller who is signed in.
	Anonymous bool
	// Limits bound an operation. Default: see Limits.
	Limits Limits
	// PlanCache is how many compiled operations are kept. Default: 1000.
	PlanCache int
	// Logger hears of failures whose cause clients do not see. Default: slog.Default().
	Logger *slog.Logger
}

// Schema is a graph ready to be served. It is safe for concurrent use.
type Schema struct {
	options  Options
	limits   Limits
	public   *ast.Schema
	types    map[string]*objectType
	bindings sync.Map // bindingKey to *binding
	plans    planCache
	rules    []core.Rule
}

// Load compiles sdl. It refuses, with the line, what could only fail later: a
// mapping that does not fit the protos, an argument that goes nowhere, a field
// without a source, and a join that would make one call per element of a list.
func Load(sdl string, o *Options) (*Schema, error) {
	s := &Schema{}
	if o != nil {
		s.options = *o
	}
	if s.options.Logger == nil {
		s.options.Logger = slog.Default()
	}
	if s.options.PlanCache <= 0 {
		s.options.PlanCache = 1000
	}
	s.limits = s.options.Limits.withDefaults()
	s.plans.limit = s.options.PlanCache
	s.rules = validationRules()
	full, public, err := parseSchemas(sdl)
	if err != nil {
		return nil, err
	}
	s.public = public
	if err := s.compile(full); err != nil {
		return nil, err
	}
	if err := s.check(full); err != nil {
		return nil, err
	}
	s.attachIntrospection()
	return s, nil
}

// check walks the graph from its roots: bindings to messages, and joins below lists.
func (s *Schema) check(full *ast.Schema) error {
	var errs []error
	seen := map[bindingKey]bool{}
	for _, name := range sortedKeys(s.types) {
		for _, f := range s.types[name].fields {
			if f.rpc == nil {
				continue
			}
			if err := s.checkResult(f, seen); err != nil {
				errs = append(errs, err)
			}
			root := f.owner.name == full.Query.Name || full.Mutation != nil && f.owner.name == full.Mutation.Name
			if root && f.rpc.parents {
				errs = append(errs, f.errorf("is a root field and has no $parent or $batch to read"))
			}
		}
	}
	errs = append(errs, s.checkLists(full)...)
	return errors.Join(errs...)
}

func (s *Schema) checkResult(f *fieldDef, seen map[bindingKey]bool) error {
	r := f.rpc
	out := r.out.Descriptor()
	if r.batch != nil {
		return s.bindAll(f.out.named().object, r.items[len(r.items)-1].Message(), seen)
	}
	names := make([]string, len(r.items))
	for i, fd := range r.items {
		names[i] = string(fd.Name())
	}
	r.result = newAccessor(f.out, out, names)
	if r.result.err != nil {
		return f.errorf("%v", r.result.err)
	}
	if object := f.out.named().object; object != nil {
		return s.bindAll(object, r.result.message(out), seen)
	}
	return nil
}

// checkLists refuses a join that makes one call per parent on a type that
// lists lead to, unless its calls are bounded.
func (s *Schema) checkLists(full *ast.Schema) (errs []error) {
	type place struct {
		typ  *objectType
		many bool
	}
	seen := map[place]bool{}
	var walk func(p place)
	walk = func(p place) {
		if p.typ == nil || seen[p] {
			return
		}
		seen[p] = true
		for _, f := range p.typ.fields {
			if r := f.rpc; r != nil && p.many && r.batch == nil && !r.bounded {
				errs = append(errs, f.errorf("would call %s once per element of a list: join with $batch over a batch method, or bound the calls with @rpc(max:)", r.spec.Procedure))
			}
			walk(place{f.out.named().object, p.many || f.out.elem != nil})
		}
	}
	for _, root := range []*ast.Definition{full.Query, full.Mutation} {
		if root != nil {
			walk(place{s.types[root.Name], false})
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return slices.CompactFunc(errs, func(a, b error) bool { return a.Error() == b.Error() })
}

// validationRules are the specification's, without suggestions that would tell the schema.
func validationRules() []core.Rule {
	quiet := rules.NewDefaultRules()
	for _, r := range []struct {
		loud  string
		quiet core.Rule
	}{
		{rules.FieldsOnCorrectTypeRule.Name, rules.FieldsOnCorrectTypeRuleWithoutSuggestions},
		{rules.KnownArgumentNamesRule.Name, rules.KnownArgumentNamesRuleWithoutSuggestions},
		{rules.KnownTypeNamesRule.Name, rules.KnownTypeNamesRuleWithoutSuggestions},
		{rules.ValuesOfCorrectTypeRule.Name, rules.ValuesOfCorrectTypeRuleWithoutSuggestions},
	} {
		quiet.ReplaceRule(r.loud, r.quiet.RuleFunc)
	}
	inner := quiet.GetInner()
	var list []core.Rule
	for _, name := range sortedKeys(inner) {
		list = append(list, core.Rule{Name: name, RuleFunc: inner[name]})
	}
	return list
}

// Request is one GraphQL request.
type Request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
}

// plan finds or compiles the operation that req names.
func (s *Schema) plan(ctx context.Context, req Request) (*plan, []*Error) {
	key := planKey{req.Query, req.OperationName}
	if p := s.plans.get(key); p != nil {
		return p, nil
	}
	doc, errs := s.parse(req.Query)
	if errs != nil {
		return nil, errs
	}
	op, e := operation(doc, req.OperationName)
	if e != nil {
		return nil, []*Error{e}
	}
	var root *objectType
	switch op.Operation {
	case ast.Query:
		root = s.types[s.public.Query.Name]
	case ast.Mutation:
		root = s.types[s.public.Mutation.Name]
	default:
		return nil, []*Error{at(badInput("", "subscriptions are not served here: ask with a query, again when something may have changed"), op.Position)}
	}
	p := s.compilePlan(doc, op, root)
	if cost := p.root.cost(); cost > s.limits.Cost {
		return nil, []*Error{at(badInput("", "the operation costs %d: at most %d", cost, s.limits.Cost), op.Position)}
	}
	if !s.options.Introspection && p.introspects() {
		return nil, []*Error{at(badInput("", "introspection is switched off"), op.Position)}
	}
	if len(req.Query) <= maxCachedDocument {
		s.plans.add(key, p)
	}
	return p, nil
}

// maxCachedDocument keeps the plan cache small whatever clients send.
const maxCachedDocument = 16 << 10

func (p *plan) introspects() bool {
	return slices.ContainsFunc(p.root.fields, func(f *field) bool { return f.def != nil && f.def.introspect != nil })
}

func (s *Schema) parse(query string) (*ast.QueryDocument, []*Error) {
	if strings.TrimSpace(query) == "" {
		return nil, []*Error{badInput("query", "the query is missing")}
	}
	if len(query) > s.limits.Bytes {
		return nil, []*Error{{Code: PayloadTooLarge, Message: fmt.Sprintf("the document is larger than %d bytes", s.limits.Bytes)}}
	}
	if !utf8.ValidString(query) {
		return nil, []*Error{badInput("query", "the document is not UTF-8")}
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, s.limits.Tokens)
	if err != nil {
		return nil, parserErrors(err)
	}
	if e := s.limits.checkSize(doc); e != nil {
		return nil, []*Error{e}
	}
	if errs := s.validate(doc); len(errs) > 0 {
		return nil, errs
	}
	return doc, nil
}

func operation(doc *ast.QueryDocument, name string) (*ast.OperationDefinition, *Error) {
	if name == "" && len(doc.Operations) > 1 {
		return nil, badInput("operationName", "the document has %d operations: name one", len(doc.Operations))
	}
	op := doc.Operations.ForName(name)
	switch {
	case op != nil && (name == "" || op.Name == name):
		return op, nil
	case name == "":
		return nil, badInput("query", "the document has no operation")
	}
	return nil, badInput("operationName", "the document has no operation %.80q", name)
}

// validate applies the specification's rules.
func (s *Schema) validate(doc *ast.QueryDocument) []*Error {
	observers := &core.Events{}
	var errs errorList
	for _, r := range s.rules {
		r.RuleFunc(observers, errs.adder())
	}
	validator.Walk(s.public, doc, observers)
	out := fromParser(errs...)
	for _, e := range out {
		e.Field = fieldAt(doc, e.Locations)
	}
	return out
}

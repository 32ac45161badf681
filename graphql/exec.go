package graphql

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/compose"
)

// Response is the answer to a Request. A nil Data means nothing was executed.
type Response struct {
	Data       json.RawMessage
	Errors     []*Error
	Extensions map[string]any
	Stats      Stats
}

// Stats says what answering took.
type Stats struct {
	Kind      string // query or mutation; empty when nothing was executed
	Operation string // the operation's name
	Calls     int    // upstream calls
	Waves     int    // rounds of calls that waited for one another
}

// Execute answers req. Whatever the request, the outcome is a Response.
func (s *Schema) Execute(ctx context.Context, req Request) *Response {
	return s.execute(ctx, req, false)
}

func (s *Schema) execute(ctx context.Context, req Request, readOnly bool) *Response {
	p, errs := s.plan(ctx, req)
	if errs != nil {
		return &Response{Errors: errs}
	}
	if readOnly && p.op.Operation != ast.Query {
		return &Response{Errors: []*Error{{Code: BadUserInput, Message: "a mutation needs POST", Cause: errNeedsPost}}}
	}
	e := &exec{s: s, p: p, ctx: ctx}
	if err := e.prepare(req.Variables); err != nil {
		return &Response{Errors: []*Error{err}}
	}
	e.run()
	data, ok := e.writeObject(make([]byte, 0, 1024), p.root, e.root)
	if !ok {
		data = []byte("null")
	}
	stats := Stats{Kind: string(p.op.Operation), Operation: p.op.Name, Calls: e.calls, Waves: e.waves}
	return &Response{Data: data, Errors: e.errs, Extensions: e.extensions(), Stats: stats}
}

var errNeedsPost = errors.New("mutation by GET")

// exec is one execution of a plan. One goroutine owns it; only the calls of a wave run beside each other.
type exec struct {
	s   *Schema
	p   *plan
	ctx context.Context

	on     []bool           // by field id: included by @skip and @include
	args   []map[string]any // by field id
	denied []*Error         // by field id
	bound  []*binding       // by selection id: the binding used last

	root     *instance
	now      wave // joins whose parents are known
	after    wave // joins that wait for those of now
	errs     []*Error
	replaced []*Error // failures that a fallback stands in for
	calls    int
	waves    int
	path     []any // while writing
}

// wave is the joins of one round, by field, with all parents of each.
type wave struct {
	fields  []*field
	parents map[*field][]*instance
}

func (w *wave) add(f *field, inst *instance) {
	if w.parents == nil {
		w.parents = map[*field][]*instance{}
	}
	list := w.parents[f]
	if list == nil {
		w.fields = append(w.fields, f)
	}
	w.parents[f] = append(list, inst)
}

// instance is one object of the answer below which something joins.
type instance struct {
	sel   *selection
	obj   object
	slots []slot // parallel to sel.tracked

	up    *instance
	via   *field
	index int   // in the list it stands in; -1: in none
	outer []int // positions in the lists around that
}

// slot is the state of one tracked field of an instance.
type slot struct {
	val  value
	err  error
	kids []*instance // for each object in val, in order; nil for null
	room []instance  // for kids to come
}

// prepare coerces all input and decides what is asked, before anything is called.
func (e *exec) prepare(raw map[string]any) *Error {
	c := &coercer{types: e.s.public.Types}
	if err := c.variables(e.p.op, raw); err != nil {
		return err
	}
	n := len(e.p.fields)
	e.on, e.args, e.denied = make([]bool, n), make([]map[string]any, n), make([]*Error, n)
	e.bound = make([]*binding, e.p.subs)
	for _, f := range e.p.fields {
		if e.on[f.id] = included(f.when, c.vars); !e.on[f.id] || f.def == nil {
			continue
		}
		args, err := c.arguments(f.def.ast.Arguments, f.args)
		if err != nil {
			return at(err, f.pos)
		}
		e.args[f.id] = args
		if !f.hidden {
			e.denied[f.id] = e.allow(f)
		}
	}
	return nil
}

func included(when [][]condition, vars map[string]any) bool {
	if when == nil {
		return true
	}
	return slices.ContainsFunc(when, func(all []condition) bool {
		return !slices.ContainsFunc(all, func(c condition) bool { return (vars[c.variable] == true) != c.want })
	})
}

// allow applies the field's @auth, or the default of root fields.
func (e *exec) allow(f *field) *Error {
	rule := f.def.auth
	root := slices.Contains(e.p.root.fields, f) && f.def.introspect == nil
	if rule.public || !rule.set && (!root || e.s.options.Anonymous) {
		return nil
	}
	caller, ok := auth.From(e.ctx)
	switch {
	case !ok:
		return Errorf(Unauthenticated, "%s needs a token", f.def)
	case len(rule.roles) > 0 && !slices.ContainsFunc(rule.roles, caller.Has):
		return Errorf(Forbidden, "%s is not for your role", f.def)
	}
	return nil
}

// run fills the answer, wave by wave. A mutation's fields run one after the other.
func (e *exec) run() {
	e.root = &instance{sel: e.p.root, slots: make([]slot, len(e.p.root.tracked)), index: -1}
	if e.p.op.Operation != ast.Mutation {
		e.visit(e.root, e.p.root.tracked)
		e.drain()
		return
	}
	for i := range e.p.root.tracked {
		e.visit(e.root, e.p.root.tracked[i:i+1])
		e.drain()
	}
}

func (e *exec) drain() {
	for len(e.now.fields)+len(e.after.fields) > 0 {
		w := e.now
		e.now, e.after = e.after, wave{}
		if len(w.fields) > 0 {
			e.waves++
			e.runWave(w)
		}
	}
}

// visit enqueues the joins of inst and walks on to those below it.
func (e *exec) visit(inst *instance, tracked []*field) {
	for _, f := range tracked {
		if !e.on[f.id] {
			continue
		}
		if denied := e.denied[f.id]; denied != nil {
			e.miss(inst, f, denied)
			continue
		}
		switch {
		case !f.def.joins():
			v, err := e.plain(inst, f)
			e.settle(inst, f, v, err)
		case slices.ContainsFunc(f.requires, func(need *field) bool { return need.slot >= 0 }):
			e.after.add(f, inst)
		default:
			e.now.add(f, inst)
		}
	}
}

// plain reads a field that its parent holds.
func (e *exec) plain(inst *instance, f *field) (value, error) {
	return e.read(inst.sel, inst.obj, f)
}

func (e *exec) read(sel *selection, obj object, f *field) (value, error) {
	switch {
	case f.def.introspect != nil:
		return fromGo(f.def.introspect(e.args[f.id])), nil
	case obj.msg == nil:
		return goField(obj.goValue, f.def.path, e.args[f.id])
	}
	a := e.binding(sel, obj.msg).read[f.def.index]
	if a.err != nil {
		return value{}, a.err
	}
	return protoField(a, obj.msg), nil
}

func (e *exec) binding(sel *selection, m protoMessage) *binding {
	md := m.Descriptor()
	if b := e.bound[sel.id]; b != nil && b.message == md.FullName() {
		return b
	}
	b := e.s.bind(sel.typ, md)
	e.bound[sel.id] = b
	return b
}

// settle stores a field's value and visits the objects in it.
func (e *exec) settle(inst *instance, f *field, v value, err error) {
	if err != nil {
		e.miss(inst, f, toError(err))
		return
	}
	s := &inst.slots[f.slot]
	s.val = v
	if f.sub == nil || len(f.sub.tracked) == 0 {
		return
	}
	e.spread(inst, f, s, &v, nil, -1)
	for _, kid := range s.kids {
		if kid != nil {
			e.visit(kid, f.sub.tracked)
		}
	}
}

// spread makes an instance of each object in v.
func (e *exec) spread(inst *instance, f *field, s *slot, v *value, outer []int, index int) {
	if n, ok := v.length(); ok {
		if index >= 0 {
			outer = append(slices.Clone(outer), index)
		}
		s.kids = slices.Grow(s.kids, n)
		s.grow(n, len(f.sub.tracked))
		for i := range n {
			item := v.item(i)
			e.spread(inst, f, s, &item, outer, i)
		}
		return
	}
	obj, ok := v.object()
	if !ok {
		s.kids = append(s.kids, nil)
		return
	}
	kid := s.take(len(f.sub.tracked))
	*kid = instance{sel: f.sub, obj: obj, slots: kid.slots, up: inst, via: f, index: index, outer: outer}
	s.kids = append(s.kids, kid)
}

// grow makes room for n instances with k slots each, at once.
func (s *slot) grow(n, k int) {
	s.room = make([]instance, n)
	slots := make([]slot, n*k)
	for i := range s.room {
		s.room[i].slots, slots = slots[:k:k], slots[k:]
	}
}

func (s *slot) take(k int) *instance {
	if len(s.room) == 0 {
		s.grow(1, k)
	}
	kid := &s.room[0]
	s.room = s.room[1:]
	return kid
}

// miss records that f of inst is missing, or puts its fallback in its place.
func (e *exec) miss(inst *instance, f *field, err *Error) {
	s := &inst.slots[f.slot]
	if o := f.def.optional; o != nil && o.hasFallback {
		record := *err
		record.Path = append(inst.pathTo(), f.key)
		e.replaced = append(e.replaced, &record)
		e.settle(inst, f, fromGo(o.fallback), nil)
		return
	}
	s.err = err
	if !f.hidden {
		e.report(err, append(inst.pathTo(), f.key), f)
	}
}

func (e *exec) report(err *Error, path []any, f *field) {
	record := *err
	record.Path = path
	if f.pos != nil {
		record.Locations = []Location{{f.pos.Line, f.pos.Column}}
	}
	e.errs = append(e.errs, &record)
}

// pathTo is the response path of the instance.
func (i *instance) pathTo() []any {
	if i.up == nil {
		return nil
	}
	path := append(i.up.pathTo(), i.via.key)
	for _, o := range i.outer {
		path = append(path, o)
	}
	if i.index >= 0 {
		path = append(path, i.index)
	}
	return path
}

// extensions lists what fallbacks stand in for.
func (e *exec) extensions() map[string]any {
	if len(e.replaced) == 0 {
		return nil
	}
	return map[string]any{"degraded": e.replaced}
}

// log tells of a failure whose cause the client does not see.
func (e *exec) log(err *Error, f *compose.Failure) {
	if err.Code != Internal {
		return
	}
	attrs := []any{"part", f.Part, "service", f.Service, "elapsed", f.Elapsed.Round(time.Millisecond), "error", f.Err}
	var p *compose.PanicError
	if errors.As(f.Err, &p) {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	e.s.options.Logger.ErrorContext(e.ctx, "graphql: part failed", attrs...)
}

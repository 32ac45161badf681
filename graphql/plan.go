package graphql

import (
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
)

// plan is one operation of one document, validated and compiled. It is
// immutable and shared by all executions.
type plan struct {
	op     *ast.OperationDefinition
	root   *selection
	fields []*field // all, by id
	subs   int      // how many selections there are
}

// selection is a selection set on one object type, fragments merged.
type selection struct {
	id      int
	typ     *objectType
	fields  []*field // in the order of the answer
	tracked []*field // those that join, or lead to a join; each has a slot
}

// field is one response key of a selection.
type field struct {
	id       int
	key      string
	enc      []byte    // "key":
	step     any       // the key as an element of a path
	def      *fieldDef // nil for __typename
	args     ast.ArgumentList
	pos      *ast.Position
	when     [][]condition // included if all conditions of any hold; nil: always
	sub      *selection
	slot     int // -1: read while writing
	hidden   bool
	requires []*field
}

// condition is an @include or @skip on a variable.
type condition struct {
	variable string
	want     bool
}

// planner compiles one operation.
type planner struct {
	s    *Schema
	doc  *ast.QueryDocument
	plan *plan
}

// pending is a response key being collected.
type pending struct {
	field *field
	sets  []conditional
}

type conditional struct {
	set  ast.SelectionSet
	when []condition
}

func (s *Schema) compilePlan(doc *ast.QueryDocument, op *ast.OperationDefinition, root *objectType) *plan {
	p := &planner{s: s, doc: doc, plan: &plan{op: op}}
	p.plan.root = p.selection(root, []conditional{{set: op.SelectionSet}})
	return p.plan
}

func (p *planner) selection(t *objectType, sets []conditional) *selection {
	sel := &selection{id: p.plan.subs, typ: t}
	p.plan.subs++
	var order []*pending
	byKey := map[string]*pending{}
	for _, c := range sets {
		p.collect(sel, c.set, c.when, byKey, &order)
	}
	for _, c := range order {
		p.finish(sel, c)
	}
	for _, c := range order {
		p.addRequired(sel, c.field)
	}
	return sel
}

func (p *planner) collect(sel *selection, set ast.SelectionSet, when []condition, byKey map[string]*pending, order *[]*pending) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			conds, ok := conditions(when, s.Directives)
			if !ok {
				continue
			}
			c := byKey[s.Alias]
			if c == nil {
				c = &pending{field: p.newField(sel.typ, s)}
				byKey[s.Alias] = c
				*order = append(*order, c)
				sel.fields = append(sel.fields, c.field)
			}
			c.field.when = append(c.field.when, conds)
			if len(s.SelectionSet) > 0 {
				c.sets = append(c.sets, conditional{s.SelectionSet, conds})
			}
		case *ast.InlineFragment:
			if conds, ok := conditions(when, s.Directives); ok {
				p.collect(sel, s.SelectionSet, conds, byKey, order)
			}
		case *ast.FragmentSpread:
			if conds, ok := conditions(when, s.Directives); ok {
				p.collect(sel, p.doc.Fragments.ForName(s.Name).SelectionSet, conds, byKey, order)
			}
		}
	}
}

// conditions adds those of the directives to when; ok is false when they can never hold.
func conditions(when []condition, directives ast.DirectiveList) (_ []condition, ok bool) {
	for _, d := range directives {
		if d.Name != "include" && d.Name != "skip" {
			continue
		}
		want := d.Name == "include"
		v := d.Arguments.ForName("if").Value
		if v.Kind == ast.Variable {
			when = append(when[:len(when):len(when)], condition{v.Raw, want})
		} else if (v.Raw == "true") != want {
			return nil, false
		}
	}
	return when, true
}

func (p *planner) newField(t *objectType, s *ast.Field) *field {
	f := &field{id: len(p.plan.fields), key: s.Alias, step: s.Alias, enc: append(appendString(nil, s.Alias), ':'), args: s.Arguments, pos: s.Position, slot: -1}
	if s.Name != "__typename" {
		f.def = t.byName[s.Name]
	}
	p.plan.fields = append(p.plan.fields, f)
	return f
}

// finish compiles what lies below a key and gives it a slot if it needs one.
func (p *planner) finish(sel *selection, c *pending) {
	f := c.field
	for _, conds := range f.when {
		if len(conds) == 0 {
			f.when = nil
			break
		}
	}
	if f.def == nil {
		return
	}
	if object := f.def.out.named().object; object != nil {
		f.sub = p.selection(object, c.sets)
	}
	if f.def.joins() || f.sub != nil && len(f.sub.tracked) > 0 {
		f.slot = len(sel.tracked)
		sel.tracked = append(sel.tracked, f)
	}
}

// addRequired adds, unseen by the client, the joins that a resolver reads.
func (p *planner) addRequired(sel *selection, f *field) {
	if f.def == nil {
		return
	}
	for _, def := range f.def.requires {
		need := sel.hiddenField(def)
		if need == nil {
			need = &field{id: len(p.plan.fields), key: def.name, def: def, hidden: true, slot: -1, pos: f.pos, when: f.when}
			p.plan.fields = append(p.plan.fields, need)
			if def.joins() {
				need.slot = len(sel.tracked)
				sel.tracked = append(sel.tracked, need)
			}
			sel.fields = append(sel.fields, need)
		} else if need.when == nil || f.when == nil {
			need.when = nil
		} else {
			need.when = append(need.when, f.when...)
		}
		f.requires = append(f.requires, need)
	}
}

func (s *selection) hiddenField(def *fieldDef) *field {
	for _, f := range s.fields {
		if f.hidden && f.def == def {
			return f
		}
	}
	return nil
}

// planCache keeps the plans used last. Its key is the document with the operation's name.
type planCache struct {
	mu     sync.Mutex
	limit  int
	recent map[planKey]*plan
	older  map[planKey]*plan // one generation back: dropped when recent is full
}

type planKey struct{ document, operation string }

func (c *planCache) get(k planKey) *plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.recent[k]; p != nil {
		return p
	}
	p := c.older[k]
	if p != nil {
		c.put(k, p)
	}
	return p
}

func (c *planCache) add(k planKey, p *plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(k, p)
}

func (c *planCache) put(k planKey, p *plan) {
	if len(c.recent) >= c.limit/2 || c.recent == nil {
		c.older, c.recent = c.recent, make(map[planKey]*plan)
	}
	c.recent[k] = p
}

package graphql

import (
	"github.com/vektah/gqlparser/v2/ast"
)

// Limits bound what one operation may ask for, before anything is validated or
// called. A zero field means its default; a negative one, no limit.
type Limits struct {
	Bytes   int // of the document. Default: 256 KiB
	Tokens  int // Default: 15000
	Depth   int // of nested selections. Default: 15
	Fields  int // with fragments counted wherever they are spread. Default: 500
	Aliases int // Default: 30
	Cost    int // the sum of the fields' costs. Default: 1000
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		limit *int
		usual int
	}{{&l.Bytes, 256 << 10}, {&l.Tokens, 15_000}, {&l.Depth, 15}, {&l.Fields, 500}, {&l.Aliases, 30}, {&l.Cost, 1000}} {
		switch {
		case *d.limit == 0:
			*d.limit = d.usual
		case *d.limit < 0:
			*d.limit = maxSize
		}
	}
	return l
}

// maxSize saturates counts, so that fragments that double each other overflow nothing.
const maxSize = 1 << 40

// size is what a selection set amounts to with its fragments spread.
type size struct{ depth, fields, aliases int }

func (s *size) add(o size) {
	s.depth = max(s.depth, o.depth)
	s.fields = min(s.fields+o.fields, maxSize)
	s.aliases = min(s.aliases+o.aliases, maxSize)
}

// measurer sizes a parsed, not yet validated, document in linear time.
type measurer struct {
	doc   *ast.QueryDocument
	frags map[string]*size // nil while being measured: a cycle, which the validator reports
}

// checkSize refuses a document whose operations exceed the limits.
func (l Limits) checkSize(doc *ast.QueryDocument) *Error {
	m := &measurer{doc: doc, frags: map[string]*size{}}
	for _, op := range doc.Operations {
		if e := l.checkOne(m.selections(op.SelectionSet)); e != nil {
			return at(e, op.Position)
		}
	}
	for _, f := range doc.Fragments { // also those no operation spreads: the validator reads them
		if e := l.checkOne(m.fragment(f.Name)); e != nil {
			return at(e, f.Position)
		}
	}
	return nil
}

func (l Limits) checkOne(s size) *Error {
	switch {
	case s.depth > l.Depth:
		return badInput("", "the operation is nested too deeply: at most %d levels", l.Depth)
	case s.fields > l.Fields:
		return badInput("", "the operation selects too many fields: at most %d", l.Fields)
	case s.aliases > l.Aliases:
		return badInput("", "the operation has too many aliases: at most %d", l.Aliases)
	}
	return nil
}

func (m *measurer) selections(set ast.SelectionSet) size {
	var total size
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			below := m.selections(sel.SelectionSet)
			below.depth++
			below.fields++
			if sel.Alias != sel.Name {
				below.aliases++
			}
			total.add(below)
		case *ast.InlineFragment:
			total.add(m.selections(sel.SelectionSet))
		case *ast.FragmentSpread:
			total.add(m.fragment(sel.Name))
		}
	}
	return total
}

func (m *measurer) fragment(name string) size {
	if s, seen := m.frags[name]; seen {
		if s == nil {
			return size{}
		}
		return *s
	}
	m.frags[name] = nil
	f := m.doc.Fragments.ForName(name)
	if f == nil {
		return size{}
	}
	s := m.selections(f.SelectionSet)
	m.frags[name] = &s
	return s
}

// cost sums the costs of a plan's fields.
func (s *selection) cost() int {
	total := 0
	for _, f := range s.fields {
		if f.def != nil {
			total = min(total+f.def.cost, maxSize)
		}
		if f.sub != nil {
			total = min(total+f.sub.cost(), maxSize)
		}
	}
	return total
}

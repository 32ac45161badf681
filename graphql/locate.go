package graphql

import (
	"errors"
	"fmt"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator/core"
)

// errorList collects the validator's errors, as many as an answer lists.
type errorList []*gqlerror.Error

func (l *errorList) adder() core.AddErrFunc {
	return func(options ...core.ErrorOption) {
		if len(*l) >= maxRequestErrors {
			return
		}
		e := &gqlerror.Error{}
		for _, o := range options {
			o(e)
		}
		*l = append(*l, e)
	}
}

func parserErrors(err error) []*Error {
	var g *gqlerror.Error
	if errors.As(err, &g) {
		return fromParser(g)
	}
	return []*Error{badInput("", "%v", err)}
}

// fieldAt names what stands at the first location: an argument, a field of an
// input object, or a selected field.
func fieldAt(doc *ast.QueryDocument, places []Location) string {
	if len(places) == 0 {
		return ""
	}
	l := locator{place: places[0]}
	for _, op := range doc.Operations {
		for _, v := range op.VariableDefinitions {
			l.see(v.Position, v.Variable)
			if v.DefaultValue != nil {
				l.value(v.DefaultValue, v.Variable)
			}
		}
		l.selections(op.SelectionSet)
	}
	for _, f := range doc.Fragments {
		l.selections(f.SelectionSet)
	}
	return l.found
}

type locator struct {
	place Location
	found string
}

func (l *locator) see(pos *ast.Position, name string) {
	if pos != nil && pos.Line == l.place.Line && pos.Column == l.place.Column {
		l.found = name
	}
}

func (l *locator) selections(set ast.SelectionSet) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			l.see(s.Position, s.Name)
			for _, a := range s.Arguments {
				l.see(a.Position, a.Name)
				l.value(a.Value, a.Name)
			}
			l.selections(s.SelectionSet)
		case *ast.InlineFragment:
			l.selections(s.SelectionSet)
		}
	}
}

func (l *locator) value(v *ast.Value, path string) {
	l.see(v.Position, path)
	for i, c := range v.Children {
		below := path + "." + c.Name
		if v.Kind == ast.ListValue {
			below = fmt.Sprintf("%s[%d]", path, i)
		}
		l.see(c.Position, below)
		l.value(c.Value, below)
	}
}

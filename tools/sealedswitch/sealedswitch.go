// Package sealedswitch is a vet analyzer that finds the event a type switch
// forgot.
//
// A sealed interface has one method, unexported and without parameters and
// results, so that only its own package can add members:
//
//	type Event interface{ orderEvent() }
//
// Go does not check that a type switch over it names them all. When an event is
// added, the Evolve that ignores it is a fold that is wrong, and the codec that
// lacks it fails at the first append. The analyzer reports
//
//   - a type switch over a sealed interface that has no default and names
//     neither a member nor an interface that the member implements;
//   - a call of event.NewCodec for a sealed interface that leaves a member out.
//
// Outside of the interface's package its exported members count. Run it with
//
//	go vet -vettool=$(go tool -n sealedswitch) ./...
//
// An empty case says that a member changes nothing; a default says that this is
// so for all that are to come.
package sealedswitch

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
)

// Analyzer is the analyzer.
var Analyzer = &analysis.Analyzer{
	Name:     "sealedswitch",
	Doc:      "find members of a sealed interface that a type switch or an event codec forgets",
	Requires: []*analysis.Analyzer{inspect.Analyzer},
	Run:      run,
}

const eventPath = "github.com/cleave-go/cleave/event"

func run(pass *analysis.Pass) (any, error) {
	in := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector)
	in.Preorder([]ast.Node{(*ast.TypeSwitchStmt)(nil), (*ast.CallExpr)(nil)}, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.TypeSwitchStmt:
			checkSwitch(pass, n)
		case *ast.CallExpr:
			checkCodec(pass, n)
		}
	})
	return nil, nil
}

func checkSwitch(pass *analysis.Pass, s *ast.TypeSwitchStmt) {
	sealed := sealedInterface(pass.TypesInfo.TypeOf(switched(s)))
	if sealed == nil {
		return
	}
	var named []types.Type
	for _, clause := range s.Body.List {
		list := clause.(*ast.CaseClause).List
		if list == nil {
			return // a default takes the rest
		}
		for _, e := range list {
			named = append(named, pass.TypesInfo.TypeOf(e))
		}
	}
	if forgotten := without(members(pass.Pkg, sealed), named); len(forgotten) > 0 {
		pass.Reportf(s.Pos(), "the switch over %s forgets %s", sealed.Obj().Name(), strings.Join(forgotten, ", "))
	}
}

// switched is x in switch y := x.(type).
func switched(s *ast.TypeSwitchStmt) ast.Expr {
	var e ast.Expr
	switch assign := s.Assign.(type) {
	case *ast.AssignStmt:
		e = assign.Rhs[0]
	case *ast.ExprStmt:
		e = assign.X
	}
	return ast.Unparen(e).(*ast.TypeAssertExpr).X
}

// checkCodec looks at event.NewCodec[E](event.Of[A](…), …). Kinds that come from
// elsewhere are not looked into.
func checkCodec(pass *analysis.Pass, call *ast.CallExpr) {
	of := instantiated(pass, call, "NewCodec")
	if of == nil {
		return
	}
	sealed := sealedInterface(of)
	if sealed == nil || call.Ellipsis.IsValid() {
		return
	}
	var named []types.Type
	for _, arg := range call.Args {
		kind, ok := ast.Unparen(arg).(*ast.CallExpr)
		if !ok {
			return
		}
		member := instantiated(pass, kind, "Of")
		if member == nil {
			return
		}
		named = append(named, member)
	}
	if forgotten := without(members(pass.Pkg, sealed), named); len(forgotten) > 0 {
		pass.Reportf(call.Pos(), "the codec of %s forgets %s", sealed.Obj().Name(), strings.Join(forgotten, ", "))
	}
}

// instantiated returns the first type argument of a call of that function of
// package event, nil if it is another call.
func instantiated(pass *analysis.Pass, call *ast.CallExpr, function string) types.Type {
	fun := ast.Unparen(call.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	var name *ast.Ident
	switch fun := fun.(type) {
	case *ast.SelectorExpr:
		name = fun.Sel
	case *ast.Ident:
		name = fun
	default:
		return nil
	}
	f, ok := pass.TypesInfo.Uses[name].(*types.Func)
	if !ok || f.Name() != function || f.Pkg() == nil || f.Pkg().Path() != eventPath {
		return nil
	}
	args := pass.TypesInfo.Instances[name].TypeArgs
	if args.Len() == 0 {
		return nil
	}
	return args.At(0)
}

// sealedInterface returns t if it is a sealed interface, else nil.
func sealedInterface(t types.Type) *types.Named {
	if t == nil {
		return nil
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return nil
	}
	i, ok := named.Underlying().(*types.Interface)
	if !ok || i.NumMethods() != 1 || i.Method(0).Exported() {
		return nil
	}
	if s := i.Method(0).Signature(); s.Params().Len() != 0 || s.Results().Len() != 0 {
		return nil
	}
	return named
}

// members are the types of the interface's package that implement it, as far as
// pkg can name them.
func members(pkg *types.Package, sealed *types.Named) []types.Type {
	i := sealed.Underlying().(*types.Interface)
	home := sealed.Obj().Pkg()
	var all []types.Type
	for _, name := range home.Scope().Names() {
		obj, ok := home.Scope().Lookup(name).(*types.TypeName)
		if !ok || obj.IsAlias() || types.IsInterface(obj.Type()) || home.Path() != pkg.Path() && !obj.Exported() {
			continue
		}
		if named, ok := obj.Type().(*types.Named); ok && named.TypeParams().Len() > 0 {
			continue // each of its instances would be a member
		}
		switch {
		case types.Implements(obj.Type(), i):
			all = append(all, obj.Type())
		case types.Implements(types.NewPointer(obj.Type()), i):
			all = append(all, types.NewPointer(obj.Type()))
		}
	}
	return all
}

// without returns the names of those members that named does not cover.
func without(members, named []types.Type) []string {
	var out []string
	for _, m := range members {
		covered := slices.ContainsFunc(named, func(t types.Type) bool {
			if i, ok := t.Underlying().(*types.Interface); ok {
				return types.Implements(m, i)
			}
			p, isPointer := t.(*types.Pointer)
			return types.Identical(m, t) || isPointer && types.Identical(m, p.Elem())
		})
		if !covered {
			out = append(out, types.TypeString(m, func(*types.Package) string { return "" }))
		}
	}
	return out
}

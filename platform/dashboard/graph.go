package dashboard

import (
	"cmp"
	"slices"
)

// Edge says that one program calls a service.
type Edge struct{ From, To string }

// Map is the graph of programs, laid out from left to right.
type Map struct {
	Width  int    `json:"-"`
	Height int    `json:"-"`
	Nodes  []Node `json:"nodes"`
	Edges  []Line `json:"edges"`
}

// Node is a program at its place.
type Node struct {
	Name  string `json:"name"`
	Phase string `json:"phase"`
	Hosts int    `json:"hosts,omitempty"` // how many services it hosts, when more than one
	X     int    `json:"-"`
	Y     int    `json:"-"`
	W     int    `json:"-"`
	H     int    `json:"-"`
}

// Line is an edge at its place, a curve with two control points.
type Line struct {
	From string `json:"from"`
	To   string `json:"to"`
	X1   int    `json:"-"`
	Y1   int    `json:"-"`
	X2   int    `json:"-"`
	Y2   int    `json:"-"`
	CX1  int    `json:"-"`
	CX2  int    `json:"-"`
}

const (
	nodeW, nodeH = 150, 40
	gapX, gapY   = 90, 18
	margin       = 10
)

// layout puts each program into the column behind its callers. Rings are cut
// where they close.
func layout(programs []Program, edges []Edge) Map {
	hosts := map[string]string{} // service to program
	for _, p := range programs {
		for _, s := range p.Services {
			hosts[s] = p.Name
		}
	}
	calls := map[string][]string{}
	called := map[string]bool{}
	for _, e := range edges {
		to, ok := hosts[e.To]
		if ok && to != e.From && !slices.Contains(calls[e.From], to) {
			calls[e.From] = append(calls[e.From], to)
			called[to] = true
		}
	}
	column := columns(programs, calls, called)
	rows := map[int]int{}
	at := map[string]Node{}
	m := Map{Nodes: []Node{}, Edges: []Line{}}
	for _, p := range programs {
		c := column[p.Name]
		n := Node{Name: p.Name, Phase: phaseOf(p), X: margin + c*(nodeW+gapX), Y: margin + rows[c]*(nodeH+gapY), W: nodeW, H: nodeH}
		if len(p.Services) > 1 {
			n.Hosts = len(p.Services)
		}
		rows[c]++
		at[p.Name] = n
		m.Nodes = append(m.Nodes, n)
		m.Width, m.Height = max(m.Width, n.X+nodeW+margin), max(m.Height, n.Y+nodeH+margin)
	}
	for _, p := range programs {
		to := slices.SortedFunc(slices.Values(calls[p.Name]), cmp.Compare[string])
		for _, name := range to {
			a, b := at[p.Name], at[name]
			l := Line{From: a.Name, To: b.Name, X1: a.X + nodeW, Y1: a.Y + nodeH/2, X2: b.X, Y2: b.Y + nodeH/2}
			l.CX1, l.CX2 = l.X1+gapX/2, l.X2-gapX/2
			m.Edges = append(m.Edges, l)
		}
	}
	return m
}

// columns returns how many calls lie before each program, on the longest way
// from one that nobody calls.
func columns(programs []Program, calls map[string][]string, called map[string]bool) map[string]int {
	column := map[string]int{}
	var visit func(name string, depth int, path []string)
	visit = func(name string, depth int, path []string) {
		if slices.Contains(path, name) || (depth <= column[name] && len(path) > 0) {
			return
		}
		column[name] = max(column[name], depth)
		for _, to := range calls[name] {
			visit(to, depth+1, append(path, name))
		}
	}
	for _, p := range programs {
		if !called[p.Name] {
			visit(p.Name, 0, nil)
		}
	}
	for _, p := range programs { // rings that nobody outside calls
		if called[p.Name] && column[p.Name] == 0 {
			visit(p.Name, 0, nil)
		}
	}
	return column
}

// phaseOf returns the best phase among a program's instances: it can be called
// while one is ready.
func phaseOf(p Program) string {
	if len(p.Instances) == 0 {
		return "stopped"
	}
	best := p.Instances[0].Phase
	for _, i := range p.Instances {
		if i.Phase == "ready" {
			best = i.Phase
		}
	}
	return best
}

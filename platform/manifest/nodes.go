package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields calls the function of each key of the mapping n, reports the keys that
// have none, and returns the line each key was seen on.
func (r *reader) fields(n *yaml.Node, field string, known map[string]func(string, *yaml.Node)) map[string]int {
	seen := map[string]int{}
	r.entries(field, n, func(f string, key, v *yaml.Node) {
		seen[key.Value] = key.Line
		read, ok := known[key.Value]
		if !ok {
			names := make([]string, 0, len(known))
			for k := range known {
				names = append(names, k)
			}
			slices.Sort(names)
			r.problem(key.Line, f, "is not known here; known are %s", strings.Join(names, ", "))
			return
		}
		read(f, v)
	})
	return seen
}

// entries calls do for each pair of the mapping n.
func (r *reader) entries(field string, n *yaml.Node, do func(field string, key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, field, "is %s; it must be a mapping of names to values", kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := key.Value
		if field != "" {
			f = field + "." + f
		}
		if key.Kind != yaml.ScalarNode {
			r.problem(key.Line, field, "has %s as a key; keys are plain words", kindOf(key))
			continue
		}
		if first, ok := seen[key.Value]; ok {
			r.problem(key.Line, f, "is there already on line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		do(f, key, value)
	}
}

func (r *reader) name(field string, n *yaml.Node) string {
	text := r.text(field, n)
	if !nameRule.MatchString(text) || len(text) > 40 {
		r.problem(n.Line, field, "%q is not a name: at most 40 lower-case letters, digits and single hyphens, a letter first", text)
	}
	return text
}

func (r *reader) text(field string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		r.problem(n.Line, field, "is %s; it must be text", kindOf(n))
		return ""
	}
	return n.Value
}

// scalar accepts numbers and booleans too: in a variable's value they are text.
func (r *reader) scalar(field string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.problem(n.Line, field, "is %s; it must be text", kindOf(n))
		return ""
	}
	return n.Value
}

func (r *reader) number(field string, n *yaml.Node, low, high int) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < low || v > high {
		what := n.Value
		if n.Kind != yaml.ScalarNode {
			what = kindOf(n)
		}
		r.problem(n.Line, field, "is %s; it must be a whole number from %d to %d", what, low, high)
		return low
	}
	return v
}

func (r *reader) list(field string, n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.problem(n.Line, field, "is %s; it must be a list like [a, b]", kindOf(n))
		return nil
	}
	return n.Content
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "empty"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "the number " + n.Value
	case n.Tag == "!!bool":
		return "the truth value " + n.Value
	}
	return strconv.Quote(n.Value)
}

// lineOf returns the line of the node at path, or of its nearest parent.
func lineOf(n *yaml.Node, path ...string) int {
	line := n.Line
	for _, name := range path {
		if n.Kind != yaml.MappingNode {
			return line
		}
		var next *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				line, next = n.Content[i].Line, n.Content[i+1]
			}
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}

// split cuts a command line into words; quotes of both kinds keep words
// together. There is no shell: no pipes, no redirections.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		case strings.ContainsRune("|&;<>`", c):
			return nil, fmt.Errorf("has %q, but no shell runs it; write [sh, -c, \"…\"] to use one", c)
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("has an unclosed %c", quote)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

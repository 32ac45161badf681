package match

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Mismatch is one difference.
type Mismatch struct {
	Part     string // "body", "header", "query", "path", "method", "status", "metadata"
	Path     string // in the part: "$.a[0]" in a body, a name elsewhere
	Expected string
	Actual   string
	Rule     string // that decided: "type", "regex \d+"; "equality" where there is none
	Message  string // the sentence, in the words of the Pact tools
}

func (m Mismatch) where() string {
	switch {
	case m.Path == "":
		return m.Part
	case strings.HasPrefix(m.Path, "$"):
		return m.Path
	}
	return m.Part + " " + m.Path
}

func (m Mismatch) String() string { return m.where() + " -> " + m.Message }

// In sets the part of every mismatch.
func In(part string, list []Mismatch) []Mismatch {
	for i := range list {
		list[i].Part = part
	}
	return list
}

// maxRows bounds how many differences Table shows.
const maxRows = 50

// Table prints the differences, one a line, in columns.
func Table(list []Mismatch) string {
	rows := [][4]string{{"path", "expected", "actual", "rule"}}
	for _, m := range list[:min(len(list), maxRows)] {
		rows = append(rows, [4]string{m.where(), line(m.Expected), line(m.Actual), line(m.Rule)})
	}
	var width [3]int
	for _, r := range rows {
		for i := range width {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		for i, w := range width {
			b.WriteString(r[i] + strings.Repeat(" ", max(0, w-utf8.RuneCountInString(r[i]))+2))
		}
		b.WriteString(r[3] + "\n")
	}
	if more := len(list) - maxRows; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// maxCell bounds a cell of a table, in bytes.
const maxCell = 72

func line(s string) string {
	s = strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s)
	if len(s) > maxCell {
		s = strings.ToValidUTF8(s[:maxCell], "") + "…"
	}
	return s
}

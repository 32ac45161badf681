package sqldb

import (
	"strconv"
	"strings"
	"sync"
)

// placeholders turns the ? of queries into the $1, $2 of PostgreSQL, each query
// once. What comes when it is full is turned each time.
type placeholders struct {
	mu      sync.RWMutex
	byQuery map[string]string
}

func (p *placeholders) numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	p.mu.RLock()
	text, ok := p.byQuery[query]
	p.mu.RUnlock()
	if ok {
		return text
	}
	text = number(query)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byQuery == nil {
		p.byQuery = map[string]string{}
	}
	if len(p.byQuery) < maxStatements {
		p.byQuery[query] = text
	}
	return text
}

// number replaces each ? outside of quotes and comments by $1, $2 and so on, ?3
// by $3, and ?? by ?, which is an operator of PostgreSQL.
func number(query string) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(query); {
		if end := skipQuoted(query, i); end > i {
			b.WriteString(query[i:end])
			i = end
			continue
		}
		switch {
		case query[i] != '?':
			b.WriteByte(query[i])
		case strings.HasPrefix(query[i:], "??"):
			b.WriteByte('?')
			i++
		case i+1 < len(query) && isDigit(query[i+1]): // ?1 says which
			b.WriteByte('$')
		default:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		i++
	}
	return b.String()
}

// skipQuoted returns where the string, quoted name or comment that begins at i
// ends, i if none begins there. What never ends reaches to the end of the query:
// the server says what is wrong.
func skipQuoted(q string, i int) int {
	rest := q[i:]
	switch {
	case rest[0] == '\'':
		return i + quoted(rest, '\'', i > 0 && (q[i-1]|0x20) == 'e' && (i == 1 || !inName(q[i-2])))
	case rest[0] == '"':
		return i + quoted(rest, '"', false)
	case strings.HasPrefix(rest, "--"):
		if end := strings.IndexByte(rest, '\n'); end >= 0 {
			return i + end
		}
		return len(q)
	case strings.HasPrefix(rest, "/*"):
		return i + comment(rest)
	case rest[0] == '$' && (i == 0 || !inName(q[i-1])):
		return i + dollarQuoted(rest)
	}
	return i
}

// quoted returns the length of the quoted text that s begins with. A doubled
// quote begins the next one right behind it, which comes to the same.
func quoted(s string, quote byte, backslashes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && backslashes:
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// comment returns the length of the comment that s begins with. They nest.
func comment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}

// dollarQuoted returns the length of the $tag$text$tag$ that s begins with, 0 if
// there is none.
func dollarQuoted(s string) int {
	end := 1
	for end < len(s) && inName(s[end]) {
		end++
	}
	if end == len(s) || s[end] != '$' || isDigit(s[1]) {
		return 0
	}
	tag := s[:end+1]
	if close := strings.Index(s[end+1:], tag); close >= 0 {
		return end + 1 + close + len(tag)
	}
	return len(s)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func inName(c byte) bool {
	return c == '_' || isDigit(c) || (c|0x20) >= 'a' && (c|0x20) <= 'z' || c >= 0x80
}

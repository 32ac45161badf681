package match

import (
	"errors"
	"fmt"
	"strings"
)

var errNoMatch = errors.New("does not match")

// moment is what a text said so far; the fields that it did not mention keep
// values that are always valid.
type moment struct{ year, month, day int }

// matchTime reports whether s is written in a Java date-time pattern and names
// a day that exists. The letters it knows are y u M L d D E a H k K h m s S n N
// Z X x z V, text in single quotes, and optional parts in brackets; an unknown
// letter is an error.
func matchTime(pattern, s string) error {
	m := moment{year: 2000, month: 1, day: 1}
	rest, err := m.match(pattern, s)
	switch {
	case err != nil:
		return err
	case rest != "" || !validDay(m.year, m.month, m.day):
		return errNoMatch
	}
	return nil
}

func (m *moment) match(pattern, s string) (string, error) {
	for pattern != "" {
		var err error
		c := pattern[0]
		switch {
		case c == '\'':
			if pattern, s, err = quoted(pattern, s); err != nil {
				return "", err
			}
			continue
		case c == '[':
			inner, after, ok := strings.Cut(pattern[1:], "]")
			if !ok {
				return "", fmt.Errorf("the date pattern %q has no closing ]", pattern)
			}
			with := *m
			if rest, err := with.match(inner+after, s); err == nil && rest == "" {
				*m = with
				return rest, nil
			}
			pattern = after
			continue
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := len(pattern) - len(strings.TrimLeft(pattern, string(c)))
			adjacent := n < len(pattern) && isLetter(pattern[n])
			if s, err = m.letter(c, n, adjacent, s); err != nil {
				return "", err
			}
			pattern = pattern[n:]
			continue
		}
		if s == "" || s[0] != c {
			return "", errNoMatch
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s, nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// quoted reads the literal text that pattern begins with; two quotes stand for
// one, inside and alone.
func quoted(pattern, s string) (string, string, error) {
	text, after, closed := "", pattern[1:], false
	for !closed {
		part, rest, ok := strings.Cut(after, "'")
		if !ok {
			return "", "", fmt.Errorf("the date pattern has an open quote at %q", pattern)
		}
		text, after = text+part, rest
		if closed = !strings.HasPrefix(after, "'"); !closed {
			text, after = text+"'", after[1:]
		}
	}
	if text == "" {
		text = "'"
	}
	rest, ok := strings.CutPrefix(s, text)
	if !ok {
		return "", "", errNoMatch
	}
	return after, rest, nil
}

// letter reads n times the pattern letter c from s. Next to another letter the
// digits are exactly n.
func (m *moment) letter(c byte, n int, adjacent bool, s string) (string, error) {
	most := n
	if n == 1 && !adjacent {
		most = 9
	}
	number := func(lo, hi int, into *int) (string, error) {
		v, rest, ok := digits(s, n, most)
		if !ok || v < lo || v > hi {
			return "", errNoMatch
		}
		if into != nil {
			*into = v
		}
		return rest, nil
	}
	switch c {
	case 'y', 'u':
		if n == 2 {
			rest, err := number(0, 99, &m.year)
			m.year += 2000
			return rest, err
		}
		if !adjacent {
			most = 9
		}
		return number(0, 999999999, &m.year)
	case 'M', 'L':
		if n >= 3 {
			return name(s, n == 3, months, &m.month)
		}
		return number(1, 12, &m.month)
	case 'd':
		return number(1, 31, &m.day)
	case 'D':
		most = max(most, 3)
		return number(1, 366, nil)
	case 'E':
		return name(s, n <= 3, weekdays, nil)
	case 'a':
		return name(s, false, []string{"am", "pm"}, nil)
	case 'H':
		return number(0, 23, nil)
	case 'k':
		return number(1, 24, nil)
	case 'K':
		return number(0, 11, nil)
	case 'h':
		return number(1, 12, nil)
	case 'm':
		return number(0, 59, nil)
	case 's':
		return number(0, 59, nil)
	case 'S':
		_, rest, ok := digits(s, n, n)
		return rest, unless(ok)
	case 'n', 'N':
		_, rest, ok := digits(s, n, 19)
		return rest, unless(ok)
	case 'Z', 'X', 'x':
		return offset(c, n, s)
	case 'z', 'V':
		return zone(s)
	}
	return "", fmt.Errorf("the letter %q of a date pattern is not known", c)
}

func unless(ok bool) error {
	if ok {
		return nil
	}
	return errNoMatch
}

func digits(s string, least, most int) (int, string, bool) {
	n, v := 0, 0
	for n < len(s) && n < most && s[n] >= '0' && s[n] <= '9' {
		if n < 9 {
			v = v*10 + int(s[n]-'0')
		}
		n++
	}
	return v, s[n:], n >= least
}

var (
	months = []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

	weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)

func name(s string, short bool, names []string, into *int) (string, error) {
	for i, word := range names {
		if short {
			word = word[:3]
		}
		if len(s) >= len(word) && strings.EqualFold(s[:len(word)], word) {
			if into != nil {
				*into = i + 1
			}
			return s[len(word):], nil
		}
	}
	return "", errNoMatch
}

// offset reads +01, +0130 or +01:30; X and ZZZZZ read Z too.
func offset(c byte, n int, s string) (string, error) {
	if s != "" && s[0] == 'Z' && (c == 'X' || c == 'Z' && n == 5) {
		return s[1:], nil
	}
	if c == 'Z' && n == 4 {
		s = strings.TrimPrefix(s, "GMT")
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return "", errNoMatch
	}
	h, rest, ok := digits(s[1:], 2, 2)
	if !ok || h > 18 {
		return "", errNoMatch
	}
	colon := c == 'Z' && n >= 4 || c != 'Z' && (n == 3 || n == 5)
	switch {
	case c != 'Z' && n == 1 && (rest == "" || rest[0] < '0' || rest[0] > '9'):
		return rest, nil
	case colon && !strings.HasPrefix(rest, ":"):
		return "", errNoMatch
	case colon:
		rest = rest[1:]
	}
	m, rest, ok := digits(rest, 2, 2)
	return rest, unless(ok && m < 60)
}

// zone reads a zone's name or an offset.
func zone(s string) (string, error) {
	n := 0
	for n < len(s) && (isLetter(s[n]) || strings.IndexByte("/_+-:0123456789", s[n]) >= 0) {
		n++
	}
	return s[n:], unless(n > 0)
}

package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// Decode reads one JSON value, with every number as a json.Number.
func Decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the first JSON value")
	}
	return v, nil
}

// Encode writes v as JSON with sorted keys, without escaping for HTML; indent
// is "" for one line.
func Encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "Null"
	case bool:
		return "Boolean"
	case string:
		return "String"
	case json.Number:
		if isInteger(v) {
			return "Integer"
		}
		return "Decimal"
	case []any:
		return "Array"
	case map[string]any:
		return "Object"
	}
	return fmt.Sprintf("%T", v)
}

// sameKind reports whether a value could stand for another one.
func sameKind(a, b any) bool {
	ka, kb := kindOf(a), kindOf(b)
	_, na := a.(json.Number)
	_, nb := b.(json.Number)
	return ka == kb || na && nb
}

func isInteger(n json.Number) bool { return n != "" && !strings.ContainsAny(string(n), ".eE") }

// maxShown bounds what one difference shows of a value, in bytes.
const maxShown = 200

// show writes a value as a difference shows it: strings in single quotes.
func show(v any) string {
	if s, ok := v.(string); ok {
		return clip("'" + s + "'")
	}
	text, err := Encode(v, "")
	if err != nil {
		return fmt.Sprint(v)
	}
	return clip(string(text))
}

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

func showKind(v any) string { return show(v) + " (" + kindOf(v) + ")" }

// equal compares scalars; numbers by their exact value.
func equal(a, b any) bool {
	na, aok := a.(json.Number)
	nb, bok := b.(json.Number)
	if aok && bok {
		if na == nb {
			return true
		}
		if isInteger(na) != isInteger(nb) || len(na) > 100 || len(nb) > 100 || hasExponent(na) || hasExponent(nb) {
			return false
		}
		ra, ok1 := new(big.Rat).SetString(string(na))
		rb, ok2 := new(big.Rat).SetString(string(nb))
		return ok1 && ok2 && ra.Cmp(rb) == 0
	}
	switch a.(type) {
	case []any, map[string]any:
		return false
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}

func hasExponent(n json.Number) bool { return strings.ContainsAny(string(n), "eE") }

package eventtest

import (
	"slices"
	"strings"
)

// Diff returns the lines in which two texts differ, those of old with "-" and
// those of new with "+" in front, between a line or two of what is the same.
func Diff(old, new []byte) string {
	a, b := lines(old), lines(new)
	var out []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		if i < len(a) && j < len(b) && a[i] == b[j] {
			out = append(out, "  "+a[i])
			i, j = i+1, j+1
			continue
		}
		di, dj := resume(a[i:], b[j:])
		for _, l := range a[i : i+di] {
			out = append(out, "- "+l)
		}
		for _, l := range b[j : j+dj] {
			out = append(out, "+ "+l)
		}
		i, j = i+di, j+dj
	}
	return strings.Join(near(out), "\n")
}

func lines(text []byte) []string {
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

// resume returns how many lines of each to leave out until they agree again,
// the fewest together.
func resume(a, b []string) (int, int) {
	for sum := 1; sum < len(a)+len(b); sum++ {
		for i := max(0, sum-len(b)+1); i <= min(sum, len(a)-1); i++ {
			if a[i] == b[sum-i] {
				return i, sum - i
			}
		}
	}
	return len(a), len(b)
}

// near keeps what is changed and two lines around it.
func near(all []string) []string {
	var out []string
	for i, l := range all {
		around := all[max(0, i-2):min(len(all), i+3)]
		if slices.ContainsFunc(around, func(l string) bool { return l[0] != ' ' }) {
			out = append(out, l)
		}
	}
	return out
}

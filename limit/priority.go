package limit

// Priority says how much it matters that a call is served when not all can be.
type Priority uint8

// Priorities, of which the zero value is Default.
const (
	Default   Priority = iota
	Critical           // somebody is waiting for it and nothing can take its place
	Sheddable          // it can be done later or left out
	priorities
)

// String returns "default", "critical" or "sheddable".
func (p Priority) String() string {
	switch p {
	case Critical:
		return "critical"
	case Sheddable:
		return "sheddable"
	}
	return "default"
}

// ParsePriority is the reverse of String; anything else is Default and not ok.
func ParsePriority(s string) (p Priority, ok bool) {
	for p := range priorities {
		if p.String() == s {
			return p, true
		}
	}
	return Default, false
}

// known returns p, or Default for a value that is none of the three.
func (p Priority) known() Priority {
	if p < priorities {
		return p
	}
	return Default
}

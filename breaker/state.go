package breaker

// State is what a breaker does with calls.
type State uint8

// States of a breaker.
const (
	Closed   State = iota // calls pass
	Open                  // calls are refused
	HalfOpen              // a few probes pass, other calls are refused
)

// String returns "closed", "open" or "half-open".
func (s State) String() string { return name(s, "closed", "open", "half-open") }

// Mode is who decides: the breaker or its operator.
type Mode uint8

// Modes of a breaker.
const (
	Auto        Mode = iota // the results decide
	ForcedOpen              // every call is refused, whatever the time
	Disabled                // every call passes, nothing is counted
	MetricsOnly             // every call passes and is counted; a rate that is reached is only an event
)

// String returns "auto", "forced-open", "disabled" or "metrics-only".
func (m Mode) String() string { return name(m, "auto", "forced-open", "disabled", "metrics-only") }

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

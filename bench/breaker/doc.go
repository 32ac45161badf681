// Command breaker compares Cleave's circuit breaker with its peers, side by side in one run:
//
//	go run ./bench/breaker
//
// Rounds are rotated and the best of each counts, because other work of the machine only makes a call slower.
// Absolute figures belong to the machine; the ratios tell. The clock and an atomic addition are measured
// along: nothing that reads the clock can cost less than reading it.
//
// The same calls are ordinary benchmarks, too: go test -bench . ./bench/breaker.
package main

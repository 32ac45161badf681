// Package breaker compares Cleave's circuit breaker with gobreaker, side by side in one run:
//
//	go test -bench . -count 6 ./bench/breaker
//
// Both judge a failure rate of one half from 20 calls on over a sliding window of ten one-second steps.
package breaker

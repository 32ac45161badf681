//go:build race

package breaker_test

// The walks are sequential: the race detector has nothing to find in them and makes them slow.
const stepsPerWalk = 2_048

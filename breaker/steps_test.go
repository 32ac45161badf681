//go:build !race

package breaker_test

const stepsPerWalk = 16_384

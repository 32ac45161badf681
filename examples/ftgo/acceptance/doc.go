// Package acceptance tests FTGO from outside: over its public graphs only, in
// every topology, as `cleave up` runs it. See orders_test.go for what it must
// do, errors_test.go for what it must refuse, and faults_test.go for what it
// must survive.
package acceptance

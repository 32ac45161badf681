// Package acceptance tests FTGO from outside, as `cleave up` runs it: what it
// must do (orders_test.go) and refuse (errors_test.go) over its public graphs,
// in every topology; what it must survive (faults_test.go); that it loses no
// request while versions are replaced (rollout_test.go) or parts of it are away
// (outage_test.go); and that programs in other languages take part
// (polyglot_test.go).
package acceptance

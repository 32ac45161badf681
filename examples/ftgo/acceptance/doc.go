// Package acceptance tests FTGO from outside: over its public graphs only, in
// every topology, as `cleave up` runs it. See orders_test.go for what it must
// do, errors_test.go for what it must refuse, and outage_test.go, rollout_test.go
// and crash_test.go for what it must survive; tour_test.go types the README's
// tour and polyglot_test.go lets a program in another language take part. Only
// books_test.go looks behind the graphs: it reads the services' databases, to see
// that what they tell is all there is.
package acceptance

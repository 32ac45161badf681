// Package cleave is the map of a toolkit for microservices in Go: one package
// per pattern, each usable alone, in the idioms of the standard library.
//
// What happened is an [event]; an aggregate that is stored as its events is in
// [eventsource]; [sqldb] is the one way to write a service's database; [outbox]
// and [bus] carry events to other services, where a [projection] keeps a view
// and a [saga] coordinates a transaction. [rpi] binds a service in process or
// over the wire, with [breaker], [retry] and [limit] in between and [discovery]
// to find its instances. [compose] answers one query from several services,
// [graphql] compiles a graph to that, [gateway] is the door, [auth] checks who
// knocks, and [contract] keeps consumers and providers in step. [service] is
// the chassis that a service runs on.
//
// The README has the whole map, with the file to start reading at.
package cleave

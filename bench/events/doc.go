// Command events compares the event store, the relay and projections with raw loops that do no more than the
// same writes and reads, side by side in one run, with fsync on:
//
//	go run ./bench/events
//
// A raw loop uses the same driver, tables, indexes, pragmas and prepared statements and checks nothing: no
// expected version, no repeated ids, no savepoint, no place. Rounds are rotated and the best of each counts,
// because other work of the machine only makes them slower. Ratios are to the raw loop, with the gate beside
// them; the command fails when one is missed.
package main

// Package pact reads and writes Pact files, and compares what they hold with
// what really happened.
//
// # What it is for
//
// A Pact file holds the interactions that one consumer expects of one provider:
// HTTP exchanges, messages, and commands with their replies.
//
// # Guarantees
//
//   - Files of versions 1 to 4 are read, version 4 is written.
//   - The bytes that Merge writes depend on the interactions only, not on the
//     order in which tests recorded them. Interactions, and keys of the file,
//     that Merge does not know are kept.
//   - Merge may run in several processes at once; none loses what another wrote.
//   - What differs is reported wholly, path by path.
//
// # What the caller owes
//
// One name for one test: what a test recorded before is replaced by what it
// records now. What a deleted test recorded stays until the file is deleted.
//
// # Debugging
//
// The comment "testname" of an interaction names the test that recorded it.
//
// # How to test code that uses it
//
// Write to a temporary folder.
package pact

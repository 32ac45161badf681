// Package match compares what was received with what a contract expects, by
// the matching rules of the Pact specification, versions 1.1 to 4.
//
// # What it is for
//
// JSON compares a document with an example of it. Where the example has no
// rule, values must be equal; where it has one, the rule decides, for the value
// and for what lies below it. Headers, Query, Text and the others do the same
// for the parts around a document.
//
// # Guarantees
//
//   - Every difference is reported, not only the first, each with its path.
//   - Numbers are compared as written, never as floating point.
//   - A key that the example has and the document lacks is always a difference,
//     unless a rule says that the keys are open (values, eachKey, eachValue).
//   - A rule that is not known is a difference, never ignored.
//
// # What the caller owes
//
// Documents decoded with Decode, so that numbers keep their text.
//
// # Debugging
//
// Table prints differences as path, expected, actual and rule.
//
// # How to test code that uses it
//
// The specification's own cases are the test: see the corpus in package pact.
package match

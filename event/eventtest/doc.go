// Package eventtest freezes what events look like once they were recorded.
//
//	func TestEventsAreFrozen(t *testing.T) {
//		eventtest.Frozen(t, order.Codec, "testdata/events")
//	}
//
// For each type and schema of the codec the folder holds a file with an example
// of its data, order.placed.v2.json say, that is committed with the code.
//
// # Guarantees
//
// The test fails when a field of a recorded type is renamed, removed or changes
// its form, in today's type or in one that an upcaster reads; when data of a
// schema that was ever frozen cannot be decoded any more; and when something new
// is not frozen yet.
//
// # What the caller owes
//
// The folder belongs to one codec and is committed. New files, and new fields
// of today's schemas, are written with
//
//	CLEAVE_UPDATE=1 go test ./...
//
// which never changes what is there. A type whose fields cannot be filled with
// any text or number needs an example, given to Frozen.
//
// # When something fails
//
// The message says what to do: raise the schema and add an event.Up, or freeze.
// A file is deleted by hand, once no such event is stored anywhere.
//
// # Debugging
//
// The files are plain JSON; Diff compares two texts line by line.
//
// # Testing
//
// It is tested by changing types in every way it has to notice.
package eventtest

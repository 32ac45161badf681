// Package bustest holds every bus to the same promises.
//
//	func TestBus(t *testing.T) {
//		bustest.Run(t, func(t *testing.T) bus.Bus { return membus.New() })
//	}
//
// Run's cases are named after the promises in package bus. Table is a source in
// memory, Publish and Follow run a publisher and a subscriber for the length of
// a test.
package bustest

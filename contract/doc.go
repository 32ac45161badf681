// Package contract keeps what a provider does in step with what its consumers
// expect, without running both together.
//
// # What it is for
//
// Services evolve apart; an end-to-end test finds what no longer fits too late
// and breaks for other reasons. Here a consumer's test records examples of what
// it sends and relies on, as a Pact file that lies with the provider; the
// provider's test replays the file against the real provider in process. A call
// is an HTTP exchange, an event a message, a saga's command a message with a
// reply.
//
//	func TestOrderIsShown(t *testing.T) { // the consumer
//		c := contract.New(t, "webbff", "order", &contract.Options{Dir: "../order/contracts"})
//		want := orderapi.Order{Id: "99", Status: orderapi.OrderStatus_APPROVED}
//		contract.Unary(c, orderapi.OrderServiceGetOrderProcedure, &orderapi.GetOrderRequest{Id: "99"}).
//			Given("an order exists", OrderID{"99"}).
//			Returns(&want, contract.Exactly(&want.Id))
//		// … the code under test calls c.Client() and is checked against want
//	}
//
//	func TestPromises(t *testing.T) { // the provider
//		contract.Verify(t, "order", contract.Dir("contracts"), contract.Handler(mux),
//			contract.State("an order exists", func(ctx context.Context, p OrderID) error { … }))
//	}
//
// The example is a value of the consumer's own type; a Matcher points at one of
// its fields. What has no Matcher matches by type in what the consumer reads,
// and exactly in what it sends; a list with elements in the example has at least
// one.
//
// # Guarantees
//
//   - A file is written only if the test passed and used every interaction.
//   - The same tests write the same bytes, in any order, in parallel, from
//     several processes.
//   - A call is answered in each protocol and codec of Connect from one example.
//   - No contracts found, a state or a message that nobody provides: failures,
//     each with the lines to add. A provider that keeps its promises prints
//     nothing.
//   - All differences are shown: path, expected, actual, rule.
//   - A provider's answer to a call is read as its protobuf message: a field
//     that is left out because it is zero is there.
//
// Files of versions 1 to 4 of the specification are read, version 4 is written.
// JSON and text are compared; XML, multipart and binary bodies by bytes only,
// and generators are ignored.
//
// # What the caller owes
//
// Examples without zero values where the consumer relies on the field: protobuf
// leaves them out. One Contract for each test; tests that record in one file
// have different names. After deleting a test, delete the file and run all.
//
// # Debugging
//
// A failure names the consumer, the description and the test that recorded it;
// go test -run 'TestPromises/webbff/GetOrder' repeats it alone.
//
// # How to test code that uses it
//
// It is test code. Stub serves recorded files to a whole service under test.
package contract

// Package router forwards TCP connections from the stable virtual address of a service to its instances.
//
// # What it is for
//
// A program that knows nothing of discovery connects to one address that never changes, and reaches
// whatever runs at the moment. The router is told of instances by a [discovery.Resolver] and chooses
// among them with a [discovery.Balancer].
//
//	r := router.New(resolver, nil)
//	bound, err := r.Bind("kitchen", netip.MustParseAddr("127.77.3.4"))
//	err = r.Run(ctx) // forwards until ctx ends
//
// # Guarantees
//
//   - An instance that cannot be connected to costs the client nothing: the next one is tried.
//   - Bytes pass unchanged in both directions, and each direction ends on its own, so that a client may
//     finish sending and still read the answer.
//   - With no live instance a connection is closed at once.
//   - An instance that stops taking calls gets no new connection; those it has go on.
//
// # What the caller owes
//
// Balance is per connection. A client that keeps one connection for ever keeps its instance; where that
// matters, use a client that balances per request, or a gateway.
//
// # Debugging
//
// [Router.List] tells the services, their addresses, and what the balancer knows of each instance.
//
// # Testing
//
// Give it a discoverytest.Resolver and an address of 127.0.0.0/8.
package router

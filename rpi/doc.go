// Package rpi lets services call each other: synchronous remote procedure
// invocation over Connect, with the local and the remote binding behind one
// transport.
//
// Business code calls a generated client interface. Which transport lies under
// it is a choice of composition:
//
//	server := rpi.NewServer(nil)
//	kitchenapi.RegisterKitchenServiceHandler(server, impl)
//
//	here := rpi.Local(server, nil)                        // the same process
//	there := rpi.Remote("kitchen", resolver, nil)         // wherever it runs
//	kitchen := kitchenapi.NewKitchenServiceClient(connect.NewClient(here))
//
// # Guarantees
//
//   - Local behaves as the wire does: the handler sees none of the caller's
//     context values, a deadline ends the call even when the handler ignores
//     it, a cancelled context is not called, messages are copied, causes are
//     stripped, panics are hidden, sizes and UTF-8 are checked. One table of
//     calls says so of every binding and of grpc-go's client
//     (internal/paritytest, conformance/parity), with the few exceptions that a
//     protocol forces and their reasons.
//   - A call within a trace that is not sampled makes no span; its ids go on.
//   - Over the wire, server and client pass the conformance suite of Connect,
//     gRPC and gRPC-Web with the whole chain on (conformance/connect), but for
//     bidirectional streams over HTTP/1.1, which are refused.
//   - An instance that announces the fast wire (discovery.MetaWire, grpcwire) is
//     called by it, unless the caller chose a wire; if it does not get through, over
//     Connect, and no call is lost or made twice by that.
//   - A panicking handler answers code internal without text, once.
//   - A domain error declared in Errors satisfies errors.Is on both sides.
//   - An instance that says nothing for 5 s during calls and does not show within
//     3 s that it is there gets no more calls until it does.
//   - A call without side effects, or declared idempotent, is retried within a
//     budget when a server cannot be reached or says that it is overloaded; any
//     other call only if no server can have done any of it. Nothing is replayed
//     beneath that. RetryInfo and Grpc-Retry-Pushback-Ms are obeyed.
//   - Tries do not multiply: through three tiers of three tries each, the load of
//     the last grows by one budget. Instances that cannot be reached are passed
//     over at no charge.
//   - Once answers a repeated call with the reply to the first, whichever
//     instance gets it, if the method is declared idempotent.
//   - NewRoundTripper has plain HTTP requests go the same way, retried by their
//     method: a POST never, unless no server can have begun to serve it.
//   - A breaker per service fails fast while it is down.
//   - A server with Shed refuses what it has no room for before it reads it, the
//     least critical first; a client with Throttle no longer sends most of that.
//   - Deadline, bearer token, trace and consistency token travel with the call.
//   - Behind TLS both sides show certificates that are replaced without a restart;
//     a client accepts only the service it calls, a handler knows its peer, and
//     AllowPeers refuses all others.
//
// # What the caller owes
//
// A context with a deadline (10 s otherwise). Handlers return declared domain
// errors, *connect.Error, or anything else for "unknown": its text is logged,
// never sent. A Remote finds servers while its Run runs.
//
// # Debugging
//
// Every call is a span, each try one within it, and a measurement; failures that are the server's fault
// are logged with their cause. The breaker of each remote service is measured
// by its state, openings and refusals, and its changes are logged.
//
// # Testing
//
// A test of a caller binds Local to a server with a fake implementation: what
// passes there passes over the wire. Faults makes calls slow, fail or stay
// without an answer, on either side.
package rpi

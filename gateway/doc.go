// Package gateway is the single entry of a system, or of one kind of its
// clients (a backend for frontends): it decides who calls and how often, and
// answers with a graph and with resources that are views of it.
//
//	schema, err := graphql.Load(sdl, &graphql.Options{Client: host.Client})
//	…
//	h, err := gateway.New(schema, &gateway.Options{
//		Verifier: host.Verifier(),
//		Views:    map[string]string{"GET /orders/{id}": orderDocument},
//	})
//	http.Serve(listener, h)
//
// # Guarantees
//
//   - Without a token a caller is anonymous; a token that is not valid is 401
//     UNAUTHENTICATED, whatever is asked for. A verified token travels with every call upstream.
//   - Each caller (the token's subject, or else the address, of IPv6 the /64)
//     has its own rate; beyond it the answer is 429 RATE_LIMITED with Retry-After. Tokens that
//     are not valid count against their address.
//   - A page of another origin can neither call (403) nor read an answer, unless
//     its origin is in Options.Origins. Only JSON bodies are read.
//   - On a loopback listener the Host must be a loopback address, localhost, a
//     name below .cleave, or in Options.Hosts; else 421. A page that rebinds its DNS name gets nothing.
//   - A body above MaxBody is 413 PAYLOAD_TOO_LARGE. A malformed request gets a 4xx that says
//     what is wrong, never a 500, and no service hears of it.
//   - A request ends within Timeout; what is left of it travels upstream.
//   - The header Cleave-Consistency of a request is required of every read;
//     what the request has caused is in the same header of the response, and in extensions.consistency.
//   - Two gateways share nothing.
//
// # What the caller owes
//
// A listener whose connections come from the clients themselves: behind a proxy, all
// anonymous callers share the proxy's address and its rate. A client that loses no request while a
// gateway is replaced lets go of connections idle for a second, or repeats a request whose connection ended.
//
// # Debugging
//
// Every response has an X-Request-Id, the client's own if it sent one; failures are logged
// with it. Options.Meter gets requests, their duration by operation, and upstream calls.
//
// # Testing
//
// New answers an http.Handler: call it with httptest and a schema over fake services.
package gateway

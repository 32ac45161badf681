// Package grpcwire carries calls by gRPC over an HTTP/2 loop of its own, at a
// fraction of what net/http costs: the fast wire between Go services.
//
//	go grpcwire.NewServer(server, nil).Serve(ctx, listener)     // any *connect.Server
//	wire := grpcwire.NewTransport(addr, nil)                    // any connect.Client
//	echo := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Wire(wire, rpi.CallOptions{})))
//
// It is gRPC as every tool reads it: binary protobuf, not compressed, HTTP/2
// with prior knowledge and without TLS. What else a port has to serve, such as
// Connect, JSON and browsers, is for rpi.Handler on another.
//
// # Guarantees
//
//   - Caller and handler observe what they observe over any other binding of
//     rpi, and the conformance suite's cases for gRPC pass, both ends.
//   - A connection is one reading and one writing goroutine. Calls leave their
//     frames for the writer, so that many share a system call; a deadline costs
//     the server no timer unless the handler waits for it.
//   - Both flow controls hold in both directions: a sender waits for the peer's
//     windows, a receiver grants what was read.
//   - A hostile peer is bounded: streams, headers, bytes that nobody has read,
//     CONTINUATION frames and answers to control frames have limits. A frame
//     that breaks the protocol ends the connection, and only that.
//   - A server that stops sends GOAWAY and lets calls under way finish. A call
//     that the server says it has not begun fails with ErrUnprocessed as cause.
//   - Either end pings a silent peer while calls are under way, and gives it up
//     if it stays silent.
//
// # What the caller owes
//
// All methods are registered before NewServer. A Transport is closed by Close.
//
// # Debugging
//
// The server logs the end of each connection, with its cause, at level debug.
// An error of the transport names the error code of HTTP/2.
//
// # Testing
//
// TransportOptions.Dial takes any net.Conn, such as one end of a net.Pipe.
package grpcwire

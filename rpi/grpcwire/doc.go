// Package grpcwire carries calls by gRPC over an HTTP/2 loop of its own, at a
// fraction of what net/http costs: the fast wire between Go services.
//
//	fast := grpcwire.NewServer(server, nil)                     // any *connect.Server
//	go httpServer.Serve(fast.Beside(listener))                  // or fast.Serve(ctx, listener)
//	wire := grpcwire.NewTransport(addr, nil)                    // any connect.Client
//	echo := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Wire(wire, rpi.CallOptions{})))
//
// Services of package service have it on their port, and rpi.Remote calls them by
// it, without being asked.
//
// It is gRPC as every tool reads it: binary protobuf, not compressed, HTTP/2
// with prior knowledge and without TLS. What else a port has to serve, such as
// Connect, JSON and browsers, is for an http.Server with rpi.Handler: Beside gives
// it all connections but those of a Transport, which say at once what they are by a
// setting that others ignore.
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
//   - Headers and trailers of more than 60 KiB cost their own call and no other:
//     they are not sent. An error keeps its code and the beginning of its message.
//   - A server that stops sends GOAWAY and lets calls under way finish. A call
//     that the server says it has not begun fails with ErrUnprocessed as cause.
//   - Either end pings a silent peer while calls are under way, and gives it up
//     if it stays silent; a client then sends it no calls until it answers.
//   - Where no HTTP/2 is spoken a call fails with ErrNotHTTP2 as cause.
//   - A stream ends with its context, even if nobody reads it or closes it.
//
// # What the caller owes
//
// All methods are registered before NewServer or Add. A Transport is closed by
// Close, a server that is not left to Serve by Shutdown.
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
